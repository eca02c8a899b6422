package protocol

import (
	"encoding/json"

	"github.com/perigee-monitoring/perigee/check"
)

// Assignment is one (check, system) pair as a satellite gets it (E.1).
type Assignment struct {
	ConfigID        string              `json:"configId"`
	SystemID        string              `json:"systemId"`
	StrategyID      string              `json:"strategyId"`
	Config          json.RawMessage     `json:"config"`
	Collectors      []Collector         `json:"collectors,omitempty"`
	IntervalSeconds float64             `json:"intervalSeconds"`
	ConfigName      string              `json:"configName,omitempty"`
	SystemName      string              `json:"systemName,omitempty"`
	SystemMetadata  map[string]any      `json:"systemMetadata,omitempty"` // since 0.9
	Environments    []check.Environment `json:"environments,omitempty"`   // since 0.9.4
	// Seat of a counted assignment (feature lease).
	Seat *Seat `json:"perigeeSeat,omitempty"`
}

// Seat is one of the places of a counted assignment, of which some satellite runs the
// slots at any time (feature lease): those that Lease reaches, after After, and up to
// Until while it is handed over, 0 for no end. Both are Unix milliseconds. Its slots are
// those of check.SeatSchedule.
type Seat struct {
	Number int   `json:"number"`
	After  int64 `json:"after"`
	Until  int64 `json:"until,omitempty"`
}

// Collector is check.Collector as the wire spells it.
type Collector struct {
	ID          string            `json:"id"`
	CollectorID string            `json:"collectorId"`
	Config      json.RawMessage   `json:"config"`
	Assertions  []check.Assertion `json:"assertions,omitempty"`
	// Latency are bounds of this collector (feature expression).
	Latency *check.Latency `json:"perigeeLatency,omitempty"`
}

// CollectorOf is the collector of a check as it travels.
func CollectorOf(c check.Collector) Collector {
	out := Collector{ID: c.ID, CollectorID: c.Collector, Config: c.Config, Assertions: c.Assertions}
	if c.Latency != (check.Latency{}) {
		out.Latency = &c.Latency
	}
	return out
}

// Pair names an assignment: what a satellite may report for.
type Pair struct {
	ConfigID string `json:"configId"`
	SystemID string `json:"systemId"`
}

// Pair of the assignment.
func (a *Assignment) Pair() Pair { return Pair{ConfigID: a.ConfigID, SystemID: a.SystemID} }

// ConfigUpdated replaces the whole set (A.6).
type ConfigUpdated struct {
	Assignments                []Assignment     `json:"assignments"`
	ScriptPackagesLockfileHash Nullable[string] `json:"scriptPackagesLockfileHash,omitzero"`
	// Revision of the set (feature delta).
	Revision int64 `json:"perigeeRevision,omitempty"`
}

// Delta changes a set from one revision to the next (feature delta): Upserts
// replace or add by Pair, Removals take away. A satellite that does not hold
// Base answers Applied with its own revision and an error, and gets the full set.
type Delta struct {
	Base     int64        `json:"base"`
	Revision int64        `json:"revision"`
	Upserts  []Assignment `json:"upserts,omitempty"`
	Removals []Pair       `json:"removals,omitempty"`
}

// Applied reports the revision that a satellite works by (feature delta), and
// what it could not take in: assignments that it leaves out, each with a reason.
type Applied struct {
	Revision int64          `json:"revision"`
	Errors   []AppliedError `json:"errors,omitempty"`
}

// AppliedError is one assignment that the satellite cannot run.
type AppliedError struct {
	Pair
	Message string `json:"message"`
}
