package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/perigee-monitoring/perigee/check"
)

func TestEncodePutsTheTypeFirst(t *testing.T) {
	t.Parallel()
	for want, m := range map[string]Message{
		`{"type":"perigee_ack","upTo":7}`:                                               &Ack{UpTo: 7},
		`{"type":"perigee_inventory"}`:                                                  &Inventory{},
		`{"type":"shutdown","reason":"a <b> & c"}`:                                      &Shutdown{Reason: "a <b> & c"},
		`{"type":"refresh_script_packages",` + hashOddity:                               &RefreshScriptPackages{LockfileHash: "<&>"},
		`{"type":"config_updated","assignments":[],"scriptPackagesLockfileHash":"<&>"}`: &ConfigUpdated{ScriptPackagesLockfileHash: Of("<&>")},
	} {
		sameAgain(t, m, want)
	}
}

const hashOddity = `"lockfileHash":"<&>"}`

func TestAppendKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	got, err := Append([]byte("before "), &Ack{UpTo: 1})
	if err != nil {
		t.Fatal(err)
	}
	if want := `before {"type":"perigee_ack","upTo":1}`; string(got) != want {
		t.Errorf("got %s", got)
	}
	got, err = Append([]byte("before"), &SandboxPolicy{Policy: json.RawMessage(`{"broken`)})
	if err == nil || string(got) != "before" {
		t.Errorf("got %q and %v, want what was there and an error", got, err)
	}
}

// TestEveryRequiredMemberIsMissed takes each required member out of each golden
// message, at every depth, and puts a value of another kind in its place.
func TestEveryRequiredMemberIsMissed(t *testing.T) {
	t.Parallel()
	tried := 0
	for name, m := range golden() {
		frame, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		var document map[string]any
		if err := json.Unmarshal(frame, &document); err != nil {
			t.Fatal(err)
		}
		shape := shapeFor(m)
		if _, ok := m.(*Results); ok {
			continue // its records stand for themselves: TestOneBadRecordIsRefusedAlone
		}
		broken(document, shape, "", func(path, change string) {
			tried++
			frame, err := json.Marshal(document)
			if err != nil {
				t.Fatal(err)
			}
			_, agentErr := DecodeFromAgent(frame)
			_, coreErr := DecodeFromCore(frame)
			for _, err := range []error{agentErr, coreErr} {
				wrong, ok := errors.AsType[*InvalidError](err)
				if errors.Is(err, ErrUnknownType) {
					continue // the other direction
				}
				if !ok || wrong.Path != path {
					t.Errorf("%s with %s %s: got %v", name, path, change, err)
				}
			}
		})
	}
	if tried < 200 {
		t.Errorf("tried only %d changes", tried)
	}
}

func shapeFor(m Message) *shape {
	if k, ok := agentMessages[m.Type()]; ok {
		return k.shape
	}
	return coreMessages[m.Type()].shape
}

// broken makes each single change to the value that must be noticed, calls try
// with it, and takes it back.
func broken(value any, s *shape, path string, try func(path, change string)) {
	switch v := value.(type) {
	case map[string]any:
		for _, m := range s.members {
			was, present := v[m.name]
			if !present {
				continue
			}
			at := strings.TrimPrefix(path+"."+m.name, ".")
			if m.required {
				delete(v, m.name)
				try(at, "missing")
			}
			if firm(m.shape) {
				v[m.name] = otherKind(m.shape)
				try(at, "of another kind")
			}
			if m.required && !m.shape.nullable && firm(m.shape) {
				v[m.name] = nil
				try(at, "null")
			}
			v[m.name] = was
			under := m.shape
			if under.kind == kindPointer {
				under = under.elem
			}
			broken(was, under, at, try)
		}
	case []any:
		for i, element := range v {
			if s.elem != nil {
				broken(element, s.elem, fmt.Sprintf("%s[%d]", path, i), try)
			}
		}
	}
}

// firm reports whether the shape takes values of one kind only.
func firm(s *shape) bool { return s.kind != kindRaw && s.kind != kindFree }

func otherKind(s *shape) any {
	if s.kind == kindPointer {
		s = s.elem
	}
	if s.kind == kindNumber || s.kind == kindInteger {
		return "1"
	}
	return 1
}

func TestInvalidMessages(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", MaxText+1)
	result := func(extra string) string {
		return `{"type":"result","configId":"c","systemId":"s","status":"healthy","executedAt":"now"` + extra + `}`
	}
	for _, c := range []struct{ frame, path, reason string }{
		{``, "", "not a JSON object"},
		{`null`, "", "not a JSON object"},
		{`[]`, "", "not a JSON object"},
		{`{}`, "", "has no type"},
		{`{"type":7}`, "", "type that is not a string"},
		{`{"type":"heartbeat"}`, "version", "is missing"},
		{`{"type":"heartbeat"`, "", "not JSON"},
		{`{"type":"heartbeat","version":"1","uptimeSeconds":1`, "", "not JSON"},
		{`{"type":"heartbeat","version":"1","uptimeSeconds":1}}`, "", "not JSON"},
		{`{"type":"heartbeat","version":"1","uptimeSeconds":1e999}`, "uptimeSeconds", "out of range"},
		{"{\"type\":\"heartbeat\",\"version\":\"\xff\",\"uptimeSeconds\":1}", "", "not UTF-8"},
		{`{"type":"authenticate","clientId":"c","token":"` + strings.Repeat("t", MaxToken+1) + `"}`, "token", "longer"},
		{`{"type":"authenticate","clientId":"` + strings.Repeat("c", MaxID+1) + `","token":"t"}`, "clientId", "longer"},
		{`{"type":"authenticate","clientId":"c","token":"t","capabilities":["` + strings.Repeat("c", MaxID+1) + `"]}`, "capabilities[0]", "longer"},
		{`{"type":"authenticate","clientId":"c","token":"t","capabilities":[` + strings.Repeat(`"a",`, MaxList) + `"a"]}`, "capabilities", "more than 1024 entries"},
		{`{"type":"authenticate","clientId":"c","token":"t","perigee":{"protocol":1}}`, "perigee.features", "is missing"},
		{`{"type":"authenticate","clientId":"c","token":"t","perigee":{"protocol":1,"features":[],"inventory":{"strategies":[` + strings.Repeat(`"a",`, MaxList) + `"a"]}}}`, "perigee.inventory.strategies", "more than"},
		{result(`,"latencyMs":"1"`), "latencyMs", "must be a number"},
		{result(`,"slot":1.5`), "slot", "must be a whole number"},
		{result(`,"slot":9223372036854775808`), "slot", "must be a whole number"},
		{result(`,"environmentId":7`), "environmentId", "must be a string"},
		{result(`,"result":{"status":"unknown","latencyMs":1,"metadata":{"connected":true}}`), "result.status", "must be healthy"},
		{result(`,"result":{"status":"healthy","latencyMs":1,"metadata":{}}`), "result.metadata.connected", "is missing"},
		{result(`,"result":{"status":"healthy","metadata":{"connected":true}}`), "result.latencyMs", "is missing"},
		{result(`,"result":{"status":"healthy","latencyMs":1,"message":"` + long + `","metadata":{"connected":true}}`), "result.message", "longer"},
		{result(`,"result":{"status":"healthy","latencyMs":1,"metadata":{"connected":true,"collectors":[]}}`), "result.metadata.collectors", "must be an object"},
		{result(`,"result":{"status":"healthy","latencyMs":1,"metadata":{"connected":true,"timings":{"waitMs":"1"}}}`), "result.metadata.timings.waitMs", "must be a number"},
		{`{"type":"result","configId":"c","systemId":"s","status":"unknown","executedAt":"now"}`, "status", "must be healthy"},
		{`{"type":"script_package_sync_state","lockfileHash":null,"status":"done"}`, "status", "must be pending"},
		{`{"type":"strategy_error","strategyId":"s","message":"` + long + `"}`, "message", "longer"},
		{`{"type":"perigee_applied","revision":-1}`, "revision", "negative"},
		{`{"type":"perigee_applied","revision":1,"errors":[{"configId":"c","message":"m"}]}`, "errors[0].systemId", "is missing"},
		{`{"type":"telemetry_batch","batchId":"1","kind":"k"}`, "payload", "is missing"},
	} {
		wantInvalid(t, DecodeFromAgent, c.frame, c.path, c.reason)
	}
	for _, c := range []struct{ frame, path, reason string }{
		{`{"type":"authenticated","satelliteId":"s"}`, "assignments", "is missing"},
		{`{"type":"authenticated","satelliteId":"s","assignments":null}`, "assignments", "must be an array"},
		{`{"type":"authenticated","satelliteId":"s","assignments":[null]}`, "assignments[0]", "must be an object"},
		{pushed(`,"collectors":[{"id":"e","collectorId":"x","config":{},"assertions":[{"operator":"isTrue"}]}]`), "assignments[0].collectors[0].assertions[0].field", "is missing"},
		{pushed(`,"collectors":[` + strings.Repeat(`{"id":"e","collectorId":"x","config":{}},`, MaxCollectors) + `{"id":"e","collectorId":"x","config":{}}]`), "assignments[0].collectors", "more than 256"},
		{pushed(`,"configName":"` + strings.Repeat("n", MaxName+1) + `"`), "assignments[0].configName", "longer"},
		{pushed(`,"environments":[{"id":"p"}]`), "assignments[0].environments[0].name", "is missing"},
		{`{"type":"perigee_delta","base":3,"revision":3}`, "revision", "above base"},
		{`{"type":"perigee_ack","upTo":-1}`, "upTo", "negative"},
		{`{"type":"perigee_ack","upTo":1,"refused":[{"seq":1}]}`, "refused[0].reason", "is missing"},
		{`{"type":"run_secrets","requestId":"r","env":{"A":1}}`, "env.A", "must be a string"},
		{`{"type":"config_secrets","requestId":"r","collectors":{"e1":{"p":1}}}`, "collectors.e1.p", "must be a string"},
	} {
		wantInvalid(t, DecodeFromCore, c.frame, c.path, c.reason)
	}
}

// TestWhatIsNotJSON: the scanner is ours, so its strictness is tested here, and by
// the fuzz targets against encoding/json.
func TestWhatIsNotJSON(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		`01`, `+1`, `1.`, `.5`, `1e`, `1e+`, `-`, `0x1`, `NaN`, `tru`, `truex`, `nul`, `"\x"`, `"\u12g4"`, `"\u123`, "\"\x01\"", `"`, `'a'`,
		`[1,]`, `[,1]`, `[1 2]`, `[1`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{"a":1 "b":2}`, `{"a":1`, `{]`, `[}`, ``, `1 1`,
	} {
		for _, frame := range []string{
			`{"type":"capability_status","kind":"k","payload":` + value + `}`,
			`{"type":"capability_status","kind":"k","unknown":` + value + `,"payload":1}`,
			`{"unknown":` + value + `,"type":"capability_status","kind":"k","payload":1}`,
		} {
			_, err := DecodeFromAgent([]byte(frame))
			if wrong, ok := errors.AsType[*InvalidError](err); !ok || wrong.Reason != notJSON().Reason || json.Valid([]byte(frame)) {
				t.Errorf("decoding %s: got %v", frame, err)
			}
		}
	}
}

func TestNullForAnOptionalMemberIsAbsence(t *testing.T) {
	t.Parallel()
	m := fromAgent[*Result](t, `{"type":"result","configId":"c","systemId":"s","status":"healthy","latencyMs":null,"result":null,"slot":null,"executedAt":"now"}`)
	if m.LatencyMs != nil || m.Result != nil || m.Slot != 0 {
		t.Errorf("got %+v", m)
	}
	h := fromAgent[*Heartbeat](t, `{"type":"heartbeat","version":"1","uptimeSeconds":1,"capabilities":null,"perigee":null}`)
	if h.Capabilities != nil || h.Perigee != nil {
		t.Errorf("got %+v", h)
	}
}

func TestTheTypeMayStandAnywhere(t *testing.T) {
	t.Parallel()
	for _, frame := range []string{
		` {"type":"heartbeat","version":"1","uptimeSeconds":1}`,
		`{ "type" : "heartbeat" , "version" : "1" , "uptimeSeconds" : 1 }`,
		`{"version":"1","nested":{"type":"result","a":["type","x"]},"uptimeSeconds":1,"type":"heartbeat"}`,
		`{"\u0074ype":"heartbeat","version":"1","uptimeSeconds":1}`,
		`{"type":"heart\u0062eat","version":"1","uptimeSeconds":1}`,
		`{"type":"heartbeat","type":"result","\u0076ersion":"1","uptimeSeconds":1}`,
	} {
		if m := fromAgent[*Heartbeat](t, frame); m.Version != "1" {
			t.Errorf("decoding %s: got %+v", frame, m)
		}
	}
}

// TestNoNULGetsIn: PostgreSQL's text cannot hold one.
func TestNoNULGetsIn(t *testing.T) {
	t.Parallel()
	m := fromAgent[*Result](t, `{"type":"result","configId":"c","systemId":"s","status":"unhealthy","executedAt":"now",`+
		`"result":{"status":"unhealthy","latencyMs":1,"message":"a\u0000b","metadata":{"connected":true,"collectors":{"e":{"body":"\u0000"}}}}}`)
	if got := m.Result.Message; got != "a\uFFFDb" {
		t.Errorf("the message is %q", got)
	}
	if got := string(m.Result.Metadata.Collectors["e"]); got != `{"body":"\u0000"}` { // escaped, as it came
		t.Errorf("the collector's object is %s", got)
	}
	wantInvalid(t, DecodeFromAgent, `{"type":"result","configId":"c","systemId":"s","status":"unhealthy","executedAt":"now",`+
		`"result":{"status":"unhealthy","latencyMs":1,"metadata":{"connected":true,"collectors":{"e\u0000":{}}}}}`,
		"result.metadata.collectors.e\x00", "NUL")
}

func TestDuplicateMembersLastWins(t *testing.T) {
	t.Parallel()
	m := fromAgent[*Heartbeat](t, `{"type":"heartbeat","version":"1","version":"2","uptimeSeconds":1,"uptimeSeconds":3}`)
	if m.Version != "2" || m.UptimeSeconds != 3 {
		t.Errorf("got %+v", m)
	}
	wantInvalid(t, DecodeFromAgent, `{"type":"heartbeat","version":"1","version":null,"uptimeSeconds":1}`, "version", "must be a string")
}

func TestDepthIsLimited(t *testing.T) {
	t.Parallel()
	nested := func(depth int) string {
		return `{"type":"capability_status","kind":"k","payload":` + strings.Repeat(`{"a":[`, depth/2) + strings.Repeat(`]}`, depth/2) + `}`
	}
	fromAgent[*CapabilityStatus](t, nested(MaxDepth-2))
	for _, frame := range []string{nested(MaxDepth + 2), nested(1_000_000)} {
		wantInvalid(t, DecodeFromAgent, frame, "payload", "nested more than 100 deep")
	}
	deepUnknown := `{"unknown":` + strings.Repeat(`[`, 500) + strings.Repeat(`]`, 500) + `,"type":"heartbeat","version":"1","uptimeSeconds":1}`
	if _, err := DecodeFromAgent([]byte(deepUnknown)); err == nil {
		t.Error("a deep unknown member passes")
	}
}

// TestNothingAliasesTheFrame overwrites the frame after decoding, as a pooled
// buffer is.
func TestNothingAliasesTheFrame(t *testing.T) {
	t.Parallel()
	for name, want := range golden() {
		frame, err := Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		got := decodeAny(t, frame)
		for i := range frame {
			frame[i] = '#'
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s changed with its frame (-want +got)\n%s", name, diff)
		}
	}
	batch := []byte(`{"type":"perigee_results","records":[{"seq":1,"result":7},` + goodRecord(2) + `]}`)
	m, err := DecodeFromAgent(batch)
	if err != nil {
		t.Fatal(err)
	}
	for i := range batch {
		batch[i] = '#'
	}
	if r := m.(*Results).Records[1]; r.Result == nil || r.Result.ConfigID != "c" || string(r.Result.Result.Metadata.Collectors["e"]) != `{"a":1}` {
		t.Errorf("the record changed with its frame: %+v", r)
	}
}

func goodRecord(seq int) string {
	return fmt.Sprintf(`{"seq":%d,"result":{"configId":"c","systemId":"s","status":"healthy","executedAt":"now",`+
		`"result":{"status":"healthy","latencyMs":1,"metadata":{"connected":true,"collectors":{"e":{"a":1}}}}}}`, seq)
}

// TestOneBadRecordIsRefusedAlone: a batch is sent again until it is
// acknowledged, so a record that can never be taken must not hold up the rest.
func TestOneBadRecordIsRefusedAlone(t *testing.T) {
	t.Parallel()
	for bad, reason := range map[string]string{
		`{"seq":2}`:              "must hold a result or a skip",
		`{"seq":2,"result":{}}`:  "result.configId is missing",
		`{"seq":2,"result":"x"}`: "result must be an object",
		`{"seq":2,"result":{"configId":"c","systemId":"s","status":"gone","executedAt":"now"}}`:                      "result.status must be healthy",
		`{"seq":2,"result":{"configId":"c","systemId":"s","status":"healthy","latencyMs":1e999,"executedAt":"n"}}`:   "result.latencyMs is out of range",
		`{"seq":2,"skip":{"configId":"c","systemId":"s","from":2,"to":1,"count":1,"reason":"limit"}}`:                "skip.to is before from",
		`{"seq":2,"skip":{"configId":"c","systemId":"s","from":1,"to":1,"count":0,"reason":"limit"}}`:                "skip.count must be at least 1",
		`{"seq":2,"skip":{"configId":"c","systemId":"s","from":1.5,"to":2,"count":1,"reason":"limit"}}`:              "skip.from must be a whole number",
		`{"seq":2,"result":{"configId":"c","systemId":"s","status":"healthy","executedAt":"now","slot":"tomorrow"}}`: "result.slot must be a whole number",
	} {
		frame := `{"type":"perigee_results","records":[` + goodRecord(1) + `,` + bad + `,` + goodRecord(3) + `]}`
		m := fromAgent[*Results](t, frame)
		if len(m.Records) != 3 || m.Records[0].Result == nil || m.Records[2].Result == nil {
			t.Fatalf("with %s: got %+v", bad, m.Records)
		}
		got := m.Records[1]
		if got.Seq != 2 || got.Result != nil || got.Skip != nil || got.Invalid == nil || !strings.Contains(got.Invalid.Error(), reason) {
			t.Errorf("with %s: got %+v", bad, got)
		}
	}
}

func TestBatchesThatCannotBeTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ records, path, reason string }{
		{``, "records", "is missing"},
		{`,"records":{}`, "records", "must be an array"},
		{`,"records":[` + goodRecord(1) + `,{"result":{}}]`, "records[1].seq", "is missing"},
		{`,"records":[` + goodRecord(1) + `,{"seq":"2"}]`, "records[1].seq", "must be a whole number"},
		{`,"records":[` + goodRecord(2) + `,` + goodRecord(2) + `]`, "records[1].seq", "must rise"},
		{`,"records":[` + goodRecord(0) + `]`, "records[0].seq", "must rise"},
		{`,"records":[` + strings.Repeat(`{"seq":1},`, MaxBatchRecords) + `{"seq":1}]`, "records", "more than 500"},
		{`,"records":[` + goodRecord(1), "records", "not JSON"},
		{`,"records":[` + goodRecord(1) + `,]`, "records[1]", "not JSON"},
		{`,"records":[` + goodRecord(1) + `,{"seq":2,"result":{]`, "records[1]", "not JSON"},
	} {
		frame := `{"type":"perigee_results"` + c.records + `}`
		wantInvalid(t, DecodeFromAgent, frame, c.path, c.reason)
	}
}

func TestNullableTellsThree(t *testing.T) {
	t.Parallel()
	type holder struct {
		V Nullable[string] `json:"v,omitzero"`
	}
	for text, want := range map[string]holder{
		`{}`:         {},
		`{"v":null}`: {V: Null[string]()},
		`{"v":""}`:   {V: Of("")},
		`{"v":"a"}`:  {V: Of("a")},
	} {
		var got holder
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", text, diff)
		}
		back, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if string(back) != text {
			t.Errorf("got %s, want %s", back, text)
		}
	}
	reused := holder{V: Of("old")}
	if err := json.Unmarshal([]byte(`{"v":null}`), &reused); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(holder{V: Null[string]()}, reused); diff != "" {
		t.Errorf("null over a value (-want +got)\n%s", diff)
	}
	if got := Of("a").OrZero() + Null[string]().OrZero(); got != "a" {
		t.Errorf("got %q", got)
	}
}

func TestValidateIsForSendersToo(t *testing.T) {
	t.Parallel()
	for path, err := range map[string]error{
		"executedAt":                  (&Result{Status: check.Healthy, ExecutedAt: strings.Repeat("x", MaxID+1)}).Validate(),
		"result.metadata.collectors":  (&Result{Status: check.Healthy, Result: &check.Result{Status: check.Healthy, Metadata: check.Metadata{Collectors: map[string]json.RawMessage{"e": make([]byte, MaxResult+1)}}}}).Validate(),
		"seq":                         (&Record{}).Validate(),
		"strategyId":                  (&Assignment{StrategyID: strings.Repeat("x", MaxID+1)}).Validate(),
		"env":                         (&RunSecrets{Env: many(MaxList + 1)}).Validate(),
		"entries[0].integrity":        (&ScriptPackageManifest{Entries: []ManifestEntry{{Integrity: strings.Repeat("x", MaxName+1)}}}).Validate(),
		"perigee.credit":              (&Authenticated{Perigee: &Welcome{Credit: -1}}).Validate(),
		"scriptPackagesLockfileHash":  (&ConfigUpdated{ScriptPackagesLockfileHash: Of(strings.Repeat("x", MaxID+1))}).Validate(),
		"removals[1].systemId":        (&Delta{Revision: 1, Removals: []Pair{{}, {SystemID: strings.Repeat("x", MaxID+1)}}}).Validate(),
		"assignments":                 (&ConfigUpdated{Assignments: make([]Assignment, MaxAssignments+1)}).Validate(),
		"assignments[0].environments": (&ConfigUpdated{Assignments: []Assignment{{Environments: make([]check.Environment, MaxList+1)}}}).Validate(),
	} {
		if wrong, ok := errors.AsType[*InvalidError](err); !ok || wrong.Path != path {
			t.Errorf("got %v, want an InvalidError at %s", err, path)
		}
	}
}

func many(n int) map[string]string {
	all := make(map[string]string, n)
	for i := range n {
		all[fmt.Sprint(i)] = ""
	}
	return all
}

// TestTypesAreTheSpecs lists the names of A.5 and A.6 and of the extension, once
// more by hand.
func TestTypesAreTheSpecs(t *testing.T) {
	t.Parallel()
	agent := []string{
		"authenticate", "heartbeat", "result", "strategy_error", "script_package_sync_state",
		"request_script_package_manifest", "request_script_package_blob", "request_run_secrets", "request_config_secrets",
		"telemetry_batch", "capability_status", "capability_secret_request",
		"perigee_results", "perigee_applied", "perigee_inventory", "perigee_request_blob", "perigee_tried",
	}
	core := []string{
		"authenticated", "auth_failed", "config_updated", "shutdown", "refresh_script_packages", "script_package_manifest",
		"script_package_blob", "run_secrets", "config_secrets", "sandbox_policy", "telemetry_ack", "capability_config",
		"capability_secret_response", "perigee_ack", "perigee_delta", "perigee_clock", "perigee_blob_chunk", "perigee_drain", "perigee_lease", "perigee_run", "perigee_try",
	}
	sorted := cmpopts.SortSlices(func(a, b string) bool { return a < b })
	if diff := cmp.Diff(agent, slices.Collect(maps.Keys(agentMessages)), sorted); diff != "" {
		t.Errorf("from agents (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(core, slices.Collect(maps.Keys(coreMessages)), sorted); diff != "" {
		t.Errorf("from cores (-want +got)\n%s", diff)
	}
}

func TestAgreeTakesWhatBothName(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff([]string{"ack", "clock"}, Agree(Features(), []string{"clock", "future", "ack"})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestComeBackByCloseCode(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]bool{
		CloseNormal: true, CloseGoingAway: true, 1006: true, CloseTryLater: true, CloseAuthTimeout: true, CloseResync: true,
		CloseAuthFailed: false, CloseRefused: false, CloseSuperseded: false, CloseRotated: false, CloseRemoved: false,
	} {
		if ComeBack(code) != want {
			t.Errorf("ComeBack(%d) is %v", code, !want)
		}
	}
}
