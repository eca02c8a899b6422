package protocol

// RunNow asks the satellite to run a pair once, now (feature run). The core chooses
// Slot, so that it knows the id of the run in advance (check.RunID); the satellite
// answers with a result, or with a skip, of exactly that slot.
type RunNow struct {
	Pair
	// EnvironmentID narrows to one environment; "" runs all that the assignment names.
	EnvironmentID string `json:"environmentId,omitempty"`
	Slot          int64  `json:"slot"` // Unix milliseconds
	// Assignment is what to run, when the satellite does not hold the pair (feature
	// opinion): it is a guest there, run once and beside everything else.
	Assignment *Assignment `json:"assignment,omitempty"`
	// DeadlineMs bounds a guest's run, in milliseconds; 0 leaves it to the satellite.
	DeadlineMs int64 `json:"deadlineMs,omitempty"`
}

// Drain says that this core is about to stop (feature drain). The satellite stays
// for a random part of SpanMs and then connects anew, so that a fleet does not come
// back all at once (spec M26, M27). Nobody is told that it was away.
type Drain struct {
	SpanMs int64  `json:"spanMs"`
	Reason string `json:"reason,omitempty"`
}
