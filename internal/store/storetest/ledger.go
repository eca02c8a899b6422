package storetest

import (
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/store"
	"github.com/perigee-monitoring/perigee/protocol"
)

// eraLine is an era as far as a test can know it.
type eraLine struct {
	Environment string
	IntervalMs  int64
	State       health.EraState
	Ended, Told bool
}

// eras are those of the world's check, which follow each other without a gap unless
// nothing was due.
func (s *suite) eras(w *world) (lines []eraLine) {
	s.t.Helper()
	items, _, err := s.db.Eras(s.ctx(), health.RunFilter{CheckID: w.check.ID}, fleet.Page{})
	s.ok(err)
	for _, e := range items {
		lines = append(lines, eraLine{e.EnvironmentID, e.IntervalMs, e.State, e.Until != nil, e.ToldAt != nil})
	}
	return lines
}

func testEras(_ *testing.T, s *suite) {
	w := s.world("1")
	ms := int64(10_000)
	s.same([]eraLine{{"", ms, health.EraActive, false, false}}, s.eras(w))
	revision := func() int64 {
		sat, err := s.db.Satellite(s.ctx(), w.satellite.ID)
		s.ok(err)
		return sat.DesiredRevision
	}
	told := func(errors ...protocol.AppliedError) {
		s.tx(func(tx *store.Tx) error {
			return tx.SetApplied(s.ctx(), w.satellite.ID, protocol.Applied{Revision: revision(), Errors: errors})
		})
	}
	put := func(bump bool) {
		s.tx(func(tx *store.Tx) error {
			s.ok(tx.LockDefinitions(s.ctx()))
			if bump {
				s.ok(tx.BumpRevisions(s.ctx(), []string{w.satellite.ID}))
			}
			s.ok(tx.PutSystems(s.ctx(), w.system))
			s.ok(tx.PutChecks(s.ctx(), w.check))
			return tx.PutAssignments(s.ctx(), w.assignment)
		})
	}
	told(protocol.AppliedError{Pair: protocol.Pair{ConfigID: w.check.ID, SystemID: w.system.ID}, Message: "no such strategy"})
	s.same([]eraLine{{"", ms, health.EraActive, false, false}}, s.eras(w))
	told()
	want := []eraLine{{"", ms, health.EraActive, false, true}}
	s.same(want, s.eras(w))

	w.check.Spec.Description = "nothing of what is due"
	put(false)
	s.same(want, s.eras(w))

	w.check.Spec.Interval = check.Duration(20 * time.Second)
	put(true)
	want[0].Ended = true
	want = append(want, eraLine{"", 2 * ms, health.EraActive, false, false})
	s.same(want, s.eras(w))

	w.check.Spec.Paused = true
	put(true)
	want[1].Ended = true
	want = append(want, eraLine{"", 2 * ms, health.EraPaused, false, false})
	s.same(want, s.eras(w))

	w.assignment.Enabled = false // counts more than paused
	put(false)
	want[2].Ended = true
	want = append(want, eraLine{"", 2 * ms, health.EraDisabled, false, false})
	s.same(want, s.eras(w))

	w.assignment.Enabled, w.check.Spec.Paused = true, false
	w.system.Environments = []catalog.Environment{{ID: "e1", Name: "prod"}, {ID: "e2", Name: "stage"}}
	put(true)
	told()
	for i := range want {
		want[i].Ended, want[i].Told = true, true
	}
	want = append(want, eraLine{"e1", 2 * ms, health.EraActive, false, true}, eraLine{"e2", 2 * ms, health.EraActive, false, true})
	s.same(want, s.eras(w))

	w.system.Environments = w.system.Environments[:1]
	put(true)
	want[5].Ended = true
	s.same(want, s.eras(w))

	s.tx(func(tx *store.Tx) error { return tx.Place(s.ctx(), nil, []catalog.Placement{w.placement()}) })
	want[4].Ended = true
	s.same(want, s.eras(w))
	s.tx(func(tx *store.Tx) error { return tx.Place(s.ctx(), []catalog.Placement{w.placement()}, nil) })
	want = append(want, eraLine{"e1", 2 * ms, health.EraActive, false, false}) // that revision was not confirmed
	s.same(want, s.eras(w))

	s.tx(func(tx *store.Tx) error { return tx.DeleteSatellite(s.ctx(), w.satellite.ID) })
	want[6].Ended = true
	s.same(want, s.eras(w))

	gone, err := s.db.PurgeEras(s.ctx(), s.now().Add(time.Second))
	s.ok(err)
	s.same(int64(7), gone)
	_, _, err = s.db.Eras(s.ctx(), health.RunFilter{}, fleet.Page{Cursor: "eA"})
	s.fails(err, fault.Invalid)
}

// Deleting a system, or a check, ends what was due; a database that knows of no eras
// gets those of today.
func testErasEndAndFill(_ *testing.T, s *suite) {
	a, b := s.world("1"), s.world("2")
	s.tx(func(tx *store.Tx) error { return tx.DeleteSystem(s.ctx(), a.system.ID) })
	s.same([]eraLine{{"", 10_000, health.EraActive, true, false}}, s.eras(a))
	s.tx(func(tx *store.Tx) error { return tx.DeleteCheck(s.ctx(), b.check.ID) })
	s.same([]eraLine{{"", 10_000, health.EraActive, true, false}}, s.eras(b))

	c := s.world("3")
	s.ok(s.db.FillEras(s.ctx()))
	s.same([]eraLine{{"", 10_000, health.EraActive, false, false}}, s.eras(c))
	s.same([]eraLine{{"", 10_000, health.EraActive, true, false}}, s.eras(a))
}

// What is counted by the database is what became of each slot. The era lies in the
// future, so that the test knows all of its slots.
func testLedger(_ *testing.T, s *suite) {
	w := s.world("1")
	items, _, err := s.db.Eras(s.ctx(), health.RunFilter{CheckID: w.check.ID}, fleet.Page{})
	s.ok(err)
	e := items[0]
	slots := []time.Time{e.Schedule().Next(e.Since)}
	for len(slots) < 20 {
		slots = append(slots, e.Schedule().Next(slots[len(slots)-1]))
	}
	run := func(i int, late time.Duration, status check.Status, inconclusive string) health.Run {
		r := newRun(w, slots[i], status)
		r.ReceivedAt, r.Inconclusive = slots[i].Add(late), inconclusive
		return r
	}
	beside := newRun(w, slots[3].Add(time.Millisecond), check.Healthy)
	beside.ExecutedAt = beside.Slot // by chance: it has a slot all the same
	other := newRun(w, slots[3].Add(2*time.Millisecond), check.Healthy)
	other.EnvironmentID = "elsewhere"
	s.insertRuns(run(0, time.Second, check.Healthy, ""), run(1, time.Minute, check.Degraded, ""), run(2, time.Minute+time.Millisecond, check.Unhealthy, ""),
		run(3, time.Second, check.Unhealthy, "resolver"), run(5, time.Second, check.Healthy, ""), run(19, time.Second, check.Healthy, ""), beside, other)
	skip := func(id string, from, to int, reason protocol.SkipReason) health.Skip {
		return health.Skip{
			ID: id, SatelliteID: w.satellite.ID, CheckID: w.check.ID, SystemID: w.system.ID, From: slots[from], To: slots[to],
			Count: int64(to - from + 1), Reason: reason, ReceivedAt: slots[to],
		}
	}
	asked := skip("asked", 12, 12, protocol.SkipOverlap)
	asked.Asked = fleet.AskedManually
	s.tx(func(tx *store.Tx) error {
		return tx.InsertSkips(s.ctx(), []health.Skip{
			skip("a", 4, 6, protocol.SkipDown), // of which 5 was run
			skip("b", 6, 8, protocol.SkipOverflow),
			skip("c", 9, 9, protocol.SkipOverlap), asked,
		})
	})
	exact := true
	window := func(from, to int) (f health.Fates) {
		s.ok(s.db.ReadLedger(s.ctx(), func(r health.LedgerReader) error {
			w := health.Window{From: slots[from], To: slots[to]}
			locations, next, err := r.LedgerLocations(s.ctx(), health.RunFilter{From: w.From, To: w.To}, fleet.Page{Limit: 1})
			s.ok(err)
			s.same("", next)
			items, err := health.AccountFor(s.ctx(), r, w, s.now(), locations)
			s.ok(err)
			s.same(1, len(items))
			s.same(exact, items[0].Exact)
			f = items[0].Fates
			f.Completeness, f.Uptime = nil, nil
			s.same(f.Due, f.Sum())
			return nil
		}))
		return f
	}
	s.same(health.Fates{
		Due: 19, Reported: 3, Backfilled: 1, Inconclusive: 1, NotExecuted: 2, Lost: 2, Skipped: map[string]int64{"overlap": 1}, Awaited: 9,
		Healthy: 2, Degraded: 1, Unhealthy: 1, Beside: 1,
	}, window(0, 19))
	s.same(health.Fates{Due: 3, NotExecuted: 1, Reported: 1, Healthy: 1, Lost: 1, Skipped: map[string]int64{}}, window(5, 8))
	s.same(health.Fates{Due: 2, NotExecuted: 1, Lost: 1, Skipped: map[string]int64{}}, window(6, 8))

	// What is reported without a slot stands for one that nothing accounts for.
	unslotted := newRun(w, slots[9].Add(time.Millisecond), check.Healthy)
	unslotted.ExecutedAt, unslotted.Unslotted = unslotted.Slot, true
	s.insertRuns(unslotted)
	s.same(true, s.runs(health.RunFilter{From: unslotted.Slot})[1].Unslotted)
	exact = false
	s.same(health.Fates{Due: 2, Reported: 1, Healthy: 1, Skipped: map[string]int64{"overlap": 1}}, window(9, 11))
}
