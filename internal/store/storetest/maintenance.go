package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/store"
)

func testMaintenance(_ *testing.T, s *suite) {
	at := s.now()
	want := catalog.Maintenance{
		ID: newID(), Name: "upgrade", Description: "Of the database", Labels: map[string]string{"team": "db"}, Mode: catalog.Pause,
		Systems: catalog.Selector{Names: []string{"shop"}, Selector: "team=db"}, Checks: []string{"front"},
		Start: ptr(at.Add(-time.Hour)), End: ptr(at.Add(time.Hour)), Active: true, CreatedAt: at, UpdatedAt: at,
	}
	put := func(m catalog.Maintenance) error {
		return s.try(func(tx *store.Tx) error { return tx.PutMaintenance(s.ctx(), m) })
	}
	s.ok(put(want))
	s.same(want, must(s.db.Maintenance(s.ctx(), want.ID))(s))
	over := catalog.Maintenance{ID: newID(), Name: "over", Labels: map[string]string{}, Mode: catalog.Mute, Checks: []string{}, Start: want.Start, End: ptr(at.Add(-time.Minute)), CreatedAt: at, UpdatedAt: at}
	s.ok(put(over))
	want.Schedule = &catalog.Schedule{Cron: "0 2 * * 0", Duration: check.Duration(2 * time.Hour), TimeZone: "Europe/Berlin"}
	want.Start, want.End, want.EndedBefore, want.Active, want.Name = nil, nil, ptr(at), false, "weekly"
	s.ok(put(want))
	s.same(want, must(s.db.MaintenanceByName(s.ctx(), "weekly"))(s))
	due, _, err := s.db.DueMaintenances(s.ctx())
	s.ok(err)
	s.same([]catalog.Maintenance{want}, due)
	listed, next, err := s.db.Maintenances(s.ctx(), fleet.Page{})
	s.ok(err)
	s.same([]catalog.Maintenance{over, want}, listed)
	s.same("", next)
	s.fails(put(catalog.Maintenance{ID: newID(), Name: "weekly"}), fault.Conflict, `"weekly"`, "maintenance")
	s.tx(func(tx *store.Tx) error { return tx.DeleteMaintenance(s.ctx(), over.ID) })
	_, err = s.db.Maintenance(s.ctx(), over.ID)
	s.fails(err, fault.NotFound)
	s.fails(s.try(func(tx *store.Tx) error { return tx.DeleteMaintenance(s.ctx(), "unknown") }), fault.NotFound)
}

// What is in maintenance is known to seats; what is paused is not told to satellites.
func testMaintained(_ *testing.T, s *suite) {
	a, b := s.world("1"), s.world("2")
	muted := catalog.Maintained{MaintenanceID: "m", SystemID: a.system.ID, Mode: catalog.Mute}
	paused := catalog.Maintained{MaintenanceID: "m", SystemID: b.system.ID, CheckID: b.check.ID, Mode: catalog.Pause}
	maintain := func(begin, end []catalog.Maintained) {
		s.tx(func(tx *store.Tx) error { return tx.Maintain(s.ctx(), begin, end) })
	}
	upkeep := func() []health.Upkeep {
		var all []health.Upkeep
		for _, seat := range must(s.db.Seats(s.ctx(), []string{a.system.ID, b.system.ID}))(s) {
			all = append(all, seat.Upkeep)
		}
		return all
	}
	told := func(w *world) int {
		return len(must(s.db.DesiredSets(s.ctx(), []string{w.satellite.ID}))(s)[w.satellite.ID].Assignments)
	}
	maintain([]catalog.Maintained{muted, paused}, nil)
	s.tx(func(tx *store.Tx) error {
		s.same([]catalog.Maintained{muted, paused}, must(tx.Maintained(s.ctx()))(s), cmpopts.SortSlices(func(a, b catalog.Maintained) bool { return a.Mode < b.Mode }))
		return nil
	})
	s.same([]health.Upkeep{{Maintained: true}, {Maintained: true, Paused: true}}, upkeep())
	s.same([]int{1, 0}, []int{told(a), told(b)})
	maintain([]catalog.Maintained{{MaintenanceID: "m", SystemID: a.system.ID, Mode: catalog.Pause}}, []catalog.Maintained{muted, paused})
	ended := upkeep()
	if ended[1].DueSince.IsZero() {
		s.t.Error("it is not known when the pause ended")
	}
	ended[1].DueSince = time.Time{}
	s.same([]health.Upkeep{{Maintained: true, Paused: true}, {}}, ended)
	s.same([]int{0, 1}, []int{told(a), told(b)})
	s.ok(s.db.ForgetMaintained(s.ctx(), -time.Minute))
	s.same([]health.Upkeep{{Maintained: true, Paused: true}, {}}, upkeep())
}

func testDependencies(_ *testing.T, s *suite) {
	a, b, c := s.world("1").system, s.world("2").system, s.world("3").system
	depend := func(on ...string) {
		s.tx(func(tx *store.Tx) error { return tx.PutDependencies(s.ctx(), a.ID, on) })
	}
	depend(b.ID, c.ID)
	depend(b.ID, c.ID)
	got := must(s.db.System(s.ctx(), a.ID))(s)
	s.same([]string{b.ID, c.ID}, got.DependsOnIDs, cmpopts.SortSlices(func(a, b string) bool { return a < b }))
	s.same([]string{"shop-2", "shop-3"}, got.DependsOn)
	s.tx(func(tx *store.Tx) error { return tx.DeleteSystem(s.ctx(), b.ID) })
	s.same(health.Dependencies{a.ID: {c.ID}}, must(s.db.Dependencies(s.ctx()))(s))
	depend()
	s.same([]string{}, must(s.db.System(s.ctx(), a.ID))(s).DependsOn)
}

// What is paused by a maintenance is due and skipped for it; what is muted is due as ever.
func testErasOfMaintenance(_ *testing.T, s *suite) {
	a, b := s.world("1"), s.world("2")
	ms := int64(10_000)
	wholly := catalog.Maintained{MaintenanceID: "m", SystemID: a.system.ID, Mode: catalog.Pause}
	partly := catalog.Maintained{MaintenanceID: "m", SystemID: b.system.ID, CheckID: b.check.ID, Mode: catalog.Pause}
	muted := catalog.Maintained{MaintenanceID: "n", SystemID: b.system.ID, Mode: catalog.Mute}
	maintain := func(begin, end []catalog.Maintained) {
		s.tx(func(tx *store.Tx) error { return tx.Maintain(s.ctx(), begin, end) })
	}
	maintain([]catalog.Maintained{wholly, partly, muted}, nil)
	want := []eraLine{{"", ms, health.EraActive, true, false}, {"", ms, health.EraMaintenance, false, false}}
	s.same(want, s.eras(a))
	s.same(want, s.eras(b))
	maintain(nil, []catalog.Maintained{wholly, partly})
	want[1].Ended = true
	want = append(want, eraLine{"", ms, health.EraActive, false, false})
	s.same(want, s.eras(a))
	s.same(want, s.eras(b))

	a.check.Spec.Paused = true // by somebody counts more than by a maintenance
	s.tx(func(tx *store.Tx) error {
		s.ok(tx.LockDefinitions(s.ctx()))
		return tx.PutChecks(s.ctx(), a.check)
	})
	maintain([]catalog.Maintained{wholly}, nil)
	want[2].Ended = true
	s.same(append(want, eraLine{"", ms, health.EraPaused, false, false}), s.eras(a))
}
