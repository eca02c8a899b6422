package protocol

// Heartbeat is sent every HeartbeatInterval (A.5).
type Heartbeat struct {
	Version       string   `json:"version"`
	UptimeSeconds float64  `json:"uptimeSeconds"`
	Capabilities  []string `json:"capabilities,omitempty"` // since 0.9
	Perigee       *Pulse   `json:"perigee,omitempty"`
}

// Pulse is what our satellite adds to a heartbeat (feature clock, or observer).
type Pulse struct {
	// SentAt is the satellite's clock in Unix milliseconds.
	SentAt int64 `json:"sentAt"`
	// OffsetMs and UncertaintyMs are what earlier exchanges gave: core clock minus
	// satellite clock, and half the shortest round trip.
	OffsetMs      *float64 `json:"offsetMs,omitempty"`
	UncertaintyMs *float64 `json:"uncertaintyMs,omitempty"`
	// Spool: records and bytes that wait for an ack, and records dropped in all.
	SpoolRecords int64 `json:"spoolRecords,omitempty"`
	SpoolBytes   int64 `json:"spoolBytes,omitempty"`
	SpoolDropped int64 `json:"spoolDropped,omitempty"`
	// Observer is how the satellite itself fares (feature observer).
	Observer *Observer `json:"observer,omitempty"`
}

// Lease lets the satellite run the slots of its seats up to Until, Unix milliseconds,
// once it works by the assignments of Revision or a later one (feature lease). It answers
// a heartbeat when that is written down, so that no core moves a seat into the span of a
// lease that it does not know of. What counts is the number of the slot, not when it is
// run: no clock and no pause makes a slot run twice.
type Lease struct {
	Until    int64 `json:"until"`
	Revision int64 `json:"revision"`
}

// Clock answers a Heartbeat that carried a Pulse (feature clock). Times are Unix
// milliseconds; Echo is the Pulse's SentAt.
type Clock struct {
	Echo       int64 `json:"echo"`
	ReceivedAt int64 `json:"receivedAt"`
	SentAt     int64 `json:"sentAt"`
}
