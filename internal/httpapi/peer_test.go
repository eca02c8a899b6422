package httpapi_test

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

// anyToken is a store in which every token is right.
type anyToken struct{ auth.Store }

func (anyToken) TokenByDigest(context.Context, string) (auth.Token, error) {
	return auth.Token{Role: auth.Admin}, nil
}
func (anyToken) NoteTokenUse(context.Context, string, time.Time) error { return nil }

func (anyToken) InTx(_ context.Context, fn func(entity.Tx) error) error { return fn(anySession{}) }

type anySession struct{ auth.Tx }

func (anySession) InsertSession(context.Context, auth.Session, int) error { return nil }

// unread is an audit log that nobody reads.
type unread struct{ auth.AuditStore }

func (unread) InsertAudit(context.Context, []auth.AuditEntry) error { return nil }

// quiet are records in which nothing happens, or of which nothing can be read.
type quiet struct {
	httpapi.Records
	err error
}

func (q quiet) Events(context.Context, int64, int) ([]entity.Event, error) { return nil, q.err }
func (quiet) LastEvent(context.Context) (int64, error)                     { return 7, nil }

// oneConn is a listener with one connection.
type oneConn struct {
	conn   chan net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *oneConn) Close() error   { close(l.closed); return nil }
func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// peer connects to an API without a socket, so that time can be let pass. The channel
// is closed when the server ends the connection. It must run in a bubble.
func peer(t *testing.T, records httpapi.Records, satellites http.Handler) (near net.Conn, _ <-chan struct{}, api *httpapi.API) {
	t.Helper()
	near, far := net.Pipe()
	l := &oneConn{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	ended := make(chan struct{})
	l.conn <- far
	audit := auth.NewAudit(unread{}, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(context.Background())
	written := make(chan error, 1)
	go func() { written <- audit.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-written
	})
	api = httpapi.New(httpapi.Options{
		Records: records, Audit: audit, Auth: auth.New(auth.NewAccounts(anyToken{})), Bells: &bus.Local{}, Satellites: satellites,
		Metrics: prometheus.NewRegistry(), Page: interfaceFiles, Log: slog.New(slog.DiscardHandler),
	})
	server := &http.Server{Handler: api, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			close(ended)
		}
	}}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		near.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return near, ended, api
}

const askForStream = "GET " + httpapi.Base + "/events/stream HTTP/1.1\r\nHost: core\r\nAuthorization: Bearer x\r\n"

func say(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

// Who is nobody yet cannot hold a connection by sending a body slowly.
func TestASlowBodyIsCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, ended, _ := peer(t, quiet{}, http.NotFoundHandler())
		began := time.Now()
		go io.Copy(io.Discard, near) //nolint:errcheck // ends with the connection
		say(t, near, "POST /session HTTP/1.1\r\nHost: core\r\nContent-Length: 4000\r\n\r\n")
		for time.Since(began) < time.Hour {
			if _, err := io.WriteString(near, " "); err != nil {
				break
			}
			time.Sleep(5 * time.Second)
		}
		<-ended
		if held := time.Since(began); held > time.Minute {
			t.Errorf("the connection was held for %v", held)
		}
	})
}

func TestASlowReaderIsCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, ended, _ := peer(t, quiet{}, http.NotFoundHandler())
		began := time.Now()
		say(t, near, "GET /assets/index-1a2b.js HTTP/1.1\r\nHost: core\r\n\r\n")
		<-ended // without reading anything
		if held := time.Since(began); held > 3*time.Minute {
			t.Errorf("the connection was held for %v", held)
		}
	})
}

// Requests one after the other on a connection each have their own time, and so
// does one whose body was read.
func TestTheDeadlinesAreOfOneRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, _, _ := peer(t, quiet{}, http.NotFoundHandler())
		answers := bufio.NewReader(near)
		for range 10 {
			say(t, near, "POST /session HTTP/1.1\r\nHost: core\r\nContent-Length: 13\r\n\r\n{\"token\":")
			time.Sleep(20 * time.Second)
			say(t, near, "\"x\"}")
			resp, err := http.ReadResponse(answers, nil)
			if err != nil || resp.StatusCode != http.StatusNoContent {
				t.Fatalf("the answer is %v, %v", resp, err)
			}
			time.Sleep(100 * time.Second)
		}
	})
}

// A stream goes on for as long as somebody reads it, also when it was asked for
// with a body.
func TestAStreamOutlivesTheDeadlines(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "Content-Length: 4\r\n\r\nbody"} {
		t.Run(fmt.Sprint(len(body)), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				near, ended, api := peer(t, quiet{}, http.NotFoundHandler())
				began := time.Now()
				say(t, near, askForStream+cmp.Or(body, "\r\n"))
				time.AfterFunc(time.Hour, api.Drain)
				resp, err := http.ReadResponse(bufio.NewReader(near), nil)
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(resp.Body)
				if n := strings.Count(string(text), ": still here"); err != nil || n < 230 || time.Since(began) < time.Hour {
					t.Errorf("after %v, with %d comments, it ended with %v", time.Since(began), n, err)
				}
				near.Close()
				<-ended
			})
		})
	}
}

// Who does not read a stream, or does not send what was announced with it, is cut off.
func TestAStreamOfNoUseEnds(t *testing.T) {
	t.Parallel()
	for _, rest := range []string{"\r\n", "Content-Length: 100\r\n\r\n"} {
		t.Run(fmt.Sprint(len(rest)), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				near, ended, _ := peer(t, quiet{}, http.NotFoundHandler())
				began := time.Now()
				say(t, near, askForStream+rest)
				<-ended
				if held := time.Since(began); held > time.Minute {
					t.Errorf("the connection was held for %v", held)
				}
			})
		})
	}
}

// A stream that cannot hear what happens must not seem to live.
func TestAStreamThatHearsNothingEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, _, _ := peer(t, quiet{err: errors.New("the database is away")}, http.NotFoundHandler())
		began := time.Now()
		say(t, near, askForStream+"\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(near), nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if lived := time.Since(began); err != nil || lived > time.Minute || !strings.HasPrefix(string(text), "id: 7\n: welcome\n\n") {
			t.Errorf("it lived for %v, said %q, and ended with %v", lived, text, err)
		}
	})
}

// A socket that is taken over has nothing of the request's deadlines left.
func TestASocketOutlivesTheDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, _, _ := peer(t, quiet{}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn) //nolint:errcheck // ends with the connection
			}()
		}))
		say(t, near, "GET "+httpapi.SatellitePath+" HTTP/1.1\r\nHost: core\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		for range 3 {
			time.Sleep(time.Hour)
			say(t, near, "ping")
			var echo [4]byte
			if _, err := io.ReadFull(near, echo[:]); err != nil || string(echo[:]) != "ping" {
				t.Fatalf("it answers %q, %v", echo, err)
			}
		}
	})
}

// Behind a proxy a guesser is known by the address that the proxy saw, not by the
// proxy's, nor by what the guesser says.
func TestPeersBehindAProxy(t *testing.T) {
	t.Parallel()
	for trust, want := range map[bool]int{true: http.StatusUnauthorized, false: http.StatusTooManyRequests} {
		t.Run(fmt.Sprint(trust), func(t *testing.T) {
			t.Parallel()
			seen := make(chan string, 1)
			c := setup(t, func(o *httpapi.Options) {
				o.TrustForwarded = trust
				o.Satellites = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					seen <- r.RemoteAddr
					w.WriteHeader(http.StatusUpgradeRequired)
				})
			})
			guess := func(forwarded string) int {
				return c.send(http.MethodPost, "/session", object{"token": "perigee_guess"}, "X-Forwarded-For", forwarded).status
			}
			last := 0
			for i := range 20 {
				last = guess(fmt.Sprintf("203.0.113.%d, 192.0.2.1", i))
			}
			if last != http.StatusTooManyRequests {
				t.Errorf("after 20 guesses: %d", last)
			}
			if got := guess("192.0.2.2"); got != want {
				t.Errorf("a guess of another: %d, want %d", got, want)
			}
			c.send(http.MethodGet, httpapi.SatellitePath, nil, "X-Forwarded-For", "203.0.113.1,192.0.2.3")
			if got := <-seen; (got == "192.0.2.3") != trust {
				t.Errorf("a satellite comes from %s", got)
			}
		})
	}
}
