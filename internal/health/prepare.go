package health

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/assertion"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/protocol"
)

// Origin is the session that a report came through.
type Origin struct {
	SatelliteID string
	// Source is "name (region)" of the satellite, as the session began.
	Source string
	// Evaluated: the satellite evaluated assertions and dropped ephemeral fields.
	Evaluated bool
	// Slots: the satellite names the slot of each result.
	Slots bool
	// Observes: the satellite says which runs are inconclusive.
	Observes bool
	// ClockOffsetMs and ClockUncertaintyMs are what its last heartbeat said of its clock;
	// nil when that is not known.
	ClockOffsetMs, ClockUncertaintyMs *float64
}

// corrected is a time of the satellite's clock by the core's, where the one is known to
// be off. Within the uncertainty, correcting would make as much wrong as right.
func (o *Origin) corrected(t time.Time) time.Time {
	if o.ClockOffsetMs == nil || o.ClockUncertaintyMs == nil || math.Abs(*o.ClockOffsetMs) <= *o.ClockUncertaintyMs {
		return t
	}
	return t.Add(time.Duration(*o.ClockOffsetMs * float64(time.Millisecond)))
}

const (
	// maxDetail bounds the stored evidence of one run.
	maxDetail = 256 << 10
	// maxMessage bounds the stored message of one run, in bytes.
	maxMessage = 2048
	// maxLatency is the largest latency that is believed: a day, in milliseconds.
	maxLatency = float64(24 * 60 * 60 * 1000)
)

// Prepare makes a run of a result: the key that makes repeats harmless, times
// that can be used, assertions evaluated where the satellite did not. a is the
// assignment it belongs to, nil when that was taken away meanwhile. An Invalid
// fault means that no repetition will make it acceptable.
func Prepare(o Origin, a *protocol.Assignment, r *protocol.Result, received time.Time) (Run, error) {
	received = received.UTC()
	executed, own := executedAt(r.ExecutedAt, received)
	slot, slotted := executed, o.Slots && r.Slot != 0
	if slotted {
		slot = time.UnixMilli(r.Slot).UTC()
	}
	if year := slot.Year(); year < 1970 || year > 9999 {
		return Run{}, fault.New(fault.Invalid, "the slot %d is not a time", r.Slot)
	}
	if own {
		executed = o.corrected(executed)
	}
	key := check.Key{CheckID: r.ConfigID, SystemID: r.SystemID, EnvironmentID: r.EnvironmentID.OrZero()}
	run := Run{
		RunID:         check.RunID(slot, o.SatelliteID, key),
		SatelliteID:   o.SatelliteID,
		CheckID:       r.ConfigID,
		SystemID:      r.SystemID,
		EnvironmentID: key.EnvironmentID,
		Status:        r.Status,
		LatencyMs:     latency(r),
		ExecutedAt:    executed,
		ReceivedAt:    received,
		Slot:          slot,
		Unslotted:     !slotted,
		Revision:      r.Revision,
		Source:        o.Source,

		ClockOffsetMs:      o.ClockOffsetMs,
		ClockUncertaintyMs: o.ClockUncertaintyMs,
	}
	if o.Observes && r.Status != check.Healthy {
		run.Inconclusive = check.Truncate(r.Inconclusive, maxMessage)
	}
	if r.Result == nil {
		return run, nil
	}
	evidence := r.Result
	if !o.Evaluated && a != nil {
		judge(a, evidence)
		run.Status = check.Worst(run.Status, evidence.Status)
	}
	run.Message = check.Truncate(evidence.Message, maxMessage)
	detail, err := json.Marshal(evidence)
	if err != nil {
		return Run{}, fault.Wrap(fault.Invalid, err, "the evidence cannot be stored")
	}
	if len(detail) > maxDetail {
		detail = withoutCollectors(evidence, len(detail))
	}
	run.Result = detail
	return run, nil
}

// judge evaluates the assignment's assertions and takes out what must not be kept.
func judge(a *protocol.Assignment, r *check.Result) {
	assertions := make(map[string][]check.Assertion, len(a.Collectors))
	collectorIDs := make(map[string]string, len(a.Collectors))
	var bounds map[string]check.Latency
	for _, c := range a.Collectors {
		assertions[c.ID], collectorIDs[c.ID] = c.Assertions, c.CollectorID
		if c.Latency != nil {
			if bounds == nil {
				bounds = map[string]check.Latency{}
			}
			bounds[c.ID] = *c.Latency
		}
	}
	assertion.Judge(assertions, collectorIDs, r)
	assertion.Slow(bounds, r)
}

// executedAt reads the satellite's time. One that cannot be read is replaced by
// the time of receipt (spec M6), and is not its own.
func executedAt(text string, received time.Time) (at time.Time, own bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00"} {
		if t, err := time.Parse(layout, text); err == nil && t.Year() >= 1970 {
			return t.UTC().Truncate(time.Microsecond), true
		}
	}
	return received.Truncate(time.Microsecond), false
}

// latency is the result's latency in whole milliseconds, nil when it has none
// that can be believed (spec M6).
func latency(r *protocol.Result) *int64 {
	ms := r.LatencyMs
	if ms == nil && r.Result != nil {
		ms = &r.Result.LatencyMs
	}
	if ms == nil || math.IsNaN(*ms) || *ms < 0 || *ms > maxLatency {
		return nil
	}
	rounded := int64(math.Round(*ms))
	return &rounded
}

// withoutCollectors keeps the verdict of a run whose evidence is too large, and
// says so in place of the evidence (spec M37).
func withoutCollectors(r *check.Result, size int) json.RawMessage {
	cut := *r
	cut.Metadata.Collectors = nil
	cut.Message = check.Truncate(r.Message, maxMessage)
	cut.Metadata.Error = check.Truncate(strings.TrimSpace(r.Metadata.Error+fmt.Sprintf(" [evidence of %d bytes left out: the limit is %d]", size, maxDetail)), maxMessage)
	detail, err := json.Marshal(cut)
	if err != nil { // strings and numbers only
		return nil
	}
	return detail
}

// PrepareSkip makes a skip of the satellite's report.
func PrepareSkip(o Origin, s *protocol.Skip, received time.Time) (Skip, error) {
	if s.Count <= 0 || s.To < s.From {
		return Skip{}, fault.New(fault.Invalid, "a skip covers at least one slot, and ends after it begins")
	}
	from := time.UnixMilli(s.From).UTC()
	key := check.Key{CheckID: s.ConfigID, SystemID: s.SystemID, EnvironmentID: s.EnvironmentID}
	return Skip{
		ID:            check.RunID(from, o.SatelliteID, key),
		SatelliteID:   o.SatelliteID,
		CheckID:       s.ConfigID,
		SystemID:      s.SystemID,
		EnvironmentID: s.EnvironmentID,
		From:          from,
		To:            time.UnixMilli(s.To).UTC(),
		Count:         s.Count,
		Reason:        s.Reason,
		ReceivedAt:    received.UTC(),
	}, nil
}
