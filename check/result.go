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
}

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
