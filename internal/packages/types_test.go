package packages_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/packages"
)

// told is the files of an answer by path.
func told(types packages.Types) map[string]string {
	files := map[string]string{}
	for _, f := range types.Files {
		files[f.Path] = f.Text
	}
	return files
}

func (r *rig) types(name string) packages.Types {
	r.t.Helper()
	types, err := r.Types(r.t.Context(), name)
	if err != nil {
		r.t.Fatal(err)
	}
	return types
}

// An editor gets the declarations of a package and of what they import, each where the
// tree has it, and nothing else of them.
func TestTypesAreTheDeclarationsAndWhatTheyImport(t *testing.T) {
	t.Parallel()
	r := setup(t, dbtest.SQLite(t))
	r.registry.PublishFiles(t, map[string]string{
		"package.json":          `{"name": "queue", "version": "1.0.0", "description": "long", "scripts": {"test": "x"}, "exports": {".": {"types": "./lib/index.d.mts", "default": "./lib/index.mjs"}}, "dependencies": {"shape": "2.0.0", "unheard": "1.0.0", "plain": "1.0.0", "@a/b": "1.0.0", "@types/a__b": "1.0.0"}}`,
		"lib/index.d.mts":       "import type { Shape } from \"shape\"\nexport * from './more.cjs'\nexport const p: typeof import('plain')\n/// <reference types=\"@a/b\" />",
		"lib/more.d.cts":        "export declare const n: number",
		"lib/index.mjs":         `import "unheard"`,
		"node_modules/x/a.d.ts": "export {}",
		"README.md":             "much",
	})
	r.registry.PublishFiles(t, map[string]string{"package.json": `{"name": "shape", "version": "2.0.0", "types": "shape.d.ts"}`, "shape.d.ts": "export interface Shape { at\xff: 1 }"})
	r.registry.PublishFiles(t, map[string]string{"package.json": `{"name": "shape", "version": "1.0.0", "types": "shape.d.ts"}`, "shape.d.ts": "export type Old = 1"})
	r.registry.PublishFiles(t, map[string]string{"package.json": `{"name": "unheard", "version": "1.0.0"}`, "index.d.ts": "export {}"})
	r.registry.PublishFiles(t, map[string]string{"package.json": `{"name": "plain", "version": "1.0.0", "main": "i.js"}`, "i.js": "1"})
	r.registry.PublishFiles(t, map[string]string{"package.json": `{"name": "@a/b", "version": "1.0.0"}`, "index.js": "1"})
	r.registry.PublishFiles(t, map[string]string{"package.json": `{"name": "@types/a__b", "version": "1.0.0"}`, "index.d.ts": "export const b: 1"})
	r.add("queue@1.0.0", "shape@1.0.0")
	if s := r.install(); s.Status != packages.Ready {
		t.Fatal(s.ErrorMessage)
	}

	got := r.types("queue")
	want := map[string]string{
		"node_modules/queue/package.json":                    `{"exports":{".":{"types":"./lib/index.d.mts","default":"./lib/index.mjs"}},"name":"queue","version":"1.0.0"}`,
		"node_modules/queue/lib/index.d.mts":                 "import type { Shape } from \"shape\"\nexport * from './more.cjs'\nexport const p: typeof import('plain')\n/// <reference types=\"@a/b\" />",
		"node_modules/queue/lib/more.d.cts":                  "export declare const n: number",
		"node_modules/queue/node_modules/shape/package.json": `{"name":"shape","types":"shape.d.ts","version":"2.0.0"}`,
		"node_modules/queue/node_modules/shape/shape.d.ts":   "export interface Shape { at\ufffd: 1 }",
		"node_modules/plain/package.json":                    `{"main":"i.js","name":"plain","version":"1.0.0"}`,
		"node_modules/@a/b/package.json":                     `{"name":"@a/b","version":"1.0.0"}`,
		"node_modules/@types/a__b/package.json":              `{"name":"@types/a__b","version":"1.0.0"}`,
		"node_modules/@types/a__b/index.d.ts":                "export const b: 1",
	}
	if diff := cmp.Diff(want, told(got)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	got.Files = nil
	if diff := cmp.Diff(packages.Types{LockfileHash: *r.state().LockfileHash, Name: "queue", Version: "1.0.0", From: "queue", LeftOut: []packages.LeftOutType{}}, got); diff != "" {
		t.Errorf("the rest (-want +got):\n%s", diff)
	}
	for name, from := range map[string]string{"@a/b": "@types/a__b", "plain": "", "shape": "shape"} {
		if got := r.types(name).From; got != from {
			t.Errorf("the types of %s are from %q, want %q", name, got, from)
		}
	}
}

// What would be too much is left out package by package, and is said to be.
func TestTypesAreBounded(t *testing.T) {
	t.Parallel()
	r := setup(t, dbtest.SQLite(t))
	large := strings.Repeat("x", 8<<20)
	r.registry.PublishFiles(t, map[string]string{"package.json": `{"name": "large", "version": "1.0.0"}`, "index.d.ts": "// " + large})
	r.registry.PublishFiles(t, map[string]string{"package.json": `{"name": "small", "version": "1.0.0", "dependencies": {"large": "1.0.0", "many": "1.0.0"}}`, "index.d.ts": `import "large"; import "many"`})
	many := map[string]string{"package.json": `{"name": "many", "version": "1.0.0"}`}
	for i := range 4001 {
		many[fmt.Sprintf("%d.d.ts", i)] = ""
	}
	r.registry.PublishFiles(t, many)
	r.add("small@1.0.0")
	if s := r.install(); s.Status != packages.Ready {
		t.Fatal(s.ErrorMessage)
	}
	const reason = "with its declarations there would be more than 4000 files or 8 MiB"
	got := r.types("small")
	if diff := cmp.Diff([]packages.LeftOutType{{"large@1.0.0", reason}, {"many@1.0.0", reason}}, got.LeftOut); diff != "" {
		t.Errorf("left out (-want +got):\n%s", diff)
	}
	if len(got.Files) != 2 {
		t.Errorf("%d files are told, want package.json and index.d.ts", len(got.Files))
	}
}

// Of very many packages the first that are needed are told.
func TestTypesOfManyPackages(t *testing.T) {
	t.Parallel()
	r := setup(t, dbtest.SQLite(t))
	const needed, most = 230, 200
	var imports, dependencies []string
	for i := range needed {
		name := fmt.Sprintf("part-%03d", i)
		imports, dependencies = append(imports, fmt.Sprintf("import %q", name)), append(dependencies, fmt.Sprintf(`%q: "1.0.0"`, name))
		r.registry.PublishFiles(t, map[string]string{"package.json": fmt.Sprintf(`{"name": %q, "version": "1.0.0"}`, name), "index.d.ts": "export {}"})
	}
	r.registry.PublishFiles(t, map[string]string{
		"package.json": `{"name": "whole", "version": "1.0.0", "dependencies": {` + strings.Join(dependencies, ", ") + `}}`, "index.d.ts": strings.Join(imports, "; "),
	})
	r.add("whole@1.0.0")
	if s := r.install(); s.Status != packages.Ready {
		t.Fatal(s.ErrorMessage)
	}
	got := r.types("whole")
	var left []packages.LeftOutType
	for i := most - 1; i < needed; i++ {
		left = append(left, packages.LeftOutType{Name: fmt.Sprintf("part-%03d@1.0.0", i), Reason: "more than 200 packages are needed"})
	}
	if diff := cmp.Diff(left, got.LeftOut); diff != "" {
		t.Errorf("left out (-want +got):\n%s", diff)
	}
	if len(got.Files) != 2*most {
		t.Errorf("%d files are told, want %d", len(got.Files), 2*most)
	}
}

// Types are those of what is installed, not of what is on the list.
func TestTypesOfWhatIsNotInstalled(t *testing.T) {
	t.Parallel()
	r := setup(t, dbtest.SQLite(t))
	for _, step := range []struct {
		name string
		kind fault.Kind
	}{{"is-odd", fault.NotFound}, {"../x", fault.Invalid}} {
		if _, err := r.Types(t.Context(), step.name); !fault.Is(err, step.kind) {
			t.Errorf("before anything is installed, %s: %v, want %v", step.name, err, step.kind)
		}
	}
	r.add("is-odd@3.0.1")
	if s := r.install(); s.Status != packages.Ready {
		t.Fatal(s.ErrorMessage)
	}
	r.add("is-even@1.0.0")
	if got := r.types("is-odd"); got.From != "" || len(got.Files) != 1 {
		t.Errorf("a package without types is %+v", got)
	}
	if _, err := r.Types(t.Context(), "is-even"); !fault.Is(err, fault.NotFound) {
		t.Errorf("what is on the list only: %v, want NotFound", err)
	}
}
