package protocol

// Message is anything that travels. Type is the wire's "type" member. Validate
// checks values and limits of a message in memory, which is what a sender asks
// before it lets a message out of its hands; the decoder has already seen to it
// that required members are there.
//
// Messages are always pointers (*Result, not Result), so that a type switch has
// one case for each.
type Message interface {
	Type() string
	Validate() error
}

// FromAgent marks messages that a satellite sends.
type FromAgent interface {
	Message
	fromAgent()
}

// FromCore marks messages that a core sends.
type FromCore interface {
	Message
	fromCore()
}

// What a satellite sends: A.5 first, then the extension.

func (*Authenticate) Type() string                 { return "authenticate" }
func (*Heartbeat) Type() string                    { return "heartbeat" }
func (*Result) Type() string                       { return "result" }
func (*StrategyError) Type() string                { return "strategy_error" }
func (*ScriptPackageSyncState) Type() string       { return "script_package_sync_state" }
func (*RequestScriptPackageManifest) Type() string { return "request_script_package_manifest" }
func (*RequestScriptPackageBlob) Type() string     { return "request_script_package_blob" }
func (*RequestRunSecrets) Type() string            { return "request_run_secrets" }
func (*RequestConfigSecrets) Type() string         { return "request_config_secrets" }
func (*TelemetryBatch) Type() string               { return "telemetry_batch" }
func (*CapabilityStatus) Type() string             { return "capability_status" }
func (*CapabilitySecretRequest) Type() string      { return "capability_secret_request" }
func (*Results) Type() string                      { return "perigee_results" }
func (*Applied) Type() string                      { return "perigee_applied" }
func (*Inventory) Type() string                    { return "perigee_inventory" }
func (*BlobRequest) Type() string                  { return "perigee_request_blob" }
func (*Tried) Type() string                        { return "perigee_tried" }

func (*Authenticate) fromAgent()                 {}
func (*Heartbeat) fromAgent()                    {}
func (*Result) fromAgent()                       {}
func (*StrategyError) fromAgent()                {}
func (*ScriptPackageSyncState) fromAgent()       {}
func (*RequestScriptPackageManifest) fromAgent() {}
func (*RequestScriptPackageBlob) fromAgent()     {}
func (*RequestRunSecrets) fromAgent()            {}
func (*RequestConfigSecrets) fromAgent()         {}
func (*TelemetryBatch) fromAgent()               {}
func (*CapabilityStatus) fromAgent()             {}
func (*CapabilitySecretRequest) fromAgent()      {}
func (*Results) fromAgent()                      {}
func (*Applied) fromAgent()                      {}
func (*Inventory) fromAgent()                    {}
func (*BlobRequest) fromAgent()                  {}
func (*Tried) fromAgent()                        {}

// What a core sends: A.6 first, then the extension.

func (*Authenticated) Type() string            { return "authenticated" }
func (*AuthFailed) Type() string               { return "auth_failed" }
func (*ConfigUpdated) Type() string            { return "config_updated" }
func (*Shutdown) Type() string                 { return "shutdown" }
func (*RefreshScriptPackages) Type() string    { return "refresh_script_packages" }
func (*ScriptPackageManifest) Type() string    { return "script_package_manifest" }
func (*ScriptPackageBlob) Type() string        { return "script_package_blob" }
func (*RunSecrets) Type() string               { return "run_secrets" }
func (*ConfigSecrets) Type() string            { return "config_secrets" }
func (*SandboxPolicy) Type() string            { return "sandbox_policy" }
func (*TelemetryAck) Type() string             { return "telemetry_ack" }
func (*CapabilityConfig) Type() string         { return "capability_config" }
func (*CapabilitySecretResponse) Type() string { return "capability_secret_response" }
func (*Ack) Type() string                      { return "perigee_ack" }
func (*Delta) Type() string                    { return "perigee_delta" }
func (*Clock) Type() string                    { return "perigee_clock" }
func (*BlobChunk) Type() string                { return "perigee_blob_chunk" }
func (*Drain) Type() string                    { return "perigee_drain" }
func (*RunNow) Type() string                   { return "perigee_run" }
func (*Lease) Type() string                    { return "perigee_lease" }
func (*Try) Type() string                      { return "perigee_try" }

func (*Authenticated) fromCore()            {}
func (*AuthFailed) fromCore()               {}
func (*ConfigUpdated) fromCore()            {}
func (*Shutdown) fromCore()                 {}
func (*RefreshScriptPackages) fromCore()    {}
func (*ScriptPackageManifest) fromCore()    {}
func (*ScriptPackageBlob) fromCore()        {}
func (*RunSecrets) fromCore()               {}
func (*ConfigSecrets) fromCore()            {}
func (*SandboxPolicy) fromCore()            {}
func (*TelemetryAck) fromCore()             {}
func (*CapabilityConfig) fromCore()         {}
func (*CapabilitySecretResponse) fromCore() {}
func (*Ack) fromCore()                      {}
func (*Delta) fromCore()                    {}
func (*Clock) fromCore()                    {}
func (*BlobChunk) fromCore()                {}
func (*Drain) fromCore()                    {}
func (*RunNow) fromCore()                   {}
func (*Lease) fromCore()                    {}
func (*Try) fromCore()                      {}

// agentMessages and coreMessages are everything that can be decoded.
var (
	agentMessages = catalogue(
		func() FromAgent { return new(Authenticate) },
		func() FromAgent { return new(Heartbeat) },
		func() FromAgent { return new(Result) },
		func() FromAgent { return new(StrategyError) },
		func() FromAgent { return new(ScriptPackageSyncState) },
		func() FromAgent { return new(RequestScriptPackageManifest) },
		func() FromAgent { return new(RequestScriptPackageBlob) },
		func() FromAgent { return new(RequestRunSecrets) },
		func() FromAgent { return new(RequestConfigSecrets) },
		func() FromAgent { return new(TelemetryBatch) },
		func() FromAgent { return new(CapabilityStatus) },
		func() FromAgent { return new(CapabilitySecretRequest) },
		func() FromAgent { return new(Results) },
		func() FromAgent { return new(Applied) },
		func() FromAgent { return new(Inventory) },
		func() FromAgent { return new(BlobRequest) },
		func() FromAgent { return new(Tried) },
	)
	coreMessages = catalogue(
		func() FromCore { return new(Authenticated) },
		func() FromCore { return new(AuthFailed) },
		func() FromCore { return new(ConfigUpdated) },
		func() FromCore { return new(Shutdown) },
		func() FromCore { return new(RefreshScriptPackages) },
		func() FromCore { return new(ScriptPackageManifest) },
		func() FromCore { return new(ScriptPackageBlob) },
		func() FromCore { return new(RunSecrets) },
		func() FromCore { return new(ConfigSecrets) },
		func() FromCore { return new(SandboxPolicy) },
		func() FromCore { return new(TelemetryAck) },
		func() FromCore { return new(CapabilityConfig) },
		func() FromCore { return new(CapabilitySecretResponse) },
		func() FromCore { return new(Ack) },
		func() FromCore { return new(Delta) },
		func() FromCore { return new(Clock) },
		func() FromCore { return new(BlobChunk) },
		func() FromCore { return new(Drain) },
		func() FromCore { return new(RunNow) },
		func() FromCore { return new(Lease) },
		func() FromCore { return new(Try) },
	)
)

// entry is one message type as the decoder needs it.
type entry[M Message] struct {
	make  func() M
	shape *shape
}

func catalogue[M Message](makers ...func() M) map[string]entry[M] {
	all := make(map[string]entry[M], len(makers))
	for _, m := range makers {
		one := m()
		all[one.Type()] = entry[M]{make: m, shape: shapeOf(one)}
	}
	return all
}
