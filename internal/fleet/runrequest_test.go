package fleet

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// A check that fails in two environments is asked about in both at once, maybe in the
// same millisecond: each request has its own answers.
func TestAnswersAreThoseOfTheEnvironmentThatWasAskedFor(t *testing.T) {
	t.Parallel()
	all := []RunAnswer{
		{SatelliteID: "us-1", EnvironmentID: "production", Status: check.Unhealthy},
		{SatelliteID: "us-1", EnvironmentID: "staging", Status: check.Healthy},
		{SatelliteID: "us-2", EnvironmentID: "staging", Status: check.Degraded},
	}
	got := map[string]string{}
	for _, in := range []string{"production", "staging", "canary", ""} {
		r := RunRequest{Pair: protocol.Pair{ConfigID: "c", SystemID: "s"}, EnvironmentID: in, SatelliteID: "us-1", State: RunSent}
		expected := 1
		if in == "" {
			expected = 2
		}
		r.answered(all, expected)
		got[in] = string(r.State) + " " + r.Status
	}
	want := map[string]string{"production": "done unhealthy", "staging": "done healthy", "canary": "sent ", "": "done unhealthy"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}
