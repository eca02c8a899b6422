package protocol

// RequestRunSecrets asks for the secretEnv of one collector (H.2).
type RequestRunSecrets struct {
	RequestID   string `json:"requestId"`
	ConfigID    string `json:"configId"`
	CollectorID string `json:"collectorId"`
	RunID       string `json:"runId"`
}

// RunSecrets answers RequestRunSecrets with Env or Error; under feature seal with
// Sealed in place of Env.
type RunSecrets struct {
	RequestID string            `json:"requestId"`
	Env       map[string]string `json:"env,omitempty"`
	Error     string            `json:"error,omitempty"`
	Sealed    string            `json:"perigeeSealed,omitempty"`
}

// RequestConfigSecrets asks for the secret fields of a configuration (H.3), since 0.8.
type RequestConfigSecrets struct {
	RequestID string `json:"requestId"`
	ConfigID  string `json:"configId"`
	RunID     string `json:"runId"`
}

// ConfigSecrets answers RequestConfigSecrets: path to value, for the strategy
// and for each collector entry; under feature seal with Sealed in place of both.
type ConfigSecrets struct {
	RequestID  string                       `json:"requestId"`
	Strategy   map[string]string            `json:"strategy,omitempty"`
	Collectors map[string]map[string]string `json:"collectors,omitempty"`
	Error      string                       `json:"error,omitempty"`
	Sealed     string                       `json:"perigeeSealed,omitempty"`
}
