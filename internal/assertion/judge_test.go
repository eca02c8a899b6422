package assertion_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/assertion"
)

func healthy(collectors map[string]string) *check.Result {
	r := &check.Result{Status: check.Healthy, LatencyMs: 12, Message: "Completed in 12ms", Metadata: check.Metadata{Connected: true}}
	r.Metadata.Collectors = make(map[string]json.RawMessage)
	for id, text := range collectors {
		r.Metadata.Collectors[id] = json.RawMessage(text)
	}
	return r
}

func TestL225_FailingAssertionMakesUnhealthy(t *testing.T) {
	t.Parallel()
	r := healthy(map[string]string{"root": `{"_collectorId":"healthcheck-http.request","statusCode":500}`})
	assertion.Judge(map[string][]check.Assertion{"root": {
		{Field: "statusCode", Operator: "lessThan", Value: 600.0},
		{Field: "statusCode", Operator: "equals", Value: 200.0},
		{Field: "body", Operator: "exists"},
	}}, nil, r)
	want := healthy(map[string]string{"root": `{"_assertionFailed":"statusCode: expected to equal 200, got 500","_assertions":[` +
		`{"field":"statusCode","operator":"lessThan","value":600,"passed":true},` +
		`{"field":"statusCode","operator":"equals","value":200,"passed":false,"message":"statusCode: expected to equal 200, got 500"},` +
		`{"field":"body","operator":"exists","passed":false,"message":"body: expected to exist, got undefined"}],` +
		`"_collectorId":"healthcheck-http.request","statusCode":500}`})
	want.Status = check.Unhealthy
	want.Message = "Check failed: Assertion failed: statusCode: expected to equal 200, got 500"
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}

func TestL226_PassingRunStaysHealthyAndStoresOutcomes(t *testing.T) {
	t.Parallel()
	r := healthy(map[string]string{"root": `{"statusCode":200}`, "other": `{"x":1}`})
	assertion.Judge(map[string][]check.Assertion{
		"root": {{Field: "statusCode", Operator: "equals", Value: 200.0}}, "other": nil,
	}, nil, r)
	want := healthy(map[string]string{
		"root":  `{"_assertions":[{"field":"statusCode","operator":"equals","value":200,"passed":true}],"statusCode":200}`,
		"other": `{"x":1}`,
	})
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}

func TestL228_EphemeralFieldsAreStrippedAfterJudging(t *testing.T) {
	t.Parallel()
	r := healthy(map[string]string{
		"root":   `{"body":"all is well","bodyLength":11}`,
		"banner": `{"banner":"hello","body":"kept"}`,
		"odd":    `"text"`,
		"plain":  `{"bodyLength": 0}`,
	})
	assertion.Judge(map[string][]check.Assertion{"root": {{Field: "body", Operator: "contains", Value: "well"}}}, map[string]string{
		"root": check.HTTPRequest, "banner": check.TCPBanner, "odd": check.HTTPRequest, "plain": check.HTTPRequest, "gone": check.HTTPRequest,
	}, r)
	want := healthy(map[string]string{
		"root":   `{"_assertions":[{"field":"body","operator":"contains","value":"well","passed":true}],"bodyLength":11}`,
		"banner": `{"banner":"hello","body":"kept"}`,
		"odd":    `"text"`,
		"plain":  `{"bodyLength": 0}`,
	})
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}

func TestL229_EntriesUnknownToTheConfigurationAreTolerated(t *testing.T) {
	t.Parallel()
	r := healthy(map[string]string{"stranger": `{"statusCode":500}`})
	assertion.Judge(map[string][]check.Assertion{}, nil, r)
	if diff := cmp.Diff(healthy(map[string]string{"stranger": `{"statusCode":500}`}), r); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}

func TestM76_AnEntryThatReportedNothingIsNotGreen(t *testing.T) {
	t.Parallel()
	exists := map[string][]check.Assertion{"root": {{Field: "statusCode", Operator: "exists"}}}
	const text = "Check degraded: collector root reported nothing, so its assertions could not be judged"
	for name, r := range map[string]*check.Result{
		"absent":    healthy(nil),
		"no object": healthy(map[string]string{"root": `"fine"`}),
		"null":      healthy(map[string]string{"root": `null`}),
	} {
		assertion.Judge(exists, nil, r)
		if r.Status != check.Degraded || r.Message != text {
			t.Errorf("%s: %s, %q", name, r.Status, r.Message)
		}
	}
	// A run that says why it has nothing keeps its own words.
	r := &check.Result{Status: check.Unhealthy, Message: "connection refused"}
	assertion.Judge(exists, nil, r)
	if r.Status != check.Unhealthy || r.Message != "connection refused" || r.Metadata.Collectors != nil {
		t.Errorf("a failed run became %+v", r)
	}
}

func TestFailedCollectorsAreNotJudged(t *testing.T) {
	t.Parallel()
	for _, object := range []string{
		`{"_collectorId":"x","error":"timed out"}`,
		`{"_collectorId":"x","_collectorError":"timed out"}`,
		`{"_collectorId":"x","error":"timed out","_collectorError":"timed out"}`,
	} {
		r := healthy(map[string]string{"root": object})
		r.Status, r.Message = check.Unhealthy, "Check failed: timed out"
		assertion.Judge(map[string][]check.Assertion{"root": {{Field: "statusCode", Operator: "equals", Value: 200.0}}}, nil, r)
		if got := string(r.Metadata.Collectors["root"]); got != object || r.Message != "Check failed: timed out" {
			t.Errorf("%s became %s, %q", object, got, r.Message)
		}
	}
	// One that failed and still measured is judged, and the first words stay.
	r := healthy(map[string]string{"root": `{"_collectorError":"no reply","packetLoss":100}`})
	r.Status, r.Message = check.Unhealthy, "Check failed: no reply"
	assertion.Judge(map[string][]check.Assertion{"root": {{Field: "packetLoss", Operator: "lessThan", Value: 50.0}}}, nil, r)
	want := `{"_assertionFailed":"packetLoss: expected to be less than 50, got 100","_assertions":[{"field":"packetLoss","operator":"lessThan",` +
		`"value":50,"passed":false,"message":"packetLoss: expected to be less than 50, got 100"}],"_collectorError":"no reply","packetLoss":100}`
	if diff := cmp.Diff(want, string(r.Metadata.Collectors["root"])); diff != "" || r.Message != "Check failed: no reply" {
		t.Errorf("%q (-want +got):\n%s", r.Message, diff)
	}
}

func TestFailureOutranksDegradedAndSpeaksForTheFirstEntry(t *testing.T) {
	t.Parallel()
	r := healthy(map[string]string{"a": `{"v":1}`, "b": `{"v":1}`})
	r.Status, r.Message = check.Degraded, "Check degraded: certificate expires soon"
	two := []check.Assertion{{Field: "v", Operator: "equals", Value: "2"}}
	three := []check.Assertion{{Field: "v", Operator: "equals", Value: "3"}}
	assertion.Judge(map[string][]check.Assertion{"b": three, "a": two}, nil, r)
	if r.Status != check.Unhealthy || r.Message != `Check failed: Assertion failed: a: v: expected to equal "2", got 1` {
		t.Errorf("%s, %q", r.Status, r.Message)
	}
}

func TestJSONPath(t *testing.T) {
	t.Parallel()
	const document = `{"status":"ok","n":5,"none":null,"items":[{"id":1,"up":true},{"id":2,"up":false}],"one":[{"id":7}],"deep":{"a":{"b":"c"}}}`
	quoted, _ := json.Marshal(document)
	object := `{"body":` + string(quoted) + `,"plain":"no json","number":5,"structured":` + document + `,"nothing":null}`
	for _, c := range []struct {
		field, path, operator, value string
		want                         string // "" passes
	}{
		{"body", "$.status", "equals", `"ok"`, ""},
		{"body.$", "$.status", "equals", `"ok"`, ""},
		{"structured", "$.status", "equals", `"ok"`, ""},
		{"body", "$.status", "equals", `"down"`, `body $.status: expected to equal "down", got "ok"`},
		{"body", "$.n", "greaterThan", `4`, ""},
		{"body", "$.n", "greaterThan", `"4"`, ""},
		{"body", "$.gone", "notExists", ``, ""},
		{"body", "$.none", "notExists", ``, ""},
		{"body", "$.gone", "exists", ``, `body $.gone: expected to exist, got undefined`},
		{"body", "$.gone", "equals", `1`, `body $.gone: expected to equal 1, got undefined`},
		{"body", "$.items", "lengthEquals", `2`, ""},
		{"body", "$.items[*].id", "lengthEquals", `2`, ""},
		{"body", "$.items[*].id", "includes", `2`, ""},
		{"body", "$.items[*].id", "equals", `"1,2"`, ""},
		{"body", "$.one[*].id", "equals", `7`, ""},
		{"body", "$.one[*].id", "includes", `7`, ""},
		{"body", "$.one[*].id", "lengthEquals", `1`, ""},
		{"body", "$.items[?@.up == false].id", "equals", `2`, ""},
		{"body", "$.items[?@.id > 9]", "isEmpty", ``, ""},
		{"body", "$.items[?@.id > 9]", "exists", ``, `body $.items[?@.id > 9]: expected to exist, got undefined`},
		{"body", "$..b", "equals", `"c"`, ""},
		{"body", "$['deep']['a']", "equals", `{"b":"c"}`, ""},
		{"number", "$", "equals", `5`, ""},
		{"plain", "$.x", "exists", ``, `plain $.x: expected to exist, got undefined (plain is not JSON)`},
		{"plain", "$.x", "notExists", ``, `plain $.x: expected not to exist, got undefined (plain is not JSON)`},
		{"nothing", "$.x", "notExists", ``, `nothing $.x: expected not to exist, got undefined (nothing has no value)`},
		{"gone", "$.x", "exists", ``, `gone $.x: expected to exist, got undefined (gone has no value)`},
		{"body.$", "", "exists", ``, `body.$: expected to exist, got undefined (there is no JSONPath)`},
		{"body", "status", "exists", ``, `body status: expected to exist, got undefined (invalid JSONPath: unexpected identifier at position 1)`},
		{"body", "$..a..b", "exists", ``, `body $..a..b: expected to exist, got undefined (the JSONPath may descend with .. only once)`},
	} {
		a := check.Assertion{Field: c.field, JSONPath: c.path, Operator: c.operator}
		if c.value != "" {
			if err := json.Unmarshal([]byte(c.value), &a.Value); err != nil {
				t.Fatal(err)
			}
		}
		r := healthy(map[string]string{"e": object})
		assertion.Judge(map[string][]check.Assertion{"e": {a}}, nil, r)
		got := strings.TrimPrefix(r.Message, "Check failed: Assertion failed: ")
		if r.Status == check.Healthy {
			got = ""
		}
		if got != c.want {
			t.Errorf("%s %s %s:\n got %q\nwant %q", c.field, c.path, c.operator, got, c.want)
		}
	}
}

func TestJSONPathWorkIsBounded(t *testing.T) {
	t.Parallel()
	nested, _ := json.Marshal(strings.Repeat("[", 300) + strings.Repeat("]", 300))
	long, _ := json.Marshal(`"` + strings.Repeat("x", 2<<20) + `"`)
	many := "$" + strings.Repeat("[*,*,*,*]", 20)
	for name, c := range map[string]struct{ object, path, want string }{
		"deep":      {`{"body":` + string(nested) + `}`, "$..x", "body is nested too deeply"},
		"long":      {`{"body":` + string(long) + `}`, "$", "body is too long to be read as JSON"},
		"selectors": {`{"body":"[]"}`, many, "the JSONPath has too many selectors"},
		"path":      {`{"body":"[]"}`, "$." + strings.Repeat("x", 2000), "the JSONPath is longer than 1000 bytes"},
	} {
		r := healthy(map[string]string{"e": c.object})
		assertion.Judge(map[string][]check.Assertion{"e": {{Field: "body", JSONPath: c.path, Operator: "notExists"}}}, nil, r)
		if r.Status != check.Unhealthy || !strings.Contains(r.Message, c.want) {
			t.Errorf("%s: %s, %.200q", name, r.Status, r.Message)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a    check.Assertion
		want string
	}{
		{check.Assertion{Field: "statusCode", Operator: "equals", Value: 200}, ""},
		{check.Assertion{Field: "body", Operator: "isEmpty"}, ""},
		{check.Assertion{Field: "body.$", JSONPath: "$.a", Operator: "exists"}, ""},
		{check.Assertion{Field: "values", Operator: "lengthEquals", Value: "2"}, ""},
		{check.Assertion{Field: "x", Operator: "lessThan", Value: "1.5"}, ""},
		{check.Assertion{Operator: "exists"}, "an assertion needs a field"},
		{check.Assertion{Field: ".$", JSONPath: "$", Operator: "exists"}, "an assertion needs a field"},
		{check.Assertion{Field: "body.$", Operator: "exists"}, "the field body.$ needs a jsonPath"},
		{check.Assertion{Field: strings.Repeat("x", 257), Operator: "exists"}, "the field is longer than 256 bytes"},
		{check.Assertion{Field: "x", Operator: "equals"}, "the operator equals needs a value"},
		{check.Assertion{Field: "x", Operator: "lessThan", Value: "soon"}, "the operator lessThan needs a number"},
		{check.Assertion{Field: "x", Operator: "lessThan", Value: true}, "the operator lessThan needs a number"},
		{check.Assertion{Field: "x", Operator: "lengthEquals", Value: 1.5}, "the operator lengthEquals needs a whole number"},
		{check.Assertion{Field: "x", Operator: "lengthLessThan", Value: -1}, "the operator lengthLessThan needs a whole number"},
		{check.Assertion{Field: "x", Operator: "contains", Value: ""}, "the operator contains needs a text that is not empty"},
		{check.Assertion{Field: "x", Operator: "matches", Value: "(?=a)"}, "invalid pattern: invalid or unsupported Perl syntax: `(?=`"},
		{check.Assertion{Field: "x", Operator: "matches", Value: strings.Repeat("a", 1001)}, "the pattern is longer than 1000 bytes"},
		{check.Assertion{Field: "x", JSONPath: "$[", Operator: "exists"}, "invalid JSONPath: unexpected eof at position 3"},
		{check.Assertion{Field: "x", JSONPath: "$..a..b", Operator: "exists"}, "the JSONPath may descend with .. only once"},
	} {
		err := assertion.Validate(c.a)
		if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%+v: %v, want %q", c.a, err, c.want)
		}
	}
	err := assertion.Validate(check.Assertion{Field: "x", Operator: "is"})
	if err == nil || !strings.HasPrefix(err.Error(), `unknown operator "is"; there are contains, endsWith, equals,`) {
		t.Errorf("unknown operator: %v", err)
	}
}

func FuzzJudge(f *testing.F) {
	f.Add([]byte(`{"statusCode":200,"body":"{\"a\":[1,2]}"}`), "body", "$.a[*]", "includes", []byte(`2`))
	f.Add([]byte(`{"_collectorError":"x"}`), "x", "", "equals", []byte(`null`))
	f.Add([]byte(`[]`), "x.$", "$..b", "matches", []byte(`"(a+)+$"`))
	f.Fuzz(func(t *testing.T, object []byte, field, path, operator string, value []byte) {
		a := check.Assertion{Field: field, JSONPath: path, Operator: operator}
		if json.Unmarshal(value, &a.Value) != nil {
			return
		}
		r := healthy(map[string]string{"e": string(object)})
		assertion.Judge(map[string][]check.Assertion{"e": {a}}, map[string]string{"e": check.HTTPRequest}, r)
		if r.Status != check.Healthy && r.Message == "Completed in 12ms" {
			t.Errorf("%s without a reason", r.Status)
		}
		if json.Valid(object) {
			if _, err := json.Marshal(r); err != nil {
				t.Errorf("the result cannot be encoded: %v", err)
			}
		}
		_ = assertion.Validate(a)
	})
}

func BenchmarkJudge(b *testing.B) {
	document := `{"status":"ok","items":[` + strings.Repeat(`{"id":1,"name":"x"},`, 200) + `{"id":2}]}`
	page := strings.Repeat("all is well\n", 100)
	for name, c := range map[string]struct {
		body string
		last check.Assertion
	}{
		"document": {document, check.Assertion{Field: "body", JSONPath: "$.status", Operator: "equals", Value: "ok"}},
		"page":     {page, check.Assertion{Field: "body", Operator: "contains", Value: "well"}},
	} {
		b.Run(name, func(b *testing.B) {
			body, _ := json.Marshal(c.body)
			object := `{"_collectorId":"healthcheck-http.request","statusCode":200,"statusText":"OK","responseTimeMs":0.812,"body":` + string(body) +
				`,"bodyLength":4000,"success":true,"traceId":"5de93a69b2d54fd58a4a6cd2b3fc4a64"}`
			assertions := map[string][]check.Assertion{"root": {
				{Field: "statusCode", Operator: "equals", Value: 200.0},
				{Field: "responseTimeMs", Operator: "lessThan", Value: 500.0},
				c.last,
			}}
			ids := map[string]string{"root": check.HTTPRequest}
			b.ReportAllocs()
			for b.Loop() {
				r := healthy(map[string]string{"root": object})
				assertion.Judge(assertions, ids, r)
				if r.Status != check.Healthy {
					b.Fatal(r.Message)
				}
			}
		})
	}
}
