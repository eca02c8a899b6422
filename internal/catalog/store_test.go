package catalog_test

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/checkschema"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/store"
	"github.com/perigee-monitoring/perigee/protocol"
)

// onBoth runs a test over a real store on each engine.
func onBoth(t *testing.T, validate catalog.ValidateSpec, run func(t *testing.T, w *world, db *store.DB)) {
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		db := must(store.Open(t.Context(), url, slog.New(slog.DiscardHandler)))
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		run(t, newStoredWorld(t, db, validate), db)
	})
}

func newStoredWorld(t testing.TB, db *store.DB, validate catalog.ValidateSpec) *world {
	w := worldOf(t, db, db, db, validate)
	w.look = func() data { return readAll(t, db, w.recorder) }
	return w
}

// readAll is everything that the tests look at, as the store has it.
func readAll(t testing.TB, db *store.DB, recorder *entity.Recorder) data {
	t.Helper()
	d := newMemory().data
	d.desired = map[string]string{}
	err := entity.InTx(t.Context(), recorder, func(tx catalog.Tx) error {
		for _, s := range must(tx.AllSystems(t.Context())) {
			d.systems[s.ID] = s
		}
		for _, c := range must(tx.AllChecks(t.Context())) {
			d.checks[c.ID] = c
		}
		for _, a := range must(tx.AllAssignments(t.Context())) {
			d.assignments[a.ID] = a
		}
		for _, s := range must(tx.AllSatellites(t.Context())) {
			d.satellites[s.ID] = s
		}
		for id, satellites := range must(tx.Placements(t.Context())) {
			for _, satellite := range satellites {
				a := d.assignments[id]
				d.placements[catalog.Placement{AssignmentID: id, SatelliteID: satellite, CheckID: a.CheckID, SystemID: a.SystemID}] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for id := range d.satellites {
		desired := must(db.DesiredSets(t.Context(), []string{id}))[id]
		d.revisions[id], d.desired[id] = desired.Revision, string(must(jsonOf(desired.Assignments)))
	}
	d.events = must(db.Events(t.Context(), 0, 10_000))
	return d
}

func TestStoredPlacementsAreWhatDefinitionsSay(t *testing.T) {
	t.Parallel()
	onBoth(t, validateSpec, func(t *testing.T, w *world, _ *store.DB) {
		// A store on disk is slow: twenty sequences, not rapid's hundred. After a
		// failure the rest of its runs are needed to find the shortest one.
		runs, failed := 0, false
		rapid.Check(t, func(rt *rapid.T) {
			if runs++; runs > 20 && !failed {
				return
			}
			defer func() { failed = failed || rt.Failed() }()
			clearAll(w)
			for range rapid.IntRange(1, 8).Draw(rt, "steps") {
				checkedStep(rt, w)
			}
		})
	})
}

func clearAll(w *world) {
	d := w.look()
	for id := range d.systems {
		must(w.DeleteSystem(w.Context(), actor, id))
	}
	for id := range d.checks {
		must(w.DeleteCheck(w.Context(), actor, id))
	}
	for id := range d.satellites {
		must(0, w.fleet().Delete(w.Context(), actor, id))
	}
}

func TestStoredDocumentsRoundTrip(t *testing.T) {
	t.Parallel()
	onBoth(t, checkschema.ValidateSpec, func(t *testing.T, w *world, _ *store.DB) {
		plan := must(w.Apply(t.Context(), actor, documents(t, shop), true))
		if diff := cmp.Diff(allOf(catalog.Created), actions(plan)); diff != "" {
			t.Errorf("dry run (-want +got):\n%s", diff)
		}
		if n := len(w.look().events); n > 0 {
			t.Errorf("the dry run left %d events", n)
		}
		must(w.Apply(t.Context(), actor, documents(t, shop), false))
		before := w.look()
		for range 2 {
			docs := documents(t, string(must(jsonOf(must(w.Export(t.Context()))))))
			plan = must(w.Apply(t.Context(), actor, docs, false))
			if diff := cmp.Diff(allOf(catalog.Unchanged), actions(plan)); diff != "" {
				t.Errorf("again (-want +got):\n%s", diff)
			}
		}
		if diff := cmp.Diff(before, w.look(), cmp.AllowUnexported(data{})); diff != "" {
			t.Errorf("rows, revisions or events changed (-before +after):\n%s", diff)
		}

		_, err := w.Apply(t.Context(), actor, []catalog.Document{doc("Check", "bad", `{"strategy":"healthcheck-http.http","interval":"10s",
			"collectors":[{"id":"root","collector":"healthcheck-http.request","config":{"url":17}}]}`)}, false)
		if _, located := fields(err)["documents[0].spec.collectors[0].config.url"]; !located {
			t.Errorf("the problem is not located: %v", err)
		}
	})
}

func TestM68_RemovedPairsStayGranted(t *testing.T) {
	t.Parallel()
	onBoth(t, validateSpec, func(t *testing.T, w *world, db *store.DB) {
		s := w.satellite("eu-1")
		kept, gone := w.assigned("kept", named("eu-1")), w.assigned("gone", named("eu-1"))
		must(w.DeleteCheck(t.Context(), actor, "gone-check"))
		desired := must(db.DesiredSets(t.Context(), []string{s.ID}))[s.ID]
		granted := map[protocol.Pair]bool{} // whether it was removed
		for _, g := range desired.Grants {
			granted[g.Pair] = g.RemovedAt != nil
		}
		want := map[protocol.Pair]bool{
			{ConfigID: kept.CheckID, SystemID: kept.SystemID}: false,
			{ConfigID: gone.CheckID, SystemID: gone.SystemID}: true,
		}
		if diff := cmp.Diff(want, granted); diff != "" {
			t.Errorf("grants (-want +got):\n%s", diff)
		}
		if len(desired.Assignments) != 1 {
			t.Errorf("%d assignments, want the one that is kept", len(desired.Assignments))
		}
	})
}

func TestM70_DeletedSatelliteLeavesNoPlacementStored(t *testing.T) {
	t.Parallel()
	onBoth(t, validateSpec, func(t *testing.T, w *world, _ *store.DB) {
		s := w.satellite("eu-1")
		w.assigned("front", named("eu-1"))
		must(0, w.fleet().Delete(t.Context(), actor, s.ID))
		if a := must(w.Assignment(t.Context(), "front")); len(a.Placed) > 0 {
			t.Errorf("still placed on %v", a.Placed)
		}
		w.satellite("eu-1")
		if a := must(w.Assignment(t.Context(), "front")); len(a.Placed) > 0 || len(a.Satellites.Names) > 0 || a.Enabled {
			t.Errorf("the assignment is %+v, want it disabled, and nothing of the old name", a)
		}
	})
}

func TestM92_NamesAreUniqueStored(t *testing.T) {
	t.Parallel()
	onBoth(t, validateSpec, func(t *testing.T, w *world, _ *store.DB) {
		outcomes := make([]error, 4)
		var group sync.WaitGroup
		for i := range outcomes {
			group.Go(func() {
				_, outcomes[i] = w.CreateSystem(t.Context(), actor, catalog.SystemInput{Name: "shop"})
			})
		}
		group.Wait()
		made := 0
		for _, err := range outcomes {
			switch {
			case err == nil:
				made++
			case !fault.Is(err, fault.Conflict):
				t.Errorf("%v, want a conflict", err)
			}
		}
		if made != 1 {
			t.Errorf("%d systems of one name", made)
		}
	})
}

// TestPlanningAtOnce defines assignments and satellites at the same time from
// many sides: nothing may be placed by a stale half of the picture.
func TestPlanningAtOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, validateSpec, func(t *testing.T, w *world, _ *store.DB) {
		must(w.CreateSystem(t.Context(), actor, catalog.SystemInput{Name: "s"}))
		const n = 12
		errs := make([]error, 2*n)
		var group sync.WaitGroup
		for i := range n {
			group.Go(func() {
				_, _, errs[i] = w.fleet().Create(t.Context(), actor, fleet.NewSatellite{Name: fmt.Sprintf("sat-%d", i), Region: []string{"eu", "us"}[i%2]})
			})
			group.Go(func() {
				name := fmt.Sprintf("c-%d", i)
				if _, errs[n+i] = w.CreateCheck(t.Context(), actor, catalog.CheckInput{Name: name, Spec: spec}); errs[n+i] != nil {
					return
				}
				_, errs[n+i] = w.CreateAssignment(t.Context(), actor, catalog.AssignmentInput{
					Name: name, Check: name, System: "s", Satellites: catalog.Selector{Selector: "region=eu"},
				})
			})
		}
		group.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		d := w.look()
		if diff := cmp.Diff(expected(d), d.placements); diff != "" {
			t.Errorf("placements (-want +got):\n%s", diff)
		}
		before := slices.Collect(maps.Values(d.revisions))
		if affected := must(w.Replan(t.Context())); len(affected) > 0 {
			t.Errorf("computing everything anew found %v to mend; revisions %v", affected, before)
		}
	})
}
