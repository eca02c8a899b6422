package packages_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/npmtest"
	"github.com/perigee-monitoring/perigee/internal/packages"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
	"github.com/perigee-monitoring/perigee/internal/store"
)

// rig is a core's packages on a database and a registry of its own.
type rig struct {
	*packages.Service
	t        *testing.T
	db       *store.DB
	registry *npmtest.Registry
	bell     *bus.Local
	config   packages.Config
}

var jane = entity.Actor{Type: "user", ID: "u1", Name: "jane"}

func setup(t *testing.T, url string, change ...func(*packages.Config)) *rig {
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
	r := &rig{t: t, db: db, registry: npmtest.New(t), bell: &bus.Local{}}
	r.config = packages.Config{
		Store: db, Recorder: entity.NewRecorder(db, r.bell, packages.Derivers()...), Bell: r.bell, Blobs: []packages.BlobStore{db.Blobs()},
		Registry: r.registry.URL, Log: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&r.config)
	}
	r.Service = r.core(r.config)
	return r
}

// core is one more core on the same database; it runs until the test ends.
func (r *rig) core(c packages.Config) *packages.Service {
	r.t.Helper()
	s, err := packages.New(c)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			r.t.Error(err)
		}
	})
	r.t.Cleanup(func() { cancel(); running.Wait() })
	return s
}

func (r *rig) add(specs ...string) {
	r.t.Helper()
	for _, s := range specs {
		i := strings.LastIndex(s, "@")
		if _, err := r.Add(r.t.Context(), jane, s[:i], s[i+1:]); err != nil {
			r.t.Fatal(err)
		}
	}
}

// install installs and waits for what comes of it.
func (r *rig) install() packages.State {
	r.t.Helper()
	rings, end := r.bell.Subscribe(packages.Topic)
	defer end()
	if err := r.Install(r.t.Context(), jane); err != nil {
		r.t.Fatal(err)
	}
	<-rings
	return r.state()
}

func (r *rig) state() packages.State {
	r.t.Helper()
	state, err := r.State(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return state
}

func (r *rig) ready() string {
	r.t.Helper()
	state := r.install()
	if state.Status != packages.Ready || state.LockfileHash == nil {
		r.t.Fatalf("the state is %+v", state)
	}
	return *state.LockfileHash
}

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

func TestOneCoreInstallsAtATime(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		hold := &holding{entered: make(chan struct{}), leave: make(chan struct{})}
		r := setup(t, url, func(c *packages.Config) {
			hold.BlobStore = c.Blobs[0]
			c.Blobs = []packages.BlobStore{hold}
		})
		other := r.core(r.config)
		r.add("is-number@6.0.0")
		rings, end := r.bell.Subscribe(packages.Topic)
		defer end()
		if err := r.Install(t.Context(), jane); err != nil {
			t.Fatal(err)
		}
		<-hold.entered
		if err := other.Install(t.Context(), jane); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "being installed") {
			t.Errorf("a second installation: %v", err)
		}
		if _, err := other.Collect(t.Context()); !fault.Is(err, fault.Conflict) {
			t.Errorf("L250: a collection meanwhile: %v", err)
		}
		if state := r.state(); state.Status != packages.Installing {
			t.Errorf("meanwhile: %+v", state)
		}
		close(hold.leave)
		<-rings
		if state := r.state(); state.Status != packages.Ready {
			t.Errorf("afterwards: %+v", state)
		}
	})
}

// holding is a store in which writers wait.
type holding struct {
	packages.BlobStore
	entered, leave chan struct{}
}

func (h *holding) Put(ctx context.Context, integrity string, data []byte) error {
	close(h.entered)
	select {
	case <-h.leave:
		return h.BlobStore.Put(ctx, integrity, data)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func TestACoreThatStopsSaysSo(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		hold := &holding{entered: make(chan struct{}), leave: make(chan struct{})}
		r := setup(t, url)
		r.add("is-number@6.0.0")
		c := r.config
		hold.BlobStore = c.Blobs[0]
		c.Blobs = []packages.BlobStore{hold}
		core, err := packages.New(c)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- core.Run(ctx) }()
		if err := core.Install(t.Context(), jane); err != nil {
			t.Fatal(err)
		}
		<-hold.entered
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if state := r.state(); state.Status != packages.Failed || !strings.Contains(state.ErrorMessage, "the core stopped while it installed") {
			t.Errorf("%+v", state)
		}
		r.ready()
	})
}

// abandon makes the lease of whoever installs lapse, as if its core had been killed.
func TestAKilledCoreIsTakenOverFrom(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		r := setup(t, url)
		r.add("is-number@6.0.0")
		killed, err := packages.New(r.config) // it never runs
		if err != nil {
			t.Fatal(err)
		}
		if err := killed.Install(t.Context(), jane); err != nil {
			t.Fatal(err)
		}
		if err := r.Install(t.Context(), jane); !fault.Is(err, fault.Conflict) {
			t.Errorf("while the lease holds: %v", err)
		}
		err = r.db.InTx(t.Context(), func(etx entity.Tx) error {
			tx := etx.(*store.Tx)
			i, err := tx.InstallationForUpdate(t.Context())
			if err != nil {
				return err
			}
			i.LeaseUntil = new(i.LeaseUntil.Add(-time.Hour))
			return tx.PutInstallation(t.Context(), i)
		})
		if err != nil {
			t.Fatal(err)
		}
		if state := r.state(); state.Status != packages.Failed || !strings.Contains(state.ErrorMessage, "has ended") {
			t.Errorf("after the lease: %+v", state)
		}
		r.ready()
	})
}

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
			got, err := r.Collect(t.Context())
			if err != nil {
				t.Fatal(err)
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

// memory is a store of blobs in memory.
type memory struct{ all sync.Map }

func (*memory) Name() string { return "memory" }

func (m *memory) Put(_ context.Context, integrity string, data []byte) error {
	m.all.Store(integrity, bytes.Clone(data))
	return nil
}

func (m *memory) Get(_ context.Context, integrity string) ([]byte, error) {
	data, ok := m.all.Load(integrity)
	if !ok {
		return nil, fault.New(fault.NotFound, "not here")
	}
	return slices.Clone(data.([]byte)), nil
}

func (m *memory) Delete(_ context.Context, integrity string) error {
	m.all.Delete(integrity)
	return nil
}
