// Package entity is the one door for change.
//
// An entity is a reactive state object (kind, id) whose changes people and
// automations react to: the connection of a satellite, the health of a system.
// Whatever alters one goes through [Record]: one transaction in which the caller
// reads the previous state under lock, writes the next, and hands back both; the
// recorder diffs them, derives events, and appends transitions and events to the
// same transaction. So state, history and events cannot disagree, whatever
// crashes in between (spec M59, M60). Nothing else writes entity state.
//
// What it does not do: store the states (their owners' tables do) and deliver
// the events (a bell says "look", consumers read the table).
package entity

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// State is the top-level fields of an entity; values are what encoding/json
// makes of them. A nil State is absence: before creation, after removal.
type State map[string]any

// Change is one alteration as its writer saw it: Prev was read under lock in the
// same transaction that wrote Next.
type Change struct {
	Kind  string
	ID    string
	Prev  State
	Next  State
	Actor Actor
	// Occurrence: something happened by which nothing became another. It gives events,
	// and no history.
	Occurrence bool
	// About is what payloads say of the entity beside its state, such as what it is called:
	// not compared, and no part of its history.
	About map[string]any
	// At is the time of the change, for payloads; the recorder fills it in.
	At time.Time
}

// Actor is who caused a change. The zero value is the system itself.
type Actor struct {
	Type string `json:"type"` // user, application, service, system
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// System is the actor of changes that nobody asked for.
var System = Actor{Type: "system", ID: "perigee"}

// Transition is the change of one field. From is nil when the entity is created.
// Strings are verbatim, other values JSON, null the text "null" (spec D.1).
type Transition struct {
	Kind     string    `json:"kind"`
	EntityID string    `json:"entityId"`
	Field    string    `json:"field"`
	From     *string   `json:"from"`
	To       string    `json:"to"`
	At       time.Time `json:"at"`
	ChangeID string    `json:"changeId"`
	Actor    Actor     `json:"actor"`
}

// EventFilter chooses events: those after a number, of one of some kinds and of a type
// where these are given; Newest the last of them instead of the first.
type EventFilter struct {
	Kinds  []string
	Type   string
	After  int64
	Newest bool
}

// Event is what a change means to whoever reacts. Every change gives at least
// one; TypeChanged when nothing more telling derives.
type Event struct {
	// Seq rises in commit order; a reader that has seen n may ask for what is after n.
	Seq      int64           `json:"seq"`
	Type     string          `json:"type"`
	Kind     string          `json:"kind"`
	EntityID string          `json:"entityId"`
	ChangeID string          `json:"changeId"`
	Changed  []string        `json:"changed"`
	Prev     json.RawMessage `json:"prev"`
	Next     json.RawMessage `json:"next"`
	Payload  json.RawMessage `json:"payload"`
	Actor    Actor           `json:"actor"`
	At       time.Time       `json:"at"`
}

// TypeChanged is the type of a change from which nothing else derives.
const TypeChanged = "entity.changed"

// Deriver says what events a change of its kind means, and their payload. Both
// are pure. No event types means TypeChanged.
type Deriver struct {
	Kind    string
	Types   func(Change) []string
	Payload func(Change) any
}

// Store opens the transactions of the recorder.
type Store interface {
	InTx(ctx context.Context, fn func(Tx) error) error
}

// Tx is what the recorder needs of a transaction. Domain packages declare what
// they need beside it and get at it through Record.
type Tx interface {
	// Now is the database's clock, the same throughout the transaction.
	Now(ctx context.Context) (time.Time, error)
	AppendTransitions(ctx context.Context, rows []Transition) error
	// AppendEvents numbers the events in commit order and fills in Seq.
	AppendEvents(ctx context.Context, events []Event) error
}

// Bell tells consumers to look at a topic. It may be lost, doubled or late.
type Bell interface {
	Ring(topic string)
}

// TopicEvents is rung when events were appended.
const TopicEvents = "events"

// Recorder appends the history and events of changes.
type Recorder struct {
	store    Store
	bell     Bell
	derivers map[string]Deriver
}

// NewRecorder makes a recorder. Two derivers of one kind are a mistake in the
// program's wiring and panic.
func NewRecorder(store Store, bell Bell, derivers ...Deriver) *Recorder {
	r := &Recorder{store: store, bell: bell, derivers: map[string]Deriver{}}
	for _, d := range derivers {
		if _, dup := r.derivers[d.Kind]; dup {
			panic("entity: two derivers of kind " + d.Kind)
		}
		r.derivers[d.Kind] = d
	}
	return r
}

// Record runs fn in one transaction and records the changes that it returns.
// T is the caller's own view of the transaction. An error of fn aborts
// everything: nothing is written, nothing recorded.
func Record[T Tx](ctx context.Context, r *Recorder, fn func(T) ([]Change, error)) error {
	recorded := 0
	err := r.store.InTx(ctx, func(tx Tx) error {
		view, ok := tx.(T)
		if !ok {
			return fmt.Errorf("entity: the store's transaction %T is not a %T", tx, *new(T))
		}
		changes, err := fn(view)
		if err != nil {
			return err
		}
		recorded, err = r.append(ctx, tx, changes)
		return err
	})
	if err == nil && recorded > 0 {
		r.bell.Ring(TopicEvents)
	}
	return err
}

// Ring rings a topic that is no event, after a transaction that was recorded.
func (r *Recorder) Ring(topic string) { r.bell.Ring(topic) }

// InTx runs fn in one transaction without recording anything, for writes that
// alter no entity.
func InTx[T Tx](ctx context.Context, r *Recorder, fn func(T) error) error {
	return Record(ctx, r, func(tx T) ([]Change, error) { return nil, fn(tx) })
}

func (r *Recorder) append(ctx context.Context, tx Tx, changes []Change) (int, error) {
	if len(changes) == 0 {
		return 0, nil
	}
	now, err := tx.Now(ctx)
	if err != nil {
		return 0, err
	}
	var transitions []Transition
	var events []Event
	for _, c := range changes {
		t, e, err := r.describe(c, now)
		if err != nil {
			return 0, err
		}
		transitions = append(transitions, t...)
		events = append(events, e...)
	}
	if len(events) == 0 {
		return 0, nil
	}
	if len(transitions) > 0 {
		if err := tx.AppendTransitions(ctx, transitions); err != nil {
			return 0, fmt.Errorf("appending transitions: %w", err)
		}
	}
	if err := tx.AppendEvents(ctx, events); err != nil {
		return 0, fmt.Errorf("appending events: %w", err)
	}
	return len(events), nil
}

// describe turns one change into its history rows and events. Equal states give
// none; a removal gives events and no history rows (spec D.1, L 255, 256).
func (r *Recorder) describe(c Change, now time.Time) ([]Transition, []Event, error) {
	if c.Prev == nil && c.Next == nil {
		return nil, nil, nil
	}
	changed, err := Diff(c.Prev, c.Next)
	if err != nil {
		return nil, nil, fault.Wrap(fault.Internal, err, "entity %s %s cannot be compared", c.Kind, c.ID)
	}
	if len(changed) == 0 {
		return nil, nil, nil
	}
	if c.Actor == (Actor{}) {
		c.Actor = System
	}
	c.At = now
	changeID := uuid.Must(uuid.NewV7()).String()

	var transitions []Transition
	if c.Next != nil && !c.Occurrence {
		for _, field := range changed {
			t := Transition{Kind: c.Kind, EntityID: c.ID, Field: field, To: historyText(c.Next[field]), At: now, ChangeID: changeID, Actor: c.Actor}
			if c.Prev != nil {
				from := historyText(c.Prev[field])
				t.From = &from
			}
			transitions = append(transitions, t)
		}
	}

	types := []string{TypeChanged}
	var payload any
	if d, ok := r.derivers[c.Kind]; ok {
		if derived := d.Types(c); len(derived) > 0 {
			types = derived
		}
		if d.Payload != nil {
			payload = d.Payload(c)
		}
	}
	if payload == nil {
		payload = generic(c, changed)
	}
	prev, err1 := marshalState(c.Prev)
	next, err2 := marshalState(c.Next)
	body, err3 := json.Marshal(payload)
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return nil, nil, err
		}
	}
	var events []Event
	for _, typ := range types {
		events = append(events, Event{
			Type: typ, Kind: c.Kind, EntityID: c.ID, ChangeID: changeID, Changed: changed,
			Prev: prev, Next: next, Payload: body, Actor: c.Actor, At: now,
		})
	}
	return transitions, events, nil
}

// generic is the payload of a change of a kind that says nothing better (spec D.2): the
// fields of the next state, and above them what happened.
func generic(c Change, changed []string) map[string]any {
	payload, delta := map[string]any{}, map[string]any{}
	maps.Copy(payload, c.Next)
	for _, field := range changed {
		if c.Next != nil {
			delta[field] = c.Next[field]
		}
	}
	maps.Copy(payload, map[string]any{"kind": c.Kind, "id": c.ID, "prev": c.Prev, "next": c.Next, "delta": delta, "changedFields": changed})
	return payload
}

// Diff names the top-level fields in which two states differ, sorted. Objects
// compare without regard to key order, arrays in order; an absent field differs
// from null (spec D.1).
func Diff(prev, next State) ([]string, error) {
	var changed []string
	for field := range maps.Keys(union(prev, next)) {
		a, inPrev := prev[field]
		b, inNext := next[field]
		if inPrev != inNext {
			changed = append(changed, field)
			continue
		}
		// Marshal sorts object keys, so equal values have equal text.
		ta, err := json.Marshal(a)
		if err != nil {
			return nil, err
		}
		tb, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(ta, tb) {
			changed = append(changed, field)
		}
	}
	slices.Sort(changed)
	return changed, nil
}

func union(a, b State) State {
	all := make(State, len(a)+len(b))
	maps.Copy(all, a)
	maps.Copy(all, b)
	return all
}

func historyText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil { // Diff has marshalled it already
		return "null"
	}
	return string(b)
}

func marshalState(s State) (json.RawMessage, error) {
	if s == nil {
		return json.RawMessage("null"), nil
	}
	return json.Marshal(s)
}
