package health_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/pgtest"
	"github.com/perigee-monitoring/perigee/internal/store"
	"github.com/perigee-monitoring/perigee/protocol"
	"github.com/perigee-monitoring/perigee/verdict"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a store with one system that two satellites watch, and an ingest.
type world struct {
	t      *testing.T
	db     *store.DB
	ingest *health.Ingest
	rec    *entity.Recorder
	bell   *bus.Local
	now    time.Time
}

const systemID = "00000000-0000-7000-8000-000000000001"

func satelliteID(i int) string { return fmt.Sprintf("00000000-0000-7000-8000-0000000001%02d", i) }
func checkID(i int) string     { return fmt.Sprintf("00000000-0000-7000-8000-0000000002%02d", i) }

func newWorld(t *testing.T, url string, checks int) *world {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	db, err := store.Open(t.Context(), url, log)
	if err != nil {
		t.Fatal(err)
	}
	bell := &bus.Local{}
	w := &world{t: t, db: db, bell: bell, rec: entity.NewRecorder(db, bell, append(fleet.Derivers(), health.Derivers()...)...)}
	err = entity.InTx(t.Context(), w.rec, func(tx catalog.Tx) error {
		var connections []fleet.Connection
		w.now, err = tx.Now(t.Context())
		if err != nil {
			return err
		}
		if err := tx.PutSystems(t.Context(), catalog.System{ID: systemID, Name: "shop", Labels: map[string]string{}}); err != nil {
			return err
		}
		for i := range 2 {
			s := fleet.Satellite{ID: satelliteID(i), Name: fmt.Sprintf("eu-%d", i), Region: "eu", Tags: map[string]string{}}
			if err := tx.InsertSatellite(t.Context(), s, "sha256:none"); err != nil {
				return err
			}
			connections = append(connections, fleet.Connection{SatelliteID: s.ID, Epoch: 1, LastEvent: fleet.Connected, LastHeartbeatAt: &w.now})
		}
		for i := range checks {
			c := catalog.Check{
				ID: checkID(i), Name: fmt.Sprintf("check-%d", i), Labels: map[string]string{},
				Spec: check.Spec{Strategy: "healthcheck-tcp.tcp", Interval: check.Duration(time.Hour)},
			}
			if err := tx.PutChecks(t.Context(), c); err != nil {
				return err
			}
			a := catalog.Assignment{ID: fmt.Sprintf("00000000-0000-7000-8000-0000000003%02d", i), Name: c.Name, CheckID: c.ID, SystemID: systemID, Enabled: true, Labels: map[string]string{}}
			if err := tx.PutAssignments(t.Context(), a); err != nil {
				return err
			}
			for s := range 2 {
				if err := tx.Place(t.Context(), []catalog.Placement{{AssignmentID: a.ID, SatelliteID: satelliteID(s), CheckID: c.ID, SystemID: systemID}}, nil); err != nil {
					return err
				}
			}
		}
		return tx.WriteConnections(t.Context(), connections)
	})
	if err != nil {
		t.Fatal(err)
	}
	w.ingest = health.NewIngest(db, w.rec, log)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = w.ingest.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func onBoth(t *testing.T, test func(t *testing.T, url string)) {
	t.Parallel()
	dbtest.OnBoth(t, test)
}

// run is a run of a check at a satellite, so long before the world's now.
func (w *world) run(checkNo, satellite int, ago time.Duration, status check.Status) health.Run {
	at := w.now.Add(-ago)
	key := check.Key{CheckID: checkID(checkNo), SystemID: systemID}
	return health.Run{
		RunID: check.RunID(at, satelliteID(satellite), key), SatelliteID: satelliteID(satellite), CheckID: key.CheckID, SystemID: systemID,
		Status: status, ExecutedAt: at, ReceivedAt: w.now, Slot: at, Source: "eu-0 (eu)", Message: string(status), Result: json.RawMessage(`{"status":"healthy"}`),
	}
}

func (w *world) submit(runs ...health.Run) {
	w.t.Helper()
	done, err := w.ingest.Submit(w.t.Context(), health.Item{Runs: runs})
	if err == nil {
		err = <-done
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) status() check.Status {
	w.t.Helper()
	all, err := w.db.SystemHealths(w.t.Context(), []string{systemID})
	if err != nil {
		w.t.Fatal(err)
	}
	return all[systemID].Status
}

func (w *world) events() (types []string) {
	w.t.Helper()
	events, err := w.db.Events(w.t.Context(), 0, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range events {
		types = append(types, e.Type)
	}
	return types
}

func TestL223_M9_M10_ResultsMoveTheSystem(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url, 1)
		for _, step := range []struct {
			name string
			runs []health.Run
			want check.Status
		}{
			{"the first result", []health.Run{w.run(0, 0, 60*time.Second, check.Healthy)}, check.Healthy},
			{"another location fails, the worst wins", []health.Run{w.run(0, 1, 50*time.Second, check.Unhealthy)}, check.Unhealthy},
			{"the good one goes on", []health.Run{w.run(0, 0, 40*time.Second, check.Healthy)}, check.Unhealthy},
			{"a late green result is history", []health.Run{w.run(0, 1, 55*time.Second, check.Healthy)}, check.Unhealthy},
			{"recovery", []health.Run{w.run(0, 1, 30*time.Second, check.Healthy)}, check.Healthy},
			{"a flip and back in one batch ends where it ends", []health.Run{w.run(0, 0, 19*time.Second, check.Healthy), w.run(0, 0, 20*time.Second, check.Unhealthy)}, check.Healthy},
		} {
			w.submit(step.runs...)
			if got := w.status(); got != step.want {
				t.Errorf("%s: system is %s, want %s", step.name, got, step.want)
			}
		}
		want := []string{ // of the system, and of the check
			"healthcheck.system_health_changed", "healthcheck.system_healthy", "entity.changed",
			"healthcheck.system_health_changed", "healthcheck.system_degraded", "healthcheck.check_degraded",
			"healthcheck.system_health_changed", "healthcheck.system_healthy", "entity.changed",
		}
		if diff := cmp.Diff(want, w.events()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestM2_RepeatsAreNotCounted(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url, 1)
		first := w.run(0, 0, 30*time.Second, check.Healthy)
		changed := first
		changed.Status = check.Unhealthy // a repeat that claims something else is still a repeat
		w.submit(first, first)
		w.submit(first)
		w.submit(changed, w.run(0, 0, 20*time.Second, check.Healthy))
		runs, _, err := w.db.Runs(t.Context(), health.RunFilter{}, fleet.Page{Limit: 100})
		if err != nil || len(runs) != 2 {
			t.Errorf("%d runs, %v; want 2", len(runs), err)
		}
		if got := w.status(); got != check.Healthy {
			t.Errorf("system is %s", got)
		}
		if n, d := w.ingest.Counts.Runs.Load(), w.ingest.Counts.Duplicates.Load(); n != 2 || d != 3 {
			t.Errorf("counted %d runs and %d duplicates, want 2 and 3", n, d)
		}
	})
}

func TestM7_ResultsStayWithTheirSource(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url, 1)
		here, there := w.run(0, 0, 20*time.Second, check.Healthy), w.run(0, 1, 20*time.Second, check.Unhealthy)
		there.Source = "eu-1 (eu)"
		w.submit(here, there)
		seats, err := w.db.Seats(t.Context(), []string{systemID})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]check.Status{}
		for _, s := range seats {
			got[s.SatelliteName] = s.Location.Status
		}
		if diff := cmp.Diff(map[string]check.Status{"eu-0": check.Healthy, "eu-1": check.Unhealthy}, got); diff != "" {
			t.Errorf("locations (-want +got):\n%s", diff)
		}
		runs, _, err := w.db.Runs(t.Context(), health.RunFilter{SatelliteID: satelliteID(0)}, fleet.Page{Limit: 10})
		if err != nil || len(runs) != 1 || runs[0].Source != "eu-0 (eu)" {
			t.Errorf("runs of eu-0 = %+v, %v", runs, err)
		}
	})
}

// What was found lasts as long as its run where the run was not healthy, or was the
// first after a change; that of other healthy runs may be forgotten earlier.
func TestEvidenceOfWhatChangedLasts(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url, 1)
		var runs []health.Run
		for i, status := range []check.Status{check.Healthy, check.Healthy, check.Unhealthy, check.Unhealthy, check.Healthy, check.Healthy, check.Degraded, check.Healthy} {
			runs = append(runs, w.run(0, 0, time.Hour-time.Duration(i)*time.Minute, status))
		}
		w.submit(runs[:2]...)
		w.submit(runs[2:5]...)
		w.submit(runs[5:]...)
		lasting := func() (has []bool) {
			got, _, err := w.db.Runs(t.Context(), health.RunFilter{}, fleet.Page{Limit: 100})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range slices.Backward(got) {
				has = append(has, r.Result != nil)
			}
			return has
		}
		if diff := cmp.Diff(slices.Repeat([]bool{true}, 8), lasting()); diff != "" {
			t.Errorf("at first (-want +got):\n%s", diff)
		}
		if err := w.db.PurgeDetails(t.Context(), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]bool{true, false, true, true, true, false, true, true}, lasting()); diff != "" {
			t.Errorf("later (-want +got):\n%s", diff)
		}
	})
}

func TestManySessionsAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		const sessions, batches, size = 8, 6, 50
		w := newWorld(t, url, sessions)
		var wg sync.WaitGroup
		for s := range sessions {
			wg.Go(func() {
				for b := range batches {
					var item health.Item
					for r := range size {
						ago := time.Duration((batches-b)*size-r) * time.Millisecond
						item.Runs = append(item.Runs, w.run(s, s%2, ago, []check.Status{check.Healthy, check.Unhealthy}[(b+r)%2]))
					}
					done, err := w.ingest.Submit(t.Context(), item)
					if err == nil {
						err = <-done
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if n := w.ingest.Counts.Runs.Load(); n != sessions*batches*size {
			t.Errorf("%d runs are durable, want %d", n, sessions*batches*size)
		}
	})
}

func TestSkipsAreKeptOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url, 1)
		s, err := health.PrepareSkip(health.Origin{SatelliteID: satelliteID(0)}, &protocol.Skip{
			ConfigID: checkID(0), SystemID: systemID,
			From: w.now.UnixMilli(), To: w.now.UnixMilli() + 9000, Count: 10, Reason: protocol.SkipDown,
		}, w.now)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			done, err := w.ingest.Submit(t.Context(), health.Item{Skips: []health.Skip{s}})
			if err == nil {
				err = <-done
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		skips, _, err := w.db.Skips(t.Context(), health.RunFilter{}, fleet.Page{Limit: 10})
		if err != nil || len(skips) != 1 || skips[0].Count != 10 || skips[0].Reason != protocol.SkipDown {
			t.Errorf("skips = %+v, %v", skips, err)
		}
	})
}

// M1: while the database is away nothing is acknowledged and nothing is lost; the
// same item is taken when it is back.
func TestM1_ADatabaseThatGoesAwayAndComesBack(t *testing.T) {
	t.Parallel()
	cluster := pgtest.New(t)
	w := newWorld(t, cluster.URL(), 1)
	if err := cluster.Kill(); err != nil {
		t.Fatal(err)
	}
	item := health.Item{Runs: []health.Run{w.run(0, 0, time.Second, check.Healthy)}}
	try := func() error {
		done, err := w.ingest.Submit(t.Context(), item)
		if err != nil {
			return err
		}
		return <-done
	}
	if err := try(); !fault.Is(err, fault.Unavailable) {
		t.Errorf("without a database: %v, want unavailable", err)
	}
	if err := cluster.Restart(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for err := try(); err != nil; err = try() {
		if time.Now().After(deadline) {
			t.Fatalf("the database is back: %v", err)
		}
	}
	runs, _, err := w.db.Runs(t.Context(), health.RunFilter{}, fleet.Page{Limit: 100})
	if err != nil || len(runs) != 1 {
		t.Errorf("%d runs, %v; want one", len(runs), err)
	}
}

// M11: nobody measures any more, and no result will come to say so.
func TestM11_TheLastLightGoesOut(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url, 1)
		w.submit(w.run(0, 0, time.Second, check.Healthy))
		ring, end := w.bell.Subscribe(entity.TopicEvents)
		defer end()
		watch := health.NewWatch(w.db, w.db, w.rec, slog.New(slog.DiscardHandler), ring)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = watch.Run(ctx) })
		defer running.Wait()
		defer cancel()

		err := entity.InTx(t.Context(), w.rec, func(tx fleet.Tx) error {
			return tx.WriteConnections(t.Context(), []fleet.Connection{
				{SatelliteID: satelliteID(0), Epoch: 1, LastEvent: fleet.Disconnected},
				{SatelliteID: satelliteID(1), Epoch: 1, LastEvent: fleet.Disconnected},
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		w.bell.Ring(entity.TopicEvents)
		for deadline := time.Now().Add(30 * time.Second); w.status() != check.Degraded; {
			if time.Now().After(deadline) {
				t.Fatalf("system is still %s", w.status())
			}
			<-time.After(20 * time.Millisecond)
		}
	})
}

// What others said of a check goes with the last place that runs it: when it is run
// again, they are asked again.
func TestOpinionsGoWithTheirChecks(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url, 2)
		w.submit(w.run(0, 0, time.Second, check.Unhealthy))
		enable := func(yes bool) {
			err := entity.InTx(t.Context(), w.rec, func(tx catalog.Tx) error {
				return tx.PutAssignments(t.Context(), catalog.Assignment{
					ID: "00000000-0000-7000-8000-000000000300", Name: "check-0", CheckID: checkID(0), SystemID: systemID, Enabled: yes, Labels: map[string]string{},
				})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		err := entity.InTx(t.Context(), w.rec, func(tx health.Tx) error {
			return tx.PutOpinions(t.Context(), []health.CheckOpinion{{SystemID: systemID, CheckID: checkID(0), Opinion: verdict.Opinion{
				ID: "00000000-0000-7000-8000-000000000400", State: verdict.OpinionDecided, Domain: "region", Suspects: []verdict.Suspect{{SatelliteID: satelliteID(0)}},
				Answers: []verdict.Answer{{SatelliteID: "us-1", Status: check.Unhealthy}}, DecidedAt: &w.now,
			}}})
		})
		if err != nil {
			t.Fatal(err)
		}
		opinions := func() (ids []string) {
			seats, err := w.db.Seats(t.Context(), []string{systemID})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range seats {
				if s.CheckID == checkID(0) && s.Opinion != nil {
					ids = append(ids, s.SatelliteID)
				}
			}
			return ids
		}
		if diff := cmp.Diff([]string{satelliteID(0), satelliteID(1)}, opinions()); diff != "" {
			t.Fatalf("seats with an opinion (-want +got):\n%s", diff)
		}
		enable(false)
		w.submit(w.run(1, 0, time.Second, check.Healthy)) // the system is judged
		enable(true)
		if diff := cmp.Diff([]string(nil), opinions()); diff != "" {
			t.Errorf("seats with an opinion afterwards (-want +got):\n%s", diff)
		}
	})
}
