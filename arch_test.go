// Package perigee holds no code; it is where the shape of the house is tested.
package perigee

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/perigee-monitoring/perigee/"

// arrows are the imports of our own packages that are meant to exist. What is
// not here is a new arrow: think first, then add it with the change that needs it.
// Tests are free, apart from what compiles.
var arrows = map[string]string{
	// Public, and at the bottom.
	"check":    "",
	"protocol": "check",
	// Public: what results mean, as pure functions.
	"verdict": "check",

	// Public: what a core is held to. It knows the socket, and not our codec.
	"conformance": "internal/link",

	// Bottom of the house: no domain in them.
	"internal/diff":       "",
	"internal/fault":      "",
	"internal/bus":        "",
	"internal/selector":   "",
	"internal/strictjson": "internal/fault",
	"internal/link":       "protocol",
	"internal/redact":     "check",
	// What both ends agree on about script packages: standard library only.
	"internal/scriptpkg": "",
	"internal/resident":  "",
	"internal/stray":     "",

	// What is carried out where the satellite stands.
	"internal/checkschema": "check internal/fault internal/assertion",
	"internal/expression":  "",
	"internal/assertion":   "check internal/fault internal/expression",
	"internal/fence":       "internal/fault",
	"internal/script":      "internal/fence",
	"internal/probe":       "check protocol internal/assertion internal/checkschema internal/redact internal/fence internal/script",
	"internal/satellite":   "check protocol internal/assertion internal/probe internal/link internal/redact internal/scriptpkg internal/fence",

	// The domain of the core.
	"internal/entity":     "internal/fault",
	"internal/fleet":      "check protocol internal/fault internal/entity internal/selector",
	"internal/catalog":    "internal/diff check protocol internal/fault internal/strictjson internal/entity internal/fleet internal/selector internal/assertion internal/checkschema",
	"internal/health":     "check verdict protocol internal/fault internal/entity internal/fleet internal/assertion",
	"internal/automation": "internal/expression check internal/fault internal/strictjson internal/entity internal/fleet",
	// What automations can do: they call the services that the API calls.
	"internal/automation/action": "check protocol internal/automation internal/catalog internal/entity internal/fault internal/fleet internal/health internal/incident internal/notify internal/redact internal/secret",
	// What is wrong, and how people are told.
	"internal/incident": "internal/fault internal/entity internal/fleet",
	"internal/notify":   "internal/fault internal/entity internal/redact",
	"internal/auth":     "internal/diff internal/fault internal/entity",
	"internal/secret":   "check protocol internal/fault internal/entity internal/redact",
	"internal/trial":    "check protocol internal/fault internal/entity internal/fleet internal/catalog internal/secret",
	"internal/sandbox":  "internal/fault internal/entity internal/fence",

	// Of them what scripts may import, and where its bytes are kept.
	"internal/packages": "protocol internal/fault internal/entity internal/scriptpkg",
	"internal/blob":     "internal/fault",

	// The edges of the core.
	"internal/hub":               "internal/trial internal/redact internal/secret check protocol internal/link internal/scriptpkg internal/fleet internal/health internal/catalog internal/entity internal/fault",
	"internal/store":             "internal/diff internal/trial internal/automation internal/incident internal/notify verdict internal/sandbox internal/packages internal/secret check protocol internal/fault internal/entity internal/fleet internal/catalog internal/health internal/auth",
	"internal/server/servertest": "internal/client internal/server internal/dbtest",
	"internal/store/storetest": "internal/diff internal/automation internal/incident internal/notify verdict internal/sandbox internal/packages internal/scriptpkg internal/secret check protocol internal/fault internal/entity internal/fleet internal/catalog internal/health internal/auth " +
		"internal/store internal/pgtest",
	"internal/httpapi":  "internal/diff internal/redact internal/bus internal/trial internal/fence internal/automation internal/incident internal/notify verdict internal/sandbox internal/packages internal/secret check protocol internal/fault internal/entity internal/fleet internal/catalog internal/health internal/auth internal/hub internal/checkschema internal/selector",
	"internal/manifest": "check internal/catalog internal/fault",
	// The command line reads another core's database and hands what it found to the API.
	"internal/checkstack": "check internal/catalog",
	"internal/client":     "internal/automation verdict check internal/catalog internal/fleet internal/health internal/entity internal/httpapi internal/fault",

	// Who administers a core of ours for the conformance suite.
	"internal/administrator": "conformance check internal/client internal/httpapi internal/packages internal/catalog internal/fleet internal/health",

	// Where everything is joined.
	"internal/server": anything,
	// checkschema, because files of checks are judged without a core too.
	"cmd/perigee": "internal/stray internal/script internal/diff internal/auth internal/trial protocol internal/fence internal/probe internal/automation internal/incident internal/notify verdict internal/sandbox conformance internal/administrator internal/blob internal/packages internal/secret check internal/checkschema internal/checkstack internal/server internal/httpapi internal/client internal/manifest internal/fault internal/catalog internal/fleet " +
		"internal/health internal/entity internal/targets",
	"cmd/perigee-satellite": "internal/fence check protocol internal/scriptpkg internal/satellite internal/probe internal/assertion internal/link internal/resident internal/stray",

	// The web interface, as files.
	"web": "",

	// Beside the house: generators, and what tests and load programs stand on.
	"internal/schemagen": "check",
	"internal/targets":   "",
	"internal/pgtest":    "",
	"internal/dbtest":    "internal/pgtest internal/store",
	"internal/npmtest":   "",
	"e2e":                "",
	// Outside the house: it knows the API and the public packages.
	"e2e/recount": "check verdict",
}

// anything is for the composition root, which exists to import the rest, and for
// the programs beside the house.
const anything = "*"

// free are trees whose packages may import what they like, and which nothing in
// the house imports.
var free = []string{"bench", "internal/perigeetest"}

// forbidden are imports that only some packages may have, with the reason.
var forbidden = []struct {
	prefix string
	homes  []string
	reason string
}{
	// Checks of databases speak their protocols, without pools.
	{"database/sql", []string{"internal/store", "internal/pgtest", "internal/probe"}, "SQL lives in one room"},
	// A foreign schema, read once and never written, is nothing of the store's; the bus
	// only notifies.
	{"github.com/jackc/pgx/", []string{"internal/store", "internal/pgtest", "internal/checkstack", "internal/bus", "internal/probe"}, "SQL lives in one room"},
	{"github.com/nats-io/", []string{"internal/bus"}, "how cores ring each other can be replaced in one place"},
	{"modernc.org/sqlite", []string{"internal/store"}, "SQL lives in one room"},
	{"github.com/pressly/goose/", []string{"internal/store"}, "SQL lives in one room"},
	{"github.com/danielgtaylor/huma/", []string{"internal/httpapi"}, "the domain does not know how it is asked"},
	{"github.com/gorilla/websocket", []string{"internal/link", "internal/probe"}, "the socket library can be replaced in one place"},
	{"cel.dev/", []string{"internal/expression", "internal/automation", "internal/assertion"}, "the language of expressions can be replaced in few places"},
	{"github.com/tink-crypto/", []string{"internal/secret"}, "one room knows how values are sealed"},
	{"encoding/json/", nil, "packages that only an experiment of Go has: without it nothing could be built"},
	{"github.com/alecthomas/kong", []string{"cmd/perigee", "cmd/perigee-satellite"}, "flags end at the command"},
}

// satelliteMustNotLink is what the satellite's binary stays small without.
var satelliteMustNotLink = []string{
	"github.com/jackc/pgx/v5/stdlib", "github.com/jackc/pgx/v5/pgxpool", "modernc.org/sqlite", "github.com/pressly/", "github.com/danielgtaylor/huma/", "github.com/prometheus/",
	"github.com/tink-crypto/", "github.com/nats-io/",
	module + "internal/store", module + "internal/httpapi", module + "internal/server", module + "internal/hub",
	module + "internal/fleet", module + "internal/catalog", module + "internal/health", module + "internal/entity",
}

// bannedNames say nothing about what is in a package.
var bannedNames = []string{"util", "utils", "helper", "helpers", "common", "misc", "base", "shared", "lib"}

// source is one Go file of the module.
type source struct {
	dir  string // of its package, from the root; "." for the root
	file string
	test bool
	ast  *ast.File
	set  *token.FileSet
}

func (s source) imports() []string {
	var all []string
	for _, spec := range s.ast.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err == nil {
			all = append(all, name)
		}
	}
	return all
}

// sources parses the module's files itself: asking the go command would be
// answered from the test cache.
func sources(t *testing.T, mode parser.Mode) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if skipped(file, entry.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(file) != ".go" {
			return nil
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, nil, mode|parser.ParseComments)
		if err != nil {
			return err
		}
		all = append(all, source{
			dir: filepath.ToSlash(filepath.Dir(file)), file: filepath.ToSlash(file),
			test: strings.HasSuffix(file, "_test.go"), ast: parsed, set: set,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("found only %d files; is this the module's root?", len(all))
	}
	return all
}

func skipped(dir, name string) bool {
	return dir != "." && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") ||
		slices.Contains([]string{"testdata", "tools", "node_modules", "bin", "dist"}, name))
}

func TestImportsFollowTheArrows(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t, parser.ImportsOnly) {
		if s.test || isFree(s.dir) {
			continue
		}
		allowed, known := arrows[s.dir]
		if !known {
			t.Errorf("%s: package %s is not in the table of arrows", s.file, s.dir)
			continue
		}
		for _, name := range s.imports() {
			target, ours := strings.CutPrefix(name, module)
			if !ours || allowed == anything {
				continue
			}
			if !slices.Contains(strings.Fields(allowed), target) {
				t.Errorf("%s: %s must not import %s", s.file, s.dir, target)
			}
		}
	}
}

func isFree(dir string) bool {
	return slices.ContainsFunc(free, func(tree string) bool { return dir == tree || strings.HasPrefix(dir, tree+"/") })
}

func TestCheckUsesTheStandardLibraryOnly(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t, parser.ImportsOnly) {
		if s.dir != "check" || s.test {
			continue
		}
		for _, name := range s.imports() {
			if first, _, _ := strings.Cut(name, "/"); strings.Contains(first, ".") {
				t.Errorf("%s imports %s", s.file, name)
			}
		}
	}
}

func TestLibrariesStayInTheirRooms(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t, parser.ImportsOnly) {
		if s.test || isFree(s.dir) {
			continue
		}
		for _, name := range s.imports() {
			for _, f := range forbidden {
				home := slices.ContainsFunc(f.homes, func(dir string) bool { return s.dir == dir || strings.HasPrefix(s.dir, dir+"/") })
				if strings.HasPrefix(name, f.prefix) && !home {
					t.Errorf("%s imports %s, which belongs in %s: %s", s.file, name, strings.Join(f.homes, ", "), f.reason)
				}
			}
		}
	}
}

// TestSatelliteStaysSmall follows the imports of the satellite's command through
// our own packages.
func TestSatelliteStaysSmall(t *testing.T) {
	t.Parallel()
	imports := map[string][]string{}
	for _, s := range sources(t, parser.ImportsOnly) {
		if !s.test {
			imports[module+s.dir] = append(imports[module+s.dir], s.imports()...)
		}
	}
	via := map[string]string{}
	queue := []string{module + "cmd/perigee-satellite"}
	for len(queue) > 0 {
		from := queue[0]
		queue = queue[1:]
		for _, name := range imports[from] {
			if _, seen := via[name]; seen {
				continue
			}
			via[name] = from
			queue = append(queue, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(via)) {
		for _, banned := range satelliteMustNotLink {
			if name == banned || strings.HasPrefix(name, banned) {
				t.Errorf("the satellite links %s, by way of %s", name, via[name])
			}
		}
	}
}

func TestEveryPackageSaysOnceWhatItIsFor(t *testing.T) {
	t.Parallel()
	comments := map[string][]string{}
	for _, s := range sources(t, parser.ImportsOnly) {
		if strings.HasSuffix(s.ast.Name.Name, "_test") {
			continue
		}
		if slices.Contains(bannedNames, s.ast.Name.Name) || slices.Contains(bannedNames, path.Base(s.dir)) {
			t.Errorf("%s: the name %s says nothing", s.file, s.ast.Name.Name)
		}
		found := comments[s.dir]
		if s.ast.Doc != nil {
			found = append(found, s.file)
		}
		comments[s.dir] = found
	}
	for dir, files := range comments {
		if len(files) != 1 {
			t.Errorf("package %s has %d package comments %v, want one", dir, len(files), files)
		}
	}
}

// TestTestsNeitherSkipNorSleep: a test that may not run proves nothing, and one
// that sleeps is slow or wrong. In a bubble of testing/synctest sleeping is how
// time moves, and costs none.
func TestTestsNeitherSkipNorSleep(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t, parser.SkipObjectResolution) {
		if !s.test {
			continue
		}
		bubbles := slices.Contains(s.imports(), "testing/synctest")
		ast.Inspect(s.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			selector, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			of, _ := selector.X.(*ast.Ident)
			switch name := selector.Sel.Name; {
			case of == nil:
			case (of.Name == "t" || of.Name == "b" || of.Name == "f" || of.Name == "tb") && (name == "Skip" || name == "Skipf" || name == "SkipNow"):
				t.Errorf("%s skips", s.set.Position(call.Pos()))
			case of.Name == "time" && name == "Sleep" && !bubbles:
				t.Errorf("%s sleeps on the real clock", s.set.Position(call.Pos()))
			}
			return true
		})
	}
}

// TestEveryDependencyHasItsReason keeps docs/dependencies.md and what is depended on together.
func TestEveryDependencyHasItsReason(t *testing.T) {
	t.Parallel()
	required, direct := requirements(t)
	page, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	for line := range strings.Lines(string(page)) {
		if row, ok := strings.CutPrefix(line, "| `"); ok && strings.Contains(row, "/") {
			name, _, _ := strings.Cut(row, "`")
			named = append(named, name)
		}
	}
	for _, name := range direct {
		if !slices.Contains(named, name) {
			t.Errorf("docs/dependencies.md does not say what %s is for", name)
		}
	}
	npm := npmPackages(t)
	for _, name := range npm {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/dependencies.md does not say what %s is for", name)
		}
	}
	for _, name := range named {
		if !slices.Contains(required, name) && !slices.Contains(npm, name) {
			t.Errorf("docs/dependencies.md names %s, which is in no go.mod and not in web/package.json", name)
		}
	}
}

// npmPackages are those that the web interface names.
func npmPackages(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("web/package.json")
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct{ Dependencies, DevDependencies map[string]string }
	if err := json.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	return append(slices.Collect(maps.Keys(manifest.Dependencies)), slices.Collect(maps.Keys(manifest.DevDependencies))...)
}

// requirements are the modules that all go.mod files name, and those of the
// house that it imports itself.
func requirements(t *testing.T) (all, direct []string) {
	t.Helper()
	for _, file := range []string{"go.mod", "tools/go.mod", "bench/peers/go.mod"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
			if len(words) == 0 || !strings.Contains(words[0], "/") {
				continue
			}
			all = append(all, words[0])
			if file == "go.mod" && len(words) == 2 && strings.HasPrefix(words[1], "v") {
				direct = append(direct, words[0])
			}
		}
	}
	return all, direct
}
