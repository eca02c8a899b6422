package probe

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// page serves the handler until the test ends.
func page(t testing.TB, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

func get(url string) *protocol.Assignment {
	config, _ := json.Marshal(map[string]string{"url": url})
	return assignment(check.HTTP, `{}`, check.HTTPRequest, string(config))
}

func request(strategy, url, more string) *protocol.Assignment {
	quoted, _ := json.Marshal(url)
	return assignment(check.HTTP, strategy, check.HTTPRequest, fmt.Sprintf(`{"url":%s,%s}`, quoted, more))
}

// heard runs the assignment, whose url is filled in, against a page that keeps the request.
func heard(t *testing.T, strategy, more string) (*http.Request, string, check.Result) {
	t.Helper()
	var got *http.Request
	var body []byte
	server := page(t, func(_ http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
	})
	r := New(Options{Version: "1.2.3"}).Execute(t.Context(), request(strategy, server.URL+"/path?q=1", more), nil, nil)
	wantHealthy(t, r)
	return got, string(body), r
}

func TestHTTPRequest(t *testing.T) {
	t.Parallel()
	server := page(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, "all is well")
	})
	r := New(Options{}).Execute(t.Context(), get(server.URL), nil, nil)
	wantHealthy(t, r)
	want := map[string]any{
		"_collectorId": check.HTTPRequest, "statusCode": 201.0, "statusText": "Created",
		"body": "all is well", "bodyLength": 11.0, "success": true,
	}
	if diff := cmp.Diff(want, object(t, r, "e")); diff != "" {
		t.Errorf("entry (-want +got):\n%s", diff)
	}
	var result check.HTTPRequestResult
	if err := json.Unmarshal(r.Metadata.Collectors["e"], &result); err != nil || result.ResponseTimeMs <= 0 || len(result.TraceID) != 32 {
		t.Errorf("%v, %+v", err, result)
	}
}

func TestM6_LatencyIsWholeMilliseconds(t *testing.T) {
	t.Parallel()
	server := page(t, func(http.ResponseWriter, *http.Request) {})
	for range 10 {
		r := New(Options{}).Execute(t.Context(), get(server.URL), nil, nil)
		if r.LatencyMs != float64(int64(r.LatencyMs)) {
			t.Fatalf("latency %v", r.LatencyMs)
		}
	}
}

func TestHTTPAnyAnswerIsAResult(t *testing.T) {
	t.Parallel()
	for status, success := range map[int]bool{204: true, 304: true, 404: false, 500: false} {
		server := page(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		r := New(Options{}).Execute(t.Context(), get(server.URL), nil, nil)
		wantHealthy(t, r)
		if o := object(t, r, "e"); o["statusCode"] != float64(status) || o["success"] != success {
			t.Errorf("%d: %v", status, o)
		}
	}
}

func TestL126_TimingsAreReported(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	// The certificate is for example.com too, but only loopback leads to it.
	r := New(Options{Roots: roots}).Execute(t.Context(), get(server.URL), nil, nil)
	wantHealthy(t, r)
	got := r.Metadata.Timings
	if got == nil || got.DNSMs != nil || got.ConnectMs == nil || got.TLSMs == nil || got.WaitMs == nil || got.TransferMs == nil {
		t.Fatalf("timings of an address over TLS: %+v", got)
	}
	plain := page(t, func(http.ResponseWriter, *http.Request) {})
	r = New(Options{}).Execute(t.Context(), get(strings.Replace(plain.URL, "127.0.0.1", "localhost", 1)), nil, nil)
	wantHealthy(t, r)
	if got := r.Metadata.Timings; got == nil || got.DNSMs == nil || got.TLSMs != nil {
		t.Errorf("timings of a name without TLS: %+v", got)
	}
}

func TestHTTPRequestsAreMadeAsConfigured(t *testing.T) {
	t.Parallel()
	r, body, _ := heard(t, `{}`, `"method":"PUT","body":"{\"a\":1}","headers":[{"name":"Content-Type","value":"application/json"},{"name":"host","value":"shop.example"}]`)
	if r.Method != "PUT" || body != `{"a":1}` || r.Header.Get("Content-Type") != "application/json" || r.Host != "shop.example" || r.URL.String() != "/path?q=1" {
		t.Errorf("%s %s %s %q %v", r.Method, r.Host, r.URL, body, r.Header)
	}
	if got := r.UserAgent(); got != "Perigee/1.2.3" {
		t.Errorf("user agent %q", got)
	}
	r, _, _ = heard(t, `{}`, `"headers":[{"name":"User-Agent","value":"mine"}]`)
	if got := r.UserAgent(); got != "mine" {
		t.Errorf("user agent %q", got)
	}
}

func TestHTTPTraceparent(t *testing.T) {
	t.Parallel()
	traceID := func(r check.Result) string {
		var o check.HTTPRequestResult
		if err := json.Unmarshal(r.Metadata.Collectors["e"], &o); err != nil {
			t.Fatal(err)
		}
		return o.TraceID
	}
	r, _, result := heard(t, `{}`, `"emitTraceparent":true`)
	parts := strings.Split(r.Header.Get("Traceparent"), "-")
	if len(parts) != 4 || parts[0] != "00" || len(parts[1]) != 32 || len(parts[2]) != 16 || parts[3] != "01" || parts[1] != traceID(result) {
		t.Errorf("traceparent %v, trace id %s", parts, traceID(result))
	}
	r, _, result = heard(t, `{}`, `"emitTraceparent":false`)
	if got := r.Header.Get("Traceparent"); got != "" || traceID(result) != "" {
		t.Errorf("traceparent %q, trace id %q though switched off", got, traceID(result))
	}
	r, _, result = heard(t, `{}`, `"headers":[{"name":"traceparent","value":"00-mine-01"}]`)
	if got := r.Header.Values("Traceparent"); len(got) != 1 || got[0] != "00-mine-01" || traceID(result) != "" {
		t.Errorf("traceparent %q, trace id %q beside the config's own", got, traceID(result))
	}
}

func TestHTTPAuthentication(t *testing.T) {
	t.Parallel()
	for strategy, want := range map[string]string{
		`{"authUsername":"u","authPassword":"p"}`:                    "",
		`{"authType":"basic","authUsername":"u","authPassword":"p"}`: "Basic " + base64.StdEncoding.EncodeToString([]byte("u:p")),
		`{"authType":"token","authToken":"t0ken"}`:                   "Bearer t0ken",
	} {
		r, _, _ := heard(t, strategy, `"method":"GET"`)
		if got := r.Header.Get("Authorization"); got != want {
			t.Errorf("%s: %q, want %q", strategy, got, want)
		}
	}
	r, _, _ := heard(t, `{"authType":"token","authToken":"t0ken"}`, `"headers":[{"name":"Authorization","value":"mine"}]`)
	if got := r.Header.Get("Authorization"); got != "mine" {
		t.Errorf("%q beside the request's own header", got)
	}
}

func TestHTTPRedirects(t *testing.T) {
	t.Parallel()
	var leaked atomic.Value
	leaked.Store("")
	other := page(t, func(w http.ResponseWriter, r *http.Request) {
		leaked.Store(r.Header.Get("Authorization"))
		fmt.Fprint(w, "there")
	})
	there := strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
	var loops atomic.Int32
	server := page(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, there, http.StatusFound)
		case "/loop":
			loops.Add(1)
			http.Redirect(w, r, "/loop", http.StatusFound)
		}
	})
	r := New(Options{}).Execute(t.Context(), request(`{"authType":"token","authToken":"t"}`, server.URL+"/away", `"method":"GET"`), nil, nil)
	wantHealthy(t, r)
	if o := object(t, r, "e"); o["body"] != "there" || o["statusCode"] != 200.0 {
		t.Errorf("%v", o)
	}
	if got := leaked.Load(); got != "" {
		t.Errorf("the token went to another host: %v", got)
	}
	r = New(Options{}).Execute(t.Context(), get(server.URL+"/loop"), nil, nil)
	wantFailure(t, r, "stopped after 10 redirects")
	if got := loops.Load(); got != 11 {
		t.Errorf("%d requests, want 11", got)
	}
}

func TestHTTPFailures(t *testing.T) {
	t.Parallel()
	answer := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			http.ReadRequest(bufio.NewReader(conn))
			fmt.Fprint(conn, text)
		}
	}
	for name, c := range map[string]struct {
		handle func(net.Conn)
		want   string
	}{
		"hangs up":           {answer(""), "connection closed before the answer was complete"},
		"resets":             {func(conn net.Conn) { http.ReadRequest(bufio.NewReader(conn)); reset(conn) }, "connection reset by the other side"},
		"no HTTP":            {answer("SSH-2.0-x\r\n"), `malformed HTTP response "SSH-2.0-x"`},
		"half a header":      {answer("HTTP/1.1 200 OK\r\nConte"), "connection closed before the answer was complete"},
		"no header":          {answer("HTTP/1.1 200 OK\r\nConte nt\r\nA: b\r\n\r\n"), `malformed MIME header: missing colon: "Conte nt"`},
		"half a body":        {answer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), "connection closed before the answer was complete"},
		"broken chunks":      {answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "invalid byte in chunk length"},
		"endless header":     {answer("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20)), "server response headers exceeded 262144 bytes; aborted"},
		"no answer":          {func(conn net.Conn) { waitClosed(conn) }, "timed out after 1000 ms while waiting for the answer"},
		"no end":             {func(conn net.Conn) { answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")(conn); waitClosed(conn) }, "timed out after 1000 ms while reading the answer"},
		"no end of a header": {func(conn net.Conn) { answer("HTTP/1.1 200 OK\r\nConte")(conn); waitClosed(conn) }, "timed out after 1000 ms while reading the answer"},
		"no end of a redirect": {
			func(conn net.Conn) {
				answer("HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 9\r\n\r\n")(conn)
				waitClosed(conn)
			}, "timed out after 1000 ms while reading an answer that redirects",
		},
		"early words only":   {func(conn net.Conn) { answer("HTTP/1.1 103 Early Hints\r\n\r\n")(conn); waitClosed(conn) }, "timed out after 1000 ms while waiting for the answer"},
		"redirect to nobody": {answer("HTTP/1.1 302 Found\r\nLocation: ://\r\nContent-Length: 0\r\n\r\n"), `failed to parse Location header "://": parse "://": missing protocol scheme`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, c.handle)
			r := New(Options{}).Execute(t.Context(), request(`{"timeout":1000}`, fmt.Sprintf("http://127.0.0.1:%d/?token=geheim", s.port), `"method":"GET"`), nil, nil)
			if r.Status != check.Unhealthy || !strings.HasPrefix(r.Message, "Check failed: "+c.want) || strings.Contains(r.Message, "geheim") {
				t.Errorf("%s, %q, want %q", r.Status, r.Message, c.want)
			}
			if o := object(t, r, "e"); len(o) != 3 || !r.Metadata.Connected {
				t.Errorf("entry %v", o)
			}
		})
	}
}

// What breaks off is said to, wherever it does: a line that was cut off is not taken for what
// the server had to say.
func TestHTTPResetsMidway(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	keys, roots := &tls.Config{Certificates: []tls.Certificate{ca.leaf(-day, day, "shop.example")}}, ca.pool
	for _, said := range []string{
		"HTTP/1.1 2", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nConte", "HTTP/1.1 200 OK\r\nA: b\r\n", "HTTP/1.1 200 OK\r\n\r\nhal",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhal",
	} {
		for _, scheme := range []string{"http", "https"} {
			t.Run(scheme+" "+said, func(t *testing.T) {
				t.Parallel()
				ours, theirs := net.Pipe()
				go func() {
					defer theirs.Close()
					conn := theirs
					if scheme == "https" {
						conn = tls.Server(theirs, keys)
					}
					_, _ = http.ReadRequest(bufio.NewReader(conn))
					_, _ = io.WriteString(conn, said)
				}()
				dial := func(context.Context, string, string) (net.Conn, error) { return resetting{ours}, nil }
				s := &httpSession{run: run{bodyCap: maxBody}}
				s.client = &http.Client{Transport: &s.transport}
				s.transport.direct = &direct{dial}
				s.transport.fresh = func() *shortLived {
					return newShortLived(&http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: roots}})
				}
				clock := &phases{}
				r, _, err := s.request(clock.in(t.Context()), check.HTTPRequestConfig{Method: "GET", URL: scheme + "://shop.example/"})
				if err != nil {
					t.Fatal(err)
				}
				_, err = s.exchange(r, clock)
				if err = describe(err); err == nil || err.Error() != "connection reset by the other side" || blame(err) != check.BlamePath {
					t.Errorf("%v, blamed on %v", err, blame(err))
				}
			})
		}
	}
}

// resetting is a connection that is reset where the other side ends it.
type resetting struct{ net.Conn }

func (c resetting) Read(text []byte) (int, error) {
	n, err := c.Conn.Read(text)
	if err == io.EOF {
		err = &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	}
	return n, err
}

// An answer that changes the protocol ends the request: what comes after it is no answer.
func TestHTTPChangesNoProtocol(t *testing.T) {
	t.Parallel()
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(io.Discard, rw)
	})
	secure := httptest.NewTLSServer(handler)
	t.Cleanup(secure.Close)
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	for _, c := range []struct{ url, more string }{
		{page(t, handler).URL, `"method":"GET"`},
		{page(t, handler).URL, `"headers":[{"name":"Connection","value":"Upgrade"},{"name":"Upgrade","value":"websocket"}]`},
		{secure.URL, `"method":"GET"`},
	} {
		r := New(Options{Roots: roots}).Execute(t.Context(), request(`{"timeout":30000}`, c.url, c.more), nil, nil)
		wantHealthy(t, r)
		if o := object(t, r, "e"); o["statusCode"] != 101.0 || o["success"] != false || o["bodyLength"] != 0.0 {
			t.Errorf("%s %s: %v", c.url, c.more, o)
		}
	}
	r := New(Options{Roots: roots}).Execute(t.Context(), assignment(check.Prometheus, `{"baseUrl":"`+secure.URL+`","timeout":30000}`, check.PrometheusQuery, `{"query":"up"}`), nil, nil)
	wantFailure(t, r, "the server answered 101 Switching Protocols")
}

func TestHTTPTimeouts(t *testing.T) {
	t.Parallel()
	silent := serve(t, waitClosed)
	url := fmt.Sprintf("http://127.0.0.1:%d", silent.port)
	// The smaller of the two limits counts.
	r := New(Options{}).Execute(t.Context(), request(`{"timeout":100}`, url, `"timeout":60000`), nil, nil)
	wantFailure(t, r, "timed out after 100 ms while waiting for the answer")
	r = New(Options{}).Execute(t.Context(), request(`{}`, url, `"timeout":150.5`), nil, nil)
	wantFailure(t, r, "timed out after 150 ms while waiting for the answer")
}

// So does a journey: what it waited for is told.
func TestJourneyTimeouts(t *testing.T) {
	t.Parallel()
	s := serve(t, func(conn net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
		waitClosed(conn)
	})
	config := fmt.Sprintf(`{"steps":[{"name":"a","url":"http://127.0.0.1:%d/"}]}`, s.port)
	r := New(Options{}).Execute(t.Context(), assignment(check.Composite, `{"timeout":300}`, check.CompositeJourney, config), nil, nil)
	if want := "Check failed: a: timed out after 300 ms while reading the answer"; r.Message != want {
		t.Errorf("%q, want %q", r.Message, want)
	}
}

func TestHTTPRefused(t *testing.T) {
	t.Parallel()
	closed := closedPort(t)
	r := New(Options{}).Execute(t.Context(), get(fmt.Sprintf("http://127.0.0.1:%d/", closed.port)), nil, nil)
	wantFailure(t, r, fmt.Sprintf("connection refused (127.0.0.1:%d)", closed.port))
}

func TestHTTPUntrustedCertificate(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = quiet
	server.StartTLS()
	t.Cleanup(server.Close)
	r := New(Options{}).Execute(t.Context(), get(server.URL), nil, nil)
	wantFailure(t, r, "the certificate is signed by an unknown authority")
}

func TestM37_BodiesAreBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ sent, kept, counted int }{
		{100, 100, 100}, {maxBody, maxBody, maxBody}, {3 << 20, maxBody, 3 << 20}, {maxCounted + 1, maxBody, maxCounted},
	} {
		server := page(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(bytes.Repeat([]byte("x"), c.sent)) })
		r := New(Options{}).Execute(t.Context(), get(server.URL), nil, nil)
		wantHealthy(t, r)
		o := object(t, r, "e")
		if kept := len(o["body"].(string)); kept != c.kept || o["bodyLength"] != float64(c.counted) {
			t.Errorf("of %d bytes %d were kept and %v counted, want %d and %d", c.sent, kept, o["bodyLength"], c.kept, c.counted)
		}
	}
}

// However many collectors a run has and whatever bodies they get, it fits into a message.
func TestM37_RunsFitIntoAMessage(t *testing.T) {
	t.Parallel()
	server := page(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(bytes.Repeat([]byte{1}, 150<<10)) })
	a := get(server.URL)
	for i := range 19 {
		a.Collectors = append(a.Collectors, protocol.Collector{ID: fmt.Sprint(i), CollectorID: check.HTTPRequest, Config: a.Collectors[0].Config})
	}
	r := New(Options{}).Execute(t.Context(), a, nil, nil)
	wantHealthy(t, r)
	text, err := json.Marshal(r)
	if err != nil || len(text) > protocol.MaxResult || len(text) < protocol.MaxResult/2 {
		t.Errorf("20 collectors make a result of %d bytes (%v)", len(text), err)
	}
}

func TestHTTPBodiesThatAreNoText(t *testing.T) {
	t.Parallel()
	server := page(t, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte{'a', 0xff, 0, 'b'}) })
	r := New(Options{}).Execute(t.Context(), get(server.URL), nil, nil)
	if o := object(t, r, "e"); o["body"] != "a�\x00b" || o["bodyLength"] != 4.0 {
		t.Errorf("%v", o)
	}
}

func TestHTTPRunsDoNotShareConnections(t *testing.T) {
	t.Parallel()
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "x") }))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	p := New(Options{})
	for range 3 {
		wantHealthy(t, p.Execute(t.Context(), get(server.URL), nil, nil))
	}
	if got := connections.Load(); got != 3 {
		t.Errorf("%d connections for 3 runs", got)
	}
}

func TestHTTPProxy(t *testing.T) {
	t.Parallel()
	var via atomic.Value
	proxy := page(t, func(w http.ResponseWriter, r *http.Request) {
		via.Store(r.URL.String() + " " + r.Header.Get("Proxy-Authorization"))
		fmt.Fprint(w, "from the proxy")
	})
	strategy, _ := json.Marshal(map[string]any{"proxyUrl": proxy.URL, "proxyUsername": "u", "proxyPassword": "p"})
	r := New(Options{}).Execute(t.Context(), request(string(strategy), "http://shop.example/x", `"method":"GET"`), nil, nil)
	wantHealthy(t, r)
	if o := object(t, r, "e"); o["body"] != "from the proxy" {
		t.Errorf("%v", o)
	}
	want := "http://shop.example/x Basic " + base64.StdEncoding.EncodeToString([]byte("u:p"))
	if diff := cmp.Diff(want, via.Load()); diff != "" {
		t.Errorf("the proxy was asked (-want +got):\n%s", diff)
	}
	r = New(Options{}).Execute(t.Context(), request(`{"proxyUrl":"proxy"}`, "http://shop.example/x", `"method":"GET"`), nil, nil)
	wantUnconnected(t, r, "the config cannot be used: proxyUrl is not a URL")
}

func TestHTTPEgressIsGuarded(t *testing.T) {
	t.Parallel()
	server := page(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "secret") })
	address := strings.TrimPrefix(server.URL, "http://")
	_, port, _ := net.SplitHostPort(address)
	const deny = `{"egressDenyCidrs":["127.0.0.0/8","::1/128"]}`
	p := New(Options{})
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]"} {
		r := p.Execute(t.Context(), request(deny, "http://"+host+":"+port, `"method":"GET"`), nil, nil)
		if r.Status != check.Unhealthy || !strings.Contains(r.Message, "are denied by egressDenyCidrs") {
			t.Errorf("%s: %s, %q", host, r.Status, r.Message)
		}
	}
	wantHealthy(t, p.Execute(t.Context(), request(`{"egressDenyCidrs":["10.0.0.0/8"]}`, server.URL, `"method":"GET"`), nil, nil))
	r := p.Execute(t.Context(), request(`{"egressDenyCidrs":["10.0.0.0"]}`, server.URL, `"method":"GET"`), nil, nil)
	wantUnconnected(t, r, "the config cannot be used: egressDenyCidrs[0] is not a network")

	// Through a proxy, the target is held against the list by what its name means here.
	proxy := page(t, func(http.ResponseWriter, *http.Request) { t.Error("the proxy was asked") })
	strategy, _ := json.Marshal(map[string]any{"proxyUrl": proxy.URL, "egressDenyCidrs": []string{"169.254.0.0/16"}})
	r = p.Execute(t.Context(), request(string(strategy), "http://169.254.169.254/latest", `"method":"GET"`), nil, nil)
	wantFailure(t, r, "connections to 169.254.169.254 are denied by egressDenyCidrs")
}

func TestL125_TemplatesAreFilled(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body []byte
	server := page(t, func(_ http.ResponseWriter, r *http.Request) { got = r; body, _ = io.ReadAll(r.Body) })
	a := assignment(check.HTTP, `{}`, check.HTTPRequest, `{
		"url":"{{ environment.baseUrl }}/{{ system.metadata.path }}","method":"POST","body":"{\"tenant\":\"{{environment.tenant}}\"}",
		"headers":[{"name":"X-Check","value":"{{ check.name }} {{ name }}"}]}`)
	a.SystemMetadata = map[string]any{"path": "healthz"}
	env := &check.Environment{ID: "e1", Name: "prod", Fields: map[string]any{"baseUrl": server.URL, "tenant": 7.0}}
	wantHealthy(t, New(Options{}).Execute(t.Context(), a, env, nil))
	if got.URL.Path != "/healthz" || string(body) != `{"tenant":"7"}` || got.Header.Get("X-Check") != "c1 {{ name }}" {
		t.Errorf("%s %q %q", got.URL, body, got.Header.Get("X-Check"))
	}
	// So they are for the next environment, however their braces are written.
	a.Collectors[0].Config = bytes.ReplaceAll(a.Collectors[0].Config, []byte("{{"), []byte(`\u007b\u007b`))
	p := New(Options{})
	for _, tenant := range []string{"8", "9"} {
		env.Fields["tenant"] = tenant
		wantHealthy(t, p.Execute(t.Context(), a, env, nil))
		if want := `{"tenant":"` + tenant + `"}`; string(body) != want {
			t.Errorf("%s, want %s", body, want)
		}
	}
	r := New(Options{}).Execute(t.Context(), a, nil, nil)
	wantFailure(t, r, "the config cannot be used: url: {{ environment.baseUrl }} has no value in this run")

	r = New(Options{}).Execute(t.Context(), a, &check.Environment{Fields: map[string]any{"baseUrl": "", "tenant": ""}}, nil)
	wantFailure(t, r, `"/healthz" is not a URL that can be requested`)

	// The strategy's config has templates too, and an empty one does not mean localhost.
	a = assignment(check.TCP, `{"host":"{{ environment.host }}","port":1}`, "", "")
	r = New(Options{}).Execute(t.Context(), a, &check.Environment{Fields: map[string]any{"host": ""}}, nil)
	wantUnconnected(t, r, "the config cannot be used: host is missing")
	target, _ := url.Parse(server.URL)
	a = assignment(check.TCP, `{"host":"{{ environment.host }}","port":`+target.Port()+`}`, "", "")
	wantHealthy(t, New(Options{}).Execute(t.Context(), a, &check.Environment{Fields: map[string]any{"host": "127.0.0.1"}}, nil))
}

func TestHTTPRequestsThatCannotBeMade(t *testing.T) {
	t.Parallel()
	for more, want := range map[string]string{
		`"url":"example.org"`:                                                `"example.org" is not a URL that can be requested`,
		`"url":"file:///etc/passwd"`:                                         `"file:///etc/passwd" is not a URL that can be requested`,
		`"url":"ftp://u:geheim@h/"`:                                          `"ftp://…@h/" is not a URL that can be requested`,
		`"url":"http://u:geheim@h:port/"`:                                    `"http://…@h:port/" is not a URL that can be requested`,
		`"url":"http://h/","method":"HACK"`:                                  `the config cannot be used: method must be one of GET, POST, PUT, DELETE, HEAD`,
		`"url":"http://127.0.0.1:1/","headers":[{"name":"a b","value":"x"}]`: `invalid header field name "a b"`,
	} {
		r := New(Options{}).Execute(t.Context(), assignment(check.HTTP, `{}`, check.HTTPRequest, "{"+more+"}"), nil, nil)
		wantFailure(t, r, want)
	}
}

func BenchmarkHTTPRun(b *testing.B) {
	server := page(b, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "all is well") })
	p, a := New(Options{}), get(server.URL)
	b.ReportAllocs()
	for b.Loop() {
		if r := p.Execute(b.Context(), a, nil, nil); r.Status != check.Healthy {
			b.Fatal(r.Message)
		}
	}
}
