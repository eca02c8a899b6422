package satellite

import (
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/probe"
	"github.com/perigee-monitoring/perigee/protocol"
)

// A run that the satellite's own operator does not allow concludes nothing.
func TestWhatTheOperatorForbidsIsInconclusive(t *testing.T) {
	t.Parallel()
	a := &protocol.Assignment{
		ConfigID: "c", SystemID: "s", StrategyID: check.HTTP, Config: []byte(`{}`), IntervalSeconds: 10,
		Collectors: []protocol.Collector{{ID: "page", CollectorID: check.HTTPRequest, Config: []byte(`{"url":"http://169.254.169.254/"}`)}},
	}
	x := &executor{prober: probe.New(probe.Options{})}
	r := x.prober.Execute(t.Context(), a, nil, nil)
	if got := x.inconclusive(t.Context(), r, time.Now()); got == "" || got != r.Message || r.Status != check.Degraded {
		t.Errorf("%s, %q, inconclusive for %q", r.Status, r.Message, got)
	}
	if got := x.inconclusive(t.Context(), check.Result{Status: check.Unhealthy, Blame: check.BlamePath}, time.Now()); got != "" {
		t.Errorf("a failure of the target's is inconclusive for %q", got)
	}
}
