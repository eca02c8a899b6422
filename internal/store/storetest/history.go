package storetest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/store"
	"github.com/perigee-monitoring/perigee/verdict"
)

// Runs and buckets are forgotten when their time has come, whether their partition was
// made before them, after them, or never (a partition goes as a whole, when all of it has); and a run of a kept day stays known by its id.
func testRetention(_ *testing.T, s *suite) {
	const day = 24 * time.Hour
	w := s.world("1")
	now := s.now()
	keep := health.Retention{Runs: 7 * day, Minutes: 2 * day, Hours: 20 * day, Days: 40 * day}
	var all, kept []health.Run
	for _, age := range []time.Duration{60 * day, 30 * day, 9 * day, 6 * day, 3 * day, time.Hour, 0, -day, -60 * day} {
		r := newRun(w, now.Add(-age), check.Healthy)
		all = append(all, r)
		if age < keep.Runs {
			kept = append([]health.Run{r}, kept...)
		}
	}
	rollup := func(age time.Duration, t health.Tier) health.Rollup {
		return health.Rollup{LocationKey: locationKey(w), Bucket: t.Bucket(now.Add(-age)), Tally: health.Tally{Healthy: 1}}
	}
	ages := []time.Duration{150 * day, 30 * day, 10 * day, day, 0}
	add := func() {
		s.tx(func(tx *store.Tx) error {
			for _, t := range health.Tiers {
				var rows []health.Rollup
				for _, age := range ages {
					rows = append(rows, rollup(age, t))
				}
				if err := tx.AddRollups(s.ctx(), t, rows); err != nil {
					return err
				}
			}
			return nil
		})
	}
	s.insertRuns(all[:5]...)
	add()
	s.ok(s.db.MakePartitions(s.ctx(), now, keep))
	s.insertRuns(all...)
	add()
	s.ok(s.db.MakePartitions(s.ctx(), now, keep))
	s.same(map[string]bool{}, s.insertRuns(all...))

	whole := health.RollupState{MinutesFrom: health.Day.Bucket(now.Add(-keep.Minutes)), HoursFrom: health.Day.Bucket(now.Add(-keep.Hours))}
	for range 2 {
		s.ok(s.db.PurgeHistory(s.ctx(), now.Add(-keep.Runs), whole, health.Day.Bucket(now.Add(-keep.Days))))
		s.same(kept, s.runs(health.RunFilter{}))
		got := map[health.Tier][]health.Rollup{}
		s.tx(func(tx *store.Tx) error {
			for _, t := range health.Tiers {
				f := health.RollupFilter{SystemIDs: []string{w.system.ID}, From: now.Add(-200 * day), To: now.Add(day)}
				got[t] = must(tx.Rollups(s.ctx(), t, f))(s)
				f.From, f.Limit = now.Add(-day), 1
				s.same(1, len(must(tx.Rollups(s.ctx(), t, f))(s)))
			}
			return nil
		})
		want := map[health.Tier][]health.Rollup{}
		for t, n := range map[health.Tier]int{health.Minute: 2, health.Hour: 3, health.Day: 4} {
			for _, age := range ages[len(ages)-n:] {
				r := rollup(age, t)
				r.Healthy = 2
				want[t] = append(want[t], r)
			}
		}
		byTime := cmpopts.SortSlices(func(a, b health.Rollup) bool { return a.Bucket.Before(b.Bucket) })
		s.same(want, got, cmpopts.EquateEmpty(), byTime)
	}
}

// testDetails: the evidence of routine runs is forgotten before they are, unless it is
// kept; all others have theirs for as long as there are runs.
func testDetails(_ *testing.T, s *suite) {
	w := s.world("1")
	slot := s.now().Add(-time.Hour).Truncate(time.Second)
	var all []health.Run
	for i := range 250 { // in several packs
		r := newRun(w, slot.Add(time.Duration(i)*time.Millisecond), check.Healthy)
		r.Result = fmt.Appendf(nil, `{"status":"healthy","latencyMs":%d}`, i)
		if i%50 == 7 {
			r.Status = check.Unhealthy
		}
		all = append([]health.Run{r}, all...)
	}
	all[3].Result = nil
	all[4].Asked = fleet.AskedManually
	all[5].Inconclusive = "resolver: no answer"
	s.insertRuns(all...)
	s.insertRuns(all...)
	is := func(want []health.Run) {
		s.t.Helper()
		got, _, err := s.db.Runs(s.ctx(), health.RunFilter{}, fleet.Page{Limit: 300})
		s.ok(err)
		s.same(want, got)
	}
	is(all)
	kept := all[:1]
	s.tx(func(tx *store.Tx) error { return tx.KeepDetails(s.ctx(), kept) })
	s.ok(s.db.PurgeDetails(s.ctx(), time.Now().Add(-time.Minute)))
	is(all)
	plain, _, err := s.db.Runs(s.ctx(), health.RunFilter{Plain: true}, fleet.Page{Limit: 1})
	s.ok(err)
	s.same(json.RawMessage(nil), plain[0].Result)

	s.ok(s.db.PurgeDetails(s.ctx(), time.Now().Add(time.Minute)))
	for i := range all {
		if r := &all[i]; i > 0 && r.Routine() {
			r.Result = nil
		}
	}
	is(all)
}

// testVerdictRetention: a verdict is forgotten some time after it ended; one that holds
// never is.
func testVerdictRetention(_ *testing.T, s *suite) {
	w := s.world("1")
	now := s.now()
	judged := func(at time.Time) []verdict.Judged {
		return []verdict.Judged{{Verdict: verdict.Verdict{
			ID: newID(), SystemID: w.system.ID, CheckID: w.check.ID, Status: check.Unhealthy, Class: verdict.ClassNone, At: at,
		}}}
	}
	old, newer, current := judged(now.Add(-100*time.Hour)), judged(now.Add(-50*time.Hour)), judged(now.Add(-20*time.Hour))
	s.tx(func(tx *store.Tx) error { return tx.PutVerdicts(s.ctx(), old[0].Verdict.At, nil, old) })
	s.tx(func(tx *store.Tx) error {
		return tx.PutVerdicts(s.ctx(), newer[0].Verdict.At, []string{old[0].Verdict.ID}, newer)
	})
	s.tx(func(tx *store.Tx) error {
		return tx.PutVerdicts(s.ctx(), current[0].Verdict.At, []string{newer[0].Verdict.ID}, current)
	})
	left := func(before time.Time) (ids []string) {
		must(s.db.PurgeVerdicts(s.ctx(), before))(s)
		kept, _, err := s.db.VerdictHistory(s.ctx(), health.VerdictFilter{CheckID: w.check.ID}, fleet.Page{})
		s.ok(err)
		for _, v := range kept {
			ids = append(ids, v.ID)
		}
		return ids
	}
	s.same([]string{current[0].Verdict.ID, newer[0].Verdict.ID}, left(now.Add(-40*time.Hour)))
	s.same([]string{current[0].Verdict.ID}, left(now))
}
