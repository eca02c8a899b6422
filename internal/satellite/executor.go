package satellite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/assertion"
	"github.com/perigee-monitoring/perigee/internal/probe"
	"github.com/perigee-monitoring/perigee/protocol"
)

// Prober carries checks out; *probe.Prober is one.
type Prober interface {
	// Execute runs the assignment once, in the environment if it is not nil. It
	// returns when the context ends at the latest, always with a result. lease gets the
	// secrets of one collector entry; nil has none.
	Execute(ctx context.Context, a *protocol.Assignment, env *check.Environment, lease probe.Lease) check.Result
	// Check says why the assignment cannot be run here, nil if it can.
	Check(a *protocol.Assignment) error
	// Inventory names what can be run here, and why the rest cannot.
	Inventory() protocol.Inventory
}

// executor carries out one run from start to record.
type executor struct {
	prober  Prober
	timeout time.Duration // Config.RunTimeout
	spool   *spool
	log     *slog.Logger
	now     func() time.Time
	// complain tells the core of a failure of ours.
	complain func(protocol.StrategyError)
	recent   *recent
	secrets  *secrets
	// skipped counts a slot that could not be run after all.
	skipped func(protocol.SkipReason, int64)
	// observer explains failures that are ours; nil explains none.
	observer *observer
}

// maxRunTime bounds every run.
const maxRunTime = 10 * time.Minute

// deadline of a run: the interval, but not less than the configured timeout, so
// that a strategy's own, shorter timeout speaks first and in its own words. It is
// the last fence (spec M73), for whatever knows no time of its own.
func (x *executor) deadline(w *work) time.Duration {
	if w.within > 0 {
		return w.within
	}
	return min(max(w.interval, x.timeout), maxRunTime)
}

// run carries out one slot and spools its record. When ctx ends the run is given
// up without one: it was the satellite that stopped, not the target, and the slot
// is found missing at the next start. Nobody would miss a run that was asked for, so
// that one is answered.
//
// A run that needs secrets while there is no core to give them is a skip: it says
// nothing about the target. What another collector found to be wrong is kept.
//
// A run that fails while this satellite is ill in a way that explains it is recorded
// and marked: it says nothing about the target either. So is one that the satellite's own
// operator does not allow.
func (x *executor) run(ctx context.Context, key check.Key, w *work, slot int64) {
	began := time.Now()
	l := &lease{secrets: x.secrets, configID: w.assignment.ConfigID}
	r, err := x.execute(ctx, w, l)
	ended := x.now()
	inconclusive := ""
	if err == nil {
		inconclusive = x.inconclusive(ctx, r, began)
	}
	if ctx.Err() != nil {
		if w.asked {
			x.skip(w, key, slot, protocol.SkipDown)
		}
		return
	}
	if errors.Is(err, errNoCore) || err == nil && l.isCutOff() && r.Status != check.Unhealthy {
		x.skip(w, key, slot, protocol.SkipSecrets)
		return
	}
	result := record(w, r, slot, ended)
	result.Inconclusive = inconclusive
	if err == nil {
		err = encodable(result)
	}
	if err != nil {
		x.fault(w, err)
		x.skip(w, key, slot, protocol.SkipDown)
		return
	}
	x.recent.add(w, result) // first: who has heard of the result finds it on the status page
	x.append(w, protocol.Record{Result: result})
}

// inconclusive is why a run that was not healthy says nothing about its target, "" when it
// does.
func (x *executor) inconclusive(ctx context.Context, r check.Result, began time.Time) string {
	switch {
	case r.Blame&check.BlamePolicy != 0:
		return check.Truncate(r.Message, protocol.MaxName)
	case r.Status != check.Healthy && x.observer != nil:
		return x.observer.explain(ctx, r.Blame, began)
	}
	return ""
}

func (x *executor) append(w *work, r protocol.Record) {
	if w.asked {
		x.spool.AppendAsked(r)
		return
	}
	x.spool.Append(r)
}

func (x *executor) skip(w *work, key check.Key, slot int64, reason protocol.SkipReason) {
	x.append(w, protocol.Record{Skip: newSkip(key, slot, slot, 1, reason)})
	x.skipped(reason, 1)
}

// execute probes, masks what was leased, and judges. A panic in there is ours, and
// an error.
func (x *executor) execute(ctx context.Context, w *work, l *lease) (r check.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			cause := l.redactor().String(fmt.Sprint(p))
			x.log.Error("a run panicked", "strategy", w.assignment.StrategyID, "panic", cause, "stack", string(debug.Stack()))
			err = fmt.Errorf("satellite fault: the run panicked: %s", cause)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, x.deadline(w))
	defer cancel()
	a, err := l.resolve(ctx, w.assignment)
	if refused, ok := errors.AsType[*refusedSecret](err); ok {
		return withoutSecrets(refused), nil
	}
	if err != nil {
		return r, err
	}
	r = x.prober.Execute(ctx, a, w.environment, l.env)
	l.redactor().Result(&r)
	if w.assert {
		judge(w.assignment, &r)
	}
	return r, nil
}

// judge evaluates the assignment's assertions and takes out what must not be kept.
func judge(a *protocol.Assignment, r *check.Result) {
	assertions, collectorIDs := assertionsOf(a)
	assertion.Judge(assertions, collectorIDs, r)
	assertion.Slow(boundsOf(a), r)
}

// boundsOf gives how long collectors may take, by entry.
func boundsOf(a *protocol.Assignment) map[string]check.Latency {
	var bounds map[string]check.Latency
	for _, c := range a.Collectors {
		if c.Latency == nil {
			continue
		}
		if bounds == nil {
			bounds = map[string]check.Latency{}
		}
		bounds[c.ID] = *c.Latency
	}
	return bounds
}

// assertionsOf gives the assertions and the qualified collector ids, by entry.
func assertionsOf(a *protocol.Assignment) (assertions map[string][]check.Assertion, collectorIDs map[string]string) {
	assertions = make(map[string][]check.Assertion, len(a.Collectors))
	collectorIDs = make(map[string]string, len(a.Collectors))
	for _, c := range a.Collectors {
		assertions[c.ID], collectorIDs[c.ID] = c.Assertions, c.CollectorID
	}
	return assertions, collectorIDs
}

// fault reports a failure of the satellite, which is no result.
func (x *executor) fault(w *work, err error) {
	x.log.Error("a run could not be carried out", "strategy", w.assignment.StrategyID,
		"check", w.assignment.ConfigID, "system", w.assignment.SystemID, "error", err)
	x.recent.fault(err)
	x.complain(protocol.StrategyError{StrategyID: w.assignment.StrategyID, Message: check.Truncate(err.Error(), protocol.MaxText)})
}

// record is the run as it travels. Latency is whole milliseconds, because the
// original core stores nothing else (A.12); the time is that of completion.
func record(w *work, r check.Result, slot int64, ended time.Time) *protocol.Result {
	r.LatencyMs = math.Round(r.LatencyMs)
	r.Message = check.Truncate(r.Message, protocol.MaxText)
	r.Metadata.Error = check.Truncate(r.Metadata.Error, protocol.MaxText)
	result := &protocol.Result{
		ConfigID:   w.assignment.ConfigID,
		SystemID:   w.assignment.SystemID,
		Status:     r.Status,
		LatencyMs:  &r.LatencyMs,
		Result:     &r,
		ExecutedAt: ended.UTC().Format("2006-01-02T15:04:05.000Z"),
		Slot:       slot,
		Revision:   w.revision,
	}
	if w.environment != nil {
		result.EnvironmentID = protocol.Of(w.environment.ID)
	}
	return result
}

// encodable says why a result cannot travel. Asked here, because behind the
// spool it would stop those that follow it. Evidence that is too large is left out,
// which the result says.
func encodable(r *protocol.Result) error {
	size := 0
	for _, found := range r.Result.Metadata.Collectors {
		size += len(found)
	}
	if size > protocol.MaxResult {
		r.Result.Metadata.Collectors = nil
		r.Result.Metadata.Error = check.Truncate(fmt.Sprintf("evidence of %d bytes left out: the limit is %d. %s",
			size, protocol.MaxResult, r.Result.Metadata.Error), protocol.MaxText)
	}
	if err := r.Validate(); err != nil {
		return fmt.Errorf("satellite fault: %w", err)
	}
	if _, err := json.Marshal(r); err != nil {
		return fmt.Errorf("satellite fault: the result cannot be encoded: %w", err)
	}
	return nil
}
