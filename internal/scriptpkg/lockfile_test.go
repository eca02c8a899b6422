package scriptpkg_test

import (
	"strings"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
)

// The hashes were made with printf and sha256sum.
func TestL251_LockfileHash(t *testing.T) {
	t.Parallel()
	a := scriptpkg.Entry{Name: "a", Version: "1.0.0", Integrity: "sha512-A", BlobSha256: "00", Paths: []string{"node_modules/a"}}
	scoped := scriptpkg.Entry{Name: "@s/b", Version: "2.0.0", Integrity: "sha512-B"}
	second := scriptpkg.Entry{Name: "a", Version: "1.1.0", Integrity: "sha512-C"}
	for name, c := range map[string]struct {
		entries []scriptpkg.Entry
		want    string
	}{
		"none":          {nil, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		"one":           {[]scriptpkg.Entry{a}, "051cb7fb06908421f483184d95b02aee9bfcd4701b363e61fb8791bb06d9e698"},
		"three":         {[]scriptpkg.Entry{scoped, a, second}, "b66c90795499a76aaeba431fbef84fad589d4ed6b27c6c9431e25966b9e3921b"},
		"another order": {[]scriptpkg.Entry{second, a, scoped}, "b66c90795499a76aaeba431fbef84fad589d4ed6b27c6c9431e25966b9e3921b"},
	} {
		if got := scriptpkg.LockfileHash(c.entries); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
	seen := map[string]bool{}
	for _, e := range []scriptpkg.Entry{a, {Name: "a", Version: "1.0.1", Integrity: "sha512-A"}, {Name: "a", Version: "1.0.0", Integrity: "sha512-B"}} {
		seen[scriptpkg.LockfileHash([]scriptpkg.Entry{e})] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d hashes for three different trees", len(seen))
	}
}

func TestNamesAndVersions(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "left-pad", "@scope/name", "JSONStream", "lodash.deburr", "a_b", "~x", "-"} {
		if err := scriptpkg.CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{
		"", ".a", "_a", "..", "a/b", "@/a", "@a/", "@a/b/c", "@a/..", "@../a", "a b", "a@1", "é", "a\x00", `a\b`, "a%2fb", "node_modules", "@a", strings.Repeat("a", 215),
	} {
		if scriptpkg.CheckName(name) == nil {
			t.Errorf("%q passes for a name", name)
		}
	}
	for _, version := range []string{"1.2.3", "0.0.0", "1.2.3-rc.1", "1.2.3-rc.1+build.5", "1.2.3+b"} {
		if err := scriptpkg.CheckVersion(version); err != nil {
			t.Errorf("%q: %v", version, err)
		}
	}
	for _, version := range []string{"", "1", "1.2", "v1.2.3", "^1.2.3", "1.2.x", "latest", "01.2.3", "1.2.3-", "1.2.3 ", "1.2.3/x", "../1.2.3", "1.2.3-" + strings.Repeat("a", 260)} {
		if scriptpkg.CheckVersion(version) == nil {
			t.Errorf("%q passes for a version", version)
		}
	}
}

func TestEntryValidate(t *testing.T) {
	t.Parallel()
	good := scriptpkg.Entry{
		Name: "@s/a", Version: "1.0.0", Integrity: isOdd, BlobSha256: scriptpkg.Sha256(nil),
		Paths: []string{"node_modules/@s/a", "node_modules/b/node_modules/@s/a", "node_modules/@c/d/node_modules/alias"},
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(e *scriptpkg.Entry){
		"name":      func(e *scriptpkg.Entry) { e.Name = "../a" },
		"version":   func(e *scriptpkg.Entry) { e.Version = "1" },
		"integrity": func(e *scriptpkg.Entry) { e.Integrity = "sha1-ZQE6xzfXJ7ZvpPYvUM3aLznXmPE=" },
		"digest":    func(e *scriptpkg.Entry) { e.BlobSha256 = "xyz" },
		"empty":     func(e *scriptpkg.Entry) { e.Paths = []string{""} },
		"absolute":  func(e *scriptpkg.Entry) { e.Paths = []string{"/node_modules/a"} },
		"elsewhere": func(e *scriptpkg.Entry) { e.Paths = []string{"lib/a"} },
		"above":     func(e *scriptpkg.Entry) { e.Paths = []string{"node_modules/.."} },
		"deep":      func(e *scriptpkg.Entry) { e.Paths = []string{"node_modules/a/b"} },
		"inner":     func(e *scriptpkg.Entry) { e.Paths = []string{"node_modules/a/node_modules/../../../x"} },
		"slash":     func(e *scriptpkg.Entry) { e.Paths = []string{"node_modules/a/"} },
		"long": func(e *scriptpkg.Entry) {
			e.Paths = []string{strings.Repeat("node_modules/a/", 400) + "node_modules/a"}
		},
	} {
		e := good
		spoil(&e)
		if e.Validate() == nil {
			t.Errorf("%s: %+v passes", name, e)
		}
	}
}
