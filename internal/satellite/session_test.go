package satellite

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/protocol"
)

// A core that does not answer authenticate is left, and tried again.
func TestM18_TheHandshakeHasADeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{mute: true}
		r := newRig(t, c)
		r.start()
		sleep(15 * time.Second)
		c.set(func(c *core) { c.mute = false })
		sleep(15 * time.Second)
		if !r.satellite.Status().Link.Connected {
			t.Error("not connected")
		}
		if got := c.seen().closings[0].Code; got != protocol.CloseAuthTimeout {
			t.Errorf("the first connection ended with code %d", got)
		}
		r.end()
	})
}

// A path that swallows everything is noticed within a minute: no pong comes.
func TestM21_C3_HalfOpenLinkIsNoticed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{assignments: []protocol.Assignment{assignment("front", "shop", 10*time.Second)}}
		r := newRig(t, c)
		begin := time.Now()
		r.start()
		sleep(50 * time.Second)
		c.set(func(c *core) { c.silent = true })
		sleep(10 * time.Second)
		c.set(func(c *core) { c.silent = false }) // for connections to come
		sleep(50 * time.Second)
		if got := r.satellite.Status().Link; !got.Connected || len(c.seen().dials) != 2 {
			t.Errorf("%d connections, %+v", len(c.seen().dials), got)
		}
		sleep(time.Minute)
		r.end()
		if ran, _ := audit(t, c, front, 10*time.Second, begin, begin.Add(170*time.Second)); len(ran) != 17 {
			t.Errorf("%d results", len(ran))
		}
	})
}

// Refused credentials end the satellite, with the reason; nothing knocks again.
func TestM20_C7_RefusalIsFinal(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]struct {
		set  func(*core)
		want error
		text string
	}{
		"auth_failed of an original core": {func(c *core) {
			c.refuse = &protocol.AuthFailed{Reason: protocol.ReasonInvalid}
		}, ErrRefused, protocol.ReasonInvalid},
		"auth_failed and a close code of ours": {func(c *core) {
			c.refuse, c.closeWith = &protocol.AuthFailed{Reason: protocol.ReasonInvalid}, protocol.CloseRefused
		}, ErrRefused, protocol.ReasonInvalid},
		"refused by close code": {func(c *core) { c.closeWith = protocol.CloseRefused }, ErrRefused, "4500"},
		"rotated":               {func(c *core) { c.closeWith = protocol.CloseRotated }, ErrRefused, "4502"},
		"removed":               {func(c *core) { c.closeWith = protocol.CloseRemoved }, ErrRefused, "4503"},
		"removed, with the words for original agents": {func(c *core) {
			c.farewell, c.closeWith = &protocol.Shutdown{Reason: "the satellite was deleted"}, protocol.CloseRemoved
		}, ErrRefused, "4503"},
		"superseded": {func(c *core) { c.closeWith = protocol.CloseSuperseded }, ErrSuperseded, "same identity"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &core{}
				refuse.set(c)
				r := newRig(t, c)
				r.start()
				err := <-r.ended
				if !errors.Is(err, refuse.want) || !strings.Contains(err.Error(), refuse.text) {
					t.Errorf("ended with %v", err)
				}
				sleep(time.Hour)
				if len(c.seen().dials) != 1 {
					t.Errorf("knocked %d times", len(c.seen().dials))
				}
				r.stop()
			})
		})
	}
}

// A shutdown message is obeyed: goodbye, and a long time until the next attempt.
// Checks go on meanwhile.
func TestM20_C7_ShutdownIsObeyed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{assignments: []protocol.Assignment{assignment("front", "shop", 10*time.Second)}}
		r := newRig(t, c)
		begin := time.Now()
		r.start()
		sleep(time.Minute)
		c.push(&protocol.Shutdown{Reason: "maintenance"})
		sleep(200 * time.Second)
		if got := c.seen().closings; len(got) != 1 || got[0].Code != protocol.CloseNormal || got[0].Reason != "Client shutdown" {
			t.Errorf("goodbye: %+v", got)
		}
		if len(c.seen().dials) != 1 {
			t.Errorf("knocked %d times within three minutes of being asked to leave", len(c.seen().dials))
		}
		sleep(10 * time.Minute)
		end := time.Now()
		r.end()
		audit(t, c, front, 10*time.Second, begin, end)
	})
}

// The back-off doubles from one second to thirty, give or take a quarter, and
// begins anew once the core took the satellite in (K.5).
func TestBackoff(t *testing.T) {
	t.Parallel()
	for attempt, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
		for range 100 {
			got := backoff(attempt)
			if got < want*time.Second*3/4 || got > want*time.Second*5/4 {
				t.Errorf("attempt %d waits %s", attempt, got)
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		c := &core{down: true}
		r := newRig(t, c)
		r.start()
		sleep(10 * time.Minute)
		if n := len(c.seen().dials); n < 18 || n > 30 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		c.set(func(c *core) { c.down, c.closeWith = false, protocol.CloseUnavailable })
		sleep(time.Minute)
		if r.satellite.Status().Link.Connected {
			t.Error("connected")
		}
		c.set(func(c *core) { c.closeWith = 0 })
		sleep(time.Minute)
		before := len(c.seen().dials)
		c.setDown(true)
		c.setDown(false)
		sleep(1300 * time.Millisecond)
		if got := len(c.seen().dials); got != before+1 {
			t.Errorf("%d attempts within 1.3 s of losing an accepted session, want 1", got-before)
		}
		r.end()
	})
}

func TestACoreThatIsBusyIsGivenTime(t *testing.T) {
	t.Parallel()
	err := &link.HandshakeError{Status: 503, RetryAfter: 40 * time.Second}
	for range 100 {
		way := newRoute(satelliteID, []Core{{URL: "http://core.test"}})
		if got := way.after(err, false); got < 40*time.Second || got > 55*time.Second {
			t.Errorf("waits %s", got)
		}
	}
}

// What an original core gets is what the original agent sends: no extras, whole
// latencies, nothing of skips; a result is done with when a pong followed it.
func TestM72_OriginalCore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		odd := assignment("odd", "shop", time.Minute)
		odd.StrategyID = "healthcheck-quantum.quantum"
		staged := assignment("staged", "shop", 20*time.Second)
		staged.Environments = []check.Environment{{ID: "eu", Name: "Europe"}}
		c := &core{original: true, hash: protocol.Null[string](), assignments: []protocol.Assignment{
			assignment("front", "shop", 10*time.Second), staged, odd,
		}}
		r := newRig(t, c)
		r.prober.takes = 1234567 * time.Microsecond
		r.prober.refuse = map[string]error{odd.StrategyID: errors.New("strategy not found in satellite")}
		r.start()
		sleep(2 * time.Minute)
		r.end()
		sleep(time.Minute) // a skip
		r.start()
		sleep(2 * time.Minute)
		waiting := r.satellite.Status().Spool.Records
		r.end()
		if waiting != 0 {
			t.Errorf("%d records wait, though pongs came", waiting)
		}
		if len(c.seen().records) != 0 || len(heardOf[*protocol.Applied](c)) != 0 {
			t.Error("an original core was sent an extension message")
		}
		byCheck := map[string]int{}
		for _, got := range c.seen().results {
			byCheck[got.ConfigID]++
			if got.Slot != 0 || got.Revision != 0 || *got.LatencyMs != 1235 {
				t.Errorf("result %+v", got)
			}
			if want := got.ConfigID == "staged"; got.EnvironmentID.Present != want {
				t.Errorf("environment of %s: %+v", got.ConfigID, got.EnvironmentID)
			}
			at, err := time.Parse("2006-01-02T15:04:05.000Z", got.ExecutedAt)
			if err != nil || !strings.HasSuffix(got.ExecutedAt, "Z") || at.IsZero() {
				t.Errorf("executedAt %q: %v", got.ExecutedAt, err)
			}
		}
		if byCheck["front"] != 24 || byCheck["staged"] != 12 || byCheck["odd"] != 0 {
			t.Errorf("results by check: %v", byCheck)
		}
		said := heardOf[*protocol.StrategyError](c)
		if len(said) != 2 || said[0].StrategyID != odd.StrategyID || !strings.Contains(said[0].Message, "not found in satellite") {
			t.Errorf("strategy errors: %v", said)
		}
		for _, b := range c.seen().beats {
			if b.Perigee != nil || b.Version != "1.2.3" || b.UptimeSeconds != float64(int(b.UptimeSeconds)) {
				t.Errorf("heartbeat %+v", b)
			}
		}
	})
}

// What was written to a dead path and never answered by a pong is sent again, in
// order and complete (the original loses it).
func TestM1_C2_NothingIsLostInADeadPath(t *testing.T) {
	t.Parallel()
	for _, original := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := &core{original: original, assignments: []protocol.Assignment{assignment("front", "shop", 5*time.Second)}}
			r := newRig(t, c)
			r.start()
			sleep(time.Minute)
			for range 5 {
				c.set(func(c *core) { c.silent = true })
				sleep(20 * time.Second)
				c.set(func(c *core) { c.silent = false })
				sleep(100 * time.Second)
			}
			r.end()
			slots := map[string]bool{}
			var order []string
			for _, got := range c.seen().results {
				order = append(order, got.ExecutedAt)
				slots[got.ExecutedAt] = true
			}
			for _, got := range c.seen().records {
				slots[got.Result.ExecutedAt] = true
			}
			if want := 11 * 60 / 5; len(slots) != want {
				t.Errorf("original %v: %d different results, want %d", original, len(slots), want)
			}
			if sorted := slices.Sorted(slices.Values(order)); len(order) == len(slots) && !slices.Equal(sorted, order) {
				t.Error("results are out of order")
			}
		})
	}
}

// The first heartbeat comes at once, then one every fifteen seconds; the answers
// give the offset of the clocks. What is new and cannot wait has one of its own: the
// first offset, and that this clock makes the satellite ill.
func TestM53_HeartbeatsAndClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{}
		r := newRig(t, c)
		r.setClock(-90 * time.Second)
		r.start()
		sleep(time.Second)
		if len(c.seen().beats) < 2 || c.seen().beats[0].Perigee.OffsetMs != nil || c.seen().beats[1].Perigee.OffsetMs == nil {
			t.Errorf("heartbeats of the first second: %+v", c.seen().beats)
		}
		sleep(time.Minute)
		if len(c.seen().beats) != 7 {
			t.Errorf("%d heartbeats in a minute", len(c.seen().beats))
		}
		pulse := c.seen().beats[len(c.seen().beats)-1].Perigee
		if pulse == nil || pulse.OffsetMs == nil || *pulse.OffsetMs != 90_000 || *pulse.UncertaintyMs != 0 {
			t.Errorf("pulse %+v", pulse)
		}
		ill := []protocol.Illness{{Kind: protocol.IllClock, Detail: "the clock is 1m30s behind the core's"}}
		if diff := cmp.Diff(&protocol.Observer{Ill: ill}, pulse.Observer, cmpopts.IgnoreFields(protocol.Illness{}, "Since")); diff != "" {
			t.Errorf("observer (-want +got):\n%s", diff)
		}
		r.end()
	})
}

func TestClockBelievesTheShortestRoundTrip(t *testing.T) {
	t.Parallel()
	var c clock
	at := func(ms int64) time.Time { return time.UnixMilli(ms) }
	c.answered(&protocol.Clock{Echo: 1000, ReceivedAt: 6500, SentAt: 6500}, at(1600)) // 600 ms: offset 5200
	c.answered(&protocol.Clock{Echo: 2000, ReceivedAt: 7010, SentAt: 7015}, at(2025)) // 20 ms: offset 5000
	c.answered(&protocol.Clock{Echo: 3000, ReceivedAt: 8400, SentAt: 8400}, at(3500))
	c.answered(&protocol.Clock{Echo: 9_000_000, ReceivedAt: 1, SentAt: 1}, at(3600)) // our clock was set: nonsense
	offset, uncertainty := c.estimate()
	if *offset != 5000 || *uncertainty != 10 {
		t.Errorf("offset %v give or take %v, want 5000 and 10", *offset, *uncertainty)
	}
}

// The satellite says what it is and can, and which assignments it holds.
func TestL143_Hello(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{revision: 9}
		r := newRig(t, c)
		r.start()
		sleep(time.Second)
		c.setDown(true)
		c.setDown(false)
		sleep(2 * time.Second)
		r.end()
		first, second := c.seen().hellos[0], c.seen().hellos[1]
		if first.ClientID != satelliteID || first.Token != "csat_secret" {
			t.Errorf("credentials %+v", first)
		}
		if first.Capabilities != nil {
			t.Errorf("the original's capabilities %v are advertised", first.Capabilities)
		}
		if diff := cmp.Diff(protocol.Features(), first.Perigee.Features); diff != "" {
			t.Errorf("features (-want +got):\n%s", diff)
		}
		if got := first.Perigee.Inventory; got == nil || !slices.Equal(got.Strategies, []string{"healthcheck-http.http"}) {
			t.Errorf("inventory %+v", got)
		}
		if first.Perigee.Revision != 0 || second.Perigee.Revision != 9 || first.Perigee.BootID != second.Perigee.BootID {
			t.Errorf("hellos %+v and %+v", first.Perigee, second.Perigee)
		}
	})
}

// A change that is not based on what the satellite holds is answered with what it
// does hold, and the whole set is taken then.
func TestADeltaThatDoesNotFitAsksForEverything(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{revision: 4, assignments: []protocol.Assignment{
			assignment("a", "shop", time.Minute), assignment("b", "shop", time.Minute),
		}}
		r := newRig(t, c)
		r.start()
		sleep(time.Second)
		c.push(&protocol.Delta{Base: 7, Revision: 8})
		sleep(time.Second)
		c.push(&protocol.Delta{
			Base: 4, Revision: 5,
			Removals: []protocol.Pair{{ConfigID: "a", SystemID: "shop"}},
			Upserts:  []protocol.Assignment{assignment("c", "shop", time.Minute)},
		})
		sleep(time.Second)
		r.end()
		var got []string
		for _, a := range r.satellite.scheduler.desired.Assignments {
			got = append(got, a.ConfigID)
		}
		if diff := cmp.Diff([]string{"b", "c"}, got); diff != "" {
			t.Errorf("assignments (-want +got):\n%s", diff)
		}
		want := []*protocol.Applied{
			{Revision: 4},
			{Revision: 4, Errors: []protocol.AppliedError{{Message: "the change is based on revision 7; this satellite holds 4"}}},
			{Revision: 5},
		}
		if diff := cmp.Diff(want, heardOf[*protocol.Applied](c)); diff != "" {
			t.Errorf("applied (-want +got):\n%s", diff)
		}
	})
}

// Unknown types, bad JSON and pushes that overtake authenticated (A.4) harm nothing.
func TestA3_A4_OddMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{early: &protocol.ConfigUpdated{Revision: 2, Assignments: []protocol.Assignment{assignment("new", "shop", 10*time.Second)}}}
		c.revision, c.assignments = 1, []protocol.Assignment{assignment("old", "shop", 10*time.Second)}
		r := newRig(t, c)
		r.start()
		sleep(time.Second)
		for _, odd := range []string{
			`{"type":"run_now","later":true}`, `{"type":`, `[]`, "\xff\xfe", `{"type":"config_updated"}`,
			`{"type":"config_updated","assignments":"` + strings.Repeat("x", 100_000) + `"}`,
			`{"type":"perigee_ack","upTo":99999999}`, `{"type":"run_secrets","requestId":"1","error":"late"}`,
		} {
			c.seen().conns[0].Write([]byte(odd))
		}
		sleep(time.Minute)
		status := r.satellite.Status()
		r.end()
		if !status.Link.Connected || len(c.seen().dials) != 1 || status.Link.IgnoredMessages != 6 {
			t.Errorf("link %+v after %d connections", status.Link, len(c.seen().dials))
		}
		results, _ := c.account()
		if len(results) != 1 || len(results[check.Key{CheckID: "new", SystemID: "shop"}]) < 6 {
			t.Errorf("results of %d keys", len(results))
		}
	})
}

// A null hash is ready (G.6). A core that calls a tree empty which has a name of its own
// is not believed.
func TestL111_L114_M82_ScriptPackages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{hash: protocol.Null[string]()}
		r := newRig(t, c)
		r.start()
		sleep(time.Second)
		c.push(&protocol.RefreshScriptPackages{LockfileHash: "abc"})
		sleep(time.Second)
		c.push(&protocol.ScriptPackageManifest{LockfileHash: "abc"})
		sleep(time.Second)
		r.end()
		hash := "abc"
		want := []*protocol.ScriptPackageSyncState{
			{Status: protocol.SyncReady},
			{LockfileHash: &hash, Status: protocol.SyncSyncing},
			{LockfileHash: &hash, Status: protocol.SyncError, ErrorMessage: "the core knows no packages of abc"},
		}
		if diff := cmp.Diff(want, heardOf[*protocol.ScriptPackageSyncState](c)); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
		if asked := len(heardOf[*protocol.BlobRequest](c)) + len(heardOf[*protocol.RequestScriptPackageBlob](c)); asked != 0 {
			t.Errorf("%d blobs of an empty tree were asked for", asked)
		}
	})
}

// Assertions are evaluated here only for a core that leaves them to us; which, is
// remembered over a restart without it.
func TestAssertionsAreJudgedForOurCore(t *testing.T) {
	t.Parallel()
	for _, original := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a := assignment("front", "shop", 10*time.Second)
			a.Collectors = []protocol.Collector{{
				ID: "e1", CollectorID: "healthcheck-http.request", Config: []byte(`{}`),
				Assertions: []check.Assertion{{Field: "statusCode", Operator: "equals", Value: 200.0}},
			}}
			c := &core{original: original, assignments: []protocol.Assignment{a}}
			r := newRig(t, c)
			r.prober.execute = func(context.Context, *protocol.Assignment, *check.Environment) check.Result {
				found := healthy(0)
				found.Metadata.Collectors = map[string]json.RawMessage{
					"e1": json.RawMessage(`{"_collectorId":"healthcheck-http.request","statusCode":503,"body":"<html>"}`),
				}
				return found
			}
			r.start()
			sleep(30 * time.Second)
			r.end()
			c.setDown(true)
			r.start()
			sleep(30 * time.Second)
			c.setDown(false)
			sleep(time.Minute)
			r.end()
			var got []protocol.Result
			got = append(got, c.seen().results...)
			for _, record := range c.seen().records {
				if record.Result != nil {
					got = append(got, *record.Result)
				}
			}
			if len(got) < 9 {
				t.Errorf("%d results", len(got))
			}
			for _, result := range got {
				evidence := string(result.Result.Metadata.Collectors["e1"])
				judged := result.Status == check.Unhealthy && strings.Contains(evidence, "_assertionFailed") && !strings.Contains(evidence, "<html>")
				asFound := result.Status == check.Healthy && !strings.Contains(evidence, "_assertion") && strings.Contains(evidence, "<html>")
				if judged == original || asFound != original {
					t.Errorf("original %v: %s, %q, %s", original, result.Status, result.Result.Message, evidence)
				}
			}
		})
	}
}

// What the core refuses for good is counted and shown, and does not hold up the rest.
func TestRefusedRecordsAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{holdAcks: true, assignments: []protocol.Assignment{assignment("front", "shop", 10*time.Second)}}
		r := newRig(t, c)
		r.start()
		sleep(time.Minute)
		c.push(&protocol.Ack{UpTo: r.satellite.spool.Status().Records, Refused: []protocol.Refused{{Seq: 1, Reason: "not assigned"}}})
		sleep(time.Second)
		status := r.satellite.Status()
		r.end()
		if status.RefusedRecords != 1 || status.LastRefusal != "not assigned" || status.Spool.Records != 0 {
			t.Errorf("status %+v", status)
		}
	})
}

// Whatever an original core does, it hears nothing that an original agent would not
// say, but for the object in authenticate, which it does not know and strips.
func TestAnOriginalCoreHearsNothingOfTheExtension(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		odd := assignment("odd", "shop", time.Minute)
		odd.StrategyID = "healthcheck-quantum.quantum"
		staged := assignment("staged", "shop", 20*time.Second)
		staged.Environments = []check.Environment{{ID: "eu", Name: "Europe"}}
		c := &core{original: true, hash: protocol.Of("abc"), assignments: []protocol.Assignment{wanting(30 * time.Second), odd, staged}}
		(&vault{strategy: map[string]string{"authToken": canary}, entries: map[string]map[string]string{"e": {"headers[0].value": "b"}}}).attach(c, false)
		var mu sync.Mutex
		var said []string
		c.wrap = func(agent, core link.Conn) (link.Conn, link.Conn) {
			return overheard{agent, func(frame []byte) {
				mu.Lock()
				defer mu.Unlock()
				said = append(said, string(frame))
			}}, core
		}
		r := newRig(t, c)
		r.prober.refuse = map[string]error{odd.StrategyID: errors.New("strategy not found in satellite")}
		r.prober.takes = 25 * time.Second // overlaps now and then
		r.start()
		sleep(2 * time.Minute)
		c.push(&protocol.Drain{SpanMs: 1})
		c.push(&protocol.RunNow{Pair: staged.Pair(), Slot: 1})
		c.push(&protocol.Delta{Base: 0, Revision: 1})
		c.push(&protocol.Clock{})
		sleep(2 * time.Minute)
		r.end()
		kinds := make(map[string]int)
		for _, frame := range said {
			var m map[string]json.RawMessage
			if err := json.Unmarshal([]byte(frame), &m); err != nil {
				t.Fatal(err)
			}
			kinds[string(m["type"])]++
			if string(m["type"]) == `"authenticate"` {
				delete(m, "perigee")
			}
			left, _ := json.Marshal(m)
			if strings.Contains(strings.ToLower(string(left)), "perigee") || m["slot"] != nil || m["revision"] != nil {
				t.Errorf("said %s", frame)
			}
		}
		want := []string{`"authenticate"`, `"heartbeat"`, `"request_config_secrets"`, `"request_script_package_manifest"`, `"result"`, `"script_package_sync_state"`, `"strategy_error"`}
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(kinds))); diff != "" {
			t.Errorf("kinds of messages (-want +got):\n%s", diff)
		}
	})
}

// overheard is a connection whose messages are listened to.
type overheard struct {
	link.Conn
	heard func([]byte)
}

func (o overheard) Write(frame []byte) error {
	o.heard(frame)
	return o.Conn.Write(frame)
}
