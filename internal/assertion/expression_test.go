package assertion_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/assertion"
)

const pageFound = `{"_collectorId":"healthcheck-http.request","statusCode":200,"body":"all is well","success":true,"responseTimeMs":41.5}`

func TestExpressionsAreJudged(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`result.statusCode == 200`:                            "",
		`result.statusCode >= 200 && result.statusCode < 300`: "",
		`result.success && result.body.contains("well")`:      "",
		`tookMs < 50`:                  "",
		`result.responseTimeMs < 40.0`: `result.responseTimeMs < 40.0: does not hold, got result.responseTimeMs = 41.5`,
		`result.statusCode in [201, 204] || !result.success`:    `result.statusCode in [201, 204] || !result.success: does not hold, got result.statusCode = 200, result.success = true`,
		`result.bodyLength > 3`:                                 `result.bodyLength > 3: cannot be evaluated (no such attribute(s): result.bodyLength), got result.bodyLength = undefined`,
		`result.statusText == "OK" || result.statusCode == 200`: "",
		`tookMs > 100`: `tookMs > 100: does not hold, got tookMs = 42`,
	} {
		r := healthy(map[string]string{"page": pageFound})
		r.TookMs = map[string]float64{"page": 42}
		assertion.Judge(map[string][]check.Assertion{"page": {{Expression: text}}}, nil, r)
		if want == "" {
			if r.Status != check.Healthy {
				t.Errorf("%s: %s", text, r.Message)
			}
			continue
		}
		if diff := cmp.Diff("Check failed: Assertion failed: "+want, r.Message); diff != "" || r.Status != check.Unhealthy {
			t.Errorf("%s is %s (-want +got):\n%s", text, r.Status, diff)
		}
	}
}

// Expressions calculate with float64s; what none holds is said to be the matter.
func TestExpressionsOnLargeNumbers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`result.bodyLength / 1024.0 > 1e12`:       "",
		`result.statusCode > 1`:                   "result.statusCode > 1: cannot be evaluated (result.statusCode is too large for an expression: 1e400)",
		`result.success && result.bodyLength > 1`: "",
	} {
		r := healthy(map[string]string{"page": `{"_collectorId":"healthcheck-http.request","statusCode":1e400,"bodyLength":9007199254740993,"success":true}`})
		assertion.Judge(map[string][]check.Assertion{"page": {{Expression: text}}}, nil, r)
		if status, message := check.Unhealthy, "Check failed: Assertion failed: "+want; want != "" && (r.Status != status || r.Message != message) || want == "" && r.Status != check.Healthy {
			t.Errorf("%s is %s: %s", text, r.Status, r.Message)
		}
	}
}

// Mistakes are told when the check is saved, with their place.
func TestExpressionsAreCheckedWhenSaved(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"result.statusCode == 200 &&\n  result.boddy == \"x\"": "line 2, column 9: undeclared reference to 'result.boddy' (did you mean 'result.body'?)",
		`result.body > 3`:        "line 1, column 13: found no matching overload",
		`result.body`:            "gives text where true or false is needed",
		`result.statusCode ==`:   "line 1, column 21: Syntax error",
		`trigger.payload.x == 1`: "undeclared reference",
	} {
		err := assertion.ValidateExpression(check.HTTPRequest, check.Assertion{Expression: text})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
	if err := assertion.ValidateExpression(check.HTTPRequest, check.Assertion{Expression: `result.success`, Field: "body"}); err == nil {
		t.Error("an expression beside a field is taken")
	}
}

func TestSlowCollectorsMakeTheRunWorse(t *testing.T) {
	t.Parallel()
	bounds := map[string]check.Latency{"page": {DegradedMs: 100, UnhealthyMs: 500}}
	for name, c := range map[string]struct {
		tookMs map[string]float64
		runMs  float64
		status check.Status
		want   check.Status
		say    string
	}{
		"quick":                   {map[string]float64{"page": 99.9}, 600, check.Healthy, check.Healthy, "Completed"},
		"slow":                    {map[string]float64{"page": 100}, 600, check.Healthy, check.Degraded, "Check degraded: collector page took 100 ms, and 100 ms are too many"},
		"far too slow":            {map[string]float64{"page": 500}, 600, check.Healthy, check.Unhealthy, "and 500 ms are too many"},
		"slow and worse already":  {map[string]float64{"page": 100}, 600, check.Unhealthy, check.Unhealthy, "Completed"},
		"an original agent's run": {nil, 120, check.Healthy, check.Degraded, "collector page took 120 ms"},
	} {
		r := healthy(map[string]string{"page": `{"statusCode":200}`, "other": `{}`})
		r.Status, r.LatencyMs, r.TookMs = c.status, c.runMs, c.tookMs
		assertion.Slow(bounds, r)
		if r.Status != c.want || !strings.Contains(r.Message, c.say) || !strings.Contains(string(r.Metadata.Collectors["page"]), "_latencyMs") {
			t.Errorf("%s: %s, %s, %s", name, r.Status, r.Message, r.Metadata.Collectors["page"])
		}
	}
}
