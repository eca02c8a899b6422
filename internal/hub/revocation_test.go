package hub_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/hub"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/protocol"
)

// bellOnly leaves everything to the bells and to the sessions' own timers.
var bellOnly = hub.Limits{Poll: time.Hour}

// onBothByBell is onBoth of a core that does not poll.
func onBothByBell(t *testing.T, test func(t *testing.T, c *core)) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) { test(t, newCore(t, url, bellOnly)) })
}

func (c *core) rotate(m *protocol.Authenticate, r fleet.Rotation) *protocol.Authenticate {
	c.t.Helper()
	_, token, err := c.fleet.Rotate(c.t.Context(), entity.System, m.ClientID, r)
	if err != nil {
		c.t.Fatal(err)
	}
	return &protocol.Authenticate{ClientID: m.ClientID, Token: token}
}

// lives reports that the core still listens on the connection.
func (c socket) lives() {
	c.Helper()
	c.send(&protocol.RequestScriptPackageBlob{Integrity: "x"})
	receive[*protocol.ScriptPackageBlob](c)
}

// refused tries to sign in, in vain.
func (c *core) refused(m *protocol.Authenticate) {
	c.t.Helper()
	conn := c.dial()
	conn.send(asOurs(m))
	if failed := receive[*protocol.AuthFailed](conn); failed.Reason != protocol.ReasonInvalid {
		c.t.Errorf("refused with %q, want the words of any refusal", failed.Reason)
	}
	conn.wantEnd(protocol.CloseRefused)
}

func TestReal_M33_SessionsOfTheOldTokenEndWithTheOverlap(t *testing.T) {
	onBothByBell(t, func(t *testing.T, c *core) {
		old := c.satellite("eu-1")
		conn, _ := c.enter(asOurs(old))
		renewed := c.rotate(old, fleet.Rotation{Overlap: 3 * time.Second})
		conn.lives()
		if s := c.row(old.ClientID); !s.PreviousTokenInUse || s.TokenLastUsedAt != nil {
			t.Errorf("during the overlap: %+v, want the previous token in use and the new one unused", s)
		}
		conn.wantEnd(protocol.CloseRotated) // nothing rings, nothing polls
		c.refused(old)
		again, _ := c.enter(asOurs(renewed))
		again.lives()
		if s := c.row(old.ClientID); s.PreviousTokenInUse || s.PreviousTokenValidUntil != nil || s.TokenLastUsedAt == nil {
			t.Errorf("after the overlap: %+v, want the new token in use alone", s)
		}
	})
}

func TestReal_M33_SessionsOfTheNewTokenOutliveTheOverlap(t *testing.T) {
	onBothByBell(t, func(t *testing.T, c *core) {
		old, witness := c.satellite("eu-1"), c.satellite("eu-2")
		watching, _ := c.enter(asOurs(witness))
		renewed := c.rotate(old, fleet.Rotation{Overlap: 2 * time.Second})
		conn, _ := c.enter(asOurs(renewed))
		c.rotate(witness, fleet.Rotation{Overlap: 2500 * time.Millisecond})
		watching.wantEnd(protocol.CloseRotated) // its overlap ended later
		c.refused(old)
		conn.lives()
	})
}

func TestReal_M33_ExpiryEndsTheSession(t *testing.T) {
	onBothByBell(t, func(t *testing.T, c *core) {
		renewed := c.rotate(c.satellite("eu-1"), fleet.Rotation{ExpiresIn: 2 * time.Second})
		original, _ := c.enter(renewed)
		if m := receive[*protocol.Shutdown](original); !strings.Contains(m.Reason, "expired") {
			t.Errorf("the reason is %q", m.Reason)
		}
		original.wantEnd(protocol.CloseRotated)
		c.refused(renewed)
	})
}

func TestReal_M33_RevokingThePreviousTokenEndsItsSession(t *testing.T) {
	onBothByBell(t, func(t *testing.T, c *core) {
		first := c.satellite("eu-1")
		conn, _ := c.enter(asOurs(first))
		second := c.rotate(first, fleet.Rotation{Overlap: time.Hour})
		conn.lives()
		c.rotate(second, fleet.Rotation{Overlap: time.Hour}) // the oldest is dropped
		conn.wantEnd(protocol.CloseRotated)
		c.refused(first)

		conn, _ = c.enter(asOurs(second))
		conn.lives()
		if _, err := c.fleet.RevokePrevious(t.Context(), entity.System, first.ClientID); err != nil {
			t.Fatal(err)
		}
		conn.wantEnd(protocol.CloseRotated)
		c.refused(second)
	})
}

// M32: on whichever core the session is, rung or not.
func TestReal_M32_RevocationReachesTheOtherCore(t *testing.T) {
	t.Parallel()
	for name, setUp := range map[string]func(t *testing.T, url string) (here, there *core){
		"by the bell": func(t *testing.T, url string) (here, there *core) {
			bell, log := new(bus.Local), slog.New(slog.DiscardHandler)
			return newCoreWith(t, url, bell, log, bellOnly), newCoreWith(t, url, bell, log, bellOnly)
		},
		"though every ring is lost": func(t *testing.T, url string) (here, there *core) {
			return newCore(t, url), newCore(t, url, hub.Limits{Poll: 100 * time.Millisecond})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			here, there := setUp(t, dbtest.PostgreSQL(t))
			rotated, overlapped, deleted := here.satellite("eu-1"), here.satellite("eu-2"), here.satellite("eu-3")
			first, _ := there.enter(asOurs(rotated))
			second, _ := there.enter(asOurs(overlapped))
			third, _ := there.enter(deleted)

			here.rotate(rotated, fleet.Rotation{})
			first.wantEnd(protocol.CloseRotated)
			here.rotate(overlapped, fleet.Rotation{Overlap: 2 * time.Second})
			second.lives()
			second.wantEnd(protocol.CloseRotated)
			if err := here.fleet.Delete(t.Context(), entity.System, deleted.ClientID); err != nil {
				t.Fatal(err)
			}
			receive[*protocol.Shutdown](third)
			third.wantEnd(protocol.CloseRemoved)
			for _, m := range []*protocol.Authenticate{rotated, overlapped, deleted} {
				there.refused(m)
			}
		})
	}
}

// M54: whatever still arrives for a deleted satellite changes nothing, and is no
// error for anybody to look at.
func TestReal_M54_LateWordsOfADeletedSatellite(t *testing.T) {
	t.Parallel()
	for engine, url := range map[string]string{"sqlite": dbtest.SQLite(t), "postgres": dbtest.PostgreSQL(t)} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			var logged lines
			c := newCoreWith(t, url, new(bus.Local), slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelWarn})))
			m := c.satellite("eu-1")
			front := c.assign("front", "eu-1")
			conn, _ := c.enter(asOurs(m))
			conn.send(&protocol.Heartbeat{Version: "1"})
			if err := c.fleet.Delete(t.Context(), entity.System, m.ClientID); err != nil {
				t.Fatal(err)
			}
			conn.wantEnd(protocol.CloseRemoved)
			c.fleet.Beat(fleet.Beat{SatelliteID: m.ClientID, Epoch: 1, Version: "2"})
			if err := c.fleet.Close(t.Context(), m.ClientID, 1); err != nil {
				t.Errorf("the late close: %v", err)
			}
			// Another satellite's heartbeat is flushed after the late one.
			other := c.satellite("eu-2")
			alive, _ := c.enter(other)
			alive.send(&protocol.Heartbeat{Version: "3"})
			eventually(t, func() bool { v := c.row(other.ClientID).Version; return v != nil && *v == "3" })

			events, err := c.db.Events(t.Context(), 0, 1000)
			if err != nil {
				t.Fatal(err)
			}
			removed := false
			for _, e := range events {
				if e.EntityID != m.ClientID {
					continue
				}
				if removed && e.Kind != fleet.KindConnection { // its tombstone comes with it
					t.Errorf("after its removal: %+v", e)
				}
				removed = removed || e.Type == "satellite.removed"
			}
			a, err := c.catalog.Assignment(t.Context(), "front-web")
			if err != nil || len(a.Satellites.Names) > 0 || a.Enabled {
				t.Errorf("the assignment of %v is %+v, %v; want it without the name, disabled", front, a, err)
			}
			if text := logged.String(); text != "" {
				t.Errorf("logged:\n%s", text)
			}
		})
	}
}

// lines is a log that tests read.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Two processes take turns at two cores, and each core sees half of it.
func TestReal_DuplicateIdentityAcrossCores(t *testing.T) {
	t.Parallel()
	url, bell, logged := dbtest.PostgreSQL(t), new(bus.Local), new(lines)
	log := slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelWarn}))
	polling := hub.Limits{Poll: 100 * time.Millisecond} // an opening rings for nobody
	here, there := newCoreWith(t, url, bell, log, polling), newCoreWith(t, url, bell, log, polling)
	m := here.satellite("eu-1")

	// Restarted by its supervisor, again and again: the old session's peer is gone.
	for range 5 {
		gone, _ := here.enter(m)
		if err := gone.Close(link.Lost, ""); err != nil {
			t.Fatal(err)
		}
	}
	last, _ := here.enter(m)
	for _, c := range []*core{there, here, there} {
		newer, _ := c.enter(m)
		receive[*protocol.Shutdown](last)
		last.wantEnd(protocol.CloseSuperseded)
		last = newer
	}
	eventually(t, func() bool { return here.row(m.ClientID).DuplicateUntil != nil })
	late := here.dial()
	late.send(m)
	late.wantEnd(protocol.CloseNormal)
	last.lives()
	if text := logged.String(); strings.Count(text, "duplicate identity") != 1 {
		t.Errorf("logged:\n%s", text)
	}
}
