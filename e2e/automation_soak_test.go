package e2e

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	soakSpan = flag.Duration("soak", 8*time.Second, "how long TestAutomationSoak makes events")
	soakRate = flag.Int("soak-rate", 0, "events a second of TestAutomationSoak; 0 makes them as fast as they are dealt with")
)

// soakWindow is how many events may be on their way at once: at the rate of the long form,
// eight seconds' worth, and otherwise enough to keep a core busy. Runs that were told and
// have not ended come on top, and all together must not be more than max_runs allows.
func soakWindow() int { return max(8**soakRate, 50) }

// TestAutomationSoak makes events, each of which is a run that sends a webhook. Nothing is
// lost, nothing is done twice, and neither memory grows nor does anything fall behind.
func TestAutomationSoak(t *testing.T) {
	t.Parallel()
	onBothAtOnce(t, automationSoak)
}

func automationSoak(t *testing.T, database string) {
	w := listenTold(t)
	free := make(chan struct{}, soakWindow())
	w.heard = func(string) { <-free }
	c := newCore(t, database)
	c.start()
	c.ready()
	c.automate(map[string]any{
		"mode": "parallel", "max_runs": 1000,
		"actions": []any{map[string]any{"action": "webhook.send", "config": map[string]any{"url": w.URL + "/first", "body": `{"n":${{ trigger.payload.n }}}`}}},
	})

	var callers sync.WaitGroup
	calls := make(chan int)
	var again atomic.Int64
	for range 16 {
		callers.Go(func() {
			for n := range calls {
				for err := c.hook(n); err != nil; err = c.hook(n) { // repeated, it is no second one
					again.Add(1)
					pause(100)
				}
			}
		})
	}
	end := time.Now().Add(*soakSpan)
	watched := make(chan struct{})
	var samples []soakSample
	go func() {
		defer close(watched)
		for time.Now().Before(end) {
			pause(int(max(*soakSpan/200, 200*time.Millisecond).Milliseconds()))
			if s, err := c.sample(); err != nil {
				t.Error(err)
			} else {
				samples = append(samples, s)
			}
		}
	}()
	sent, held := 0, 0
	begun := time.Now()
	for time.Now().Before(end) {
		if *soakRate > 0 {
			if early := time.Until(begun.Add(time.Duration(sent) * time.Second / time.Duration(*soakRate))); early > 0 {
				pause(int(early.Milliseconds()))
			}
			select {
			case free <- struct{}{}:
			default:
				held++
				free <- struct{}{}
			}
		} else {
			free <- struct{}{}
		}
		sent++
		calls <- sent
	}
	close(calls)
	callers.Wait()
	<-watched
	for range cap(free) { // until all were told
		free <- struct{}{}
	}
	c.over(sent)
	took := time.Since(begun)

	for n := 1; n <= sent; n++ {
		if times, keys := w.times("/first", n); times != 1 || keys != 1 {
			t.Errorf("call %d was told %d times under %d keys", n, times, keys)
		}
	}
	var decided, done []time.Duration
	for _, r := range all[automationRun](c, "/api/v1/automation-runs") {
		if r.Status != "success" {
			t.Errorf("call %d is %s: %s", r.called(), r.Status, r.Reason)
			continue
		}
		decided = append(decided, r.CreatedAt.Sub(r.Event.At))
		done = append(done, r.EndedAt.Sub(r.Event.At))
	}
	if len(done) != sent {
		t.Errorf("%d calls are %d runs that succeeded", sent, len(done))
	}
	slices.Sort(decided)
	slices.Sort(done)
	at := func(all []time.Duration, share float64) time.Duration {
		if len(all) == 0 {
			return 0
		}
		return all[int(float64(len(all)-1)*share)].Round(100 * time.Microsecond)
	}
	t.Logf("%d events in %s, %.0f a second, %d calls repeated; event to decision p50 %s, p99 %s, at most %s; to the end of its run p50 %s, p99 %s, at most %s",
		sent, took.Round(time.Second), float64(sent)/took.Seconds(), again.Load(), at(decided, 0.5), at(decided, 0.99), at(decided, 1), at(done, 0.5), at(done, 0.99), at(done, 1))
	judgeMemory(t, samples)
	if *soakRate > 0 { // in the short form the machine may be as slow as it likes
		if held > 0 {
			t.Errorf("%d times eight seconds' worth of events were on their way", held)
		}
		if p99 := at(done, 0.99); p99 > time.Second {
			t.Errorf("the lag is %s", p99)
		}
	}
	c.stop()
}

type soakSample struct{ heap, resident, goroutines float64 }

// sample reads what a core uses, in MiB.
func (c *core) sample() (s soakSample, err error) {
	for name, into := range map[string]*float64{"go_memstats_heap_alloc_bytes": &s.heap, "go_goroutines": &s.goroutines} {
		if *into, err = c.gauge(name); err != nil {
			return s, err
		}
	}
	s.heap /= 1 << 20
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", c.cmd.Process.Pid))
	if err != nil {
		return s, err
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(statm))[1], 64)
	s.resident = pages * float64(os.Getpagesize()) / (1 << 20)
	return s, err
}

// judgeMemory compares the least of the second quarter with the least of the last: what is
// collected comes back to it, what grows does not.
func judgeMemory(t *testing.T, samples []soakSample) {
	t.Helper()
	if len(samples) < 8 {
		t.Logf("%d samples say nothing of memory", len(samples))
		return
	}
	least := func(part []soakSample, of func(soakSample) float64) float64 {
		return of(slices.MinFunc(part, func(a, b soakSample) int { return int(of(a)*1024) - int(of(b)*1024) }))
	}
	quarter := len(samples) / 4
	for _, m := range []struct {
		name  string
		of    func(soakSample) float64
		slack float64
	}{
		{"heap (MiB)", func(s soakSample) float64 { return s.heap }, 16},
		{"resident set (MiB)", func(s soakSample) float64 { return s.resident }, 64},
		{"goroutines", func(s soakSample) float64 { return s.goroutines }, 100},
	} {
		before, after := least(samples[quarter:2*quarter], m.of), least(samples[3*quarter:], m.of)
		t.Logf("%s: at least %.0f in the second quarter, %.0f in the last", m.name, before, after)
		if after > before*1.25+m.slack {
			t.Errorf("%s grew from %.0f to %.0f", m.name, before, after)
		}
	}
}
