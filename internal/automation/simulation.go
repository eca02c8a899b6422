package automation

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
)

// maxSimulated bounds what a simulation goes through: events, timers and wakes.
const maxSimulated = 1_000_000

// simulation is the runner without a database and with a clock of its own: the same
// decisions and the same runs, in memory.
type simulation struct {
	now      time.Time
	states   *overlay
	programs []*Program
	dwells   []*Dwell
	windows  map[string][]time.Time
	crossed  map[string]bool
	timers   []*simulatedTimer
	runs     []*simulatedRun // that have not ended
	// do says how an action ends; one that it leaves running stays so.
	do func(run Run, step Step) Step
	// decided and ended are told of each decision and each run.
	decided func(Decision)
	ended   func(Run, []Step)
	left    int
}

type simulatedTimer struct {
	program *Program
	Timer
	due time.Time
}

type simulatedRun struct {
	Run
	program *Program
	journal journal
	wake    *time.Time
	refs    []Ref
	events  []string
}

func newSimulation(programs []*Program, from time.Time, states States) *simulation {
	m := &simulation{
		now: from, states: &overlay{base: states, changed: map[Ref]known{}}, programs: programs,
		windows: map[string][]time.Time{}, crossed: map[string]bool{}, left: maxSimulated,
	}
	for _, p := range programs {
		for _, t := range p.Timers() {
			m.timers = append(m.timers, &simulatedTimer{program: p, Timer: t, due: t.Next(from)})
		}
	}
	return m
}

// overlay are states that events change.
type overlay struct {
	base    States
	changed map[Ref]known
}

type known struct {
	state entity.State
	since time.Time
}

func (o *overlay) State(kind, id string) (entity.State, time.Time, error) {
	if k, ok := o.changed[Ref{kind, id}]; ok {
		return k.state, k.since, nil
	}
	if o.base == nil {
		return nil, time.Time{}, nil
	}
	return o.base.State(kind, id)
}

func (o *overlay) apply(e entity.Event) error {
	var next entity.State
	if len(e.Next) > 0 {
		if err := json.Unmarshal(e.Next, &next); err != nil {
			return fmt.Errorf("event %d: its state cannot be read: %w", e.Seq, err)
		}
	}
	before, since, err := o.State(e.Kind, e.EntityID)
	if err != nil {
		return err
	}
	_, has := next["status"]
	if before == nil || !has || shortJSON(before["status"]) != shortJSON(next["status"]) {
		since = e.At
	}
	o.changed[Ref{e.Kind, e.EntityID}] = known{next, since}
	return nil
}

func (m *simulation) world() World { return World{Now: m.now, States: m.states, Memory: m} }

// Dwell implements Memory.
func (m *simulation) Dwell(automation, trigger, contextKey string) (*Dwell, error) {
	for _, d := range m.dwells {
		if d.Automation == automation && d.Trigger == trigger && d.ContextKey == contextKey {
			return d, nil
		}
	}
	return nil, nil
}

func windowKey(automation, trigger, partition string) string {
	return automation + "\x00" + trigger + "\x00" + partition
}

// Occurrences implements Memory.
func (m *simulation) Occurrences(automation, trigger, partition string, since time.Time) ([]time.Time, bool, error) {
	key := windowKey(automation, trigger, partition)
	times := m.windows[key]
	i := slices.IndexFunc(times, since.Before)
	if i < 0 {
		i = len(times)
	}
	m.windows[key] = times[i:]
	return slices.Clone(times[i:]), m.crossed[key], nil
}

// Active implements Memory.
func (m *simulation) Active(automation, contextKey string) ([]Run, error) {
	var all []Run
	for _, r := range m.runs {
		if r.Automation == automation && (contextKey == "" || r.ContextKey == contextKey) {
			all = append(all, r.Run)
		}
	}
	return all, nil
}

// event lets something happen.
func (m *simulation) event(e entity.Event) error {
	if err := m.until(e.At); err != nil {
		return err
	}
	if e.At.After(m.now) {
		m.now = e.At
	}
	if err := m.states.apply(e); err != nil {
		return err
	}
	waiting := slices.Clone(m.runs)
	decisions, err := Decide(m.world(), m.programs, e)
	if err != nil {
		return err
	}
	for _, d := range decisions {
		if err := m.apply(d, e.At); err != nil {
			return err
		}
	}
	for _, r := range waiting {
		concerned := slices.Contains(r.events, e.Type) || slices.ContainsFunc(r.refs, func(ref Ref) bool {
			return ref.Kind == e.Kind && (ref.ID == "*" || ref.ID == e.EntityID)
		})
		if concerned && !r.Status.Ended() {
			if err := m.advance(r, &e); err != nil {
				return err
			}
		}
	}
	return nil
}

// apply does what a decision says.
func (m *simulation) apply(d Decision, at time.Time) error {
	if m.decided != nil {
		m.decided(d)
	}
	for _, id := range d.Cancel {
		for _, r := range slices.Clone(m.runs) {
			if r.ID == id {
				m.end(r, RunCancelled, "another began in its place")
			}
		}
	}
	if d.Outcome == Disarmed {
		m.dwells = slices.DeleteFunc(m.dwells, func(w *Dwell) bool {
			return w.Automation == d.Automation && w.Trigger == d.Trigger && w.ContextKey == d.ContextKey
		})
	}
	if d.Arm != nil {
		m.dwells = append(m.dwells, d.Arm)
	}
	if d.Partition != "" {
		key := windowKey(d.Automation, d.Trigger, d.Partition)
		m.windows[key] = append(m.windows[key], at)
		m.crossed[key] = d.Crossed
	}
	if d.Run == nil {
		return nil
	}
	i := slices.IndexFunc(m.programs, func(p *Program) bool { return p.automation.ID == d.Automation })
	r := &simulatedRun{Run: *d.Run, program: m.programs[i]}
	if r.Status.Ended() {
		m.end(r, r.Status, r.Reason)
		return nil
	}
	m.runs = append(m.runs, r)
	if r.Status == RunPending {
		return nil
	}
	return m.advance(r, nil)
}

// advance goes on with a run until it waits or has ended.
func (m *simulation) advance(r *simulatedRun, e *entity.Event) error {
	for !r.Status.Ended() {
		if m.left--; m.left < 0 {
			return errTooMuch
		}
		progress, err := r.program.Advance(m.world(), r.Run, r.journal.steps, e)
		if err != nil {
			return err
		}
		e = nil
		for _, step := range progress.Steps {
			r.journal.put(step)
		}
		r.Status, r.Reason, r.wake, r.refs, r.events = progress.Status, progress.Reason, progress.Wake, progress.Refs, progress.Events
		if r.Status.Ended() {
			m.end(r, r.Status, r.Reason)
			return m.promote(r.program)
		}
		done := false
		for _, step := range progress.Do {
			after := m.do(r.Run, step)
			if after.Status != StepRunning {
				after.EndedAt = &m.now
				done = true
			}
			r.journal.put(after)
		}
		if !done {
			return nil
		}
	}
	return nil
}

func (m *simulation) end(r *simulatedRun, status RunStatus, reason string) {
	at := m.now
	r.Status, r.Reason, r.EndedAt, r.wake = status, reason, &at, nil
	m.runs = slices.DeleteFunc(m.runs, func(o *simulatedRun) bool { return o == r })
	if m.ended != nil {
		m.ended(r.Run, r.journal.steps)
	}
}

// promote lets runs of a queue begin.
func (m *simulation) promote(p *Program) error {
	active, err := m.Active(p.automation.ID, "")
	if err != nil {
		return err
	}
	for _, next := range p.Promote(active) {
		i := slices.IndexFunc(m.runs, func(r *simulatedRun) bool { return r.ID == next.ID })
		if i < 0 {
			continue // it ran meanwhile
		}
		r, at := m.runs[i], m.now
		r.Status, r.Reason, r.StartedAt = RunRunning, "", &at
		if err := m.advance(r, nil); err != nil {
			return err
		}
	}
	return nil
}

// until lets everything happen that is due up to a moment, in the order of time.
func (m *simulation) until(end time.Time) error {
	for {
		if m.left--; m.left < 0 {
			return errTooMuch
		}
		var due time.Time
		var happen func() error
		first := func(at time.Time, fn func() error) {
			if !at.IsZero() && !at.After(end) && (happen == nil || at.Before(due)) {
				due, happen = at, fn
			}
		}
		for _, d := range m.dwells {
			first(d.Due, func() error { return m.dwellDue(d) })
		}
		for _, t := range m.timers {
			first(t.due, func() error { return m.timerDue(t) })
		}
		for _, r := range m.runs {
			if r.wake != nil {
				first(*r.wake, func() error { return m.advance(r, nil) })
			}
		}
		if happen == nil {
			if end.After(m.now) {
				m.now = end
			}
			return nil
		}
		if due.After(m.now) {
			m.now = due
		}
		if err := happen(); err != nil {
			return err
		}
	}
}

func (m *simulation) dwellDue(d *Dwell) error {
	m.dwells = slices.DeleteFunc(m.dwells, func(o *Dwell) bool { return o == d })
	i := slices.IndexFunc(m.programs, func(p *Program) bool { return p.automation.ID == d.Automation })
	decision, err := DecideDwell(m.world(), m.programs[i], *d)
	if err != nil {
		return err
	}
	return m.apply(decision, m.now)
}

func (m *simulation) timerDue(t *simulatedTimer) error {
	at := t.due
	t.due = t.Next(at)
	if !t.program.automation.Enabled {
		return nil
	}
	decision, err := DecideTimer(m.world(), t.program, t.Trigger, t.program.TimerEvent(t.Trigger, at))
	if err != nil {
		return err
	}
	return m.apply(decision, at)
}
