package bus_test

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// between is a way for two processes to ring each other.
type between struct {
	name string
	// make gives two buses that hear each other, and what cuts both off for a moment.
	make func(t *testing.T) (a, b bus.Bus, cut func())
}

func ways() []between {
	log := slog.New(slog.DiscardHandler)
	return []between{
		{"PostgreSQL", func(t *testing.T) (bus.Bus, bus.Bus, func()) {
			url := pgtest.URL(t)
			a, err := bus.NewPostgres(url, log)
			if err != nil {
				t.Fatal(err)
			}
			b, err := bus.NewPostgres(url, log)
			if err != nil {
				t.Fatal(err)
			}
			return a, b, func() { terminate(t, url) }
		}},
		{"NATS", func(t *testing.T) (bus.Bus, bus.Bus, func()) {
			s := startNATS(t, -1)
			url := s.ClientURL()
			port := s.Addr().(*net.TCPAddr).Port
			a, err := bus.NewNATS(url, log)
			if err != nil {
				t.Fatal(err)
			}
			b, err := bus.NewNATS(url, log)
			if err != nil {
				t.Fatal(err)
			}
			return a, b, func() {
				s.Shutdown()
				s.WaitForShutdown()
				startNATS(t, port)
			}
		}},
	}
}

func startNATS(t *testing.T, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the NATS server is not ready")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

// terminate ends every connection of the buses, as a restart of the server would.
func terminate(t *testing.T, url string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'perigee-bus'`); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, b bus.Bus) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the bus ended with %v", err)
		}
	})
}

// rings waits for a ring.
func rings(t *testing.T, what string, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(2 * time.Minute):
		t.Fatalf("%s: nothing rang", what)
	}
}

// eventually waits until it holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(2 * time.Minute)
	for !holds() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func TestM69_RingsReachTheOtherProcesses(t *testing.T) {
	t.Parallel()
	for _, way := range ways() {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			a, b, cut := way.make(t)
			ours, endOurs := a.Subscribe("config")
			defer endOurs()
			theirs, endTheirs := b.Subscribe("config")
			defer endTheirs()
			other, endOther := b.Subscribe("packages")
			defer endOther()
			run(t, a)
			run(t, b)
			// To begin with everything rings: who knows what was missed.
			rings(t, "the start", theirs)
			rings(t, "the start", other)
			rings(t, "the start", ours)
			eventually(t, "both hear", func() bool { return a.Status().Connected && b.Status().Connected })

			for range 100 {
				a.Ring("config")
			}
			rings(t, "a ring at home", ours)
			rings(t, "a ring from afar", theirs)
			select {
			case <-other:
				t.Error("a ring of config rang packages")
			default:
			}
			eventually(t, "what was sent is counted", func() bool { return a.Status().Sent > 0 })
			if s := a.Status(); s.Sent > 50 || s.Coalesced == 0 {
				t.Errorf("a hundred rings were sent as %d messages, %d coalesced", s.Sent, s.Coalesced)
			}
			drain(ours)
			eventually(t, "its own message came back to the sender", func() bool { return b.Status().Received > 0 })
			if a.Status().Received != 0 {
				t.Error("the sender took its own message for another's")
			}

			// A cut may have swallowed rings, so after it everything rings.
			drain(theirs)
			drain(other)
			cut()
			rings(t, "after a cut", theirs)
			rings(t, "after a cut", other)
			eventually(t, "both hear again", func() bool { return a.Status().Connected && b.Status().Connected && b.Status().Reconnects > 0 })
			drain(theirs)
			eventually(t, "a ring arrives again", func() bool {
				a.Ring("config")
				select {
				case <-theirs:
					return true
				default:
					return false
				}
			})
		})
	}
}

func drain(ch <-chan struct{}) {
	select {
	case <-ch:
	default:
	}
}

// Nobody waits for a bus that cannot reach anybody.
func TestABusWithoutItsServerRingsAtHome(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	p, err := bus.NewPostgres("postgres://127.0.0.1:1/none", log)
	if err != nil {
		t.Fatal(err)
	}
	n, err := bus.NewNATS("nats://127.0.0.1:1", log)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []bus.Bus{p, n} {
		ch, end := b.Subscribe("config")
		run(t, b)
		b.Ring("config")
		rings(t, b.Status().Kind, ch)
		eventually(t, "what could not be sent is counted", func() bool { return b.Status().Lost > 0 })
		if b.Status().Connected {
			t.Errorf("%s says that it is connected", b.Status().Kind)
		}
		end()
	}
}

func TestAWrongURLIsRefused(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	if _, err := bus.NewNATS("http://127.0.0.1", log); err == nil {
		t.Error("NATS over http")
	}
	if _, err := bus.NewPostgres("postgres://%", log); err == nil {
		t.Error("a URL that is none")
	}
}
