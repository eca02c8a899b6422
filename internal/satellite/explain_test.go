package satellite

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"log/slog"
	mathbig "math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/probe"
	"github.com/perigee-monitoring/perigee/protocol"
)

// forwarder is a nameserver that knows its own names and has to ask others, whom it does
// not reach, for all that end in one of these.
func forwarder(t *testing.T, beyond ...string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		reply := new(dns.Msg).SetReply(question)
		name := question.Question[0].Name
		for _, suffix := range beyond {
			if strings.HasSuffix(name, suffix) {
				reply.Rcode = dns.RcodeServerFailure
			}
		}
		if reply.Rcode == dns.RcodeSuccess && question.Question[0].Qtype == dns.TypeA {
			reply.Answer = append(reply.Answer, &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)})
		}
		_ = w.WriteMsg(reply)
	})}
	served := make(chan struct{})
	started := make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	go func() { defer close(served); _ = server.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = server.Shutdown(); <-served })
	return conn.LocalAddr().String()
}

// secured is a server whose certificate is valid from then, and for so long.
func secured(t *testing.T, from time.Duration, until time.Duration) (host string, port int) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: mathbig.NewInt(1), Subject: pkix.Name{CommonName: "shop"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: now.Add(from), NotAfter: now.Add(until),
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake() // as far as the check looks
			conn.Close()
		}
	}()
	t.Cleanup(func() { listener.Close(); <-served })
	at := listener.Addr().(*net.TCPAddr)
	return "127.0.0.1", at.Port
}

// Real runs that fail are explained by what is really wrong with the satellite, and by
// nothing else.
func TestRealRunsAreExplained(t *testing.T) {
	t.Parallel()
	assigned := func(strategy, config, collector, entry string, assertions ...check.Assertion) *protocol.Assignment {
		return &protocol.Assignment{
			StrategyID: strategy, Config: json.RawMessage(config), IntervalSeconds: 10,
			Collectors: []protocol.Collector{{ID: "e", CollectorID: collector, Config: json.RawMessage(entry), Assertions: assertions}},
		}
	}
	lookup := func(name, config string) *protocol.Assignment {
		return assigned(check.DNS, config, check.DNSLookup, fmt.Sprintf(`{"hostname":%q,"recordType":"A"}`, name))
	}
	certificate := func(from, until time.Duration, config string, assertions ...check.Assertion) *protocol.Assignment {
		host, port := secured(t, from, until)
		return assigned(check.TLS, fmt.Sprintf(`{"host":%q,"port":%d%s}`, host, port, config), check.TLSCertificate, `{}`, assertions...)
	}
	const day = 24 * time.Hour
	lenient := `,"rejectUnauthorized":false`
	well, cut := forwarder(t, "far.example."), forwarder(t, "example.")
	for name, c := range map[string]struct {
		nameserver string
		offsetMs   float64
		run        *protocol.Assignment
		want       string
	}{
		"a script, all well":                          {well, 0, assigned(check.Script, `{}`, check.ScriptExecute, `{"script":"exit 3"}`), ""},
		"a script without names":                      {cut, 0, assigned(check.Script, `{}`, check.ScriptExecute, `{"script":"exit 3"}`), "resolver: "},
		"a script that takes too long without names":  {cut, 0, assigned(check.Script, `{}`, check.ScriptExecute, `{"script":"sleep 60","timeout":100}`), "resolver: "},
		"a name that only the nameserver cannot find": {well, 0, lookup("shop.far.example", `{}`), ""},
		"a name when it finds none":                   {cut, 0, lookup("shop.far.example", `{}`), "resolver: "},
		"a name at the check's own nameserver":        {cut, 0, lookup("shop.far.example", fmt.Sprintf(`{"nameserver":%q}`, cut)), ""},
		"a certificate of tomorrow, the clock behind": {well, float64(2 * day / time.Millisecond), certificate(day, 300*day, lenient, check.Assertion{Field: "valid", Operator: "isTrue"}), "clock: "},
		"a certificate of tomorrow":                   {well, 0, certificate(day, 300*day, lenient, check.Assertion{Field: "valid", Operator: "isTrue"}), ""},
		"an old certificate, the clock ahead":         {well, -float64(2 * day / time.Millisecond), certificate(-300*day, -day, lenient), "clock: "},
		"an old certificate":                          {well, 0, certificate(-300*day, -day, lenient), ""},
		"an old certificate, refused, the clock off":  {well, -float64(2 * day / time.Millisecond), certificate(-300*day, -day, ``), "clock: "},
		"a wrong subject, the clock ahead":            {well, -float64(2 * day / time.Millisecond), certificate(-day, 300*day, lenient, check.Assertion{Field: "subject", Operator: "equals", Value: "mail"}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := watching(t, ObserverConfig{Resolver: probe.Resolver([]string{c.nameserver}), Names: []string{"near.example"}})
			o.clock.mu.Lock()
			o.clock.samples = []sample{{offset: c.offsetMs, roundTrip: 1}}
			o.clock.mu.Unlock()
			prober := probe.New(probe.Options{Log: slog.New(slog.DiscardHandler), AllowScripts: true, Nameservers: []string{c.nameserver}})
			began := time.Now()
			r := prober.Execute(t.Context(), c.run, nil, nil)
			judge(c.run, &r)
			if r.Status == check.Healthy {
				t.Fatalf("it is healthy: %+v", r)
			}
			if got := o.explain(t.Context(), r.Blame, began); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
				t.Errorf("%q (blamed %04b) is explained by %q, want %q", r.Message, r.Blame, got, c.want)
			}
		})
	}
}
