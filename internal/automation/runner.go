package automation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

const (
	// decideAtOnce is how many events, timers or dwells one transaction decides.
	decideAtOnce = 200
	// runsAtOnce is how many runs one core goes on with at once. Others wait their turn.
	runsAtOnce = 128
	// runLease is until when a core that is not heard of keeps its runs.
	runLease = 15 * time.Second
	// runnerPoll is how often is looked without a bell, and runnerRest how long is rested
	// between two looks, so that events that come one by one are decided together.
	runnerPoll = 5 * time.Second
	runnerRest = 20 * time.Millisecond
	// lastGrace is how long actions may take when the core is stopping. What is cut off
	// then is in doubt.
	lastGrace = 5 * time.Second
	// keepRecord bounds how long is tried to write down what an action gave.
	keepRecord = 10 * time.Second
)

// TopicRuns is rung when runs have begun, gone on or ended. It says of none which, and
// is no event: nothing reacts to it but who looks at runs.
const TopicRuns = "automation-runs"

// Runner makes automations durable. An event is decided in the transaction that moves
// the cursor over it; a run is a row that is claimed for a time, and goes on from its
// journal, wherever its last owner stopped.
type Runner struct {
	store    Store
	recorder *entity.Recorder
	actions  Actions
	log      *slog.Logger
	rings    <-chan struct{}
	owner    string

	mu       sync.Mutex
	programs map[programKey]*Program // guarded by mu; nil for one that does not compile
	going    map[string]*ride        // guarded by mu; runs that this core goes on with
	moved    bool                    // a decision began or ended runs; owned by Run
	timed    string                  // the heads for which timers were made; owned by Run
	wake     chan struct{}
	commits  commits
}

type programKey struct {
	id       string
	revision int64
}

// NewRunner makes a runner; rings should ring for entity.TopicEvents.
func NewRunner(store Store, recorder *entity.Recorder, actions Actions, log *slog.Logger, rings <-chan struct{}) *Runner {
	return &Runner{
		store: store, recorder: recorder, actions: actions, log: log, rings: rings, owner: uuid.NewString(),
		programs: map[programKey]*Program{}, going: map[string]*ride{}, wake: make(chan struct{}, 1),
	}
}

// TakeOver takes all runs from whoever had them. It is for a core that is alone on its
// database, before it runs: it need not wait until the leases of its former life end.
func (r *Runner) TakeOver(ctx context.Context) error {
	if err := r.store.FreeAutomationRuns(ctx); err != nil {
		return fmt.Errorf("taking over the runs of automations: %w", err)
	}
	return nil
}

// Run decides and goes on with runs until ctx ends, and waits for what is being done.
func (r *Runner) Run(ctx context.Context) error {
	var carried sync.WaitGroup
	defer carried.Wait()
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		r.renew(ctx)
	}()
	defer func() { <-renewed }()
	for {
		wait := runnerPoll
		next, err := r.look(ctx, &carried)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			r.log.Error("automations could not be looked after", "error", err)
		default:
			wait = min(max(next, 0), runnerPoll)
		}
		timer := time.NewTimer(max(wait, runnerRest))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-r.rings:
		case <-r.wake:
		case <-timer.C:
		}
		timer.Stop()
		if !rest(ctx, runnerRest) {
			return nil
		}
	}
}

func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// look does everything that is due, and gives the time until something is.
func (r *Runner) look(ctx context.Context, carried *sync.WaitGroup) (time.Duration, error) {
	for {
		more, err := r.decide(ctx)
		if err != nil {
			return 0, fmt.Errorf("deciding events: %w", err)
		}
		if err := r.claim(ctx, carried); err != nil {
			return 0, fmt.Errorf("claiming runs: %w", err)
		}
		if !more {
			break
		}
	}
	r.mu.Lock()
	full := len(r.going) >= runsAtOnce
	r.mu.Unlock()
	if full {
		return time.Second, nil // whoever ends wakes us earlier
	}
	next, err := r.store.NextAutomation(ctx)
	if err != nil || next.IsZero() {
		return runnerPoll, err
	}
	now, err := r.store.Now(ctx)
	return next.Sub(now), err
}

// claim goes on with runs that are due, as many as there is room for.
func (r *Runner) claim(ctx context.Context, carried *sync.WaitGroup) error {
	r.mu.Lock()
	room := runsAtOnce - len(r.going)
	r.mu.Unlock()
	if room <= 0 {
		return nil // whoever ends wakes us
	}
	runs, err := r.store.ClaimAutomationRuns(ctx, r.owner, runLease, room)
	if err != nil {
		return err
	}
	for _, run := range runs {
		c := r.begin(ctx, run)
		if c == nil {
			continue
		}
		carried.Go(func() {
			last := c.carry()
			r.mu.Lock()
			full := len(r.going) >= runsAtOnce
			delete(r.going, run.ID)
			r.mu.Unlock()
			if !last || full {
				r.nudge()
			}
		})
	}
	return nil
}

func (r *Runner) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// renew keeps the leases of what this core goes on with, and cuts off what is its own no
// longer: it was cancelled, or another core has it.
func (r *Runner) renew(ctx context.Context) {
	heard := time.Now()
	for rest(ctx, runLease/15) {
		r.mu.Lock()
		var ids []string
		for id := range r.going {
			ids = append(ids, id)
		}
		r.mu.Unlock()
		if len(ids) == 0 {
			heard = time.Now()
			continue
		}
		slices.Sort(ids)
		timed, cancel := context.WithTimeout(ctx, runLease/5)
		mine, err := r.store.RenewAutomationRuns(timed, r.owner, runLease, ids)
		cancel()
		switch {
		case err == nil:
			heard = time.Now()
		case ctx.Err() != nil:
			return
		case time.Since(heard) < runLease*2/3:
			continue
		default: // another core is about to take them
			r.log.Error("the leases of runs could not be renewed", "error", err)
			mine = nil
		}
		r.mu.Lock()
		for _, id := range ids {
			if c := r.going[id]; c != nil && !slices.Contains(mine, id) {
				c.cut()
			}
		}
		r.mu.Unlock()
	}
}

// program gives a revision, compiled. Fault: NotFound, Invalid.
func (r *Runner) program(ctx context.Context, id string, revision int64) (*Program, error) {
	if p, known := r.cached(id, revision); known {
		if p == nil {
			return nil, fault.New(fault.Invalid, "revision %d of the automation cannot be carried out by this version", revision)
		}
		return p, nil
	}
	a, err := r.store.AutomationAt(ctx, id, revision)
	if err != nil {
		return nil, err
	}
	return r.compile(a)
}

func (r *Runner) cached(id string, revision int64) (*Program, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, known := r.programs[programKey{id, revision}]
	return p, known
}

func (r *Runner) compile(a Automation) (*Program, error) {
	p, err := Compile(a, r.actions, "")
	if err != nil {
		r.log.Error("an automation cannot be carried out by this version", "automation", a.Name, "revision", a.Revision, "error", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.programs) > 10_000 { // of revisions long gone
		clear(r.programs)
	}
	r.programs[programKey{a.ID, a.Revision}] = p
	return p, err
}

// enabled are the programs that react now.
func (r *Runner) enabled(ctx context.Context, tx Tx) (programs []*Program, heads string, err error) {
	now, err := tx.AutomationHeads(ctx)
	if err != nil {
		return nil, "", err
	}
	for _, h := range now {
		if _, known := r.cached(h.ID, h.Revision); known || !h.Enabled {
			continue
		}
		all, err := tx.AllAutomations(ctx)
		if err != nil {
			return nil, "", err
		}
		for _, a := range all {
			if _, known := r.cached(a.ID, a.Revision); !known {
				_, _ = r.compile(a) // said in the log
			}
		}
		break
	}
	for _, h := range now {
		if p, _ := r.cached(h.ID, h.Revision); h.Enabled && p != nil {
			programs = append(programs, p)
			heads += fmt.Sprintf("%s@%d ", h.ID, h.Revision)
		}
	}
	return programs, heads, nil
}

// decide decides a number of events, timers and dwells. More tells that there are others.
func (r *Runner) decide(ctx context.Context) (more bool, err error) {
	var heads string
	r.moved = false
	err = entity.InTx(ctx, r.recorder, func(tx Tx) error {
		seq, err := tx.LockAutomations(ctx)
		if err != nil {
			return err
		}
		// Events first: an automation that was made before one of them is seen as well then.
		events, err := tx.EventsAfter(ctx, seq, decideAtOnce)
		if err != nil {
			return err
		}
		more = len(events) == decideAtOnce
		programs, now, err := r.enabled(ctx, tx)
		if err != nil {
			return err
		}
		if heads = now; heads != r.timed {
			if err := r.setTimers(ctx, tx, programs); err != nil {
				return err
			}
		}
		var entities []string
		for _, e := range events {
			entities = append(entities, e.EntityID)
		}
		dwelling, err := tx.DwellingAutomations(ctx, entities)
		if err != nil {
			return err
		}
		w, v, err := look(ctx, tx)
		if err != nil {
			return err
		}
		awaited, err := awaitedTopics(ctx, tx, events)
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := r.decideEvent(w, v, programs, dwelling, awaited, e); err != nil {
				return fmt.Errorf("event %d: %w", e.Seq, err)
			}
		}
		if len(events) > 0 {
			if err := tx.MoveAutomationCursor(ctx, events[len(events)-1].Seq); err != nil {
				return err
			}
		}
		if more {
			return nil // what is due next may depend on them
		}
		due, err := r.decideDue(w, v, programs)
		more = due
		return err
	})
	if err == nil {
		r.timed = heads
		if r.moved {
			r.recorder.Ring(TopicRuns)
		}
	}
	return more, err
}

// decideEvent asks the programs with a trigger for the event, and those of which one
// waits whether the event's entity stays as it is: dwelling, by entity. Then it wakes the
// runs that wait for one of its topics, if any are awaited.
func (r *Runner) decideEvent(w World, v view, programs []*Program, dwelling map[string][]string, awaited []string, e entity.Event) error {
	ctx, tx := v.ctx, v.tx
	var asked []*Program
	for _, p := range programs {
		if slices.Contains(p.Events(), e.Type) || slices.Contains(dwelling[e.EntityID], p.automation.ID) {
			asked = append(asked, p)
		}
	}
	if len(asked) > 0 {
		decisions, err := Decide(w, asked, e)
		if err != nil {
			return err
		}
		for _, d := range decisions {
			if d.Partition != "" {
				if err := tx.AddAutomationOccurrence(ctx, d.Automation, d.Trigger, d.Partition, e); err != nil {
					return err
				}
			}
			if err := r.apply(v, d); err != nil {
				return err
			}
			if d.Arm != nil {
				dwelling[e.EntityID] = append(dwelling[e.EntityID], d.Automation)
			}
		}
	}
	topics := slices.DeleteFunc(topicsOf(e), func(topic string) bool { return !slices.Contains(awaited, topic) })
	if len(topics) == 0 {
		return nil
	}
	return tx.WakeAutomationRuns(ctx, topics, e.Seq)
}

// awaitedTopics are those of events for which runs wait. None begins to while events are
// being decided.
func awaitedTopics(ctx context.Context, tx Tx, events []entity.Event) ([]string, error) {
	var topics []string
	for _, e := range events {
		topics = append(topics, topicsOf(e)...)
	}
	if len(topics) == 0 {
		return nil, nil
	}
	slices.Sort(topics)
	return tx.AwaitedAutomationTopics(ctx, slices.Compact(topics))
}

func topicsOf(e entity.Event) []string {
	return []string{eventTopic(e.Type), entityTopic(Ref{e.Kind, e.EntityID}), entityTopic(Ref{e.Kind, "*"})}
}

func eventTopic(typ string) string { return "event/" + typ }
func entityTopic(r Ref) string     { return "entity/" + r.Kind + "/" + r.ID }

// decideDue decides timers and dwells whose moment has come.
func (r *Runner) decideDue(w World, v view, programs []*Program) (more bool, err error) {
	ctx, tx := v.ctx, v.tx
	find := func(id string) *Program {
		i := slices.IndexFunc(programs, func(p *Program) bool { return p.automation.ID == id })
		if i < 0 {
			return nil
		}
		return programs[i]
	}
	timers, err := tx.DueAutomationTimers(ctx, decideAtOnce)
	if err != nil {
		return false, err
	}
	for _, t := range timers {
		p := find(t.Automation)
		i := -1
		if p != nil {
			i = slices.IndexFunc(p.Timers(), func(have Timer) bool { return have.Trigger == t.Trigger })
		}
		if i < 0 {
			if err := tx.DropAutomationTimer(ctx, t.Automation, t.Trigger); err != nil {
				return false, err
			}
			continue
		}
		d, err := DecideTimer(w, p, t.Trigger, p.TimerEvent(t.Trigger, t.Due))
		if err != nil {
			return false, err
		}
		if err := r.apply(v, d); err != nil {
			return false, err
		}
		// Moments that passed while no core was there are not made up for.
		if err := putTimer(ctx, tx, p, p.Timers()[i], w.Now); err != nil {
			return false, err
		}
	}
	dwells, err := tx.DueAutomationDwells(ctx, decideAtOnce)
	if err != nil {
		return false, err
	}
	for _, dwell := range dwells {
		p := find(dwell.Automation)
		if p == nil {
			continue
		}
		d, err := DecideDwell(w, p, dwell)
		if err != nil {
			return false, err
		}
		if err := r.apply(v, d); err != nil {
			return false, err
		}
	}
	return len(timers) == decideAtOnce || len(dwells) == decideAtOnce, nil
}

// setTimers makes the timers that are missing, and forgets those of what is gone.
func (r *Runner) setTimers(ctx context.Context, tx Tx, programs []*Program) error {
	have, err := tx.AutomationTimers(ctx)
	if err != nil {
		return err
	}
	now, err := tx.Now(ctx)
	if err != nil {
		return err
	}
	for _, p := range programs {
		for _, t := range p.Timers() {
			at := slices.IndexFunc(have, func(h DueTimer) bool { return h.Automation == p.automation.ID && h.Trigger == t.Trigger })
			if at >= 0 {
				have = slices.Delete(have, at, at+1)
				continue
			}
			if err := putTimer(ctx, tx, p, t, now); err != nil {
				return err
			}
		}
	}
	for _, h := range have {
		if err := tx.DropAutomationTimer(ctx, h.Automation, h.Trigger); err != nil {
			return err
		}
	}
	return nil
}

func putTimer(ctx context.Context, tx Tx, p *Program, t Timer, after time.Time) error {
	next := t.Next(after)
	if next.IsZero() {
		return tx.DropAutomationTimer(ctx, p.automation.ID, t.Trigger)
	}
	return tx.PutAutomationTimer(ctx, DueTimer{Automation: p.automation.ID, Trigger: t.Trigger, Due: next})
}

// apply writes down what a decision orders.
func (r *Runner) apply(v view, d Decision) error {
	ctx, tx := v.ctx, v.tx
	r.log.Debug("an automation decided", "automation", d.Automation, "trigger", d.Trigger, "context", d.ContextKey, "outcome", d.Outcome, "reason", d.Reason)
	if d.Outcome == Erroneous {
		r.log.Warn("an automation could not decide", "automation", d.Automation, "trigger", d.Trigger, "event", d.Event, "reason", d.Reason)
	}
	if d.Outcome == Disarmed {
		if err := tx.DropAutomationDwell(ctx, d.Automation, d.Trigger, d.ContextKey); err != nil {
			return err
		}
	}
	if d.Arm != nil {
		if err := tx.PutAutomationDwell(ctx, *d.Arm); err != nil {
			return err
		}
	}
	for _, id := range d.Cancel {
		if err := cancelRun(ctx, tx, id, "the automation began anew"); err != nil {
			return err
		}
	}
	started := false
	if d.Run != nil {
		var err error
		if started, err = tx.AddAutomationRun(ctx, *d.Run); err != nil {
			return err
		}
	}
	r.moved = r.moved || started || len(d.Cancel) > 0
	v.note(d, started)
	return nil
}

// cancelRun ends a run that goes on; one that has ended stays as it is.
func cancelRun(ctx context.Context, tx Tx, id, reason string) error {
	run, _, err := tx.AutomationRunForUpdate(ctx, id)
	if err != nil || run.Status.Ended() {
		return err
	}
	now, err := tx.Now(ctx)
	if err != nil {
		return err
	}
	run.Status, run.EndedAt, run.Reason = RunCancelled, &now, reason
	// Its owner may still write down what it was doing, and hears of this by its lease.
	return tx.PutAutomationRun(ctx, run, nil, true)
}

// promote lets runs of a queue begin for which there is room now that one of a context
// has ended.
func promote(ctx context.Context, tx Tx, p *Program, contextKey string) error {
	if p.automation.Definition.Mode != ModeQueued {
		return nil
	}
	active, err := tx.ActiveAutomationRuns(ctx, p.automation.ID, p.scopeOf(contextKey))
	if err != nil {
		return err
	}
	now, err := tx.Now(ctx)
	if err != nil {
		return err
	}
	for _, run := range p.Promote(active) {
		run.Status, run.StartedAt, run.Reason = RunRunning, &now, ""
		if err := tx.PutAutomationRun(ctx, run, &now, false); err != nil {
			return err
		}
	}
	return nil
}

var errCut = errors.New("the run was cancelled, or is another core's")
