package satellite

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

var front = check.Key{CheckID: "front", SystemID: "shop"}

// A due slot is run, recorded with its slot, its time of completion and the
// revision, and acknowledged.
func TestRunsWhatIsDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{revision: 7, assignments: []protocol.Assignment{assignment("front", "shop", 10*time.Second)}}
		r := newRig(t, c)
		r.prober.takes = 1234567 * time.Microsecond
		begin := time.Now()
		r.start()
		sleep(time.Minute)
		r.end()
		ran, _ := audit(t, c, front, 10*time.Second, begin, begin.Add(time.Minute))
		if len(ran) != 6 {
			t.Errorf("%d runs in a minute, want 6", len(ran))
		}
		results, _ := c.account()
		for slot, got := range results[front] {
			latency := 1235.0
			want := protocol.Result{
				ConfigID: "front", SystemID: "shop", Status: check.Healthy, LatencyMs: &latency, Slot: slot, Revision: 7,
				ExecutedAt: time.UnixMilli(slot).Add(r.prober.takes).UTC().Format("2006-01-02T15:04:05.000Z"),
				Result: &check.Result{
					Status: check.Healthy, LatencyMs: latency, Message: "Completed",
					Metadata: check.Metadata{Connected: true},
				},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		}
		if n := r.satellite.spool.at.acked; n < 6 {
			t.Errorf("acknowledged up to %d", n)
		}
	})
}

// While the core is away checks go on, and every slot reaches it afterwards.
func TestM4_C1_KeepsCheckingWhileCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{assignments: []protocol.Assignment{assignment("front", "shop", 10*time.Second)}}
		r := newRig(t, c)
		begin := time.Now()
		r.start()
		sleep(time.Minute)
		c.setDown(true)
		sleep(time.Hour)
		c.setDown(false)
		sleep(time.Minute)
		r.end()
		ran, skipped := audit(t, c, front, 10*time.Second, begin, begin.Add(time.Hour+2*time.Minute))
		if len(skipped) != 0 || len(ran) != 372 {
			t.Errorf("%d runs, %d skipped; want 372 and none", len(ran), len(skipped))
		}
	})
}

// A satellite that is restarted without its core goes on with what it knew, and
// accounts for the time in which it was not running.
func TestM4_StartsFromDiskWithoutTheCore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{revision: 3, assignments: []protocol.Assignment{assignment("front", "shop", 10*time.Second)}}
		r := newRig(t, c)
		begin := time.Now()
		r.start()
		sleep(time.Minute)
		r.end()
		c.setDown(true)
		sleep(10 * time.Minute)
		r.start()
		sleep(10 * time.Minute)
		c.setDown(false)
		sleep(time.Minute)
		r.end()
		ran, skipped := audit(t, c, front, 10*time.Second, begin, begin.Add(22*time.Minute))
		if len(ran) != 12*6 || len(skipped) != 60 {
			t.Errorf("%d runs, %d skipped; want 72 and 60", len(ran), len(skipped))
		}
		_, skips := c.account()
		if len(skips[front]) != 1 {
			t.Errorf("the downtime is %d skips, want one: %v", len(skips[front]), skips[front])
		}
	})
}

// Killed at any instant, and started again after any pause, every due slot is in
// exactly one record.
func TestKilledAtAnyInstant(t *testing.T) {
	t.Parallel()
	for seed := range 12 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &core{assignments: []protocol.Assignment{
					assignment("front", "shop", 10*time.Second), assignment("back", "shop", 7*time.Second),
				}}
				r := newRig(t, c)
				r.prober.takes = 4 * time.Second
				begin := time.Now()
				for i := range 8 {
					r.start()
					sleep(time.Duration(1+(seed*7919+i*104729)%61000) * time.Millisecond)
					if (seed+i)%3 == 0 {
						c.set(func(c *core) { c.holdAcks = !c.holdAcks })
					}
					r.kill()
					sleep(time.Duration((seed*31+i*17)%40) * time.Second)
				}
				c.set(func(c *core) { c.holdAcks = false })
				r.start()
				sleep(30 * time.Second)
				until := time.Now()
				r.end()
				audit(t, c, front, 10*time.Second, begin, until)
				audit(t, c, check.Key{CheckID: "back", SystemID: "shop"}, 7*time.Second, begin, until)
			})
		})
	}
}

// One key never runs twice at once; what is due meanwhile is skipped, and said.
func TestM73_C9_OverlapIsSkipped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{assignments: []protocol.Assignment{assignment("front", "shop", 10*time.Second)}}
		r := newRig(t, c)
		r.prober.takes = 25 * time.Second
		begin := time.Now()
		r.start()
		sleep(10 * time.Minute)
		r.prober.set(func(p *prober) { p.takes = 0 })
		sleep(time.Minute)
		r.end()
		if r.prober.overlap {
			t.Error("a check ran twice at once")
		}
		ran, skipped := audit(t, c, front, 10*time.Second, begin, begin.Add(11*time.Minute))
		if len(ran) < 20 || len(skipped) < 38 {
			t.Errorf("%d runs, %d skipped", len(ran), len(skipped))
		}
		for slot, reason := range skipped {
			if reason != protocol.SkipOverlap {
				t.Errorf("slot %d was skipped for %s", slot, reason)
			}
		}
	})
}

// No more runs go on at once than the limit; a run that finds no place before its
// next slot is skipped.
func TestM73_RunsAtOnceAreLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{}
		for i := range 20 {
			c.assignments = append(c.assignments, assignment(fmt.Sprintf("check-%d", i), "shop", 10*time.Second))
		}
		r := newRig(t, c)
		r.config.Concurrency = 3
		r.prober.takes = 5 * time.Second
		begin := time.Now()
		r.start()
		sleep(5 * time.Minute)
		r.prober.set(func(p *prober) { p.takes = 0 })
		sleep(time.Minute)
		r.end()
		if r.prober.most != 3 {
			t.Errorf("%d runs at once, want 3", r.prober.most)
		}
		limited := 0
		for _, a := range c.assignments {
			key := check.Key{CheckID: a.ConfigID, SystemID: a.SystemID}
			ran, skipped := audit(t, c, key, 10*time.Second, begin, begin.Add(6*time.Minute))
			if len(ran) < 12 {
				t.Errorf("%s ran %d times: places are not handed out fairly", a.ConfigID, len(ran))
			}
			for _, reason := range skipped {
				if reason == protocol.SkipLimit {
					limited++
				}
			}
		}
		if limited == 0 {
			t.Error("nothing was skipped for want of a place")
		}
	})
}

// A run that does not end is ended, and the satellite lives on.
func TestM73_RunsHaveADeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{assignments: []protocol.Assignment{assignment("front", "shop", 10*time.Second)}}
		r := newRig(t, c)
		r.config.RunTimeout = 30 * time.Second
		r.prober.takes = time.Hour
		r.start()
		sleep(5 * time.Minute)
		r.end()
		if n := len(r.prober.runs); n < 7 {
			t.Errorf("%d runs in five minutes: a run went on past its deadline", n)
		}
	})
}

// Checks of one interval are spread over it, and stay where they are across
// restarts: neither a connection nor a start is a burst.
func TestM74_M75_C9_SlotsAreSpreadAndPinned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{}
		for i := range 600 {
			c.assignments = append(c.assignments, assignment(fmt.Sprintf("check-%d", i), "shop", time.Minute))
		}
		r := newRig(t, c)
		r.start()
		sleep(time.Minute)
		r.end()
		first := r.prober.runs
		perSecond := make(map[int64]int)
		for _, at := range first {
			perSecond[at.Unix()]++
		}
		for second, n := range perSecond {
			if n > 30 {
				t.Errorf("%d runs in second %d; 10 would be even", n, second)
			}
		}
		r.prober.runs = nil
		r.start()
		sleep(time.Minute)
		r.end()
		seen := make(map[int64]int)
		for _, at := range first {
			seen[at.UnixMilli()%60_000]++
		}
		for _, at := range r.prober.runs {
			if seen[at.UnixMilli()%60_000] == 0 {
				t.Fatalf("a restart moved a slot to %s", at)
			}
		}
	})
}

// A changed interval and a changed target take effect at once, and nothing is
// counted twice at the seam.
func TestM63_C8_ChangesTakeEffectInPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{revision: 1, assignments: []protocol.Assignment{assignment("front", "shop", 10*time.Second)}}
		r := newRig(t, c)
		var target atomic.Value
		r.prober.execute = func(_ context.Context, a *protocol.Assignment, _ *check.Environment) check.Result {
			target.Store(string(a.Config))
			return healthy(0)
		}
		begin := time.Now()
		r.start()
		sleep(time.Minute)
		changed := assignment("front", "shop", 10*time.Second)
		changed.Config = []byte(`{"url":"http://new.test"}`)
		c.push(&protocol.Delta{Base: 1, Revision: 2, Upserts: []protocol.Assignment{changed}})
		sleep(10 * time.Second)
		if got := target.Load(); got != string(changed.Config) {
			t.Errorf("ten seconds after the change the target is %s", got)
		}
		seam := time.Now()
		changed.IntervalSeconds = 3
		c.push(&protocol.Delta{Base: 2, Revision: 3, Upserts: []protocol.Assignment{changed}})
		sleep(time.Minute)
		r.end()
		results, _ := c.account()
		old := check.NewSchedule(satelliteID, front, 10*time.Second).Due(begin, seam)
		new := check.NewSchedule(satelliteID, front, 3*time.Second).Due(seam, seam.Add(time.Minute))
		if got, want := len(results[front]), int(old+new); got != want {
			t.Errorf("%d results, want %d of the old interval and %d of the new", got, old, new)
		}
		var applied []int64
		for _, a := range heardOf[*protocol.Applied](c) {
			applied = append(applied, a.Revision)
		}
		if diff := cmp.Diff([]int64{1, 2, 3}, applied); diff != "" {
			t.Errorf("applied revisions (-want +got):\n%s", diff)
		}
		for slot, got := range results[front] {
			if want := int64(3); slot > seam.UnixMilli() && got.Revision != want {
				t.Errorf("slot %d ran by revision %d, want %d", slot, got.Revision, want)
			}
		}
	})
}

// A key that is taken away while it runs, or while its interval changes and the
// process is killed, leaves no slot unaccounted.
func TestEraEndsWithItsLastSlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{revision: 1, assignments: []protocol.Assignment{assignment("front", "shop", 10*time.Second)}}
		r := newRig(t, c)
		r.prober.takes = 8 * time.Second
		begin := time.Now()
		r.start()
		schedule := check.NewSchedule(satelliteID, front, 10*time.Second)
		sleep(time.Until(schedule.Next(begin.Add(30 * time.Second)).Add(time.Second)))
		// A run goes on. Its slot belongs to the era that ends here.
		seam := time.Now()
		c.set(func(c *core) {
			c.revision, c.assignments = 2, []protocol.Assignment{assignment("front", "shop", 25*time.Second)}
		})
		c.push(&protocol.ConfigUpdated{Assignments: c.assignments, Revision: 2})
		sleep(time.Second)
		r.kill()
		sleep(time.Minute)
		r.start()
		sleep(100 * time.Second)
		end := time.Now()
		r.end()
		results, skips := c.account()
		var slots int64
		for _, s := range skips[front] {
			slots += s.Count
		}
		want := schedule.Due(begin, seam) + check.NewSchedule(satelliteID, front, 25*time.Second).Due(seam, end)
		if got := int64(len(results[front])) + slots; got != want {
			t.Errorf("%d slots accounted for (%d results, %d skipped), want %d", got, len(results[front]), slots, want)
		}
		lost := schedule.Last(seam).UnixMilli()
		if skip, ok := skips[front][lost]; !ok || skip.Count != 1 {
			t.Errorf("the slot whose run was killed after the change: %+v", skips[front])
		}
	})
}

// An assignment that cannot be run here makes nothing red: the core is told by
// name, and nothing is due.
func TestM71_M72_L128_WhatCannotRunIsReportedNotRed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		odd := assignment("odd", "shop", 10*time.Second)
		odd.StrategyID = "healthcheck-quantum.quantum"
		never := assignment("never", "shop", 0)
		c := &core{revision: 5, assignments: []protocol.Assignment{odd, never, assignment("front", "shop", 10*time.Second)}}
		r := newRig(t, c)
		r.prober.refuse = map[string]error{odd.StrategyID: errors.New("strategy not found in satellite")}
		r.start()
		sleep(time.Minute)
		status := r.satellite.Status()
		r.end()
		results, skips := c.account()
		if len(results) != 1 || len(skips) != 0 || len(results[front]) != 6 {
			t.Errorf("records of %d keys, skips of %d", len(results), len(skips))
		}
		applied := heardOf[*protocol.Applied](c)
		want := []*protocol.Applied{{Revision: 5, Errors: []protocol.AppliedError{
			{Pair: odd.Pair(), Message: "strategy not found in satellite"},
			{Pair: never.Pair(), Message: "the interval of 0 seconds cannot be kept: it must be between 10ms and 8784h0m0s"},
		}}}
		if diff := cmp.Diff(want, applied); diff != "" {
			t.Errorf("applied (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want[0].Errors, status.Schedule.Refused); diff != "" {
			t.Errorf("the status page (-want +got):\n%s", diff)
		}
	})
}

// One run for each environment, in order; an empty and an absent list are one
// run without.
func TestL129_L130_L131_L132_L133_Environments(t *testing.T) {
	t.Parallel()
	three := assignment("front", "shop", time.Minute)
	three.Environments = []check.Environment{{ID: "eu", Name: "Europe"}, {ID: "us", Name: "America"}, {ID: "ap", Name: "Asia"}}
	empty := assignment("empty", "shop", time.Minute)
	empty.Environments = []check.Environment{}
	d := desired{Assignments: []protocol.Assignment{three, empty, assignment("absent", "shop", time.Minute)}}
	works, refused := d.works(func(*protocol.Assignment) error { return nil })
	got := make(map[check.Key]string)
	for key, w := range works {
		if w.environment != nil {
			got[key] = w.environment.Name
		} else {
			got[key] = "<none>"
		}
	}
	want := map[check.Key]string{
		{CheckID: "front", SystemID: "shop", EnvironmentID: "eu"}: "Europe",
		{CheckID: "front", SystemID: "shop", EnvironmentID: "us"}: "America",
		{CheckID: "front", SystemID: "shop", EnvironmentID: "ap"}: "Asia",
		{CheckID: "empty", SystemID: "shop"}:                      "<none>",
		{CheckID: "absent", SystemID: "shop"}:                     "<none>",
	}
	if diff := cmp.Diff(want, got); diff != "" || len(refused) != 0 {
		t.Errorf("works (-want +got):\n%s\nrefused %v", diff, refused)
	}
}

// A panic while a check is carried out is the satellite's failure: no red result,
// a skip for the slot, and the core is told whose fault it was.
func TestAPanicIsNotTheTargetsFault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{assignments: []protocol.Assignment{assignment("front", "shop", 10*time.Second)}}
		r := newRig(t, c)
		r.prober.execute = func(context.Context, *protocol.Assignment, *check.Environment) check.Result {
			panic("index out of range")
		}
		begin := time.Now()
		r.start()
		sleep(time.Minute)
		r.end()
		ran, skipped := audit(t, c, front, 10*time.Second, begin, begin.Add(time.Minute))
		if len(ran) != 0 || len(skipped) != 6 {
			t.Errorf("%d results, %d skips", len(ran), len(skipped))
		}
		said := heardOf[*protocol.StrategyError](c)
		want := &protocol.StrategyError{StrategyID: "healthcheck-http.http", Message: "satellite fault: the run panicked: index out of range"}
		if len(said) != 6 || cmp.Diff(want, said[0]) != "" {
			t.Errorf("the core heard %v", said)
		}
	})
}

// A clock that jumps ahead skips the slots that never were, without a burst; one
// that is set back a little waits; one that is set back far begins anew.
func TestM75_TheClockJumps(t *testing.T) {
	t.Parallel()
	t.Run("ahead", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c := &core{assignments: []protocol.Assignment{assignment("front", "shop", 10*time.Second)}}
			r := newRig(t, c)
			begin := time.Now()
			r.start()
			sleep(time.Minute)
			r.setClock(time.Hour)
			sleep(time.Minute)
			r.end()
			ran, skipped := audit(t, c, front, 10*time.Second, begin, begin.Add(time.Hour+2*time.Minute))
			for slot, reason := range skipped {
				if reason != protocol.SkipClock {
					t.Errorf("slot %d was skipped for %s", slot, reason)
				}
			}
			if len(ran) < 11 || len(ran) > 12 || len(skipped) < 359 {
				t.Errorf("%d runs, %d skipped", len(ran), len(skipped))
			}
		})
	})
	t.Run("back a little", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c := &core{assignments: []protocol.Assignment{assignment("front", "shop", 10*time.Second)}}
			r := newRig(t, c)
			begin := time.Now()
			r.start()
			sleep(2 * time.Minute)
			r.setClock(-time.Minute)
			sleep(2 * time.Minute)
			r.end()
			ran, skipped := audit(t, c, front, 10*time.Second, begin, begin.Add(3*time.Minute))
			if len(ran) != 18 || len(skipped) != 0 || len(r.prober.runs) != 18 {
				t.Errorf("%d runs for %d slots, %d skipped", len(r.prober.runs), len(ran), len(skipped))
			}
		})
	})
	t.Run("back far", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c := &core{assignments: []protocol.Assignment{assignment("front", "shop", 10*time.Second)}}
			r := newRig(t, c)
			r.setClock(24 * 365 * time.Hour)
			r.start()
			sleep(time.Minute)
			r.setClock(0)
			sleep(time.Minute)
			r.end()
			if n := len(r.prober.runs); n < 11 {
				t.Errorf("%d runs in two minutes: the satellite waits for a year", n)
			}
			r.start()
			sleep(time.Minute)
			r.end()
			if n := len(r.prober.runs); n < 17 {
				t.Errorf("%d runs after a restart", n)
			}
		})
	})
}

// A stop lets what runs finish, delivers it, says goodbye, and takes less than
// ten seconds.
func TestM28_StopDrains(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{assignments: []protocol.Assignment{assignment("front", "shop", 20*time.Second)}}
		r := newRig(t, c)
		r.prober.takes = 3 * time.Second
		begin := time.Now()
		r.start()
		schedule := check.NewSchedule(satelliteID, front, 20*time.Second)
		sleep(time.Until(schedule.Next(begin).Add(time.Second)))
		asked := time.Now()
		r.end()
		if took := time.Since(asked); took > 3*time.Second {
			t.Errorf("the stop took %s, the run had 2 s to go", took)
		}
		synctest.Wait()
		if ran, _ := audit(t, c, front, 20*time.Second, begin, asked); len(ran) != 1 {
			t.Errorf("%d results", len(ran))
		}
		if got := c.seen().closings; len(got) != 1 || got[0].Code != protocol.CloseNormal || got[0].Reason != "Client shutdown" {
			t.Errorf("goodbye: %+v", got)
		}
	})
}

// A run that does not end in time is given up at a stop, without a result: its
// slot is found missing at the next start. So is what the core never acknowledged.
func TestM28_StopDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{holdAcks: true, assignments: []protocol.Assignment{assignment("front", "shop", 20*time.Second)}}
		r := newRig(t, c)
		begin := time.Now()
		r.start()
		sleep(time.Minute)
		r.prober.set(func(p *prober) { p.takes = time.Hour })
		sleep(20 * time.Second)
		asked := time.Now()
		r.end()
		if took := time.Since(asked); took >= 10*time.Second {
			t.Errorf("the stop took %s", took)
		}
		c.set(func(c *core) { c.holdAcks = false })
		r.prober.set(func(p *prober) { p.takes = 0 })
		r.start()
		sleep(time.Minute)
		end := time.Now()
		r.end()
		_, skipped := audit(t, c, front, 20*time.Second, begin, end)
		if len(skipped) != 1 {
			t.Errorf("%d slots skipped, want the one that was given up", len(skipped))
		}
	})
}
