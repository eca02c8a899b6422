// Package assertion holds the results of collectors against what a check demands
// of them (spec F.5).
//
// The same code runs on our satellite, which evaluates before it stores, and on
// the core, for agents that do not. It promises to always give a verdict: a
// condition that cannot be evaluated (a field that is not there, a body that is
// no JSON, an invalid pattern) does not hold, and its text says why. Work is
// bounded, because what is judged comes from the watched target: patterns are
// RE2, paths may not multiply nodes, and texts are cut.
package assertion

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/perigee-monitoring/perigee/check"
)

// Members that judging adds to a collector's result object.
const (
	keyOutcomes = "_assertions"
	keyFailed   = "_assertionFailed"
)

// Judge evaluates the assertions, given by collector entry id, on what the
// collectors found. Each judged object gets the member _assertions with every
// outcome and, if one fails, _assertionFailed with the first failure's text. A
// failure makes the run unhealthy (L.225) with the message
// "Check failed: Assertion failed: <text>", unless it was unhealthy already; of several
// entries it names the one.
//
// An entry whose collector failed is not judged: the run is unhealthy and says
// why. An entry that reported nothing in a run that claims health (an original
// agent that does not have the collector, M76) makes it degraded: nobody knows
// whether the assertions hold. Entries without assertions are left alone (L.229).
//
// Then it takes out of the result what must not be stored, such as HTTP bodies, on which
// assertions may rest (L.228). collectorIDs gives the qualified collector id of each entry;
// of an entry without one nothing is taken.
func Judge(assertions map[string][]check.Assertion, collectorIDs map[string]string, r *check.Result) {
	judge(assertions, collectorIDs, r, false)
}

// Explain is Judge with what was found beside every outcome, also of assertions that
// hold. That is for people who look at it now: nothing is taken out, and it is not stored.
func Explain(assertions map[string][]check.Assertion, r *check.Result) {
	judge(assertions, nil, r, true)
}

// StripEphemeral takes out what must not be stored, and judges nothing.
func StripEphemeral(collectorIDs map[string]string, r *check.Result) {
	judge(nil, collectorIDs, r, false)
}

func judge(assertions map[string][]check.Assertion, collectorIDs map[string]string, r *check.Result, explain bool) {
	entries := make([]string, 0, len(assertions)+len(r.Metadata.Collectors))
	entries = slices.AppendSeq(slices.AppendSeq(entries, maps.Keys(assertions)), maps.Keys(r.Metadata.Collectors))
	slices.Sort(entries)
	for _, entry := range slices.Compact(entries) {
		judged, ephemeral := assertions[entry], check.Ephemeral(collectorIDs[entry])
		if len(judged)+len(ephemeral) == 0 {
			continue
		}
		found := readObject(r.Metadata.Collectors[entry])
		if found == nil {
			if len(judged) > 0 && r.Status == check.Healthy {
				r.Status = check.Degraded
				r.Message = fmt.Sprintf("Check degraded: collector %s reported nothing, so its assertions could not be judged", entry)
			}
			continue
		}
		failed, before := "", len(found)
		if len(judged) > 0 && !onlyError(found) {
			doc := document{raw: found, tookMs: took(r, entry)}
			failed, before = doc.judge(judged, explain), -1
			found = doc.raw
		}
		for _, name := range ephemeral {
			found = found.without(name)
		}
		if len(found) == before {
			continue
		}
		r.Metadata.Collectors[entry] = found.text()
		if failed != "" && r.Status != check.Unhealthy {
			r.Status = check.Unhealthy
			r.Message = "Check failed: Assertion failed: " + failed
			if len(r.Metadata.Collectors) > 1 {
				r.Message = "Check failed: Assertion failed: " + entry + ": " + failed
			}
		}
	}
}

// took is how long the entry took. Original agents tell how long the whole run did, and
// nothing of its parts: that is no less.
func took(r *check.Result, entry string) float64 {
	if ms, ok := r.TookMs[entry]; ok {
		return ms
	}
	return r.LatencyMs
}

// Slow judges how long collectors took by the bounds, given by entry. One that took as
// long as a bound, or longer, makes the run that bad, unless it was worse already, and its
// object gets the member _latencyMs.
func Slow(bounds map[string]check.Latency, r *check.Result) {
	for _, entry := range slices.Sorted(maps.Keys(bounds)) {
		ms, by := took(r, entry), bounds[entry]
		status, bound := check.Healthy, int64(0)
		switch {
		case by.UnhealthyMs > 0 && ms >= float64(by.UnhealthyMs):
			status, bound = check.Unhealthy, by.UnhealthyMs
		case by.DegradedMs > 0 && ms >= float64(by.DegradedMs):
			status, bound = check.Degraded, by.DegradedMs
		}
		if check.Worst(r.Status, status) != r.Status {
			r.Status = status
			r.Message = fmt.Sprintf("Check %s: collector %s took %.0f ms, and %d ms are too many", status, entry, ms, bound)
		}
		found := readObject(r.Metadata.Collectors[entry])
		if found == nil {
			continue // it reported nothing
		}
		r.Metadata.Collectors[entry] = found.with("_latencyMs", json.RawMessage(fmt.Sprintf("%.3f", ms))).text()
	}
}

// judge adds the outcomes to the object and returns the first failure's text.
func (d *document) judge(assertions []check.Assertion, explain bool) string {
	text := []byte{'['}
	var failed string
	for i, a := range assertions {
		o := outcome{Field: a.Field, JSONPath: a.JSONPath, Operator: a.Operator, Value: a.Value, Expression: a.Expression}
		var got string
		o.Message, got = d.outcome(a, explain)
		o.Passed = o.Message == ""
		if explain {
			o.Got = got
		}
		if i > 0 {
			text = append(text, ',')
		}
		text = o.append(text)
		if failed == "" {
			failed = o.Message
		}
	}
	d.raw = d.raw.with(keyOutcomes, append(text, ']')).without(keyFailed)
	if failed != "" {
		d.raw = d.raw.with(keyFailed, appendText(nil, failed))
	}
	return failed
}

// outcome is "" if the assertion holds, else the failure's text; and what was found, where
// it is asked for.
func (d *document) outcome(a check.Assertion, explain bool) (failure, got string) {
	if a.Expression != "" {
		return d.express(a.Expression, explain)
	}
	failure, actual := d.evaluate(a)
	if explain {
		got = show(actual)
	}
	return failure, got
}

// onlyError reports whether the collector failed before it found anything.
func onlyError(found object) bool {
	failed := found.get("_collectorError") != nil
	for _, m := range found {
		switch string(m.name) {
		case "error":
			failed = true
		case "_collectorId", "_collectorError", keyOutcomes, keyFailed:
		default:
			return false
		}
	}
	return failed
}
