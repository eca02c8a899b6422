package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(scriptEnv); text != "" {
		runScript(text)
		return
	}
	goleak.VerifyTestMain(suite{m})
}

// scriptEnv holds the script that this program runs in place of the tests.
const scriptEnv = "PERIGEE_TEST_SCRIPT"

func runScript(text string) {
	config, _ := json.Marshal(map[string]any{"script": text})
	a := assignment(check.Script, `{}`, check.ScriptExecute, string(config))
	New(Options{AllowScripts: true}).Execute(context.Background(), a, nil, nil)
}

// assignment of a strategy with one collector, whose entry is "e"; none for "".
func assignment(strategy, config, collector, collectorConfig string) *protocol.Assignment {
	a := &protocol.Assignment{ConfigID: "c1", SystemID: "s1", StrategyID: strategy, Config: json.RawMessage(config), IntervalSeconds: 10}
	if collector != "" {
		a.Collectors = []protocol.Collector{{ID: "e", CollectorID: collector, Config: json.RawMessage(collectorConfig)}}
	}
	return a
}

// object is the result of the entry, without what no test can know: times.
func object(t *testing.T, r check.Result, entry string) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal(r.Metadata.Collectors[entry], &o); err != nil {
		t.Fatalf("entry %s of %+v: %v", entry, r, err)
	}
	for _, name := range []string{"responseTimeMs", "readTimeMs", "resolutionTimeMs", "traceId", "minLatency", "avgLatency", "maxLatency"} {
		delete(o, name)
	}
	return o
}

// wantFailure checks a run whose one collector failed with the text.
func wantFailure(t *testing.T, r check.Result, text string) {
	t.Helper()
	if r.Status != check.Unhealthy || r.Message != "Check failed: "+text {
		t.Errorf("%s, %q\nwant unhealthy, %q", r.Status, r.Message, "Check failed: "+text)
	}
	o := object(t, r, "e")
	if o["error"] != text || o["_collectorError"] != text {
		t.Errorf("the entry says %v", o)
	}
}

// wantUnconnected checks a run that did not get a client.
func wantUnconnected(t *testing.T, r check.Result, text string) {
	t.Helper()
	want := check.Result{Status: check.Unhealthy, LatencyMs: r.LatencyMs, Message: text, Metadata: check.Metadata{Error: text}, Blame: r.Blame}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}

func wantHealthy(t *testing.T, r check.Result) {
	t.Helper()
	if r.Status != check.Healthy || r.Message != fmt.Sprintf("Completed in %.0fms", r.LatencyMs) {
		t.Errorf("%s, %q after %v ms", r.Status, r.Message, r.LatencyMs)
	}
	if !r.Metadata.Connected || r.Metadata.ConnectionTimeMs == nil || r.Metadata.Error != "" {
		t.Errorf("metadata %+v", r.Metadata)
	}
}

// fake is a session that does as its fields say.
type fake struct {
	found   func(config string) (any, error)
	judged  check.Status
	message string
	closed  chan struct{}
}

func (f *fake) collect(_ context.Context, _ string, config json.RawMessage) (any, error) {
	return f.found(string(config))
}
func (f *fake) verdict() (check.Status, string) { return f.judged, f.message }
func (f *fake) timings() *check.Timings         { return nil }
func (f *fake) close()                          { close(f.closed) }

// proberOf runs TCP checks on the fake.
func proberOf(f *fake) *Prober {
	f.closed = make(chan struct{})
	if f.judged == "" {
		f.judged = check.Healthy
	}
	p := New(Options{})
	p.strategies[check.TCP] = func(context.Context, run, json.RawMessage) (session, error) { return f, nil }
	return p
}

func banners(configs ...string) *protocol.Assignment {
	a := assignment(check.TCP, "", "", "")
	for i, config := range configs {
		a.Collectors = append(a.Collectors, protocol.Collector{ID: fmt.Sprintf("e%d", i), CollectorID: check.TCPBanner, Config: json.RawMessage(config)})
	}
	return a
}

func TestL128_UnknownStrategyIsUnhealthyAndSaysNotFound(t *testing.T) {
	t.Parallel()
	r := New(Options{}).Execute(t.Context(), assignment("healthcheck-quantum.quantum", `{}`, "healthcheck-quantum.entanglement", `{}`), nil, nil)
	wantUnconnected(t, r, "Strategy healthcheck-quantum.quantum not found in satellite")
	if r.LatencyMs != 0 {
		t.Errorf("latency %v, want 0", r.LatencyMs)
	}
}

func TestL127_CollectorErrorMakesUnhealthy(t *testing.T) {
	t.Parallel()
	f := &fake{found: func(config string) (any, error) {
		switch config {
		case `"fine"`:
			return &check.TCPBannerResult{Banner: "hello", HasBanner: true}, nil
		case `"measured"`:
			return &check.TCPBannerResult{}, errors.New("second")
		}
		return nil, errors.New("first")
	}}
	r := proberOf(f).Execute(t.Context(), banners(`"fine"`, `"bad"`, `"measured"`), nil, nil)
	if r.Status != check.Unhealthy || r.Message != "Check failed: e1: first" || !r.Metadata.Connected || r.Metadata.Error != "" {
		t.Errorf("%+v", r)
	}
	want := map[string]json.RawMessage{
		"e0": json.RawMessage(`{"_collectorId":"healthcheck-tcp.banner","banner":"hello","hasBanner":true,"readTimeMs":0}`),
		"e1": json.RawMessage(`{"_collectorId":"healthcheck-tcp.banner","error":"first","_collectorError":"first"}`),
		"e2": json.RawMessage(`{"_collectorId":"healthcheck-tcp.banner","error":"second","_collectorError":"second","hasBanner":false,"readTimeMs":0}`),
	}
	if diff := cmp.Diff(want, r.Metadata.Collectors); diff != "" {
		t.Errorf("collectors (-want +got):\n%s", diff)
	}
	<-f.closed
}

func TestAnErrorBesideANilResultIsAnEntry(t *testing.T) {
	t.Parallel()
	f := &fake{found: func(string) (any, error) { return (*check.TCPBannerResult)(nil), errors.New("no") }}
	r := proberOf(f).Execute(t.Context(), banners("{}"), nil, nil)
	want := `{"_collectorId":"healthcheck-tcp.banner","error":"no","_collectorError":"no"}`
	if diff := cmp.Diff(want, string(r.Metadata.Collectors["e0"])); diff != "" {
		t.Errorf("entry (-want +got):\n%s", diff)
	}
}

func TestM76_UnknownCollectorIsAnError(t *testing.T) {
	t.Parallel()
	f := &fake{found: func(string) (any, error) { return &check.TCPBannerResult{}, nil }}
	a := banners("{}")
	a.Collectors = append(a.Collectors, protocol.Collector{ID: "x", CollectorID: "collector-hardware.cpu"})
	r := proberOf(f).Execute(t.Context(), a, nil, nil)
	const text = "Collector collector-hardware.cpu not found in satellite"
	if r.Status != check.Unhealthy || r.Message != "Check failed: x: "+text {
		t.Errorf("%s, %q", r.Status, r.Message)
	}
	want := `{"_collectorId":"collector-hardware.cpu","error":"` + text + `","_collectorError":"` + text + `"}`
	if diff := cmp.Diff(want, string(r.Metadata.Collectors["x"])); diff != "" {
		t.Errorf("entry (-want +got):\n%s", diff)
	}
	// A collector of another strategy cannot be used either.
	r = proberOf(f).Execute(t.Context(), assignment(check.TCP, "", check.DNSLookup, `{"hostname":"h"}`), nil, nil)
	wantFailure(t, r, "Collector healthcheck-dns.lookup not found in satellite")
}

func TestM77_NothingMeasuredIsNotGreen(t *testing.T) {
	t.Parallel()
	for _, strategy := range []string{check.HTTP, check.DNS, check.Ping} {
		r := New(Options{}).Execute(t.Context(), assignment(strategy, `{}`, "", ""), nil, nil)
		if r.Status != check.Degraded || r.Message != "Check degraded: nothing was measured, because the check has no collectors" {
			t.Errorf("%s: %s, %q", strategy, r.Status, r.Message)
		}
	}
}

func TestM79_VerdictsOfTheStrategy(t *testing.T) {
	t.Parallel()
	f := &fake{found: func(config string) (any, error) {
		if config == `"bad"` {
			return nil, errors.New("no")
		}
		return nil, nil
	}, judged: check.Degraded, message: "Check degraded: soon"}
	if r := proberOf(f).Execute(t.Context(), banners("{}"), nil, nil); r.Status != check.Degraded || r.Message != "Check degraded: soon" {
		t.Errorf("%s, %q", r.Status, r.Message)
	}
	if r := proberOf(f).Execute(t.Context(), banners(`"bad"`), nil, nil); r.Status != check.Unhealthy || r.Message != "Check failed: no" {
		t.Errorf("a failure: %s, %q", r.Status, r.Message)
	}
}

func TestWhatTheSatelliteCannotDoIsNotTheTargetsFault(t *testing.T) {
	t.Parallel()
	f := &fake{found: func(config string) (any, error) {
		if config == `"bad"` {
			return nil, errors.New("refused")
		}
		return nil, fmt.Errorf("opening: %w", unsupported{"this satellite may not"})
	}}
	r := proberOf(f).Execute(t.Context(), banners("{}"), nil, nil)
	if r.Status != check.Degraded || r.Message != "Check not carried out: opening: this satellite may not" {
		t.Errorf("%s, %q", r.Status, r.Message)
	}
	r = proberOf(f).Execute(t.Context(), banners("{}", "{}"), nil, nil)
	if r.Status != check.Degraded || r.Message != "Check not carried out: e0: opening: this satellite may not; e1: opening: this satellite may not" {
		t.Errorf("twice: %s, %q", r.Status, r.Message)
	}
	r = proberOf(f).Execute(t.Context(), banners("{}", `"bad"`), nil, nil)
	if r.Status != check.Unhealthy || r.Message != "Check failed: e1: refused" {
		t.Errorf("beside a failure of the target: %s, %q", r.Status, r.Message)
	}
}

// A satellite that has run out of what connections need has found out nothing, before its
// collectors as in them.
func TestWhatTheSatelliteLacksIsNotTheTargetsFault(t *testing.T) {
	t.Parallel()
	dial := func(network string, at net.Addr, err error) error {
		return &url.Error{Op: "Get", URL: "http://x", Err: &net.OpError{Op: "dial", Net: network, Addr: at, Err: os.NewSyscallError("connect", err)}}
	}
	tcp, unix := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80}, &net.UnixAddr{Name: "/run/docker.sock", Net: "unix"}
	for _, c := range []struct {
		err  error
		want string
	}{
		{dial("tcp", nil, syscall.EMFILE), "this satellite may open no more files and connections (too many open files); raise its limit (ulimit -n)"},
		{&net.DNSError{Name: "shop.example", Err: "dial udp: socket: too many open files"}, "this satellite may open no more files and connections (too many open files); raise its limit (ulimit -n)"},
		{dial("tcp", nil, syscall.ENFILE), "the machine of this satellite has no file descriptors left"},
		{dial("udp", nil, syscall.ENOBUFS), "the machine of this satellite has no memory left for connections"},
		{dial("tcp", tcp, syscall.EADDRNOTAVAIL), "this satellite has no address or port left to connect from"},
		{dial("tcp", nil, syscall.EAFNOSUPPORT), "this satellite has no network for addresses of that kind"},
		{dial("tcp", tcp, syscall.EPERM), "the machine of this satellite does not let it connect to 192.0.2.1:80 (operation not permitted)"},
		{dial("unix", unix, syscall.EACCES), "the user of this satellite may not open /run/docker.sock"},
	} {
		f := &fake{found: func(string) (any, error) { return nil, c.err }}
		p := New(Options{})
		p.strategies[check.TCP] = func(context.Context, run, json.RawMessage) (session, error) { return nil, c.err }
		for what, r := range map[string]check.Result{
			"in a collector": proberOf(f).Execute(t.Context(), banners("{}"), nil, nil),
			"before":         p.Execute(t.Context(), banners("{}"), nil, nil),
		} {
			if r.Status != check.Degraded || r.Message != "Check not carried out: "+c.want {
				t.Errorf("%v %s: %s, %q", c.err, what, r.Status, r.Message)
			}
		}
	}
	f := &fake{found: func(string) (any, error) { return nil, dial("unix", unix, syscall.ENOENT) }}
	if r := proberOf(f).Execute(t.Context(), banners("{}"), nil, nil); r.Status != check.Unhealthy {
		t.Errorf("what is not there: %s, %q", r.Status, r.Message)
	}
}

func TestPanicsBecomeResults(t *testing.T) {
	t.Parallel()
	f := &fake{found: func(string) (any, error) { panic("collector") }}
	wantEntry := "internal error of the satellite: collector"
	r := proberOf(f).Execute(t.Context(), banners("{}"), nil, nil)
	if r.Status != check.Degraded || r.Message != "Check not carried out: "+wantEntry || object(t, r, "e0")["error"] != wantEntry {
		t.Errorf("%+v", r)
	}
	<-f.closed
	p := New(Options{})
	p.strategies[check.TCP] = func(context.Context, run, json.RawMessage) (session, error) { panic("strategy") }
	r = p.Execute(t.Context(), banners("{}"), nil, nil)
	if r.Status != check.Degraded || r.Message != "Check not carried out: internal error of the satellite: strategy" {
		t.Errorf("%+v", r)
	}
}

func TestM37_ErrorTextsAreBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 1<<20)
	f := &fake{found: func(string) (any, error) { return nil, errors.New(long) }}
	r := proberOf(f).Execute(t.Context(), banners("{}"), nil, nil)
	if len(r.Message) > maxMessage+10 || len(object(t, r, "e0")["error"].(string)) > maxError+10 {
		t.Errorf("message of %d bytes, entry of %d", len(r.Message), len(r.Metadata.Collectors["e0"]))
	}
	r = New(Options{}).Execute(t.Context(), assignment(long, "", "", ""), nil, nil)
	if len(r.Message) > 300 {
		t.Errorf("message of %d bytes", len(r.Message))
	}
}

func TestM78_ConfigsGetTheirDefaults(t *testing.T) {
	t.Parallel()
	banner := serve(t, func(conn net.Conn) { fmt.Fprint(conn, "hello\r\n") })
	for _, config := range []string{"", "null", "{}"} {
		a := banner.assignment(check.TCP, "", check.TCPBanner, config)
		wantHealthy(t, New(Options{}).Execute(t.Context(), a, nil, nil))
	}
}

func TestConfigsThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	p := New(Options{})
	r := p.Execute(t.Context(), assignment(check.TCP, `{"host":"h","port":0}`, "", ""), nil, nil)
	wantUnconnected(t, r, "the config cannot be used: port must be at least 1")
	r = p.Execute(t.Context(), assignment(check.HTTP, `{}`, check.HTTPRequest, `{"timeout":"soon","url":"http://h"}`), nil, nil)
	wantFailure(t, r, "the config cannot be used: timeout must be a number, not string")
	for _, secret := range []string{"__hcsecret__:1", "${{ secrets.TOKEN }}", "Bearer ${{secrets.TOKEN}}"} {
		config, _ := json.Marshal(map[string]string{"authType": "token", "authToken": secret})
		r = p.Execute(t.Context(), assignment(check.HTTP, string(config), check.HTTPRequest, `{"url":"http://127.0.0.1:1"}`), nil, nil)
		if r.Status != check.Degraded || r.Message != "Check not carried out: authToken refers to a secret that this satellite did not get" {
			t.Errorf("%s, %q", r.Status, r.Message)
		}
	}
}

func TestCheckSaysWhyAnAssignmentCannotBeRun(t *testing.T) {
	t.Parallel()
	p := New(Options{})
	a := assignment(check.HTTP, `{}`, check.HTTPRequest, `{"url":"{{ environment.baseUrl }}"}`)
	if err := p.Check(a); err != nil {
		t.Error(err)
	}
	a.Config = json.RawMessage(`{"timeout":1}`)
	a.Collectors = append(a.Collectors,
		protocol.Collector{ID: "x", CollectorID: "healthcheck-http.fetch"}, protocol.Collector{ID: "y", CollectorID: check.HTTPRequest})
	want := "healthcheck-http.http: timeout must be at least 100\n" +
		"x: Collector healthcheck-http.fetch not found in satellite\n" +
		"y: url is missing"
	if err := p.Check(a); err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	if err := p.Check(assignment("x.y", "", "", "")); err == nil || err.Error() != "Strategy x.y not found in satellite" {
		t.Error(err)
	}
}

func TestInventoryIsEverythingThatChecksCanBeMadeOf(t *testing.T) {
	t.Parallel()
	p := New(Options{AllowScripts: true})
	in := p.Inventory()
	strategies, collectors := in.Strategies, in.Collectors
	// But for what this machine or build lacks.
	known := slices.DeleteFunc(check.Strategies(), func(id string) bool { return p.missing[id] != "" })
	if diff := cmp.Diff(known, strategies); diff != "" {
		t.Errorf("strategies (-want +got):\n%s", diff)
	}
	var want []string
	for _, id := range known {
		want = append(want, check.Collectors(id)...)
	}
	if diff := cmp.Diff(want, collectors); diff != "" {
		t.Errorf("collectors (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(p.strategies)), slices.Sorted(slices.Values(strategies))); diff != "" {
		t.Errorf("implemented (-want +got):\n%s", diff)
	}
}

func TestL106_L109_RunContext(t *testing.T) {
	t.Parallel()
	a := assignment(check.TCP, "", "", "")
	a.ConfigName, a.SystemName, a.SystemMetadata = "front", "shop", map[string]any{"tier": 1.0}
	env := &check.Environment{ID: "e1", Name: "prod", Fields: map[string]any{"baseUrl": "http://x", "name": "a field"}}
	want := map[string]any{
		"check":       map[string]any{"id": "c1", "name": "front", "intervalSeconds": 10.0},
		"system":      map[string]any{"id": "s1", "name": "shop", "metadata": map[string]any{"tier": 1.0}},
		"environment": map[string]any{"id": "e1", "name": "prod", "baseUrl": "http://x", "fields": env.Fields},
	}
	if diff := cmp.Diff(want, newRun(a, env).values()); diff != "" {
		t.Errorf("context (-want +got):\n%s", diff)
	}
}

func TestL107_L108_L110_NamesFallBackToIDsEachForItself(t *testing.T) {
	t.Parallel()
	a := assignment(check.TCP, "", "", "")
	a.SystemName = "shop"
	want := map[string]any{
		"check":  map[string]any{"id": "c1", "name": "c1", "intervalSeconds": 10.0},
		"system": map[string]any{"id": "s1", "name": "shop", "metadata": map[string]any{}},
	}
	if diff := cmp.Diff(want, newRun(a, nil).values()); diff != "" {
		t.Errorf("context (-want +got):\n%s", diff)
	}
}

// When the caller's context ends, the result says so instead of blaming the target.
func TestStoppedRuns(t *testing.T) {
	t.Parallel()
	p, silent := New(Options{}), serve(t, waitClosed)
	ctx, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	r := p.Execute(ctx, silent.assignment(check.TCP, "", "", ""), nil, nil)
	wantUnconnected(t, r, "the run reached its deadline while connecting")

	a := silent.assignment(check.TCP, "", check.TCPBanner, `{}`)
	connected, err := p.connectTCP(t.Context(), newRun(a, nil), a.Config)
	if err != nil {
		t.Fatal(err)
	}
	defer connected.close()
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	_, err = connected.collect(ctx, check.TCPBanner, nil)
	if err == nil || err.Error() != "the run was stopped while waiting for a banner" {
		t.Error(err)
	}
}
