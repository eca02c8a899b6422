package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/perigee-monitoring/perigee/check"
)

var update = flag.Bool("update", false, "rewrite testdata/golden from the messages in golden_test.go")

// golden are messages of every type: minimal, full, and the variants in which
// absent, null and a value differ. The name is the file's: type[_variant].
func golden() map[string]Message {
	assignment := Assignment{
		ConfigID:   "8a6a1c52-7a3e-4c8e-9d53-1f5b3c1f0a01",
		SystemID:   "web",
		StrategyID: "healthcheck-http.http",
		Config:     json.RawMessage(`{"timeout":30000}`),
		Collectors: []Collector{{
			ID:          "e1",
			CollectorID: "healthcheck-http.request",
			Config:      json.RawMessage(`{"url":"https://example.test/?a=1&b=<2>","method":"GET","timeout":5000}`),
			Assertions: []check.Assertion{
				{Field: "statusCode", Operator: "equals", Value: float64(200)},
				{Field: "body", JSONPath: "$.ok", Operator: "isTrue"},
			},
		}},
		IntervalSeconds: 60,
		ConfigName:      "Front page",
		SystemName:      "Web",
		SystemMetadata:  map[string]any{"owner": "team-a", "tier": float64(1)},
		Environments: []check.Environment{
			{ID: "prod", Name: "Production", Fields: map[string]any{"host": "prod.example.test"}},
			{ID: "stage", Name: "Staging"},
		},
	}
	plain := Assignment{ConfigID: "c1", SystemID: "s1", StrategyID: "healthcheck-tcp.tcp", Config: json.RawMessage(`{}`), IntervalSeconds: 1}
	pair := Pair{ConfigID: "c1", SystemID: "s1"}
	guest, tried := plain, assignment
	tried.Environments = assignment.Environments[:1]
	seated, handedOver := plain, plain
	seated.Seat = &Seat{Number: 2, After: 1893553445678}
	handedOver.SystemID, handedOver.Seat = "s2", &Seat{Number: 1, After: 1893553445678, Until: 1893553490678}
	inventory := Inventory{
		Version: "1.0.0", OS: "linux", Arch: "arm64", Hostname: "edge-7",
		Strategies: []string{"healthcheck-http.http"}, Collectors: []string{"healthcheck-http.request"}, Runtimes: []string{"builtin", "node"},
		Missing: map[string]string{"bun": "none is in its PATH"},
		Fence:   &Fence{Level: "Landlock 5 and seccomp"},
	}
	evidence := &check.Result{
		Status:    check.Healthy,
		LatencyMs: 42.5,
		Message:   "Completed in 42ms",
		Metadata: check.Metadata{
			Connected:        true,
			ConnectionTimeMs: new(3.25),
			Collectors: map[string]json.RawMessage{
				"e1": json.RawMessage(`{"_collectorId":"healthcheck-http.request","statusCode":200,"body":"<p>1 & 2</p>","success":true}`),
			},
			Error: "none",
			Timings: &check.Timings{
				DNSMs: new(1.0), ConnectMs: new(2.0), TLSMs: new(3.0), WaitMs: new(4.0), TransferMs: new(5.0), ProcessingMs: new(6.0),
			},
		},
	}
	policy := json.RawMessage(`{"enabled":true,"onUnavailable":"fail","resources":{"cpuSeconds":60,"memoryBytes":536870912,"maxOpenFiles":1024,"maxProcesses":256,"maxOutputBytes":5242880,"maxFileSizeBytes":268435456},"filesystem":{"mode":"scratch-plus-ro","scratchBytes":1048576},"network":{"mode":"allowlist","allow":["api.example.test"],"denyLinkLocalAndMetadata":true},"privilege":{"mode":"drop-to-uid","uid":65534,"gid":65534}}`)
	failure := Result{ConfigID: "c1", SystemID: "s1", Status: check.Unhealthy, ExecutedAt: "2030-01-02T03:04:05.678Z", Slot: 1893553445000}
	const hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

	return map[string]Message{
		"authenticate":              &Authenticate{ClientID: "3f0c9c1e-0000-7000-8000-000000000001", Token: "csat_" + strings.Repeat("a", 43)},
		"authenticate_capabilities": &Authenticate{ClientID: "s", Token: "csat_x", Capabilities: []string{"telemetry", "syslog"}},
		"authenticate_perigee": &Authenticate{ClientID: "s", Token: "csat_x", Perigee: &Hello{
			Protocol: Version, Features: Features(), BootID: "0190b7e2-boot", Revision: 12, Inventory: &inventory,
		}},
		"heartbeat":              &Heartbeat{Version: "0.4.0", UptimeSeconds: 15},
		"heartbeat_capabilities": &Heartbeat{Version: "0.9.0", UptimeSeconds: 15.5, Capabilities: []string{"telemetry"}},
		"heartbeat_perigee": &Heartbeat{Version: "1.0.0", UptimeSeconds: 3600.25, Perigee: &Pulse{
			SentAt: 1893553445678, OffsetMs: new(-12.5), UncertaintyMs: new(0.75), SpoolRecords: 3, SpoolBytes: 4096, SpoolDropped: 1,
		}},
		"heartbeat_perigee_observer": &Heartbeat{Version: "1.0.0", UptimeSeconds: 15, Perigee: &Pulse{SentAt: 1893553445678, Observer: &Observer{}}},
		"heartbeat_perigee_observer_ill": &Heartbeat{Version: "1.0.0", UptimeSeconds: 15, Perigee: &Pulse{SentAt: 1893553445678, Observer: &Observer{
			Ill: []Illness{{Kind: IllResolver, Since: 1893553440000, Detail: "no answer from the nameserver"}, {Kind: IllClock, Since: 1893553441000}}, LagMs: 12.5,
		}}},
		"result_inconclusive": &Result{ConfigID: "c1", SystemID: "s1", Status: check.Unhealthy, ExecutedAt: "2030-01-02T03:04:05.678Z", Inconclusive: "resolver: no answer from the nameserver"},
		"result":              &Result{ConfigID: "c1", SystemID: "s1", Status: check.Degraded, ExecutedAt: "2030-01-02T03:04:05.678Z"},
		"result_full": &Result{
			ConfigID: "c1", SystemID: "s1", Status: check.Healthy, LatencyMs: new(42.5), Result: evidence,
			ExecutedAt: "2030-01-02T03:04:05.678Z", EnvironmentID: Of("prod"), Slot: 1893553445000, Revision: 12,
		},
		"result_null_environment":          &Result{ConfigID: "c1", SystemID: "s1", Status: check.Healthy, LatencyMs: new(0.0), ExecutedAt: "now", EnvironmentID: Null[string]()},
		"strategy_error":                   &StrategyError{StrategyID: "healthcheck-http.http", Message: "Strategy failed"},
		"script_package_sync_state":        &ScriptPackageSyncState{Status: SyncReady},
		"script_package_sync_state_error":  &ScriptPackageSyncState{LockfileHash: new(hash), Status: SyncError, ErrorMessage: "Core did not return blob sha512-abc; cannot reconcile."},
		"request_script_package_manifest":  &RequestScriptPackageManifest{LockfileHash: hash},
		"request_script_package_blob":      &RequestScriptPackageBlob{Integrity: "sha512-abc=="},
		"request_run_secrets":              &RequestRunSecrets{RequestID: "r1", ConfigID: "c1", CollectorID: "e7", RunID: "x1"},
		"request_config_secrets":           &RequestConfigSecrets{RequestID: "r1", ConfigID: "c1", RunID: "x1"},
		"telemetry_batch":                  &TelemetryBatch{BatchID: "0", Kind: "telemetry", Payload: json.RawMessage(`null`)},
		"telemetry_batch_dropped":          &TelemetryBatch{BatchID: "1", Kind: "telemetry", Payload: json.RawMessage(`{"items":[1,2]}`), DroppedByGroup: map[string]int64{"stream-a": 3}},
		"capability_status":                &CapabilityStatus{Kind: "syslog", Payload: json.RawMessage(`{"listening":true}`)},
		"capability_secret_request":        &CapabilitySecretRequest{RequestID: "r1", Kind: "telemetry-pull", Payload: json.RawMessage(`{"target":"t1"}`)},
		"perigee_results":                  &Results{Records: []Record{}},
		"perigee_results_full":             &Results{Records: []Record{{Seq: 41, Result: &failure}, {Seq: 42, Skip: &Skip{ConfigID: "c1", SystemID: "s1", EnvironmentID: "prod", From: 1893553446000, To: 1893553455000, Count: 10, Reason: SkipDown}}}},
		"perigee_applied":                  &Applied{Revision: 12},
		"perigee_applied_errors":           &Applied{Revision: 12, Errors: []AppliedError{{Pair: pair, Message: "strategy healthcheck-ssh.ssh is not known here"}}},
		"perigee_inventory":                &Inventory{},
		"perigee_inventory_full":           &inventory,
		"authenticated":                    &Authenticated{SatelliteID: "3f0c9c1e-0000-7000-8000-000000000001", Assignments: []Assignment{}},
		"authenticated_null_hash":          &Authenticated{SatelliteID: "s", Assignments: []Assignment{plain}, ScriptPackagesLockfileHash: Null[string]()},
		"authenticated_full":               &Authenticated{SatelliteID: "s", Assignments: []Assignment{assignment, plain}, ScriptPackagesLockfileHash: Of(hash), SandboxPolicy: policy, Perigee: &Welcome{Protocol: Version, Features: Features(), Epoch: 3, Revision: 12, Credit: 1 << 20}},
		"auth_failed":                      &AuthFailed{Reason: ReasonInvalid},
		"auth_failed_first":                &AuthFailed{Reason: ReasonFirst},
		"config_updated":                   &ConfigUpdated{Assignments: []Assignment{}},
		"config_updated_null_hash":         &ConfigUpdated{Assignments: []Assignment{plain}, ScriptPackagesLockfileHash: Null[string]()},
		"config_updated_full":              &ConfigUpdated{Assignments: []Assignment{assignment}, ScriptPackagesLockfileHash: Of(hash), Revision: 13},
		"shutdown":                         &Shutdown{Reason: "Satellite deleted"},
		"refresh_script_packages":          &RefreshScriptPackages{LockfileHash: hash},
		"script_package_manifest":          &ScriptPackageManifest{LockfileHash: hash, Entries: []ManifestEntry{}},
		"script_package_manifest_full":     &ScriptPackageManifest{LockfileHash: hash, Entries: []ManifestEntry{{Name: "zod", Version: "4.2.1", Integrity: "sha512-abc==", BlobSha256: hash}, {Name: "@scope/pkg", Version: "1.0.0", Integrity: "sha512-def=="}}},
		"script_package_blob":              &ScriptPackageBlob{Integrity: "sha512-abc=="},
		"script_package_blob_data":         &ScriptPackageBlob{Integrity: "sha512-abc==", Data: new("H4sIAAAAAAAAAwMAAAAAAAAAAAA=")},
		"run_secrets":                      &RunSecrets{RequestID: "r1", Env: map[string]string{"API_TOKEN": "t<&>"}},
		"run_secrets_error":                &RunSecrets{RequestID: "r1", Error: "Secret not found: api"},
		"config_secrets":                   &ConfigSecrets{RequestID: "r1"},
		"config_secrets_full":              &ConfigSecrets{RequestID: "r1", Strategy: map[string]string{"auth.password": "p"}, Collectors: map[string]map[string]string{"e1": {"headers[0].value": "v"}}},
		"config_secrets_error":             &ConfigSecrets{RequestID: "r1", Error: "Config-secret delivery is not available on this core instance."},
		"sandbox_policy":                   &SandboxPolicy{Policy: policy},
		"telemetry_ack":                    &TelemetryAck{BatchID: "0"},
		"telemetry_ack_full":               &TelemetryAck{BatchID: "1", Accepted: 5, Rejected: 2, Retryable: true},
		"capability_config":                &CapabilityConfig{Kind: "syslog", Payload: json.RawMessage(`{"port":514}`)},
		"capability_secret_response":       &CapabilitySecretResponse{RequestID: "r1", Payload: json.RawMessage(`{"user":"u"}`)},
		"capability_secret_response_error": &CapabilitySecretResponse{RequestID: "r1", Error: `No secret resolver for capability "syslog" on this core instance.`},
		"perigee_ack":                      &Ack{UpTo: 42},
		"perigee_ack_full":                 &Ack{UpTo: 42, Credit: 1 << 20, Refused: []Refused{{Seq: 41, Reason: "not assigned"}}},
		"perigee_delta":                    &Delta{Base: 12, Revision: 13},
		"perigee_delta_full":               &Delta{Base: 12, Revision: 14, Upserts: []Assignment{assignment}, Removals: []Pair{pair}},
		"script_package_manifest_error":    &ScriptPackageManifest{LockfileHash: hash, Entries: []ManifestEntry{}, Error: "this lockfile hash is not known"},
		"script_package_manifest_paths":    &ScriptPackageManifest{LockfileHash: hash, Entries: []ManifestEntry{{Name: "a", Version: "1.0.0", Integrity: "sha512-abc==", BlobSha256: hash, Paths: []string{"node_modules/a", "node_modules/@s/b/node_modules/a"}}}},
		"run_secrets_sealed":               &RunSecrets{RequestID: "r1", Sealed: "c2VhbGVk"},
		"config_secrets_sealed":            &ConfigSecrets{RequestID: "r1", Sealed: "c2VhbGVk"},
		"authenticate_seal_key":            &Authenticate{ClientID: "s", Token: "csat_x", Perigee: &Hello{Protocol: Version, Features: []string{FeatureSeal}, SealKey: "a2V5"}},
		"perigee_request_blob":             &BlobRequest{RequestID: "r1", Integrity: "sha512-abc==", Offset: 262144, Length: 262144},
		"perigee_blob_chunk":               &BlobChunk{RequestID: "r1", Offset: 262144, Total: 262148, Sha256: hash, Data: "H4sIAA=="},
		"perigee_blob_chunk_error":         &BlobChunk{RequestID: "r1", Error: "this package is not known"},
		"perigee_drain":                    &Drain{SpanMs: 5000},
		"perigee_drain_reason":             &Drain{SpanMs: 5000, Reason: "the core is stopping"},
		"perigee_delta_seat":               &Delta{Base: 12, Revision: 13, Upserts: []Assignment{seated, handedOver}},
		"perigee_lease":                    &Lease{Until: 1893553490678, Revision: 13},
		"perigee_run":                      &RunNow{Pair: pair, Slot: 1893553445678},
		"perigee_run_environment":          &RunNow{Pair: pair, EnvironmentID: "prod", Slot: 1893553445678},
		"perigee_try":                      &Try{RequestID: "t1", Assignment: plain},
		"perigee_try_full":                 &Try{RequestID: "t1", Assignment: tried, DeadlineMs: 20000},
		"perigee_tried":                    &Tried{RequestID: "t1", Result: evidence, TookMs: map[string]float64{"e1": 41.25}, Fences: map[string]string{"e1": "files closed; no network"}, ExecutedAt: "2030-01-02T03:04:05.678Z", Inconclusive: "its nameserver did not answer"},
		"perigee_tried_error":              &Tried{RequestID: "t1", Error: "it is busy"},
		"perigee_run_guest":                &RunNow{Pair: pair, Slot: 1893553445678, Assignment: &guest, DeadlineMs: 5000},
		"perigee_clock":                    &Clock{Echo: 1893553445678, ReceivedAt: 1893553445690, SentAt: 1893553445691},
	}
}

func goldenFile(name string) string { return filepath.Join("testdata", "golden", name+".json") }

// TestGolden freezes the wire: each message encodes to its file, and the file
// decodes to the message, both as it travels and as it stands.
func TestGolden(t *testing.T) {
	t.Parallel()
	for name, message := range golden() {
		frame, err := Encode(message)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, frame, "", "  "); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		pretty.WriteByte('\n')
		if *update {
			if err := os.WriteFile(goldenFile(name), pretty.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(goldenFile(name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), pretty.String()); diff != "" {
			t.Errorf("%s encodes differently (-want +got)\n%s", name, diff)
		}
		if got := decodeAny(t, frame); !cmp.Equal(message, got) {
			t.Errorf("%s as it travels decodes differently (-want +got)\n%s", name, cmp.Diff(message, got))
		}
		// Indented values keep their spaces where they are raw; encoding evens that out.
		again, err := Encode(decodeAny(t, want))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(string(frame), string(again)); diff != "" {
			t.Errorf("%s as it stands decodes differently (-want +got)\n%s", name, diff)
		}
	}
}

// decodeAny decodes a frame from whichever side sends its type.
func decodeAny(t *testing.T, frame []byte) Message {
	t.Helper()
	fromAgent, err := DecodeFromAgent(frame)
	if err == nil {
		return fromAgent
	}
	if !errors.Is(err, ErrUnknownType) {
		t.Fatalf("decoding %.200s: %v", frame, err)
	}
	fromCore, err := DecodeFromCore(frame)
	if err != nil {
		t.Fatalf("decoding %.200s: %v", frame, err)
	}
	return fromCore
}

// TestEveryMessageIsFrozenAndDescribed keeps the golden files, the page and the
// list of types together.
func TestEveryMessageIsFrozenAndDescribed(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "docs", "protocol.md"))
	if err != nil {
		t.Fatal(err)
	}
	messages := golden()
	for _, name := range typeNames() {
		variants := 0
		for file, m := range messages {
			if m.Type() == name {
				variants++
				if !strings.HasPrefix(file, name) {
					t.Errorf("golden message %s is of type %s", file, name)
				}
			}
		}
		if variants == 0 || messages[name] == nil {
			t.Errorf("%s has no golden message of its own name", name)
		}
		if !bytes.Contains(page, []byte("`"+name+"`")) {
			t.Errorf("docs/protocol.md does not name %s", name)
		}
	}
	files, err := filepath.Glob(goldenFile("*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".json"); messages[name] == nil {
			t.Errorf("%s belongs to no message", file)
		}
	}
}

// typeNames are the types of both directions, sorted.
func typeNames() []string {
	var all []string
	for name := range agentMessages {
		all = append(all, name)
	}
	for name := range coreMessages {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}
