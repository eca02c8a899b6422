package hub_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/hub"
	"github.com/perigee-monitoring/perigee/protocol"
)

func TestL37_M62_ChangeReachesAConnectedOriginalAsTheFullSet(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		a := w.original("s1")
		w.fleet.assign("s1", pair("front"), pair("back"))
		w.ring()
		want := &protocol.ConfigUpdated{Assignments: []protocol.Assignment{pair("front"), pair("back")}}
		if diff := cmp.Diff(want, next[*protocol.ConfigUpdated](a)); diff != "" {
			t.Errorf("config_updated (-want +got):\n%s", diff)
		}
		w.fleet.assign("s1")
		w.ring()
		if got, want := a.nextText(), `{"type":"config_updated","assignments":[]}`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		a.quiet()
	})
}

// M63: an original agent keeps the old form of a pair that it already runs, so the
// pair is taken away first.
func TestM63_ChangeInPlaceReachesAnOriginalInTwoSteps(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"), pair("back"))
		a := w.original("s1")
		w.fleet.assign("s1", every("front", 60), pair("back"), pair("side"))
		w.ring()
		want := []*protocol.ConfigUpdated{
			{Assignments: []protocol.Assignment{pair("back"), pair("side")}},
			{Assignments: []protocol.Assignment{every("front", 60), pair("back"), pair("side")}},
		}
		got := []*protocol.ConfigUpdated{next[*protocol.ConfigUpdated](a), next[*protocol.ConfigUpdated](a)}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pushes (-want +got):\n%s", diff)
		}
		a.quiet()
	})
}

func TestOursGetsOnlyTheDifference(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"), pair("back"), pair("gone"))
		a := w.ours("s1")
		w.fleet.assign("s1", every("front", 60), pair("back"), pair("side"))
		w.ring()
		want := &protocol.Delta{
			Base: 1, Revision: 2,
			Upserts:  []protocol.Assignment{every("front", 60), pair("side")},
			Removals: []protocol.Pair{{ConfigID: "gone", SystemID: "web"}},
		}
		if diff := cmp.Diff(want, next[*protocol.Delta](a)); diff != "" {
			t.Errorf("delta (-want +got):\n%s", diff)
		}
		a.send(&protocol.Applied{Revision: 2})
		a.quiet()
		w.fleet.wantEdges(t, "open s1 1", "applied s1 2")
	})
}

// M64: who is not affected is neither computed for nor sent anything.
func TestM64_OnlyAffectedSatellitesAreComputedAndSent(t *testing.T) {
	inBubble(t, func(w *world) {
		for _, id := range []string{"s1", "s2", "s3"} {
			w.fleet.add(id, pair("front"))
		}
		affected, other, third := w.original("s1"), w.original("s2"), w.ours("s3")
		synctest.Wait() // until nothing is left of how they came
		before, asked := w.fleet.desired, w.fleet.revisions
		w.fleet.assign("s1", pair("front"), pair("back"))
		w.ring()
		next[*protocol.ConfigUpdated](affected)
		other.quiet()
		third.quiet()
		if got := w.fleet.desired - before; got != 1 {
			t.Errorf("%d sets were computed", got)
		}
		if got := w.fleet.revisions - asked; got != 1 {
			t.Errorf("revisions were asked for %d times", got)
		}
		// A revision that means the same is not worth a message to an original agent.
		w.fleet.change("s2", func(r *record) { r.want.Revision++ })
		w.ring()
		other.quiet()
	})
}

// M66: an answer that was overtaken does not win.
func TestM66_OlderSetDoesNotReplaceANewer(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		a := w.ours("s1")
		w.fleet.assign("s1", pair("front"), pair("back"))
		w.ring()
		next[*protocol.Delta](a)
		// Revisions tell of a third one; the set that is then read is an old one.
		w.fleet.change("s1", func(r *record) { r.want.Revision = 3 })
		w.fleet.hook(func(_ context.Context, call, _ string) error {
			if call == "desired" {
				w.fleet.change("s1", func(r *record) { r.want.Revision, r.want.Assignments = 1, []protocol.Assignment{pair("front")} })
			}
			return nil
		})
		w.ring()
		a.quiet()
		a.send(batch(slotted(1, "back")))
		if ack := next[*protocol.Ack](a); len(ack.Refused) > 0 {
			t.Errorf("the older set decides what may be reported: %+v", ack)
		}
	})
}

// M67: a set that cannot be computed is tried again, and holds up nobody else.
func TestM67_FailedPushIsTriedAgainAndIsolated(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		w.fleet.add("s2", pair("front"))
		a, b := w.original("s1"), w.original("s2")
		failures := 0
		w.fleet.hook(func(_ context.Context, call, id string) error {
			if call == "desired" && id == "s1" && failures < 3 {
				failures++
				return errors.New("a bug")
			}
			return nil
		})
		start := time.Now()
		w.fleet.assign("s1", pair("back"))
		w.fleet.assign("s2", pair("back"))
		w.ring()
		next[*protocol.ConfigUpdated](b)
		if took := time.Since(start); took > 0 {
			t.Errorf("the neighbour waited %s", took)
		}
		next[*protocol.ConfigUpdated](a)
		if got := w.metric("push_failures_total"); got != 3 {
			t.Errorf("%v failures are counted", got)
		}
		w.wantLog("satellite_id=s1")
	})
}

// M69: a lost bell is repaired without a reconnect.
func TestM69_LostBellIsRepairedByTheSlowPoll(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		a := w.original("s1")
		start := time.Now()
		w.fleet.assign("s1", pair("back"))
		next[*protocol.ConfigUpdated](a)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// While a core hears no bells it looks each second, so that a token which is revoked
// elsewhere does not go on for long.
func TestM69_CoreThatHearsNoBellsLooksEachSecond(t *testing.T) {
	var deaf atomic.Bool
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		a := w.original("s1")
		for _, name := range []string{"back", "side", "back"} {
			deaf.Store(true)
			start := time.Now()
			w.fleet.assign("s1", pair(name))
			next[*protocol.ConfigUpdated](a)
			if took := time.Since(start); took > time.Second { // by the bubble's clock
				t.Errorf("it took %s", took)
			}
			deaf.Store(false)
			w.fleet.mu.Lock()
			before := w.fleet.revisions
			w.fleet.mu.Unlock()
			time.Sleep(8 * time.Second)
			w.fleet.mu.Lock()
			if n := w.fleet.revisions - before; n > 1 {
				t.Errorf("it looked %d times in eight seconds although it hears", n)
			}
			w.fleet.mu.Unlock()
		}
	}, func(c *hub.Config) { c.Deaf = deaf.Load })
}

// A.4: no push overtakes authenticated, and what changed in between is not lost.
func TestChangeDuringTheHandshakeFollowsAuthenticated(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		w.fleet.hook(func(_ context.Context, call, _ string) error {
			if call == "open" {
				w.fleet.assign("s1", pair("front"), pair("back"))
				w.ring()
				synctestWaitForRing(w)
			}
			return nil
		})
		a := w.connect()
		a.send(authenticate("s1"))
		if got := next[*protocol.Authenticated](a); len(got.Assignments) != 1 {
			t.Errorf("authenticated carries %d assignments", len(got.Assignments))
		}
		start := time.Now()
		if got := next[*protocol.ConfigUpdated](a); len(got.Assignments) != 2 {
			t.Errorf("the push carries %d assignments", len(got.Assignments))
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("it had to be polled for, %s later", took)
		}
	})
}

// synctestWaitForRing returns when the hub has taken the ring in.
func synctestWaitForRing(w *world) {
	for len(w.changes) > 0 {
		<-time.After(time.Millisecond)
	}
}

// M32: sessions of a replaced token and of a deleted satellite end at once.
func TestM32_RotationAndDeletionEndTheSession(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*world)
		code   int
		reason string
	}{
		"rotated": {func(w *world) { w.fleet.change("s1", func(r *record) { r.credential++ }) }, protocol.CloseRotated, "the satellite's token was replaced"},
		"removed": {func(w *world) { w.fleet.remove("s1") }, protocol.CloseRemoved, "the satellite was removed"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.fleet.add("s1")
				original := w.original("s1")
				c.change(w)
				w.ring()
				if got := next[*protocol.Shutdown](original).Reason; got != c.reason {
					t.Errorf("the reason is %q", got)
				}
				original.wantClosed(c.code)
			})
			inBubbleAgain(t, func(w *world) {
				w.fleet.add("s1")
				ours := w.ours("s1")
				c.change(w)
				w.ring()
				if got := ours.closed(); got.Code != c.code || got.Reason != c.reason {
					t.Errorf("ours was closed with %v", got)
				}
			})
		})
	}
}

// inBubbleAgain is inBubble for a test that is parallel already.
func inBubbleAgain(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newWorld(t)) })
}

// A satellite that holds another base than the delta's gets the whole set, and
// one that never fits is closed rather than sent sets for ever.
func TestDeltaThatDoesNotFitIsFollowedByTheWholeSet(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		a := w.ours("s1")
		w.fleet.assign("s1", pair("back"))
		w.ring()
		next[*protocol.Delta](a)
		a.send(&protocol.Applied{Revision: 1, Errors: []protocol.AppliedError{{Message: "based on another revision"}}})
		want := &protocol.ConfigUpdated{Assignments: []protocol.Assignment{pair("back")}, Revision: 2}
		if diff := cmp.Diff(want, next[*protocol.ConfigUpdated](a)); diff != "" {
			t.Errorf("whole set (-want +got):\n%s", diff)
		}
		a.send(&protocol.Applied{Revision: 2, Errors: []protocol.AppliedError{{Pair: protocol.Pair{ConfigID: "back", SystemID: "web"}, Message: "unknown strategy"}}})
		a.quiet()

		for range 3 {
			a.send(&protocol.Applied{Revision: 99})
			next[*protocol.ConfigUpdated](a)
		}
		a.send(&protocol.Applied{Revision: 99})
		a.wantClosed(protocol.CloseResync)
	})
}
