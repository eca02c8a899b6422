package protocol

import "github.com/perigee-monitoring/perigee/check"

// Result is the outcome of one run (A.5, F.1).
type Result struct {
	ConfigID  string       `json:"configId"`
	SystemID  string       `json:"systemId"`
	Status    check.Status `json:"status"`
	LatencyMs *float64     `json:"latencyMs,omitempty"`
	// Result is the evidence; absent only from very plain agents.
	Result *check.Result `json:"result,omitempty"`
	// ExecutedAt is when the run ended, ISO 8601. Not validated by the original (M6).
	ExecutedAt    string           `json:"executedAt"`
	EnvironmentID Nullable[string] `json:"environmentId,omitzero"` // since 0.9.4
	// Slot is when the run was due, Unix milliseconds (feature slots).
	Slot int64 `json:"slot,omitempty"`
	// Revision of the assignments by which it ran (feature delta).
	Revision int64 `json:"revision,omitempty"`
	// Inconclusive is why a run that failed says nothing about the target: the satellite
	// was ill in a way that explains the failure (feature observer). "" for all others.
	Inconclusive string `json:"inconclusive,omitempty"`
}

// Skip accounts for slots that were due and not run (feature slots): Count slots
// from From to To inclusive, Unix milliseconds.
type Skip struct {
	ConfigID      string     `json:"configId"`
	SystemID      string     `json:"systemId"`
	EnvironmentID string     `json:"environmentId,omitempty"`
	From          int64      `json:"from"`
	To            int64      `json:"to"`
	Count         int64      `json:"count"`
	Reason        SkipReason `json:"reason"`
}

// SkipReason is why a due slot was not run, or its result not kept.
type SkipReason string

const (
	SkipDown     SkipReason = "not-executed" // the satellite was not running
	SkipOverlap  SkipReason = "overlap"      // the previous run was still going
	SkipLimit    SkipReason = "limit"        // no place free before the next slot
	SkipOverflow SkipReason = "overflow"     // run, and dropped from a full spool
	SkipClock    SkipReason = "clock"        // the satellite's clock jumped over it
	SkipSecrets  SkipReason = "secrets"      // its secrets could not be asked for: no connection to a core
	SkipLease    SkipReason = "lease"        // of a seat, beyond what the satellite has a Lease for
	// SkipUnassigned answers a RunNow for what the satellite does not hold.
	SkipUnassigned SkipReason = "not-assigned"
	// SkipUnsupported answers a RunNow for a guest that cannot be run there.
	SkipUnsupported SkipReason = "unsupported"
	// SkipInconclusive stands for an inconclusive result towards a core that does not
	// know feature observer.
	SkipInconclusive SkipReason = "inconclusive"
)

// Record is one entry of a satellite's spool: a result or a skip, never both.
type Record struct {
	Seq    int64   `json:"seq"`
	Result *Result `json:"result,omitempty"`
	Skip   *Skip   `json:"skip,omitempty"`
	// Invalid is set by the decoder when the record is not one that can be taken;
	// Result and Skip are then nil. It is for the receiver to refuse that record in
	// its Ack: refusing the batch would have it sent again for ever.
	Invalid error `json:"-"`
}

// Results is a batch of records in rising order of Seq (feature ack).
type Results struct {
	Records []Record `json:"records"`
}

// Ack says that every record up to and including UpTo is durable, or was refused
// for good (feature ack). Refused names those, so that an operator can see them.
type Ack struct {
	UpTo int64 `json:"upTo"`
	// Credit replaces the satellite's byte window when above zero.
	Credit  int64     `json:"credit,omitempty"`
	Refused []Refused `json:"refused,omitempty"`
}

// Refused is a record that the core will never take.
type Refused struct {
	Seq    int64  `json:"seq"`
	Reason string `json:"reason"`
}

// StrategyError reports a strategy that failed as such (A.5).
type StrategyError struct {
	StrategyID string `json:"strategyId"`
	Message    string `json:"message"`
}
