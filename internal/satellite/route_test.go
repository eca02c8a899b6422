package satellite

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/protocol"
)

func coresNamed(n int) []Core {
	var cores []Core
	for i := range n {
		cores = append(cores, Core{URL: fmt.Sprintf("https://core%d.example.org", i+1)})
	}
	return cores
}

func TestM27_AFleetSpreadsOverItsCores(t *testing.T) {
	t.Parallel()
	const satellites, n = 3000, 3
	first, second := make(map[string]int), make(map[string]int)
	for i := range satellites {
		id := fmt.Sprintf("satellite-%d", i)
		way := newRoute(id, coresNamed(n))
		reversed := coresNamed(n)
		slices.Reverse(reversed)
		if got := newRoute(id, reversed).core().URL; got != way.core().URL {
			t.Fatalf("%s begins at %s or %s, as the list is ordered", id, way.core().URL, got)
		}
		first[way.core().URL]++
		if way.core().URL == "https://core1.example.org" {
			way.after(errDown, true)
			second[way.core().URL]++
		}
	}
	for _, c := range coresNamed(n) {
		if got := first[c.URL]; got < satellites/n*8/10 || got > satellites/n*12/10 {
			t.Errorf("%s has %d of %d satellites", c.URL, got, satellites)
		}
	}
	// What a core leaves behind is spread over all the others.
	if len(second) != n-1 {
		t.Errorf("those of the first core go to %v", second)
	}
	for url, got := range second {
		if got < satellites/n*4/10 || got > satellites/n*6/10 {
			t.Errorf("%s gets %d of those of the first core", url, got)
		}
	}
}

func TestThereIsNoWaitUntilEveryCoreHasFailed(t *testing.T) {
	t.Parallel()
	way := newRoute(satelliteID, coresNamed(3))
	var tried []string
	var waits []time.Duration
	for range 9 {
		tried = append(tried, way.core().URL)
		waits = append(waits, way.after(errDown, false))
	}
	if diff := cmp.Diff(tried[:3], tried[3:6]); diff != "" || len(slices.Compact(slices.Sorted(slices.Values(tried[:3])))) != 3 {
		t.Errorf("tried %v", tried)
	}
	for i, wait := range waits {
		round := i / 3
		least, most := time.Duration(0), time.Duration(0)
		if i%3 == 2 {
			least, most = 750*time.Millisecond<<round, 1250*time.Millisecond<<round
		}
		if wait < least || wait > most {
			t.Errorf("attempt %d waits %s, want %s to %s", i, wait, least, most)
		}
	}
	// After a session, the others are asked within a second.
	for range 100 {
		if wait := way.after(errDown, true); wait < 0 || wait > time.Second {
			t.Errorf("after a session it waits %s", wait)
		}
	}
}

func TestTwoCoresThatStopDoNotKeepASatelliteBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		way := newRoute(satelliteID, coresNamed(2))
		if wait := way.after(errDrained, true); wait != 0 {
			t.Errorf("leaves a core that stops after %s", wait)
		}
		var waited time.Duration
		for range 20 {
			waited += way.after(errDrained, true)
		}
		if waited < 2*time.Second {
			t.Errorf("20 drains in a row took %s", waited)
		}
		time.Sleep(time.Minute)
		if wait := way.after(errDrained, true); wait != 0 {
			t.Errorf("a minute later it waits %s", wait)
		}
	})
}

// A drained satellite leaves within the span, with a code of its own, and is at the
// next core at once; runs and spool go on.
func TestM26_DrainedSatellitesGoToAnotherCore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		assignments := []protocol.Assignment{assignment("front", "shop", 10*time.Second)}
		a, b := &core{revision: 1, assignments: assignments}, &core{revision: 1, assignments: assignments}
		r := newRig(t, a)
		r.others = []*core{b}
		r.start()
		sleep(35 * time.Second)
		if r.satellite.Status().Link.CoreURL != "http://core.test" {
			a, b = b, a
		}
		a.push(&protocol.Drain{SpanMs: 20_000, Reason: "upgrade"})
		a.push(&protocol.Drain{SpanMs: 20_000, Reason: "upgrade"})
		drained := time.Now()
		for len(b.seen().dials) == 0 {
			sleep(10 * time.Millisecond)
		}
		if stayed := time.Since(drained); stayed > 20*time.Second+10*time.Millisecond {
			t.Errorf("left after %s", stayed)
		}
		if got := a.seen().closings; len(got) != 1 || got[0].Code != protocol.CloseGoingAway {
			t.Errorf("goodbye %+v", got)
		}
		if link := r.satellite.Status().Link; !link.Connected || link.CoreURL == "" {
			t.Errorf("link %+v", link)
		}
		sleep(35 * time.Second)
		until := time.Now()
		r.end()
		if n := len(a.seen().dials) + len(b.seen().dials); n != 2 {
			t.Errorf("%d connections", n)
		}
		// Between them the cores have every slot, as one database would.
		b.mu.Lock()
		b.records = append(a.seen().records, b.records...)
		b.mu.Unlock()
		if _, skipped := audit(t, b, front, 10*time.Second, begin, until); len(skipped) != 0 {
			t.Errorf("skipped %v", skipped)
		}
	})
}

// One of many leaves at a random time.
func TestM27_DrainsAreSpread(t *testing.T) {
	t.Parallel()
	var mostly []time.Duration
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			c := &core{}
			r := newRig(t, c)
			r.start()
			sleep(time.Second)
			c.push(&protocol.Drain{SpanMs: 60_000})
			begun := time.Now()
			for len(c.seen().dials) == 1 {
				sleep(100 * time.Millisecond)
			}
			mostly = append(mostly, time.Since(begun))
			r.end()
		})
	}
	slices.Sort(mostly)
	if mostly[0] > 30*time.Second || mostly[len(mostly)-1] < 30*time.Second || mostly[len(mostly)-1] > time.Minute+time.Second {
		t.Errorf("twenty left after %v", mostly)
	}
}

func TestAnotherCoreTakesOverFromOneThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b, c := &core{}, &core{}, &core{down: true}
		r := newRig(t, a)
		r.others = []*core{b, c}
		r.start()
		sleep(time.Second)
		for range 6 {
			holds, other := a, b
			if len(b.seen().conns) > 0 {
				holds, other = b, a
			}
			holds.setDown(true)
			sleep(1100 * time.Millisecond)
			if !r.satellite.Status().Link.Connected || len(other.seen().conns) != 1 {
				t.Fatalf("no session with another core within a second: %+v", r.satellite.Status().Link)
			}
			holds.setDown(false)
		}
		r.end()
	})
}

// Without having agreed on it, nobody is drained (and no run is asked for).
func TestMessagesOfFeaturesThatWereNotAgreedAreIgnored(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*core{
		"original": {original: true},
		"older":    {features: []string{protocol.FeatureAck, protocol.FeatureSlots, protocol.FeatureDelta}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c.assignments = []protocol.Assignment{assignment("front", "shop", time.Hour)}
				r := newRig(t, c)
				r.start()
				sleep(time.Second)
				c.push(&protocol.Drain{SpanMs: 0})
				c.push(&protocol.RunNow{Pair: protocol.Pair{ConfigID: "front", SystemID: "shop"}, Slot: time.Now().UnixMilli()})
				sleep(time.Minute)
				if n := len(c.seen().dials); n != 1 {
					t.Errorf("%d connections", n)
				}
				if got := r.prober.runs; len(got) > 0 {
					t.Errorf("ran %d times", len(got))
				}
				r.end()
			})
		})
	}
}

func TestASatelliteWithoutACoreIsAMistake(t *testing.T) {
	t.Parallel()
	_, err := New(newRig(t, &core{}).config, &prober{}, nil, quiet)
	if err == nil || errors.Is(err, errDown) {
		t.Errorf("made without a core: %v", err)
	}
}
