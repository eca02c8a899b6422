package check

import (
	"fmt"
	"strings"
	"time"
)

// Policy says when an assignment's results mean that something is wrong: first at
// each location (thresholds, window, latency, flapping), then across locations
// (quorum), and whether other places are asked before a verdict flips. Package
// verdict applies it.
//
// The zero Policy is the original's: each result counts at once, and the worst
// location wins. As JSON every part may be left out:
//
//	{
//	  "thresholds": {"unhealthy": 3, "degraded": 2, "recovery": 2},
//	  "window": {"failures": 3, "of": 10},
//	  "latency": {"degradedMs": 500, "unhealthyMs": 2000},
//	  "flap": {"window": 20, "on": 30, "off": 25},
//	  "quorum": {"kind": "count", "count": 2},
//	  "secondOpinion": {"ask": 2, "wait": "2s", "domain": "region"}
//	}
//
// Policies are comparable with ==.
type Policy struct {
	Thresholds    Thresholds    `json:"thresholds,omitzero"`
	Window        Window        `json:"window,omitzero"`
	Latency       Latency       `json:"latency,omitzero"`
	Flap          Flap          `json:"flap,omitzero"`
	Quorum        Quorum        `json:"quorum,omitzero"`
	SecondOpinion SecondOpinion `json:"secondOpinion,omitzero"`
}

// MaxOutcomes is how many of a location's newest results a policy may look at.
const MaxOutcomes = 100

// Thresholds count results of one location in a row.
type Thresholds struct {
	// Unhealthy is how many unhealthy results make it unhealthy; 0 is 1, or never
	// when a Window is given, which decides instead.
	Unhealthy int `json:"unhealthy,omitempty"`
	// Degraded is how many results that are not healthy make it degraded; 0 is as
	// many as make it unhealthy.
	Degraded int `json:"degraded,omitempty"`
	// Recovery is how many better results end that; 0 is 1.
	Recovery int `json:"recovery,omitempty"`
}

// Window counts failures among the newest results of one location, in a row or
// not. It counts beside the thresholds that are given: either is enough.
type Window struct {
	// Failures of the last Of results make the location unhealthy; as many results
	// that are not healthy make it degraded.
	Failures int `json:"failures,omitempty"`
	Of       int `json:"of,omitempty"`
}

// Latency makes slow results worse than they are, in milliseconds; 0 is no bound.
// A result that takes as long as a bound, or longer, counts as that status.
type Latency struct {
	DegradedMs  int64 `json:"degradedMs,omitempty"`
	UnhealthyMs int64 `json:"unhealthyMs,omitempty"`
}

// Flap notices a location that keeps changing its mind. It is off unless one of
// its fields is given; the others are then Icinga's 20 results, 30 and 25 percent.
// A flapping location counts as degraded until it is quiet again.
type Flap struct {
	// Window is how many results are looked at.
	Window int `json:"window,omitempty"`
	// On and Off are percent of the changes that were possible: more than On begins
	// flapping, less than Off ends it.
	On  int `json:"on,omitempty"`
	Off int `json:"off,omitempty"`
}

// QuorumKind names how the locations of a check are put together.
type QuorumKind string

const (
	// QuorumWorst: the worst location wins. It is the default and the original's.
	QuorumWorst QuorumKind = "worst"
	// QuorumAny: one location is enough; as QuorumCount with a count of 1.
	QuorumAny QuorumKind = "any"
	// QuorumAll: all locations that measure must agree.
	QuorumAll QuorumKind = "all"
	// QuorumCount: Count locations must agree.
	QuorumCount QuorumKind = "count"
	// QuorumShare: Share percent of the locations that measure must agree.
	QuorumShare QuorumKind = "share"
	// QuorumRegions: Count regions must agree; a region does when Share percent of
	// its locations that measure do.
	QuorumRegions QuorumKind = "regions"
)

// quorumKinds are those that there are, in the order in which they are named.
var quorumKinds = []QuorumKind{QuorumWorst, QuorumAny, QuorumAll, QuorumCount, QuorumShare, QuorumRegions}

// Quorum says how many locations must agree that something is wrong.
type Quorum struct {
	Kind QuorumKind `json:"kind,omitempty"`
	// Count is of locations for QuorumCount, of regions for QuorumRegions (0 is 1).
	Count int `json:"count,omitempty"`
	// Share is percent, for QuorumShare and QuorumRegions; 0 is more than half.
	Share int `json:"share,omitempty"`
}

// SecondOpinion says who is asked before a verdict flips.
type SecondOpinion struct {
	// Off: nobody is asked.
	Off bool `json:"off,omitempty"`
	// Ask is how many other satellites are asked; 0 is 2.
	Ask int `json:"ask,omitempty"`
	// Wait is how long their answers are waited for; 0 is 2 s.
	Wait Duration `json:"wait,omitempty"`
	// Domain is "region" or a label: satellites that are equal in it may fail
	// together, so others are asked. "" is "region".
	Domain string `json:"domain,omitempty"`
}

// WithDefaults gives the policy with every default written out, as it is applied.
// A policy with defaults is not changed by it.
func (p Policy) WithDefaults() Policy {
	if p.Window == (Window{}) {
		p.Thresholds.Unhealthy = max(p.Thresholds.Unhealthy, 1)
	}
	if p.Thresholds.Degraded == 0 {
		p.Thresholds.Degraded = p.Thresholds.Unhealthy
	}
	p.Thresholds.Recovery = max(p.Thresholds.Recovery, 1)
	if p.Flap != (Flap{}) {
		p.Flap.Window = orInt(p.Flap.Window, 20)
		p.Flap.On = orInt(p.Flap.On, 30)
		p.Flap.Off = orInt(p.Flap.Off, min(25, p.Flap.On))
	}
	switch p.Quorum.Kind {
	case "":
		p.Quorum.Kind = QuorumWorst
	case QuorumRegions:
		p.Quorum.Count = max(p.Quorum.Count, 1)
	}
	if !p.SecondOpinion.Off {
		p.SecondOpinion.Ask = orInt(p.SecondOpinion.Ask, 2)
		if p.SecondOpinion.Wait == 0 {
			p.SecondOpinion.Wait = Duration(2 * time.Second)
		}
		if p.SecondOpinion.Domain == "" {
			p.SecondOpinion.Domain = "region"
		}
	}
	return p
}

func orInt(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

// Outcomes is how many of a location's newest results the policy looks at.
func (p Policy) Outcomes() int {
	p = p.WithDefaults()
	return max(p.Thresholds.Unhealthy, p.Thresholds.Degraded, p.Thresholds.Recovery, p.Window.Of, p.Flap.Window)
}

// PolicyProblem is one thing that is wrong with a policy. Path is its place in
// the JSON form, "quorum.count".
type PolicyProblem struct {
	Path    string
	Value   any
	Message string
}

// Validate says what is wrong with the policy: all of it, in the order of the fields.
func (p Policy) Validate() []PolicyProblem {
	var wrong []PolicyProblem
	bad := func(path string, value any, format string, args ...any) {
		wrong = append(wrong, PolicyProblem{Path: path, Value: value, Message: fmt.Sprintf(format, args...)})
	}
	within := func(path string, value, low, high int) {
		if value < low || value > high {
			bad(path, value, "must be from %d to %d", low, high)
		}
	}
	within("thresholds.unhealthy", p.Thresholds.Unhealthy, 0, MaxOutcomes)
	within("thresholds.degraded", p.Thresholds.Degraded, 0, MaxOutcomes)
	within("thresholds.recovery", p.Thresholds.Recovery, 0, MaxOutcomes)
	if p.Window != (Window{}) {
		within("window.of", p.Window.Of, 1, MaxOutcomes)
		if p.Window.Failures < 1 || p.Window.Failures > max(p.Window.Of, 1) {
			bad("window.failures", p.Window.Failures, "must be from 1 to window.of, %d", p.Window.Of)
		}
	}
	wrong = append(wrong, p.Latency.Validate("latency")...)
	if p.Flap != (Flap{}) {
		flap := p.WithDefaults().Flap
		within("flap.window", flap.Window, 3, MaxOutcomes)
		within("flap.on", flap.On, 1, 100)
		if flap.Off < 1 || flap.Off > flap.On {
			bad("flap.off", flap.Off, "must be from 1 to flap.on, %d", flap.On)
		}
	}
	return append(wrong, append(p.Quorum.validate(), p.SecondOpinion.validate()...)...)
}

// Validate says what is wrong with the bounds, which stand at path.
func (l Latency) Validate(path string) []PolicyProblem {
	var wrong []PolicyProblem
	if l.DegradedMs < 0 {
		wrong = append(wrong, PolicyProblem{path + ".degradedMs", l.DegradedMs, "must not be negative"})
	}
	if l.UnhealthyMs < 0 {
		wrong = append(wrong, PolicyProblem{path + ".unhealthyMs", l.UnhealthyMs, "must not be negative"})
	}
	if u, d := l.UnhealthyMs, l.DegradedMs; u > 0 && d > u {
		wrong = append(wrong, PolicyProblem{path + ".degradedMs", d, fmt.Sprintf("must be at most %s.unhealthyMs, %d", path, u)})
	}
	return wrong
}

func (q Quorum) validate() []PolicyProblem {
	var wrong []PolicyProblem
	bad := func(path string, value any, message string) {
		wrong = append(wrong, PolicyProblem{Path: "quorum." + path, Value: value, Message: message})
	}
	var counts, shares bool
	switch q.Kind {
	case "", QuorumWorst, QuorumAny, QuorumAll:
	case QuorumCount:
		counts = true
		if q.Count == 0 {
			bad("count", nil, "must say how many locations must agree")
		}
	case QuorumShare:
		shares = true
	case QuorumRegions:
		counts, shares = true, true
	default:
		names := make([]string, len(quorumKinds))
		for i, kind := range quorumKinds {
			names[i] = string(kind)
		}
		bad("kind", q.Kind, "must be one of "+strings.Join(names, ", "))
		return wrong
	}
	switch {
	case q.Count != 0 && !counts:
		bad("count", q.Count, "goes with kind count or regions only")
	case q.Count < 0 || q.Count > 1000:
		bad("count", q.Count, "must be from 1 to 1000")
	}
	switch {
	case q.Share != 0 && !shares:
		bad("share", q.Share, "goes with kind share or regions only")
	case q.Share < 0 || q.Share > 100:
		bad("share", q.Share, "must be from 1 to 100 percent")
	}
	return wrong
}

func (o SecondOpinion) validate() []PolicyProblem {
	var wrong []PolicyProblem
	if o.Ask < 0 || o.Ask > 10 {
		wrong = append(wrong, PolicyProblem{Path: "secondOpinion.ask", Value: o.Ask, Message: "must be from 1 to 10"})
	}
	if o.Wait < 0 || o.Wait > Duration(30*time.Second) {
		wrong = append(wrong, PolicyProblem{Path: "secondOpinion.wait", Value: o.Wait, Message: "must be at most 30s"})
	}
	if len(o.Domain) > 100 {
		wrong = append(wrong, PolicyProblem{Path: "secondOpinion.domain", Message: "must be \"region\" or the name of a label"})
	}
	return wrong
}
