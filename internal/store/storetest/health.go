package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sync/errgroup"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/store"
	"github.com/perigee-monitoring/perigee/protocol"
	"github.com/perigee-monitoring/perigee/verdict"
)

func locationKey(w *world) health.LocationKey {
	return health.LocationKey{SystemID: w.system.ID, CheckID: w.check.ID, SatelliteID: w.satellite.ID}
}

func newRun(w *world, slot time.Time, status check.Status) health.Run {
	slot = slot.Truncate(time.Millisecond)
	return health.Run{
		RunID:       check.RunID(slot, w.satellite.ID, check.Key{CheckID: w.check.ID, SystemID: w.system.ID}),
		SatelliteID: w.satellite.ID, CheckID: w.check.ID, SystemID: w.system.ID, Status: status, LatencyMs: ptr(int64(12)),
		ExecutedAt: slot.Add(time.Millisecond), ReceivedAt: slot.Add(time.Second), Slot: slot, Revision: 3,
		Source: "eu-1 (eu)", Result: []byte(`{"status":"` + status + `"}`),
	}
}

func (s *suite) insertRuns(runs ...health.Run) map[string]bool {
	s.t.Helper()
	var inserted map[string]bool
	s.tx(func(tx *store.Tx) (err error) {
		inserted, err = tx.InsertRuns(s.ctx(), runs)
		return err
	})
	return inserted
}

func (s *suite) runs(f health.RunFilter) []health.Run {
	s.t.Helper()
	items, _, err := s.db.Runs(s.ctx(), f, fleet.Page{})
	s.ok(err)
	return items
}

func (s *suite) putLocation(w *world, status check.Status) health.Location {
	s.t.Helper()
	now := s.now()
	l := health.Location{
		LocationKey: locationKey(w), State: verdict.State{
			Status: status, Since: now.Add(-time.Hour), ExecutedAt: now, ReceivedAt: now.Add(time.Second),
			Memory: verdict.Memory{Recent: "hdu", Flapping: true, Settled: check.Healthy, Before: verdict.Before{Status: check.Degraded, LagMs: 12}},
		},
		RunID: "r", LatencyMs: ptr(int64(7)), Message: "m",
	}
	s.tx(func(tx *store.Tx) error { return tx.PutLocations(s.ctx(), []health.Location{l}) })
	return l
}

func (s *suite) lockLocations(keys ...health.LocationKey) map[health.LocationKey]health.Location {
	s.t.Helper()
	var rows map[health.LocationKey]health.Location
	s.tx(func(tx *store.Tx) (err error) {
		rows, err = tx.LockLocations(s.ctx(), keys)
		return err
	})
	return rows
}

func testRuns(_ *testing.T, s *suite) {
	w := s.world("1")
	now := s.now()
	first, second := newRun(w, now, check.Healthy), newRun(w, now.Add(time.Second), check.Unhealthy)
	second.LatencyMs, second.Result, second.EnvironmentID, second.Message = nil, nil, "env", "refused"
	s.same(map[string]bool{first.RunID: true, second.RunID: true}, s.insertRuns(second, first, second))

	again, third := first, newRun(w, now.Add(2*time.Second), check.Degraded)
	again.Status = check.Unhealthy
	s.same(map[string]bool{third.RunID: true}, s.insertRuns(again, third))
	s.same([]health.Run{third, second, first}, s.runs(health.RunFilter{}))
}

func testRunFilter(_ *testing.T, s *suite) {
	a, b := s.world("1"), s.world("2")
	start := s.now().Truncate(time.Second)
	var all []health.Run
	for i := range 10 {
		w, status := a, check.Healthy
		if i%2 == 1 {
			w = b
		}
		if i%3 == 0 {
			status = check.Unhealthy
		}
		all = append(all, newRun(w, start.Add(time.Duration(i)*time.Second), status))
	}
	s.insertRuns(all...)
	slices.Reverse(all)
	for _, f := range []health.RunFilter{
		{SatelliteID: a.satellite.ID},
		{CheckID: b.check.ID},
		{SystemID: a.system.ID},
		{Status: check.Unhealthy},
		{From: start.Add(3 * time.Second)},
		{To: start.Add(3 * time.Second)},
		{From: start.Add(2 * time.Second), To: start.Add(7 * time.Second), SystemID: b.system.ID, Status: check.Healthy},
		{From: start.Add(time.Hour)},
		{SatelliteID: "unknown"},
		{From: time.UnixMicro(-1)},
	} {
		var want []health.Run
		for _, r := range all {
			if (f.SatelliteID == "" || f.SatelliteID == r.SatelliteID) && (f.CheckID == "" || f.CheckID == r.CheckID) &&
				(f.SystemID == "" || f.SystemID == r.SystemID) && (f.Status == "" || f.Status == r.Status) &&
				(f.From.IsZero() || !r.Slot.Before(f.From)) && (f.To.IsZero() || r.Slot.Before(f.To)) {
				want = append(want, r)
			}
		}
		s.same(append([]health.Run{}, want...), s.runs(f))
	}
}

func testRunPages(_ *testing.T, s *suite) {
	w := s.world("1")
	start := s.now()
	var want []string
	for i := range 45 {
		r := newRun(w, start.Add(time.Duration(i)*time.Second), check.Healthy)
		s.insertRuns(r)
		want = append(want, r.RunID)
	}
	slices.Reverse(want)
	items := pages(s, 10, func(page int) {
		s.insertRuns(newRun(w, start.Add(time.Hour+time.Duration(page)*time.Second), check.Healthy))
	}, func(p fleet.Page) ([]health.Run, string, error) { return s.db.Runs(s.ctx(), health.RunFilter{}, p) })
	var got []string
	for _, r := range items {
		got = append(got, r.RunID)
	}
	s.same(want, got)
}

func testRunText(_ *testing.T, s *suite) {
	r := newRun(s.world("1"), s.now(), check.Unhealthy)
	r.Message, r.Result = "a\x00b\xffc", []byte(`{"message":"\u0000"}`)
	s.insertRuns(r)
	r.Message = "a\uFFFDb\uFFFDc"
	s.same([]health.Run{r}, s.runs(health.RunFilter{}))
}

func testManyRuns(t *testing.T, s *suite) {
	w := s.world("1")
	start := s.now()
	runs := make([]health.Run, 2500)
	for i := range runs {
		runs[i] = newRun(w, start.Add(time.Duration(i)*time.Millisecond), check.Healthy)
	}
	s.same(2500, len(s.insertRuns(runs...)))
	s.same(0, len(s.insertRuns(runs...)))

	// Two cores get the same runs in different orders at the same time.
	for i := range runs {
		runs[i] = newRun(w, start.Add(time.Hour+time.Duration(i)*time.Millisecond), check.Healthy)
	}
	reversed := slices.Clone(runs)
	slices.Reverse(reversed)
	counts := make([]int, 2)
	var both errgroup.Group
	for i, batch := range [][]health.Run{runs, reversed} {
		both.Go(func() error {
			return s.try(func(tx *store.Tx) error {
				inserted, err := tx.InsertRuns(s.ctx(), batch)
				counts[i] = len(inserted)
				return err
			})
		})
	}
	s.ok(both.Wait())
	if counts[0]+counts[1] != 2500 {
		t.Errorf("%d runs were inserted by one and %d by the other, want 2500 in all", counts[0], counts[1])
	}
}

func testSkips(_ *testing.T, s *suite) {
	w := s.world("1")
	start := s.now().Truncate(time.Second)
	skip := func(from, to int) health.Skip {
		at := start.Add(time.Duration(from) * time.Second)
		return health.Skip{
			ID: check.RunID(at, w.satellite.ID, check.Key{CheckID: w.check.ID, SystemID: w.system.ID}), SatelliteID: w.satellite.ID,
			CheckID: w.check.ID, SystemID: w.system.ID, EnvironmentID: "e", From: at, To: start.Add(time.Duration(to) * time.Second),
			Count: int64(to - from + 1), Reason: protocol.SkipDown, ReceivedAt: start.Add(time.Minute),
		}
	}
	a, b, c := skip(0, 9), skip(10, 10), skip(20, 29)
	s.tx(func(tx *store.Tx) error {
		s.ok(tx.InsertSkips(s.ctx(), []health.Skip{c, a, b}))
		return tx.InsertSkips(s.ctx(), []health.Skip{a})
	})
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	for _, test := range []struct {
		filter health.RunFilter
		want   []health.Skip
	}{
		{health.RunFilter{}, []health.Skip{c, b, a}},
		{health.RunFilter{SatelliteID: w.satellite.ID, SystemID: w.system.ID, CheckID: w.check.ID}, []health.Skip{c, b, a}},
		{health.RunFilter{SatelliteID: "unknown"}, []health.Skip{}},
		{health.RunFilter{From: at(5), To: at(10)}, []health.Skip{a}},
		{health.RunFilter{From: at(9)}, []health.Skip{c, b, a}},
		{health.RunFilter{From: at(25)}, []health.Skip{c}},
		{health.RunFilter{To: at(11)}, []health.Skip{b, a}},
	} {
		got, _, err := s.db.Skips(s.ctx(), test.filter, fleet.Page{})
		s.ok(err)
		s.same(test.want, got)
	}
	s.same([]health.Skip{c, b, a}, pages(s, 1, func(int) {}, func(p fleet.Page) ([]health.Skip, string, error) {
		return s.db.Skips(s.ctx(), health.RunFilter{}, p)
	}))
}

func testLocations(_ *testing.T, s *suite) {
	a, b := s.world("1"), s.world("2")
	s.same(map[health.LocationKey]health.Location{}, s.lockLocations(locationKey(a)))
	first, other := s.putLocation(a, check.Healthy), s.putLocation(b, check.Degraded)
	inEnvironment := first
	inEnvironment.EnvironmentID, inEnvironment.LatencyMs = "staging", nil
	first.Status, first.Message = check.Unhealthy, "refused"
	s.tx(func(tx *store.Tx) error {
		return tx.PutLocations(s.ctx(), []health.Location{inEnvironment, first})
	})
	s.same(map[health.LocationKey]health.Location{
		first.LocationKey: first, other.LocationKey: other, inEnvironment.LocationKey: inEnvironment,
	}, s.lockLocations(other.LocationKey, inEnvironment.LocationKey, first.LocationKey, first.LocationKey, health.LocationKey{SystemID: "unknown"}))
}

func testOrphanLocations(_ *testing.T, s *suite) {
	a, b, c, whole := s.world("1"), s.world("2"), s.world("3"), s.world("4")
	s.tx(func(tx *store.Tx) error {
		s.ok(tx.DeleteSystem(s.ctx(), a.system.ID))
		s.ok(tx.DeleteCheck(s.ctx(), b.check.ID))
		return tx.DeleteSatellite(s.ctx(), c.satellite.ID)
	})
	var rows []health.Location
	var keys []health.LocationKey
	for _, w := range []*world{a, b, c, whole} {
		rows = append(rows, health.Location{LocationKey: locationKey(w), State: verdict.State{Status: check.Healthy}})
		keys = append(keys, locationKey(w))
	}
	s.tx(func(tx *store.Tx) error { return tx.PutLocations(s.ctx(), rows) })
	got := s.lockLocations(keys...)
	if _, kept := got[locationKey(whole)]; !kept || len(got) != 1 {
		s.t.Errorf("kept are %v, want only the one that stands for something", got)
	}
}

func testSeats(_ *testing.T, s *suite) {
	a, b := s.world("1"), s.world("2")
	seat := func(w *world, n string) health.Seat {
		return health.Seat{
			LocationKey: locationKey(w), CheckName: "front-" + n, SatelliteName: "eu-" + n, Region: "eu",
			Interval: check.Duration(10 * time.Second),
		}
	}
	placed := cmpopts.IgnoreFields(health.Seat{}, "Assignment") // when it was changed is not known here
	wantA, wantB := seat(a, "1"), seat(b, "2")
	s.same([]health.Seat{wantA, wantB}, must(s.db.Seats(s.ctx(), nil))(s), placed)
	s.same([]health.Seat{wantB}, must(s.db.Seats(s.ctx(), []string{b.system.ID, "unknown"}))(s), placed)

	s.connect(a.satellite.ID, 1, fleet.Connected, ptr(time.Second))
	location := s.putLocation(a, check.Healthy)
	wantA.Online, wantA.Location = true, &location
	s.tx(func(tx *store.Tx) error {
		s.same([]health.Seat{wantA}, must(tx.Seats(s.ctx(), []string{a.system.ID}))(s), placed)
		return nil
	})

	// Each environment has one, in the order of the system; what was heard without an
	// environment stands until one of them is heard of.
	a.system.Environments = []catalog.Environment{{ID: "p", Name: "prod"}, {ID: "d", Name: "dev"}, {ID: "t", Name: "test"}}
	a.assignment.Environments = []string{"dev", "gone", "prod"}
	s.tx(func(tx *store.Tx) error {
		s.ok(tx.PutSystems(s.ctx(), a.system))
		return tx.PutAssignments(s.ctx(), a.assignment)
	})
	seatsOfA := func() []health.Seat { return must(s.db.Seats(s.ctx(), []string{a.system.ID}))(s) }
	s.same([]health.Seat{wantA}, seatsOfA(), placed)
	inDev := location
	inDev.EnvironmentID = "d"
	s.tx(func(tx *store.Tx) error { return tx.PutLocations(s.ctx(), []health.Location{inDev}) })
	prod, dev := wantA, wantA
	prod.EnvironmentID, prod.Environment, prod.Location = "p", "prod", nil
	dev.EnvironmentID, dev.Environment, dev.Location = "d", "dev", &inDev
	s.same([]health.Seat{prod, dev}, seatsOfA(), placed)
	a.assignment.SatelliteEnvironments = map[string][]string{"eu-1": {"prod", "test"}}
	s.tx(func(tx *store.Tx) error { return tx.PutAssignments(s.ctx(), a.assignment) })
	s.same([]health.Seat{wantA}, seatsOfA(), placed) // nothing was heard of prod, so the one without stands

	// What is disabled, paused or taken away has no seat.
	b.assignment.Enabled = false
	a.check.Spec.Paused = true
	s.tx(func(tx *store.Tx) error {
		s.ok(tx.PutAssignments(s.ctx(), b.assignment))
		return tx.PutChecks(s.ctx(), a.check)
	})
	s.same(0, len(must(s.db.Seats(s.ctx(), nil))(s)))
	a.check.Spec.Paused = false
	s.tx(func(tx *store.Tx) error {
		s.ok(tx.PutChecks(s.ctx(), a.check))
		return tx.Place(s.ctx(), nil, []catalog.Placement{a.placement()})
	})
	s.same(0, len(must(s.db.Seats(s.ctx(), nil))(s)))
}

// A seat counts where it is now: at the one that hands it over before the end of the
// lease, at the other when there is no lease to wait for.
func testSeatsInHandOver(_ *testing.T, s *suite) {
	a, b := s.world("1"), s.world("2")
	s.connect(a.satellite.ID, 1, fleet.Connected, ptr(time.Second))
	first, second := a.placement(), a.placement()
	first.Seat, second.Seat, second.SatelliteID = 1, 1, b.satellite.ID
	for _, leases := range []bool{false, true} {
		s.tx(func(tx *store.Tx) error {
			_, _, err := tx.FlushBeats(s.ctx(), []fleet.Beat{{SatelliteID: a.satellite.ID, Epoch: 1, Leases: leases}})
			s.ok(err)
			s.ok(tx.Place(s.ctx(), []catalog.Placement{first}, []catalog.Placement{second}))
			from := first
			from.Handover = true
			return tx.Place(s.ctx(), []catalog.Placement{second}, []catalog.Placement{from})
		})
		var names []string
		for _, seat := range must(s.db.Seats(s.ctx(), []string{a.system.ID}))(s) {
			names = append(names, seat.SatelliteName)
		}
		want := "eu-2"
		if leases {
			want = "eu-1"
		}
		s.same([]string{want}, names)
	}
}

// Whoever has got a seat has no voice before it has measured something: until then that
// of the one that had it counts, as long as it would have been fresh there.
func testSeatsThatMoved(_ *testing.T, s *suite) {
	a, b := s.world("1"), s.world("2")
	first, second := a.placement(), a.placement()
	first.Seat, second.Seat, second.SatelliteID = 1, 1, b.satellite.ID
	measured := func(satelliteID string, at time.Time) {
		key := locationKey(a)
		key.SatelliteID = satelliteID
		s.tx(func(tx *store.Tx) error {
			return tx.PutLocations(s.ctx(), []health.Location{{LocationKey: key, State: verdict.State{Status: check.Healthy, Since: at, ExecutedAt: at, ReceivedAt: at}}})
		})
	}
	at := func() (names []string) {
		for _, seat := range must(s.db.Seats(s.ctx(), []string{a.system.ID}))(s) {
			names = append(names, seat.SatelliteName)
		}
		return names
	}
	old := s.now().Add(-time.Hour)
	s.tx(func(tx *store.Tx) error {
		return tx.Place(s.ctx(), []catalog.Placement{first}, []catalog.Placement{first})
	})
	measured(b.satellite.ID, old) // it had the seat once
	measured(a.satellite.ID, s.now())
	s.tx(func(tx *store.Tx) error {
		return tx.Place(s.ctx(), []catalog.Placement{second}, []catalog.Placement{first})
	})
	s.same([]string{"eu-1"}, at())
	measured(b.satellite.ID, s.now().Add(time.Millisecond))
	s.same([]string{"eu-2"}, at())
	s.tx(func(tx *store.Tx) error { return tx.Place(s.ctx(), nil, []catalog.Placement{second}) })
	s.same([]string(nil), at())
}

func testSystemHealth(_ *testing.T, s *suite) {
	a, b := s.world("1"), s.world("2")
	lock := func() (locked map[string]health.SystemHealth) {
		s.tx(func(tx *store.Tx) (err error) {
			locked, err = tx.LockSystems(s.ctx(), []string{b.system.ID, a.system.ID, "unknown"})
			return err
		})
		return locked
	}
	unknown := func(w *world) health.SystemHealth {
		return health.SystemHealth{SystemID: w.system.ID, Status: check.Unknown}
	}
	s.same(map[string]health.SystemHealth{a.system.ID: unknown(a), b.system.ID: unknown(b)}, lock())
	s.same(map[string]health.SystemHealth{}, must(s.db.SystemHealths(s.ctx(), nil))(s))

	verdict := health.SystemHealth{SystemID: a.system.ID, Status: check.Degraded, HealthyChecks: 1, TotalChecks: 2, Since: s.now(), Reason: "slow"}
	for range 2 {
		s.tx(func(tx *store.Tx) error { return tx.PutSystemHealths(s.ctx(), []health.SystemHealth{verdict}) })
		s.same(map[string]health.SystemHealth{a.system.ID: verdict, b.system.ID: unknown(b)}, lock())
		s.same(map[string]health.SystemHealth{a.system.ID: verdict}, must(s.db.SystemHealths(s.ctx(), nil))(s))
		s.same(map[string]health.SystemHealth{a.system.ID: verdict}, must(s.db.SystemHealths(s.ctx(), []string{a.system.ID, b.system.ID}))(s))
		verdict.Status, verdict.Reason = check.Healthy, ""
	}
}

// Writers of one verdict count it up; none may miss what another wrote.
func testVerdictLock(_ *testing.T, s *suite) {
	w := s.world("1")
	const writers, each = 8, 10
	var group errgroup.Group
	for i := range writers {
		group.Go(func() error {
			for range each {
				if err := s.try(func(tx *store.Tx) error {
					locked, err := tx.LockSystems(s.ctx(), []string{w.system.ID})
					if err != nil {
						return err
					}
					h := locked[w.system.ID]
					h.TotalChecks++
					h.Reason = fmt.Sprint("by ", i)
					return tx.PutSystemHealths(s.ctx(), []health.SystemHealth{h})
				}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	s.ok(group.Wait())
	s.same(writers*each, must(s.db.SystemHealths(s.ctx(), nil))(s)[w.system.ID].TotalChecks)
}
