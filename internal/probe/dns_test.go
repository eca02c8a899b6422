package probe

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// nameserver answers on loopback, by datagram and by stream, and gives its address.
func nameserver(t *testing.T, handler dns.HandlerFunc) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	packets, err := net.ListenPacket("udp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range []*dns.Server{{Listener: listener, Handler: handler}, {PacketConn: packets, Handler: handler}} {
		started, done := make(chan struct{}), make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { defer close(done); server.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { server.Shutdown(); <-done })
	}
	return listener.Addr().String()
}

// zone answers from records in zone-file form, with an alias first.
func zone(t *testing.T, records ...string) dns.HandlerFunc {
	t.Helper()
	var all []dns.RR
	for _, text := range records {
		record, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, record)
	}
	return func(w dns.ResponseWriter, question *dns.Msg) {
		answer := new(dns.Msg).SetReply(question)
		answer.Rcode = dns.RcodeNameError
		for _, record := range all {
			if !strings.EqualFold(record.Header().Name, question.Question[0].Name) {
				continue
			}
			answer.Rcode = dns.RcodeSuccess
			if kind := record.Header().Rrtype; kind == question.Question[0].Qtype || kind == dns.TypeCNAME {
				answer.Answer = append(answer.Answer, record)
			}
		}
		w.WriteMsg(answer)
	}
}

// rcodes answers everything with the code.
func rcodes(code int) dns.HandlerFunc {
	return func(w dns.ResponseWriter, question *dns.Msg) { w.WriteMsg(new(dns.Msg).SetRcode(question, code)) }
}

// lookup asks the nameserver.
func lookup(t *testing.T, server, hostname, recordType string) check.Result {
	t.Helper()
	a := assignment(check.DNS, fmt.Sprintf(`{"nameserver":%q,"timeout":600}`, server), check.DNSLookup, fmt.Sprintf(`{"hostname":%q,"recordType":%q}`, hostname, recordType))
	return New(Options{}).Execute(t.Context(), a, nil, nil)
}

func TestDNSLookups(t *testing.T) {
	t.Parallel()
	server := nameserver(t, zone(t,
		"a.example. A 192.0.2.1", "a.example. A 192.0.2.2", "a.example. AAAA 2001:db8::1",
		"b.example. CNAME a.example.", "b.example. TXT \"v=spf1 \" \"-all\"",
		"a.example. MX 10 mail.example.", "a.example. NS ns1.example.",
	))
	for _, c := range []struct {
		name, kind string
		want       []any
	}{
		{"a.example", "A", []any{"192.0.2.1", "192.0.2.2"}},
		{"A.Example.", "A", []any{"192.0.2.1", "192.0.2.2"}},
		{"a.example", "AAAA", []any{"2001:db8::1"}},
		{"b.example", "CNAME", []any{"a.example"}},
		{"b.example", "TXT", []any{"v=spf1 -all"}},
		{"a.example", "MX", []any{"10 mail.example"}},
		{"a.example", "NS", []any{"ns1.example"}},
	} {
		r := lookup(t, server, c.name, c.kind)
		wantHealthy(t, r)
		want := map[string]any{"_collectorId": check.DNSLookup, "values": c.want, "recordCount": float64(len(c.want))}
		if diff := cmp.Diff(want, object(t, r, "e")); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", c.name, c.kind, diff)
		}
	}
}

func TestDNSRefusals(t *testing.T) {
	t.Parallel()
	server := nameserver(t, zone(t, "a.example. A 192.0.2.1", "b.example. CNAME a.example."))
	for _, c := range []struct{ name, kind, want string }{
		{"gone.example", "A", "the name gone.example does not exist (NXDOMAIN)"},
		{"a.example", "AAAA", "a.example has no AAAA records"},
		{"b.example", "A", "b.example has no A records"},
		{strings.Repeat("x", 70) + ".example", "A", fmt.Sprintf("%q is not a name that can be looked up", strings.Repeat("x", 70)+".example")},
	} {
		wantFailure(t, lookup(t, server, c.name, c.kind), c.want)
	}
	// What was measured of the failure is kept.
	if o := object(t, lookup(t, server, "a.example", "AAAA"), "e"); o["recordCount"] != 0.0 || o["values"] == nil {
		t.Errorf("%v", o)
	}
	wantFailure(t, lookup(t, nameserver(t, rcodes(dns.RcodeServerFailure)), "a.example", "A"), "the nameserver answered SERVFAIL for a.example")
	wantFailure(t, lookup(t, nameserver(t, rcodes(dns.RcodeRefused)), "a.example", "A"), "the nameserver answered REFUSED for a.example")
	wantFailure(t, lookup(t, nameserver(t, rcodes(14)), "a.example", "A"), "the nameserver answered code 14 for a.example")
}

func TestDNSLostDatagramIsAskedAgain(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	answer := zone(t, "a.example. A 192.0.2.1")
	server := nameserver(t, func(w dns.ResponseWriter, question *dns.Msg) {
		if asked.Add(1) > 1 {
			answer(w, question)
		}
	})
	wantHealthy(t, lookup(t, server, "a.example", "A"))
}

func TestDNSSilence(t *testing.T) {
	t.Parallel()
	server := nameserver(t, func(dns.ResponseWriter, *dns.Msg) {})
	wantFailure(t, lookup(t, server, "a.example", "A"), "timed out after 600 ms while waiting for "+server)
}

func TestDNSNobodyThere(t *testing.T) {
	t.Parallel()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := packets.LocalAddr().String()
	packets.Close()
	wantFailure(t, lookup(t, address, "a.example", "A"), fmt.Sprintf("asking %s: connection refused (%s)", address, address))
}

func TestDNSLargeAnswersComeByStream(t *testing.T) {
	t.Parallel()
	server := nameserver(t, func(w dns.ResponseWriter, question *dns.Msg) {
		answer := new(dns.Msg).SetReply(question)
		for i := range 300 {
			record, _ := dns.NewRR(fmt.Sprintf("a.example. TXT \"%d %s\"", i, strings.Repeat("x", 50)))
			answer.Answer = append(answer.Answer, record)
		}
		if w.RemoteAddr().Network() == "udp" {
			answer.Answer, answer.Truncated = answer.Answer[:2], true
		}
		w.WriteMsg(answer)
	})
	r := lookup(t, server, "a.example", "TXT")
	wantHealthy(t, r)
	// All are counted, a bounded number is kept (spec M37).
	if o := object(t, r, "e"); o["recordCount"] != 300.0 || len(o["values"].([]any)) != maxValues {
		t.Errorf("%v of %v values", len(o["values"].([]any)), o["recordCount"])
	}
}

func TestDNSOldServersWithoutExtensions(t *testing.T) {
	t.Parallel()
	answer := zone(t, "a.example. A 192.0.2.1")
	server := nameserver(t, func(w dns.ResponseWriter, question *dns.Msg) {
		if question.IsEdns0() != nil {
			rcodes(dns.RcodeFormatError)(w, question)
			return
		}
		answer(w, question)
	})
	wantHealthy(t, lookup(t, server, "a.example", "A"))
}

func TestDNSCollectorNamesItsOwnNameserver(t *testing.T) {
	t.Parallel()
	server := nameserver(t, zone(t, "a.example. A 192.0.2.1"))
	a := assignment(check.DNS, `{"nameserver":"192.0.2.53"}`, check.DNSLookup, fmt.Sprintf(`{"hostname":"a.example","nameserver":%q}`, server))
	wantHealthy(t, New(Options{}).Execute(t.Context(), a, nil, nil))
}

func TestM77_DNSWithoutCollectorsAsksTheNameserver(t *testing.T) {
	t.Parallel()
	for _, handler := range []dns.HandlerFunc{zone(t, ". NS a.root-servers.example."), rcodes(dns.RcodeRefused)} {
		server := nameserver(t, handler)
		wantHealthy(t, New(Options{}).Execute(t.Context(), assignment(check.DNS, fmt.Sprintf(`{"nameserver":%q}`, server), "", ""), nil, nil))
	}
	silent := nameserver(t, func(dns.ResponseWriter, *dns.Msg) {})
	r := New(Options{}).Execute(t.Context(), assignment(check.DNS, fmt.Sprintf(`{"nameserver":%q,"timeout":100}`, silent), "", ""), nil, nil)
	if want := "Check failed: timed out after 100 ms while waiting for " + silent; r.Status != check.Unhealthy || r.Message != want {
		t.Errorf("%s, %q, want %q", r.Status, r.Message, want)
	}
}

func TestDNSSystemResolver(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("# two\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := (&dnsSession{resolvConf: file}).servers("")
	if diff := cmp.Diff([]string{"192.0.2.1:53", "[2001:db8::1]:53"}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	// A satellite without a resolver has nothing to say about the target.
	gone := file + ".gone"
	r := New(Options{ResolvConf: gone}).Execute(t.Context(), assignment(check.DNS, `{}`, check.DNSLookup, `{"hostname":"a.example"}`), nil, nil)
	want := "Check not carried out: this satellite has no nameserver of its own (" + gone + "); name one in the check"
	if r.Status != check.Degraded || r.Message != want {
		t.Errorf("%s, %q, want %q", r.Status, r.Message, want)
	}
}

func TestWithPort(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"192.0.2.1": "192.0.2.1:53", "192.0.2.1:5353": "192.0.2.1:5353", "ns.example": "ns.example:53", "ns.example:5353": "ns.example:5353",
		"2001:db8::1": "[2001:db8::1]:53", "[2001:db8::1]": "[2001:db8::1]:53", "[2001:db8::1]:5353": "[2001:db8::1]:5353",
	} {
		if got := withPort(text, "53"); got != want {
			t.Errorf("%s became %s, want %s", text, got, want)
		}
	}
}

// A satellite with nameservers of its own asks them, whatever the strategy.
func TestOwnNameservers(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	own := New(Options{Nameservers: []string{nameserver(t, zone(t, "only.here.example. 60 IN A 127.0.0.1"))}})
	for _, a := range []*protocol.Assignment{
		assignment(check.TCP, `{"host":"only.here.example","port":`+port+`}`, check.TCPBanner, `{"timeout":100}`),
		assignment(check.DNS, `{}`, check.DNSLookup, `{"hostname":"only.here.example"}`),
	} {
		if r := own.Execute(t.Context(), a, nil, nil); r.Status != check.Healthy {
			t.Errorf("%s: %s, %s %s", a.StrategyID, r.Status, r.Message, r.Metadata.Error)
		}
	}
}

// Whoever asks for a name anew is not told of a question that was asked before in vain.
func TestRunsDoNotShareAQuestion(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var silent atomic.Bool
	silent.Store(true)
	asked, late := make(chan struct{}, 16), make(chan struct{})
	known := zone(t, "late.example. 60 IN A 127.0.0.1")
	own := New(Options{Nameservers: []string{nameserver(t, func(w dns.ResponseWriter, question *dns.Msg) {
		if silent.Load() {
			asked <- struct{}{}
			<-late
		}
		known(w, question)
	})}})
	a := assignment(check.TCP, `{"host":"late.example","port":`+port+`,"timeout":3000}`, check.TCPBanner, `{"timeout":100}`)
	var before sync.WaitGroup
	defer before.Wait()
	defer close(late)
	before.Go(func() { own.Execute(t.Context(), a, nil, nil) })
	<-asked
	silent.Store(false)
	if r := own.Execute(t.Context(), a, nil, nil); r.Status != check.Healthy {
		t.Errorf("%s, %s %s", r.Status, r.Message, r.Metadata.Error)
	}
}
