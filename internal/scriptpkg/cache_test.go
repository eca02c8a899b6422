package scriptpkg_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/npmtest"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
)

// A cache of three and a half packages, each of a name of its own.
const (
	packageBytes = 10_000
	cacheBytes   = packageBytes*3 + packageBytes/2
)

// cacheRig is a store whose trees are of one package each, or of several.
type cacheRig struct {
	*scriptpkg.Store
	t     *testing.T
	dir   string
	clock *clock
	blobs map[string][]byte
	known map[string]scriptpkg.Entry // by name
}

func openCache(t *testing.T) *cacheRig {
	t.Helper()
	r := &cacheRig{t: t, dir: t.TempDir(), clock: &clock{time.Now()}, blobs: map[string][]byte{}, known: map[string]scriptpkg.Entry{}}
	r.Store = openStore(t, r.dir, r.clock, cacheBytes)
	return r
}

func (r *cacheRig) entries(names ...string) []scriptpkg.Entry {
	r.t.Helper()
	var entries []scriptpkg.Entry
	for _, name := range names {
		if _, ok := r.known[name]; !ok {
			manifest := fmt.Sprintf(`{"name":%q,"version":"1.0.0"}`, name)
			tarball := npmtest.Pack(r.t, map[string]string{"package.json": manifest, "index.js": strings.Repeat("/", packageBytes-len(manifest))})
			blob, err := scriptpkg.Pack(name, "1.0.0", bytes.NewReader(tarball), scriptpkg.Limits{})
			if err != nil {
				r.t.Fatal(err)
			}
			e := scriptpkg.Entry{
				Name: name, Version: "1.0.0", Integrity: scriptpkg.IntegrityOf(tarball), BlobSha256: scriptpkg.Sha256(blob), Paths: []string{"node_modules/" + name},
			}
			r.known[name], r.blobs[e.Integrity] = e, blob
		}
		entries = append(entries, r.known[name])
	}
	return entries
}

// use installs a tree of the packages, uses it for a moment, and tells how many had
// to be fetched.
func (r *cacheRig) use(names ...string) (fetched int) {
	r.t.Helper()
	r.clock.now = r.clock.now.Add(time.Minute)
	_, fetched = install(r.t, r.Store, r.entries(names...), r.blobs)
	install(r.t, r.Store, r.entries(names...), r.blobs)
	return fetched
}

// sweep lets time pass, sweeps, and compares what is left in the cache.
func (r *cacheRig) sweep(after time.Duration, want ...string) {
	r.t.Helper()
	r.clock.now = r.clock.now.Add(after)
	if err := r.Sweep(); err != nil {
		r.t.Fatal(err)
	}
	if diff := cmp.Diff(want, r.cached()); diff != "" {
		r.t.Errorf("in the cache (-want +got):\n%s", diff)
	}
	if got, err := r.CacheBytes(); err != nil || got != int64(len(want))*packageBytes {
		r.t.Errorf("the cache says that it holds %d bytes, %v", got, err)
	}
}

// cached is the names of the packages that lie in the cache, by what is in them.
func (r *cacheRig) cached() []string {
	r.t.Helper()
	manifests, err := filepath.Glob(filepath.Join(r.dir, "cache", "*", "package", "package.json"))
	if err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for _, manifest := range manifests {
		text, err := os.ReadFile(manifest)
		if err != nil {
			r.t.Fatal(err)
		}
		names = append(names, strings.Split(string(text), `"`)[3])
	}
	slices.Sort(names)
	return names
}

const past = scriptpkg.Grace + time.Minute

func TestTheCacheKeepsItsBound(t *testing.T) {
	t.Parallel()
	r := openCache(t)
	for _, name := range []string{"a", "b", "c"} {
		r.use(name)
	}
	r.sweep(past, "a", "b", "c") // no tree uses a and b, but there is room
	if fetched := r.use("a"); fetched != 0 {
		t.Errorf("what there was room for was fetched %d times more", fetched)
	}
	r.use("d")
	r.sweep(past, "a", "c", "d") // b is the one that was not used for longest
	if fetched := r.use("b"); fetched != 1 {
		t.Errorf("what had to go was fetched %d times", fetched)
	}
	r.sweep(past, "a", "b", "d") // c, which was used before a was used again
	for n := range 3 {
		r.use("d", fmt.Sprint("e", n))
	}
	r.sweep(past, "d", "e1", "e2")
}

func TestWhatIsInUseStaysInTheCache(t *testing.T) {
	t.Parallel()
	r := openCache(t)
	r.use("a")
	run, err := r.RunDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "c", "d", "e"} {
		r.use(name)
	}
	// Trees in their grace are of all five: more than the bound, and none is thrown away.
	r.sweep(0, "a", "b", "c", "d", "e")
	r.sweep(past, "a", "d", "e") // a script runs with a, and e is current
	r.use("f")
	r.sweep(past, "a", "e", "f")
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
	r.use("g")
	r.sweep(past, "e", "f", "g")

	// A package that two trees share stays with the one that is left.
	r.use("f", "h")
	r.use("f", "i")
	r.sweep(past, "f", "h", "i")
	if fetched := r.use("f", "i"); fetched != 0 {
		t.Errorf("%d of the current tree were fetched again", fetched)
	}
}

func TestTheCurrentTreeStaysUnderASmallerBound(t *testing.T) {
	t.Parallel()
	r := openCache(t)
	r.use("x", "y")
	hash := r.Current()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r.Store = openStore(t, r.dir, r.clock, 1)
	r.sweep(past, "x", "y")
	if r.Current() != hash {
		t.Errorf("the current tree is %q, was %s", r.Current(), hash)
	}
	if _, err := r.Missing(r.entries("x", "y")); !errors.Is(err, scriptpkg.ErrTooLarge) {
		t.Errorf("made anew it would be larger than the bound: %v", err)
	}
}

func TestATreeThatIsLargerThanTheBoundIsRefused(t *testing.T) {
	t.Parallel()
	r := openCache(t)
	r.use("a")
	hash := r.Current()
	large := r.entries("a", "b", "c", "d")
	missing, err := r.Missing(large)
	if err != nil || len(missing) != 3 {
		t.Fatalf("%d are missing, %v", len(missing), err)
	}
	for i, e := range missing {
		if err := r.Add(e, bytes.NewReader(r.blobs[e.Integrity])); errors.Is(err, scriptpkg.ErrTooLarge) != (i == 2) {
			t.Errorf("package %d of 3: %v", i, err)
		}
	}
	if err := r.Activate(scriptpkg.LockfileHash(large), large); err == nil || r.Current() != hash {
		t.Errorf("without one package: %v, and current is %q", err, r.Current())
	}
	r.sweep(past, "a", "b", "c")
	if fetched := r.use("a", "b", "c"); fetched != 0 {
		t.Errorf("a tree that fits fetched %d", fetched)
	}
}

// A package whose description is lost is counted by nobody, so it must not stay.
func TestWhatIsNotDescribedDoesNotStayInTheCache(t *testing.T) {
	t.Parallel()
	r := openCache(t)
	r.use("a")
	r.use("b")
	descriptions, err := filepath.Glob(filepath.Join(r.dir, "cache", "*", "contents.json"))
	if err != nil || len(descriptions) != 2 {
		t.Fatal(descriptions, err)
	}
	for _, file := range descriptions {
		if err := errors.Join(os.Chmod(file, 0o600), os.WriteFile(file, []byte("{"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	r.clock.now = r.clock.now.Add(past)
	if err := r.Sweep(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b"}, r.cached()); diff != "" { // b's files are those of the current tree
		t.Errorf("in the cache (-want +got):\n%s", diff)
	}
	if fetched := r.use("a", "b"); fetched != 2 {
		t.Errorf("%d of 2 were fetched again", fetched)
	}
}
