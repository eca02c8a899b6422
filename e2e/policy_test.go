package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// turning is a nameserver of which each name has one address when it is asked for the first
// time, and another ever after.
type turning struct {
	addr        string
	first, then net.IP

	mu    sync.Mutex
	asked map[string]int
}

func newTurning(t *testing.T, first, then string) *turning {
	t.Helper()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &turning{addr: packets.LocalAddr().String(), first: net.ParseIP(first), then: net.ParseIP(then), asked: map[string]int{}}
	server, started, done := &dns.Server{PacketConn: packets, Handler: n}, make(chan struct{}), make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	go func() {
		defer close(done)
		_ = server.ActivateAndServe() // until it is shut down
	}()
	<-started
	t.Cleanup(func() {
		if err := server.Shutdown(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return n
}

func (n *turning) ServeDNS(w dns.ResponseWriter, question *dns.Msg) {
	answer := new(dns.Msg).SetReply(question)
	if q := question.Question[0]; q.Qtype == dns.TypeA {
		n.mu.Lock()
		address := n.then
		if n.asked[strings.ToLower(q.Name)]++; n.asked[strings.ToLower(q.Name)] == 1 {
			address = n.first
		}
		n.mu.Unlock()
		answer.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: address}}
	}
	_ = w.WriteMsg(answer) // who asked may have given up
}

// tried is what the API says of a check that was tried.
type tried struct {
	Status       string `json:"status"`
	Message      string `json:"message"`
	Inconclusive string `json:"inconclusive"`
	Collectors   []struct {
		Result map[string]any `json:"result"`
	} `json:"collectors"`
}

func (c *core) tryOut(from, strategy, collector string, config map[string]any) (got tried) {
	c.t.Helper()
	c.call(http.MethodPost, "/api/v1/checks/try", map[string]any{"from": from, "spec": map[string]any{
		"strategy": strategy, "interval": "1m", "config": map[string]any{},
		"collectors": []any{map[string]any{"id": "it", "collector": collector, "config": config}},
	}}, &got)
	return got
}

func (c *core) tryHTTP(from, url string) tried {
	return c.tryOut(from, "healthcheck-http.http", "healthcheck-http.request", map[string]any{"url": url})
}

func (c *core) tryScript(from, script string) tried {
	return c.tryOut(from, "healthcheck-script.script", "healthcheck-script.inline-script", map[string]any{"script": script})
}

func (c *core) tryShell(from, script string) tried {
	return c.tryOut(from, "healthcheck-script.script", "healthcheck-script.execute", map[string]any{"script": script})
}

// setPolicy sets the core's policy for scripts, and waits until the satellite has it.
func (c *core) setPolicy(s *satellite, policy string) {
	c.t.Helper()
	c.cli(policy, "sandbox", "set", "-")
	var want struct {
		Policy any `json:"policy"`
	}
	c.call(http.MethodGet, "/api/v1/sandbox-policy", nil, &want)
	wait(c.t, "the satellite to have the policy", func() error {
		text, err := os.ReadFile(filepath.Join(s.args[slices.Index(s.args, "--data-dir")+1], "sandbox-policy.json"))
		if err != nil {
			return err
		}
		var got any
		if err := json.Unmarshal(text, &got); err != nil {
			return err
		}
		if g, w := fmt.Sprint(got), fmt.Sprint(want.Policy); g != w {
			return fmt.Errorf("it has %s, not %s", g, w)
		}
		return nil
	}, s.process)
}

// What a satellite's operator has closed stays closed to whoever edits checks at the core: by a
// name that changes its address, a redirect, a script, a policy of the core's that is wider.
func TestTheOperatorsFileHolds(t *testing.T) {
	t.Parallel()
	// One server at an address that is open, one at the same port of another that is not.
	var trapped atomic.Int64
	trap := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { trapped.Add(1) }))
	open := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close") // the next request looks the name up anew
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
		}
	}))
	open.Start()
	t.Cleanup(open.Close)
	_, port, _ := net.SplitHostPort(open.Listener.Addr().String())
	listener, err := net.Listen("tcp", "127.66.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	trap.Listener.Close()
	trap.Listener = listener
	trap.Start()
	t.Cleanup(trap.Close)
	t.Cleanup(func() {
		if n := trapped.Load(); n != 0 {
			t.Errorf("%d requests came where none may go", n)
		}
	})
	names, metadata := newTurning(t, "127.0.0.1", "127.66.0.1"), "http://169.254.169.254/latest/meta-data/"

	c := newCore(t, "")
	c.start()
	c.ready()
	s := newSatellite(c, "guarded", "eu")
	file := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(file, []byte(`{
		"checks": {"deny": ["metadata", "127.66.0.0/16"]},
		"network": {"mode": "allowlist", "allow": ["127.0.0.1", "169.254.0.0/16"]}, "filesystem": {"mode": "scratch-only"}
	}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s.args = append(s.args, "--nameserver", names.addr, "--script-policy", file, "--allow-scripts")
	s.start()
	wait(t, "the satellite to be online", func() error {
		var record struct {
			Status string `json:"status"`
		}
		if err := c.try(http.MethodGet, "/api/v1/satellites/guarded", nil, &record); err != nil || record.Status != "online" {
			return fmt.Errorf("it is %q, %v", record.Status, err)
		}
		return nil
	}, c.process, s.process)
	// The core's own is as wide as it can be.
	c.setPolicy(s, `{"network": {"mode": "unrestricted", "denyLinkLocalAndMetadata": false}, "filesystem": {"mode": "off"}, "privilege": {"mode": "inherit"}}`)
	at := func(name string) string { return "http://" + name + ":" + port + "/" }

	for name, got := range map[string]tried{
		"a name at first":      c.tryHTTP("guarded", at("again.test")),
		"an address":           c.tryHTTP("guarded", at("127.0.0.1")),
		"a script at first":    c.tryScript("guarded", `const r = await fetch("`+at("script.test")+`"); return r.ok`),
		"a shell that is able": c.tryShell("guarded", "echo it > file && cat file && perl -MIO::Socket::INET -e 'IO::Socket::INET->new(q(127.0.0.1:"+port+")) or die $!'"),
	} {
		if got.Status != "healthy" {
			t.Errorf("%s: %s: %s", name, got.Status, got.Message)
		}
	}
	barred := "Check not carried out: the policy of this satellite's own operator does not let checks connect to "
	denied := "the sandbox policy does not allow connections to "
	for name, w := range map[string]struct {
		got    tried
		status string
		says   string
	}{
		"a name that has turned":               {c.tryHTTP("guarded", at("again.test")), "degraded", barred + "127.66.0.1:" + port},
		"a name that turns between requests":   {c.tryHTTP("guarded", at("turns.test")+"?to="+at("turns.test")), "degraded", barred + "127.66.0.1:" + port},
		"a redirect to what is closed":         {c.tryHTTP("guarded", at("127.0.0.1")+"?to="+at("127.66.0.1")), "degraded", barred + "127.66.0.1:" + port},
		"a redirect to metadata":               {c.tryHTTP("guarded", at("127.0.0.1")+"?to="+metadata), "degraded", barred + "169.254.169.254:80"},
		"a redirect to metadata, as a number":  {c.tryHTTP("guarded", at("127.0.0.1")+"?to=http://[::ffff:169.254.169.254]/"), "degraded", barred},
		"a script, a name that has turned":     {c.tryScript("guarded", `await fetch("`+at("script.test")+`")`), "degraded", denied + "script.test"},
		"a script, a name that turns":          {c.tryScript("guarded", `await fetch("`+at("turns-too.test")+`?to=`+at("turns-too.test")+`")`), "degraded", denied + "turns-too.test"},
		"a script, a redirect":                 {c.tryScript("guarded", `await fetch("`+at("127.0.0.1")+`?to=`+at("127.66.0.1")+`")`), "degraded", denied + "127.66.0.1"},
		"a script, a redirect to metadata":     {c.tryScript("guarded", `await fetch("`+at("127.0.0.1")+`?to=`+metadata+`")`), "degraded", denied + "169.254.169.254"},
		"a shell to what is closed":            {c.tryShell("guarded", "perl -MIO::Socket::INET -e 'IO::Socket::INET->new(q(127.66.0.1:"+port+")) or die $!'"), "unhealthy", "Permission denied"},
		"a shell to metadata":                  {c.tryShell("guarded", "perl -MIO::Socket::INET -e 'IO::Socket::INET->new(q(169.254.169.254:80)) or die $!'"), "unhealthy", "Permission denied"},
		"a shell that waits for others":        {c.tryShell("guarded", "perl -MIO::Socket::INET -e 'IO::Socket::INET->new(Listen => 1) or die $!'"), "unhealthy", "Operation not permitted"},
		"a shell that reads":                   {c.tryShell("guarded", "cat "+file), "unhealthy", "Permission denied"},
		"a program in memory":                  {c.tryShell("guarded", `perl -e '`+inMemory+`'`), "unhealthy", "no: Function not implemented"},
		"a program in memory that has a shell": {c.tryShell("guarded", `perl -e '`+strings.Replace(inMemory, "/bin/true", "/bin/sh", 1)+`'`), "unhealthy", "no: Function not implemented"},
	} {
		if w.got.Status != w.status || !strings.Contains(w.got.Message, w.says) {
			t.Errorf("%s: %s: %s\nwant %s: %s", name, w.got.Status, w.got.Message, w.status, w.says)
		}
	}
	s.stop()
	c.stop()
}

// inMemory makes a file that has no name and no place, puts a program in it, and becomes it.
const inMemory = `my $n = "x"; my $f = syscall(319, $n, 0); die "no: $!" if $f < 0; open(my $p, "<", "/bin/true"); open(my $m, ">&=", $f); print $m join "", <$p>; close $p; exec "/proc/self/fd/$f"`
