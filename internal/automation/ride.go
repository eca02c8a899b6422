package automation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

// ride is a run that this core goes on with, until it waits or has ended.
type ride struct {
	*Runner
	run Run
	// ctx ends with the core, doing some time later, and both when the run is cut off.
	ctx, doing context.Context
	end        context.CancelCauseFunc
	stop       func()
	// fresh: nothing of it was done by this core yet, so what is found half done was
	// begun by another, which died.
	fresh bool
	// alone: it advances while nothing is decided, since it waits for events and must
	// not miss one that is being decided.
	alone   bool
	program *Program
	done    chan Step
	busy    int
	// ended are steps that were done and are to be written down.
	ended []Step
	// next is what the last transaction made of it.
	next advanced
	// artifacts are the outputs of steps with an id, as the journal has them.
	artifacts map[string]json.RawMessage
}

// begin makes the ride of a run that was claimed; nil when it goes on here already.
func (r *Runner) begin(ctx context.Context, run Run) *ride {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.going[run.ID] != nil {
		return nil
	}
	c := &ride{Runner: r, run: run, ctx: ctx, fresh: true, done: make(chan Step)}
	c.doing, c.end = context.WithCancelCause(context.WithoutCancel(ctx))
	undo := context.AfterFunc(ctx, func() {
		time.AfterFunc(lastGrace, func() { c.end(context.Cause(ctx)) })
	})
	c.stop = func() { undo(); c.end(nil) }
	r.going[run.ID] = c
	return c
}

// cut ends what is being done: the run is not ours any more.
func (c *ride) cut() { c.end(errCut) }

// carry goes on with the run as far as it goes. Last tells that nothing is to be looked
// after when it is over, neither this run nor one behind it.
func (c *ride) carry() (last bool) {
	defer c.stop()
	for {
		progress, more, err := c.advance()
		switch {
		case err == nil:
		case c.ctx.Err() == nil && c.doing.Err() == nil:
			c.log.Error("a run could not go on", "run", c.run.ID, "error", err)
			fallthrough
		default:
			// Another look takes it up where it stands, here or elsewhere, once what is
			// being done is written down.
			c.drain()
			c.release()
			return false
		}
		for _, step := range progress.Do {
			c.busy++
			artifacts := c.artifacts
			go func() { c.done <- c.do(step, artifacts) }()
		}
		if more {
			continue
		}
		if progress.Status != RunRunning || c.busy == 0 {
			c.drain()
			return progress.Status.Ended() && !c.alone
		}
		// What waits beside it is looked at now and then.
		timer := time.NewTimer(time.Second)
		select {
		case step := <-c.done:
			c.busy--
			c.ended = append(c.ended, step)
		case <-timer.C:
		}
		timer.Stop()
	}
}

// release gives the run back, so that the next look finds it, before its lease is over.
func (c *ride) release() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), keepRecord)
	defer cancel()
	err := entity.InTx(ctx, c.recorder, func(tx Tx) error {
		run, owner, err := tx.AutomationRunForUpdate(ctx, c.run.ID)
		if err != nil || owner != c.owner || run.Status.Ended() {
			return err
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		return tx.PutAutomationRun(ctx, run, &now, false)
	})
	if err != nil {
		c.log.Warn("a run could not be given back; its lease has to end first", "run", c.run.ID, "error", err)
	}
}

// drain waits for what is being done, and writes it down.
func (c *ride) drain() {
	for _, step := range c.ended {
		c.keep(step)
	}
	c.ended = nil
	for ; c.busy > 0; c.busy-- {
		c.keep(<-c.done)
	}
}

// keep writes down what became of a step. It is tried for a while: what is not written
// down is in doubt.
func (c *ride) keep(step Step) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), keepRecord)
	defer cancel()
	for {
		err := entity.InTx(ctx, c.recorder, func(tx Tx) error {
			_, owner, err := tx.AutomationRunForUpdate(ctx, c.run.ID)
			if err != nil {
				return err
			}
			if owner != c.owner {
				return fault.Wrap(fault.Conflict, errCut, "the run has another owner")
			}
			now, err := tx.Now(ctx)
			if err != nil {
				return err
			}
			step.EndedAt = &now
			return tx.PutAutomationSteps(ctx, []Step{step})
		})
		if err == nil {
			c.recorder.Ring(TopicRuns)
			return
		}
		if !fault.Is(err, fault.Unavailable) || !rest(ctx, time.Second/4) {
			c.log.Error("what an action gave could not be written down", "run", c.run.ID, "step", step.Path, "status", step.Status, "error", err)
			return
		}
	}
}

// do carries out an action, and gives its step as it ended.
func (c *ride) do(step Step, artifacts map[string]json.RawMessage) Step {
	action, ok := c.actions.Action(step.Action)
	if !ok {
		step.Status, step.Error, step.Final = StepFailed, fmt.Sprintf("there is no action %q", step.Action), true
		return step
	}
	output, err := action.Do(c.doing, Request{Automation: c.program.automation.Name, Run: c.run, Step: step, Artifacts: artifacts})
	switch {
	case err == nil:
		step.Status, step.Output = StepSuccess, output
	case errors.Is(err, ErrInDoubt) || c.doing.Err() != nil && !action.Repeatable:
		step.Status, step.Error = StepInDoubt, clip(words(err))
	default:
		step.Status, step.Error, step.Final = StepFailed, clip(words(err)), Permanent(err)
		if c.doing.Err() != nil { // to be done again, since it may be
			step.Status, step.Final = StepInDoubt, false
		}
		c.log.Info("an action failed", "run", c.run.ID, "step", step.Path, "action", step.Action, "attempt", step.Attempt, "error", err)
	}
	return step
}

// words are what people may read of an error.
func words(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Message
	}
	return err.Error()
}

var errAlone = errors.New("to be advanced while nothing is decided")

// advance lets the run go on, in a transaction that it shares with others that go on at
// the same time. More tells that it has to be looked at again at once.
func (c *ride) advance() (progress Progress, more bool, err error) {
	if c.program == nil {
		c.program, err = c.Runner.program(c.ctx, c.run.Automation, c.run.Revision)
		if fault.Is(err, fault.Invalid) {
			return c.fail(err)
		}
		if err != nil {
			return progress, false, err
		}
		c.alone = c.program.automation.Definition.Mode == ModeQueued
	}
	if !c.alone {
		err = c.commits.do(c, func(rides []*ride) error {
			return entity.InTx(c.ctx, c.recorder, func(tx Tx) error { return c.advanceAll(tx, rides) })
		})
		if err == nil {
			err = c.next.err
		}
		c.alone = errors.Is(err, errAlone)
	}
	if c.alone {
		err = entity.InTx(c.ctx, c.recorder, func(tx Tx) error {
			if _, err := tx.LockAutomations(c.ctx); err != nil {
				return err
			}
			return c.advanceAll(tx, []*ride{c})
		})
		if err == nil {
			err = c.next.err
		}
	}
	if err == nil {
		c.recorder.Ring(TopicRuns)
		c.fresh, c.ended = false, nil
	}
	return c.next.Progress, c.next.more, err
}

// advanced is what became of a ride in a transaction.
type advanced struct {
	Progress
	// more tells that it has to be looked at again at once.
	more bool
	// err keeps the ride from being written, and not those that share its transaction.
	err     error
	run     Run
	steps   []Step
	journal journal
	// heard are the numbers of the events that it has seen.
	heard []int64
	// waits tells that it waited for something, or does now.
	waits bool
	// gone tells that the run has ended, or is another core's, and only steps are written.
	gone bool
}

// advanceAll lets runs go on and writes down how far each came. One that fails, or that
// must advance alone, is left as it is.
func (r *Runner) advanceAll(tx Tx, rides []*ride) error {
	ctx := rides[0].ctx
	ids := make([]string, len(rides))
	for i, c := range rides {
		ids[i] = c.run.ID
	}
	standings, err := tx.AutomationStandings(ctx, ids)
	if err != nil {
		return err
	}
	w, err := world(ctx, tx)
	if err != nil {
		return err
	}
	var steps []Step
	for _, c := range rides {
		if s, found := standings[c.run.ID]; found {
			c.next, err = c.proceed(w, s)
		} else {
			c.next, err = advanced{err: fault.New(fault.NotFound, "there is no automation run %q any more", c.run.ID)}, nil
		}
		if err != nil {
			return err
		}
		if c.next.err == nil {
			steps = append(steps, c.next.steps...)
		}
	}
	if err := tx.PutAutomationSteps(ctx, steps); err != nil {
		return err
	}
	for _, c := range rides {
		if c.next.err != nil || c.next.gone {
			continue
		}
		if err := c.write(tx, w.Now); err != nil {
			return err
		}
	}
	return nil
}

// proceed lets the run go on from where it stands. Errors are those of what it looks at.
func (c *ride) proceed(w World, s Standing) (next advanced, err error) {
	next.run, next.journal = s.Run, journalOf(s.Journal)
	next.run.Event = c.run.Event
	if s.Owner != c.owner || s.Run.Status.Ended() {
		c.end(errCut)
		if s.Owner != c.owner {
			c.ended = nil // the new owner holds it to be in doubt
		}
		next.Status, next.gone, next.steps = RunCancelled, true, c.endedAt(w.Now)
		return next, nil
	}
	steps, order := map[string]Step{}, []string{}
	put := func(s Step) {
		if _, known := steps[s.Path]; !known {
			order = append(order, s.Path)
		}
		steps[s.Path] = s
		next.journal.put(s)
	}
	for _, s := range next.journal.steps {
		next.waits = next.waits || strings.HasPrefix(s.Kind, "wait_")
	}
	for _, s := range c.endedAt(w.Now) {
		put(s)
	}
	if c.fresh {
		for _, s := range next.journal.steps {
			if s.Kind == "action" && s.Status == StepRunning {
				s.Status, s.EndedAt = StepInDoubt, &w.Now
				s.Error = "the core that did it ended meanwhile, and it is not known whether this was done"
				put(s)
			}
		}
	}
	slices.Sort(order)
	for seen := 0; ; seen++ {
		var event *entity.Event
		if seen < len(s.Wakes) {
			event = &s.Wakes[seen]
			next.heard = append(next.heard, event.Seq)
		}
		if next.Progress, err = c.program.Advance(w, next.run, next.journal.steps, event); err != nil {
			return next, err
		}
		for _, s := range next.Steps {
			put(s)
		}
		next.more = seen+1 < len(s.Wakes)
		if !next.more || len(next.Do) > 0 || next.Status.Ended() {
			break
		}
	}
	next.more = next.more && !next.Status.Ended()
	waits := len(next.Refs)+len(next.Events) > 0
	if waits && !c.alone {
		return advanced{err: errAlone}, nil
	}
	next.waits = next.waits || waits
	for _, path := range order {
		next.steps = append(next.steps, steps[path])
	}
	return next, nil
}

// endedAt are the steps that were done, to be written down now.
func (c *ride) endedAt(now time.Time) []Step {
	steps := slices.Clone(c.ended)
	for i := range steps {
		steps[i].EndedAt = &now
	}
	return steps
}

// write writes how far the run is, but for its steps.
func (c *ride) write(tx Tx, now time.Time) error {
	ctx, p, run := c.ctx, c.next.Progress, c.next.run
	if len(p.Do) > 0 {
		c.artifacts = map[string]json.RawMessage{}
		for _, s := range c.next.journal.steps {
			if s.ID != "" && s.Status == StepSuccess {
				c.artifacts[s.ID] = s.Output
			}
		}
	}
	run.Status, run.Reason = p.Status, p.Reason
	run.StartedAt = cmp.Or(run.StartedAt, &now)
	if p.Status.Ended() {
		run.EndedAt = &now
		if err := tx.PutAutomationRun(ctx, run, nil, false); err != nil {
			return err
		}
		return promote(ctx, tx, c.program, run.ContextKey)
	}
	for _, seq := range c.next.heard {
		if err := tx.DropAutomationWake(ctx, run.ID, seq); err != nil {
			return err
		}
	}
	if c.next.waits {
		var topics []string
		for _, ref := range p.Refs {
			topics = append(topics, entityTopic(ref))
		}
		for _, typ := range p.Events {
			topics = append(topics, eventTopic(typ))
		}
		if err := tx.PutAutomationWaits(ctx, run.ID, topics); err != nil {
			return err
		}
	}
	wake := p.Wake
	going := p.Status == RunRunning || c.next.more
	if going {
		wake = &now // for who takes it over when this core dies
	}
	return tx.PutAutomationRun(ctx, run, wake, going)
}

// fail ends a run whose revision this version does not understand.
func (c *ride) fail(why error) (Progress, bool, error) {
	err := entity.InTx(c.ctx, c.recorder, func(tx Tx) error {
		run, owner, err := tx.AutomationRunForUpdate(c.ctx, c.run.ID)
		if err != nil || owner != c.owner || run.Status.Ended() {
			return err
		}
		now, err := tx.Now(c.ctx)
		if err != nil {
			return err
		}
		run.Status, run.EndedAt, run.Reason = RunFailed, &now, clip(words(why))
		return tx.PutAutomationRun(c.ctx, run, nil, false)
	})
	if err == nil {
		c.recorder.Ring(TopicRuns)
	}
	return Progress{Status: RunFailed}, false, err
}
