package probe

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perigee-monitoring/perigee/check"
)

// Whatever a server answers, a plain request ends as it does over net/http's Transport.
func TestDirectEndsAsTheTransportDoes(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	fmt.Fprint(z, strings.Repeat("all is well\n", 1000))
	z.Close()
	half := packed.String()[:packed.Len()/2]
	for name, answer := range map[string]string{
		"a length":              "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell, and more",
		"no length":             "HTTP/1.1 200 OK\r\n\r\nwell",
		"HTTP/1.0":              "HTTP/1.0 200 OK\r\n\r\nwell",
		"chunks":                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwell\r\n0\r\nX: y\r\n\r\n",
		"broken chunks":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"half a chunk":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nwell",
		"packed":                fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", packed.Len(), &packed),
		"packed in half":        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + half,
		"not what it is called": "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nplain text",
		"packed otherwise":      "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\nxyz",
		"no content":            "HTTP/1.1 204 No Content\r\n\r\n",
		"not modified":          "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
		"early words":           "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell",
		"early words only":      "HTTP/1.1 103 Early Hints\r\n\r\n",
		"endless early words":   strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("x", 4000)+"\r\n\r\n", 100),
		"endless header":        "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20),
		"a large header":        "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 200<<10) + "\r\nContent-Length: 4\r\n\r\nwell",
		"two lengths":           "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nwell!",
		"a wrong length":        "HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nwell",
		"a small status":        "HTTP/1.1 099 Small\r\nContent-Length: 0\r\n\r\n",
		"another speech":        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nwell",
		"endless trailer":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwell\r\n0\r\n" + strings.Repeat("X: y\r\n", 10_000),
		"no status":             "HTTP/1.1 OK\r\n\r\n",
		"a strange status":      "HTTP/1.1 999 Strange\r\nContent-Length: 0\r\n\r\n",
		"no protocol":           "SSH-2.0-OpenSSH\r\n",
		"another protocol":      "HTTP/2.0 200 OK\r\n\r\n",
		"nothing":               "",
		"half a status":         "HTTP/1.1 20",
		"half a header":         "HTTP/1.1 200 OK\r\nConte",
		"half a body":           "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(conn net.Conn) {
				if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.Copy(io.Discard, r.Body)
					_, _ = io.WriteString(conn, answer)
				}
			})
			for _, config := range []check.HTTPRequestConfig{
				{Method: "GET"},
				{Method: "HEAD"},
				{Method: "POST", Body: "how are you?"},
				{Method: "GET", Headers: []check.HTTPHeader{{Name: "Accept-Encoding", Value: "gzip"}}},
				{Method: "GET", Headers: []check.HTTPHeader{{Name: "Range", Value: "bytes=0-3"}}},
			} {
				config.URL = fmt.Sprintf("http://127.0.0.1:%d/", s.port)
				want, got := exchanged(t, config, nil), exchanged(t, config, direct{new(net.Dialer).DialContext})
				if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(check.HTTPRequestResult{}, "ResponseTimeMs")); diff != "" {
					t.Errorf("%s %v: over the Transport and directly (-want +got):\n%s", config.Method, config.Headers, diff)
				}
			}
		})
	}
}

// outcome is what came of a request.
type outcome struct {
	Result *check.HTTPRequestResult
	Error  string
}

// exchanged sends the request over the transport, nil for net/http's.
func exchanged(t *testing.T, config check.HTTPRequestConfig, over http.RoundTripper) outcome {
	t.Helper()
	if over == nil {
		transport := newShortLived(&http.Transport{DialContext: new(net.Dialer).DialContext, MaxResponseHeaderBytes: maxHeader})
		defer transport.close()
		over = transport
	}
	s := &httpSession{run: run{bodyCap: maxBody}, client: &http.Client{Transport: over}}
	clock := &phases{}
	r, _, err := s.request(clock.in(clock.trace(t.Context())), config)
	if err != nil {
		t.Fatal(err)
	}
	if d, ok := over.(direct); ok && !d.carries(r) {
		t.Fatalf("the request is no plain one: %+v", config)
	}
	result, err := s.exchange(r, clock)
	if err != nil {
		return outcome{Error: describe(err).Error()}
	}
	return outcome{Result: result}
}

// What is sent is the same too, apart from the order of the header.
func TestDirectSendsAsTheTransportDoes(t *testing.T) {
	t.Parallel()
	heard := make(chan *http.Request, 1)
	s := serve(t, func(conn net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		heard <- r
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	type sent struct {
		Method, URI, Host, Body string
		Header                  http.Header
		Length                  int64
	}
	for _, config := range []check.HTTPRequestConfig{
		{Method: "GET", URL: "/a b?c=d#e"},
		{Method: "HEAD", URL: ""},
		{Method: "DELETE", URL: "/"},
		{Method: "PUT", URL: "/", Body: strings.Repeat("x", maxSent)},
		{Method: "POST", URL: "/", Body: "{}", Headers: []check.HTTPHeader{{Name: "host", Value: "shop.example"}, {Name: "content-type", Value: "application/json"}}},
		{Method: "GET", URL: "/", Headers: []check.HTTPHeader{{Name: "Accept-Encoding", Value: "br"}, {Name: "X-Empty", Value: ""}}},
	} {
		config.URL = fmt.Sprintf("http://127.0.0.1:%d%s", s.port, config.URL)
		var got [2]sent
		for i, over := range []http.RoundTripper{nil, direct{new(net.Dialer).DialContext}} {
			if o := exchanged(t, config, over); o.Error != "" {
				t.Fatal(o.Error)
			}
			r := <-heard
			body, _ := io.ReadAll(r.Body)
			got[i] = sent{r.Method, r.RequestURI, r.Host, string(body), r.Header, r.ContentLength}
		}
		if diff := cmp.Diff(got[0], got[1]); diff != "" {
			t.Errorf("%s %s: over the Transport and directly (-want +got):\n%s", config.Method, config.URL, diff)
		}
	}
}

func TestWhatIsUnusualIsLeftToTheTransport(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*http.Request){
		"TLS":             func(r *http.Request) { r.URL.Scheme = "https" },
		"no host":         func(r *http.Request) { r.URL.Host = ":80" },
		"a name in Greek": func(r *http.Request) { r.URL.Host = "παράδειγμα.example" },
		"a large body":    func(r *http.Request) { r.ContentLength = maxSent + 1 },
		"no known length": func(r *http.Request) { r.ContentLength = -1 },
		"waits":           func(r *http.Request) { r.Header.Set("Expect", "100-continue") },
		"upgrades":        func(r *http.Request) { r.Header.Set("Upgrade", "websocket") },
		"a bad name":      func(r *http.Request) { r.Header["a b"] = []string{"x"} },
		"a bad value":     func(r *http.Request) { r.Header["X"] = []string{"good", "x\r\nY: z"} },
	} {
		r, err := http.NewRequest(http.MethodGet, "http://shop.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if !(direct{}).carries(r) {
			t.Fatal("a plain request is not carried")
		}
		if change(r); (direct{}).carries(r) {
			t.Errorf("%s: is carried", name)
		}
	}
}

// A run that is stopped lets go of its connection at once, and a body that was closed is not read.
func TestDirectEndsWithItsContext(t *testing.T) {
	t.Parallel()
	reached, closed := make(chan struct{}), make(chan struct{})
	s := serve(t, func(conn net.Conn) {
		close(reached)
		_, _ = io.Copy(io.Discard, conn)
		close(closed)
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-reached; cancel() }()
	d := direct{new(net.Dialer).DialContext}
	r, err := http.NewRequestWithContext((&phases{}).in(ctx), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", s.port), nil)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := d.RoundTrip(r); err == nil {
		response.Body.Close()
		t.Error("there was an answer")
	}
	<-closed

	s = serve(t, func(conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nwell") })
	r, err = http.NewRequestWithContext((&phases{}).in(t.Context()), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", s.port), nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := d.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	response.Body.Close()
	if n, err := response.Body.Read(make([]byte, 1)); n != 0 || err != http.ErrBodyReadAfterClose {
		t.Errorf("%d bytes, %v", n, err)
	}
}
