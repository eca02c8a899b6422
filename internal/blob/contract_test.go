package blob_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/perigee-monitoring/perigee/internal/blob"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stores are all that packages can be kept in: those of this package, and the
// database, which keeps to the same contract.
var stores = map[string]func(t *testing.T) blob.Store{
	"dir": func(t *testing.T) blob.Store { return openDir(t, filepath.Join(t.TempDir(), "blobs")) },
	"s3":  func(t *testing.T) blob.Store { return startS3(t).open() },
	"db on SQLite": func(t *testing.T) blob.Store {
		return openDB(t, dbtest.SQLite(t))
	},
	"db on PostgreSQL": func(t *testing.T) blob.Store { return openDB(t, dbtest.PostgreSQL(t)) },
}

func openDir(t *testing.T, path string) *blob.Dir {
	t.Helper()
	d, err := blob.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func openDB(t *testing.T, url string) store.Blobs {
	t.Helper()
	db, err := store.Open(t.Context(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db.Blobs()
}

func onEach(t *testing.T, test func(t *testing.T, s blob.Store)) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

const integrity = "sha512-a/b+c=="

func put(t *testing.T, s blob.Store, integrity string, data []byte) {
	t.Helper()
	if err := s.Put(t.Context(), integrity, data); err != nil {
		t.Fatal(err)
	}
}

// holds checks that the store has those bytes under the integrity.
func holds(t *testing.T, s blob.Store, integrity string, want []byte) {
	t.Helper()
	got, err := s.Get(t.Context(), integrity)
	if err != nil || !bytes.Equal(want, got) {
		t.Errorf("Get(%.40q) = %d bytes (%.20q…), %v; want %d (%.20q…)", integrity, len(got), got, err, len(want), want)
	}
}

// lacks checks that the store says of itself that it has no such blob.
func lacks(t *testing.T, s blob.Store, integrity string) {
	t.Helper()
	if got, err := s.Get(t.Context(), integrity); !fault.Is(err, fault.NotFound) {
		t.Errorf("Get(%.40q) = %d bytes, %v; want NotFound", integrity, len(got), err)
	}
}

func TestABlobIsPutReadAndDeleted(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s blob.Store) {
		lacks(t, s, integrity)
		if err := s.Delete(t.Context(), integrity); err != nil {
			t.Errorf("deleting what is not there: %v", err)
		}
		large := bytes.Repeat([]byte("0123456789abcdef"), 3<<16) // of several parts, where there are parts
		put(t, s, integrity, large)
		put(t, s, "sha512-neighbour", []byte("another"))
		holds(t, s, integrity, large)
		holds(t, s, "sha512-neighbour", []byte("another"))

		// What has rotted is put again: the last one counts, also when it is shorter.
		for _, data := range []string{"short", "longer again"} {
			put(t, s, integrity, []byte(data))
			holds(t, s, integrity, []byte(data))
		}
		for range 2 {
			if err := s.Delete(t.Context(), integrity); err != nil {
				t.Fatal(err)
			}
			lacks(t, s, integrity)
		}
		holds(t, s, "sha512-neighbour", []byte("another"))
	})
}

// Two cores may install the same package: one whose lease has lapsed, and who took over.
func TestWritersOfOneBlobDoNotDisturbEachOther(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s blob.Store) {
		data := bytes.Repeat([]byte("packed"), 1<<18)
		var writers sync.WaitGroup
		for range 5 {
			writers.Go(func() {
				for range 3 {
					if err := s.Put(t.Context(), integrity, data); err != nil {
						t.Error(err)
					}
					// Whoever reads meanwhile reads it whole.
					if got, err := s.Get(t.Context(), integrity); err != nil || !bytes.Equal(data, got) {
						t.Errorf("read %d bytes of %d, %v", len(got), len(data), err)
					}
				}
			})
		}
		writers.Wait()
		holds(t, s, integrity, data)
	})
}

// An integrity comes from a registry and from satellites.
func TestHostileIntegrities(t *testing.T) {
	t.Parallel()
	hostile := []string{
		"../../outside", "/etc/passwd", "a/../../outside", "..", ".", "C:\\outside", "sha512-", "sha512-A==", "sha512-a==", "sha512-a%3D%3D",
		"sha512-a== ", "sha512-a==?versionId=1", "sha512-a==\r\nx: y", "'; DROP TABLE script_package_blob_data; --", "sha512-ä", strings.Repeat("x", 5000),
	}
	onEach(t, func(t *testing.T, s blob.Store) {
		for i, name := range hostile {
			put(t, s, name, fmt.Append(nil, i))
		}
		for i, name := range hostile { // each is its own
			holds(t, s, name, fmt.Append(nil, i))
		}
		for i, name := range hostile {
			if err := s.Delete(t.Context(), name); err != nil {
				t.Errorf("deleting %.40q: %v", name, err)
			}
			lacks(t, s, name)
			if i+1 < len(hostile) {
				holds(t, s, hostile[i+1], fmt.Append(nil, i+1))
			}
		}
	})
}

func TestNothingIsWrittenOutsideTheDirectory(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	d := openDir(t, filepath.Join(outside, "deep", "blobs"))
	for _, name := range []string{"../../outside", "..", filepath.Join(outside, "outside")} {
		put(t, d, name, []byte("x"))
	}
	for _, file := range files(t, outside) {
		if !strings.HasPrefix(file, filepath.Join("deep", "blobs")+string(filepath.Separator)) {
			t.Errorf("there is %s", file)
		}
	}
	// A link that somebody put there does not lead out either.
	dir := filepath.Dir(only(t, outside, "deep"))
	if err := errors.Join(os.RemoveAll(filepath.Join(outside, dir)), os.Symlink(outside, filepath.Join(outside, dir))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../../outside", "..", filepath.Join(outside, "outside")} {
		_ = d.Put(t.Context(), name, []byte("x")) // refused where the link is
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 1 {
		t.Errorf("outside there are %v, %v", entries, err)
	}
}

// files are all below a directory, relative to it.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			all = append(all, filepath.FromSlash(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// only is the first of the files whose path begins so.
func only(t *testing.T, dir, prefix string) string {
	t.Helper()
	all := files(t, dir)
	i := slices.IndexFunc(all, func(file string) bool { return strings.HasPrefix(file, prefix) })
	if i < 0 {
		t.Fatalf("there are %v, and nothing of %s", all, prefix)
	}
	return all[i]
}

func TestAPutThatBreaksOffLeavesNothingThatLooksWhole(t *testing.T) {
	t.Parallel()
	t.Run("dir, the core was killed", func(t *testing.T) {
		t.Parallel()
		path := t.TempDir()
		d := openDir(t, path)
		draft := killedWriting(t, d, path)
		lacks(t, d, integrity)
		put(t, d, integrity, []byte("whole"))
		holds(t, d, integrity, []byte("whole"))
		if _, err := os.Stat(draft); err != nil {
			t.Errorf("a draft that may still be written to is gone: %v", err)
		}
	})
	t.Run("dir, it cannot be moved to its place", func(t *testing.T) {
		t.Parallel()
		path := t.TempDir()
		d := openDir(t, path)
		put(t, d, integrity, []byte("x"))
		place := filepath.Join(path, only(t, path, ""))
		if err := errors.Join(os.Remove(place), os.MkdirAll(filepath.Join(place, "in the way"), 0o700)); err != nil {
			t.Fatal(err)
		}
		if err := d.Put(t.Context(), integrity, []byte("x")); !fault.Is(err, fault.Unavailable) {
			t.Errorf("got %v", err)
		}
		if left := files(t, path); len(left) != 0 {
			t.Errorf("it left %v", left)
		}
	})
	t.Run("s3, whoever asked has gone", func(t *testing.T) {
		t.Parallel()
		bucket := startS3(t)
		s := bucket.open()
		ctx, cancel := context.WithCancel(t.Context())
		bucket.cutPut(100_000, cancel)
		if err := s.Put(ctx, integrity, make([]byte, 1<<20)); !fault.Is(err, fault.Unavailable) {
			t.Errorf("got %v", err)
		}
		lacks(t, s, integrity)
		put(t, s, integrity, []byte("whole"))
		holds(t, s, integrity, []byte("whole"))
	})
	t.Run("s3, the connection broke", func(t *testing.T) {
		t.Parallel()
		bucket := startS3(t)
		s := bucket.open()
		bucket.cutPut(100_000, func() {})
		data := bytes.Repeat([]byte("x"), 1<<20)
		put(t, s, integrity, data) // at the second try
		holds(t, s, integrity, data)
	})
	for name, url := range map[string]func(t *testing.T) string{
		"SQLite": func(t *testing.T) string { return dbtest.SQLite(t) }, "PostgreSQL": func(t *testing.T) string { return dbtest.PostgreSQL(t) },
	} {
		t.Run("db on "+name+", whoever asked has gone", func(t *testing.T) {
			t.Parallel()
			s := openDB(t, url(t))
			put(t, s, integrity, []byte("before"))
			// Of many parts, so that it breaks off between the first and the last.
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			defer cancel()
			if err := s.Put(ctx, integrity, make([]byte, 64<<20)); err == nil {
				t.Error("it was in time")
			}
			holds(t, s, integrity, []byte("before"))
		})
	}
}

// killedWriting leaves what a core leaves that is killed while it writes, and
// tells where.
func killedWriting(t *testing.T, d *blob.Dir, path string) string {
	t.Helper()
	put(t, d, integrity, []byte("x"))
	place := filepath.Join(path, only(t, path, ""))
	draft := place + ".0"
	if err := errors.Join(os.Remove(place), os.WriteFile(draft, []byte("who"), 0o600)); err != nil {
		t.Fatal(err)
	}
	return draft
}

// However often cores are killed, the directory does not fill with halves, and
// the blob can be written.
func TestDraftsOfTheDeadAreTakenAway(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	d := openDir(t, path)
	draft := killedWriting(t, d, path)
	for n := range 100 {
		name := fmt.Sprintf("%s.%d", strings.TrimSuffix(draft, ".0"), n)
		long := time.Now().Add(-25 * time.Hour)
		if err := errors.Join(os.WriteFile(name, []byte("who"), 0o600), os.Chtimes(name, long, long)); err != nil {
			t.Fatal(err)
		}
	}
	put(t, d, integrity, []byte("whole"))
	holds(t, d, integrity, []byte("whole"))
	want := []string{strings.TrimPrefix(strings.TrimSuffix(draft, ".0"), path+string(filepath.Separator))}
	if diff := cmp.Diff(want, files(t, path)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestADirectoryThatIsGoneIsUnavailable(t *testing.T) {
	t.Parallel()
	d, err := blob.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	unavailable(t, t.Context(), d)
}

// unavailable checks that a store which cannot be used does not say of a blob that
// it is not there.
func unavailable(t *testing.T, ctx context.Context, s blob.Store) {
	t.Helper()
	_, get := s.Get(ctx, integrity)
	for doing, err := range map[string]error{"put": s.Put(ctx, integrity, []byte("x")), "get": get, "delete": s.Delete(ctx, integrity)} {
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v, want Unavailable", doing, err)
		}
	}
}

func TestAddressesThatAreNone(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for address, says := range map[string]string{
		"":                                     "write dir:PATH or s3://BUCKET",
		"/var/lib/perigee":                     "write dir:PATH or s3://BUCKET",
		"dir:":                                 "no path given",
		"dir:" + file:                          "making a directory",
		"s3://":                                "write s3://BUCKET",
		"s3://key:secret@bucket":               "keys do not belong in the address",
		"s3://bucket?regio=eu":                 `unknown option "regio"`,
		"s3://bucket?endpoint=127.0.0.1":       "not of the form https://HOST",
		"s3://bucket?endpoint=ftp://127.0.0.1": "not of the form https://HOST",
		"s3://bucket?endpoint=https://h/path":  "not of the form https://HOST",
	} {
		if _, err := blob.Open(t.Context(), address, blob.Keys{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", address, err, says)
		}
	}
}
