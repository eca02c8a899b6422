// Package health turns results into verdicts.
//
// Results of all sessions are gathered into one transaction: insert the runs
// (duplicates of a run id ignored), step the locations they touch, judge the
// systems whose locations changed, record those changes through the entity
// recorder. When Ingest says a report is done it is durable. Late and repeated
// results correct history and never a newer state.
package health

import (
	"context"
	"encoding/json"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/protocol"
	"github.com/perigee-monitoring/perigee/verdict"
)

// Run is one executed check as it is stored and shown.
type Run struct {
	RunID         string       `json:"runId"`
	SatelliteID   string       `json:"satelliteId"`
	CheckID       string       `json:"checkId"`
	SystemID      string       `json:"systemId"`
	EnvironmentID string       `json:"environmentId,omitempty"`
	Status        check.Status `json:"status"`
	LatencyMs     *int64       `json:"latencyMs"`
	// ExecutedAt is when the run ended, by the satellite's clock and corrected as far as
	// that is known to be wrong, ReceivedAt when the core got it by its own; Slot is when it was due.
	ExecutedAt time.Time `json:"executedAt"`
	ReceivedAt time.Time `json:"receivedAt"`
	Slot       time.Time `json:"slot"`
	// Unslotted: the satellite names no slots, and Slot is ExecutedAt.
	Unslotted bool  `json:"unslotted,omitempty"`
	Revision  int64 `json:"revision,omitempty"`
	// Asked is what it was asked for, beside the schedule; "" is a run of the schedule.
	Asked fleet.Asked `json:"asked,omitempty"`
	// Guest: the satellite did not hold the pair, so there is no location to step.
	Guest bool `json:"-"`
	// Inconclusive is why the run says nothing about the system, "" for all others: the
	// satellite was ill in a way that explains the failure. Status is what it measured.
	Inconclusive string `json:"inconclusive,omitempty"`
	// ClockOffsetMs is core clock less satellite clock as it was known when the run came,
	// and ClockUncertaintyMs how wrong that may be; nil when it was not known. ExecutedAt
	// is corrected by it where it is more than its uncertainty.
	ClockOffsetMs      *float64 `json:"clockOffsetMs,omitempty"`
	ClockUncertaintyMs *float64 `json:"clockUncertaintyMs,omitempty"`
	// Source is "name (region)" of the satellite as it was when it connected.
	Source  string `json:"source"`
	Message string `json:"message,omitempty"`
	// Result is the evidence with its ephemeral fields taken out. Of a healthy run that
	// followed a healthy one it is kept for a shorter time than the run.
	Result json.RawMessage `json:"result,omitempty"`
}

// Routine reports whether the run is of the schedule and healthy: most are, and nobody
// asks for their evidence later.
func (r *Run) Routine() bool {
	return r.Status == check.Healthy && r.Inconclusive == "" && r.Asked == "" && !r.Guest
}

// Skip is slots that were due and not run; see protocol.Skip.
type Skip struct {
	// ID makes a repeated report harmless: the run id of the first slot.
	ID            string              `json:"id"`
	SatelliteID   string              `json:"satelliteId"`
	CheckID       string              `json:"checkId"`
	SystemID      string              `json:"systemId"`
	EnvironmentID string              `json:"environmentId,omitempty"`
	From          time.Time           `json:"from"`
	To            time.Time           `json:"to"`
	Count         int64               `json:"count"`
	Reason        protocol.SkipReason `json:"reason"`
	// Asked is as that of Run: such a slot was not due.
	Asked      fleet.Asked `json:"asked,omitempty"`
	ReceivedAt time.Time   `json:"receivedAt"`
}

// LocationKey is one check of one system as seen from one satellite.
type LocationKey struct {
	SystemID      string
	CheckID       string
	SatelliteID   string
	EnvironmentID string
}

// Location is how things stand there: what the newest run said and since when.
type Location struct {
	LocationKey
	verdict.State
	// Of the newest run.
	RunID     string
	LatencyMs *int64
	Message   string
	// Policy is that of the assignment, filled in by LockLocations.
	Policy check.Policy
}

// Seat is a location as a verdict needs it: where an assignment is placed, and
// what was heard from there.
type Seat struct {
	LocationKey
	CheckName     string
	Environment   string // its name; "" for a run without one
	SatelliteName string
	Region        string
	Online        bool // the satellite is online
	Interval      check.Duration
	Upkeep
	// Assignment is what placed it there, with when it was last changed, and Policy
	// that of the assignment.
	Assignment verdict.Named
	Policy     check.Policy
	Location   *Location // nil: no run yet
	Blind      *Blind    // the newest run that says nothing; nil: there was none
	Refused    string    // why the satellite leaves the check out; "": it has told no reason
	// Opinion is what others were asked of the check in this environment; nil: nothing.
	Opinion *verdict.Opinion
}

// SystemHealth is the stored verdict of a system; the state of entity kind "health".
type SystemHealth struct {
	SystemID      string
	Status        check.Status
	HealthyChecks int
	TotalChecks   int
	Since         time.Time
	Reason        string
	// Told is the status that automations were told last (of a judgement before it is
	// settled: the one that they would be told). They are told nothing while
	// every check of the system is in Maintenance, and of no failure that follows from
	// that of the systems in SuppressedBy (ids, separated by commas).
	Told         check.Status
	Maintenance  bool
	SuppressedBy string
}

// RunFilter narrows a list of runs. Zero fields do not narrow.
type RunFilter struct {
	SatelliteID string
	CheckID     string
	SystemID    string
	Status      check.Status // of runs that are conclusive, or Inconclusive
	From, To    time.Time    // by slot, From inclusive, To exclusive
	Plain       bool         // without the evidence
}

// VerdictFilter narrows a list of verdicts. Zero fields do not narrow.
type VerdictFilter struct {
	CheckID  string
	SystemID string
}

// Store is what health reads outside of transactions.
type Store interface {
	// Runs lists runs, newest slot first.
	Runs(ctx context.Context, f RunFilter, p fleet.Page) (items []Run, next string, err error)
	// Skips lists skips, newest first.
	Skips(ctx context.Context, f RunFilter, p fleet.Page) (items []Skip, next string, err error)
	// SystemHealths gives the stored verdicts of the systems (all when ids is nil).
	SystemHealths(ctx context.Context, ids []string) (map[string]SystemHealth, error)
	// Seats gives where the systems' enabled assignments are placed (all when nil).
	Seats(ctx context.Context, systemIDs []string) ([]Seat, error)
	// Verdicts gives the verdicts that hold now, on checks of the systems (all when nil).
	Verdicts(ctx context.Context, systemIDs []string) ([]verdict.Verdict, error)
	// VerdictHistory lists verdicts, newest first.
	VerdictHistory(ctx context.Context, f VerdictFilter, p fleet.Page) (items []verdict.Verdict, next string, err error)
	// Evidence gives one verdict and what it rests on, Runs not filled in.
	Evidence(ctx context.Context, verdictID string) (verdict.Judged, error)
	// Dependencies gives which systems depend on which.
	Dependencies(ctx context.Context) (Dependencies, error)
	// Events lists events after seq, oldest first.
	Events(ctx context.Context, after int64, limit int) ([]entity.Event, error)
	// LastEvent is the highest seq, 0 for none.
	LastEvent(ctx context.Context) (int64, error)
}

// Tx is what health does inside a transaction.
type Tx interface {
	entity.Tx
	OpinionTx
	// InsertRuns inserts runs and returns the ids of those that were new.
	// The evidence of routine ones is kept for a shorter time than they are.
	InsertRuns(ctx context.Context, runs []Run) (inserted map[string]bool, err error)
	// KeepDetails keeps the evidence of routine runs as long as they are.
	KeepDetails(ctx context.Context, runs []Run) error
	InsertSkips(ctx context.Context, skips []Skip) error
	// PairNames gives what systems and checks are called, and whether they are in
	// maintenance; what was deleted has no name.
	PairNames(ctx context.Context, pairs []Pair) (map[Pair]PairName, error)
	// AppendRunBatch leaves runs for the rollups.
	AppendRunBatch(ctx context.Context, b RunBatch) error
	// LockLocations reads and locks; locations without a row are left out.
	LockLocations(ctx context.Context, keys []LocationKey) (map[LocationKey]Location, error)
	// Policies gives the policies of the assignments that the keys belong to.
	Policies(ctx context.Context, keys []LocationKey) (map[LocationKey]check.Policy, error)
	PutLocations(ctx context.Context, rows []Location) error
	// PutBlind keeps the newest runs that say nothing.
	PutBlind(ctx context.Context, rows []Blind) error
	// LockSystems reads and locks the verdicts, in id order, of systems that exist;
	// one without a verdict is Unknown with a zero Since.
	LockSystems(ctx context.Context, ids []string) (map[string]SystemHealth, error)
	PutSystemHealths(ctx context.Context, rows []SystemHealth) error
	Seats(ctx context.Context, systemIDs []string) ([]Seat, error)
	// Verdicts are those that hold now, on checks of systems that LockSystems has locked.
	Verdicts(ctx context.Context, systemIDs []string) ([]verdict.Verdict, error)
	// PutVerdicts ends verdicts, by id, and inserts others.
	PutVerdicts(ctx context.Context, at time.Time, end []string, begin []verdict.Judged) error
	// TellVerdicts notes which statuses automations are told of verdicts, by id.
	TellVerdicts(ctx context.Context, told map[check.Status][]string) error
	Dependencies(ctx context.Context) (Dependencies, error)
	// SystemHealths gives stored verdicts without a lock.
	SystemHealths(ctx context.Context, ids []string) (map[string]SystemHealth, error)
}
