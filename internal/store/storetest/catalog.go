package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sync/errgroup"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/packages"
	"github.com/perigee-monitoring/perigee/internal/store"
	"github.com/perigee-monitoring/perigee/protocol"
)

func testSystem(_ *testing.T, s *suite) {
	at := s.now()
	want := catalog.System{ID: newID(), Name: "shop", Description: "The shop", Labels: map[string]string{"env": "prod"}, CreatedAt: at, UpdatedAt: at}
	want.Fields, want.Environments = map[string]any{}, []catalog.Environment{}
	want.DependsOnIDs, want.DependsOn = []string{}, []string{}
	put := func(y catalog.System) error {
		return s.try(func(tx *store.Tx) error { return tx.PutSystems(s.ctx(), y) })
	}
	s.ok(put(want))
	s.same(want, must(s.db.System(s.ctx(), want.ID))(s))

	want.Name, want.UpdatedAt = "store", at.Add(time.Hour)
	want.Fields = map[string]any{"tier": "1"}
	want.Environments = []catalog.Environment{{ID: "2", Name: "prod", Fields: map[string]any{"url": "u"}}, {ID: "1", Name: "dev"}}
	changed := want
	changed.CreatedAt = at.Add(time.Hour) // a row is created once
	s.ok(put(changed))
	s.same(want, must(s.db.SystemByName(s.ctx(), "store"))(s))
	s.tx(func(tx *store.Tx) error {
		s.same([]catalog.System{want}, must(tx.AllSystems(s.ctx()))(s))
		return nil
	})
	s.fails(put(catalog.System{ID: newID(), Name: "store"}), fault.Conflict, `"store"`, "system")
	_, err := s.db.System(s.ctx(), "unknown")
	s.fails(err, fault.NotFound, "unknown")
	_, err = s.db.SystemByName(s.ctx(), "shop")
	s.fails(err, fault.NotFound)
	s.fails(s.try(func(tx *store.Tx) error { return tx.DeleteSystem(s.ctx(), "unknown") }), fault.NotFound)
}

func testCheck(_ *testing.T, s *suite) {
	at := s.now()
	want := catalog.Check{ID: newID(), Name: "front", Labels: map[string]string{}, CreatedAt: at, UpdatedAt: at, Spec: check.Spec{
		Strategy: "healthcheck-tcp.tcp", Config: []byte(`{"host":"h"}`), Interval: check.Duration(1500 * time.Millisecond), Paused: true,
	}}
	put := func(c catalog.Check) error {
		return s.try(func(tx *store.Tx) error { return tx.PutChecks(s.ctx(), c) })
	}
	s.ok(put(want))
	s.same(want, must(s.db.Check(s.ctx(), want.ID))(s))
	want.Spec.Paused, want.Labels = false, map[string]string{"a": "b"}
	s.ok(put(want))
	s.same(want, must(s.db.CheckByName(s.ctx(), "front"))(s))
	s.tx(func(tx *store.Tx) error {
		s.same([]catalog.Check{want}, must(tx.AllChecks(s.ctx()))(s))
		return nil
	})
	s.fails(put(catalog.Check{ID: newID(), Name: "front"}), fault.Conflict, `"front"`, "check")
	_, err := s.db.Check(s.ctx(), "unknown")
	s.fails(err, fault.NotFound, "unknown")
	s.fails(s.try(func(tx *store.Tx) error { return tx.DeleteCheck(s.ctx(), "unknown") }), fault.NotFound)
}

func testAssignment(_ *testing.T, s *suite) {
	w := s.world("1")
	want := w.assignment
	want.Labels, want.CheckName, want.SystemName, want.Placed = map[string]string{}, "front-1", "shop-1", []string{"eu-1"}
	times := cmpopts.IgnoreFields(catalog.Assignment{}, "CreatedAt", "UpdatedAt")
	s.same(want, must(s.db.Assignment(s.ctx(), want.ID))(s), times)

	want.Environments, want.SatelliteEnvironments = []string{}, map[string][]string{"eu-1": {"prod"}, "us-1": {}}
	want.Enabled, want.IncludeLocal, want.Satellites = false, true, catalog.Selector{Selector: "region in (eu)"}
	want.Policy = check.Policy{Thresholds: check.Thresholds{Unhealthy: 3}, SecondOpinion: check.SecondOpinion{Wait: check.Duration(time.Second)}}
	s.tx(func(tx *store.Tx) error { return tx.PutAssignments(s.ctx(), want) })
	s.same(want, must(s.db.AssignmentByName(s.ctx(), want.Name))(s), times)
	s.tx(func(tx *store.Tx) error {
		s.same([]catalog.Assignment{want}, must(tx.AllAssignments(s.ctx()))(s), times, cmpopts.IgnoreFields(catalog.Assignment{}, "Placed"))
		return nil
	})
	listed, next, err := s.db.Assignments(s.ctx(), fleet.Page{})
	s.ok(err)
	s.same([]catalog.Assignment{want}, listed, times)
	s.same("", next)

	s.tx(func(tx *store.Tx) error { return tx.DeleteAssignment(s.ctx(), want.ID) })
	_, err = s.db.Assignment(s.ctx(), want.ID)
	s.fails(err, fault.NotFound, want.ID)
	s.fails(s.try(func(tx *store.Tx) error { return tx.DeleteAssignment(s.ctx(), want.ID) }), fault.NotFound)
}

func testAssignmentConflicts(_ *testing.T, s *suite) {
	a, b := s.world("1"), s.world("2")
	again := a.assignment
	again.ID, again.Name = newID(), "again"
	s.fails(s.try(func(tx *store.Tx) error { return tx.PutAssignments(s.ctx(), again) }), fault.Conflict, "check", "system")
	b.assignment.Name = a.assignment.Name
	s.fails(s.try(func(tx *store.Tx) error { return tx.PutAssignments(s.ctx(), b.assignment) }), fault.Conflict, a.assignment.Name)
}

func testAssignmentOfNothing(_ *testing.T, s *suite) {
	s.fails(s.try(func(tx *store.Tx) error {
		return tx.PutAssignments(s.ctx(), catalog.Assignment{ID: newID(), Name: "n", CheckID: "no", SystemID: "no"})
	}), fault.Invalid, "does not exist")
}

func testCatalogPages(_ *testing.T, s *suite) {
	var want []string
	s.tx(func(tx *store.Tx) error {
		for i := range 12 {
			want = append(want, name(i))
			s.ok(tx.PutSystems(s.ctx(), catalog.System{ID: newID(), Name: name(i)}))
			s.ok(tx.PutChecks(s.ctx(), catalog.Check{ID: newID(), Name: name(i)}))
		}
		return nil
	})
	var systems, checks []string
	for _, y := range pages(s, 5, func(int) {}, func(p fleet.Page) ([]catalog.System, string, error) { return s.db.Systems(s.ctx(), p) }) {
		systems = append(systems, y.Name)
	}
	for _, c := range pages(s, 4, func(int) {}, func(p fleet.Page) ([]catalog.Check, string, error) { return s.db.Checks(s.ctx(), p) }) {
		checks = append(checks, c.Name)
	}
	s.same(want, systems)
	s.same(want, checks)
}

// Each names its system by how many there are; two of one name would be a conflict.
func testDefinitionsLock(_ *testing.T, s *suite) {
	var group errgroup.Group
	for range 8 {
		group.Go(func() error {
			for range 5 {
				if err := s.try(func(tx *store.Tx) error {
					if err := tx.LockDefinitions(s.ctx()); err != nil {
						return err
					}
					systems, err := tx.AllSystems(s.ctx())
					if err != nil {
						return err
					}
					return tx.PutSystems(s.ctx(), catalog.System{ID: newID(), Name: name(len(systems))})
				}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	s.ok(group.Wait())
}

func testPlacements(_ *testing.T, s *suite) {
	w, other := s.world("1"), s.world("2")
	second := s.satellite("eu-3")
	onSecond := w.placement()
	onSecond.SatelliteID = second.ID
	s.tx(func(tx *store.Tx) error {
		s.ok(tx.Place(s.ctx(), []catalog.Placement{onSecond, w.placement()}, nil)) // one of them again
		s.same(map[string][]string{w.assignment.ID: {w.satellite.ID, second.ID}, other.assignment.ID: {other.satellite.ID}},
			must(tx.Placements(s.ctx()))(s))
		s.same(map[string][]string{other.assignment.ID: {other.satellite.ID}},
			must(tx.PlacementsOf(s.ctx(), []string{other.assignment.ID, "unknown"}))(s))
		s.same([]string{w.assignment.ID}, must(tx.PlacementsOn(s.ctx(), second.ID))(s))
		return nil
	})

	// The pair moves to another assignment of the same check and system.
	moved := w.assignment
	moved.ID, moved.Name = newID(), "moved"
	s.tx(func(tx *store.Tx) error {
		s.ok(tx.DeleteAssignment(s.ctx(), w.assignment.ID))
		s.ok(tx.PutAssignments(s.ctx(), moved))
		p := w.placement()
		p.AssignmentID = moved.ID
		s.ok(tx.Place(s.ctx(), []catalog.Placement{p}, []catalog.Placement{w.placement()}))
		s.same(map[string][]string{moved.ID: {w.satellite.ID}}, must(tx.PlacementsOf(s.ctx(), []string{moved.ID, w.assignment.ID}))(s))
		s.same([]string{}, must(tx.PlacementsOn(s.ctx(), second.ID))(s), cmpopts.EquateEmpty())
		return nil
	})
	s.same(1, len(s.desired(w.satellite.ID).Assignments))
	s.same(0, len(s.desired(second.ID).Assignments))
}

func testDesired(_ *testing.T, s *suite) {
	idle := s.satellite("idle")
	s.same(fleet.Desired{SatelliteID: idle.ID, Revision: 1}, s.desired(idle.ID), cmpopts.EquateEmpty())

	w := s.world("1")
	pair := protocol.Pair{ConfigID: w.check.ID, SystemID: w.system.ID}
	want := fleet.Desired{SatelliteID: w.satellite.ID, Revision: 1, Grants: []fleet.Grant{{Pair: pair}}, Assignments: []protocol.Assignment{{
		ConfigID: w.check.ID, SystemID: w.system.ID, StrategyID: "healthcheck-http.http", Config: []byte(`{"timeout":5000}`),
		Collectors: []protocol.Collector{{
			ID: "root", CollectorID: "healthcheck-http.request", Config: []byte(`{"url":"http://127.0.0.1/"}`),
			Assertions: []check.Assertion{{Field: "statusCode", Operator: "equals", Value: 200.0}},
		}},
		IntervalSeconds: 10, ConfigName: "front-1", SystemName: "shop-1",
	}}}
	s.same(want, s.desired(w.satellite.ID))

	// A paused check and a disabled assignment run nowhere; what ran may be reported.
	none := want
	none.Assignments = nil
	w.check.Spec.Paused = true
	s.tx(func(tx *store.Tx) error { return tx.PutChecks(s.ctx(), w.check) })
	s.same(none, s.desired(w.satellite.ID), cmpopts.EquateEmpty())
	w.check.Spec.Paused, w.assignment.Enabled = false, false
	s.tx(func(tx *store.Tx) error {
		s.ok(tx.PutChecks(s.ctx(), w.check))
		return tx.PutAssignments(s.ctx(), w.assignment)
	})
	s.same(none, s.desired(w.satellite.ID), cmpopts.EquateEmpty())

	// The set is in the order of its pairs; a bare configuration is an object.
	var bare []catalog.Placement
	w.assignment.Enabled = true
	s.tx(func(tx *store.Tx) error {
		s.ok(tx.PutAssignments(s.ctx(), w.assignment))
		for i := range 5 {
			c := catalog.Check{ID: newID(), Name: name(i), Spec: check.Spec{
				Strategy: "x", Interval: check.Duration(time.Second),
				Collectors: []check.Collector{{ID: "c", Collector: "y"}},
			}}
			a := catalog.Assignment{ID: newID(), Name: name(i), CheckID: c.ID, SystemID: w.system.ID, Enabled: true}
			s.ok(tx.PutChecks(s.ctx(), c))
			s.ok(tx.PutAssignments(s.ctx(), a))
			bare = append([]catalog.Placement{{AssignmentID: a.ID, SatelliteID: w.satellite.ID, CheckID: c.ID, SystemID: w.system.ID}}, bare...)
		}
		return tx.Place(s.ctx(), bare, nil)
	})
	got := s.desired(w.satellite.ID)
	s.same(6, len(got.Assignments))
	for i := range got.Assignments[1:] {
		if got.Assignments[i].ConfigID >= got.Assignments[i+1].ConfigID {
			s.t.Errorf("assignment %d is out of order", i+1)
		}
	}
	s.same([]string{"{}", "{}"}, []string{string(got.Assignments[5].Config), string(got.Assignments[5].Collectors[0].Config)})
}

func testRevisions(_ *testing.T, s *suite) {
	a, b := s.satellite("a"), s.satellite("b")
	s.tx(func(tx *store.Tx) error {
		s.ok(tx.SetTokens(s.ctx(), b.ID, fleet.Tokens{Hash: "h", Version: 2}))
		return tx.BumpRevisions(s.ctx(), []string{a.ID, "unknown"})
	})
	s.same(map[string]fleet.Revision{a.ID: {Desired: 2, Credential: 1}, b.ID: {Desired: 1, Credential: 2}},
		must(s.db.Revisions(s.ctx(), []string{a.ID, b.ID, "unknown"}))(s))
	s.same(int64(2), s.desired(a.ID).Revision)
	s.same(int64(2), must(s.db.Satellite(s.ctx(), a.ID))(s).DesiredRevision)
}

func testGrants(_ *testing.T, s *suite) {
	w := s.world("1")
	before := s.now()
	s.tx(func(tx *store.Tx) error {
		return tx.Place(s.ctx(), nil, []catalog.Placement{w.placement()})
	})
	d := s.desired(w.satellite.ID)
	s.same(0, len(d.Assignments))
	s.granted(d, before)

	s.tx(func(tx *store.Tx) error { return tx.DeleteAssignment(s.ctx(), w.assignment.ID) })
	s.same(d, s.desired(w.satellite.ID)) // taken away once
}

// granted checks that the one grant was taken away after before.
func (s *suite) granted(d fleet.Desired, before time.Time) {
	s.t.Helper()
	if len(d.Grants) != 1 || d.Grants[0].RemovedAt == nil || d.Grants[0].RemovedAt.Before(before) {
		s.t.Errorf("grants are %+v, want one taken away after %v", d.Grants, before)
	}
}

func testDeleteSatellite(_ *testing.T, s *suite) {
	w := s.world("1")
	s.putLocation(w, check.Healthy)
	run := newRun(w, s.now(), check.Healthy)
	s.insertRuns(run)
	s.tx(func(tx *store.Tx) error {
		s.ok(tx.SetInventory(s.ctx(), w.satellite.ID, protocol.Inventory{}))
		s.ok(tx.SetSyncState(s.ctx(), w.satellite.ID, protocol.ScriptPackageSyncState{Status: protocol.SyncReady}))
		return tx.DeleteSatellite(s.ctx(), w.satellite.ID)
	})
	s.same([]string{}, must(s.db.Assignment(s.ctx(), w.assignment.ID))(s).Placed)
	s.same(0, len(must(s.db.Seats(s.ctx(), nil))(s)))
	s.same(0, len(s.lockLocations(locationKey(w))))
	s.tx(func(tx *store.Tx) error {
		s.same(0, len(must(tx.Placements(s.ctx()))(s)))
		return nil
	})
	runs, _, err := s.db.Runs(s.ctx(), health.RunFilter{}, fleet.Page{})
	s.ok(err)
	s.same([]health.Run{run}, runs)        // history stays
	again := s.satellite(w.satellite.Name) // and the name is free
	// Who has it now has reported nothing of what the one before did.
	s.same([]packages.SatelliteState{{SatelliteID: again.ID, Name: again.Name, Status: protocol.SyncPending}}, must(s.db.PackageSyncStates(s.ctx()))(s))
	s.same((*protocol.Inventory)(nil), must(s.db.Satellite(s.ctx(), again.ID))(s).Inventory)
}

func testDeleteSystem(_ *testing.T, s *suite) {
	w := s.world("1")
	s.putLocation(w, check.Healthy)
	s.tx(func(tx *store.Tx) error {
		return tx.PutSystemHealths(s.ctx(), []health.SystemHealth{{SystemID: w.system.ID, Status: check.Healthy}})
	})
	before := s.now()
	s.tx(func(tx *store.Tx) error { return tx.DeleteSystem(s.ctx(), w.system.ID) })
	s.deletedAround(w, before)
	s.same(0, len(must(s.db.SystemHealths(s.ctx(), nil))(s)))
}

func testDeleteCheck(_ *testing.T, s *suite) {
	w := s.world("1")
	s.putLocation(w, check.Healthy)
	before := s.now()
	s.tx(func(tx *store.Tx) error { return tx.DeleteCheck(s.ctx(), w.check.ID) })
	s.deletedAround(w, before)
}

// deletedAround checks what is left when a system or check is gone.
func (s *suite) deletedAround(w *world, before time.Time) {
	s.t.Helper()
	_, err := s.db.Assignment(s.ctx(), w.assignment.ID)
	s.fails(err, fault.NotFound)
	d := s.desired(w.satellite.ID)
	s.same(0, len(d.Assignments))
	s.granted(d, before)
	s.same(0, len(s.lockLocations(locationKey(w))))
	s.same(0, len(must(s.db.Seats(s.ctx(), nil))(s)))
}
