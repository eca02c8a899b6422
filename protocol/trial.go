package protocol

import "github.com/perigee-monitoring/perigee/check"

// Try asks the satellite to run once what nobody has saved, and to tell what it found to
// who asks alone (feature try): the run has no slot, touches no spool, and counts
// nowhere. The assignment's ids are the trial's own; secrets are asked for under them.
// It has at most one environment.
type Try struct {
	RequestID  string     `json:"requestId"`
	Assignment Assignment `json:"assignment"`
	// DeadlineMs bounds the run, in milliseconds; 0 leaves it to the satellite.
	DeadlineMs int64 `json:"deadlineMs,omitempty"`
}

// Tried answers Try: with what was found, judged and with fields that are never stored
// still in it, or with Error, why it was not run.
type Tried struct {
	RequestID string        `json:"requestId"`
	Result    *check.Result `json:"result,omitempty"`
	// TookMs is how long each collector entry took, in milliseconds.
	TookMs map[string]float64 `json:"tookMs,omitempty"`
	// Fences says what held the script of a collector entry, and what could not, for people.
	Fences map[string]string `json:"fences,omitempty"`
	// ExecutedAt is when the run ended, ISO 8601.
	ExecutedAt string `json:"executedAt,omitempty"`
	// Inconclusive as in Result.
	Inconclusive string `json:"inconclusive,omitempty"`
	Error        string `json:"error,omitempty"`
}
