package satellite

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// answers are the records of one slot, whatever the key, in the order of the spool.
func answers(c *core, slot int64) []protocol.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []protocol.Record
	for _, r := range c.records {
		if _, from, to := span(&r); from == slot && to == slot {
			all = append(all, r)
		}
	}
	return all
}

func runNow(configID, environmentID string, slot int64) *protocol.RunNow {
	return &protocol.RunNow{Pair: protocol.Pair{ConfigID: configID, SystemID: "shop"}, EnvironmentID: environmentID, Slot: slot}
}

func TestARunIsCarriedOutWhenTheCoreAsksForIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		staged := assignment("staged", "shop", time.Hour)
		staged.Environments = []check.Environment{{ID: "eu"}, {ID: "us"}}
		c := &core{revision: 1, assignments: []protocol.Assignment{assignment("front", "shop", time.Hour), staged}}
		r := newRig(t, c)
		r.start()
		sleep(time.Second)
		const one, both, us = 1_700_000_000_001, 1_700_000_000_002, 1_700_000_000_003
		begun := time.Now()
		c.push(runNow("front", "", one))
		c.push(runNow("staged", "", both))
		synctest.Wait()
		c.push(runNow("staged", "us", us))
		sleep(time.Second)
		if got := len(r.prober.runs); got != 3+1 {
			t.Errorf("%d runs", got)
		}
		for _, at := range r.prober.runs {
			if at.Sub(begun) > 10*time.Millisecond {
				t.Errorf("a run began after %s", at.Sub(begun))
			}
		}
		for slot, want := range map[int64][]string{one: {""}, both: {"eu", "us"}, us: {"us"}} {
			var got []string
			for _, record := range answers(c, slot) {
				if record.Result == nil {
					t.Errorf("slot %d: %+v", slot, record.Skip)
					continue
				}
				got = append(got, record.Result.EnvironmentID.OrZero())
			}
			if diff := cmp.Diff(want, got, cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
				t.Errorf("environments of slot %d (-want +got):\n%s", slot, diff)
			}
		}
		// The same again, as a bell that rings twice would ask: nothing happens.
		c.push(runNow("front", "", one))
		sleep(time.Second)
		if got := len(answers(c, one)); got != 1 {
			t.Errorf("%d answers to one run", got)
		}
		r.end()
	})
}

func TestARunThatCannotBeginIsAnsweredWithASkip(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{revision: 1, assignments: []protocol.Assignment{assignment("front", "shop", time.Hour), assignment("back", "shop", time.Hour)}}
		r := newRig(t, c)
		r.config.Concurrency = 1
		r.prober.takes = 10 * time.Second
		r.start()
		sleep(time.Second)
		for _, m := range []*protocol.RunNow{
			runNow("front", "", 1000), runNow("front", "", 1001), runNow("back", "", 1002), runNow("gone", "", 1003), runNow("front", "eu", 1004),
			runNow("front", "", 1005), // 1001 waits for 1000, and one is enough
		} {
			c.push(m)
		}
		sleep(22 * time.Second) // both have run
		c.push(runNow("front", "", 1006))
		c.push(runNow("front", "", 1007)) // there is no time for it any more
		sleep(time.Second)
		r.end()
		want := map[int64]protocol.SkipReason{
			1000: "", 1001: "", 1002: protocol.SkipLimit, 1003: protocol.SkipUnassigned, 1004: protocol.SkipUnassigned, 1005: protocol.SkipOverlap,
			1006: protocol.SkipDown, 1007: protocol.SkipDown,
		}
		got := make(map[int64]protocol.SkipReason)
		for slot := range want {
			for _, record := range answers(c, slot) {
				got[slot] = ""
				if record.Skip != nil {
					got[slot] = record.Skip.Reason
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
	})
}

// An assignment that was pushed before is there when its run is asked for.
func TestRunsAreAskedForInTheOrderOfChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{revision: 1}
		r := newRig(t, c)
		r.start()
		sleep(time.Second)
		for i := range int64(50) {
			c.push(&protocol.Delta{Base: 1 + 2*i, Revision: 2 + 2*i, Upserts: []protocol.Assignment{assignment("front", "shop", time.Hour)}})
			c.push(runNow("front", "", 100+2*i))
			c.push(&protocol.Delta{Base: 2 + 2*i, Revision: 3 + 2*i, Removals: []protocol.Pair{{ConfigID: "front", SystemID: "shop"}}})
			c.push(runNow("front", "", 101+2*i))
			sleep(time.Second)
		}
		r.end()
		for slot := int64(100); slot < 200; slot++ {
			got := answers(c, slot)
			if len(got) != 1 || (got[0].Skip == nil) != (slot%2 == 0) {
				t.Errorf("slot %d: %+v", slot, got)
			}
		}
	})
}

// A satellite that stops answers for the runs that it gives up.
func TestARunThatIsGivenUpIsAnswered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{revision: 1, assignments: []protocol.Assignment{assignment("front", "shop", time.Hour)}}
		r := newRig(t, c)
		r.prober.takes = time.Hour
		r.start()
		sleep(time.Second)
		c.push(runNow("front", "", 1000))
		sleep(time.Second)
		r.end()
		if got := answers(c, 1000); len(got) != 1 || got[0].Skip == nil || got[0].Skip.Reason != protocol.SkipDown {
			t.Errorf("answers %+v", got)
		}
	})
}

// Whatever the core asks for, whenever, and however often the satellite is killed or
// loses its core: each slot of the schedule is accounted for once, and each run that
// was asked for is answered at most once, and exactly once if nobody was killed.
func TestRunsThatAreAskedForDoNotDisturbTheAccount(t *testing.T) {
	t.Parallel()
	for range 20 {
		seed := rand.Uint64()
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { askAtRandom(t, rand.New(rand.NewPCG(seed, 1)), seed%2 == 0) })
		})
	}
}

func askAtRandom(t *testing.T, random *rand.Rand, kills bool) {
	const interval = 5 * time.Second
	begin := time.Now()
	c := &core{revision: 1, assignments: []protocol.Assignment{assignment("front", "shop", interval), assignment("back", "shop", 7*time.Second)}}
	r := newRig(t, c)
	r.config.Concurrency = 1 + random.IntN(2)
	durations := rand.New(rand.NewPCG(random.Uint64(), 2))
	var rolling sync.Mutex // runs go on at the same time
	r.prober.execute = func(ctx context.Context, _ *protocol.Assignment, _ *check.Environment) check.Result {
		rolling.Lock()
		took := time.Duration(durations.IntN(9000)) * time.Millisecond
		rolling.Unlock()
		timer := time.NewTimer(took)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		return healthy(took)
	}
	r.start()
	sleep(2 * time.Second)
	schedule := check.NewSchedule(satelliteID, front, interval)
	other := check.NewSchedule(satelliteID, check.Key{CheckID: "back", SystemID: "shop"}, 7*time.Second)
	asked := make(map[int64]bool)
	for range 30 {
		switch n := random.IntN(10); {
		case n < 6:
			slot := time.Now().Add(time.Duration(random.IntN(8000)-6000) * time.Millisecond).UnixMilli()
			if schedule.Last(time.UnixMilli(slot)).UnixMilli() == slot || other.Last(time.UnixMilli(slot)).UnixMilli() == slot || asked[slot] || !r.satellite.Status().Link.Connected {
				continue
			}
			asked[slot] = true
			c.push(runNow("front", "", slot))
		case n == 6 && kills:
			r.kill()
			sleep(time.Duration(random.IntN(12)) * time.Second)
			r.start()
			sleep(2 * time.Second)
		case n == 7:
			c.setDown(true)
			sleep(time.Duration(random.IntN(10)) * time.Second)
			c.setDown(false)
		}
		sleep(time.Duration(random.IntN(6000)) * time.Millisecond)
	}
	r.prober.set(func(p *prober) { p.execute = nil }) // what still runs at the end would be found at the next start
	sleep(time.Minute)
	until := time.Now()
	r.end()
	for slot := range asked {
		seqs := make(map[int64]bool) // a record may be sent again
		for _, record := range answers(c, slot) {
			seqs[record.Seq] = true
		}
		if len(seqs) > 1 || len(seqs) == 0 && !kills {
			t.Errorf("the run asked for in slot %d has %d answers", slot, len(seqs))
		}
	}
	c.mu.Lock()
	var scheduled []protocol.Record
	for _, record := range c.records {
		if _, from, to := span(&record); from != to || !asked[from] {
			scheduled = append(scheduled, record)
		}
	}
	c.records = scheduled
	c.mu.Unlock()
	audit(t, c, front, interval, begin, until)
	audit(t, c, check.Key{CheckID: "back", SystemID: "shop"}, 7*time.Second, begin, until)
}

// Answers survive in a full spool as skips of their own slots, and the account of the
// schedule is what it would be without them.
func TestAskedRunsInAFullSpool(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := openSpool(dir, MinSpoolBytes, quiet)
	if err != nil {
		t.Fatal(err)
	}
	s.sync = func(*os.File) error { return nil }
	big := make([]byte, 4000)
	for i := range big {
		big[i] = 'x'
	}
	key := check.Key{CheckID: "c", SystemID: "s"}
	record := func(slot int64) protocol.Record {
		result := healthy(0)
		result.Message = string(big)
		latency := 1.0
		return protocol.Record{Result: &protocol.Result{
			ConfigID: "c", SystemID: "s", Status: check.Healthy, LatencyMs: &latency, Result: &result, ExecutedAt: "2026-01-01T00:00:00.000Z", Slot: slot,
		}}
	}
	const n = 1000
	for i := range int64(n) {
		s.Append(record(1_000_000 + 10*i))
		s.AppendAsked(record(1_000_005 - 10*i)) // far from the schedule, backwards
	}
	wantAccount := func(s *spool) {
		t.Helper()
		if slot, ok := s.Accounted(key); !ok || slot != 1_000_000+10*(n-1) {
			t.Errorf("accounted up to %d", slot)
		}
	}
	wantAccount(s)
	if s.Status().Dropped == 0 {
		t.Error("nothing was dropped")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = openSpool(dir, MinSpoolBytes, quiet); err != nil {
		t.Fatal(err)
	}
	wantAccount(s)
	var scheduled, answered int64
	for after := int64(0); ; {
		batch, err := s.Take(after, protocol.MaxBatchBytes, protocol.MaxBatchRecords, true)
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) == 0 {
			break
		}
		for _, e := range batch {
			after = e.Seq
			_, from, to := span(&e.Record)
			switch {
			case from%10 == 5 && from == to:
				answered++
			case from%10 == 5 || to%10 == 5:
				t.Errorf("a record from %d to %d mixes what was asked for with what was due", from, to)
			case e.Skip != nil:
				scheduled += e.Skip.Count
			default:
				scheduled++
			}
		}
	}
	if scheduled != n || answered < maxAsked || answered > n {
		t.Errorf("%d slots of the schedule, %d answers", scheduled, answered)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if leftovers, err := filepath.Glob(filepath.Join(dir, temporaryPrefix+"*")); err != nil || len(leftovers) != 0 {
		t.Errorf("left behind: %v (%v)", leftovers, err)
	}
}
