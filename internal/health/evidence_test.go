package health_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/verdict"
)

// Every verdict of a random history is reached again from its evidence alone, and
// each ends when the next begins.
func TestF15_EveryVerdictFollowsFromItsEvidence(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url, 3)
		policies := []check.Policy{
			{},
			{Thresholds: check.Thresholds{Unhealthy: 3, Degraded: 2, Recovery: 2}, Quorum: check.Quorum{Kind: check.QuorumCount, Count: 2}},
			{Window: check.Window{Failures: 2, Of: 4}, Flap: check.Flap{Window: 6}, Latency: check.Latency{DegradedMs: 50}},
		}
		if err := entity.InTx(t.Context(), w.rec, func(tx catalog.Tx) error {
			all, err := tx.AllAssignments(t.Context())
			for i := range all {
				all[i].Policy = policies[i]
				if err == nil {
					err = tx.PutAssignments(t.Context(), all[i])
				}
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(4, 15))
		for ago := 300; ago > 0; ago -= 2 {
			var runs []health.Run
			for no := range policies {
				late := time.Duration(random.IntN(2)*random.IntN(20)) * time.Second
				r := w.run(no, random.IntN(2), time.Duration(ago)*time.Second+late, []check.Status{check.Healthy, check.Degraded, check.Unhealthy}[random.IntN(3)])
				ms := random.Int64N(100)
				r.LatencyMs = &ms
				runs = append(runs, r)
			}
			w.submit(runs...)
		}
		for no := range policies {
			history, _, err := w.db.VerdictHistory(t.Context(), health.VerdictFilter{CheckID: checkID(no), SystemID: systemID}, fleet.Page{Limit: 1000})
			if err != nil {
				t.Fatal(err)
			}
			if len(history) < 3 {
				t.Errorf("check %d has %d verdicts, which is no history", no, len(history))
			}
			for i, v := range history { // newest first
				if i == 0 && v.Until != nil || i > 0 && (v.Until == nil || !v.Until.Equal(history[i-1].At) || v.Status == history[i-1].Status) {
					t.Errorf("check %d: %+v is followed by %+v", no, v, history[max(0, i-1)])
				}
				judged, err := w.db.Evidence(t.Context(), v.ID)
				if err == nil {
					err = health.WithRuns(t.Context(), w.db, &judged)
				}
				if err == nil {
					err = verdict.Verify(judged)
				}
				if err != nil || len(judged.Evidence.Runs) == 0 || judged.Evidence.Policy != policies[no] {
					t.Errorf("check %d, verdict %s with %d runs: %v", no, v.ID, len(judged.Evidence.Runs), err)
				}
				judged.Verdict.Status = check.Unknown
				if verdict.Verify(judged) == nil {
					t.Errorf("check %d: a verdict that does not follow is verified", no)
				}
			}
		}
	})
}

// A check that a maintenance pauses is unknown from then on, and that follows from its
// evidence as well.
func TestVerdictsOfPausedChecksFollowFromTheirEvidence(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url, 2)
		w.submit(w.run(0, 0, 3*time.Second, check.Unhealthy))
		err := entity.InTx(t.Context(), w.rec, func(tx catalog.Tx) error {
			return tx.Maintain(t.Context(), []catalog.Maintained{{MaintenanceID: "m", SystemID: systemID, CheckID: checkID(0), Mode: catalog.Pause}}, nil)
		})
		if err != nil {
			t.Fatal(err)
		}
		w.submit(w.run(1, 0, time.Second, check.Healthy)) // the system is judged
		history, _, err := w.db.VerdictHistory(t.Context(), health.VerdictFilter{CheckID: checkID(0)}, fleet.Page{})
		if err != nil {
			t.Fatal(err)
		}
		var got []check.Status
		for _, v := range history {
			got = append(got, v.Status)
			judged, err := w.db.Evidence(t.Context(), v.ID)
			if err == nil {
				err = verdict.Verify(judged)
			}
			if err != nil {
				t.Errorf("%s because %q: %v", v.Status, v.Reason, err)
			}
		}
		if diff := cmp.Diff([]check.Status{check.Unknown, check.Unhealthy}, got); diff != "" {
			t.Errorf("verdicts, newest first (-want +got):\n%s", diff)
		}
	})
}
