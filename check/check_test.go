package check_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
)

func TestWorst(t *testing.T) {
	t.Parallel()
	order := []check.Status{check.Healthy, check.Unknown, check.Degraded, check.Unhealthy}
	for i, a := range order {
		for j, b := range order {
			if got, want := check.Worst(a, b), order[max(i, j)]; got != want {
				t.Errorf("Worst(%s, %s) = %s, want %s", a, b, got, want)
			}
		}
	}
}

func TestRunsAreNeverUnknown(t *testing.T) {
	t.Parallel()
	for status, want := range map[check.Status]bool{
		check.Healthy: true, check.Degraded: true, check.Unhealthy: true, check.Unknown: false, "": false, "fine": false,
	} {
		if got := status.ValidRun(); got != want {
			t.Errorf("%q.ValidRun() = %v, want %v", status, got, want)
		}
	}
}

func TestDurationText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`"10s"`: `"10s"`, `"300s"`: `"5m"`, `"60m"`: `"1h"`, `"90s"`: `"1m30s"`, `"1h0m5s"`: `"1h0m5s"`,
		`30`: `"30s"`, `0.5`: `"500ms"`, `"100m"`: `"1h40m"`, `"0s"`: `"0s"`, `"10m"`: `"10m"`,
	} {
		var d check.Duration
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got, err := json.Marshal(d)
		if err != nil || string(got) != want {
			t.Errorf("%s came back as %s (%v), want %s", text, got, err, want)
		}
		var again check.Duration
		if err := json.Unmarshal(got, &again); err != nil || again != d {
			t.Errorf("%s reads back as %v (%v), want %v", got, again, err, d)
		}
	}
	for _, text := range []string{`"soon"`, `true`, `{}`, `"10"`} {
		var d check.Duration
		if err := json.Unmarshal([]byte(text), &d); err == nil {
			t.Errorf("%s was read as %v", text, d)
		}
	}
}

func TestResultIsTheWireForm(t *testing.T) {
	t.Parallel()
	ms := 1.5
	result := check.Result{
		Status:    check.Unhealthy,
		LatencyMs: 12,
		Message:   "Check failed: connection refused",
		Metadata: check.Metadata{
			Connected:        true,
			ConnectionTimeMs: &ms,
			Collectors:       map[string]json.RawMessage{"root": json.RawMessage(`{"error":"connection refused"}`)},
			Timings:          &check.Timings{DNSMs: &ms},
		},
	}
	text, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"status":"unhealthy","latencyMs":12,"message":"Check failed: connection refused",` +
		`"metadata":{"connected":true,"connectionTimeMs":1.5,"collectors":{"root":{"error":"connection refused"}},"timings":{"dnsMs":1.5}}}`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	// Connected is required on the wire, also when it is false (spec F.1).
	text, err = json.Marshal(check.Result{Status: check.Healthy})
	if err != nil || !strings.Contains(string(text), `"connected":false`) || !strings.Contains(string(text), `"latencyMs":0`) {
		t.Errorf("an empty result is %s (%v)", text, err)
	}
}

var start = time.Date(2026, 11, 22, 3, 4, 5, 678_000_000, time.UTC)

func TestSlotsArePinnedToAbsoluteTime(t *testing.T) {
	t.Parallel()
	key := check.Key{CheckID: "c", SystemID: "s"}
	for _, interval := range []time.Duration{time.Second, 10 * time.Second, time.Minute, 7 * time.Second, 24 * time.Hour} {
		schedule := check.NewSchedule("satellite", key, interval)
		if schedule != check.NewSchedule("satellite", key, interval) {
			t.Errorf("%s: two schedules of one key differ", interval)
		}
		if schedule.Phase < 0 || schedule.Phase >= interval {
			t.Errorf("%s: phase %s is outside of the interval", interval, schedule.Phase)
		}
		next := schedule.Next(start)
		if wait := next.Sub(start); wait <= 0 || wait > interval {
			t.Errorf("%s: the next slot is %s away", interval, wait)
		}
		for range 5 {
			after := schedule.Next(next)
			if after.Sub(next) != interval {
				t.Errorf("%s: %s follows %s", interval, after, next)
			}
			if got := schedule.Last(after); !got.Equal(after) {
				t.Errorf("%s: the last slot at slot %s is %s", interval, after, got)
			}
			if got := schedule.Last(after.Add(-time.Millisecond)); !got.Equal(next) {
				t.Errorf("%s: the last slot before %s is %s, want %s", interval, after, got, next)
			}
			if got := schedule.Due(next, after); got != 1 {
				t.Errorf("%s: %d slots between neighbours, want 1", interval, got)
			}
			next = after
		}
	}
}

func TestDueCountsEverySlotOnce(t *testing.T) {
	t.Parallel()
	schedule := check.NewSchedule("satellite", check.Key{CheckID: "c", SystemID: "s"}, 10*time.Second)
	var slots int64
	for at := schedule.Next(start); !at.After(start.Add(time.Hour)); at = schedule.Next(at) {
		slots++
	}
	if got := schedule.Due(start, start.Add(time.Hour)); got != slots || slots != 360 {
		t.Errorf("Due = %d, walking = %d, want 360", got, slots)
	}
	var parts int64
	for at := start; at.Before(start.Add(time.Hour)); at = at.Add(7 * time.Minute) {
		end := at.Add(7 * time.Minute)
		if end.After(start.Add(time.Hour)) {
			end = start.Add(time.Hour)
		}
		parts += schedule.Due(at, end)
	}
	if parts != slots {
		t.Errorf("parts add up to %d, want %d", parts, slots)
	}
	if got := schedule.Due(start.Add(time.Hour), start); got != 0 {
		t.Errorf("Due backwards = %d, want 0", got)
	}
}

func TestSlotsBefore1970(t *testing.T) {
	t.Parallel()
	schedule := check.Schedule{Interval: 10 * time.Second, Phase: 3 * time.Second}
	at := time.UnixMilli(-15_000)
	if got, want := schedule.Next(at), time.UnixMilli(-7000); !got.Equal(want) {
		t.Errorf("Next = %s, want %s", got, want)
	}
	if got, want := schedule.Last(at), time.UnixMilli(-17_000); !got.Equal(want) {
		t.Errorf("Last = %s, want %s", got, want)
	}
}

func TestM74_PhasesAreSpread(t *testing.T) {
	t.Parallel()
	const checks, buckets = 1000, 10
	var filled [buckets]int
	for i := range checks {
		key := check.Key{CheckID: "check-" + time.Duration(i).String(), SystemID: "s"}
		schedule := check.NewSchedule("satellite", key, time.Minute)
		filled[int(schedule.Phase*buckets/time.Minute)]++
	}
	for i, n := range filled {
		if n < checks/buckets/2 || n > checks/buckets*2 {
			t.Errorf("tenth %d of the interval has %d of %d checks: %v", i, n, checks, filled)
		}
	}
}

func TestRunIDNamesTheSlotOfOneKey(t *testing.T) {
	t.Parallel()
	key := check.Key{CheckID: "c", SystemID: "s", EnvironmentID: "e"}
	id := check.RunID(start, "satellite", key)
	if len(id) != 32 || id != check.RunID(start, "satellite", key) {
		t.Fatalf("run id %q is not 32 digits or not stable", id)
	}
	if later := check.RunID(start.Add(time.Millisecond), "satellite", key); later <= id {
		t.Errorf("a later slot sorts first: %s, %s", id, later)
	}
	others := []string{
		check.RunID(start, "other", key),
		check.RunID(start, "satellite", check.Key{CheckID: "c", SystemID: "s"}),
		check.RunID(start, "satellite", check.Key{CheckID: "c2", SystemID: "s", EnvironmentID: "e"}),
		check.RunID(start, "satellite", check.Key{CheckID: "c", SystemID: "s2", EnvironmentID: "e"}),
	}
	for _, other := range others {
		if other == id || other[:12] != id[:12] {
			t.Errorf("%s and %s should share the time and nothing else", id, other)
		}
	}
	if got := check.RunID(time.UnixMilli(-1), "satellite", key); got[:12] != "000000000000" {
		t.Errorf("a slot before 1970 gives %s", got)
	}
}
