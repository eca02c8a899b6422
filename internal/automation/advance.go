package automation

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
)

const (
	// maxSteps bounds the journal of a run, and maxVisits what one interpretation walks
	// over, so that repeats inside of repeats end.
	maxSteps  = 20_000
	maxVisits = 200_000
	// longestBackoff is the longest pause before another attempt.
	longestBackoff = time.Hour
)

// Advance goes on with a run as far as it goes on its own. The journal is all that was
// written about it. What was done of Do comes back in the journal with its status,
// output, error and end; a step that was running when its core died comes back as
// StepInDoubt. A failed step that is not final is tried again as its retry says: it then
// waits, with a Due.
// event is one that came while the run waited for it (Progress.Events), or nil.
//
// Errors are only those of States: whatever goes wrong in the run itself is in its steps
// and its status.
func (p *Program) Advance(w World, run Run, journal []Step, event *entity.Event) (Progress, error) {
	if run.Status.Ended() {
		return Progress{Status: run.Status, Reason: run.Reason}, nil
	}
	x := &walker{
		now: w.Now, run: run, event: event, have: make(map[string]Step, len(journal)), placed: map[string]int{},
		scope: &scope{now: w.Now, states: w.States, trigger: run.Trigger, event: run.Event, variables: map[string]any{}, artifacts: map[string]any{}},
	}
	for _, step := range journal {
		x.have[step.Path] = step
	}
	end := x.sequence(p.actions, "actions")
	if x.scope.failed != nil {
		return Progress{}, x.scope.failed
	}
	x.out.Reason = x.reason
	switch {
	case end == blocked && x.running:
		x.out.Status = RunRunning
	case end == blocked:
		x.out.Status = RunWaiting
	case end == failed && x.doubtful:
		x.out.Status = RunInDoubt
	case end == failed || end == halted && x.wrong:
		x.out.Status = RunFailed
	default:
		x.out.Status = RunSuccess
	}
	if x.out.Status.Ended() {
		x.out.Wake, x.out.Refs, x.out.Events = nil, nil, nil
	}
	return x.out, nil
}

// flow says how it goes on after an action.
type flow int

const (
	goOn    flow = iota
	blocked      // something is waited for
	halted       // the run ends here, as it was meant to
	failed
)

// walker interprets a run from its beginning.
type walker struct {
	now    time.Time
	run    Run
	event  *entity.Event
	have   map[string]Step
	scope  *scope
	visits int

	out Progress
	// placed is where in out.Steps a path stands.
	placed map[string]int
	// running tells that an action is being done, doubtful that one ends the run in
	// doubt, wrong that a stop is an error's.
	running, doubtful, wrong bool
	reason                   string
}

func (x *walker) sequence(list []*action, path string) flow {
	for i, a := range list {
		if f := x.action(a, fmt.Sprintf("%s[%d]", path, i)); f != goOn {
			return f
		}
	}
	return goOn
}

// write puts a step into the journal.
func (x *walker) write(a *action, step Step) Step {
	step.Run, step.ID, step.Kind, step.Action = x.run.ID, a.id, a.kind, a.name
	if before, ok := x.have[step.Path]; ok {
		step.StartedAt = before.StartedAt
	} else {
		step.StartedAt = x.now
	}
	step.Attempt = max(step.Attempt, 1)
	if step.Status != StepRunning && step.Status != StepWaiting {
		end := x.now
		step.EndedAt = &end
	}
	x.have[step.Path] = step
	if i, ok := x.placed[step.Path]; ok {
		x.out.Steps[i] = step
	} else {
		x.placed[step.Path] = len(x.out.Steps)
		x.out.Steps = append(x.out.Steps, step)
	}
	return step
}

func (x *walker) succeed(a *action, path string, output any) flow {
	step := x.have[path]
	step.Path, step.Status, step.Due, step.Error = path, StepSuccess, nil, ""
	if output != nil {
		text, err := json.Marshal(output)
		if err == nil && len(text) > maxRendered {
			err = fmt.Errorf("its result is larger than %d KiB", maxRendered>>10)
		}
		if err != nil {
			return x.fail(a, path, err)
		}
		step.Output = text
	}
	return x.finished(a, x.write(a, step))
}

// fail ends a step. An error of States is no step's end: the walk is broken off.
func (x *walker) fail(a *action, path string, err error) flow {
	if x.scope.failed != nil {
		return blocked
	}
	step := x.have[path]
	step.Path, step.Status, step.Due, step.Error = path, StepFailed, nil, clip(err.Error())
	return x.finished(a, x.write(a, step))
}

func clip(text string) string {
	if len(text) > MaxText {
		return text[:MaxText]
	}
	return text
}

// finished says how it goes on after a step that ended, now or in the past.
func (x *walker) finished(a *action, step Step) flow {
	switch step.Status {
	case StepFailed, StepInDoubt:
		if a.goesOn {
			return goOn
		}
		if x.reason == "" {
			x.reason = step.Path + ": " + step.Error
		}
		return failed
	case StepSkipped:
		return goOn
	}
	output := decoded(step.Output)
	if a.id != "" {
		if output == nil {
			output = map[string]any{}
		}
		x.scope.artifacts[a.id] = output
	}
	fields, _ := output.(map[string]any)
	switch a.kind {
	case "variables":
		maps.Copy(x.scope.variables, fields)
	case "condition":
		if fields["result"] != true {
			x.reason = step.Path + ": the condition is false"
			return halted
		}
	case "stop":
		x.reason, _ = fields["reason"].(string)
		x.wrong = a.stop.Error
		return halted
	}
	return goOn
}

// decoded reads a step's output. Values go through JSON before they are seen, so that
// the first look at them is as any later one.
func decoded(raw json.RawMessage) any {
	var v any
	if len(raw) == 0 || json.Unmarshal(raw, &v) != nil {
		return nil
	}
	return v
}

func (x *walker) action(a *action, path string) flow {
	if x.scope.failed != nil {
		return blocked
	}
	if x.visits++; x.visits > maxVisits || len(x.have) > maxSteps {
		x.reason, x.wrong = fmt.Sprintf("the run has more than %d steps", maxSteps), true
		return halted
	}
	step, known := x.have[path]
	if a.disabled {
		if !known {
			x.write(a, Step{Path: path, Status: StepSkipped})
		}
		return goOn
	}
	switch a.kind {
	case "sequence":
		return x.tolerate(a, x.sequence(a.sequence, path+".sequence"))
	case "parallel":
		return x.tolerate(a, x.parallel(a, path))
	case "choose":
		return x.tolerate(a, x.choose(a, path))
	case "repeat":
		return x.tolerate(a, x.repeat(a, path))
	case "action":
		return x.external(a, path, step, known)
	}
	if known && step.Status != StepWaiting {
		return x.finished(a, step)
	}
	switch a.kind {
	case "delay":
		return x.delay(a, path, step, known)
	case "variables":
		return x.variables(a, path)
	case "condition":
		var because []Explanation
		ok, err := a.condition.holds(x.scope, &because)
		if err != nil {
			return x.fail(a, path, err)
		}
		return x.succeed(a, path, map[string]any{"result": ok, "because": because})
	case "stop":
		reason, err := a.reason.string(x.scope)
		if err != nil {
			return x.fail(a, path, err)
		}
		return x.succeed(a, path, map[string]any{"reason": reason})
	case "wait_for_trigger":
		return x.waitForTrigger(a, path, step, known)
	}
	return x.waitUntil(a, path, step, known)
}

// tolerate is continue_on_error of what has no step of its own.
func (x *walker) tolerate(a *action, f flow) flow {
	if f == failed && a.goesOn {
		x.reason, x.doubtful = "", false
		return goOn
	}
	return f
}

// parallel goes on in each branch, and is over when all are.
func (x *walker) parallel(a *action, path string) flow {
	worst := goOn
	for i, branch := range a.branches {
		switch f := x.action(branch, fmt.Sprintf("%s.parallel[%d]", path, i)); {
		case f == blocked:
			worst = blocked
		case worst != blocked:
			worst = max(worst, f)
		}
	}
	return worst
}

func (x *walker) choose(a *action, path string) flow {
	step, known := x.have[path]
	if !known {
		branch, because := -1, []Explanation{}
		for i, c := range a.choices {
			ok, err := c.when.holds(x.scope, &because)
			if err != nil {
				return x.fail(a, path, fmt.Errorf("choose[%d].when: %w", i, err))
			}
			if ok {
				branch = i
				break
			}
		}
		if f := x.succeed(a, path, map[string]any{"branch": branch, "because": because}); f != goOn {
			return f
		}
		step = x.have[path]
	} else if f := x.finished(a, step); f != goOn {
		return f
	}
	var output struct{ Branch int }
	if json.Unmarshal(step.Output, &output) != nil {
		return goOn // it failed, and the run goes on all the same
	}
	if output.Branch < 0 || output.Branch >= len(a.choices) {
		return x.sequence(a.otherwise, path+".else")
	}
	return x.sequence(a.choices[output.Branch].sequence, fmt.Sprintf("%s.choose[%d].sequence", path, output.Branch))
}

// external is what is done to the world, by others.
func (x *walker) external(a *action, path string, step Step, known bool) flow {
	if !known {
		input, err := a.config.json(x.scope)
		if err != nil {
			return x.fail(a, path, fmt.Errorf("config: %w", err))
		}
		return x.do(a, Step{Path: path, Input: input, Attempt: 1})
	}
	switch step.Status {
	case StepRunning:
		x.running = true
		return blocked
	case StepWaiting:
		if step.Due != nil && x.now.Before(*step.Due) {
			x.wake(*step.Due)
			return blocked
		}
		step.Attempt++
		return x.do(a, step)
	case StepFailed:
		if step.Final || step.Attempt >= a.retry.Attempts {
			return x.finished(a, step)
		}
		due := x.now.Add(backoff(a.retry, step.Attempt))
		step.Status, step.Due, step.EndedAt = StepWaiting, &due, nil
		x.write(a, step)
		x.wake(due)
		return blocked
	case StepInDoubt:
		switch a.inDoubt {
		case InDoubtRetry:
			step.Attempt++
			return x.do(a, step)
		case InDoubtSkip:
			step.Status, step.Error = StepSkipped, "it is not known whether this was done; it was not tried again"
			return x.finished(a, x.write(a, step))
		}
		if step.Error == "" {
			step.Error = "it is not known whether this was done"
		}
		x.doubtful = x.doubtful || !a.goesOn
		return x.finished(a, step)
	}
	return x.finished(a, step)
}

func (x *walker) do(a *action, step Step) flow {
	step.Status, step.Due, step.EndedAt, step.Error = StepRunning, nil, nil, ""
	x.out.Do = append(x.out.Do, x.write(a, step))
	x.running = true
	return blocked
}

// backoff is the pause after an attempt: twice as long after each.
func backoff(r Retry, attempt int) time.Duration {
	seconds := r.BackoffSeconds * math.Pow(2, float64(attempt-1))
	return time.Duration(min(seconds, longestBackoff.Seconds()) * float64(time.Second))
}

func (x *walker) wake(at time.Time) {
	if x.out.Wake == nil || at.Before(*x.out.Wake) {
		x.out.Wake = &at
	}
}

func (x *walker) delay(a *action, path string, step Step, known bool) flow {
	if !known {
		long, err := a.delay.value(x.scope)
		if err != nil {
			return x.fail(a, path, err)
		}
		due := x.now.Add(long)
		step = Step{Path: path, Status: StepWaiting, Due: &due}
		if long > 0 {
			step = x.write(a, step)
		}
	}
	if step.Due != nil && x.now.Before(*step.Due) {
		x.wake(*step.Due)
		return blocked
	}
	return x.succeed(a, path, nil)
}

func (x *walker) variables(a *action, path string) flow {
	values := make(map[string]any, len(a.variables))
	for _, name := range slices.Sorted(maps.Keys(a.variables)) {
		v, err := a.variables[name].value(x.scope)
		if err != nil {
			return x.fail(a, path, at(x.scope, name, err))
		}
		values[name] = v
	}
	return x.succeed(a, path, values)
}

// waited is what a wait says of itself.
type waited struct {
	TimedOut bool   `json:"timed_out"`
	Event    any    `json:"event,omitempty"`
	Why      string `json:"why,omitempty"`
}

func (x *walker) timeout(a *action, path, why string) flow {
	if a.wait.fails {
		if why != "" {
			why = ": " + why
		}
		return x.fail(a, path, fmt.Errorf("what it waited for did not come within %s%s", a.wait.timeout, why))
	}
	return x.succeed(a, path, waited{TimedOut: true, Why: why})
}

func (x *walker) waitForTrigger(a *action, path string, step Step, known bool) flow {
	if !known {
		key := x.run.ContextKey
		if a.wait.context != nil {
			var err error
			if key, err = a.wait.context.string(x.scope); err != nil {
				return x.fail(a, path, fmt.Errorf("context_key: %w", err))
			}
		}
		due := x.now.Add(a.wait.timeout)
		input, err := json.Marshal(waitInput{Event: a.wait.event, ContextKey: key})
		if err != nil {
			return x.fail(a, path, err)
		}
		step = x.write(a, Step{Path: path, Status: StepWaiting, Due: &due, Input: input})
	} else if x.event != nil {
		if ok, err := x.awaited(a, step); x.scope.failed != nil {
			return blocked
		} else if err != nil {
			step.Error = clip("filter: " + err.Error())
			step = x.write(a, step)
		} else if ok {
			return x.succeed(a, path, waited{Event: map[string]any{
				"id": x.event.Seq, "event": x.event.Type, "kind": x.event.Kind, "entity": x.event.EntityID,
				"payload": x.event.Payload, "actor": x.event.Actor, "at": x.event.At,
			}})
		}
	}
	if !x.now.Before(*step.Due) {
		return x.timeout(a, path, step.Error)
	}
	x.wake(*step.Due)
	if !slices.Contains(x.out.Events, a.wait.event) {
		x.out.Events = append(x.out.Events, a.wait.event)
	}
	return blocked
}

// waitInput is what a wait_for_trigger waits for.
type waitInput struct {
	Event      string `json:"event"`
	ContextKey string `json:"context_key"`
}

// awaited tells whether the event is the one that a step waits for.
func (x *walker) awaited(a *action, step Step) (bool, error) {
	var input waitInput
	if json.Unmarshal(step.Input, &input) != nil || x.event.Type != input.Event {
		return false, nil
	}
	if input.ContextKey != "*" && input.ContextKey != x.event.EntityID {
		return false, nil
	}
	if a.wait.filter == nil {
		return true, nil
	}
	// In the filter, trigger is the event that came.
	s := *x.scope
	s.event, s.parsed = *x.event, nil
	ok, err := a.wait.filter.bool(&s)
	x.scope.failed = s.failed
	return ok, err
}

func (x *walker) waitUntil(a *action, path string, step Step, known bool) flow {
	x.scope.clear()
	ok, err := a.wait.condition.holds(x.scope, nil)
	if x.scope.failed != nil {
		return blocked
	}
	if ok && err == nil {
		return x.succeed(a, path, waited{})
	}
	why := ""
	if err != nil {
		// What it asks for may yet come to be.
		why = clip(err.Error())
	}
	if !known {
		due := x.now.Add(a.wait.timeout)
		step = x.write(a, Step{Path: path, Status: StepWaiting, Due: &due, Error: why})
	} else if step.Error != why {
		step.Error = why
		step = x.write(a, step)
	}
	if !x.now.Before(*step.Due) {
		return x.timeout(a, path, why)
	}
	x.wake(*step.Due)
	if x.scope.clock {
		x.wake(x.now.Add(a.wait.poll))
	}
	for _, r := range x.scope.refs {
		if !slices.Contains(x.out.Refs, r) {
			x.out.Refs = append(x.out.Refs, r)
		}
	}
	return blocked
}
