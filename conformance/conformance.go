// Package conformance drives a core as an original agent would, and says where it
// does otherwise than the protocol's specification.
//
// It is written from the specification alone. What it sends is JSON of its own making
// and what it hears is read without our codec, so that a mistake in that does not hide
// itself. Each case has a connection, and deadlines, of its own; its name begins with
// the number of the fact (L, A, H) or weakness (M) that it is about.
//
// It needs a satellite's credentials and leaves nothing behind. With an administrator it
// also asks what no agent can see alone: edges, pushes, stored results, installations.
package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/internal/link"
)

// Target is the core under test, and a satellite of it that nobody else uses.
type Target struct {
	// URL of the core, http(s) with a path prefix where it has one.
	URL   string
	ID    string
	Token string
	// Administrator is somebody who administers the core; nil is nobody.
	Administrator Administrator
	// Patience is how long an answer may take; 10 s when zero.
	Patience time.Duration
	// Quiet is how long is waited for what must not come; 500 ms when zero.
	Quiet time.Duration
	// Only, if not nil, says which cases are run.
	Only func(name string) bool
}

// Outcome is one case as it went.
type Outcome struct {
	Name string `json:"name"`
	What string `json:"what"`
	// Pass is that nothing was found against the core, be it because nothing was asked.
	Pass bool `json:"pass"`
	// NotChecked is that the core has not what the case is about; Detail names it.
	NotChecked bool `json:"notChecked,omitempty"`
	// Detail is what was expected and what came, of a case that failed.
	Detail string `json:"detail,omitempty"`
}

// NotChecked is why a case asked nothing. An administrator answers with it to what
// cannot be done at the core.
type NotChecked string

func (n NotChecked) Error() string { return "not checked: " + string(n) }

// Core runs every case against the target. seen, if not nil, hears of each as it ends.
func Core(ctx context.Context, target Target, seen func(Outcome)) []Outcome {
	if target.Patience == 0 {
		target.Patience = 10 * time.Second
	}
	if target.Quiet == 0 {
		target.Quiet = 500 * time.Millisecond
	}
	var all []Outcome
	for _, c := range slices.Concat(coreCases, administeredCases, packageCases) {
		if target.Only != nil && !target.Only(c.name) {
			continue
		}
		o := Outcome{Name: c.name, What: c.what, Pass: true}
		if err := c.run(ctx, target); err != nil {
			if why, ok := errors.AsType[NotChecked](err); ok {
				o.NotChecked, err = true, why // whatever was about to be done with it
			}
			o.Pass, o.Detail = o.NotChecked, err.Error()
		}
		if seen != nil {
			seen(o)
		}
		all = append(all, o)
	}
	return all
}

// message is what came, as it is.
type message map[string]any

func (m message) kind() string { return m.text("type") }

func (m message) text(member string) string {
	s, _ := m[member].(string)
	return s
}

// agent is one connection of an original agent.
type agent struct {
	target Target
	conn   link.Conn
	in     chan message
	ended  chan struct{}
}

// dial opens a connection.
func dial(ctx context.Context, t Target) (*agent, error) {
	address, err := link.URL(t.URL)
	if err != nil {
		return nil, err
	}
	conn, err := link.Dial(ctx, address, link.Options{})
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	a := &agent{target: t, conn: conn, in: make(chan message, 1024), ended: make(chan struct{})}
	go a.read()
	return a, nil
}

// read ends with the connection, which hangUp sees to.
func (a *agent) read() {
	for {
		frame, err := a.conn.Read()
		if err != nil {
			close(a.in)
			close(a.ended)
			return
		}
		var m message
		if err := json.Unmarshal(frame, &m); err != nil {
			m = message{"type": "(not JSON)"}
		}
		select {
		case a.in <- m:
		default: // a core that says more than a thousand things to one of our cases
		}
	}
}

func (a *agent) hangUp() {
	_ = a.conn.Close(1000, "Client shutdown")
	<-a.ended
}

func (a *agent) send(format string, args ...any) error {
	return a.conn.Write(fmt.Appendf(nil, format, args...))
}

// next is the next message of one of the kinds; others are passed over.
func (a *agent) next(kinds ...string) (message, error) {
	kind := strings.Join(kinds, " or ")
	deadline := time.After(a.target.Patience)
	for {
		select {
		case m, ok := <-a.in:
			if !ok {
				return nil, fmt.Errorf("expected %s, and the connection ended", kind)
			}
			if slices.Contains(kinds, m.kind()) {
				return m, nil
			}
		case <-deadline:
			return nil, fmt.Errorf("expected %s, and nothing came for %s", kind, a.target.Patience)
		}
	}
}

// quiet reports what came although nothing should have.
func (a *agent) quiet() error {
	select {
	case m, ok := <-a.in:
		if !ok {
			return errors.New("expected silence, and the connection ended")
		}
		return fmt.Errorf("expected silence, and %s came", m.kind())
	case <-time.After(a.target.Quiet):
		return nil
	}
}

// closed waits for the core to close.
func (a *agent) closed() error {
	deadline := time.After(a.target.Patience)
	for {
		select {
		case _, ok := <-a.in:
			if !ok {
				return nil
			}
		case <-deadline:
			return fmt.Errorf("expected the core to close, and it did not for %s", a.target.Patience)
		}
	}
}

// alive asks something that is always answered: the connection still works.
func (a *agent) alive() error {
	if err := a.send(`{"type":"telemetry_batch","batchId":"alive","kind":"logstream","payload":[]}`); err != nil {
		return fmt.Errorf("the connection does not live any more: %w", err)
	}
	_, err := a.next("telemetry_ack")
	return err
}

// enter authenticates and returns what the core said.
func (a *agent) enter() (message, error) {
	if err := a.send(`{"type":"authenticate","clientId":%q,"token":%q}`, a.target.ID, a.target.Token); err != nil {
		return nil, err
	}
	return a.next("authenticated")
}

// inside runs a case on a connection that has authenticated.
func inside(run func(a *agent, welcome message) error) func(context.Context, Target) error {
	return outside(func(a *agent) error {
		welcome, err := a.enter()
		if err != nil {
			return err
		}
		return run(a, welcome)
	})
}

// outside runs a case on a connection that has said nothing yet.
func outside(run func(a *agent) error) func(context.Context, Target) error {
	return func(ctx context.Context, t Target) error {
		a, err := dial(ctx, t)
		if err != nil {
			return err
		}
		defer a.hangUp()
		return run(a)
	}
}
