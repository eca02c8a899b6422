// Package verdict says what results mean: how a location stands after each run,
// and what a check's locations say together, by the rules of a check.Policy.
//
// It is public and pure, so that outside programs can reach the verdicts of a core
// again from the evidence that it shows ([Verify]); the core itself uses the same
// functions. No clock, no database, the standard library only.
package verdict

import (
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

// Run is one run as far as verdicts depend on it.
type Run struct {
	RunID         string       `json:"runId"`
	SatelliteID   string       `json:"satelliteId"`
	EnvironmentID string       `json:"environmentId,omitempty"`
	Status        check.Status `json:"status"`
	LatencyMs     *int64       `json:"latencyMs"`
	// Slot is when it was due, ExecutedAt when it ended by the satellite's clock,
	// ReceivedAt when the core got it by its own.
	Slot       time.Time `json:"slot"`
	ExecutedAt time.Time `json:"executedAt"`
	ReceivedAt time.Time `json:"receivedAt"`
	// Revision is that of the assignments under which it ran; 0 is not known.
	Revision int64 `json:"revision,omitempty"`
	// Inconclusive is why it says nothing about the target: the observer was ill.
	Inconclusive string `json:"inconclusive,omitempty"`
	// ClockOffsetMs is core clock less satellite clock, by which ExecutedAt is corrected
	// where it is more than its uncertainty; nil is not known.
	ClockOffsetMs      *float64 `json:"clockOffsetMs,omitempty"`
	ClockUncertaintyMs *float64 `json:"clockUncertaintyMs,omitempty"`
	Message            string   `json:"message,omitempty"`
}

// at is the executed time, but not after the time of receipt: a satellite whose
// clock runs ahead must not shut out what it reports after it is set right.
func (r *Run) at() time.Time {
	if r.ExecutedAt.After(r.ReceivedAt) {
		return r.ReceivedAt
	}
	return r.ExecutedAt
}

// State is how one location stands: one check of one system in one environment,
// as one satellite sees it. The zero State is before the first run.
type State struct {
	// Status is unknown while the results so far are too few for the thresholds.
	Status check.Status `json:"status"`
	// Since is the executed time of the run that changed Status.
	Since time.Time `json:"since"`
	// ExecutedAt and ReceivedAt are of the newest run; ExecutedAt is not after ReceivedAt.
	ExecutedAt time.Time `json:"executedAt"`
	ReceivedAt time.Time `json:"receivedAt"`
	Memory
}

// Memory is what a location remembers beside its status.
type Memory struct {
	// Recent are the newest results, oldest first: h, d and u for healthy, degraded
	// and unhealthy, after the policy's bounds of latency.
	Recent string `json:"recent,omitempty"`
	// Flapping: results change too often, and the location counts as degraded.
	Flapping bool `json:"flapping,omitempty"`
	// Settled is what the thresholds say while Status is degraded for flapping.
	Settled check.Status `json:"settled,omitempty"`
	// Policy is a digest of the rules by which the newest run was judged; "" are the
	// original's.
	Policy string `json:"policy,omitempty"`
	// Before is how things were before the newest run.
	Before Before `json:"before,omitzero"`
}

// Before is what the judgement of the newest run began with.
type Before struct {
	Status   check.Status `json:"status,omitempty"` // by thresholds
	Flapping bool         `json:"flapping,omitempty"`
	// LagMs is how much later than executed the run before was received.
	LagMs int64 `json:"lagMs,omitempty"`
}

// minRecent is how many results a location remembers at least, for people to see
// and for policies that come later.
const minRecent = 20

// Step takes a run in and reports whether it moved the location. A run that is
// not newer than the newest (late, or a repeat) changes history only, and one
// that is inconclusive says nothing.
func Step(p check.Policy, s State, r Run) (State, bool) {
	at := r.at()
	if r.Inconclusive != "" || !s.ExecutedAt.IsZero() && !at.After(s.ExecutedAt) {
		return s, false
	}
	next := State{Status: s.Status, Since: s.Since, ExecutedAt: at, ReceivedAt: r.ReceivedAt}
	next.Before = Before{Status: s.settled(), Flapping: s.Flapping}
	if !s.ExecutedAt.IsZero() {
		next.Before.LagMs = s.lag().Milliseconds()
	}
	next.Policy = digest(p)
	p = p.WithDefaults()
	next.Recent = s.Recent + string(outcome(p.Latency, &r))
	if keep := max(p.Outcomes(), minRecent); len(next.Recent) > keep {
		next.Recent = next.Recent[len(next.Recent)-keep:]
	}
	status := next.judge(p)
	if status != s.Status {
		next.Status, next.Since = status, at
	}
	return next, true
}

// judge fills in Flapping and Settled from Recent and Before, and gives the status.
func (s *State) judge(p check.Policy) check.Status {
	settled := settle(p, s.Before.Status, s.Recent)
	s.Flapping = flaps(p.Flap, s.Before.Flapping, s.Recent)
	if !s.Flapping || settled == check.Degraded {
		s.Settled = ""
		return settled
	}
	s.Settled = settled
	return check.Degraded
}

// settled is the status by thresholds alone.
func (s *State) settled() check.Status {
	if s.Settled != "" {
		return s.Settled
	}
	return s.Status
}

func (s *State) lag() time.Duration { return s.ReceivedAt.Sub(s.ExecutedAt) }

// The letters of State.Recent.
const (
	healthy   = 'h'
	degraded  = 'd'
	unhealthy = 'u'
)

// outcome is what a run counts as: its status, or worse when it was slow.
func outcome(bounds check.Latency, r *Run) byte {
	slow := func(bound int64) bool { return bound > 0 && r.LatencyMs != nil && *r.LatencyMs >= bound }
	switch {
	case r.Status == check.Unhealthy || slow(bounds.UnhealthyMs):
		return unhealthy
	case r.Status == check.Degraded || slow(bounds.DegradedMs):
		return degraded
	default:
		return healthy
	}
}

// settle gives the status that follows from the results when the status was was.
// Getting worse needs a threshold or the window; getting better needs that no such
// rule holds any more, and so many better results in a row.
func settle(p check.Policy, was check.Status, recent string) check.Status {
	failing := trailing(recent, "u") // in a row
	bad := trailing(recent, "du")
	t, inWindow := p.Thresholds, last(recent, p.Window.Of)
	reached := func(n, threshold int) bool { return threshold > 0 && n >= threshold }
	switch {
	case reached(failing, t.Unhealthy), reached(strings.Count(inWindow, "u"), p.Window.Failures):
		return check.Unhealthy
	case was == check.Unhealthy && reached(trailing(recent, "h"), t.Recovery) && !reached(count(inWindow, "du"), p.Window.Failures):
		return check.Healthy
	case was == check.Unhealthy && reached(trailing(recent, "hd"), t.Recovery):
		return check.Degraded
	case was == check.Unhealthy:
		return check.Unhealthy
	case reached(bad, t.Degraded), reached(count(inWindow, "du"), p.Window.Failures):
		return check.Degraded
	case was == check.Degraded && !reached(trailing(recent, "h"), t.Recovery):
		return check.Degraded
	case was == check.Degraded || was == check.Healthy:
		return check.Healthy
	case strings.HasSuffix(recent, "h"): // the first that is healthy is news enough
		return check.Healthy
	default:
		return check.Unknown
	}
}

// flaps has two bounds, so that it does not itself flap: changes must rise above
// the one to begin it and fall below the other to end it.
func flaps(f check.Flap, was bool, recent string) bool {
	if f == (check.Flap{}) {
		return false
	}
	percent := changes(last(recent, f.Window)) * 100
	if was {
		return percent >= f.Off*(f.Window-1)
	}
	return percent > f.On*(f.Window-1)
}

// changes counts the results that differ from the one before.
func changes(recent string) int {
	n := 0
	for i := 1; i < len(recent); i++ {
		if recent[i] != recent[i-1] {
			n++
		}
	}
	return n
}

// trailing is how many of the newest results in a row are among the letters.
func trailing(recent, letters string) int {
	return len(recent) - len(strings.TrimRight(recent, letters))
}

func count(recent, letters string) int {
	n := 0
	for i := range len(recent) {
		if strings.IndexByte(letters, recent[i]) >= 0 {
			n++
		}
	}
	return n
}

func last(recent string, n int) string { return recent[max(0, len(recent)-n):] }

// digest names the part of a policy that locations are judged by.
func digest(p check.Policy) string {
	p.Quorum, p.SecondOpinion = check.Quorum{}, check.SecondOpinion{}
	if p == (check.Policy{}) {
		return ""
	}
	h := fnv.New64a()
	fmt.Fprint(h, p.WithDefaults())
	return fmt.Sprintf("%016x", h.Sum64())
}
