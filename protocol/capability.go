package protocol

import "encoding/json"

// The capability messages of 0.9 (A.8, K.8). Our core offers no capability: it
// answers batches with a final refusal and secret requests with an error.

// TelemetryBatch carries collected telemetry.
type TelemetryBatch struct {
	BatchID        string           `json:"batchId"`
	Kind           string           `json:"kind"`
	Payload        json.RawMessage  `json:"payload"`
	DroppedByGroup map[string]int64 `json:"droppedByGroup,omitempty"`
}

// TelemetryAck answers TelemetryBatch.
type TelemetryAck struct {
	BatchID   string `json:"batchId"`
	Accepted  int64  `json:"accepted"`
	Rejected  int64  `json:"rejected"`
	Retryable bool   `json:"retryable"`
}

// CapabilityStatus reports on a capability.
type CapabilityStatus struct {
	Kind    string          `json:"kind"`
	Payload json.RawMessage `json:"payload"`
}

// CapabilityConfig configures a capability.
type CapabilityConfig struct {
	Kind    string          `json:"kind"`
	Payload json.RawMessage `json:"payload"`
}

// CapabilitySecretRequest asks for a capability's secret (H.4).
type CapabilitySecretRequest struct {
	RequestID string          `json:"requestId"`
	Kind      string          `json:"kind"`
	Payload   json.RawMessage `json:"payload"`
}

// CapabilitySecretResponse answers CapabilitySecretRequest.
type CapabilitySecretResponse struct {
	RequestID string          `json:"requestId"`
	Payload   json.RawMessage `json:"payload,omitempty"`
	Error     string          `json:"error,omitempty"`
}

// SandboxPolicy relays the script sandbox policy (G.8), since 0.6.
type SandboxPolicy struct {
	Policy json.RawMessage `json:"policy"`
}
