package protocol

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The numbered facts of satellite-subsystem L.7, in frames as the original's own
// two ends write them.

// fromAgent decodes a frame that must be good.
func fromAgent[M FromAgent](t *testing.T, frame string) M {
	t.Helper()
	m, err := DecodeFromAgent([]byte(frame))
	if err != nil {
		t.Fatalf("decoding %s: %v", frame, err)
	}
	return m.(M)
}

func fromCore[M FromCore](t *testing.T, frame string) M {
	t.Helper()
	m, err := DecodeFromCore([]byte(frame))
	if err != nil {
		t.Fatalf("decoding %s: %v", frame, err)
	}
	return m.(M)
}

// sameAgain checks that a message encodes to the frame it came from.
func sameAgain(t *testing.T, m Message, frame string) {
	t.Helper()
	got, err := Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(frame, string(got)); diff != "" {
		t.Errorf("encodes differently (-want +got)\n%s", diff)
	}
}

func pushed(extra string) string {
	return `{"type":"config_updated","assignments":[{"configId":"c","systemId":"s","strategyId":"healthcheck-http.http",` +
		`"config":{"timeout":5000},"intervalSeconds":60` + extra + `}]}`
}

func TestL73_AssignmentWithNames(t *testing.T) {
	t.Parallel()
	frame := pushed(`,"configName":"Front","systemName":"Web"`)
	m := fromCore[*ConfigUpdated](t, frame)
	if a := m.Assignments[0]; a.ConfigName != "Front" || a.SystemName != "Web" {
		t.Errorf("names are %q and %q", a.ConfigName, a.SystemName)
	}
	sameAgain(t, m, frame)
}

func TestL74_AssignmentWithoutNames(t *testing.T) {
	t.Parallel()
	frame := pushed("")
	m := fromCore[*ConfigUpdated](t, frame)
	if a := m.Assignments[0]; a.ConfigName != "" || a.SystemName != "" {
		t.Errorf("names are %q and %q", a.ConfigName, a.SystemName)
	}
	sameAgain(t, m, frame)
}

func TestL75_AuthenticatedKeepsItsHash(t *testing.T) {
	t.Parallel()
	frame := `{"type":"authenticated","satelliteId":"s","assignments":[],"scriptPackagesLockfileHash":"abc"}`
	m := fromCore[*Authenticated](t, frame)
	if diff := cmp.Diff(Of("abc"), m.ScriptPackagesLockfileHash); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	sameAgain(t, m, frame)
}

func TestL76_AuthenticatedWithoutHashIsNotNull(t *testing.T) {
	t.Parallel()
	frame := `{"type":"authenticated","satelliteId":"s","assignments":[]}`
	m := fromCore[*Authenticated](t, frame)
	if m.ScriptPackagesLockfileHash.Present {
		t.Error("an absent hash is present")
	}
	sameAgain(t, m, frame)
}

func TestL77_ConfigUpdatedWithNullHash(t *testing.T) {
	t.Parallel()
	frame := `{"type":"config_updated","assignments":[],"scriptPackagesLockfileHash":null}`
	m := fromCore[*ConfigUpdated](t, frame)
	if diff := cmp.Diff(Null[string](), m.ScriptPackagesLockfileHash); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	sameAgain(t, m, frame)
}

func TestL78_RefreshScriptPackages(t *testing.T) {
	t.Parallel()
	frame := `{"type":"refresh_script_packages","lockfileHash":"abc"}`
	sameAgain(t, fromCore[*RefreshScriptPackages](t, frame), frame)
	wantInvalid(t, DecodeFromCore, `{"type":"refresh_script_packages","lockfileHash":null}`, "lockfileHash", "must be a string")
}

func TestL79_SyncStateReady(t *testing.T) {
	t.Parallel()
	frame := `{"type":"script_package_sync_state","lockfileHash":"abc","status":"ready"}`
	sameAgain(t, fromAgent[*ScriptPackageSyncState](t, frame), frame)
}

func TestL80_SyncStateErrorWithNullHash(t *testing.T) {
	t.Parallel()
	frame := `{"type":"script_package_sync_state","lockfileHash":null,"status":"error","errorMessage":"boom"}`
	m := fromAgent[*ScriptPackageSyncState](t, frame)
	if m.LockfileHash != nil || m.ErrorMessage != "boom" {
		t.Errorf("got %+v", m)
	}
	sameAgain(t, m, frame)
	wantInvalid(t, DecodeFromAgent, `{"type":"script_package_sync_state","status":"error"}`, "lockfileHash", "is missing")
}

func TestL81_RequestRunSecrets(t *testing.T) {
	t.Parallel()
	frame := `{"type":"request_run_secrets","requestId":"r","configId":"c","collectorId":"e","runId":"x"}`
	sameAgain(t, fromAgent[*RequestRunSecrets](t, frame), frame)
}

func TestL82_RunSecretsWithEnvHasNoError(t *testing.T) {
	t.Parallel()
	frame := `{"type":"run_secrets","requestId":"r","env":{"A":"1"}}`
	m := fromCore[*RunSecrets](t, frame)
	if m.Error != "" || m.Env["A"] != "1" {
		t.Errorf("got %+v", m)
	}
	sameAgain(t, m, frame)
}

func TestL83_RunSecretsWithErrorHasNoEnv(t *testing.T) {
	t.Parallel()
	frame := `{"type":"run_secrets","requestId":"r","error":"Secret not found: a"}`
	m := fromCore[*RunSecrets](t, frame)
	if m.Env != nil || m.Error == "" {
		t.Errorf("got %+v", m)
	}
	sameAgain(t, m, frame)
}

const policyJSON = `{"enabled":true,"onUnavailable":"fail","resources":{"cpuSeconds":60},"filesystem":{"mode":"scratch-plus-ro"},` +
	`"network":{"mode":"allowlist","allow":["a.test"],"denyLinkLocalAndMetadata":true},"privilege":{"mode":"drop-to-uid","uid":1000}}`

func TestL84_AuthenticatedCarriesASandboxPolicy(t *testing.T) {
	t.Parallel()
	frame := `{"type":"authenticated","satelliteId":"s","assignments":[],"sandboxPolicy":` + policyJSON + `}`
	m := fromCore[*Authenticated](t, frame)
	if diff := cmp.Diff(policyJSON, string(m.SandboxPolicy)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	sameAgain(t, m, frame)
}

func TestL85_AuthenticatedWithoutASandboxPolicy(t *testing.T) {
	t.Parallel()
	m := fromCore[*Authenticated](t, `{"type":"authenticated","satelliteId":"s","assignments":[]}`)
	if m.SandboxPolicy != nil {
		t.Errorf("got the policy %s", m.SandboxPolicy)
	}
}

func TestL86_SandboxPolicy(t *testing.T) {
	t.Parallel()
	frame := `{"type":"sandbox_policy","policy":` + policyJSON + `}`
	sameAgain(t, fromCore[*SandboxPolicy](t, frame), frame)
}

func TestL87_TelemetryBatchWithDropCounts(t *testing.T) {
	t.Parallel()
	frame := `{"type":"telemetry_batch","batchId":"0","kind":"telemetry","payload":{"items":[]},"droppedByGroup":{"a":3}}`
	sameAgain(t, fromAgent[*TelemetryBatch](t, frame), frame)
}

func TestL88_TelemetryBatchWithoutDropCounts(t *testing.T) {
	t.Parallel()
	frame := `{"type":"telemetry_batch","batchId":"0","kind":"telemetry","payload":null}`
	m := fromAgent[*TelemetryBatch](t, frame)
	if m.DroppedByGroup != nil {
		t.Errorf("got the counts %v", m.DroppedByGroup)
	}
	sameAgain(t, m, frame)
}

func TestL89_CapabilityStatus(t *testing.T) {
	t.Parallel()
	frame := `{"type":"capability_status","kind":"syslog","payload":{"up":true}}`
	sameAgain(t, fromAgent[*CapabilityStatus](t, frame), frame)
}

func TestL90_TelemetryAck(t *testing.T) {
	t.Parallel()
	frame := `{"type":"telemetry_ack","batchId":"0","accepted":2,"rejected":1,"retryable":false}`
	sameAgain(t, fromCore[*TelemetryAck](t, frame), frame)
}

func TestL91_CapabilityConfig(t *testing.T) {
	t.Parallel()
	frame := `{"type":"capability_config","kind":"syslog","payload":{"port":514}}`
	sameAgain(t, fromCore[*CapabilityConfig](t, frame), frame)
}

func TestL92_AuthenticateWithCapabilities(t *testing.T) {
	t.Parallel()
	frame := `{"type":"authenticate","clientId":"c","token":"t","capabilities":["telemetry","syslog"]}`
	sameAgain(t, fromAgent[*Authenticate](t, frame), frame)
}

func TestL93_HeartbeatWithoutCapabilities(t *testing.T) {
	t.Parallel()
	frame := `{"type":"heartbeat","version":"0.4.0","uptimeSeconds":15}`
	m := fromAgent[*Heartbeat](t, frame)
	if m.Capabilities != nil {
		t.Errorf("got the capabilities %v", m.Capabilities)
	}
	sameAgain(t, m, frame)
}

func TestL94_UnknownMembersAreIgnored(t *testing.T) {
	t.Parallel()
	m := fromAgent[*Result](t, `{"new":{"deep":[1,{"type":"x"}]},"type":"result","configId":"c","systemId":"s","status":"healthy",`+
		`"executedAt":"now","result":{"status":"healthy","latencyMs":1,"more":[],"metadata":{"connected":true,"also":null}},"zz":"\"}"}`)
	sameAgain(t, m, `{"type":"result","configId":"c","systemId":"s","status":"healthy",`+
		`"result":{"status":"healthy","latencyMs":1,"metadata":{"connected":true}},"executedAt":"now"}`)
	p := fromCore[*ConfigUpdated](t, pushed(`,"later":{"a":[]}`))
	sameAgain(t, p, pushed(""))
}

func TestL95_UnknownTypeIsAnErrorBothWays(t *testing.T) {
	t.Parallel()
	for _, frame := range []string{
		`{"type":"tomorrow","a":1}`,
		`{"a":1,"type":"tomorrow"}`,
		`{"type":"` + strings.Repeat("é", 500) + `"}`,
	} {
		_, agentErr := DecodeFromAgent([]byte(frame))
		_, coreErr := DecodeFromCore([]byte(frame))
		for _, err := range []error{agentErr, coreErr} {
			if !errors.Is(err, ErrUnknownType) {
				t.Errorf("decoding %.40s: got %v", frame, err)
			} else if len(err.Error()) > 200 {
				t.Errorf("the error is %d bytes long", len(err.Error()))
			}
		}
	}
	if _, err := DecodeFromAgent([]byte(`{"type":"authenticated","satelliteId":"s","assignments":[]}`)); !errors.Is(err, ErrUnknownType) {
		t.Errorf("a core's message from an agent: got %v", err)
	}
}

func TestL96_AssignmentWithoutEnvironments(t *testing.T) {
	t.Parallel()
	if m := fromCore[*ConfigUpdated](t, pushed("")); m.Assignments[0].Environments != nil {
		t.Errorf("got the environments %v", m.Assignments[0].Environments)
	}
}

func TestL97_AssignmentWithEnvironments(t *testing.T) {
	t.Parallel()
	frame := pushed(`,"environments":[{"id":"p","name":"Production","fields":{"host":"h","n":1}},{"id":"q","name":"Q"}]`)
	sameAgain(t, fromCore[*ConfigUpdated](t, frame), frame)
}

func TestL98_ResultWithoutEnvironment(t *testing.T) {
	t.Parallel()
	frame := `{"type":"result","configId":"c","systemId":"s","status":"healthy","executedAt":"now"}`
	m := fromAgent[*Result](t, frame)
	if m.EnvironmentID.Present {
		t.Error("an absent environment is present")
	}
	sameAgain(t, m, frame)
}

func TestL99_ResultWithEnvironmentAndWithNull(t *testing.T) {
	t.Parallel()
	for environment, want := range map[string]Nullable[string]{`"prod"`: Of("prod"), `null`: Null[string]()} {
		frame := `{"type":"result","configId":"c","systemId":"s","status":"healthy","executedAt":"now","environmentId":` + environment + `}`
		m := fromAgent[*Result](t, frame)
		if diff := cmp.Diff(want, m.EnvironmentID); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		sameAgain(t, m, frame)
	}
}

// TestTheOriginalsExchange is the example of N.1, as the original writes it.
func TestTheOriginalsExchange(t *testing.T) {
	t.Parallel()
	for _, frame := range []string{
		`{"type":"authenticate","clientId":"3f0c","token":"csat_x"}`,
		`{"type":"script_package_sync_state","lockfileHash":null,"status":"ready"}`,
		`{"type":"result","configId":"c1-uuid","systemId":"web","status":"healthy","latencyMs":42,` +
			`"executedAt":"2030-01-02T03:04:05.678Z",` +
			`"result":{"status":"healthy","latencyMs":42,"message":"Completed in 42ms",` +
			`"metadata":{"connected":true,"connectionTimeMs":0,` +
			`"collectors":{"e1":{"_collectorId":"healthcheck-http.request","statusCode":200,` +
			`"statusText":"OK","responseTimeMs":41,"body":"...","bodyLength":1256,"success":true}}}}}`,
		`{"type":"heartbeat","version":"0.4.0","uptimeSeconds":15}`,
		`{"type":"request_run_secrets","requestId":"r-uuid","configId":"c2-uuid","collectorId":"e7","runId":"x-uuid"}`,
		`{"type":"request_script_package_manifest","lockfileHash":"<64 hex>"}`,
		`{"type":"request_script_package_blob","integrity":"sha512-..."}`,
	} {
		if _, err := DecodeFromAgent([]byte(frame)); err != nil {
			t.Errorf("decoding %s: %v", frame, err)
		}
	}
	for _, frame := range []string{
		`{"type":"authenticated","satelliteId":"3f0c","assignments":[{"configId":"c1-uuid","systemId":"web","strategyId":"healthcheck-http.http",` +
			`"config":{"timeout":30000},"collectors":[{"id":"e1","collectorId":"healthcheck-http.request",` +
			`"config":{"url":"https://example.test/","method":"GET","timeout":5000},` +
			`"assertions":[{"field":"statusCode","operator":"equals","value":200}]}],` +
			`"intervalSeconds":60,"configName":"Front page","systemName":"Web"}],"scriptPackagesLockfileHash":null}`,
		`{"type":"config_updated","assignments":[],"scriptPackagesLockfileHash":null}`,
		`{"type":"run_secrets","requestId":"r-uuid","env":{"API_TOKEN":"..."}}`,
		`{"type":"script_package_manifest","lockfileHash":"<64 hex>",` +
			`"entries":[{"name":"zod","version":"4.2.1","integrity":"sha512-...","blobSha256":"<64 hex>"}]}`,
		`{"type":"script_package_blob","integrity":"sha512-...","data":"<base64 gzip tar>"}`,
	} {
		if _, err := DecodeFromCore([]byte(frame)); err != nil {
			t.Errorf("decoding %s: %v", frame, err)
		}
	}
}

// TestWhatTheOriginalLetsThrough is N.3: the protocol layer takes a fractional
// latency, a time that is none, and empty strings; health judges them.
func TestWhatTheOriginalLetsThrough(t *testing.T) {
	t.Parallel()
	m := fromAgent[*Result](t, `{"type":"result","configId":"","systemId":"","status":"unhealthy","latencyMs":41.7,"executedAt":"yesterday"}`)
	if *m.LatencyMs != 41.7 || m.ExecutedAt != "yesterday" {
		t.Errorf("got %+v", m)
	}
	fromAgent[*Authenticate](t, `{"type":"authenticate","clientId":"","token":""}`)
}

// TestListsTheOriginalTakesForGranted: a missing array would throw inside the
// original agent (A.3), so there is always one.
func TestListsTheOriginalTakesForGranted(t *testing.T) {
	t.Parallel()
	bare := []Assignment{{ConfigID: "c", Collectors: []Collector{{ID: "e"}}}}
	const filled = `"assignments":[{"configId":"c","systemId":"","strategyId":"","config":{},"collectors":[{"id":"e","collectorId":"","config":{}}],"intervalSeconds":0}]`
	for want, m := range map[string]Message{
		`{"type":"authenticated","satelliteId":"","assignments":[]}`:               &Authenticated{},
		`{"type":"config_updated","assignments":[]}`:                               &ConfigUpdated{},
		`{"type":"script_package_manifest","lockfileHash":"","entries":[]}`:        &ScriptPackageManifest{},
		`{"type":"perigee_results","records":[]}`:                                  &Results{},
		`{"type":"config_updated",` + filled + `}`:                                 &ConfigUpdated{Assignments: bare},
		`{"type":"perigee_delta","base":0,"revision":1}`:                           &Delta{Revision: 1},
		`{"type":"auth_failed","reason":"Must authenticate first"}`:                &AuthFailed{Reason: ReasonFirst},
		`{"type":"authenticate","clientId":"","token":"","perigee":` + hello + `}`: &Authenticate{Perigee: &Hello{}},
	} {
		sameAgain(t, m, want)
	}
	if bare[0].Config != nil || bare[0].Collectors[0].Config != nil {
		t.Error("encoding changed the message")
	}
}

const hello = `{"protocol":0,"features":[]}`

// wantInvalid checks that a frame is refused at the path and for the reason.
func wantInvalid[M Message](t *testing.T, decode func([]byte) (M, error), frame, path, reason string) {
	t.Helper()
	_, err := decode([]byte(frame))
	wrong, ok := errors.AsType[*InvalidError](err)
	if !ok {
		t.Errorf("decoding %.200s: got %v, want an InvalidError", frame, err)
		return
	}
	var typed struct{ Type string }
	if json.Unmarshal([]byte(frame), &typed) == nil && wrong.Type != typed.Type && !strings.Contains(reason, "UTF-8") {
		t.Errorf("the error of %.200s is of type %q", frame, wrong.Type)
	}
	if wrong.Path != path || !strings.Contains(wrong.Reason, reason) {
		t.Errorf("decoding %.200s: got %q %q, want %q %q", frame, wrong.Path, wrong.Reason, path, reason)
	}
}
