// Package trial runs checks that nobody has saved, once, from a satellite of one's
// choice, and shows what was found.
//
// Nothing of a trial is kept: no run, no verdict, no event. What travels between the core
// that is asked and the one that holds the satellite waits in a row for that long,
// sealed, since it holds credentials that were typed in a moment ago and what the target
// said. The row goes with the answer, and the ones that a core left behind go soon after.
//
// A trial may have what the check would have if it were saved: the same validation, the
// same secrets (see secret.Trial). How it fails: before it runs as a fault that says
// where the input is wrong or why that satellite cannot; a run that failed is an answer.
package trial

import (
	"encoding/json"
	"math"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/secret"
)

const (
	// TopicAsked is rung when something is to be tried, TopicAnswered when it was.
	TopicAsked    = "trial"
	TopicAnswered = "tried"
)

// Input is what is to be tried, and where.
type Input struct {
	// Check is the saved check (id or name) that this is an edit of: markers of its
	// credentials then stand for them. "" for none.
	Check string
	Name  string
	Spec  check.Spec
	// From is a satellite, by id or name; "" is the core's own.
	From string
	// System, by id or name, is what templates see; "" is none. Environment is one of its.
	System, Environment string
}

// Trial is what was found.
type Trial struct {
	// Satellite is where it ran.
	Satellite Place        `json:"satellite"`
	Status    check.Status `json:"status" enum:"healthy,degraded,unhealthy"`
	Message   string       `json:"message"`
	LatencyMs float64      `json:"latencyMs" doc:"Of the whole run."`
	// Connected: the transport's client came into being.
	Connected    bool           `json:"connected"`
	ConnectMs    *float64       `json:"connectMs,omitempty" doc:"How long connecting took, where the strategy connects first."`
	Timings      *check.Timings `json:"timings,omitempty" doc:"The phases that the strategy tells apart."`
	Error        string         `json:"error,omitempty" doc:"Why nothing could be measured."`
	Inconclusive string         `json:"inconclusive,omitempty" doc:"Why a failure says nothing of the target: the satellite was ill."`
	ExecutedAt   *time.Time     `json:"executedAt,omitempty"`
	// Collectors are in the order of the check.
	Collectors []Collector `json:"collectors"`
}

// Place is a satellite.
type Place struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Region string `json:"region"`
}

// Collector is what one collector of the check found.
type Collector struct {
	ID        string       `json:"id"`
	Collector string       `json:"collector"`
	Status    check.Status `json:"status" enum:"healthy,degraded,unhealthy"`
	TookMs    *float64     `json:"tookMs,omitempty" doc:"How long it took."`
	Error     string       `json:"error,omitempty" doc:"Why it found nothing, or not all."`
	Fence     string       `json:"fence,omitempty" doc:"Of a script: what held it, and what could not."`
	// Result holds its fields, also those that are never stored, such as a body.
	Result     map[string]any `json:"result"`
	Assertions []Assertion    `json:"assertions"`
}

// Assertion is what became of one assertion, in the order of the check.
type Assertion struct {
	Field    string `json:"field"`
	JSONPath string `json:"jsonPath,omitempty"`
	Operator string `json:"operator"`
	Value    any    `json:"value,omitempty" doc:"What was expected."`
	// Expression in place of field and operator.
	Expression string `json:"expression,omitempty"`
	Passed     bool   `json:"passed"`
	Got        string `json:"got,omitempty" doc:"What was found, as JSON that may be cut, \"undefined\" when there was nothing; of an expression the values that it stands on."`
	Message    string `json:"message,omitempty" doc:"Why it does not hold."`
}

// Order is a trial on its way to its satellite.
type Order struct {
	ID          string
	SatelliteID string
	Trial       secret.Trial
	Deadline    time.Duration
}

// Answer is what a satellite, or the core that holds it, says of a trial: what was found,
// or Refused, why it was not run.
type Answer struct {
	Result       *check.Result      `json:"result,omitempty"`
	TookMs       map[string]float64 `json:"tookMs,omitempty"`
	Fences       map[string]string  `json:"fences,omitempty"`
	ExecutedAt   string             `json:"executedAt,omitempty"`
	Inconclusive string             `json:"inconclusive,omitempty"`
	Refused      string             `json:"refused,omitempty"`
}

// trial is the answer as people see it.
func (a *Answer) trial(at Place, spec check.Spec) Trial {
	r := a.Result
	t := Trial{
		Satellite: at, Status: r.Status, Message: r.Message, LatencyMs: finite(r.LatencyMs), Connected: r.Metadata.Connected,
		ConnectMs: r.Metadata.ConnectionTimeMs, Timings: r.Metadata.Timings, Error: r.Metadata.Error, Inconclusive: a.Inconclusive,
		Collectors: make([]Collector, len(spec.Collectors)),
	}
	if at, err := time.Parse(time.RFC3339Nano, a.ExecutedAt); err == nil {
		t.ExecutedAt = &at
	}
	for i, c := range spec.Collectors {
		t.Collectors[i] = a.collector(c)
	}
	return t
}

// collector reads what one collector found. Members that begin with an underscore are
// not the collector's own.
func (a *Answer) collector(c check.Collector) Collector {
	found := Collector{ID: c.ID, Collector: c.Collector, Status: check.Healthy, Fence: a.Fences[c.ID], Result: map[string]any{}, Assertions: []Assertion{}}
	if ms, ok := a.TookMs[c.ID]; ok {
		found.TookMs = new(finite(ms))
	}
	var own struct {
		Assertions []Assertion `json:"_assertions"`
		Error      string      `json:"_collectorError"`
	}
	raw, reported := a.Result.Metadata.Collectors[c.ID]
	if !reported || json.Unmarshal(raw, &own) != nil || json.Unmarshal(raw, &found.Result) != nil {
		found.Status, found.Error, found.Result = check.Unhealthy, "nothing was found", map[string]any{}
		return found
	}
	for name := range found.Result {
		if name != "" && name[0] == '_' {
			delete(found.Result, name)
		}
	}
	if own.Assertions != nil {
		found.Assertions = own.Assertions
	}
	if own.Error != "" {
		found.Error = own.Error
		delete(found.Result, "error") // the same again (spec F.1)
	}
	found.Status = a.statusOf(&found)
	return found
}

// statusOf is what the collector alone would make of the run: one that failed, or of
// which an assertion failed, is what the run is.
func (a *Answer) statusOf(c *Collector) check.Status {
	bad := c.Error != ""
	for _, as := range c.Assertions {
		bad = bad || !as.Passed
	}
	if !bad {
		return check.Healthy
	}
	return check.Worst(a.Result.Status, check.Degraded)
}

// finite is a number that JSON can hold.
func finite(ms float64) float64 {
	if math.IsNaN(ms) || math.IsInf(ms, 0) {
		return 0
	}
	return ms
}
