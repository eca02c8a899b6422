package hub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/hub"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/protocol"
)

func TestL30_ValidCredentialsAreAnsweredWithTheAssignments(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"), pair("back"))
		a := w.connect()
		a.send(authenticate("s1"))
		want := &protocol.Authenticated{SatelliteID: "s1", Assignments: []protocol.Assignment{pair("front"), pair("back")}}
		if diff := cmp.Diff(want, next[*protocol.Authenticated](a)); diff != "" {
			t.Errorf("authenticated (-want +got):\n%s", diff)
		}
	})
}

// A.3: the original agent reads assignments.length of whatever arrives.
func TestL40_L157_AuthenticatedHasAssignmentsAndNoKeysOfWhatThereIsNot(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		a := w.connect()
		a.send(authenticate("s1"))
		if got, want := a.nextText(), `{"type":"authenticated","satelliteId":"s1","assignments":[]}`; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

func TestOurSatelliteIsWelcomedWithWhatBothKnow(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("front"))
		a := w.connect()
		a.send(hello("s1", "telepathy", protocol.FeatureSlots, protocol.FeatureAck))
		got := next[*protocol.Authenticated](a)
		want := &protocol.Welcome{Protocol: 1, Features: []string{"ack", "slots"}, Epoch: 1, Revision: 1, Credit: 1 << 20}
		if diff := cmp.Diff(want, got.Perigee); diff != "" {
			t.Errorf("welcome (-want +got):\n%s", diff)
		}
		sessions := w.hub.Sessions()
		if len(sessions) != 1 || sessions[0].Epoch != 1 || !cmp.Equal(sessions[0].Features, []string{"ack", "slots"}) {
			t.Errorf("sessions are %+v", sessions)
		}
	})
}

func TestL31_L49_WrongCredentialsAreRefusedAndLeaveNothing(t *testing.T) {
	for name, c := range map[string]struct {
		first *protocol.Authenticate
		code  int
	}{
		"an original agent sees a plain close": {&protocol.Authenticate{ClientID: "s1", Token: "wrong"}, protocol.CloseNormal},
		"ours learns not to come back":         {&protocol.Authenticate{ClientID: "s1", Token: "wrong", Perigee: &protocol.Hello{Protocol: 1}}, protocol.CloseRefused},
		"M19 an id that is no UUID":            {&protocol.Authenticate{ClientID: "'; --", Token: "csat_x"}, protocol.CloseNormal},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.fleet.add("s1")
				a := w.connect()
				a.send(c.first)
				if got := next[*protocol.AuthFailed](a).Reason; got != "Invalid client ID or token" {
					t.Errorf("the reason is %q", got)
				}
				a.wantClosed(c.code)
				w.fleet.wantEdges(t)
				if got := w.metric("closes_total", "refused"); got != 1 {
					t.Errorf("%v refused connections are counted", got)
				}
			})
		})
	}
}

func TestL32_AnyOtherFirstMessageIsRefused(t *testing.T) {
	inBubble(t, func(w *world) {
		a := w.connect()
		a.send(&protocol.Heartbeat{Version: "0.5.0"})
		if got := next[*protocol.AuthFailed](a).Reason; got != "Must authenticate first" {
			t.Errorf("the reason is %q", got)
		}
		a.wantClosed(protocol.CloseNormal)
		w.fleet.wantEdges(t)
	})
}

// A.3: what cannot be read is ignored even before authentication, up to a point.
func TestNonsenseBeforeAuthenticationIsIgnoredWithinBounds(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		a := w.connect()
		for _, text := range []string{"", "{", "[]", `{"type":"telepathy"}`, `{"type":"authenticate","clientId":"s1","tok`} {
			a.sendText(text)
		}
		a.quiet()
		a.send(authenticate("s1"))
		next[*protocol.Authenticated](a)
		if got := w.metric("messages_total", "unknown"); got != 1 {
			t.Errorf("%v messages of unknown type are counted", got)
		}

		flood := w.connect()
		for range 8 {
			flood.sendText("{")
		}
		flood.wantClosed(protocol.CloseProtocol)
		if strings.Contains(w.log.String(), "csat_") {
			t.Error("a token is in the log")
		}
	})
}

func TestM37_TheFirstMessageIsBounded(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		a := w.connect()
		a.sendText(`{"type":"authenticate","clientId":"` + strings.Repeat("x", protocol.MaxFrameUnauthenticated) + `"}`)
		a.wantClosed(protocol.CloseTooBig)

		b := w.original("s1")
		b.sendText(`{"type":"heartbeat","version":"1","uptimeSeconds":1,"more":"` + strings.Repeat("x", protocol.MaxFrameUnauthenticated) + `"}`)
		if got := w.fleet.heard(); len(got) != 1 {
			t.Errorf("a large message of an authenticated satellite gave %d heartbeats", len(got))
		}
	})
}

func TestM17_SocketThatSaysNothingIsClosed(t *testing.T) {
	inBubble(t, func(w *world) {
		start := time.Now()
		a := w.connect()
		a.wantClosed(protocol.CloseAuthTimeout)
		if took := time.Since(start); took != protocol.AuthTimeout {
			t.Errorf("it took %s", took)
		}
	})
}

func TestM18_DatabaseAwayDuringAuthenticationClosesTheSocket(t *testing.T) {
	for _, call := range []string{"verify", "desired", "open"} {
		t.Run(call, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.fleet.add("s1")
				w.fleet.hook(func(_ context.Context, c, _ string) error {
					if c == call {
						return away()
					}
					return nil
				})
				a := w.connect()
				a.send(authenticate("s1"))
				a.wantClosed(protocol.CloseUnavailable)
				w.fleet.wantEdges(t)
			})
		})
	}
	t.Run("a database that hangs", func(t *testing.T) {
		inBubble(t, func(w *world) {
			w.fleet.add("s1")
			w.fleet.hook(func(ctx context.Context, c, _ string) error {
				if c != "desired" {
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			})
			a := w.connect()
			a.send(authenticate("s1"))
			a.wantClosed(protocol.CloseUnavailable)
		})
	})
	t.Run("a failure of ours", func(t *testing.T) {
		inBubble(t, func(w *world) {
			w.fleet.add("s1")
			w.fleet.hook(func(context.Context, string, string) error { return errors.New("a bug") })
			a := w.connect()
			a.send(authenticate("s1"))
			a.wantClosed(protocol.CloseInternal)
		})
	})
}

// M28b: wherever authentication is when the socket closes, nothing is left behind.
func TestM28b_SocketThatClosesWhileItsAuthenticationRunsLeavesNothing(t *testing.T) {
	for _, c := range []struct {
		call string
		want []string
	}{
		{"verify", nil},
		{"desired", nil},
		{"open", []string{"open s1 1", "close s1 1"}},
	} {
		t.Run(c.call, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.fleet.add("s1", pair("front"))
				reached, proceed := make(chan struct{}), make(chan struct{})
				w.fleet.hook(func(_ context.Context, call, _ string) error {
					if call == c.call {
						close(reached)
						<-proceed
					}
					return nil
				})
				a := w.connect()
				a.send(authenticate("s1"))
				<-reached
				a.conn.Close(link.Lost, "")
				synctest.Wait()
				close(proceed)
				w.fleet.wantEdges(t, c.want...)
				if sessions := w.hub.Sessions(); len(sessions) != 0 {
					t.Errorf("a dead socket is registered: %+v", sessions)
				}
				if got := w.metric("connections"); got != 0 {
					t.Errorf("%v connections are left", got)
				}
			})
		})
	}
}

// M28c, A.4.7: a peer that does not wait for its answer is rejected, and the check
// that was running makes no session of it.
func TestM28c_RejectedConnectionIsNotAuthenticatedAfterwards(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		reached, proceed := make(chan struct{}), make(chan struct{})
		w.fleet.hook(func(_ context.Context, call, _ string) error {
			if call == "verify" {
				close(reached)
				<-proceed
			}
			return nil
		})
		a := w.connect()
		a.send(authenticate("s1"))
		<-reached
		a.send(&protocol.Heartbeat{Version: "0.5.0"})
		if got := next[*protocol.AuthFailed](a).Reason; got != protocol.ReasonFirst {
			t.Errorf("the reason is %q", got)
		}
		a.wantClosed(protocol.CloseNormal)
		close(proceed)
		w.fleet.wantEdges(t)
	})
}

// A.4.6
func TestSecondAuthenticationIsIgnored(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		a := w.original("s1")
		a.send(authenticate("s1"))
		a.quiet()
		w.fleet.wantEdges(t, "open s1 1")
	})
}

func TestL45_L46_L48_ConnectAndCloseAreEdges(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		a := w.original("s1")
		w.fleet.wantEdges(t, "open s1 1")
		if beats := w.fleet.heard(); len(beats) != 0 {
			t.Errorf("connecting is also noted as a heartbeat: %v", beats)
		}
		a.conn.Close(protocol.CloseNormal, "Client shutdown")
		w.fleet.wantEdges(t, "open s1 1", "close s1 1")
		if got := w.metric("closes_total", "peer_closed"); got != 1 {
			t.Errorf("%v closes by the peer are counted", got)
		}
	})
}

func TestL159_CapabilitiesOfTheHandshakeAreKept(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		a := w.connect()
		m := authenticate("s1")
		m.Capabilities = []string{"telemetry", "syslog"}
		a.send(m)
		next[*protocol.Authenticated](a)
		want := []fleet.Beat{{SatelliteID: "s1", Epoch: 1, Capabilities: m.Capabilities}}
		if diff := cmp.Diff(want, w.fleet.heard()); diff != "" {
			t.Errorf("what is noted (-want +got):\n%s", diff)
		}
	})
}

func TestM72_InventoryOfTheHandshakeIsKeptWhenItIsNews(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		inventory := &protocol.Inventory{Version: "1.2.3", OS: "linux"}
		m := hello("s1")
		m.Perigee.Inventory = inventory
		m.Capabilities = []string{"telemetry"}
		a := w.connect()
		a.send(m)
		next[*protocol.Authenticated](a)
		w.fleet.wantEdges(t, "open s1 1", "inventory s1 1.2.3")
		want := []fleet.Beat{{SatelliteID: "s1", Epoch: 1, Version: "1.2.3", Capabilities: []string{"telemetry"}}}
		if diff := cmp.Diff(want, w.fleet.heard()); diff != "" {
			t.Errorf("heartbeats (-want +got):\n%s", diff)
		}

		kept := *inventory
		kept.Features = protocol.Features() // as far as both ends know them
		w.fleet.change("s1", func(r *record) { r.Inventory = &kept })
		b := w.connect()
		b.send(m)
		next[*protocol.Authenticated](b)
		w.fleet.wantEdges(t, "open s1 1", "inventory s1 1.2.3", "open s1 2")
	})
}

// M31: an address that fails too often is not listened to, but for satellites
// that have authenticated before.
func TestM31_FailedAttemptsOfAnAddressAreLimited(t *testing.T) {
	few := func(c *hub.Config) { c.Limits.FailedAttempts, c.Limits.FailedPerSecond = 3, 0.1 }
	inBubble(t, func(w *world) {
		w.fleet.add("known")
		w.fleet.add("other")
		w.original("known")
		verified := 0
		w.fleet.hook(func(_ context.Context, call, _ string) error {
			if call == "verify" {
				verified++
			}
			return nil
		})
		guess := func() *agent {
			a := w.connect()
			a.send(&protocol.Authenticate{ClientID: "known", Token: "guess"})
			return a
		}
		for range 3 {
			next[*protocol.AuthFailed](guess())
		}
		a := w.connect()
		a.send(&protocol.Authenticate{ClientID: "stranger", Token: "guess"})
		a.wantClosed(protocol.CloseTryLater)
		b := w.connect()
		b.send(authenticate("other"))
		b.wantClosed(protocol.CloseTryLater)
		if verified != 3 {
			t.Errorf("%d attempts were verified", verified)
		}
		w.original("known")
		<-time.After(11 * time.Second) // one attempt comes back
		w.original("other")
	}, few)
}

func TestThousandsThatAuthenticateRightlyAreNotSlowed(t *testing.T) {
	inBubble(t, func(w *world) {
		start := time.Now()
		for i := range 1000 {
			id := fmt.Sprintf("s%d", i)
			w.fleet.add(id)
			w.original(id)
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("it took %s", took)
		}
		if got := w.metric("sessions"); got != 1000 {
			t.Errorf("%v sessions", got)
		}
	})
}

// M27: more handshakes than can be worked on wait, and are told when it takes too long.
func TestM27_HandshakesBeyondTheLimitWait(t *testing.T) {
	one := func(c *hub.Config) { c.Limits.Handshakes = 1 }
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		w.fleet.add("s2")
		proceed := make(chan struct{})
		w.fleet.hook(func(_ context.Context, call, id string) error {
			if call == "open" && id == "s1" {
				<-proceed
			}
			return nil
		})
		first, second := w.connect(), w.connect()
		first.send(authenticate("s1"))
		synctest.Wait()
		second.send(authenticate("s2"))
		second.wantClosed(protocol.CloseTryLater)
		third := w.connect()
		third.send(authenticate("s2"))
		synctest.Wait()
		close(proceed)
		next[*protocol.Authenticated](first)
		next[*protocol.Authenticated](third)
	}, one)
}

func TestSatelliteDeletedDuringItsHandshakeIsRefused(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet.add("s1")
		w.fleet.hook(func(_ context.Context, call, id string) error {
			if call == "open" {
				return fault.New(fault.NotFound, "satellite %s does not exist", id)
			}
			return nil
		})
		a := w.connect()
		a.send(hello("s1"))
		next[*protocol.AuthFailed](a)
		a.wantClosed(protocol.CloseRefused)
	})
}

// M18 again: a set that cannot be written down is no reason to say nothing.
func TestM18_AnswerThatCannotBeEncodedClosesTheSocket(t *testing.T) {
	inBubble(t, func(w *world) {
		broken := pair("front")
		broken.Config = []byte(`{"timeout":`)
		w.fleet.add("s1", broken)
		a := w.connect()
		a.send(authenticate("s1"))
		a.wantClosed(protocol.CloseInternal)
		w.fleet.wantEdges(t, "open s1 1", "close s1 1")
	})
}
