package probe

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fence"
	"github.com/perigee-monitoring/perigee/protocol"
)

// wantBarred checks a run that the operator's policy forbids: nothing was measured, and
// nothing is the target's fault.
func wantBarred(t *testing.T, r check.Result, to string) {
	t.Helper()
	if r.Status != check.Degraded || r.Blame != check.BlamePolicy {
		t.Errorf("%s with blame %b: %s", r.Status, r.Blame, r.Message)
	}
	start := "Check not carried out: the policy of this satellite's own operator does not let checks connect to " + to
	if !strings.HasPrefix(r.Message, start) || strings.Contains(r.Message, "dial") {
		t.Errorf("%q, want %q…", r.Message, start)
	}
}

// Whatever strategy connects, it connects as the satellite's operator allows.
func TestNoStrategyPassesTheOperatorsPolicy(t *testing.T) {
	t.Parallel()
	closed := Options{Egress: &fence.Egress{Deny: []string{"loopback"}}}
	s := serve(t, waitClosed)
	runs := map[string]*protocol.Assignment{
		"by a name":  target{"localhost", s.port}.assignment(check.TCP, "", check.TCPBanner, `{}`),
		"tls":        s.assignment(check.TLS, "", check.TLSCertificate, `{}`),
		"http":       assignment(check.HTTP, `{}`, check.HTTPRequest, fmt.Sprintf(`{"url":"http://%s/"}`, s.address())),
		"http3":      assignment(check.HTTP3, `{}`, check.HTTP3Request, fmt.Sprintf(`{"url":"https://%s/"}`, s.address())),
		"websocket":  assignment(check.WebSocket, fmt.Sprintf(`{"url":"ws://%s/"}`, s.address()), "", ""),
		"prometheus": assignment(check.Prometheus, fmt.Sprintf(`{"baseUrl":"http://%s"}`, s.address()), check.PrometheusQuery, `{"query":"up"}`),
		"jenkins":    assignment(check.Jenkins, fmt.Sprintf(`{"baseUrl":"http://%s","username":"u","apiToken":"t"}`, s.address()), "", ""),
		"container":  assignment(check.Container, fmt.Sprintf(`{"endpoint":"http://%s","container":"c"}`, s.address()), "", ""),
		"dns":        assignment(check.DNS, fmt.Sprintf(`{"nameserver":%q}`, s.address()), check.DNSLookup, `{"hostname":"a.example"}`),
		"dns alone":  assignment(check.DNS, fmt.Sprintf(`{"nameserver":%q}`, s.address()), "", ""),
		"snmp":       s.assignment(check.SNMP, "", check.SNMPGet, `{"oid":"1.3.6.1.2.1.1.3.0"}`),
		"ntp":        s.assignment(check.NTP, "", check.NTPTime, `{}`),
	}
	for _, w := range whole {
		runs[w.strategy] = w.at(s, 1000)
	}
	for name, a := range runs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := New(closed)
			if err := p.Check(a); err != nil {
				t.Fatal(err)
			}
			wantBarred(t, p.Execute(t.Context(), a, nil, nil), "")
		})
	}
	t.Run("ping", func(t *testing.T) {
		t.Parallel()
		wantBarred(t, New(closed).Execute(t.Context(), assignment(check.Ping, `{}`, check.PingPing, `{"host":"127.0.0.1"}`), nil, nil), "127.0.0.1:0")
	})
}

// A redirect leads nowhere that the first request could not have gone, and the addresses at
// which clouds hand out credentials are closed when nobody has said anything.
func TestTheOperatorsPolicyHoldsForRedirects(t *testing.T) {
	t.Parallel()
	var inner atomic.Int64
	secret := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { inner.Add(1) }))
	t.Cleanup(secret.Close)
	there := strings.TrimPrefix(secret.URL, "http://")
	outer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusFound)
	}))
	t.Cleanup(outer.Close)
	listed := &fence.Egress{Allow: []string{strings.TrimPrefix(outer.URL, "http://")}}
	for name, c := range map[string]struct {
		egress *fence.Egress
		url    string
		to     string
	}{
		"metadata":                {nil, "http://169.254.169.254/latest/meta-data/", "169.254.169.254:80"},
		"a redirect to metadata":  {nil, outer.URL + "/?to=http://169.254.169.254/", "169.254.169.254:80"},
		"a redirect off the list": {listed, outer.URL + "/?to=" + secret.URL, there},
		"off the list":            {listed, secret.URL, there},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := assignment(check.HTTP, `{}`, check.HTTPRequest, fmt.Sprintf(`{"url":%q}`, c.url))
			wantBarred(t, New(Options{Egress: c.egress}).Execute(t.Context(), a, nil, nil), c.to)
			proxied := assignment(check.HTTP, fmt.Sprintf(`{"proxyUrl":%q}`, outer.URL), check.HTTPRequest, fmt.Sprintf(`{"url":"http://%s/"}`, c.to))
			wantBarred(t, New(Options{Egress: c.egress}).Execute(t.Context(), proxied, nil, nil), c.to)
		})
	}
	t.Cleanup(func() {
		if n := inner.Load(); n != 0 {
			t.Errorf("%d requests went through", n)
		}
	})
}
