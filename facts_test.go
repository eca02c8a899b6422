package perigee

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

//go:generate go test -run TestEveryFactIsAccountedFor . -update

var update = flag.Bool("update", false, "write where each fact is shown into docs/facts.md")

// gaps are the numbers of which it is known that no test shows them, with the packages
// that show a part. A gap that was closed must be taken out of the list.
var gaps = map[string][]string{}

// number is what a fact (L) or a failure of the original (M) is called by.
var number = regexp.MustCompile(`^[LM][0-9]+[a-c]?$`)

// fact is a row of docs/facts.md.
type fact struct{ number, text, where string }

// Words that a row's last column begins with when it does not name packages.
const (
	notOurs = "Not ours: "
	missing = "Missing: "
)

// TestEveryFactIsAccountedFor: what the specification numbers is shown by a test or a
// case of the conformance suite that has the number in its name, or docs/facts.md says
// why it does not concern us.
func TestEveryFactIsAccountedFor(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("docs/facts.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := shownBy(t)
	var numbers []string
	lines := slices.Collect(strings.Lines(string(page)))
	for i, line := range lines {
		f, ok := row(line)
		if !ok {
			continue
		}
		numbers = append(numbers, f.number)
		where := packages(shown[f.number])
		parts, gap := gaps[f.number]
		switch {
		case gap != strings.HasPrefix(f.where, missing):
			t.Errorf("%s: the list of gaps and docs/facts.md do not agree on whether it is missing", f.number)
		case gap && !slices.Equal(parts, shown[f.number]):
			t.Errorf("%s is called missing, and is shown by %v", f.number, shown[f.number])
		case gap:
		case strings.HasPrefix(f.where, notOurs) && where != "":
			t.Errorf("%s is said not to be ours, and has tests in %s", f.number, where)
		case strings.HasPrefix(f.where, notOurs):
		case where == "":
			t.Errorf("%s (%s) is shown by no test, and no reason is given", f.number, f.text)
		case where != f.where && *update:
			lines[i] = "| " + f.number + " | " + f.text + " | " + where + " |\n"
		case where != f.where:
			t.Errorf("%s is shown in %s, docs/facts.md says %s: run make generate", f.number, where, f.where)
		}
	}
	if want := numbered(); !slices.Equal(want, numbers) {
		t.Errorf("docs/facts.md has rows for\n%v, want\n%v", numbers, want)
	}
	for n := range shown {
		if n[0] == 'L' && !slices.Contains(numbers, n) {
			t.Errorf("a test names %s, which there is not", n)
		}
	}
	if *update && !t.Failed() {
		if err := os.WriteFile("docs/facts.md", []byte(strings.Join(lines, "")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// numbered are the numbers that are accounted for: every fact, and the failures that
// we set out to mend.
func numbered() []string {
	var all []string
	count := func(letter string, from, to int) {
		for n := from; n <= to; n++ {
			all = append(all, letter+strconv.Itoa(n))
		}
	}
	count("L", 1, 266)
	count("M", 14, 28)
	all = append(all, "M28b", "M28c")
	count("M", 32, 36)
	count("M", 43, 58)
	all = append(all, "M61")
	count("M", 62, 72)
	count("M", 82, 90)
	return append(all, "M92")
}

// row reads a line of the table.
func row(line string) (fact, bool) {
	cells := strings.Split(strings.TrimSpace(line), " | ")
	if len(cells) != 3 {
		return fact{}, false
	}
	f := fact{strings.TrimPrefix(cells[0], "| "), cells[1], strings.TrimSuffix(strings.TrimSuffix(cells[2], "|"), " ")}
	return f, number.MatchString(f.number)
}

func packages(dirs []string) string {
	var all []string
	for _, dir := range dirs {
		all = append(all, "`"+dir+"`")
	}
	return strings.Join(all, ", ")
}

// shownBy finds the numbers in the names of tests, subtests and cases of the
// conformance suite, with the packages that these are in.
func shownBy(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	add := func(numbers []string, dir string) {
		for _, n := range numbers {
			if !slices.Contains(all[n], dir) {
				all[n] = append(all[n], dir)
			}
		}
	}
	for _, s := range sources(t, parser.SkipObjectResolution) {
		// Cases and contracts are not in files for tests.
		suite := !s.test && (s.dir == "conformance" || s.dir == "internal/store/storetest")
		named := suite || s.test && s.dir != "conformance" // the stubs there name cases only
		ast.Inspect(s.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if name, ok := strings.CutPrefix(n.Name.Name, "Test"); ok && s.test && n.Recv == nil {
					add(slices.DeleteFunc(strings.Split(name, "_"), func(word string) bool { return !number.MatchString(word) }), s.dir)
				}
			case *ast.BasicLit:
				if n.Kind == token.STRING && named {
					add(leading(n.Value), s.dir)
				}
			}
			return true
		})
	}
	for _, dirs := range all {
		slices.Sort(dirs)
	}
	return all
}

// leading are the numbers that the name of a subtest or case begins with, as in "L4 L5
// the rest".
func leading(literal string) []string {
	text, err := strconv.Unquote(literal)
	if err != nil {
		return nil
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '_' })
	for i, word := range words {
		if !number.MatchString(word) {
			return words[:i]
		}
	}
	return nil // nothing but numbers is no name
}
