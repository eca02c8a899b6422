package packages_test

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/npmtest"
	"github.com/perigee-monitoring/perigee/internal/packages"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
)

var jane = entity.Actor{Type: "user", ID: "u1", Name: "jane"}

var tree = []string{
	"@sindresorhus/slugify@1.1.2", "@sindresorhus/transliterate@0.1.2", "escape-string-regexp@2.0.0", "escape-string-regexp@4.0.0",
	"is-buffer@1.1.6", "is-even@1.0.0", "is-number@3.0.0", "is-number@6.0.0", "is-odd@0.1.2", "is-odd@3.0.1", "kind-of@3.2.2", "lodash.deburr@4.1.0",
}

func TestInstallation(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		r := setup(t, url)
		state := r.state()
		if diff := cmp.Diff(packages.State{Status: packages.Idle, Warnings: []string{}, Registry: r.registry.URL}, state); diff != "" {
			t.Errorf("before: -want +got\n%s", diff)
		}
		r.add("@sindresorhus/slugify@1.1.2", "is-even@1.0.0", "is-odd@3.0.1")
		if !r.state().Outdated {
			t.Error("a new package does not show as one that is to be installed")
		}
		hash := r.ready()
		state = r.state()
		want := packages.State{
			Status: packages.Ready, LockfileHash: &hash, Packages: 12, Warnings: []string{}, Registry: r.registry.URL, Done: 12, Total: 12,
		}
		if diff := cmp.Diff(want, state, cmpopts.IgnoreFields(packages.State{}, "TotalSizeBytes", "LastInstalledAt")); diff != "" {
			t.Errorf("after: -want +got\n%s", diff)
		}

		manifest, err := r.Manifest(t.Context(), hash)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		var entries []scriptpkg.Entry
		var size int64
		for _, m := range manifest {
			names = append(names, m.Name+"@"+m.Version)
			entries = append(entries, scriptpkg.Entry{Name: m.Name, Version: m.Version, Integrity: m.Integrity})
			text, err := r.Blob(t.Context(), m.Integrity)
			if err != nil {
				t.Fatal(err)
			}
			blob, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			if err := scriptpkg.VerifySha256(m.BlobSha256, blob); err != nil {
				t.Errorf("%s: %v", m.Name, err)
			}
			size += int64(len(blob))
		}
		if diff := cmp.Diff(tree, names); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if got := scriptpkg.LockfileHash(entries); got != hash {
			t.Errorf("the hash is %s, and that of the manifest %s", hash, got)
		}
		if state.TotalSizeBytes != size {
			t.Errorf("the size is %d, want %d", state.TotalSizeBytes, size)
		}

		before := r.registry.Requests()
		if again := r.ready(); again != hash {
			t.Errorf("the same list gave %s, then %s", hash, again)
		}
		for place, n := range r.registry.Requests() {
			if strings.Contains(place, "/-/") && n != before[place] {
				t.Errorf("%s was downloaded again", place)
			}
		}
	})
}

func TestM86_PiecesComeFromMemory(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		counted := &counting{}
		r := setup(t, url, func(c *packages.Config) {
			counted.BlobStore = c.Blobs[0]
			c.Blobs = []packages.BlobStore{counted}
		})
		r.add("is-number@6.0.0")
		manifest, err := r.Manifest(t.Context(), r.ready())
		if err != nil {
			t.Fatal(err)
		}
		integrity := manifest[0].Integrity
		var askers sync.WaitGroup
		for range 20 {
			askers.Go(func() {
				var all []byte
				for {
					p, err := r.Piece(t.Context(), integrity, int64(len(all)), 1000)
					if err != nil {
						t.Error(err)
						return
					}
					all = append(all, p.Data...)
					if p.Sha256 != manifest[0].BlobSha256 {
						t.Errorf("the digest is %s", p.Sha256)
					}
					if int64(len(all)) == p.Total {
						break
					}
				}
				if err := scriptpkg.VerifySha256(manifest[0].BlobSha256, all); err != nil {
					t.Error(err)
				}
			})
		}
		askers.Wait()
		if n := counted.reads(); n != 1 {
			t.Errorf("the store was read %d times", n)
		}
		for offset, want := range map[int64]int{0: 1 << 10, 1 << 40: 0} {
			p, err := r.Piece(t.Context(), integrity, offset, 1<<10)
			if err != nil || len(p.Data) != want {
				t.Errorf("from %d: %d bytes, %v", offset, len(p.Data), err)
			}
		}
		if _, err := r.Piece(t.Context(), integrity, -1, 10); !fault.Is(err, fault.Invalid) {
			t.Errorf("from -1: %v", err)
		}
	})
}

// counting is a store whose reads are counted, and which can be made to fail.
type counting struct {
	packages.BlobStore
	mu      sync.Mutex
	got     int
	refuses bool
	name    string
}

func (c *counting) Name() string {
	if c.name != "" {
		return c.name
	}
	return c.BlobStore.Name()
}

func (c *counting) Get(ctx context.Context, integrity string) ([]byte, error) {
	c.mu.Lock()
	c.got++
	c.mu.Unlock()
	return c.BlobStore.Get(ctx, integrity)
}

func (c *counting) Delete(ctx context.Context, integrity string) error {
	if c.refuses {
		return errors.New("refused")
	}
	return c.BlobStore.Delete(ctx, integrity)
}

func (c *counting) reads() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got
}

func TestM82_UnknownAndFormerTrees(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		r := setup(t, url)
		r.add("is-number@6.0.0")
		first := r.ready()
		r.add("is-buffer@1.1.6")
		second := r.ready()
		for _, hash := range []string{first, second} {
			if entries, err := r.Manifest(t.Context(), hash); err != nil || len(entries) == 0 {
				t.Errorf("%s: %d entries, %v", hash, len(entries), err)
			}
		}
		for _, hash := range []string{"", strings.Repeat("0", 64), scriptpkg.LockfileHash(nil)} {
			if entries, err := r.Manifest(t.Context(), hash); !fault.Is(err, fault.NotFound) {
				t.Errorf("%q: %v, %v, want NotFound", hash, entries, err)
			}
		}
		if _, err := r.Blob(t.Context(), "sha512-unknown"); !fault.Is(err, fault.NotFound) {
			t.Errorf("an unknown blob: %v", err)
		}
	})
}

func TestM88_NoPackagesIsNull(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		r := setup(t, url)
		r.add("is-number@6.0.0")
		r.ready()
		if _, err := r.SetEnabled(t.Context(), jane, "is-number", false); err != nil {
			t.Fatal(err)
		}
		if state := r.install(); state.Status != packages.Ready || state.LockfileHash != nil {
			t.Errorf("a list without enabled packages: %+v", state)
		}
		if _, err := r.SetEnabled(t.Context(), jane, "is-number", true); err != nil {
			t.Fatal(err)
		}
		hash := r.ready()
		if err := r.Remove(t.Context(), jane, "is-number"); err != nil {
			t.Fatal(err)
		}
		if state := r.install(); state.Status != packages.Ready || state.LockfileHash != nil || state.Packages != 0 {
			t.Errorf("an empty list: %+v", state)
		}
		r.add("is-number@6.0.0")
		if again := r.ready(); again != hash {
			t.Errorf("removed and added again: %s, before %s", again, hash)
		}
	})
}

func TestTheListIsOfExactVersions(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		r := setup(t, url)
		r.add("is-number@6.0.0")
		for _, c := range []struct {
			name, version string
			kind          fault.Kind
			says          string
		}{
			{"is-number", "6.0.0", fault.Conflict, "is-number@6.0.0 is on the list already"},
			{"is-number", "3.0.0", fault.Conflict, "is-number@6.0.0 and is-number@3.0.0 cannot both be on the list"},
			{"is-odd", "^3.0.0", fault.Invalid, "not an exact version"},
			{"is-odd", "latest", fault.Invalid, "not an exact version"},
			{"../x", "1.0.0", fault.Invalid, "not the name of an npm package"},
		} {
			_, err := r.Add(t.Context(), jane, c.name, c.version)
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s@%s: got %v, want %q", c.name, c.version, err, c.says)
			}
		}
		if err := r.Remove(t.Context(), jane, "nothing"); !fault.Is(err, fault.NotFound) {
			t.Errorf("removing what is not there: %v", err)
		}
		list, err := r.Packages(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := []packages.Package{{Name: "is-number", Version: "6.0.0", Enabled: true, AddedBy: "jane"}}
		if diff := cmp.Diff(want, list, cmpopts.IgnoreFields(packages.Package{}, "AddedAt")); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

func TestM39_ForgedTarballIsNotTakenIn(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		r := setup(t, url)
		r.add("is-number@6.0.0")
		hash := r.ready()
		r.registry.Forge(t, "is-buffer", "1.1.6", npmtest.Pack(t, map[string]string{"package.json": "{}", "index.js": "evil()"}))
		r.add("is-buffer@1.1.6")
		state := r.install()
		want := packages.State{
			Status: packages.Failed, LockfileHash: &hash, Packages: 1, Outdated: true,
			ErrorMessage: "the tarball of is-buffer@1.1.6 is not what the registry " + strings.TrimPrefix(r.registry.URL, "http://") + " announced; nothing was taken in",
		}
		if diff := cmp.Diff(want, state, cmpopts.IgnoreFields(packages.State{}, "TotalSizeBytes", "LastInstalledAt", "Warnings", "Registry", "Done", "Total")); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if _, err := r.Manifest(t.Context(), hash); err != nil {
			t.Errorf("what satellites have is gone: %v", err)
		}
	})
}

func TestChangesAreEvents(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		r := setup(t, url)
		r.add("is-number@6.0.0")
		hash := r.ready()
		r.add("nothing@1.0.0")
		r.install()
		events, err := r.db.Events(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range events {
			if e.Kind == packages.KindTree && e.Actor == entity.System {
				continue // how far it is, once a second
			}
			got = append(got, e.Type+" "+e.Kind+" "+e.EntityID+" "+string(e.Payload)+" "+e.Actor.Name)
		}
		want := []string{
			`entity.changed script-package is-number {"changedFields":["enabled","version"],"delta":{"enabled":true,"version":"6.0.0"},"enabled":true,"id":"is-number",` +
				`"kind":"script-package","next":{"enabled":true,"version":"6.0.0"},"prev":null,"version":"6.0.0"} jane`,
			`entity.changed script-packages tree {"lockfileHash":null} jane`,
			`script-packages.changed script-packages tree {"lockfileHash":"` + hash + `"} jane`,
			`entity.changed script-package nothing {"changedFields":["enabled","version"],"delta":{"enabled":true,"version":"1.0.0"},"enabled":true,"id":"nothing",` +
				`"kind":"script-package","next":{"enabled":true,"version":"1.0.0"},"prev":null,"version":"1.0.0"} jane`,
			`entity.changed script-packages tree {"lockfileHash":"` + hash + `"} jane`,
			`script-packages.failed script-packages tree {"lockfileHash":"` + hash + `"} jane`,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

func TestSizeIsBounded(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		r := setup(t, url, func(c *packages.Config) { c.WarnBytes, c.BlockBytes = 2000, 5000 })
		r.add("is-number@6.0.0")
		if state := r.install(); state.Status != packages.Ready || len(state.Warnings) != 1 {
			t.Errorf("above the one bound: %+v", state)
		}
		r.add("lodash.deburr@4.1.0")
		if state := r.install(); state.Status != packages.Failed || !strings.Contains(state.ErrorMessage, "which is the most") {
			t.Errorf("above the other: %+v", state)
		}
	})
}

func TestThePrivateRegistryGetsItsToken(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		r := setup(t, url)
		r.registry.Require("s3cret")
		r.add("is-number@6.0.0")
		state := r.install()
		if state.Status != packages.Failed || !strings.Contains(state.ErrorMessage, "PERIGEE_NPM_TOKEN") {
			t.Errorf("without: %+v", state)
		}
		c := r.config
		c.Token = "s3cret"
		r.Service = r.core(c)
		r.ready()
	})
}

// A document that names another host does not send us there.
func TestTarballsComeFromTheRegistry(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		r := setup(t, url)
		elsewhere := npmtest.New(t)
		r.registry.Change(t, "is-number", "6.0.0", func(m *npmtest.Manifest) { m.Dist.Tarball = elsewhere.URL + "/is-number/-/is-number-6.0.0.tgz" })
		r.add("is-number@6.0.0")
		r.ready()
		if n := elsewhere.Requests(); len(n) != 0 {
			t.Errorf("another host was asked: %v", n)
		}
	})
}
