package checkstack

import (
	"cmp"
	"encoding/json"

	"github.com/perigee-monitoring/perigee/check"
)

// thresholds is how the original decides what results mean: by failures in a row, or
// among the newest. A failure is any result that is not healthy.
type thresholds struct {
	Mode    string `json:"mode"`
	Healthy struct {
		MinSuccessCount int `json:"minSuccessCount"`
	} `json:"healthy"`
	Degraded   failures `json:"degraded"`
	Unhealthy  failures `json:"unhealthy"`
	WindowSize int      `json:"windowSize"`
	// Data holds all of that where it is stored with the version of its form.
	Data *thresholds `json:"data"`
}

type failures struct {
	MinFailureCount int `json:"minFailureCount"`
}

// What the original assumes where it is told nothing.
const (
	defaultSuccesses, defaultDegraded, defaultUnhealthy          = 1, 2, 5
	defaultWindow, defaultWindowDegraded, defaultWindowUnhealthy = 10, 3, 7
)

// policy is what the stored thresholds are here, and what is not as it was there.
func policy(stored string) (p check.Policy, trouble string) {
	var t thresholds
	if err := json.Unmarshal([]byte(stored), &t); err != nil {
		t.Mode = "none that can be read"
	}
	if t.Data != nil {
		t = *t.Data
	}
	switch {
	case t.Mode == "" && t == (thresholds{}), t.Mode == "consecutive":
		p.Thresholds = check.Thresholds{
			Unhealthy: cmp.Or(t.Unhealthy.MinFailureCount, defaultUnhealthy),
			Degraded:  cmp.Or(t.Degraded.MinFailureCount, defaultDegraded),
			Recovery:  cmp.Or(t.Healthy.MinSuccessCount, defaultSuccesses),
		}
		return p, ""
	case t.Mode == "window":
		p.Window = check.Window{Failures: cmp.Or(t.Unhealthy.MinFailureCount, defaultWindowUnhealthy), Of: cmp.Or(t.WindowSize, defaultWindow)}
		if n := cmp.Or(t.Degraded.MinFailureCount, defaultWindowDegraded); n != p.Window.Failures {
			trouble = "that fewer failures in the window make it degraded cannot be carried over; those that make it unhealthy are"
		}
		return p, trouble
	}
	return p, "its own thresholds cannot be read and are left out, so each result counts"
}
