package conformance

import (
	"fmt"
	"slices"
	"time"
)

// heartbeatEvery is the original's period; offline is who is not heard for three (A.2).
const heartbeatEvery = 15 * time.Second

func heartbeats(c *core, s *session) error {
	var last float64
	for i := range 2 {
		asked := time.Now()
		m, err := s.nextWithin("heartbeat", heartbeatEvery+c.Patience, nil)
		if err != nil {
			return err
		}
		uptime, ok := m["uptimeSeconds"].(float64)
		if m.text("version") == "" || !ok || uptime < last {
			return fmt.Errorf("got %v, want a version, and uptimeSeconds that grow", m)
		}
		if capabilities, there := m["capabilities"]; there && !texts(capabilities) {
			return fmt.Errorf("the capabilities are %v, want a list of texts", capabilities)
		}
		if i > 0 && time.Since(asked) < heartbeatEvery/3 {
			return fmt.Errorf("the second heartbeat came after %s", time.Since(asked))
		}
		last = uptime
	}
	return nil
}

// texts: v is a list of texts, and not empty (A.8).
func texts(v any) bool {
	list, ok := v.([]any)
	return ok && len(list) > 0 && !slices.ContainsFunc(list, func(item any) bool { _, ok := item.(string); return !ok })
}

func neverAnswered(c *core, s *session) error {
	if _, err := s.greeted(); err != nil {
		return err
	}
	if err := s.left(20*time.Second + c.Patience); err != nil {
		return err
	}
	s, err := c.accept()
	if err != nil {
		return err
	}
	return s.welcome("")
}

// soonest is the least that an agent waits before it comes back: the original's first
// wait is a second, and a quarter less at most (K.5).
const soonest = 500 * time.Millisecond

func (c *core) comesBack() error {
	gone := time.Now()
	s, err := c.accept()
	if err != nil {
		return err
	}
	if after := s.arrived.Sub(gone); after < soonest {
		return fmt.Errorf("it came back after %s; all of them would, at the same instant", after)
	}
	return s.welcome("")
}

func backsOff(c *core) error {
	c.refusing.Store(true)
	if err := c.start(""); err != nil {
		return err
	}
	var at []time.Time
	for len(at) < 4 {
		select {
		case t := <-c.attempts:
			at = append(at, t)
		case <-time.After(c.Patience):
			return fmt.Errorf("it tried %d times, and then no more for %s", len(at), c.Patience)
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
	first, third := at[1].Sub(at[0]), at[3].Sub(at[2])
	if first < soonest || third <= first {
		return fmt.Errorf("it waited %s at first and %s after the third attempt, want at least %s and then longer", first, third, soonest)
	}
	return nil
}

func authenticates(c *core, s *session) error {
	for _, name := range []string{"Authorization", "Cookie", "Sec-WebSocket-Protocol"} {
		if value := s.request.Header.Get(name); value != "" {
			return fmt.Errorf("the request for the socket has a header %s", name)
		}
	}
	m, err := s.greeted()
	if err != nil {
		return err
	}
	if m.text("clientId") != c.id || m.text("token") != c.token {
		return fmt.Errorf("it is clientId %q and the %d characters of a token, want %q and %d", m.text("clientId"), len(m.text("token")), c.id, len(c.token))
	}
	if capabilities, there := m["capabilities"]; there && !texts(capabilities) {
		return fmt.Errorf("the capabilities are %v, want a list of texts", capabilities)
	}
	return nil
}
