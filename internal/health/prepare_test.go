package health

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/protocol"
)

func ptr[T any](v T) *T { return &v }

func result(executedAt string) *protocol.Result {
	return &protocol.Result{
		ConfigID: "c", SystemID: "s", Status: check.Healthy, ExecutedAt: executedAt,
		Result: &check.Result{Status: check.Healthy, LatencyMs: 12, Metadata: check.Metadata{Connected: true, Collectors: map[string]json.RawMessage{
			"page": json.RawMessage(`{"_collectorId":"healthcheck-http.request","statusCode":200,"body":"secret page","bodyLength":11}`),
		}}},
	}
}

func assignment(assertions ...check.Assertion) *protocol.Assignment {
	return &protocol.Assignment{
		ConfigID: "c", SystemID: "s", StrategyID: "healthcheck-http.http", IntervalSeconds: 10,
		Collectors: []protocol.Collector{{ID: "page", CollectorID: "healthcheck-http.request", Assertions: assertions}},
	}
}

var origin = Origin{SatelliteID: "sat", Source: "eu-1 (eu)"}

func prepare(t *testing.T, o Origin, a *protocol.Assignment, r *protocol.Result) Run {
	t.Helper()
	run, err := Prepare(o, a, r, now)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func TestM5_M6_TimesThatCanBeUsed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, text string
		want       time.Time
	}{
		{"milliseconds and Z", "2026-01-02T03:04:00.250Z", time.Date(2026, 1, 2, 3, 4, 0, 250e6, time.UTC)},
		{"an offset", "2026-01-02T04:04:00+01:00", time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)},
		{"no zone", "2026-01-02T03:04:00", time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)},
		{"nonsense", "yesterday", now},
		{"empty", "", now},
		{"before there were clocks", "0001-01-01T00:00:00Z", now},
		{"hours ahead is kept as it was said", "2026-01-02T09:04:05Z", now.Add(6 * time.Hour)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			run := prepare(t, origin, assignment(), result(tc.text))
			if !run.ExecutedAt.Equal(tc.want) || !run.ReceivedAt.Equal(now) {
				t.Errorf("executed %s received %s, want %s and %s", run.ExecutedAt, run.ReceivedAt, tc.want, now)
			}
		})
	}
}

func TestM6_LatenciesThatCanBeStored(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in   *float64
		want *int64
	}{
		{ptr(12.0), ptr(int64(12))},
		{ptr(12.5), ptr(int64(13))},
		{ptr(0.2), ptr(int64(0))},
		{ptr(-1.0), nil},
		{ptr(math.NaN()), nil},
		{ptr(math.Inf(1)), nil},
		{ptr(1e300), nil},
		{nil, ptr(int64(12))},
	} {
		r := result("2026-01-02T03:04:00Z")
		r.LatencyMs = tc.in
		if diff := cmp.Diff(tc.want, prepare(t, origin, assignment(), r).LatencyMs); diff != "" {
			t.Errorf("latency %v (-want +got):\n%s", tc.in, diff)
		}
	}
}

func TestM2_TheSameResultHasTheSameRunID(t *testing.T) {
	t.Parallel()
	id := func(change func(*Origin, *protocol.Result)) string {
		o, r := origin, result("2026-01-02T03:04:00.000Z")
		change(&o, r)
		return prepare(t, o, assignment(), r).RunID
	}
	same := id(func(*Origin, *protocol.Result) {})
	if again := id(func(*Origin, *protocol.Result) {}); again != same {
		t.Errorf("a repeat has id %s, the first had %s", again, same)
	}
	for name, change := range map[string]func(*Origin, *protocol.Result){
		"another satellite":   func(o *Origin, _ *protocol.Result) { o.SatelliteID = "other" },
		"another check":       func(_ *Origin, r *protocol.Result) { r.ConfigID = "other" },
		"another system":      func(_ *Origin, r *protocol.Result) { r.SystemID = "other" },
		"another environment": func(_ *Origin, r *protocol.Result) { r.EnvironmentID = protocol.Of("prod") },
		"another time":        func(_ *Origin, r *protocol.Result) { r.ExecutedAt = "2026-01-02T03:04:00.001Z" },
		"a slot":              func(o *Origin, r *protocol.Result) { o.Slots, r.Slot = true, now.UnixMilli() },
	} {
		if id(change) == same {
			t.Errorf("%s has the same id", name)
		}
	}
	slot := func(executedAt string) string {
		r := result(executedAt)
		r.Slot = now.UnixMilli()
		return prepare(t, Origin{SatelliteID: "sat", Slots: true}, assignment(), r).RunID
	}
	if slot("2026-01-02T03:04:07Z") != slot("2026-01-02T03:04:09Z") {
		t.Error("with slots the id depends on when the run ended")
	}
}

func TestM8_L225_AssertionsOfOriginalAgentsAreEvaluatedHere(t *testing.T) {
	t.Parallel()
	failing := check.Assertion{Field: "statusCode", Operator: "equals", Value: 201.0}
	run := prepare(t, origin, assignment(failing), result("2026-01-02T03:04:00Z"))
	if run.Status != check.Unhealthy || !strings.Contains(run.Message, "Assertion failed") {
		t.Errorf("run is %s: %q, want unhealthy because the assertion failed", run.Status, run.Message)
	}
	if !strings.Contains(string(run.Result), "_assertions") {
		t.Errorf("evidence %s lacks the outcome", run.Result)
	}
	onBody := check.Assertion{Field: "body", Operator: "contains", Value: "secret"}
	run = prepare(t, origin, assignment(onBody), result("2026-01-02T03:04:00Z"))
	if run.Status != check.Healthy {
		t.Errorf("run is %s: %q; an assertion on an ephemeral field must be evaluated before it goes (L228)", run.Status, run.Message)
	}
	if strings.Contains(string(run.Result), "secret page") {
		t.Errorf("evidence %s still holds the body", run.Result)
	}
}

// Original agents know no expressions, and tell how long the whole run took alone: both
// are judged here.
func TestM8_ExpressionsAndLatencyOfOriginalAgentsAreJudgedHere(t *testing.T) {
	t.Parallel()
	run := prepare(t, origin, assignment(check.Assertion{Expression: `result.body.contains("nothing")`}), result("2026-01-02T03:04:00Z"))
	if run.Status != check.Unhealthy || !strings.Contains(run.Message, "does not hold") {
		t.Errorf("an expression: %s, %s", run.Status, run.Message)
	}
	slow := assignment(check.Assertion{Expression: `result.statusCode == 200`})
	slow.Collectors[0].Latency = &check.Latency{DegradedMs: 12}
	if run = prepare(t, origin, slow, result("2026-01-02T03:04:00Z")); run.Status != check.Degraded || !strings.Contains(run.Message, "took 12 ms") {
		t.Errorf("latency: %s, %s", run.Status, run.Message)
	}
}

func TestOurSatellitesEvaluateThemselves(t *testing.T) {
	t.Parallel()
	failing := check.Assertion{Field: "statusCode", Operator: "equals", Value: 201.0}
	run := prepare(t, Origin{SatelliteID: "sat", Evaluated: true}, assignment(failing), result("2026-01-02T03:04:00Z"))
	if run.Status != check.Healthy {
		t.Errorf("run is %s: the revision by which it ran had other assertions, perhaps", run.Status)
	}
}

func TestM37_EvidenceIsBounded(t *testing.T) {
	t.Parallel()
	r := result("2026-01-02T03:04:00Z")
	r.Result.Message = strings.Repeat("é", maxMessage)
	r.Result.Metadata.Collectors["page"] = json.RawMessage(`{"stdout":"` + strings.Repeat("x", maxDetail) + `"}`)
	run := prepare(t, origin, assignment(), r)
	if len(run.Result) > maxDetail || !strings.Contains(string(run.Result), "left out") {
		t.Errorf("evidence has %d bytes and does not say what is missing", len(run.Result))
	}
	if len(run.Message) > maxMessage || !strings.HasSuffix(run.Message, "é…") {
		t.Errorf("message has %d bytes and ends in %q", len(run.Message), run.Message[len(run.Message)-5:])
	}
}

func TestSkipsMustMakeSense(t *testing.T) {
	t.Parallel()
	ms := now.UnixMilli()
	for _, bad := range []protocol.Skip{{From: ms, To: ms, Count: 0}, {From: ms, To: ms - 1, Count: 1}, {From: ms, To: ms, Count: -3}} {
		if _, err := PrepareSkip(origin, &bad, now); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: error = %v, want invalid", bad, err)
		}
	}
	good := protocol.Skip{ConfigID: "c", SystemID: "s", From: ms, To: ms + 2000, Count: 3, Reason: protocol.SkipDown}
	s, err := PrepareSkip(origin, &good, now)
	if err != nil || s.ID != check.RunID(now, "sat", check.Key{CheckID: "c", SystemID: "s"}) || s.Count != 3 {
		t.Errorf("skip = %+v, %v", s, err)
	}
}
