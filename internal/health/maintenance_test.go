package health_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/health"
)

// failed are the checks of which it was told that they fail, in order.
func (w *world) failed() (checks []string) {
	w.t.Helper()
	events, err := w.db.Events(w.t.Context(), 0, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range events {
		if e.Type != health.TypeCheckDegraded {
			continue
		}
		var payload struct{ ConfigurationID, Status, PreviousStatus string }
		if err := json.Unmarshal(e.Payload, &payload); err != nil {
			w.t.Fatal(err)
		}
		checks = append(checks, payload.ConfigurationID+" "+payload.PreviousStatus+" "+payload.Status)
	}
	return checks
}

func (w *world) define(do func(tx catalog.Tx) error) {
	w.t.Helper()
	if err := entity.InTx(w.t.Context(), w.rec, do); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) wantFailed(when string, want ...string) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.failed()); diff != "" {
		w.t.Errorf("%s: failures told (-want +got):\n%s", when, diff)
	}
}

// Of a check in maintenance it is not told that it fails; what is still wrong at the
// end is told then, and what is well again never.
func TestFailuresOfChecksInMaintenanceAreHeldBack(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url, 3)
		muted := []catalog.Maintained{
			{MaintenanceID: "m", SystemID: systemID, CheckID: checkID(0), Mode: catalog.Mute},
			{MaintenanceID: "m", SystemID: systemID, CheckID: checkID(1), Mode: catalog.Mute},
		}
		w.submit(w.run(0, 0, 60*time.Second, check.Healthy), w.run(1, 0, 60*time.Second, check.Healthy), w.run(2, 0, 60*time.Second, check.Healthy))
		w.define(func(tx catalog.Tx) error { return tx.Maintain(t.Context(), muted, nil) })
		w.submit(w.run(0, 0, 50*time.Second, check.Unhealthy), w.run(1, 0, 50*time.Second, check.Unhealthy))
		w.wantFailed("in maintenance")
		w.submit(w.run(2, 0, 40*time.Second, check.Unhealthy))
		want := []string{checkID(2) + " healthy unhealthy"}
		w.wantFailed("another check", want...)
		w.submit(w.run(1, 0, 30*time.Second, check.Healthy))
		w.define(func(tx catalog.Tx) error { return tx.Maintain(t.Context(), nil, muted) })
		w.submit(w.run(2, 0, 20*time.Second, check.Healthy)) // any look at the system
		want = append(want, checkID(0)+" healthy unhealthy")
		w.wantFailed("after it", want...)
		w.submit(w.run(2, 0, 10*time.Second, check.Degraded))
		w.wantFailed("once", append(want, checkID(2)+" healthy degraded")...)
	})
}

// Nor is it told of checks whose system fails because another does.
func TestFailuresThatFollowFromAnotherSystemAreHeldBack(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		const net = "00000000-0000-7000-8000-000000000002"
		w := newWorld(t, url, 1)
		w.define(func(tx catalog.Tx) error {
			if err := tx.PutSystems(t.Context(), catalog.System{ID: net, Name: "net", Labels: map[string]string{}}); err != nil {
				return err
			}
			a := catalog.Assignment{ID: "00000000-0000-7000-8000-000000000399", Name: "net", CheckID: checkID(0), SystemID: net, Enabled: true, Labels: map[string]string{}}
			if err := tx.PutAssignments(t.Context(), a); err != nil {
				return err
			}
			if err := tx.Place(t.Context(), []catalog.Placement{{AssignmentID: a.ID, SatelliteID: satelliteID(0), CheckID: a.CheckID, SystemID: net}}, nil); err != nil {
				return err
			}
			return tx.PutDependencies(t.Context(), systemID, []string{net})
		})
		ofNet := func(ago time.Duration, status check.Status) health.Run {
			r := w.run(0, 0, ago, status)
			r.SystemID, r.RunID = net, check.RunID(r.Slot, r.SatelliteID, check.Key{CheckID: r.CheckID, SystemID: net})
			return r
		}
		w.submit(w.run(0, 0, 60*time.Second, check.Healthy), ofNet(60*time.Second, check.Healthy))
		w.submit(w.run(0, 0, 50*time.Second, check.Unhealthy)) // the first to be seen is not the one at fault
		w.wantFailed("a moment before")
		w.submit(ofNet(45*time.Second, check.Unhealthy))
		want := []string{checkID(0) + " healthy unhealthy"}
		w.wantFailed("the cause", want...)
		w.submit(w.run(0, 0, 40*time.Second, check.Healthy))
		w.submit(w.run(0, 0, 30*time.Second, check.Degraded))
		w.wantFailed("what follows", want...)
	})
}
