package probe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// target is a server on loopback.
type target struct {
	host string
	port int
}

func (s target) address() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

// serve lets handle have every connection until the test ends; it is closed afterwards.
func serve(t testing.TB, handle func(net.Conn)) target {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	open := make(map[net.Conn]bool)
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			all.Go(func() { defer conn.Close(); handle(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for conn := range open {
			conn.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return target{"127.0.0.1", listener.Addr().(*net.TCPAddr).Port}
}

// closedPort is an address where nobody listens.
func closedPort(t testing.TB) target {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return target{"127.0.0.1", listener.Addr().(*net.TCPAddr).Port}
}

// waitClosed reads until the other side hangs up.
func waitClosed(conn net.Conn) { io.Copy(io.Discard, conn) }

// reset makes the close that follows abort the connection.
func reset(conn net.Conn) { conn.(*net.TCPConn).SetLinger(0) }

// assignment of a strategy with host and port; more is added to its config.
func (s target) assignment(strategy, more, collector, collectorConfig string) *protocol.Assignment {
	if more != "" {
		more = "," + more
	}
	return assignment(strategy, fmt.Sprintf(`{"host":%q,"port":%d%s}`, s.host, s.port, more), collector, collectorConfig)
}

func TestTCPBanners(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handle func(net.Conn)
		want   map[string]any
	}{
		"a line": {
			func(conn net.Conn) { fmt.Fprint(conn, "220 mail.example ESMTP\r\n"); waitClosed(conn) },
			map[string]any{"banner": "220 mail.example ESMTP", "hasBanner": true},
		},
		"in pieces": {
			func(conn net.Conn) {
				for _, piece := range []string{"SSH", "-2.0", "-x\n"} {
					fmt.Fprint(conn, piece)
				}
				waitClosed(conn)
			},
			map[string]any{"banner": "SSH-2.0-x", "hasBanner": true},
		},
		"without an end": {
			func(conn net.Conn) { fmt.Fprint(conn, "J\x00\x00\x00\n8.0"); waitClosed(conn) },
			map[string]any{"banner": "J\x00\x00\x00\n8.0", "hasBanner": true},
		},
		"no line": {
			func(conn net.Conn) { fmt.Fprint(conn, "ready> "); waitClosed(conn) },
			map[string]any{"banner": "ready> ", "hasBanner": true},
		},
		"not text": {
			func(conn net.Conn) { conn.Write([]byte{'a', 0xff, 0xfe, 'b', '\n'}) },
			map[string]any{"banner": "a�b", "hasBanner": true},
		},
		"silence":  {waitClosed, map[string]any{"hasBanner": false}},
		"hangs up": {func(net.Conn) {}, map[string]any{"hasBanner": false}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := New(Options{}).Execute(t.Context(), serve(t, c.handle).assignment(check.TCP, "", check.TCPBanner, `{"timeout":500}`), nil, nil)
			wantHealthy(t, r)
			c.want["_collectorId"] = check.TCPBanner
			if diff := cmp.Diff(c.want, object(t, r, "e")); diff != "" {
				t.Errorf("banner (-want +got):\n%s", diff)
			}
		})
	}
}

func TestM37_BannersAreBounded(t *testing.T) {
	t.Parallel()
	flood := serve(t, func(conn net.Conn) {
		for {
			if _, err := conn.Write(bytes.Repeat([]byte("x"), 1<<16)); err != nil {
				return
			}
		}
	})
	r := New(Options{}).Execute(t.Context(), flood.assignment(check.TCP, "", check.TCPBanner, `{}`), nil, nil)
	wantHealthy(t, r)
	if got := object(t, r, "e")["banner"]; got != strings.Repeat("x", maxBanner) {
		t.Errorf("banner of %d bytes", len(got.(string)))
	}
}

func TestTCPReset(t *testing.T) {
	t.Parallel()
	resetting := serve(t, reset)
	r := New(Options{}).Execute(t.Context(), resetting.assignment(check.TCP, "", check.TCPBanner, `{}`), nil, nil)
	// Depending on who is faster, the connection ends while or after it is made.
	if r.Status != check.Unhealthy || !strings.Contains(r.Message, "connection reset by the other side") {
		t.Errorf("%s, %q", r.Status, r.Message)
	}
}

func TestTCPConnectingIsAMeasurement(t *testing.T) {
	t.Parallel()
	quiet := serve(t, waitClosed)
	r := New(Options{}).Execute(t.Context(), quiet.assignment(check.TCP, "", "", ""), nil, nil)
	wantHealthy(t, r)
	if r.Metadata.Timings == nil || r.Metadata.Timings.ConnectMs == nil || r.Metadata.Timings.DNSMs != nil {
		t.Errorf("timings %+v", r.Metadata.Timings)
	}
	r = New(Options{}).Execute(t.Context(), assignment(check.TCP, fmt.Sprintf(`{"host":"localhost","port":%d}`, quiet.port), "", ""), nil, nil)
	wantHealthy(t, r)
	if r.Metadata.Timings == nil || r.Metadata.Timings.ConnectMs == nil || r.Metadata.Timings.DNSMs == nil {
		t.Errorf("by a name, timings %+v", r.Metadata.Timings)
	}
}

// What a connection is at is known while it is made, because that is what a limit cuts short.
func TestTCPSaysWhatItIsAt(t *testing.T) {
	t.Parallel()
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	p := New(Options{Nameservers: []string{silent.LocalAddr().String()}})
	r := p.Execute(t.Context(), assignment(check.TCP, `{"host":"shop.example.","port":80,"timeout":100}`, "", ""), nil, nil)
	wantUnconnected(t, r, "timed out after 100 ms while resolving the name")
	for range 2 { // it asks for addresses of either kind, and waits on for them without us
		question := make([]byte, 512)
		n, from, err := silent.ReadFrom(question)
		if err != nil {
			t.Fatal(err)
		}
		question[2], question[3] = question[2]|0x80, 3 // there is no such name
		if _, err := silent.WriteTo(question[:n], from); err != nil {
			t.Fatal(err)
		}
	}
	clock := &phases{}
	o := p.dialer(guard{netip.MustParsePrefix("127.0.0.0/8")})
	if _, err := o.DialContext(clock.in(t.Context()), "tcp", "127.0.0.1:80"); !errors.As(err, new(denied)) || clock.current != "connecting" {
		t.Errorf("%v while %q", err, clock.current)
	}
}

func BenchmarkTCPRun(b *testing.B) {
	quiet := serve(b, func(net.Conn) {})
	p, a := New(Options{}), quiet.assignment(check.TCP, "", "", "")
	b.ReportAllocs()
	for b.Loop() {
		if r := p.Execute(b.Context(), a, nil, nil); r.Status != check.Healthy {
			b.Fatal(r.Message)
		}
	}
}

func TestTCPRefused(t *testing.T) {
	t.Parallel()
	closed := closedPort(t)
	r := New(Options{}).Execute(t.Context(), closed.assignment(check.TCP, "", check.TCPBanner, `{}`), nil, nil)
	wantUnconnected(t, r, fmt.Sprintf("connection refused (127.0.0.1:%d)", closed.port))
}

func TestTCPGreetsOnceForAllCollectors(t *testing.T) {
	t.Parallel()
	greeting := serve(t, func(conn net.Conn) { fmt.Fprint(conn, "hello\n"); waitClosed(conn) })
	a := greeting.assignment(check.TCP, "", check.TCPBanner, `{}`)
	a.Collectors = append(a.Collectors, protocol.Collector{ID: "f", CollectorID: check.TCPBanner})
	r := New(Options{}).Execute(t.Context(), a, nil, nil)
	for _, entry := range []string{"e", "f"} {
		if got := object(t, r, entry)["banner"]; got != "hello" {
			t.Errorf("%s heard %v", entry, got)
		}
	}
}

func TestUnknownNames(t *testing.T) {
	t.Parallel()
	r := New(Options{}).Execute(t.Context(), assignment(check.TCP, `{"host":"nothing.invalid","port":1,"timeout":2000}`, "", ""), nil, nil)
	if r.Status != check.Unhealthy || !strings.Contains(r.Message, "nothing.invalid") && !strings.Contains(r.Message, "resolving the name") {
		t.Errorf("%s, %q", r.Status, r.Message)
	}
}
