package check

import (
	"encoding/json"
	"unicode/utf8"
)

// Result is what one run found; the wire's RunResult (spec F.1).
type Result struct {
	Status    Status   `json:"status"`
	LatencyMs float64  `json:"latencyMs"`
	Message   string   `json:"message,omitempty"`
	Metadata  Metadata `json:"metadata"`
	// Blame is what of the observer's own may be to blame for a failure in place of the
	// target. It is for whoever carried the run out and does not travel.
	Blame Blame `json:"-"`
	// TookMs is how long each collector entry took, in milliseconds. Like Blame it is for
	// whoever carried the run out.
	TookMs map[string]float64 `json:"-"`
	// Fences says of each collector entry that ran a script what held it, and what could not.
	// It is for whoever carried the run out, too.
	Fences map[string]string `json:"-"`
}

// Blame is a set of what a run rests on besides its target. A failure that came of the
// target's own answer has none.
type Blame uint8

const (
	BlameResolver  Blame = 1 << iota // names had to be resolved
	BlamePath                        // the network between here and there
	BlameScheduler                   // the process had to get its time
	BlameClock                       // the time of day was compared with
	BlamePolicy                      // the observer's own operator does not allow it, so nothing was measured
)

// Metadata is the evidence of a run.
type Metadata struct {
	// Connected: the transport's client came into being.
	Connected        bool     `json:"connected"`
	ConnectionTimeMs *float64 `json:"connectionTimeMs,omitempty"`
	// Collectors holds one free-form object per collector entry, keyed by entry id.
	Collectors map[string]json.RawMessage `json:"collectors,omitempty"`
	Error      string                     `json:"error,omitempty"`
	Timings    *Timings                   `json:"timings,omitempty"`
}

// Timings are the phases of a run in milliseconds; absent phases did not happen.
type Timings struct {
	DNSMs        *float64 `json:"dnsMs,omitempty"`
	ConnectMs    *float64 `json:"connectMs,omitempty"`
	TLSMs        *float64 `json:"tlsMs,omitempty"`
	WaitMs       *float64 `json:"waitMs,omitempty"`
	TransferMs   *float64 `json:"transferMs,omitempty"`
	ProcessingMs *float64 `json:"processingMs,omitempty"`
}

// Truncate cuts text to at most limit bytes at a character boundary, with an
// ellipsis where something is missing.
func Truncate(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := limit - len("…")
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
