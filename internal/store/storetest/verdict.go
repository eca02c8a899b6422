package storetest

import (
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/store"
	"github.com/perigee-monitoring/perigee/verdict"
)

// testVerdicts: one holds at a time, its evidence comes back as it was, and what was told
// of it is kept apart.
func testVerdicts(_ *testing.T, s *suite) {
	w := s.world("1")
	now := s.now().Truncate(time.Millisecond)
	judged := func(id string, status check.Status, at time.Time) verdict.Judged {
		return verdict.Judged{
			Verdict: verdict.Verdict{ID: id, SystemID: w.system.ID, CheckID: w.check.ID, Status: status, Reason: "it said so", Class: verdict.ClassNone, At: at, Told: status},
			Evidence: verdict.Evidence{
				At: at, System: verdict.Named{ID: w.system.ID}, Check: verdict.Named{ID: w.check.ID},
				Seats: []verdict.Seat{{SatelliteID: w.satellite.ID, Satellite: w.satellite.Name, Region: "eu", Online: true}}, Runs: []verdict.Run{},
			},
		}
	}
	put := func(at time.Time, end []string, begin ...verdict.Judged) {
		s.tx(func(tx *store.Tx) error { return tx.PutVerdicts(s.ctx(), at, end, begin) })
	}
	first, second := newID(), newID()
	put(now, nil, judged(first, check.Healthy, now))
	put(now.Add(time.Minute), []string{first}, judged(second, check.Unhealthy, now.Add(time.Minute)))
	holding := must(s.db.Verdicts(s.ctx(), []string{w.system.ID}))(s)
	s.same(1, len(holding))
	s.same(second, holding[0].ID)
	history, next, err := s.db.VerdictHistory(s.ctx(), health.VerdictFilter{CheckID: w.check.ID}, fleet.Page{Limit: 1})
	s.ok(err)
	s.same([]string{second}, []string{history[0].ID})
	history, _, err = s.db.VerdictHistory(s.ctx(), health.VerdictFilter{CheckID: w.check.ID}, fleet.Page{Limit: 1, Cursor: next})
	s.ok(err)
	s.same(first, history[0].ID)
	s.same(true, history[0].Until.Equal(now.Add(time.Minute)))
	s.same(judged(second, check.Unhealthy, now.Add(time.Minute)).Evidence.Seats, must(s.db.Evidence(s.ctx(), second))(s).Evidence.Seats)

	s.tx(func(tx *store.Tx) error {
		return tx.TellVerdicts(s.ctx(), map[check.Status][]string{check.Healthy: {second}})
	})
	s.same([]check.Status{check.Unhealthy, check.Healthy}, []check.Status{
		must(s.db.Verdicts(s.ctx(), nil))(s)[0].Status, must(s.db.Verdicts(s.ctx(), nil))(s)[0].Told,
	})
}

// testPolicies: locations without a row of their own get the policy of their assignment.
func testPolicies(_ *testing.T, s *suite) {
	w := s.world("1")
	w.assignment.Policy = check.Policy{Thresholds: check.Thresholds{Unhealthy: 3}, Quorum: check.Quorum{Kind: check.QuorumAll}}
	s.tx(func(tx *store.Tx) error { return tx.PutAssignments(s.ctx(), w.assignment) })
	known, unknown := locationKey(w), locationKey(w)
	unknown.CheckID = newID()
	s.tx(func(tx *store.Tx) error {
		got, err := tx.Policies(s.ctx(), []health.LocationKey{known, unknown})
		s.same(map[health.LocationKey]check.Policy{known: w.assignment.Policy}, got)
		return err
	})
}
