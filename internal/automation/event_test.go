package automation

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestEventTypesAreThoseOfTheDerivers reads what the domain's files with derivers call
// their events.
func TestEventTypesAreThoseOfTheDerivers(t *testing.T) {
	t.Parallel()
	var known []string
	for _, e := range EventTypes() {
		known = append(known, e.Type)
	}
	event := regexp.MustCompile(`^(satellite|region|core|healthcheck|system|check|assignment|maintenance|incident|channel|secret|sandbox|script-packages)\.[a-z_]+$`)
	files, err := filepath.Glob("../*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, "_test.go") || !strings.Contains(string(text), "entity.Deriver") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil && event.MatchString(s) && !slices.Contains(known, s) {
					t.Errorf("%s makes events %q that no automation can name", file, s)
				}
			}
			return true
		})
	}
}
