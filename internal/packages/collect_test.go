package packages_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/packages"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
)

func TestL250_Collect(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		counted := &counting{}
		r := setup(t, url, func(c *packages.Config) {
			c.Grace = time.Microsecond
			counted.BlobStore = c.Blobs[0]
			c.Blobs = []packages.BlobStore{counted}
		})
		collect := func(want packages.Collected) {
			t.Helper()
			said, err := r.Unneeded(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.Collect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if said.Blobs != got.Deleted+got.Failed || len(said.Packages) != said.Blobs || got.Failed == 0 && said.Bytes != got.Bytes {
				t.Errorf("it was said that %+v would go, and %+v went", said, got)
			}
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(packages.Collected{}, "Bytes")); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		}
		collect(packages.Collected{}) // nothing was ever installed
		replace := func(old, spec string) string {
			t.Helper()
			if old != "" {
				if err := r.Remove(t.Context(), jane, old); err != nil {
					t.Fatal(err)
				}
			}
			r.add(spec)
			return r.ready()
		}
		first := replace("", "is-buffer@1.1.6")
		second := replace("is-buffer", "is-number@6.0.0")
		collect(packages.Collected{}) // the tree before is kept
		third := replace("is-number", "lodash.deburr@4.1.0")
		counted.refuses = true
		collect(packages.Collected{Failed: 1})
		counted.refuses = false
		collect(packages.Collected{Deleted: 1})
		collect(packages.Collected{})
		if _, err := r.Manifest(t.Context(), first); !fault.Is(err, fault.NotFound) {
			t.Errorf("a tree whose blobs were collected: %v", err)
		}
		for _, hash := range []string{second, third} {
			entries, err := r.Manifest(t.Context(), hash)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if _, err := r.Blob(t.Context(), e.Integrity); err != nil {
					t.Errorf("%s is gone: %v", e.Name, err)
				}
			}
		}
		if err := r.Remove(t.Context(), jane, "lodash.deburr"); err != nil {
			t.Fatal(err)
		}
		r.install()
		collect(packages.Collected{Deleted: 1}) // of the second; satellites may still have the third
		if again := replace("", "is-buffer@1.1.6"); again != first {
			t.Errorf("a tree that comes back is %s, was %s", again, first)
		}
		if _, err := r.Manifest(t.Context(), first); err != nil {
			t.Error(err)
		}
	})
}

// replaceTwice installs two trees, each of another package, so that nothing needs the
// first any more.
func (r *rig) replaceTwice() {
	r.t.Helper()
	for _, next := range []string{"is-buffer@1.1.6", "lodash.deburr@4.1.0"} {
		list, err := r.Packages(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		if err := r.Remove(r.t.Context(), jane, list[0].Name); err != nil {
			r.t.Fatal(err)
		}
		r.add(next)
		r.ready()
	}
}

func TestL250_GraceIsHonoured(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		r := setup(t, url)
		r.add("is-number@6.0.0")
		r.ready()
		r.replaceTwice()
		if got, err := r.Collect(t.Context()); err != nil || got != (packages.Collected{}) {
			t.Errorf("blobs of today were collected: %+v, %v", got, err)
		}
	})
}

func TestL250_BlobsAreReadAndDeletedWhereTheyAre(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		r := setup(t, url, func(c *packages.Config) { c.Grace = time.Microsecond })
		r.add("is-number@6.0.0")
		hash := r.ready()
		// From now on another store gets what is new; what is there is read where it is.
		c := r.config
		newer := &counting{BlobStore: &memory{}, name: "newer"}
		c.Blobs = []packages.BlobStore{newer, r.db.Blobs()}
		r.Service = r.core(c)
		entries, err := r.Manifest(t.Context(), hash)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Blob(t.Context(), entries[0].Integrity); err != nil || newer.reads() != 0 {
			t.Errorf("%v, and the other store was read %d times", err, newer.reads())
		}
		r.replaceTwice()
		if got, err := r.Collect(t.Context()); err != nil || got.Deleted != 1 {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := r.db.Blobs().Get(t.Context(), entries[0].Integrity); !fault.Is(err, fault.NotFound) {
			t.Errorf("it is still in the database: %v", err)
		}
	})
}

// What was lost or has rotted in a store is found out and made anew.
func TestALostBlobIsMadeAnew(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		r := setup(t, url)
		r.add("is-number@6.0.0")
		hash := r.ready()
		entries, err := r.Manifest(t.Context(), hash)
		if err != nil {
			t.Fatal(err)
		}
		integrity := entries[0].Integrity
		if err := r.db.Blobs().Put(t.Context(), integrity, []byte("rotten")); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Blob(t.Context(), integrity); !fault.Is(err, fault.NotFound) || !errors.Is(err, scriptpkg.ErrMismatch) {
			t.Errorf("a rotten blob: %v", err)
		}
		if again := r.ready(); again != hash {
			t.Errorf("the hash is %s, was %s", again, hash)
		}
		if _, err := r.Blob(t.Context(), integrity); err != nil {
			t.Error("rotten: ", err)
		}
		if err := r.db.Blobs().Delete(t.Context(), integrity); err != nil {
			t.Fatal(err)
		}
		if again := r.ready(); again != hash {
			t.Errorf("the hash is %s, was %s", again, hash)
		}
		if _, err := r.Blob(t.Context(), integrity); err != nil {
			t.Error(err)
		}
	})
}

func TestTheCacheIsBounded(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		counted := &counting{}
		r := setup(t, url, func(c *packages.Config) {
			c.CacheBytes = 6000
			counted.BlobStore = c.Blobs[0]
			c.Blobs = []packages.BlobStore{counted}
		})
		r.add("is-number@6.0.0", "is-buffer@1.1.6", "lodash.deburr@4.1.0")
		entries, err := r.Manifest(t.Context(), r.ready())
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			for _, e := range entries {
				if _, err := r.Blob(t.Context(), e.Integrity); err != nil {
					t.Fatal(err)
				}
			}
		}
		// About 3, 3 and 4.5 KB: never all three.
		if n := counted.reads(); n <= 3 || n > 6 {
			t.Errorf("the store was read %d times", n)
		}
	})
}
