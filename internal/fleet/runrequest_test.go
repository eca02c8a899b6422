package fleet

import (
	"slices"
	"testing"
	"time"

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

// Each environment's result has an id of its own, which is known when it is asked for.
func TestExpectedRunsAreOfTheirEnvironments(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1_770_000_000_000)
	id := func(in string) string {
		return check.RunID(at, "us-1", check.Key{CheckID: "c", SystemID: "s", EnvironmentID: in})
	}
	both := []ExpectedRun{{EnvironmentID: "p", Environment: "prod"}, {EnvironmentID: "d", Environment: "dev"}}
	for asked, want := range map[string][]ExpectedRun{
		"":     {{id("p"), "p", "prod"}, {id("d"), "d", "dev"}},
		"d":    {{id("d"), "d", "dev"}},
		"gone": {{id("gone"), "gone", ""}},
	} {
		r := RunRequest{Pair: protocol.Pair{ConfigID: "c", SystemID: "s"}, SatelliteID: "us-1", Slot: at.UnixMilli(), EnvironmentID: asked, Expected: slices.Clone(both)}
		r.expect()
		if diff := cmp.Diff(want, r.Expected); diff != "" {
			t.Errorf("%q (-want +got):\n%s", asked, diff)
		}
	}
	none := RunRequest{Pair: protocol.Pair{ConfigID: "c", SystemID: "s"}, SatelliteID: "us-1", Slot: at.UnixMilli()}
	none.expect()
	if diff := cmp.Diff([]ExpectedRun{{RunID: id("")}}, none.Expected); diff != "" {
		t.Errorf("without environments (-want +got):\n%s", diff)
	}
}
