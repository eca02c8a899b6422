package packages_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/packages"
	"github.com/perigee-monitoring/perigee/internal/store"
)

// An installation whose core is gone is recorded as failed, so that who follows the stream
// hears of it; one that goes on is left alone.
func TestAnInstallationThatWasLeftBehindHasFailed(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		r := setup(t, url)
		leave := func(until time.Duration) {
			t.Helper()
			err := entity.InTx(t.Context(), r.config.Recorder, func(tx packages.Tx) error {
				now, err := tx.Now(t.Context())
				if err != nil {
					return err
				}
				i, err := tx.InstallationForUpdate(t.Context())
				if err != nil {
					return err
				}
				i.Status, i.Holder, i.LeaseUntil = packages.Installing, "a core that is gone", new(now.Add(until))
				return tx.PutInstallation(t.Context(), i)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		rings, end := r.bell.Subscribe(entity.TopicEvents)
		defer end()
		leave(time.Hour)
		if err := r.Abandon(t.Context()); err != nil {
			t.Fatal(err)
		}
		if state := r.state(); state.Status != packages.Installing {
			t.Errorf("one that goes on is %+v", state)
		}
		select {
		case <-rings:
			t.Error("there was an event of one that goes on")
		default:
		}
		leave(-time.Second)
		for range 2 {
			if err := r.Abandon(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		<-rings
		events, err := r.db.EventsOf(t.Context(), entity.EventFilter{Kinds: []string{packages.KindTree}, Type: packages.TypeFailed}, 10)
		if err != nil || len(events) != 1 {
			t.Errorf("events: %+v, %v, want one", events, err)
		}
		if state := r.state(); state.Status != packages.Failed || state.ErrorMessage != "the core that installed has ended; install again" {
			t.Errorf("the state is %+v", state)
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
		r.hears(`"total":1`)
		close(hold.leave)
		<-rings
		if state := r.state(); state.Status != packages.Ready {
			t.Errorf("afterwards: %+v", state)
		}
	})
}

// hears waits for an event after which the installation has that.
func (r *rig) hears(what string) {
	r.t.Helper()
	rings, end := r.bell.Subscribe(entity.TopicEvents)
	defer end()
	for {
		events, err := r.db.EventsOf(r.t.Context(), entity.EventFilter{Kinds: []string{packages.KindTree}}, 100)
		if err != nil {
			r.t.Fatal(err)
		}
		if slices.ContainsFunc(events, func(e entity.Event) bool { return strings.Contains(string(e.Next), what) }) {
			return
		}
		select {
		case <-rings:
		case <-r.t.Context().Done():
			r.t.Fatal("it is not told how far the installation is")
		}
	}
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
