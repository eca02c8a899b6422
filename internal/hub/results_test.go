package hub_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/hub"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/protocol"
)

func TestL34_ResultCarriesTheSatelliteAndItsLabel(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		a := w.original("s1")
		w.fleet.change("s1", func(r *record) { r.Name = "renamed" }) // shows only after a reconnect (F.2)
		a.send(result("front"))
		w.ingest.wantRuns(t, "front")
		run := w.ingest.items[0].Runs[0]
		if run.SatelliteID != "s1" || run.Source != "s1 (eu)" {
			t.Errorf("the run is from %q, %q", run.SatelliteID, run.Source)
		}
		a.quiet() // no reply, ever
	})
}

// L152–155, M29: only what is assigned is taken in.
func TestM29_L152_L153_L154_OnlyAssignedPairsAreTakenIn(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		w.fleet.add("s2", pair("other"))
		a := w.original("s1")
		a.send(result("other")) // another satellite's
		foreign := result("front")
		foreign.SystemID = "bank"
		a.send(foreign)
		elsewhere := result("front")
		elsewhere.EnvironmentID = protocol.Of("prod") // not one of the assignment's
		a.send(elsewhere)
		a.send(result("front"))
		w.ingest.wantRuns(t, "front")
		if got := w.metric("results_refused_total", "not_assigned"); got != 3 {
			t.Errorf("%v refused results are counted", got)
		}
		w.wantLog("refused a result")
		if len(w.hub.Sessions()) != 1 {
			t.Error("the socket was not kept")
		}
	})
}

// An original agent from before environments (0.9.4) runs a pair that has some once, and
// names none. What it hears is not lost; those that know of environments name them.
func TestM29_AgentsThatKnowNoEnvironmentsAreHeard(t *testing.T) {
	inBubble(t, func(w *world) {
		front := pair("front")
		front.Environments = []check.Environment{{ID: "prod", Name: "prod"}}
		w.fleet.add("s1", front)
		a := w.original("s1")
		a.send(result("front")) // absent
		w.ingest.wantRuns(t, "front")
		if got := w.ingest.items[0].Runs[0].EnvironmentID; got != "" {
			t.Errorf("the run is in environment %q", got)
		}
		in := func(id protocol.Nullable[string]) *protocol.Result {
			r := result("front")
			r.EnvironmentID = id
			return r
		}
		a.send(in(protocol.Null[string]()))
		a.send(in(protocol.Of("stage")))
		a.send(in(protocol.Of("prod")))
		w.ingest.wantRuns(t, "front", "front")
		if got := w.metric("results_refused_total", "not_assigned"); got != 2 {
			t.Errorf("%v refused results are counted", got)
		}

		b := w.ours("s1")
		b.send(batch(protocol.Record{Seq: 1, Result: result("front")}))
		if ack := next[*protocol.Ack](b); len(ack.Refused) != 1 {
			t.Errorf("a satellite that knows environments need not name one: %+v", ack)
		}
	})
}

func TestL155_PushRefreshesWhatMayBeReported(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		a := w.original("s1")
		a.send(result("back"))
		w.ingest.wantRuns(t)
		w.fleet.assign("s1", pair("front"), pair("back"))
		w.ring()
		next[*protocol.ConfigUpdated](a)
		a.send(result("back"))
		w.ingest.wantRuns(t, "back")
	})
}

// M68: a run that was due before its pair was taken away is not lost, if it comes late.
func TestM68_RunsDueBeforeTheirPairWasTakenAwayAreTakenIn(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		a := w.original("s1")
		early := result("front")
		<-time.After(time.Minute)
		w.fleet.assign("s1")
		w.ring()
		next[*protocol.ConfigUpdated](a)
		<-time.After(30 * time.Second)
		onTheWay := result("front") // the satellite had not heard yet
		<-time.After(time.Minute)
		late := result("front")
		for _, r := range []*protocol.Result{early, onTheWay, late} {
			a.send(r)
		}
		w.ingest.wantRuns(t, "front", "front")

		// A later session has the grants from the records.
		b := w.ours("s1")
		b.send(batch(protocol.Record{Seq: 1, Result: early}, protocol.Record{Seq: 2, Result: late}))
		ack := next[*protocol.Ack](b)
		want := &protocol.Ack{UpTo: 2, Refused: []protocol.Refused{{Seq: 2, Reason: "this check of this system is not assigned to the satellite"}}}
		if diff := cmp.Diff(want, ack); diff != "" {
			t.Errorf("ack (-want +got):\n%s", diff)
		}
	})
}

// A pair that is paused is still the satellite's: nobody took it away.
func TestRunsOfAPausedPairAreTakenIn(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		a := w.original("s1")
		w.fleet.change("s1", func(r *record) { r.want.Revision++; r.want.Assignments = nil })
		w.ring()
		next[*protocol.ConfigUpdated](a)
		<-time.After(time.Hour)
		a.send(result("front"))
		w.ingest.wantRuns(t, "front")
	})
}

// M8: a changed assignment judges what comes after it; late results of a pair that
// is gone are judged by what it was.
func TestM8_AssertionsOfOriginalAgentsAreEvaluated(t *testing.T) {
	inBubble(t, func(w *world) {
		asserting := pair("front")
		asserting.Collectors = []protocol.Collector{{ID: "e1", CollectorID: "healthcheck-http.request", Config: []byte(`{}`)}}
		w.fleet.add("s1", asserting)
		a := w.original("s1")
		text := `{"type":"result","configId":"front","systemId":"web","status":"healthy","latencyMs":41.6,"executedAt":"2000-01-01T00:00:00.000Z",
			"result":{"status":"healthy","latencyMs":41.6,"metadata":{"connected":true,"collectors":{"e1":{"_collectorId":"healthcheck-http.request","statusCode":200,"body":"secret page"}}}}}`
		a.sendText(text)
		w.ingest.wantRuns(t, "front")
		run := w.ingest.items[0].Runs[0]
		if strings.Contains(string(run.Result), "secret page") {
			t.Errorf("the ephemeral body was kept: %s", run.Result)
		}
		if run.LatencyMs == nil || *run.LatencyMs != 42 {
			t.Errorf("the latency is %v", run.LatencyMs)
		}
	})
}

// M2: a result that is sent twice has one run id.
func TestM2_ResentResultHasTheSameRunID(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		r := result("front")
		for range 2 {
			w.original("s1").send(r)
			synctest.Wait()
		}
		w.ingest.wantRuns(t, "front", "front")
		if a, b := w.ingest.items[0].Runs[0].RunID, w.ingest.items[1].Runs[0].RunID; a != b {
			t.Errorf("run ids %s and %s", a, b)
		}
	})
}

// M13: messages of one connection are handled in order.
func TestM13_ResultsOfOneConnectionKeepTheirOrder(t *testing.T) {
	inBubble(t, func(w *world) {
		var want []string
		var assignments []protocol.Assignment
		for i := range 100 {
			id := fmt.Sprintf("check-%03d", i)
			want, assignments = append(want, id), append(assignments, pair(id))
		}
		w.fleet.add("s1", assignments...)
		a := w.original("s1")
		for _, id := range want {
			a.send(result(id))
		}
		w.ingest.wantRuns(t, want...)
	})
}

// M1: an ack says durable, in order, although batches are in flight together.
func TestM1_AckComesAfterTheCommitAndInOrder(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		w.ingest.set(true, nil)
		a := w.ours("s1")
		a.send(batch(slotted(1, "front"), slotted(2, "front")))
		a.send(batch(slotted(3, "front")))
		a.send(batch(slotted(4, "front")))
		if got := w.ingest.waiting(); got != 3 {
			t.Fatalf("%d batches in flight", got)
		}
		a.quiet()
		w.ingest.release(1, nil) // the second is durable first
		a.quiet()
		w.ingest.release(0, nil)
		if got := next[*protocol.Ack](a).UpTo; got != 3 {
			t.Errorf("acknowledged up to %d", got)
		}
		w.ingest.release(0, nil)
		if got := next[*protocol.Ack](a).UpTo; got != 4 {
			t.Errorf("acknowledged up to %d", got)
		}
		a.quiet()
	})
}

func TestRefusedRecordsAreNamedAndTheRestIsStored(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		a := w.ours("s1")
		now := time.Now().UnixMilli()
		skip := &protocol.Skip{ConfigID: "front", SystemID: "web", From: now, To: now, Count: 1, Reason: protocol.SkipDown}
		other := *skip
		other.ConfigID = "other"
		good, err := protocol.Encode(batch(slotted(1, "front"), slotted(2, "other"),
			protocol.Record{Seq: 4, Skip: skip}, protocol.Record{Seq: 5, Skip: &other}))
		if err != nil {
			t.Fatal(err)
		}
		// Record 3 is one that cannot be read.
		a.sendText(strings.Replace(string(good), `{"seq":4,`, `{"seq":3,"result":{"status":"purple"}},{"seq":4,`, 1))
		ack := next[*protocol.Ack](a)
		if ack.UpTo != 5 || len(ack.Refused) != 3 || ack.Refused[0].Seq != 2 || ack.Refused[1].Seq != 3 || ack.Refused[2].Seq != 5 {
			t.Errorf("ack is %+v", ack)
		}
		w.ingest.wantRuns(t, "front")
		if skips := w.ingest.items[0].Skips; len(skips) != 1 {
			t.Errorf("skips are %+v", skips)
		}

		a.send(batch(slotted(6, "other"))) // nothing to store, and still in order
		if ack := next[*protocol.Ack](a); ack.UpTo != 6 || len(ack.Refused) != 1 {
			t.Errorf("ack is %+v", ack)
		}
	})
}

// M1: while the database is away nothing is acknowledged, nothing dropped, and the
// session lives on.
func TestM1_DatabaseAwayDropsNothing(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		w.fleet.add("s2", pair("back"))
		w.ingest.set(false, func(health.Item) error { return away() })
		ours, original := w.ours("s1"), w.original("s2")
		ours.send(batch(slotted(1, "front")))
		ours.send(batch(slotted(2, "front")))
		original.send(result("back"))
		<-time.After(10 * time.Minute)
		ours.quiet()
		w.ingest.wantRuns(t)
		ours.send(&protocol.Heartbeat{Version: "1"})
		if len(w.fleet.heard()) == 0 {
			t.Error("heartbeats are held up")
		}

		w.ingest.set(false, nil)
		if got := next[*protocol.Ack](ours).UpTo; got == 1 {
			next[*protocol.Ack](ours)
		}
		<-time.After(time.Minute)
		got := w.ingest.runs()
		slices.Sort(got)
		if diff := cmp.Diff([]string{"back", "front", "front"}, got); diff != "" {
			t.Errorf("durable runs (-want +got):\n%s", diff)
		}
		if w.metric("result_retries_total") == 0 {
			t.Error("no retries are counted")
		}
	})
}

// M13: too much that waits stops the reading, and our slowness is not the
// satellite's silence.
func TestM13_SessionWithTooMuchPendingIsNotReadFrom(t *testing.T) {
	few := func(c *hub.Config) { c.Limits.Pending = 4 }
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		w.ingest.set(true, nil)
		a := w.original("s1")
		for range 10 {
			a.send(result("front"))
		}
		if got := w.ingest.waiting(); got != 4 {
			t.Errorf("%d submissions wait", got)
		}
		<-time.After(3 * time.Minute)
		if len(w.hub.Sessions()) != 1 {
			t.Fatal("the session was ended")
		}
		beats := w.fleet.heard()
		if len(beats) == 0 || beats[len(beats)-1].Epoch != 1 {
			t.Errorf("the satellite that we do not read from counts as silent: %v", beats)
		}
		for w.ingest.waiting() > 0 {
			w.ingest.release(0, nil)
		}
		if got := len(w.ingest.runs()); got != 10 {
			t.Errorf("%d results are durable", got)
		}
	}, few)
}

func TestM13_SatelliteFarOverItsCreditIsClosed(t *testing.T) {
	little := func(c *hub.Config) { c.Limits.Credit = 1000 }
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		w.ingest.set(true, nil)
		a := w.ours("s1")
		for i := range int64(20) {
			frame, err := protocol.Encode(batch(slotted(i+1, "front")))
			if err != nil {
				t.Fatal(err)
			}
			if a.conn.Write(frame) != nil {
				break
			}
			synctest.Wait()
		}
		a.wantClosed(protocol.CloseProtocol)
		if got := w.metric("closes_total", "over_credit"); got != 1 {
			t.Errorf("%v are counted", got)
		}
	}, little)
}

// A result that the store will never take is refused, once known to be the one.
func TestPoisonedRecordDoesNotBlockItsNeighbours(t *testing.T) {
	for name, err := range map[string]error{
		"refused by the store": fault.New(fault.NotFound, "the check is gone"),
		"a failure of ours":    errors.New("a bug"),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.fleet.add("s1", pair("front"), pair("bad"))
				w.ingest.set(false, func(item health.Item) error {
					if slices.ContainsFunc(item.Runs, func(r health.Run) bool { return r.CheckID == "bad" }) {
						return err
					}
					return nil
				})
				a := w.ours("s1")
				a.send(batch(slotted(1, "front"), slotted(2, "bad"), slotted(3, "front")))
				ack := next[*protocol.Ack](a)
				if ack.UpTo != 3 || len(ack.Refused) != 1 || ack.Refused[0].Seq != 2 || strings.Contains(ack.Refused[0].Reason, "bug") {
					t.Errorf("ack is %+v", ack)
				}
				w.ingest.wantRuns(t, "front", "front")
				if got := w.metric("results_refused_total", "not_stored"); got != 1 {
					t.Errorf("%v are counted", got)
				}
			})
		})
	}
}

// M1: what an original agent has sent is kept trying after its socket has gone; it
// cannot send it again.
func TestM1_ResultsOfOriginalAgentsOutliveTheirSession(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		w.ingest.set(false, func(health.Item) error { return away() })
		a := w.original("s1")
		a.send(result("front"))
		synctest.Wait()
		a.conn.Close(link.Lost, "")
		w.fleet.wantEdges(t, "open s1 1", "close s1 1") // the edge does not wait for them
		<-time.After(30 * time.Second)
		w.ingest.set(false, nil)
		<-time.After(30 * time.Second)
		w.ingest.wantRuns(t, "front")
		if got := w.metric("results_lost_total"); got != 0 {
			t.Errorf("%v lost results are counted", got)
		}

		w.ingest.set(false, func(health.Item) error { return away() })
		b := w.original("s1")
		b.send(result("front"))
		synctest.Wait()
		b.conn.Close(link.Lost, "")
		<-time.After(5 * time.Minute)
		if got := w.metric("results_lost_total"); got != 1 {
			t.Errorf("%v lost results are counted", got)
		}
	})
}

// What is on its way to a core that stops, or to a session that was superseded, is
// not lost either.
func TestM1_ResultsOnTheirWayWhenTheSessionEndsAreTakenIn(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		w.fleet.add("s2", pair("back"))
		deaf := func(id string) *agent { // has not read yet what it is told
			a := w.connectUnread()
			a.send(authenticate(id))
			synctest.Wait()
			return a
		}
		older, other := deaf("s1"), deaf("s2")
		w.original("s1")
		synctest.Wait()
		older.send(result("front"))
		w.ingest.wantRuns(t, "front")

		go w.stop()
		synctest.Wait()
		other.send(result("back"))
		w.ingest.wantRuns(t, "front", "back")
	})
}

// Ours sends again what was not acknowledged, so nothing lingers for it.
func TestBatchesOfOursEndWithTheirSession(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		w.ingest.set(true, nil)
		a := w.ours("s1")
		a.send(batch(slotted(1, "front")))
		synctest.Wait()
		a.conn.Close(link.Lost, "")
		synctest.Wait()
		if got := w.metric("connections"); got != 0 {
			t.Errorf("%v connections are left", got)
		}
	})
}

// A stopping core still makes durable what it has in hand.
func TestStoppingCoreWaitsForWhatIsBeingMadeDurable(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		w.ingest.set(true, nil)
		a := w.original("s1")
		a.send(result("front"))
		synctest.Wait()
		start := time.Now()
		stopped := make(chan struct{})
		go func() { w.stop(); close(stopped) }()
		<-time.After(time.Second)
		w.ingest.release(0, nil)
		<-stopped
		w.ingest.wantRuns(t, "front")
		if took := time.Since(start); took != time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// Messages that were not agreed upon are ignored.
func TestBatchesWithoutTheFeatureAreIgnored(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		a := w.original("s1")
		a.send(batch(slotted(1, "front")))
		a.send(&protocol.Applied{Revision: 7})
		a.send(&protocol.Inventory{Version: "1"})
		a.quiet()
		w.ingest.wantRuns(t)
		w.fleet.wantEdges(t, "open s1 1")
	})
}
