package hub_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/protocol"
)

// Heartbeats that say the same of the observer are written once, in a session of whom
// that is not known yet.
func TestObserverIsWrittenWhenItIsNews(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		a := w.ours("s1")
		beat := func(kinds ...protocol.IllnessKind) {
			o := &protocol.Observer{LagMs: float64(time.Now().UnixMilli() % 1000)}
			for _, k := range kinds {
				o.Ill = append(o.Ill, protocol.Illness{Kind: k})
			}
			a.send(&protocol.Heartbeat{Version: "1", Perigee: &protocol.Pulse{SentAt: 1, Observer: o}})
			synctest.Wait()
			time.Sleep(time.Millisecond)
		}
		for range 3 {
			beat()
		}
		for range 3 {
			beat(protocol.IllResolver)
		}
		beat()
		w.fleet.wantEdges(t, "open s1 1", "observer s1 epoch 1: ", "observer s1 epoch 1: resolver", "observer s1 epoch 1: ")
	})
}

// Results are corrected by what the last heartbeat said; without the feature, what is
// said of clock and observer is not heard.
func TestClockOfResults(t *testing.T) {
	for name, c := range map[string]struct {
		features []string
		offset   *float64
		why      string
	}{
		"agreed": {nil, new(-300000.0), "gateway: gone"},
		"not":    {[]string{protocol.FeatureAck, protocol.FeatureSlots}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.fleet.add("s1", pair("c1"))
				a := w.ours("s1", c.features...)
				pulse := &protocol.Pulse{SentAt: 1, OffsetMs: new(-300000.0), UncertaintyMs: new(1.0), Observer: &protocol.Observer{Ill: []protocol.Illness{{Kind: protocol.IllGateway}}}}
				a.send(&protocol.Heartbeat{Version: "1", Perigee: pulse})
				at := time.Now().Add(5 * time.Minute)
				a.send(&protocol.Results{Records: []protocol.Record{{Seq: 1, Result: &protocol.Result{
					ConfigID: "c1", SystemID: "web", Status: check.Unhealthy, ExecutedAt: at.UTC().Format(time.RFC3339Nano), Slot: at.UnixMilli(), Inconclusive: "gateway: gone",
				}}}})
				synctest.Wait()
				w.ingest.wantRuns(t, "c1")
				runs := w.ingest.items[0].Runs
				executed := at
				if c.offset != nil {
					executed = at.Add(-5 * time.Minute)
				}
				got := health.Run{ExecutedAt: runs[0].ExecutedAt, ClockOffsetMs: runs[0].ClockOffsetMs, Inconclusive: runs[0].Inconclusive}
				want := health.Run{ExecutedAt: executed.UTC(), ClockOffsetMs: c.offset, Inconclusive: c.why}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("run (-want +got):\n%s", diff)
				}
			})
		})
	}
}
