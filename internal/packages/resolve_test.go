package packages

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"deps.dev/util/semver"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/npmtest"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
)

func enabled(specs ...string) []Package {
	var list []Package
	for _, s := range specs {
		i := strings.LastIndex(s, "@")
		list = append(list, Package{Name: s[:i], Version: s[i+1:], Enabled: true})
	}
	return list
}

// at is where everything lies.
func at(r resolution) map[string]string {
	all := map[string]string{}
	for _, e := range r.entries {
		for _, p := range e.Paths {
			all[p] = e.Name + "@" + e.Version
		}
	}
	return all
}

func resolved(t *testing.T, r *npmtest.Registry, specs ...string) (resolution, error) {
	t.Helper()
	asked, err := newRegistry(r.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	return resolve(t.Context(), asked, enabled(specs...))
}

// The trees of real packages are those of npm 11's package-lock.json.
func TestM84_EveryVersionHasItsPlace(t *testing.T) {
	t.Parallel()
	got, err := resolved(t, npmtest.New(t), "@sindresorhus/slugify@1.1.2", "is-even@1.0.0", "is-odd@3.0.1")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"node_modules/@sindresorhus/slugify":                                         "@sindresorhus/slugify@1.1.2",
		"node_modules/@sindresorhus/transliterate":                                   "@sindresorhus/transliterate@0.1.2",
		"node_modules/@sindresorhus/transliterate/node_modules/escape-string-regexp": "escape-string-regexp@2.0.0",
		"node_modules/escape-string-regexp":                                          "escape-string-regexp@4.0.0",
		"node_modules/is-buffer":                                                     "is-buffer@1.1.6",
		"node_modules/is-even":                                                       "is-even@1.0.0",
		"node_modules/is-even/node_modules/is-number":                                "is-number@3.0.0",
		"node_modules/is-even/node_modules/is-odd":                                   "is-odd@0.1.2",
		"node_modules/is-number":                                                     "is-number@6.0.0",
		"node_modules/is-odd":                                                        "is-odd@3.0.1",
		"node_modules/kind-of":                                                       "kind-of@3.2.2",
		"node_modules/lodash.deburr":                                                 "lodash.deburr@4.1.0",
	}
	if diff := cmp.Diff(want, at(got)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if len(got.warnings) != 0 {
		t.Errorf("warnings: %q", got.warnings)
	}
}

func TestResolveAsNpmDoes(t *testing.T) {
	t.Parallel()
	type manifests = []npmtest.Manifest
	deps := func(pairs ...string) map[string]string {
		all := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			all[pairs[i]] = pairs[i+1]
		}
		return all
	}
	for name, c := range map[string]struct {
		registry manifests
		list     []string
		want     map[string]string
		warns    string
		fails    string
	}{
		"the newest that will do": {
			registry: manifests{
				{Name: "x", Version: "1.0.0", Dependencies: deps("y", "^1.0.0")},
				{Name: "y", Version: "1.0.0"},
				{Name: "y", Version: "1.9.0"},
				{Name: "y", Version: "2.0.0"},
				{Name: "y", Version: "1.10.0-rc.1"},
			},
			list: []string{"x@1.0.0"},
			want: deps("node_modules/x", "x@1.0.0", "node_modules/y", "y@1.9.0"),
		},
		"not a deprecated one": {
			registry: manifests{
				{Name: "x", Version: "1.0.0", Dependencies: deps("y", "*")},
				{Name: "y", Version: "1.0.0"},
				{Name: "y", Version: "1.9.0", Deprecated: "broken"},
			},
			list: []string{"x@1.0.0"},
			want: deps("node_modules/x", "x@1.0.0", "node_modules/y", "y@1.0.0"),
		},
		"an alias": {
			registry: manifests{
				{Name: "x", Version: "1.0.0", Dependencies: deps("y", "npm:@s/z@^2.0.0", "z", "1.x")},
				{Name: "@s/z", Version: "2.1.0"},
				{Name: "z", Version: "1.1.0"},
			},
			list: []string{"x@1.0.0"},
			want: deps("node_modules/x", "x@1.0.0", "node_modules/y", "@s/z@2.1.0", "node_modules/z", "z@1.1.0"),
		},
		"a missing peer is added beside": {
			registry: manifests{
				{Name: "x", Version: "1.0.0", PeerDependencies: deps("y", ">=1")},
				{Name: "y", Version: "1.0.0", PeerDependencies: deps("x", "*")},
				{Name: "y", Version: "2.0.0"},
			},
			list: []string{"x@1.0.0"},
			want: deps("node_modules/x", "x@1.0.0", "node_modules/y", "y@2.0.0"),
		},
		"a peer that is there is taken": {
			registry: manifests{
				{Name: "x", Version: "1.0.0", PeerDependencies: deps("y", ">=1")},
				{Name: "y", Version: "1.0.0"},
				{Name: "y", Version: "2.0.0"},
			},
			list: []string{"x@1.0.0", "y@1.0.0"},
			want: deps("node_modules/x", "x@1.0.0", "node_modules/y", "y@1.0.0"),
		},
		"one version for a package and its plugin": {
			registry: manifests{
				{Name: "x", Version: "1.0.0", Dependencies: deps("plugin", "1.0.0", "y", "^1.0.0")},
				{Name: "plugin", Version: "1.0.0", PeerDependencies: deps("y", ">=1")},
				{Name: "y", Version: "1.0.0"},
				{Name: "y", Version: "2.0.0"},
			},
			list: []string{"x@1.0.0"},
			want: deps("node_modules/x", "x@1.0.0", "node_modules/plugin", "plugin@1.0.0", "node_modules/y", "y@1.0.0"),
		},
		"a plugin goes where its peer is right": {
			registry: manifests{
				{Name: "x", Version: "1.0.0", Dependencies: deps("plugin", "1.0.0", "y", "^1.0.0")},
				{Name: "plugin", Version: "1.0.0", PeerDependencies: deps("y", "^1.0.0")},
				{Name: "y", Version: "1.0.0"},
				{Name: "y", Version: "2.0.0"},
			},
			list: []string{"x@1.0.0", "y@2.0.0"},
			want: deps("node_modules/x", "x@1.0.0", "node_modules/y", "y@2.0.0", "node_modules/x/node_modules/plugin", "plugin@1.0.0", "node_modules/x/node_modules/y", "y@1.0.0"),
		},
		"a peer of the list that cannot be": {
			registry: manifests{
				{Name: "x", Version: "1.0.0", PeerDependencies: deps("y", "^1.0.0")},
				{Name: "y", Version: "1.0.0"},
				{Name: "y", Version: "2.0.0"},
			},
			list:  []string{"x@1.0.0", "y@2.0.0"},
			fails: "x@1.0.0 wants y@^1.0.0 beside it, but y@2.0.0 is there",
		},
		"a peer deeper down that cannot be": {
			registry: manifests{
				{Name: "x", Version: "1.0.0", Dependencies: deps("z", "1.0.0", "y", "2.0.0")},
				{Name: "z", Version: "1.0.0", PeerDependencies: deps("y", "^1.0.0")},
				{Name: "y", Version: "1.0.0"},
				{Name: "y", Version: "2.0.0"},
			},
			list:  []string{"x@1.0.0", "y@2.0.0"},
			want:  deps("node_modules/x", "x@1.0.0", "node_modules/y", "y@2.0.0", "node_modules/x/node_modules/z", "z@1.0.0"),
			warns: "z@1.0.0 wants y@^1.0.0 beside it, but y@2.0.0 is there",
		},
		"optional ones for a platform are left out": {
			registry: manifests{
				{Name: "x", Version: "1.0.0", OptionalDependencies: deps("linux", "1.0.0", "missing", "1.0.0", "y", "1.0.0"), Dependencies: deps("y", "1.0.0")},
				{Name: "linux", Version: "1.0.0", OS: []string{"linux"}},
				{Name: "y", Version: "1.0.0"},
			},
			list: []string{"x@1.0.0"},
			want: deps("node_modules/x", "x@1.0.0", "node_modules/y", "y@1.0.0"),
		},
		"what the tarball brings is not fetched": {
			registry: manifests{{Name: "x", Version: "1.0.0", Dependencies: deps("y", "1.0.0"), BundleDependencies: []string{"y"}}},
			list:     []string{"x@1.0.0"},
			want:     deps("node_modules/x", "x@1.0.0"),
		},
		"packages that need each other": {
			registry: manifests{
				{Name: "x", Version: "1.0.0", Dependencies: deps("y", "1.0.0")},
				{Name: "y", Version: "1.0.0", Dependencies: deps("x", "2.0.0")},
				{Name: "x", Version: "2.0.0", Dependencies: deps("y", "1.0.0")},
			},
			list: []string{"x@1.0.0"},
			want: deps("node_modules/x", "x@1.0.0", "node_modules/y", "y@1.0.0", "node_modules/y/node_modules/x", "x@2.0.0"),
		},
		"no such version":        {registry: manifests{{Name: "x", Version: "1.0.0"}, {Name: "x", Version: "1.1.0"}}, list: []string{"x@3.0.0"}, fails: "there is no x@3.0.0; the newest are 1.1.0, 1.0.0"},
		"no such package":        {list: []string{"nothing@1.0.0"}, fails: "has no package nothing"},
		"no such dependency":     {registry: manifests{{Name: "x", Version: "1.0.0", Dependencies: deps("nothing", "1")}}, list: []string{"x@1.0.0"}, fails: "resolving what x@1.0.0 needs: the registry"},
		"no version will do":     {registry: manifests{{Name: "x", Version: "1.0.0", Dependencies: deps("y", "^2.0.0")}, {Name: "y", Version: "1.0.0"}}, list: []string{"x@1.0.0"}, fails: "no version of y is ^2.0.0; the newest are 1.0.0"},
		"not of the registry":    {registry: manifests{{Name: "x", Version: "1.0.0", Dependencies: deps("y", "git+https://example.org/y")}}, list: []string{"x@1.0.0"}, fails: "which is not in the registry"},
		"a file of the registry": {registry: manifests{{Name: "x", Version: "1.0.0", Dependencies: deps("y", "file:../../etc")}}, list: []string{"x@1.0.0"}, fails: "which is not in the registry"},
		"a hostile name":         {registry: manifests{{Name: "x", Version: "1.0.0", Dependencies: deps("../y", "1")}}, list: []string{"x@1.0.0"}, fails: "impossible name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			registry := npmtest.New(t)
			for _, m := range c.registry {
				registry.Publish(t, m)
			}
			got, err := resolved(t, registry, c.list...)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Fatalf("got %v, want an error that says %q", err, c.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, at(got)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if said := strings.Join(got.warnings, "; "); said != c.warns {
				t.Errorf("warns %q, want %q", said, c.warns)
			}
		})
	}
}

func TestM39_WithoutASha512NothingIsTaken(t *testing.T) {
	t.Parallel()
	registry := npmtest.New(t)
	registry.Change(t, "is-number", "6.0.0", func(m *npmtest.Manifest) { m.Dist.Integrity = "sha1-ZQE6xzfXJ7ZvpPYvUM3aLznXmPE=" })
	_, err := resolved(t, registry, "is-odd@3.0.1")
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "is-number@6.0.0 has no sha512") {
		t.Errorf("got %v", err)
	}
}

// TestTreesAreRight makes registries at random and looks, as Node does, from where
// each package lies for what it needs.
func TestTreesAreRight(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		docs, list := randomRegistry(t)
		known := newDocuments(context.Background(), nil)
		for name, d := range docs {
			done := make(chan struct{})
			close(done)
			known.all[name] = &asked{done: done, doc: d}
		}
		grown := &tree{root: newPlace(), docs: known}
		if err := grown.grow(list); err != nil {
			if text := err.Error(); !strings.Contains(text, "beside") && !strings.Contains(text, "nests more than") && !strings.Contains(text, "more than 10000") {
				t.Fatal(err)
			}
			return
		}
		got, err := grown.resolution()
		if err != nil {
			t.Fatal(err)
		}
		lies := map[string]scriptpkg.Entry{}
		for _, e := range got.entries {
			for _, p := range e.Paths {
				lies[p] = e
			}
		}
		for _, p := range list {
			if e := lies["node_modules/"+p.Name]; e.Version != p.Version {
				t.Errorf("%s of the list is at %q", p.Name, e.Version)
			}
		}
		warned := strings.Join(got.warnings, "\n")
		for place, e := range lies {
			m, err := docs[e.Name].manifest(e.Version)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range m.Dependencies {
				if found := seen(lies, place, name); !matches(want, found.Version) {
					t.Errorf("%s needs %s@%s and finds %q in %v", place, name, want, found.Version, slices.Sorted(maps.Keys(lies)))
				}
			}
			for name, want := range m.Peers {
				_, own := m.Dependencies[name]
				if found := seen(lies, path.Dir(place), name); !own && !matches(want, found.Version) && !strings.Contains(warned, e.Name+"@"+e.Version+" wants "+name+"@") {
					t.Errorf("%s wants %s@%s beside it and finds %q, unsaid", place, name, want, found.Version)
				}
			}
		}
	})
}

func matches(want, version string) bool {
	constraint, err := semver.NPM.ParseConstraint(want)
	return err == nil && version != "" && constraint.Match(version)
}

// seen is what Node finds: in the node_modules of the folder, or of one above.
func seen(lies map[string]scriptpkg.Entry, place, name string) scriptpkg.Entry {
	for {
		if e, ok := lies[path.Join(place, "node_modules", name)]; ok {
			return e
		}
		if place == "." || place == "" {
			return scriptpkg.Entry{}
		}
		place = path.Dir(place)
	}
}

func randomRegistry(t *rapid.T) (map[string]*document, []Package) {
	names := []string{"a", "b", "c", "@s/d", "e", "f"}
	versions := []string{"1.0.0", "1.1.0", "2.0.0", "3.0.0"}
	specs := rapid.SampledFrom([]string{"*", "^1.0.0", "1.0.0", "1.1.0", "2.x", ">=2", "^3.0.0", "<3"})
	some := func(what string, from []string, most int) ranges {
		all := ranges{}
		for i := range rapid.IntRange(0, min(most, len(from))).Draw(t, what) {
			all[rapid.SampledFrom(from).Draw(t, fmt.Sprintf("%s %d", what, i))] = specs.Draw(t, "range")
		}
		return all
	}
	circles := rapid.IntRange(0, 9).Draw(t, "circles") == 0
	docs := map[string]*document{}
	for i, name := range names {
		needs := names[i+1:]
		if circles {
			needs = names
		}
		d := &document{name: name, tags: map[string]string{"latest": rapid.SampledFrom(versions).Draw(t, "latest")}, versions: map[string]json.RawMessage{}}
		for _, version := range versions {
			text, err := json.Marshal(map[string]any{
				"dependencies": some(name+"@"+version, needs, 3), "peerDependencies": some("peers of "+name+"@"+version, names, 1),
				"dist": map[string]string{"integrity": scriptpkg.IntegrityOf([]byte(name + version))},
			})
			if err != nil {
				t.Fatal(err)
			}
			d.versions[version] = text
		}
		docs[name] = d
	}
	var list []Package
	for _, name := range names[:rapid.IntRange(1, 3).Draw(t, "list")] {
		list = append(list, Package{Name: name, Version: rapid.SampledFrom(versions).Draw(t, "version"), Enabled: true})
	}
	return docs, list
}
