// Package check says what a check is: its specification, the result of one run,
// the instants at which runs are due, and the name of each run.
//
// It is public and uses the standard library only, because everything else
// builds on it: the wire (package protocol), the satellite that carries checks
// out, the core that stores and judges what they found, and outside programs
// that recount what we claim. Types here are the wire form, the engine form and
// the stored JSON at once; a second form would be one more thing to keep equal.
package check

import (
	"encoding/json"
	"fmt"
	"time"
)

// Status is how one run, one location, one check or one system is doing.
// Runs know the first three only (satellite-subsystem F.1).
type Status string

const (
	Healthy   Status = "healthy"
	Degraded  Status = "degraded"
	Unhealthy Status = "unhealthy"
	// Unknown is a verdict, never a run: nothing has been measured (yet, or any more).
	Unknown Status = "unknown"
)

// ValidRun reports whether s is a status that a run may have.
func (s Status) ValidRun() bool { return s == Healthy || s == Degraded || s == Unhealthy }

// severity orders statuses for worst-wins. Unknown is worse than healthy,
// because a green light must mean measured, and better than any measured fault.
func (s Status) severity() int {
	switch s {
	case Healthy:
		return 0
	case Unknown:
		return 1
	case Degraded:
		return 2
	default:
		return 3
	}
}

// Worst returns the worse of two statuses.
func Worst(a, b Status) Status {
	if b.severity() > a.severity() {
		return b
	}
	return a
}

// Duration is a length of time that reads and writes as text ("10s", "5m") and
// also accepts a bare number of seconds.
type Duration time.Duration

func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// String is the short form: "10s", not "0h0m10s"; "5m", not "5m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if len(s) > 2 && s[len(s)-2:] == "0s" && s[len(s)-3] == 'm' {
		s = s[:len(s)-2]
	}
	if len(s) > 2 && s[len(s)-2:] == "0m" && s[len(s)-3] == 'h' {
		s = s[:len(s)-2]
	}
	return s
}

func (d *Duration) UnmarshalJSON(b []byte) error {
	var seconds float64
	if err := json.Unmarshal(b, &seconds); err == nil {
		*d = Duration(seconds * float64(time.Second))
		return nil
	}
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("a duration is text such as \"10s\" or a number of seconds")
	}
	parsed, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is not a duration; write it as 10s, 5m or 1h", text)
	}
	*d = Duration(parsed)
	return nil
}

// Spec is a check: how to reach the target (strategy and its config), what to
// measure there (collectors), what must hold (their assertions), and how often.
type Spec struct {
	Description string `json:"description,omitempty"`
	// Strategy is a qualified id such as healthcheck-http.http.
	Strategy   string          `json:"strategy"`
	Config     json.RawMessage `json:"config,omitempty"`
	Interval   Duration        `json:"interval"`
	Collectors []Collector     `json:"collectors,omitempty"`
	// Paused checks stay defined and are due nowhere.
	Paused bool `json:"paused,omitempty"`
}

// Collector is one measurement over the strategy's transport. ID is the entry's
// own name, unique inside the check; it keys the result (spec E.1, F.1).
type Collector struct {
	ID         string          `json:"id"`
	Collector  string          `json:"collector"`
	Config     json.RawMessage `json:"config,omitempty"`
	Assertions []Assertion     `json:"assertions,omitempty"`
	// Latency makes runs in which this collector is slow worse than they are.
	Latency Latency `json:"latency,omitzero"`
}

// Assertion is a condition on one field of a collector's result (spec F.5), or an
// Expression over all of them, in place of everything else.
type Assertion struct {
	Field      string `json:"field" required:"false"`
	JSONPath   string `json:"jsonPath,omitempty"`
	Operator   string `json:"operator" required:"false"`
	Value      any    `json:"value,omitempty"`
	Expression string `json:"expression,omitempty"`
}

// Environment is one of several settings of a system in which the same check
// runs (spec E.1). ID "" stands for the one environment-less run.
type Environment struct {
	ID     string         `json:"id"`
	Name   string         `json:"name"`
	Fields map[string]any `json:"fields,omitempty"`
}
