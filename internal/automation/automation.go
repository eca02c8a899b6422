// Package automation reacts to events: triggers, conditions, actions (spec D).
//
// It has three storeys. A [Program] is a definition that was compiled: its
// expressions are checked, nothing of it can fail for a reason that could have been
// seen when it was saved. The engine is pure: [Decide] says what an event or a due
// timer means to programs, [Program.Advance] how far a run goes; both look at the
// clock, the states of entities and what is remembered only through what they are
// given, so that a dry run over the past and the real thing are the same code. The
// runner makes it durable: decisions, timers and each step's journal are rows, written
// before and after whatever is done to the world outside.
package automation

import (
	"encoding/json"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
)

// Automation is a definition as it is kept.
type Automation struct {
	ID      string            `json:"id"`
	Name    string            `json:"name"`
	Labels  map[string]string `json:"labels"`
	Enabled bool              `json:"enabled"`
	// Revision rises with each change. A run goes on under the revision that it began with.
	Revision   int64      `json:"revision"`
	Definition Definition `json:"definition"`
	CreatedAt  time.Time  `json:"createdAt"`
	UpdatedAt  time.Time  `json:"updatedAt"`
}

// States are the entities as they are, or as they were at a moment of the past. What
// was asked for is what a wait depends on.
type States interface {
	// State gives an entity and since when it is as it is; nil when it is not known.
	State(kind, id string) (state entity.State, since time.Time, err error)
}

// Memory is what was remembered before an event.
type Memory interface {
	// Dwell is the timer that a trigger's for armed for this context; nil for none.
	Dwell(automation, trigger, contextKey string) (*Dwell, error)
	// Occurrences are the times, oldest first, at which a trigger's window counted since
	// then, and whether it fired since it last fell below its count (refire: once).
	Occurrences(automation, trigger, partition string, since time.Time) (times []time.Time, crossed bool, err error)
	// Active are the runs that have not ended, oldest first; of one context, unless that
	// is "".
	Active(automation, contextKey string) ([]Run, error)
}

// Dwell is a trigger that waits whether things stay as they are (spec D.2, M56).
type Dwell struct {
	Automation string `json:"automation"`
	Trigger    string `json:"trigger"`
	ContextKey string `json:"contextKey"`
	// Due is when it fires, unless the entity's state becomes another before.
	Due time.Time `json:"due"`
	// Event is what armed it, and becomes the run's.
	Event entity.Event `json:"event"`
}

// Run is one execution.
type Run struct {
	ID         string    `json:"id"`
	Automation string    `json:"automation"`
	Revision   int64     `json:"revision"`
	Trigger    string    `json:"trigger"`
	ContextKey string    `json:"contextKey"`
	Status     RunStatus `json:"status"`
	// Event is what it reacts to; of a cron, an interval, a webhook or a person it is one
	// that was made for it.
	Event entity.Event `json:"event"`
	// Key makes a run one: the same event never starts a trigger's run twice.
	Key       string     `json:"key"`
	CreatedAt time.Time  `json:"createdAt"`
	StartedAt *time.Time `json:"startedAt"`
	EndedAt   *time.Time `json:"endedAt"`
	// Reason is why it ended or waits, for people.
	Reason string `json:"reason"`
}

// RunStatus is where a run stands (spec D.3).
type RunStatus string

const (
	RunPending   RunStatus = "pending" // in the queue of its automation
	RunRunning   RunStatus = "running"
	RunWaiting   RunStatus = "waiting"
	RunSuccess   RunStatus = "success"
	RunFailed    RunStatus = "failed"
	RunCancelled RunStatus = "cancelled"
	RunSkipped   RunStatus = "skipped" // never begun: the mode allowed no further one
	// RunInDoubt ended at a step of which nobody can say whether it happened.
	RunInDoubt RunStatus = "in_doubt"
)

// Ended tells that nothing more happens.
func (s RunStatus) Ended() bool {
	switch s {
	case RunPending, RunRunning, RunWaiting:
		return false
	}
	return true
}

// Step is one row of a run's journal: its trace, and what lets it go on after a
// crash. A run is always interpreted from its beginning; whatever has its step in the
// journal is not evaluated or done again.
type Step struct {
	Run string `json:"run"`
	// Path is its place in the definition and, inside repeats, the iteration:
	// "actions[0].choose[1].sequence[2]", "actions[1].repeat#3[0]". It is the step's
	// identity and, behind the run's, the idempotency key of what it does.
	Path string `json:"path"`
	// ID is the action's id, when it has one; Kind says which of D.3's actions it is, and
	// Action which one of D.5's.
	ID     string     `json:"id,omitempty"`
	Kind   string     `json:"kind"`
	Action string     `json:"action,omitempty"`
	Status StepStatus `json:"status"`
	// Attempt counts from 1.
	Attempt int `json:"attempt"`
	// Input is the configuration after its expressions; secrets are still references.
	Input  json.RawMessage `json:"input,omitempty"`
	Output json.RawMessage `json:"output,omitempty"`
	Error  string          `json:"error,omitempty"`
	// Final tells of a step that failed that another attempt would fail as well.
	Final bool `json:"final,omitempty"`
	// Due is when a wait times out, a delay is over, or the next attempt is made.
	Due       *time.Time `json:"due,omitempty"`
	StartedAt time.Time  `json:"startedAt"`
	EndedAt   *time.Time `json:"endedAt,omitempty"`
}

// StepStatus is where a step stands (spec D.3).
type StepStatus string

const (
	// StepRunning was written before the world was touched. Found without its end after
	// a crash, it is in doubt.
	StepRunning StepStatus = "running"
	StepWaiting StepStatus = "waiting"
	StepSuccess StepStatus = "success"
	StepFailed  StepStatus = "failed"
	StepSkipped StepStatus = "skipped"
	StepInDoubt StepStatus = "in_doubt"
)

// Ref names an entity that an expression asked for. ID "*" is any of the kind.
type Ref struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
}

// Progress is how far a run goes on its own.
type Progress struct {
	// Steps are the rows of the journal that are new or have changed, in their order.
	// They are durable before anything of Do is done.
	Steps []Step
	// Do are the actions that are due: each has its row, with StepRunning, in Steps.
	Do []Step
	// Wake is when to advance again at the latest; nil for not by the clock.
	Wake *time.Time
	// Refs are entities of which a change advances the run, and Events the types of
	// events that do (wait_for_trigger).
	Refs   []Ref
	Events []string
	// Status is RunRunning while something of Do is due, RunWaiting, or how it ended.
	Status RunStatus
	Reason string
}

// Outcome is what an event means to one trigger of one automation.
type Outcome string

const (
	Fired     Outcome = "fired"
	Queued    Outcome = "queued"    // mode queued, behind another run
	Armed     Outcome = "armed"     // for: the dwell begins
	Disarmed  Outcome = "disarmed"  // the dwell's entity changed before it was due
	Counted   Outcome = "counted"   // window: not yet as many
	Filtered  Outcome = "filtered"  // filter or config did not match
	Refused   Outcome = "refused"   // a condition was false
	Skipped   Outcome = "skipped"   // the mode allows no further run
	Erroneous Outcome = "erroneous" // an expression failed, and so nothing was started
)

// Decision is the engine's word on one trigger of one automation, for the record, for
// a dry run, and as the instruction to the runner.
type Decision struct {
	At         time.Time `json:"at"`
	Automation string    `json:"automation"`
	Trigger    string    `json:"trigger"`
	ContextKey string    `json:"contextKey"`
	Event      int64     `json:"event"` // Seq; 0 for a timer's
	Outcome    Outcome   `json:"outcome"`
	// Reason is one sentence, and Because what each filter and condition said.
	Reason  string        `json:"reason"`
	Because []Explanation `json:"because,omitempty"`
	// Run is what starts (Fired), waits for its turn (Queued) or has failed before it began:
	// a condition, or for, could not be evaluated (Erroneous).
	Run *Run `json:"run,omitempty"`
	// Cancel are runs that end for it (mode restart).
	Cancel []string `json:"cancel,omitempty"`
	// Arm is the dwell that begins (Armed). Disarmed removes the trigger's.
	Arm *Dwell `json:"arm,omitempty"`
	// Partition and Crossed are a window's memory after the event.
	Partition string `json:"partition,omitempty"`
	Crossed   bool   `json:"crossed,omitempty"`
}

// Explanation is what one expression or condition said.
type Explanation struct {
	// Path is its place in the definition, "triggers[0].filter", "conditions[1].and[0]".
	Path string `json:"path"`
	Text string `json:"text"`
	// Result is "true", "false" or "error".
	Result string `json:"result"`
	// Why gives the values that it was evaluated with, or the error.
	Why string `json:"why,omitempty"`
}
