package conformance_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/conformance"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/internal/probe"
	"github.com/perigee-monitoring/perigee/internal/satellite"
	"github.com/perigee-monitoring/perigee/protocol"
)

// The program itself, started as an operator of the original would, with the names of
// the original's environment.
func TestOurAgentConforms(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "perigee-satellite")
	// As make build does it, so that what that compiled is used again.
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "../cmd/perigee-satellite")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var said sync.Map // what each of them said, by its id
	start := func(_ context.Context, url, id, token string) (func(), error) {
		command := exec.Command(program, "--allow-scripts", "--debug")
		command.Env = []string{
			"PATH=" + os.Getenv("PATH"), "CHECKSTACK_CORE_URL=" + url, "CHECKSTACK_SATELLITE_CLIENT_ID=" + id, "CHECKSTACK_SATELLITE_TOKEN=" + token,
			"CHECKSTACK_DATA_DIR=" + filepath.Join(t.TempDir(), id),
		}
		log := &strings.Builder{}
		said.Store(id, log)
		command.Stderr = log
		if err := command.Start(); err != nil {
			return nil, err
		}
		return func() {
			_ = command.Process.Signal(syscall.SIGTERM)
			_ = command.Wait() // an agent that was refused has ended with another code
		}, nil
	}
	all := conformance.Agent(t.Context(), conformance.Subject{Start: start, Patience: 30 * time.Second}, nil)
	for i, o := range all {
		if !o.Pass {
			log, _ := said.Load(fmt.Sprintf("3f0c9c1e-0000-4000-8000-%012d", i))
			t.Errorf("%s (%s): %s\n%s", o.Name, o.What, o.Detail, log)
		}
	}
}

// fault is what is wrong with an agent that is otherwise ours.
type fault struct {
	name string // of the case that is about it
	says string // what the case has to say

	url     string                                              // put behind the core's
	say     func(line *badLine, m map[string]any) (more string) // what is said, m["type"] nil for nothing; more is said behind it
	hear    func(line *badLine, text string) string             // what is heard; "" for nothing
	close   func(code int) int                                  // how it closes
	limit   int64                                               // the longest that it hears
	deaf    bool                                                // hears nothing behind authenticated, and answers no ping
	hurried bool                                                // is back as soon as a connection has ended
	lazy    bool                                                // does not check while it is not connected
	whole   bool                                                // knows no messages in pieces
	stays   bool                                                // does not leave
	// patience of the suite with it; four seconds when zero.
	patience time.Duration
}

var faults = []fault{
	{name: "L93_heartbeat", says: "expected heartbeat", say: unsaid("heartbeat")},
	{name: "L93_heartbeat", says: "want a version", say: changed("heartbeat", func(m map[string]any) { delete(m, "version") })},
	{name: "M18_no_answer", says: "did not for", stays: true},
	{name: "K5_backoff", says: "it waited", hurried: true},
	{name: "M4_offline", says: "while the core was away", lazy: true},
	{name: "M4_offline", says: "nothing is told", say: since(func(line *badLine, m map[string]any) {
		if at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(m["executedAt"])); err == nil && line.number > 1 && at.Before(line.opened) {
			m["type"] = nil
		}
	})},
	{name: "A1_address", says: "//api/ws/satellite", url: "/"},
	{name: "A5_authenticate", says: "it is clientId", say: changed("authenticate", func(m map[string]any) { delete(m, "clientId") })},
	{name: "A5_authenticate", says: "list of texts", say: changed("authenticate", func(m map[string]any) { m["capabilities"] = []any{} })},
	{name: "A4_waits", says: "heartbeat came", say: added("authenticate", `{"type":"heartbeat","version":"1","uptimeSeconds":1}`)},
	{name: "A4_early_push", says: "expected silence", hear: heard("config_updated", `"type":"config_updated"`, `"type":"authenticated","satelliteId":"x"`)},
	{name: "A1_ping", says: "no pong", deaf: true},
	{name: "A1_pieces", says: "expected result", whole: true},
	{name: "A1_large", says: "the connection ended", limit: 1 << 20},
	{name: "A5_messages", says: "does not know", say: added("result", `{"type":"applied"}`)},
	{name: "A5_messages", says: "lockfileHash is missing", say: changed("script_package_sync_state", func(m map[string]any) { delete(m, "lockfileHash") })},
	{name: "F1_result", says: "whole milliseconds", say: changed("result", func(m map[string]any) { m["latencyMs"] = 1.5 })},
	{name: "F1_result", says: "executedAt", say: changed("result", func(m map[string]any) { m["executedAt"] = "2030-01-02T03:04:05+01:00" })},
	{name: "F1_result", says: "an entry e1", say: collector(func(all map[string]any) { all["healthcheck-http.request"] = all["e1"]; delete(all, "e1") })},
	{name: "L127_collector_error", says: "an error of the collector", say: collector(func(all map[string]any) { all["e1"] = map[string]any{} })},
	{name: "L128_unknown_strategy", says: "nothing was told", say: unsaid("strategy_error")},
	{name: "L125_templates", says: "ran 0 times", hear: heard("authenticated", "{{ environment.id }}", "environment.id")},
	{name: "L129_environments", says: "want one of", say: changed("result", func(m map[string]any) { m["environmentId"] = nil })},
	{name: "L129_environments", says: "of [e-2]", hear: heard("authenticated", `,{"id":"e-2","name":"Two","fields":{}}`, ``)},
	{name: "L130_L131_no_environment", says: "names the environment", say: changed("result", func(m map[string]any) { m["environmentId"] = "default" })},
	{name: "L133_two_systems", says: "expected result", say: changed("result", func(m map[string]any) { m["systemId"] = "web" })},
	{name: "K3_schedule", says: "three times more within", hear: heard("authenticated", `"intervalSeconds":1`, `"intervalSeconds":0.1`)},
	{name: "K3_schedule", says: "want 4", patience: 10 * time.Second, hear: heard("authenticated", `"intervalSeconds":1`, `"intervalSeconds":4`)},
	{name: "K3_same_set", says: "want 2 to", hear: startsAtOnce},
	{name: "A6_config_updated", says: "still runs", hear: func(_ *badLine, text string) string {
		return strings.Replace(text, `"assignments":[]`, `"assignments":7`, 1)
	}},
	{name: "M63_changed", says: "ran 0 times", hear: unheard("config_updated")},
	{name: "L95_unknown", says: "does not live", hear: fallsOver(func(m map[string]any, _ string) bool { return m["type"] == "nobody_knows_this" })},
	{name: "L95_unknown", says: "does not live", hear: fallsOver(func(m map[string]any, _ string) bool { return m == nil })},
	{name: "A3_incomplete", says: "ran ", hear: heard("config_updated", `"config_updated"}`, `"config_updated","assignments":[]}`)},
	{name: "A1_binary", says: "does not live", hear: fallsOver(func(_ map[string]any, text string) bool { return !utf8.ValidString(text) })},
	{name: "L102_in_flight", says: "expected result", say: changed("result", func(m map[string]any) {
		if late(m) {
			m["type"] = nil
		}
	})},
	{name: "L102_in_flight", says: "twice", say: func(_ *badLine, m map[string]any) string {
		if !late(m) {
			return ""
		}
		text, _ := json.Marshal(m)
		return string(text)
	}},
	{name: "K5_cut", says: "it came back after", hurried: true},
	{name: "K5_closed", says: "it came back after", hurried: true},
	{name: "A6_auth_failed", says: "want 4001", close: func(int) int { return 1000 }},
	{name: "M20_refused", says: "it came back", hear: unheard("auth_failed")},
	{name: "A6_shutdown", says: "expected the agent to end", hear: unheard("shutdown")},
	{name: "M20_shutdown", says: "it came back", hear: fallsOver(func(m map[string]any, _ string) bool { return m["type"] == "shutdown" })},
	{name: "A10_stop", says: "want 1000", close: func(int) int { return link.Lost }},
	{name: "L76_no_hash", says: "script_package_sync_state came", hear: heard("authenticated", `"assignments"`, `"scriptPackagesLockfileHash":null,"assignments"`)},
	{name: "L111_null", says: "expected script_package_sync_state", say: unsaid("script_package_sync_state")},
	{name: "G6_sync", says: "want syncing", say: changed("script_package_sync_state", func(m map[string]any) { m["status"] = "ready" })},
	{name: "G6_sync", says: "want ready", hear: heard("script_package_blob", `"data":"`, `"data":"AAAA`)},
	{name: "L112_no_blob", says: "want error", say: changed("script_package_sync_state", func(m map[string]any) { delete(m, "errorMessage") })},
	{name: "L246_tampered", says: "want error", hear: heard("script_package_manifest", `"blobSha256"`, `"other"`)},
	{name: "L248_archive", says: "want error", say: changed("script_package_sync_state", func(m map[string]any) {
		if m["status"] == "error" {
			m["status"] = "ready"
		}
	})},
	{name: "L113_latest", says: "the last report", hear: func(line *badLine, text string) string {
		if line.refreshed && strings.Contains(text, `"refresh_script_packages"`) {
			return ""
		}
		line.refreshed = line.refreshed || strings.Contains(text, `"refresh_script_packages"`)
		return text
	}},
	{name: "M22_cut_sync", says: "expected script_package_sync_state", hear: func(line *badLine, text string) string {
		if line.number == 1 {
			return text
		}
		return strings.Replace(text, "scriptPackagesLockfileHash", "other", 1)
	}, say: func(line *badLine, m map[string]any) string { // as it would while it still waits for the first answer
		if line.number > 1 && m["type"] != "authenticate" {
			m["type"] = nil
		}
		return ""
	}},
	{name: "H3_config_secrets", says: `used "wrong"`, say: remembering, hear: func(line *badLine, text string) string {
		return strings.Replace(text, `"nobody-asked"`, `"`+line.request()+`"`, 1)
	}},
	{name: "H3_config_secrets", says: "expected request_config_secrets", say: unsaid("request_config_secrets")},
	{name: "L120_refused", says: "want unhealthy", hear: heard("config_secrets", `"error":"no such secret"`, `"collectors":{"e1":{"headers[0].value":"x"}}`)},
	{name: "L120_left_over", says: "want unhealthy", hear: heard("config_secrets", `}`, `,"collectors":{"e1":{"headers[0].value":"x"}}}`)},
	{name: "L115_literals", says: "request_config_secrets came", say: added("result", `{"type":"request_config_secrets","requestId":"1","configId":"c1","runId":"1"}`)},
	{name: "H2_run_secrets", says: "the script says", say: collector(func(all map[string]any) {
		e, _ := all["e1"].(map[string]any)
		e["stdout"] = "11 open-sesame\n"
	})},
	{name: "H2_run_secrets", says: "collectorId e1", say: changed("request_run_secrets", func(m map[string]any) { m["collectorId"] = "healthcheck-script.execute" })},
	{name: "H2_refused", says: "want unhealthy", hear: heard("run_secrets", `"error":"no such secret"`, `"env":{"CONFORMANCE":"x"}`)},
}

func unsaid(kind string) func(*badLine, map[string]any) string {
	return changed(kind, func(m map[string]any) { m["type"] = nil })
}

func changed(kind string, change func(map[string]any)) func(*badLine, map[string]any) string {
	return since(func(_ *badLine, m map[string]any) {
		if m["type"] == kind {
			change(m)
		}
	})
}

func since(change func(*badLine, map[string]any)) func(*badLine, map[string]any) string {
	return func(line *badLine, m map[string]any) string {
		change(line, m)
		return ""
	}
}

func added(kind, more string) func(*badLine, map[string]any) string {
	return func(_ *badLine, m map[string]any) string {
		if m["type"] != kind {
			return ""
		}
		return more
	}
}

// collector changes the evidence of results.
func collector(change func(map[string]any)) func(*badLine, map[string]any) string {
	return changed("result", func(m map[string]any) {
		if all := collectors(m); all != nil {
			change(all)
		}
	})
}

func collectors(m map[string]any) map[string]any {
	for _, member := range []string{"result", "metadata", "collectors"} {
		m, _ = m[member].(map[string]any)
	}
	return m
}

// late: it is the result of the request that was held.
func late(m map[string]any) bool {
	e, _ := collectors(m)["e1"].(map[string]any)
	return m["type"] == "result" && e["statusCode"] == 202.0
}

func remembering(line *badLine, m map[string]any) string {
	if id, ok := m["requestId"].(string); ok {
		line.asked.Store(&id)
	}
	return ""
}

func unheard(kind string) func(*badLine, string) string {
	return func(_ *badLine, text string) string {
		if typeOf(text) == kind {
			return ""
		}
		return text
	}
}

func heard(kind, what, instead string) func(*badLine, string) string {
	return func(_ *badLine, text string) string {
		if typeOf(text) != kind {
			return text
		}
		return strings.Replace(text, what, instead, 1)
	}
}

// fallsOver ends the connection at some messages.
func fallsOver(at func(m map[string]any, text string) bool) func(*badLine, string) string {
	return func(line *badLine, text string) string {
		var m map[string]any
		_ = json.Unmarshal([]byte(text), &m)
		if !at(m, text) {
			return text
		}
		_ = line.get().Close(1000, "Client shutdown")
		return ""
	}
}

// startsAtOnce is an agent that begins every check anew at each update.
func startsAtOnce(_ *badLine, text string) string {
	url := regexp.MustCompile(`"url":"([^"]*)"`).FindStringSubmatch(text)
	if url == nil {
		return text
	}
	if resp, err := http.Get(url[1]); err == nil { //nolint:noctx,gosec // of the suite's own page
		resp.Body.Close()
	}
	return text
}

func typeOf(text string) string {
	var m struct {
		Type string `json:"type"`
	}
	_ = json.Unmarshal([]byte(text), &m)
	return m.Type
}

// badLine is a connection of an agent that has a fault.
type badLine struct {
	fault   fault
	dial    func() (link.Conn, error)
	lost    func()
	number  int // of the connections of this agent, from 1
	opened  time.Time
	asked   atomic.Pointer[string]
	stopped <-chan struct{}

	refreshed bool // owned by Read

	mu     sync.Mutex
	conn   link.Conn
	hello  []byte
	closed bool // by the agent
}

func (l *badLine) get() link.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn
}

func (l *badLine) request() string {
	if id := l.asked.Load(); id != nil {
		return *id
	}
	return ""
}

func (l *badLine) Read() ([]byte, error) {
	for {
		frame, err := l.get().Read()
		if err != nil {
			if l.fault.hurried && l.again() {
				continue
			}
			if l.fault.stays {
				<-l.stopped
			}
			l.lost()
			return nil, err
		}
		if l.fault.deaf && typeOf(string(frame)) == "authenticated" {
			<-l.stopped
		}
		if l.fault.hear == nil {
			return frame, nil
		}
		if text := l.fault.hear(l, string(frame)); text != "" {
			return []byte(text), nil
		}
	}
}

// again connects once more, behind the agent's back.
func (l *badLine) again() bool {
	select {
	case <-l.stopped:
		return false
	default:
	}
	conn, err := l.dial()
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn = conn
	err = conn.Write(l.hello)
	if l.closed { // the agent has left, and will not do so again
		_ = conn.Close(link.Lost, "")
	}
	return err == nil && !l.closed
}

func (l *badLine) Write(frame []byte) error {
	if typeOf(string(frame)) == "authenticate" {
		l.mu.Lock()
		l.hello = slices.Clone(frame)
		l.mu.Unlock()
	}
	if l.fault.say == nil {
		return l.get().Write(frame)
	}
	var m map[string]any
	if err := json.Unmarshal(frame, &m); err != nil {
		return err
	}
	more := l.fault.say(l, m)
	if m["type"] != nil {
		frame, err := json.Marshal(m)
		if err != nil {
			return err
		}
		if err := l.get().Write(frame); err != nil {
			return err
		}
	}
	if more != "" {
		return l.get().Write([]byte(more))
	}
	return nil
}

func (l *badLine) Close(code int, reason string) error {
	if l.fault.stays {
		select {
		case <-l.stopped:
		default:
			return nil
		}
	}
	if l.fault.close != nil {
		code = l.fault.close(code)
	}
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	return l.get().Close(code, reason)
}

func (l *badLine) SetReadLimit(bytes int64) {
	if l.fault.limit > 0 {
		bytes = l.fault.limit
	}
	l.get().SetReadLimit(bytes)
}

func (l *badLine) Ping(done func()) error { return l.get().Ping(done) }
func (l *badLine) LastHeard() time.Time   { return l.get().LastHeard() }
func (l *badLine) RemoteAddr() string     { return l.get().RemoteAddr() }

// watched knows whether the agent is connected.
type watched struct {
	satellite.Prober
	lines *lines
}

func (w watched) Execute(ctx context.Context, a *protocol.Assignment, env *check.Environment, lease probe.Lease) check.Result {
	if w.lines.away.Load() {
		return check.Result{Status: check.Healthy}
	}
	return w.Prober.Execute(ctx, a, env, lease)
}

// lines are the connections of one agent.
type lines struct {
	mu   sync.Mutex
	all  []*badLine
	away atomic.Bool // the line was lost, and there is no other
}

// wholeOnly stands before a core and lets the first piece of a message through as if it
// were the message. It is the address of it.
func wholeOnly(t *testing.T, core string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed below
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		agent, err := listener.Accept()
		if err != nil {
			return
		}
		defer agent.Close()
		behind, err := net.Dial("tcp", core) //nolint:noctx // on this machine
		if err != nil {
			return
		}
		defer behind.Close()
		go func() {
			_, _ = io.Copy(behind, agent)
			behind.Close()
		}()
		from := bufio.NewReader(behind)
		for line := ""; line != "\r\n"; { // the answer to the upgrade
			if line, err = from.ReadString('\n'); err != nil {
				return
			}
			_, _ = io.WriteString(agent, line)
		}
		for {
			head := make([]byte, 2)
			if _, err := io.ReadFull(from, head); err != nil {
				return
			}
			size := int(head[1])
			if size == 126 {
				head = append(head, 0, 0)
				_, _ = io.ReadFull(from, head[2:])
				size = int(binary.BigEndian.Uint16(head[2:]))
			}
			body := make([]byte, size)
			if _, err := io.ReadFull(from, body); err != nil {
				return
			}
			if head[0]&0x0f != 0 {
				head[0] |= 0x80
				_, _ = agent.Write(append(head, body...))
			}
		}
	}()
	return listener.Addr().String()
}

func (l *lines) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		_ = line.get().Close(link.Lost, "")
	}
}

// bad starts an agent in this process that has the fault.
func bad(t *testing.T, f fault) func(context.Context, string, string, string) (func(), error) {
	return func(_ context.Context, url, id, token string) (func(), error) {
		address, err := link.URL(url)
		if err != nil {
			return nil, err
		}
		if f.url != "" {
			address = strings.Replace(address, "/api/", f.url+"/api/", 1)
		}
		if f.whole {
			relay := wholeOnly(t, strings.TrimPrefix(url, "http://"))
			address = strings.Replace(address, strings.TrimPrefix(url, "http://"), relay, 1)
		}
		ctx, cancel := context.WithCancel(context.Background())
		opened, stopped := &lines{}, make(chan struct{})
		dial := func(ctx context.Context) (conn link.Conn, err error) {
			tries := 1
			if f.hurried {
				tries = 4
			}
			for range tries {
				if conn, err = link.Dial(ctx, address, link.Options{}); err == nil {
					break
				}
			}
			opened.away.Store(err != nil)
			if err != nil {
				return nil, err
			}
			opened.mu.Lock()
			defer opened.mu.Unlock()
			line := &badLine{fault: f, number: len(opened.all) + 1, opened: time.Now(), stopped: stopped, conn: conn}
			line.lost = func() { opened.away.Store(true) }
			line.dial = func() (link.Conn, error) { return link.Dial(context.Background(), address, link.Options{}) }
			opened.all = append(opened.all, line)
			return line, nil
		}
		var prober satellite.Prober = probe.New(probe.Options{Log: slog.New(slog.DiscardHandler), Version: "test", AllowScripts: true})
		if f.lazy {
			prober = watched{prober, opened}
		}
		s, err := satellite.New(satellite.Config{ID: id, Token: token, DataDir: t.TempDir(), Version: "test"}, prober,
			[]satellite.Core{{URL: url, Dial: dial}}, slog.New(slog.DiscardHandler))
		if err != nil {
			cancel()
			return nil, err
		}
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		return func() {
			close(stopped)
			cancel()
			if f.stays {
				opened.hangUp()
			}
			if err := <-ended; err != nil && !errors.Is(err, satellite.ErrRefused) {
				t.Error(err)
			}
			opened.hangUp()
		}, nil
	}
}

func TestEachCaseForAnAgentHasAFault(t *testing.T) {
	t.Parallel()
	start := func(context.Context, string, string, string) (func(), error) { return nil, errors.New("nobody") }
	var cases, with []string
	for _, o := range conformance.Agent(t.Context(), conformance.Subject{Start: start}, nil) {
		if cases = append(cases, o.Name); o.Pass {
			t.Errorf("%s passes without an agent", o.Name)
		}
	}
	for _, f := range faults {
		with = append(with, f.name)
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(with))) {
		i := slices.Index(cases, name)
		if i < 0 {
			t.Fatalf("there is no case %s", name)
		}
		cases = slices.Delete(cases, i, i+1)
	}
	if len(cases) > 0 {
		t.Errorf("without a fault are %v", cases)
	}
}

// A case that cannot fail proves nothing: each of these agents has one fault, and the
// case that is about it says so.
func TestEachFaultOfAnAgentIsFound(t *testing.T) {
	t.Parallel()
	found := func(f fault) {
		subject := conformance.Subject{Start: bad(t, f), Patience: cmp.Or(f.patience, 4*time.Second), Only: func(name string) bool { return name == f.name }}
		for _, o := range conformance.Agent(t.Context(), subject, nil) {
			if o.Pass || !strings.Contains(o.Detail, f.says) {
				t.Errorf("%s: pass %v, %q; want a failure that says %q", o.Name, o.Pass, o.Detail, f.says)
			}
		}
	}
	var running sync.WaitGroup
	places := make(chan struct{}, 30) // mostly they wait
	for _, f := range faults {
		if f.hurried { // and would be as slow as a good agent beside thirty others
			found(f)
		}
	}
	for _, f := range faults {
		if f.hurried {
			continue
		}
		running.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			found(f)
		})
	}
	running.Wait()
}
