package targets

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestTargetsSpeakTheirProtocols(t *testing.T) {
	t.Parallel()
	targets, err := Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- targets.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("targets ended with %v", err)
		}
	}()

	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for url, want := range map[string]int{targets.Good: 200, targets.Slow: 200, targets.Failing: 503} {
		resp, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s answered %d, want %d", url, resp.StatusCode, want)
		}
	}

	conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, "tcp", targets.TLS) //nolint:gosec // the certificate is what is looked at
	if err != nil {
		t.Fatal(err)
	}
	ends := conn.(*tls.Conn).ConnectionState().PeerCertificates[0].NotAfter
	conn.Close()
	if left := time.Until(ends); left < CertificateEnds-time.Hour || left > CertificateEnds {
		t.Errorf("the certificate ends in %s, want about %s", left, CertificateEnds)
	}

	greeter, err := net.Dial("tcp", targets.Banner)
	if err != nil {
		t.Fatal(err)
	}
	greeting, err := io.ReadAll(greeter)
	greeter.Close()
	if err != nil || !strings.HasPrefix(string(greeting), "220 ") {
		t.Errorf("greeting = %q, %v", greeting, err)
	}

	for name, want := range map[string]int{Name: dns.RcodeSuccess, "nobody.perigee.test": dns.RcodeNameError} {
		reply, _, err := new(dns.Client).ExchangeContext(ctx, new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA), targets.DNS)
		if err != nil {
			t.Fatal(err)
		}
		if reply.Rcode != want {
			t.Errorf("%s gave %s, want %s", name, dns.RcodeToString[reply.Rcode], dns.RcodeToString[want])
		}
	}
}
