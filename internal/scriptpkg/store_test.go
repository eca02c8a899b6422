package scriptpkg_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/npmtest"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
)

// parcel is a package of the test registry as an entry and a blob.
func parcel(t *testing.T, name, version string, paths ...string) (scriptpkg.Entry, []byte) {
	t.Helper()
	tarball := npmtest.Tarball(t, name+"@"+version)
	blob, err := scriptpkg.Pack(name, version, bytes.NewReader(tarball), scriptpkg.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return scriptpkg.Entry{
		Name: name, Version: version, Integrity: scriptpkg.IntegrityOf(tarball), BlobSha256: scriptpkg.Sha256(blob), Paths: paths,
	}, blob
}

type clock struct{ now time.Time }

func openStore(t *testing.T, dir string, c *clock, cache int64) *scriptpkg.Store {
	t.Helper()
	s, err := scriptpkg.OpenStore(dir, scriptpkg.StoreOptions{CacheBytes: cache, Now: func() time.Time { return c.now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// slugify is a scoped package with all that it depends on.
func slugify(t *testing.T) (entries []scriptpkg.Entry, blobs map[string][]byte) {
	t.Helper()
	blobs = map[string][]byte{}
	for _, p := range []struct{ name, version, path string }{
		{"@sindresorhus/slugify", "1.1.2", "node_modules/@sindresorhus/slugify"},
		{"@sindresorhus/transliterate", "0.1.2", "node_modules/@sindresorhus/transliterate"},
		{"escape-string-regexp", "4.0.0", "node_modules/escape-string-regexp"},
		{"escape-string-regexp", "2.0.0", "node_modules/@sindresorhus/transliterate/node_modules/escape-string-regexp"},
		{"lodash.deburr", "4.1.0", "node_modules/lodash.deburr"},
	} {
		e, blob := parcel(t, p.name, p.version, p.path)
		entries = append(entries, e)
		blobs[e.Integrity] = blob
	}
	return entries, blobs
}

func install(t *testing.T, s *scriptpkg.Store, entries []scriptpkg.Entry, blobs map[string][]byte) (hash string, fetched int) {
	t.Helper()
	missing, err := s.Missing(entries)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range missing {
		if err := s.Add(e, bytes.NewReader(blobs[e.Integrity])); err != nil {
			t.Fatal(err)
		}
	}
	hash = scriptpkg.LockfileHash(entries)
	if err := s.Activate(hash, entries); err != nil {
		t.Fatal(err)
	}
	return hash, len(missing)
}

// node runs a script in a run's directory and gives what it prints.
func node(t *testing.T, s *scriptpkg.Store, script string) string {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("this test needs node in PATH: ", err)
	}
	run, err := s.RunDir()
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	if err := os.WriteFile(filepath.Join(run.Path, "script.js"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), path, "script.js")
	command.Dir = run.Path
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestL244_L245_M83_M84_ScopedTreeIsUsed(t *testing.T) {
	t.Parallel()
	s := openStore(t, t.TempDir(), &clock{time.Now()}, 0)
	entries, blobs := slugify(t)
	hash, fetched := install(t, s, entries, blobs)
	if fetched != len(entries) || s.Current() != hash {
		t.Errorf("%d of %d fetched, current is %q", fetched, len(entries), s.Current())
	}
	got := node(t, s, `console.log(require('@sindresorhus/slugify')('Déjà Vu'), require('escape-string-regexp/package.json').version)`)
	if got != "deja-vu 4.0.0" {
		t.Errorf("the script prints %q", got)
	}
	if _, fetched := install(t, s, entries, blobs); fetched != 0 {
		t.Errorf("%d are fetched again", fetched)
	}
}

func TestL247_TwoHostsConverge(t *testing.T) {
	t.Parallel()
	entries, blobs := slugify(t)
	var trees []map[string]string
	for range 2 {
		dir := t.TempDir()
		s := openStore(t, dir, &clock{time.Now()}, 0)
		hash, fetched := install(t, s, entries, blobs)
		if fetched != len(entries) {
			t.Errorf("%d of %d were fetched", fetched, len(entries))
		}
		tree := files(t, filepath.Join(dir, "trees", hash))
		if _, fetched := install(t, s, entries, blobs); fetched != 0 || s.Current() != hash {
			t.Errorf("the second pass fetched %d, current is %q", fetched, s.Current())
		}
		if diff := cmp.Diff(tree, files(t, filepath.Join(dir, "trees", hash))); diff != "" {
			t.Errorf("the second pass changed the tree (-before +after):\n%s", diff)
		}
		trees = append(trees, tree)
	}
	if diff := cmp.Diff(trees[0], trees[1]); diff != "" || len(trees[0]) < len(entries) {
		t.Errorf("of %d files (-one +other):\n%s", len(trees[0]), diff)
	}
}

// files are those of the packages of a tree, with what is in them.
func files(t *testing.T, tree string) map[string]string {
	t.Helper()
	all := map[string]string{}
	root := filepath.Join(tree, "node_modules")
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		all[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestM40_M89_WhatChangedOnDiskIsNotBelieved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	entries, blobs := slugify(t)
	s := openStore(t, dir, &clock{time.Now()}, 0)
	hash, _ := install(t, s, entries, blobs)
	s.Close()
	if got := openStore(t, dir, &clock{time.Now()}, 0).Current(); got != hash {
		t.Errorf("an intact tree is %q after a restart, want %q", got, hash)
	}
	victim := filepath.Join(dir, "trees", hash, "node_modules", "lodash.deburr", "index.js")
	if err := os.Chmod(victim, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(victim, []byte("evil"), 0o644); err != nil { // through the hard link, the cache as well
		t.Fatal(err)
	}
	s = openStore(t, dir, &clock{time.Now()}, 0)
	if got := s.Current(); got != "" {
		t.Errorf("a changed tree is current: %q", got)
	}
	if _, fetched := install(t, s, entries, blobs); fetched != 1 {
		t.Errorf("%d are fetched again, want the one that was changed", fetched)
	}
}

func TestL246_M39_TamperedBlobIsNotUnpacked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openStore(t, dir, &clock{time.Now()}, 0)
	e, blob := parcel(t, "is-odd", "3.0.1")
	forged := bytes.Clone(blob)
	forged[len(forged)/2] ^= 1
	if err := s.Add(e, bytes.NewReader(forged)); !errors.Is(err, scriptpkg.ErrMismatch) {
		t.Errorf("got %v", err)
	}
	for _, sub := range []string{"cache", ".scratch"} {
		if left, err := os.ReadDir(filepath.Join(dir, sub)); err != nil || len(left) != 0 {
			t.Errorf("%s holds %v (%v)", sub, left, err)
		}
	}
	unannounced := e
	unannounced.BlobSha256 = ""
	if err := s.Add(unannounced, bytes.NewReader(blob)); err != nil {
		t.Errorf("without an announced digest: %v", err)
	}
	if missing, err := s.Missing([]scriptpkg.Entry{e}); err != nil || len(missing) != 1 {
		t.Errorf("an unverified package stands for a verified one: %v, %v", missing, err)
	}
}

func TestL248_UnpackRefusesHostileBlobs(t *testing.T) {
	t.Parallel()
	const top = "a@1.0.0@@@1/"
	manifest := regular(top+"package.json", "{}")
	for name, blob := range map[string][]byte{
		"parent":       archive(t, manifest, regular(top+"../../x", "")),
		"absolute":     archive(t, manifest, regular("/etc/x", "")),
		"symlink":      archive(t, manifest, entry{tar.Header{Typeflag: tar.TypeSymlink, Name: top + "link", Linkname: "package.json"}, ""}),
		"hard link":    archive(t, manifest, entry{tar.Header{Typeflag: tar.TypeLink, Name: top + "link", Linkname: top + "package.json"}, ""}),
		"twice":        archive(t, manifest, manifest),
		"two tops":     archive(t, manifest, regular("b@1.0.0@@@1/package.json", "{}")),
		"another's":    archive(t, regular("b@1.0.0@@@1/package.json", "{}")),
		"file and dir": archive(t, manifest, regular(top+"x", ""), regular(top+"x/y", "")),
		"empty":        archive(t),
		"cut":          archive(t, manifest)[:40],
		"nothing":      nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			if _, err := scriptpkg.Unpack(root, "out", "a", "1.0.0", bytes.NewReader(blob), scriptpkg.Limits{}); !errors.Is(err, scriptpkg.ErrArchive) {
				t.Errorf("got %v", err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
				t.Errorf("it left %v (%v)", left, err)
			}
		})
	}
}

func TestL249_M88_OldTreesGoAfterTheirGrace(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), &clock{time.Now()}
	s := openStore(t, dir, now, 1<<20)
	entries, blobs := slugify(t)
	first, _ := install(t, s, entries, blobs)
	run, err := s.RunDir()
	if err != nil {
		t.Fatal(err)
	}
	odd, blob := parcel(t, "is-odd", "3.0.1", "node_modules/is-odd")
	second, _ := install(t, s, []scriptpkg.Entry{odd}, map[string][]byte{odd.Integrity: blob})
	trees := func(after time.Duration, want ...string) {
		t.Helper()
		now.now = now.now.Add(after)
		if err := s.Sweep(); err != nil {
			t.Fatal(err)
		}
		var got []string
		left, err := os.ReadDir(filepath.Join(dir, "trees"))
		if err != nil {
			t.Fatal(err)
		}
		for _, tree := range left {
			got = append(got, tree.Name())
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("trees (-want +got):\n%s", diff)
		}
	}
	trees(59*time.Minute, first, second)
	trees(2*time.Minute, first, second) // a script still runs in it
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
	trees(time.Second, second)
	if err := s.Clear(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "current")); !errors.Is(err, os.ErrNotExist) || s.Current() != "" {
		t.Errorf("after null: %v, current %q", err, s.Current())
	}
	if err := os.Remove(filepath.Join(dir, "trees", second, ".retired-at")); err != nil {
		t.Fatal(err)
	}
	trees(2*time.Hour, second) // without a stamp: stamped now
	trees(61 * time.Minute)
	if err := os.Remove(filepath.Join(dir, "trees")); err != nil {
		t.Fatal(err)
	}
	if err := s.Sweep(); err != nil {
		t.Errorf("without a directory: %v", err)
	}
}

func TestL252_ResolutionRoot(t *testing.T) {
	t.Parallel()
	s := openStore(t, t.TempDir(), &clock{time.Now()}, 0)
	hash, other := scriptpkg.LockfileHash(nil), "other"
	for _, c := range []struct {
		wanted *string
		want   scriptpkg.RootState
	}{{nil, scriptpkg.RootNone}, {&hash, scriptpkg.RootNotReady}} {
		if _, got := s.ResolutionRoot(c.wanted); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
	install(t, s, nil, nil)
	if dir, got := s.ResolutionRoot(&hash); got != scriptpkg.RootReady || filepath.Base(dir) != hash {
		t.Errorf("got %s at %s", got, dir)
	}
	if _, got := s.ResolutionRoot(&other); got != scriptpkg.RootNotReady {
		t.Errorf("another hash: got %s", got)
	}
}
