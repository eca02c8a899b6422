package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/store"
	"github.com/perigee-monitoring/perigee/protocol"
	"github.com/perigee-monitoring/perigee/verdict"
)

// testInconclusiveRuns: such a run keeps what it measured, and is found only as what it is.
func testInconclusiveRuns(_ *testing.T, s *suite) {
	w := s.world("1")
	slot := time.UnixMilli(1893553445000).UTC()
	red, ill := newRun(w, slot, check.Unhealthy), newRun(w, slot.Add(time.Second), check.Unhealthy)
	ill.Inconclusive = "resolver: no answer from the nameserver\x00"
	ill.ClockOffsetMs, ill.ClockUncertaintyMs = ptr(-300000.5), ptr(0.75)
	s.insertRuns(red, ill)
	ill.Inconclusive = "resolver: no answer from the nameserver\uFFFD"
	s.same([]health.Run{ill, red}, s.runs(health.RunFilter{}))
	s.same([]health.Run{red}, s.runs(health.RunFilter{Status: check.Unhealthy}))
	s.same([]health.Run{ill}, s.runs(health.RunFilter{Status: health.Inconclusive}))

	// The ledger tells them apart.
	stretch := health.Stretch{
		LocationKey: locationKey(w), Schedule: check.Schedule{Interval: time.Second},
		After: slot.UnixMilli() - 1, Until: slot.UnixMilli() + 2000, InTime: time.Minute,
	}
	counted := map[bool]int64{}
	s.ok(s.db.ReadLedger(s.ctx(), func(r health.LedgerReader) error {
		counts, err := r.CountRuns(s.ctx(), health.Window{From: slot.Add(-time.Minute), To: slot.Add(time.Minute)}, []health.Stretch{stretch})
		for _, c := range counts {
			counted[c.Inconclusive] += c.Count
		}
		return err
	}))
	s.same(map[bool]int64{false: 1, true: 1}, counted)
}

// testBlindLocations: the newest run that says nothing is known of its seat alone.
func testBlindLocations(_ *testing.T, s *suite) {
	w, other := s.world("1"), s.world("2")
	now := s.now()
	blind := func(w *world, executed time.Time, reason string) health.Blind {
		return health.Blind{LocationKey: locationKey(w), Blind: verdict.Blind{ExecutedAt: executed, ReceivedAt: executed.Add(time.Second), Reason: reason}}
	}
	put := func(rows ...health.Blind) {
		s.tx(func(tx *store.Tx) error { return tx.PutBlind(s.ctx(), rows) })
	}
	gone := blind(w, now, "nobody's")
	gone.SystemID = newID()
	put(blind(w, now, "new"), gone)
	put(blind(w, now.Add(-time.Minute), "late"))
	of := func(w *world) []*health.Blind {
		seats := must(s.db.Seats(s.ctx(), []string{w.system.ID}))(s)
		s.same(1, len(seats))
		return []*health.Blind{seats[0].Blind}
	}
	s.same([]*health.Blind{ptr(blind(w, now, "new"))}, of(w))
	s.same([]*health.Blind{nil}, of(other))
	put(blind(w, now.Add(time.Minute), "newer"), blind(other, now, "at once"))
	s.same([]*health.Blind{ptr(blind(w, now.Add(time.Minute), "newer"))}, of(w))
	s.same([]*health.Blind{ptr(blind(other, now, "at once"))}, of(other))
	s.tx(func(tx *store.Tx) error { return tx.DeleteSatellite(s.ctx(), w.satellite.ID) })
}

// testSelfObservations: how satellites fare, who is told, and which regions are concerned.
func testSelfObservations(_ *testing.T, s *suite) {
	a, b, offline := s.satellite("a"), s.satellite("b"), s.satellite("c")
	for _, sat := range []fleet.Satellite{a, b} {
		s.connect(sat.ID, 1, fleet.Connected, ptr(time.Second))
	}
	read := func(id string) (row fleet.SelfObservation) {
		s.tx(func(tx *store.Tx) (err error) {
			row, err = tx.SelfObservationForUpdate(s.ctx(), id)
			return err
		})
		return row
	}
	toTell := func() bool { return must(s.db.IllToTell(s.ctx(), time.Minute))(s) }
	put := func(rows ...fleet.SelfObservation) {
		s.tx(func(tx *store.Tx) error { return tx.PutSelfObservations(s.ctx(), rows) })
	}
	fresh := fleet.SelfObservation{SatelliteID: a.ID, Name: "a", Region: "eu", Epoch: 1, Online: true}
	s.same(fresh, read(a.ID))
	s.fails(s.try(func(tx *store.Tx) error {
		_, err := tx.SelfObservationForUpdate(s.ctx(), newID())
		return err
	}), fault.NotFound)
	s.same(false, toTell())

	ill := fresh
	ill.Observer = fleet.ObserverHealth{Ill: []protocol.Illness{{Kind: protocol.IllResolver, Since: 1, Detail: "no answer\x00"}}, Skewed: true, OffsetMs: -1.5}
	ill.IllSince = ptr(s.now())
	put(ill)
	ill.Observer.Ill[0].Detail = `no answer` + "\x00" // escaped in JSON, so it is kept
	s.same(ill, read(a.ID))
	s.same(false, toTell()) // not for long enough
	sat := must(s.db.Satellite(s.ctx(), a.ID))(s)
	s.same(&ill.Observer, sat.Observer)
	s.same(ill.IllSince, sat.IllSince)
	ill.IllSince = ptr(s.now().Add(-2 * time.Minute))
	put(ill)
	s.same(true, toTell())

	// One of which nobody hears is not told of.
	away := fleet.SelfObservation{SatelliteID: offline.ID, Observer: ill.Observer, IllSince: ill.IllSince}
	put(away)
	ill.Told = fleet.ToldByRegion
	put(ill)
	s.tx(func(tx *store.Tx) error {
		return tx.PutIllRegions(s.ctx(), []fleet.ObservedRegion{{Region: "eu", Ill: true}, {Region: "us", Ill: true}, {Region: "us"}})
	})
	s.same(false, toTell())
	var rows []fleet.SelfObservation
	var regions []fleet.ObservedRegion
	look := func() {
		s.tx(func(tx *store.Tx) (err error) {
			if rows, err = tx.LockIll(s.ctx()); err == nil {
				regions, err = tx.ObservedRegions(s.ctx())
			}
			return err
		})
	}
	look()
	away.Name, away.Region = "c", "eu"
	s.same([]fleet.SelfObservation{ill, away}, rows)
	s.same([]fleet.ObservedRegion{{Region: "eu", Observers: 1, Ill: true}}, regions)

	// Well again, and not told yet; then the region alone is left.
	ill.IllSince, ill.Observer = nil, fleet.ObserverHealth{Ill: []protocol.Illness{}}
	put(ill)
	s.same(true, toTell())
	ill.Told = ""
	put(ill, fleet.SelfObservation{SatelliteID: offline.ID})
	s.same(true, toTell())
	look()
	s.same([]fleet.SelfObservation{}, rows, cmpopts.EquateEmpty())
	s.same([]fleet.ObservedRegion{{Region: "eu", Observers: 1, Ill: true}}, regions)
	s.tx(func(tx *store.Tx) error {
		return tx.PutIllRegions(s.ctx(), []fleet.ObservedRegion{{Region: "eu"}})
	})
	s.same(false, toTell())
}
