package packages_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/npmtest"
	"github.com/perigee-monitoring/perigee/internal/packages"
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
