package automation

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/internal/entity"
)

// maxQueued bounds the queue of mode queued; a firing beyond it is skipped, and says so.
const maxQueued = 1000

// World is all that the engine sees.
type World struct {
	Now    time.Time
	States States
	Memory Memory
}

// Decide says what an event means to the programs: one decision for each trigger that
// it concerns, in order. Errors are only those of States and Memory. The decisions are
// to be written down before the next event is decided.
func Decide(w World, programs []*Program, event entity.Event) ([]Decision, error) {
	var all []Decision
	for _, p := range programs {
		if !p.automation.Enabled {
			continue
		}
		d := decider{World: w, program: p}
		for _, t := range p.triggers {
			if t.held != nil {
				if err := d.disarm(t, event); err != nil {
					return nil, err
				}
			}
			if t.event == event.Type && t.timer == nil {
				if err := d.decide(t, event); err != nil {
					return nil, err
				}
			}
		}
		all = append(all, d.decisions...)
	}
	return all, nil
}

// DecideTimer says what a due cron or interval trigger means; event is TimerEvent's.
func DecideTimer(w World, p *Program, trigger string, event entity.Event) (Decision, error) {
	d := decider{World: w, program: p}
	t := p.trigger(trigger)
	if t == nil || t.timer == nil {
		return Decision{At: w.Now, Automation: p.automation.ID, Trigger: trigger, Outcome: Erroneous, Reason: "there is no such timer any more"}, nil
	}
	if err := d.decide(t, event); err != nil {
		return Decision{}, err
	}
	return d.decisions[0], nil
}

// DecideDwell says what becomes of a dwell that is due: it fires, unless the entity has
// become another meanwhile or a condition is false. The dwell is over in any case.
func DecideDwell(w World, p *Program, dwell Dwell) (Decision, error) {
	d := decider{World: w, program: p}
	out := Decision{
		At: w.Now, Automation: p.automation.ID, Trigger: dwell.Trigger, ContextKey: dwell.ContextKey,
		Event: dwell.Event.Seq, Outcome: Disarmed,
	}
	t := p.trigger(dwell.Trigger)
	if t == nil || t.held == nil || !p.automation.Enabled {
		out.Reason = "the automation is disabled, or has no such trigger any more"
		return out, nil
	}
	state, _, err := w.States.State(dwell.Event.Kind, dwell.Event.EntityID)
	if err != nil {
		return out, fmt.Errorf("reading %s %s: %w", dwell.Event.Kind, dwell.Event.EntityID, err)
	}
	// Kinds whose states are not kept are asked about in events alone, and so are numbers,
	// which are no states. That an entity was removed is an event as well.
	if state != nil && t.numeric == nil {
		now, err := json.Marshal(state)
		if err != nil {
			return out, fmt.Errorf("reading %s %s: %w", dwell.Event.Kind, dwell.Event.EntityID, err)
		}
		if same, why := stays(dwell.Event, now); !same {
			out.Reason = why
			return out, nil
		}
	}
	s := d.scope(t, dwell.Event)
	if err := d.fire(t, s, &out); err != nil {
		return out, err
	}
	return out, nil
}

// DecideManual starts a run that a person wants: filter, window, for and conditions are
// not asked, the mode is. from, the trigger that it is to look like, may be "".
func DecideManual(w World, p *Program, from string, event entity.Event) (Decision, error) {
	d := decider{World: w, program: p}
	t := p.trigger(from)
	if t == nil {
		t = &trigger{id: "manual"}
	}
	out := Decision{At: w.Now, Automation: p.automation.ID, Trigger: t.id, ContextKey: event.EntityID, Event: event.Seq}
	return out, d.admit(t, event, &out)
}

// decider decides one event for one program.
type decider struct {
	World
	program   *Program
	decisions []Decision
}

func (d *decider) scope(t *trigger, event entity.Event) *scope {
	return &scope{now: d.Now, states: d.States, trigger: t.id, event: event}
}

func (d *decider) decision(t *trigger, event entity.Event) Decision {
	return Decision{At: d.Now, Automation: d.program.automation.ID, Trigger: t.id, ContextKey: event.EntityID, Event: event.Seq}
}

// disarm ends the dwell of the event's entity when it is not as it was (M56).
func (d *decider) disarm(t *trigger, event entity.Event) error {
	dwell, err := d.Memory.Dwell(d.program.automation.ID, t.id, event.EntityID)
	if err != nil {
		return fmt.Errorf("reading the timer of %s: %w", t.id, err)
	}
	if dwell == nil || dwell.Event.Kind != event.Kind || event.Seq != 0 && event.Seq <= dwell.Event.Seq {
		return nil
	}
	same, why := stays(dwell.Event, event.Next)
	if t.numeric != nil {
		s := d.scope(t, event)
		if ok, _ := t.numeric.about(s); event.Type != t.event || !ok {
			return nil
		}
		same, why = t.matches(s)
	}
	if !same {
		out := d.decision(t, event)
		out.Outcome, out.Reason = Disarmed, why
		d.decisions = append(d.decisions, out)
	}
	return nil
}

// stays tells whether an entity is still as it became with an event. What counts is its
// status when it has one, and else the fields that the event changed: that a lost
// satellite's socket closes too does not end the wait for its return.
func stays(event entity.Event, next json.RawMessage) (bool, string) {
	var was, is map[string]any
	_ = json.Unmarshal(event.Next, &was) // null and what is none are absent
	_ = json.Unmarshal(next, &is)
	switch {
	case was == nil && is == nil:
		return true, ""
	case is == nil:
		return false, "it is gone"
	case was == nil:
		return false, "it is there again"
	}
	fields := event.Changed
	if _, ok := was["status"]; ok {
		fields = []string{"status"}
	}
	for _, f := range fields {
		if a, b := shortJSON(was[f]), shortJSON(is[f]); a != b {
			return false, fmt.Sprintf("its %s became %s, before the time was over", f, b)
		}
	}
	return true, ""
}

// decide leads an event through the gates of spec D.2, in their order.
func (d *decider) decide(t *trigger, event entity.Event) error {
	s := d.scope(t, event)
	out := d.decision(t, event)
	err := d.gates(t, s, &out)
	if err == nil && s.failed != nil {
		err = s.failed
	}
	d.decisions = append(d.decisions, out)
	return err
}

func (d *decider) gates(t *trigger, s *scope, out *Decision) error {
	path := func(field string) string { return fmt.Sprintf("triggers[%d].%s", t.index, field) }
	if t.matches != nil {
		ok, why := t.matches(s)
		if !ok {
			out.Because = append(out.Because, explanation(path("config"), "config", false, nil, func() string { return why }))
			out.Outcome, out.Reason = Filtered, "the trigger's config does not match"
			return nil
		}
	}
	if t.filter != nil {
		ok, err := t.filter.bool(s)
		if s.failed != nil {
			return s.failed
		}
		out.Because = append(out.Because, explanation(path("filter"), t.filter.text, ok, err, func() string { return t.filter.why(s) }))
		switch {
		case err != nil:
			out.Outcome, out.Reason = Erroneous, "the filter failed: "+err.Error()
			return nil
		case !ok:
			out.Outcome, out.Reason = Filtered, "the filter is false"
			return nil
		}
	}
	if t.window != nil {
		if full, err := d.window(t, s, out); err != nil || !full {
			return err
		}
	}
	if t.held != nil {
		return d.arm(t, s, out)
	}
	return d.fire(t, s, out)
}

// window counts, and tells whether there were as many as it takes.
func (d *decider) window(t *trigger, s *scope, out *Decision) (bool, error) {
	out.Partition = s.event.EntityID
	if t.partitionBy != nil {
		// Null, empty and errors count under the context (spec D.2).
		if v, err := t.partitionBy.eval(s); err == nil {
			if text, err := written(v); err == nil && text != "" && text != "null" {
				out.Partition = text[:min(len(text), 200)]
			}
		}
		if s.failed != nil {
			return false, s.failed
		}
	}
	begin := s.event.At.Add(-time.Duration(t.window.Minutes) * time.Minute)
	times, _, err := d.Memory.Occurrences(d.program.automation.ID, t.id, out.Partition, begin)
	if err != nil {
		return false, fmt.Errorf("reading the window of %s: %w", t.id, err)
	}
	count := 1 + len(times)
	out.Crossed = count >= t.window.Count
	said := fmt.Sprintf("%d of %d within %d minutes", count, t.window.Count, t.window.Minutes)
	out.Because = append(out.Because, Explanation{
		Path: fmt.Sprintf("triggers[%d].window", t.index), Text: "window", Result: strconv.FormatBool(out.Crossed), Why: said,
	})
	switch {
	case !out.Crossed:
		out.Outcome, out.Reason = Counted, said
		return false, nil
	case t.window.Refire == "once" && count > t.window.Count:
		// The count was reached by an earlier event, and has not fallen below since.
		out.Outcome, out.Reason = Counted, said+"; it fired when the count was reached"
		return false, nil
	}
	return true, nil
}

// arm begins the trigger's dwell. One that goes on keeps its time.
func (d *decider) arm(t *trigger, s *scope, out *Decision) error {
	out.Outcome = Armed
	dwell, err := d.Memory.Dwell(d.program.automation.ID, t.id, s.event.EntityID)
	if err != nil {
		return fmt.Errorf("reading the timer of %s: %w", t.id, err)
	}
	ended := slices.ContainsFunc(d.decisions, func(o Decision) bool { return o.Outcome == Disarmed && o.Trigger == t.id })
	if dwell != nil && !ended {
		out.Reason = "it is waiting already, until " + dwell.Due.UTC().Format(time.RFC3339)
		return nil
	}
	long, err := t.held.value(s)
	if s.failed != nil {
		return s.failed
	}
	if err != nil {
		d.fails(t, s.event, out, "for failed: "+err.Error())
		return nil
	}
	due := s.event.At.Add(long)
	out.Arm = &Dwell{Automation: d.program.automation.ID, Trigger: t.id, ContextKey: s.event.EntityID, Due: due, Event: s.event}
	out.Reason = "it fires at " + due.UTC().Format(time.RFC3339) + " if nothing changes until then"
	return nil
}

// fire asks the conditions and the mode.
func (d *decider) fire(t *trigger, s *scope, out *Decision) error {
	for _, c := range d.program.conditions {
		ok, err := c.holds(s, &out.Because)
		switch {
		case s.failed != nil:
			return s.failed
		case err != nil:
			d.fails(t, s.event, out, fmt.Sprintf("%s failed: %s", c.path, err.Error()))
			return nil
		case !ok:
			out.Outcome, out.Reason = Refused, c.path+" is false"
			return nil
		}
	}
	return d.admit(t, s.event, out)
}

// fails makes a run that has failed before it began, so that people see why nothing was
// done. A filter that fails makes none: it is asked of events that nobody meant, too.
func (d *decider) fails(t *trigger, event entity.Event, out *Decision, reason string) {
	run := d.run(t, event)
	run.Status, run.Reason, run.EndedAt = RunFailed, clip(reason), &d.Now
	out.Outcome, out.Reason, out.Run = Erroneous, reason, &run
}

func (d *decider) run(t *trigger, event entity.Event) Run {
	a := d.program.automation
	key := a.ID + "/" + t.id + "/" + identity(event)
	return Run{
		ID:         uuid.NewSHA1(namespace, []byte(key)).String(),
		Automation: a.ID, Revision: a.Revision, Trigger: t.id, ContextKey: event.EntityID,
		Status: RunRunning, Event: event, Key: key, CreatedAt: d.Now,
	}
}

// admit lets a run begin as the mode says.
func (d *decider) admit(t *trigger, event entity.Event, out *Decision) error {
	p := d.program
	active, err := d.active(event.EntityID)
	if err != nil {
		return err
	}
	run := d.run(t, event)
	out.Outcome, out.Reason, out.Run = Fired, "everything it asks for is so", &run
	// What is not begun is a run all the same, so that people see that it was not.
	skip := func(why string, args ...any) {
		run.Status, run.Reason, run.EndedAt = RunSkipped, fmt.Sprintf(why, args...), &d.Now
		out.Outcome, out.Reason = Skipped, run.Reason
	}
	switch p.automation.Definition.Mode {
	case ModeRestart:
		for _, r := range active {
			out.Cancel = append(out.Cancel, r.ID)
		}
		if len(active) > 0 {
			out.Reason = "it begins anew, and what ran is cancelled"
		}
	case ModeParallel:
		if len(active) >= p.maxRuns {
			skip("%d runs go on, and max_runs is %d", len(active), p.maxRuns)
		}
	case ModeQueued:
		switch {
		case len(active) >= p.maxRuns+maxQueued:
			skip("%d runs wait already", maxQueued)
		case len(active) >= p.maxRuns:
			out.Outcome, out.Reason = Queued, fmt.Sprintf("it is number %d in the queue", len(active)-p.maxRuns+1)
			run.Status, run.Reason = RunPending, "waits for its turn"
		}
	default:
		if len(active) > 0 {
			skip("a run goes on, and the mode is single")
		}
	}
	if out.Outcome == Fired {
		run.StartedAt = &d.Now
	}
	return nil
}

// namespace makes runs' ids of their keys, so that the same firing is the same run.
var namespace = uuid.MustParse("6f0e7c1e-9a52-4f8e-8f0b-5d4b8f7a2c31")

// identity names an event; two of one change differ in their type.
func identity(e entity.Event) string {
	id := e.ChangeID
	if id == "" {
		id = strconv.FormatInt(e.Seq, 10) + "@" + e.At.UTC().Format(time.RFC3339Nano)
	}
	return e.Type + "/" + e.EntityID + "/" + id
}

// active are the runs among which the mode looks, with what this event started already.
func (d *decider) active(contextKey string) ([]Run, error) {
	active, err := d.Memory.Active(d.program.automation.ID, d.program.scopeOf(contextKey))
	if err != nil {
		return nil, fmt.Errorf("reading the runs of %s: %w", d.program.automation.Name, err)
	}
	if !slices.ContainsFunc(d.decisions, func(o Decision) bool { return o.Run != nil || len(o.Cancel) > 0 }) {
		return active, nil
	}
	active = slices.Clone(active)
	for _, o := range d.decisions {
		active = slices.DeleteFunc(active, func(r Run) bool { return slices.Contains(o.Cancel, r.ID) })
		if o.Run != nil && !o.Run.Status.Ended() {
			active = append(active, *o.Run)
		}
	}
	return slices.DeleteFunc(active, func(r Run) bool { return d.program.scopeOf(r.ContextKey) != d.program.scopeOf(contextKey) }), nil
}

// scopeOf is the context among whose runs the mode looks, "" for all.
func (p *Program) scopeOf(contextKey string) string {
	if p.automation.Definition.Scope == ScopeContext {
		return contextKey
	}
	return ""
}

// Promote gives the pending runs (mode queued) that may begin now, of those that have
// not ended, oldest first.
func (p *Program) Promote(active []Run) []Run {
	scope := func(r Run) string { return p.scopeOf(r.ContextKey) }
	going := map[string]int{}
	for _, r := range active {
		if r.Status == RunRunning || r.Status == RunWaiting {
			going[scope(r)]++
		}
	}
	var next []Run
	for _, r := range active {
		if r.Status == RunPending && going[scope(r)] < p.maxRuns {
			going[scope(r)]++
			next = append(next, r)
		}
	}
	return next
}
