package checkschema_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/checkschema"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

// lines writes fields as "path: message [value]".
func lines(fields []fault.Field) []string {
	var text []string
	for _, f := range fields {
		line := f.Path + ": " + f.Message
		if f.Value != nil {
			line += fmt.Sprintf(" [%v]", f.Value)
		}
		text = append(text, line)
	}
	return text
}

func TestConfigs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		id, config string
		want       []string
	}{
		{check.HTTPRequest, `{"url":"http://127.0.0.1:8081/"}`, nil},
		{check.HTTPRequest, `{"url":"{{ environment.baseUrl }}/healthz","timeout":100}`, nil},
		{check.HTTPRequest, ``, []string{"c.url: is missing"}},
		{check.HTTPRequest, `null`, []string{"c.url: is missing"}},
		{check.HTTPRequest, `[]`, []string{"c: must be an object, not an array"}},
		{check.HTTPRequest, `{`, []string{"c: is not JSON"}},
		{
			check.HTTPRequest,
			`{"url":"example.org","method":"get","timeout":"5s","headers":[{"name":"A","value":"1"},{"name":"","valeu":"x"}],"colour":1,"body":null}`,
			[]string{
				"c.body: must be a string, not null",
				"c.colour: is not a known field",
				"c.headers[1].name: must not be empty []",
				"c.headers[1].valeu: is not a known field",
				"c.headers[1].value: is missing",
				"c.method: must be one of GET, POST, PUT, DELETE, HEAD [get]",
				"c.timeout: must be a number, not a string [5s]",
				"c.url: must be a URL such as http://example.org [example.org]",
			},
		},
		{check.HTTPRequest, `{"url":"ftp://x","timeout":99.5}`, []string{
			"c.timeout: must be at least 100 [99.5]", "c.url: must be a URL such as http://example.org [ftp://x]",
		}},
		{check.HTTPRequest, `{"url":"http://{{ enviroment.host }}/"}`, []string{
			"c.url: the template {{ enviroment.host }} begins with none of check, system, environment",
		}},
		{check.DNSLookup, `{"hostname":"example.org","recordType":"SOA"}`, []string{"c.recordType: must be one of A, AAAA, CNAME, MX, TXT, NS [SOA]"}},
		{check.PingPing, `{"host":"10.0.0.1:80","count":0}`, []string{
			"c.count: must be at least 1 [0]", "c.host: must be a name or an address alone, such as example.org [10.0.0.1:80]",
		}},
		{check.PingPing, `{"host":"fe80::1","count":1.5}`, []string{"c.count: must be a whole number, not a number [1.5]"}},
		{check.BrowserPage, `{"url":"http://x","steps":[{"action":"type","selector":"#p","secret":12},{"action":"jump","selector":"x"}]}`, []string{
			"c.steps[0].secret: must be a string, not a number", // and the value is not shown
			"c.steps[1].action: must be one of wait, click, type, text [jump]",
		}},
		{check.CompositeJourney, `{"steps":[{"name":"a","url":"http://x/{{ carried.id }}","carry":[{"name":"two words","header":"X"}]}]}`, []string{
			"c.steps[0].carry[0].name: must be a name: a letter, then letters, digits, _ and - [two words]",
		}},
		{check.HTTPRequest, `{"url":"http://{{ carried.host }}/"}`, []string{
			"c.url: the template {{ carried.host }} begins with none of check, system, environment",
		}},
		{check.SNMPGet, `{"oid":"sysName.0"}`, []string{"c.oid: must be an object identifier in numbers, such as 1.3.6.1.2.1.1.3.0 [sysName.0]"}},
		{check.HardwareDisk, `{"mountPoint":"/; reboot"}`, []string{"c.mountPoint: must be made of letters, digits and the characters _ / . : - [/; reboot]"}},
		{check.TLSCertificate, `{}`, nil},
		{check.TLSCertificate, `{"x":1}`, []string{"c.x: is not a known field"}},
		{"healthcheck-quantum.command", `{"x":1}`, nil},
	} {
		if diff := cmp.Diff(c.want, lines(checkschema.ValidateCollector(c.id, json.RawMessage(c.config), "c"))); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", c.id, c.config, diff)
		}
	}
	for _, c := range []struct {
		id, config string
		want       []string
	}{
		{check.Ping, `{"host":"h"}`, []string{"config.host: is not a known field"}},
		{check.TCP, `{"host":"h","port":70000}`, []string{"config.port: must be at most 65535 [70000]"}},
		{check.TCP, `{"host":"h","port":80.0}`, []string{"config: port must be a whole number, not number 80.0"}},
		{check.TCP, `{}`, []string{"config.host: is missing", "config.port: is missing"}},
		{check.HTTP, `{"egressDenyCidrs":["10.0.0.0/8","10.0.0.1"],"proxyUrl":"proxy:3128","authPassword":12}`, []string{
			"config.authPassword: must be a string, not a number", // and the value is not shown
			"config.egressDenyCidrs[1]: must be a network such as 10.0.0.0/8 or fe80::/10 [10.0.0.1]",
			"config.proxyUrl: must be a URL such as http://example.org [proxy:3128]",
		}},
		{"healthcheck-quantum.ssh", `{"x":1}`, nil},
	} {
		if diff := cmp.Diff(c.want, lines(checkschema.ValidateStrategy(c.id, json.RawMessage(c.config), "config"))); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", c.id, c.config, diff)
		}
	}
}

// Whatever a schema accepts, the satellite's decode takes, and the defaults of the
// schema are those of the decode.
func TestSchemaAndDecodeAgree(t *testing.T) {
	t.Parallel()
	for _, id := range check.Strategies() {
		kind, _ := check.Strategy(id)
		raw, _ := check.StrategySchema(id)
		agree(t, kind, raw, checkschema.ValidateStrategy)
		for _, id := range check.Collectors(id) {
			kind, _ := check.CollectorKind(id)
			raw, _ := check.CollectorSchema(id)
			agree(t, kind, raw, checkschema.ValidateCollector)
		}
	}
}

func agree(t *testing.T, kind check.Kind, raw json.RawMessage, validate func(string, json.RawMessage, string) []fault.Field) {
	t.Helper()
	var schema struct {
		Properties map[string]struct {
			Type    string `json:"type"`
			Format  string `json:"format"`
			Default any    `json:"default"`
		} `json:"properties"`
		Required []string `json:"required"`
	}
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	config := map[string]any{}
	for _, name := range schema.Required {
		switch p := schema.Properties[name]; {
		case p.Type == "integer":
			config[name] = 1
		case p.Format == "http-url":
			config[name] = "http://x"
		case p.Format == "ws-url":
			config[name] = "ws://x"
		case p.Format == "oid":
			config[name] = "1.3.6"
		case p.Type == "array":
			config[name] = []any{map[string]any{"name": "n", "url": "http://x"}}
		default:
			config[name] = "h"
		}
	}
	minimal, _ := json.Marshal(config)
	for name, property := range schema.Properties {
		if property.Default != nil {
			config[name] = property.Default
		}
	}
	full, _ := json.Marshal(config)
	for _, text := range []json.RawMessage{minimal, full} {
		if fields := validate(kind.ID, text, "c"); fields != nil {
			t.Errorf("%s %s: %v", kind.ID, text, fields)
		}
	}
	a, err := kind.Decode(minimal)
	if err != nil {
		t.Errorf("%s %s: %v", kind.ID, minimal, err)
	}
	b, err := kind.Decode(full)
	if diff := cmp.Diff(a, b); err != nil || diff != "" && config["port"] == 1 {
		t.Errorf("%s: %v, defaults differ:\n%s", kind.ID, err, diff)
	}
}

func spec() check.Spec {
	return check.Spec{
		Strategy: check.HTTP,
		Config:   json.RawMessage(`{"timeout":5000}`),
		Interval: check.Duration(10 * time.Second),
		Collectors: []check.Collector{{
			ID: "root", Collector: check.HTTPRequest, Config: json.RawMessage(`{"url":"http://127.0.0.1:8081/"}`),
			Assertions: []check.Assertion{{Field: "statusCode", Operator: "equals", Value: 200.0}},
		}},
	}
}

func TestSpecs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*check.Spec)
		want   []string
	}{
		"right":            {func(*check.Spec) {}, nil},
		"no strategy":      {func(s *check.Spec) { s.Strategy = "" }, []string{"strategy: is missing; there are " + strings.Join(check.Strategies(), ", ")}},
		"unknown strategy": {func(s *check.Spec) { s.Strategy = "http" }, []string{"strategy: is not known; there are " + strings.Join(check.Strategies(), ", ") + " [http]"}},
		"strategy config":  {func(s *check.Spec) { s.Config = json.RawMessage(`{"timeout":1}`) }, []string{"config.timeout: must be at least 100 [1]"}},
		"no interval":      {func(s *check.Spec) { s.Interval = 0 }, []string{"interval: is missing; write it as 10s, 5m or 1h"}},
		"short interval":   {func(s *check.Spec) { s.Interval = check.Duration(500 * time.Millisecond) }, []string{"interval: must be between 1s and 24h [500ms]"}},
		"negative":         {func(s *check.Spec) { s.Interval = check.Duration(-time.Second) }, []string{"interval: must be between 1s and 24h [-1s]"}},
		"long interval":    {func(s *check.Spec) { s.Interval = check.Duration(25 * time.Hour) }, []string{"interval: must be between 1s and 24h [25h]"}},
		"odd interval":     {func(s *check.Spec) { s.Interval = check.Duration(1500 * time.Millisecond) }, []string{"interval: must be whole seconds [1.5s]"}},
		"nothing measured": {func(s *check.Spec) { s.Collectors = nil }, []string{
			"collectors: must not be empty: healthcheck-http.http alone measures nothing; add healthcheck-http.request",
		}},
		"connecting measures": {func(s *check.Spec) {
			s.Strategy, s.Config, s.Collectors = check.TCP, json.RawMessage(`{"host":"h","port":1}`), nil
		}, nil},
		"no id":      {func(s *check.Spec) { s.Collectors[0].ID = "" }, []string{"collectors[0].id: is missing: a name of your choice, unique in this check"}},
		"long id":    {func(s *check.Spec) { s.Collectors[0].ID = strings.Repeat("x", 257) }, []string{"collectors[0].id: must be at most 256 bytes"}},
		"doubled id": {func(s *check.Spec) { s.Collectors = append(s.Collectors, s.Collectors[0]) }, []string{"collectors[1].id: is the id of collectors[0] too [root]"}},
		"foreign collector": {func(s *check.Spec) { s.Collectors[0].Collector = check.TCPBanner; s.Collectors[0].Assertions = nil }, []string{
			"collectors[0].collector: is not a collector of healthcheck-http.http; there is healthcheck-http.request [healthcheck-tcp.banner]",
		}},
		"two banners": {func(s *check.Spec) {
			s.Strategy, s.Config = check.TCP, json.RawMessage(`{"host":"h","port":1}`)
			s.Collectors = []check.Collector{{ID: "a", Collector: check.TCPBanner}, {ID: "b", Collector: check.TCPBanner}}
		}, []string{"collectors[1].collector: can be there once only, and is collectors[0] already [healthcheck-tcp.banner]"}},
		"collector config": {func(s *check.Spec) { s.Collectors[0].Config = json.RawMessage(`{"url":""}`) }, []string{"collectors[0].config.url: must not be empty []"}},
		"assertion": {func(s *check.Spec) { s.Collectors[0].Assertions[0].Value = nil }, []string{
			"collectors[0].assertions[0]: the operator equals needs a value",
		}},
		"assertion field": {func(s *check.Spec) { s.Collectors[0].Assertions[0].Field = "status" }, []string{
			"collectors[0].assertions[0].field: is not a field of what healthcheck-http.request finds; " +
				"there are statusCode, statusText, responseTimeMs, body, bodyLength, success, traceId [status]",
		}},
		"assertion on the body as JSON": {func(s *check.Spec) {
			s.Collectors[0].Assertions[0] = check.Assertion{Field: "body.$", JSONPath: "$.ok", Operator: "isTrue"}
		}, nil},
		"too many assertions": {func(s *check.Spec) { s.Collectors[0].Assertions = make([]check.Assertion, 101) }, []string{"collectors[0].assertions: must be at most 100"}},
		"too many collectors": {func(s *check.Spec) { s.Collectors = make([]check.Collector, 257) }, []string{"collectors: must be at most 256"}},
	} {
		s := spec()
		c.change(&s)
		if diff := cmp.Diff(c.want, lines(checkschema.ValidateSpec(s))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func FuzzValidate(f *testing.F) {
	f.Add([]byte(`{"url":"http://x","headers":[{"name":"a","value":"b"}]}`))
	f.Add([]byte(`{"host":"{{ system.id }}","port":1}`))
	f.Fuzz(func(t *testing.T, config []byte) {
		for _, id := range check.Strategies() {
			kind, _ := check.Strategy(id)
			accepted(t, kind, config, checkschema.ValidateStrategy)
			for _, id := range check.Collectors(id) {
				kind, _ := check.CollectorKind(id)
				accepted(t, kind, config, checkschema.ValidateCollector)
			}
		}
	})
}

// accepted fails when a config may be saved and cannot be run.
func accepted(t *testing.T, kind check.Kind, config []byte, validate func(string, json.RawMessage, string) []fault.Field) {
	if validate(kind.ID, config, "c") != nil {
		return
	}
	if _, err := kind.Decode(config); err != nil {
		t.Errorf("%s: %s is accepted and cannot be decoded: %v", kind.ID, config, err)
	}
}
