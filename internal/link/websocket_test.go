package link_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/protocol"
)

// A.1: the URL that a satellite makes of the core's.
func TestURL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"http://core":               "ws://core/api/ws/satellite",
		"https://core:8443":         "wss://core:8443/api/ws/satellite",
		"HTTPS://core/":             "wss://core/api/ws/satellite",
		"http://core/prefix":        "ws://core/prefix/api/ws/satellite",
		"http://core/prefix/":       "ws://core/prefix/api/ws/satellite",
		"http://core/prefix//":      "ws://core/prefix//api/ws/satellite",
		"http://core/a%2Fb":         "ws://core/a%2Fb/api/ws/satellite",
		"ws://core":                 "ws://core/api/ws/satellite",
		"https://[2001:db8::1]:443": "wss://[2001:db8::1]:443/api/ws/satellite",
	} {
		if got, err := link.URL(in); err != nil || got != want {
			t.Errorf("URL(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"core:8420":                 "must begin with http",
		"":                          "must begin with http",
		"ftp://core":                "must begin with http",
		"http://":                   "has no host",
		"https://u:secret@core":     "must not hold a user",
		"https://u:secret@core:xx/": "cannot be read",
		"https://core/?a=b":         "without ?",
	} {
		_, err := link.URL(in)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("URL(%q) says %v; want %q", in, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("URL(%q) repeats the password", in)
		}
	}
}

func TestBinaryFramesAreTaken(t *testing.T) {
	t.Parallel()
	server, accepted := listen(t, link.Options{})
	ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	if err := ws.WriteMessage(websocket.BinaryMessage, []byte(`{"type":"heartbeat"}`)); err != nil {
		t.Fatal(err)
	}
	core := <-accepted
	if got := within(t, read(t, core).messages, "the binary message"); got != `{"type":"heartbeat"}` {
		t.Errorf("got %q", got)
	}
	if err := core.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	kind, _, err := ws.ReadMessage()
	if err != nil || kind != websocket.TextMessage {
		t.Errorf("the answer came as frame type %d, %v; want text", kind, err)
	}
}

func TestPeerThatBreaksTheFramingIsClosed(t *testing.T) {
	t.Parallel()
	server, accepted := listen(t, link.Options{})
	ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	if _, err := ws.NetConn().Write([]byte{0x81, 0x01, 'x'}); err != nil { // not masked
		t.Fatal(err)
	}
	got := within(t, read(t, <-accepted).end, "the end")
	if got.Code != protocol.CloseProtocol || !got.Local {
		t.Errorf("ended with %v", got)
	}
}

func TestHandshakeRefusalSaysWhy(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "starting", http.StatusServiceUnavailable)
	}))
	t.Cleanup(server.Close)
	_, err := link.Dial(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http"), link.Options{})
	refused, ok := errors.AsType[*link.HandshakeError](err)
	if !ok {
		t.Fatalf("Dial gave %v", err)
	}
	want := &link.HandshakeError{Status: 503, RetryAfter: 5 * time.Second, Body: "starting"}
	if diff := cmp.Diff(want, refused); diff != "" {
		t.Errorf("refusal (-want +got):\n%s", diff)
	}
}

func TestHandshakeHasADeadline(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // accepts in the kernel and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	_, err = link.Dial(t.Context(), "ws://"+listener.Addr().String(), link.Options{HandshakeTimeout: 100 * time.Millisecond})
	if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
		t.Errorf("Dial gave %v; want a timeout", err)
	}
}

// M21: a link on which nothing arrives any more, although neither end has closed,
// is noticed at both ends.
func TestM21_HalfOpenLinkIsNoticedAtBothEnds(t *testing.T) {
	t.Parallel()
	server, accepted := listen(t, link.Options{Silence: 300 * time.Millisecond})
	proxy := newProxy(t, strings.TrimPrefix(server.URL, "http://"))
	agent := dial(t, "http://"+proxy.Addr(), link.Options{Silence: 300 * time.Millisecond})
	core := <-accepted
	atAgent, atCore := read(t, agent), read(t, core)
	if err := agent.Write([]byte("through")); err != nil {
		t.Fatal(err)
	}
	within(t, atCore.messages, "message through the proxy")

	proxy.Cut()
	if err := agent.Write([]byte("into the void")); err != nil {
		t.Fatal(err)
	}
	for _, r := range []reader{atAgent, atCore} {
		wantEnd(t, r, link.CloseError{Code: protocol.CloseSilent, Reason: "nothing heard for 300ms", Local: true})
	}
	if len(atCore.messages) > 0 {
		t.Error("the proxy forwarded after the cut")
	}
}

// proxy is a network that can stop forwarding without closing anything.
type proxy struct {
	listener net.Listener
	target   string
	cut      chan struct{}
	done     sync.WaitGroup
	mu       sync.Mutex
	conns    []net.Conn
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, target: target, cut: make(chan struct{})}
	p.done.Go(p.accept)
	t.Cleanup(func() {
		listener.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.done.Wait()
	})
	return p
}

func (p *proxy) Addr() string { return p.listener.Addr().String() }

// Cut stops forwarding, both ways.
func (p *proxy) Cut() { close(p.cut) }

func (p *proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.target)
		if err != nil {
			in.Close()
			return
		}
		p.mu.Lock()
		p.conns = append(p.conns, in, out)
		p.mu.Unlock()
		p.done.Go(func() { p.forward(in, out) })
		p.done.Go(func() { p.forward(out, in) })
	}
}

// forward copies until the cut; then it keeps reading and throws away, as a
// firewall that lost its state does.
func (p *proxy) forward(from, to net.Conn) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-p.cut:
			continue
		default:
		}
		if _, err := to.Write(buf[:n]); err != nil && !errors.Is(err, io.EOF) {
			return
		}
	}
}
