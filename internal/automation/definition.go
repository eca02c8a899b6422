package automation

import (
	"encoding/json"
)

// Limits of a definition (spec D.3).
const (
	// MaxDefinition is the largest definition as JSON, in bytes.
	MaxDefinition = 256 << 10
	MaxTriggers   = 50
	MaxConditions = 100
	// MaxActions counts all actions of a definition, nested ones too.
	MaxActions = 500
	// MaxNesting is how deep conditions and actions may be nested.
	MaxNesting     = 16
	MaxSlug        = 64
	MaxText        = 4000
	MaxExpression  = 8 << 10
	MaxRunsLimit   = 1000
	MaxWaitSeconds = 2_592_000 // 30 days
	MaxIterations  = 10_000
	// DefaultIterations bounds while and until.
	DefaultIterations = 1000
	// MaxUsesState is the most entities that one evaluation may read.
	MaxUsesState = 50
)

// Definition is what an automation says (spec D.3). Its JSON is the form in which it
// is kept and published; texts may hold ${{ expressions }}.
type Definition struct {
	Description string       `json:"description,omitempty" jsonschema:"maxLength=4000"`
	Triggers    []Trigger    `json:"triggers" jsonschema:"required,minItems=1,maxItems=50"`
	Conditions  []Condition  `json:"conditions,omitempty" jsonschema:"maxItems=100"`
	Actions     []ActionSpec `json:"actions" jsonschema:"required"`
	// Mode says what happens when it fires while a run has not ended. Absent is single.
	Mode Mode `json:"mode,omitempty" jsonschema:"enum=single,enum=parallel,enum=queued,enum=restart"`
	// MaxRuns is how many runs go on at once: 10 in mode parallel and 1 in mode queued,
	// when absent.
	MaxRuns int `json:"max_runs,omitempty" jsonschema:"minimum=1,maximum=1000"`
	// Scope says whether the mode looks at all runs or at those of the same context
	// (entity). Absent is automation.
	Scope Scope `json:"concurrency_scope,omitempty" jsonschema:"enum=automation,enum=context"`
	// UsesState is what the original was told about the systems whose state is read. It
	// is accepted and not needed: what is read is seen when it is read.
	UsesState []string `json:"uses_state,omitempty" jsonschema:"maxItems=50"`
	// Enabled says whether it reacts. Absent, it is left as it is, and a new one reacts.
	// It is for documents: it is kept beside the definition, and not in it.
	Enabled *bool `json:"enabled,omitempty"`
}

// Mode says what a firing does while a run of the automation has not ended.
type Mode string

const (
	ModeSingle   Mode = "single"   // the firing is skipped
	ModeParallel Mode = "parallel" // up to max_runs
	ModeQueued   Mode = "queued"   // first come, first served
	ModeRestart  Mode = "restart"  // what runs is cancelled
)

// Scope says among which runs the mode looks.
type Scope string

const (
	ScopeAutomation Scope = "automation"
	ScopeContext    Scope = "context"
)

// Trigger starts runs.
type Trigger struct {
	// ID is what decisions and runs call it. Absent, it is made of the event.
	ID    string `json:"id,omitempty" jsonschema:"maxLength=64,pattern=^[a-z0-9][a-z0-9_-]*$"`
	Event string `json:"event" jsonschema:"required"`
	// Filter is an expression that is true for the events that count.
	Filter string `json:"filter,omitempty"`
	// Config belongs to the event: of automation.cron, interval, webhook, numeric_state.
	Config json.RawMessage `json:"config,omitempty"`
	// For holds the firing back until the entity has stayed as it is for so long.
	For    *Duration `json:"for,omitempty"`
	Window *Window   `json:"window,omitempty"`
}

// Duration is one of its fields; Template is an expression or text with holes that
// gives seconds or a duration.
type Duration struct {
	Seconds  float64 `json:"seconds,omitempty"`
	Minutes  float64 `json:"minutes,omitempty"`
	Hours    float64 `json:"hours,omitempty"`
	Template string  `json:"template,omitempty"`
}

// Window fires when there were Count events within Minutes.
type Window struct {
	Count   int `json:"count" jsonschema:"required,minimum=1,maximum=1000"`
	Minutes int `json:"minutes" jsonschema:"required,minimum=1,maximum=1440"`
	// Refire is every (absent) for each event from the count on, or once for the one
	// that reaches it.
	Refire string `json:"refire,omitempty" jsonschema:"enum=every,enum=once"`
	// PartitionBy is an expression: events are counted apart for each of its values.
	PartitionBy string `json:"partitionBy,omitempty"`
}

// Condition is an expression, or an object with one of the fields.
type Condition struct {
	Expression   string          `json:"-"`
	And          []Condition     `json:"and,omitempty"`
	Or           []Condition     `json:"or,omitempty"`
	Not          *Condition      `json:"not,omitempty"`
	NumericState *NumericState   `json:"numeric_state,omitempty"`
	Time         *TimeOfDay      `json:"time,omitempty"`
	State        *StateCondition `json:"state,omitempty"`
}

// NumericState is true while the value lies strictly between the bounds; null never does.
type NumericState struct {
	// Value is a number or an expression.
	Value any      `json:"value" jsonschema:"required"`
	Above *float64 `json:"above,omitempty"`
	Below *float64 `json:"below,omitempty"`
}

// TimeOfDay is true from After until before Before, on the weekdays; a window that
// ends before it begins goes over midnight and belongs to the day on which it began.
type TimeOfDay struct {
	After  string `json:"after,omitempty" jsonschema:"pattern=^([01][0-9]|2[0-3]):[0-5][0-9]$"`
	Before string `json:"before,omitempty" jsonschema:"pattern=^([01][0-9]|2[0-3]):[0-5][0-9]$"`
	// Weekday are days from 0, Sunday, to 6.
	Weekday  []int  `json:"weekday,omitempty"`
	Timezone string `json:"timezone,omitempty"`
}

// StateCondition is true while an entity's field has a value, and has had it for so long.
type StateCondition struct {
	// Kind of the entity; absent is health, whose entities are systems.
	Kind string `json:"kind,omitempty"`
	// Entity is its id, and may hold holes.
	Entity string `json:"entity" jsonschema:"required"`
	// Field is status when absent.
	Field  string    `json:"field,omitempty"`
	Status string    `json:"status" jsonschema:"required"`
	For    *Duration `json:"for,omitempty"`
}

// ActionSpec is one step: the fields that all share, and those of exactly one kind.
type ActionSpec struct {
	// ID names its output for later expressions: artifacts.<id>.
	ID              string `json:"id,omitempty" jsonschema:"maxLength=64,pattern=^[A-Za-z_][A-Za-z0-9_]*$"`
	Description     string `json:"description,omitempty" jsonschema:"maxLength=4000"`
	Enabled         *bool  `json:"enabled,omitempty"`
	ContinueOnError bool   `json:"continue_on_error,omitempty"`

	// Action is the name of what is done to the world, with its config, whose texts may
	// have holes.
	Action string          `json:"action,omitempty"`
	Config json.RawMessage `json:"config,omitempty"`
	Retry  *Retry          `json:"retry,omitempty"`
	// InDoubt says what happens when nobody can say whether it was done. Absent, the
	// action's own default.
	InDoubt InDoubt `json:"in_doubt,omitempty" jsonschema:"enum=retry,enum=skip,enum=fail"`

	Choose         []Choice        `json:"choose,omitempty"`
	Else           []ActionSpec    `json:"else,omitempty"`
	Parallel       []ActionSpec    `json:"parallel,omitempty"`
	Sequence       []ActionSpec    `json:"sequence,omitempty"`
	Delay          *Duration       `json:"delay,omitempty"`
	Repeat         *Repeat         `json:"repeat,omitempty"`
	Variables      map[string]any  `json:"variables,omitempty"`
	Condition      *Condition      `json:"condition,omitempty"`
	Stop           *Stop           `json:"stop,omitempty"`
	WaitForTrigger *WaitForTrigger `json:"wait_for_trigger,omitempty"`
	WaitUntil      *WaitUntil      `json:"wait_until,omitempty"`
}

// InDoubt says what becomes of a step of which nobody knows whether it was done.
type InDoubt string

const (
	InDoubtRetry InDoubt = "retry"
	InDoubtSkip  InDoubt = "skip"
	// InDoubtFail ends the run as in doubt, for people to look at.
	InDoubtFail InDoubt = "fail"
)

// Retry says how often a failed action is tried again.
type Retry struct {
	// Attempts counts the first one.
	Attempts int `json:"attempts" jsonschema:"required,minimum=1,maximum=20"`
	// BackoffSeconds is the first pause, 5 when absent; each next one is twice as long,
	// up to an hour.
	BackoffSeconds float64 `json:"backoff_seconds,omitempty" jsonschema:"minimum=0,maximum=3600"`
}

// Choice is a branch of choose: the first whose When is true is taken.
type Choice struct {
	When     Condition    `json:"when" jsonschema:"required"`
	Sequence []ActionSpec `json:"sequence" jsonschema:"required"`
}

// Repeat is one of count, for_each, while and until, and what is repeated.
type Repeat struct {
	// Count is a number or an expression.
	Count any `json:"count,omitempty"`
	// ForEach is a list, or an expression that gives one.
	ForEach       any          `json:"for_each,omitempty"`
	While         *Condition   `json:"while,omitempty"`
	Until         *Condition   `json:"until,omitempty"`
	MaxIterations int          `json:"max_iterations,omitempty" jsonschema:"minimum=1,maximum=10000"`
	Sequence      []ActionSpec `json:"sequence" jsonschema:"required"`
}

// Stop ends the run.
type Stop struct {
	Reason string `json:"reason,omitempty" jsonschema:"maxLength=4000"`
	// Error makes it a failed run.
	Error bool `json:"error,omitempty"`
}

// WaitForTrigger waits for an event.
type WaitForTrigger struct {
	Event          string  `json:"event" jsonschema:"required"`
	Filter         string  `json:"filter,omitempty"`
	TimeoutSeconds float64 `json:"timeout_seconds" jsonschema:"required,exclusiveMinimum=0,maximum=2592000"`
	// ContextKey is the entity whose event counts; absent, the run's own; "*" any.
	ContextKey string `json:"context_key,omitempty"`
	// ContinueOnTimeout is true when absent.
	ContinueOnTimeout *bool `json:"continue_on_timeout,omitempty"`
}

// WaitUntil waits until a condition is true.
type WaitUntil struct {
	Condition      Condition `json:"condition" jsonschema:"required"`
	TimeoutSeconds float64   `json:"timeout_seconds" jsonschema:"required,exclusiveMinimum=0,maximum=2592000"`
	// ContinueOnTimeout is true when absent.
	ContinueOnTimeout *bool `json:"continue_on_timeout,omitempty"`
	// PollSeconds is how often a condition that depends on the clock is looked at, 30
	// when absent. A change of what it reads is seen at once.
	PollSeconds float64 `json:"poll_seconds,omitempty" jsonschema:"minimum=1,maximum=3600"`
}
