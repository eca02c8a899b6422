package check_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
)

func TestM78_DefaultsAreApplied(t *testing.T) {
	t.Parallel()
	for _, empty := range []string{"", "{}", " {} ", "null", `{"method":null,"timeout":null,"emitTraceparent":null}`} {
		got, err := check.Decode[check.HTTPRequestConfig](json.RawMessage(empty))
		if err == nil || err.Error() != "url is missing" {
			t.Errorf("%q: error %v, want that the url is missing", empty, err)
		}
		want := check.HTTPRequestConfig{Method: "GET", Timeout: 30_000, EmitTraceparent: true}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", empty, diff)
		}
	}
	want := map[string]any{
		check.HTTP: check.HTTPConfig{Timeout: 30_000, AuthType: "none"},
		check.TCP:  check.TCPConfig{Timeout: 30_000},
		check.TLS:  check.TLSConfig{Timeout: 30_000, Port: 443, MinDaysUntilExpiry: 30, RejectUnauthorized: true},
		check.DNS:  check.DNSConfig{Timeout: 30_000},
		check.Ping: check.PingConfig{Timeout: 30_000},
	}
	for id, want := range want {
		kind, _ := check.Strategy(id)
		if diff := cmp.Diff(want, kind.Default); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
	}
	kind, _ := check.CollectorKind(check.PingPing)
	got, err := kind.Decode(json.RawMessage(`{"host":"h"}`))
	if diff := cmp.Diff(any(check.PingPingConfig{Host: "h", Count: 3, Timeout: 5000}), got); err != nil || diff != "" {
		t.Errorf("ping: %v (-want +got):\n%s", err, diff)
	}
}

func TestDecodeOverridesDefaultsAndPassesOverTheUnknown(t *testing.T) {
	t.Parallel()
	raw := `{"host":"h","port":8443,"minDaysUntilExpiry":0,"rejectUnauthorized":false,"timeout":100.5,"novelty":[1]}`
	got, err := check.Decode[check.TLSConfig](json.RawMessage(raw))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(check.TLSConfig{Timeout: 100.5, Host: "h", Port: 8443}, got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

func TestDecodeNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ role, id, raw, want string }{
		{"strategy", check.HTTP, `{"timeout":99}`, "timeout must be at least 100"},
		{"strategy", check.HTTP, `{"timeout":"5s"}`, "timeout must be a number, not string"},
		{"strategy", check.HTTP, `{"authType":"magic"}`, "authType must be one of none, basic, token"},
		{"strategy", check.HTTP, `[]`, "the config must be an object, not array"},
		{"strategy", check.HTTP, `{`, "the config is not JSON: unexpected end of JSON input"},
		{"strategy", check.HTTP, `{"egressDenyCidrs":"10.0.0.0/8"}`, "egressDenyCidrs must be an array, not string"},
		{"strategy", check.TCP, `{"port":80}`, "host is missing"},
		{"strategy", check.TCP, `{"host":"h"}`, "port must be at least 1"},
		{"strategy", check.TCP, `{"host":"h","port":65536}`, "port must be at most 65535"},
		{"strategy", check.TCP, `{"host":"h","port":80.5}`, "port must be a whole number, not number 80.5"},
		{"strategy", check.TLS, `{"host":"h","minDaysUntilExpiry":-1}`, "minDaysUntilExpiry must be at least 0"},
		{"collector", check.PingPing, `{"host":"h","count":11}`, "count must be at most 10"},
		{"collector", check.DNSLookup, `{"hostname":"h","recordType":"SOA"}`, "recordType must be one of A, AAAA, CNAME, MX, TXT, NS"},
		{"collector", check.HTTPRequest, `{"url":"u","headers":[{"name":"a","value":""},{"value":"b"}]}`, "headers[1].name is missing"},
		{"collector", check.HTTPRequest, `{"url":"u","headers":["a"]}`, "headers must be an object, not string"},
		{"collector", check.HTTPRequest, `{"url":"u","headers":[{"name":1}]}`, "headers.name must be a string, not number"},
	} {
		kind, ok := check.Strategy(c.id)
		if c.role == "collector" {
			kind, ok = check.CollectorKind(c.id)
		}
		if !ok {
			t.Fatalf("no %s %s", c.role, c.id)
		}
		_, err := kind.Decode(json.RawMessage(c.raw))
		// Which of Go's two JSON decoders is built in decides whether a type error in a
		// list names the position.
		if err == nil || err.Error() != c.want && strings.Replace(err.Error(), "headers[0]", "headers", 1) != c.want {
			t.Errorf("%s %s: error %q, want %q", c.id, c.raw, err, c.want)
		}
	}
}

func TestExpandReachesTemplatableTextsOnly(t *testing.T) {
	t.Parallel()
	c := check.HTTPRequestConfig{
		URL: "u", Method: "m", Body: "b",
		Headers: []check.HTTPHeader{{Name: "n1", Value: "v1"}, {Name: "n2", Value: "v2"}},
	}
	if err := check.Expand(&c, func(s string) (string, error) { return strings.ToUpper(s), nil }); err != nil {
		t.Fatal(err)
	}
	want := check.HTTPRequestConfig{
		URL: "U", Method: "m", Body: "B",
		Headers: []check.HTTPHeader{{Name: "n1", Value: "V1"}, {Name: "n2", Value: "V2"}},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("expanded (-want +got):\n%s", diff)
	}
	refuse := func(s string) (string, error) {
		if s == "V2" {
			return "", errors.New("no such field")
		}
		return s, nil
	}
	if err := check.Expand(&c, refuse); err == nil || err.Error() != "headers[1].value: no such field" {
		t.Errorf("error %v does not name the field", err)
	}
}

func TestSecretsAreMarked(t *testing.T) {
	t.Parallel()
	var names []string
	c := check.HTTPConfig{AuthPassword: "p"}
	if err := check.Secrets(&c, func(name, _ string) error { names = append(names, name); return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"authPassword", "authToken", "proxyPassword"}, names); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	for strategy, want := range map[string][]string{
		check.HTTP: {"healthcheck-http.request"}, check.TCP: {"healthcheck-tcp.banner"}, check.TLS: {"healthcheck-tls.certificate"},
		check.DNS: {"healthcheck-dns.lookup"}, check.Ping: {"healthcheck-ping.ping"}, check.Redis: {"healthcheck-redis.command"}, "unknown": {},
	} {
		if diff := cmp.Diff(want, check.Collectors(strategy)); diff != "" {
			t.Errorf("collectors of %s (-want +got):\n%s", strategy, diff)
		}
	}
	if diff := cmp.Diff([]string{"body"}, check.Ephemeral(check.HTTPRequest)); diff != "" {
		t.Errorf("ephemeral (-want +got):\n%s", diff)
	}
	if got := check.Ephemeral("collector-unknown.thing"); got != nil {
		t.Errorf("an unknown collector has ephemeral fields %v", got)
	}
	want := []check.ResultField{
		{Name: "packetsSent", Type: "number"},
		{Name: "packetsReceived", Type: "number"},
		{Name: "packetLoss", Type: "number"},
		{Name: "minLatency", Type: "number"},
		{Name: "avgLatency", Type: "number"},
		{Name: "maxLatency", Type: "number"},
	}
	if diff := cmp.Diff(want, check.ResultFields(check.PingPing)); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestEveryKindHasASchema(t *testing.T) {
	t.Parallel()
	for _, strategy := range check.Strategies() {
		text, ok := check.StrategySchema(strategy)
		if !ok || !json.Valid(text) {
			t.Errorf("strategy %s: schema %q, %v", strategy, text, ok)
		}
		for _, id := range check.Collectors(strategy) {
			text, ok := check.CollectorSchema(id)
			if !ok || !json.Valid(text) {
				t.Errorf("collector %s: schema %q, %v", id, text, ok)
			}
		}
	}
	if _, ok := check.StrategySchema("../strategy/healthcheck-http.http"); ok {
		t.Error("a path was taken for an id")
	}
	// The two pings have one id and different configs.
	of := func(text json.RawMessage, _ bool) []string {
		var s struct {
			Properties map[string]any `json:"properties"`
		}
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		var names []string
		for name := range s.Properties {
			names = append(names, name)
		}
		slices.Sort(names)
		return names
	}
	if diff := cmp.Diff([]string{"timeout"}, of(check.StrategySchema(check.Ping))); diff != "" {
		t.Errorf("ping strategy (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"count", "host", "timeout"}, of(check.CollectorSchema(check.PingPing))); diff != "" {
		t.Errorf("ping collector (-want +got):\n%s", diff)
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{}`, `null`, `{"url":"http://x","headers":[{"name":"a"}]}`, `{"host":"h","port":1e9}`, `[]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, strategy := range check.Strategies() {
			kind, _ := check.Strategy(strategy)
			_, _ = kind.Decode(raw)
			for _, id := range check.Collectors(strategy) {
				kind, _ := check.CollectorKind(id)
				_, _ = kind.Decode(raw)
			}
		}
	})
}
