package automation

import (
	"context"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// Store is what the runner and the service read, and claim, outside of transactions.
type Store interface {
	Now(ctx context.Context) (time.Time, error)
	// Automation finds by id, AutomationByName by name. Fault: NotFound.
	Automation(ctx context.Context, id string) (Automation, error)
	AutomationByName(ctx context.Context, name string) (Automation, error)
	Automations(ctx context.Context, p fleet.Page) (items []Automation, next string, err error)
	// AutomationAt is an automation as it was in a revision of which runs go on.
	AutomationAt(ctx context.Context, id string, revision int64) (Automation, error)

	AutomationRun(ctx context.Context, id string) (Run, error)
	// AutomationRuns are the newest first.
	AutomationRuns(ctx context.Context, f RunFilter, p fleet.Page) (items []Run, next string, err error)
	// AutomationSteps are a run's journal, in the order in which the steps began.
	AutomationSteps(ctx context.Context, runID string) ([]Step, error)

	// ClaimAutomationRuns gives runs that are due, or whose owner's lease is over, to owner.
	ClaimAutomationRuns(ctx context.Context, owner string, lease time.Duration, limit int) ([]Run, error)
	// RenewAutomationRuns makes the leases longer, and gives those that are still the
	// owner's and have not ended.
	RenewAutomationRuns(ctx context.Context, owner string, lease time.Duration, ids []string) ([]string, error)
	// FreeAutomationRuns ends all leases.
	FreeAutomationRuns(ctx context.Context) error
	// NextAutomation is when a run, a dwell or a timer is due next; zero for never.
	NextAutomation(ctx context.Context) (time.Time, error)
	// PurgeAutomationRuns forgets runs that ended before then, what only they needed, and
	// windows and calls of hooks of long ago.
	PurgeAutomationRuns(ctx context.Context, before time.Time) (int64, error)
	// EventsBetween are events of a time, after a number, oldest first.
	EventsBetween(ctx context.Context, after int64, from, to time.Time, limit int) ([]entity.Event, error)
	// EntityAt is how an entity was at a moment, as its last event until then says; nil
	// when it is not known.
	EntityAt(ctx context.Context, kind, id string, at time.Time) (entity.State, time.Time, error)
}

// Tx is what is decided and written down as one.
type Tx interface {
	entity.Tx

	// LockAutomations makes deciding one after the other, over all cores, and gives the
	// number of the last event that was decided.
	LockAutomations(ctx context.Context) (seq int64, err error)
	MoveAutomationCursor(ctx context.Context, seq int64) error
	EventsAfter(ctx context.Context, seq int64, limit int) ([]entity.Event, error)
	Entity(ctx context.Context, kind, id string) (entity.State, time.Time, error)

	// AutomationHeads tell which automations are what there is now, and enabled.
	AutomationHeads(ctx context.Context) ([]Head, error)
	CountAutomations(ctx context.Context) (int, error)
	AllAutomations(ctx context.Context) ([]Automation, error)
	AutomationForUpdate(ctx context.Context, id string) (Automation, error)
	// PutAutomation writes it and remembers the revision.
	PutAutomation(ctx context.Context, a Automation) error
	// ForgetAutomationTriggers drops what triggers wait for, count, and are due at.
	ForgetAutomationTriggers(ctx context.Context, id string, triggers []string) error
	DeleteAutomation(ctx context.Context, id string) error

	AutomationDwell(ctx context.Context, automation, trigger, contextKey string) (*Dwell, error)
	// DwellingAutomations are, by context, the ids of automations with a dwell for it.
	DwellingAutomations(ctx context.Context, contextKeys []string) (map[string][]string, error)
	PutAutomationDwell(ctx context.Context, d Dwell) error
	DropAutomationDwell(ctx context.Context, automation, trigger, contextKey string) error
	// DueAutomationDwells takes dwells that are due out of the table.
	DueAutomationDwells(ctx context.Context, limit int) ([]Dwell, error)

	AutomationOccurrences(ctx context.Context, automation, trigger, partition string, since time.Time) ([]time.Time, error)
	AddAutomationOccurrence(ctx context.Context, automation, trigger, partition string, event entity.Event) error

	// DueAutomationTimers are timers whose moment has come.
	DueAutomationTimers(ctx context.Context, limit int) ([]DueTimer, error)
	AutomationTimers(ctx context.Context) ([]DueTimer, error)
	PutAutomationTimer(ctx context.Context, t DueTimer) error
	DropAutomationTimer(ctx context.Context, automation, trigger string) error

	// AddAutomationCall reports false for a call of a hook that was taken already.
	AddAutomationCall(ctx context.Context, hook, id string) (bool, error)

	// ActiveAutomationRuns are those that have not ended, oldest first; of one context,
	// unless that is "". Their events are left out.
	ActiveAutomationRuns(ctx context.Context, automation, contextKey string) ([]Run, error)
	// AddAutomationRun reports false for a run whose key is there already.
	AddAutomationRun(ctx context.Context, r Run) (bool, error)
	// AutomationRunForUpdate gives a run and its owner, locked.
	AutomationRunForUpdate(ctx context.Context, id string) (r Run, owner string, err error)
	// PutAutomationRun writes how far it is. With wake nil it waits for no moment. Keep
	// says that its owner goes on with it.
	PutAutomationRun(ctx context.Context, r Run, wake *time.Time, keep bool) error
	// AutomationStandings gives where runs stand, locked; one that is not there is missing.
	AutomationStandings(ctx context.Context, ids []string) (map[string]Standing, error)
	// PutAutomationSteps writes steps, each run's in their order.
	PutAutomationSteps(ctx context.Context, steps []Step) error
	// PutAutomationWaits replaces what a run waits for.
	PutAutomationWaits(ctx context.Context, runID string, topics []string) error
	// AwaitedAutomationTopics are those of the topics for which runs wait.
	AwaitedAutomationTopics(ctx context.Context, topics []string) ([]string, error)
	// WakeAutomationRuns wakes the runs that wait for one of the topics, by the event.
	WakeAutomationRuns(ctx context.Context, topics []string, seq int64) error
	DropAutomationWake(ctx context.Context, runID string, seq int64) error
}

// Standing is where a run stands.
type Standing struct {
	// Run is without its event.
	Run     Run
	Owner   string
	Journal []Step
	// Wakes are the events that woke it, oldest first; at most a thousand.
	Wakes []entity.Event
}

// Head is a revision that is in force.
type Head struct {
	ID       string
	Revision int64
	Enabled  bool
}

// DueTimer is a cron or interval trigger and when it fires next.
type DueTimer struct {
	Automation string
	Trigger    string
	Due        time.Time
}

// RunFilter chooses runs. Zero fields choose all.
type RunFilter struct {
	// Automation is an id.
	Automation string
	Status     RunStatus
}
