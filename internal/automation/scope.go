package automation

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/perigee-monitoring/perigee/internal/entity"
)

// scope is what expressions see, and a note of what they looked at.
type scope struct {
	now       time.Time
	states    States
	trigger   string
	event     entity.Event
	variables map[string]any
	artifacts map[string]any
	repeat    *iteration

	// parsed are parts of the event, read when they are asked for.
	parsed map[string]map[string]any
	// clock tells that the time was looked at, and refs what entities were, since the
	// scope was cleared; a wait depends on both.
	clock bool
	refs  []Ref
	// missing are entities that there were not, in this evaluation.
	missing []Ref
	count   int
	// spent is what evaluations have cost.
	spent uint64
	// failed is an error of States: not the expression's, and nothing to be said of it.
	failed error
}

// iteration is where a repeat stands.
type iteration struct {
	index int
	item  any
}

// stateError marks an error of States.
type stateError struct{ error }

func (e stateError) Unwrap() error { return e.error }

func (s *scope) begin() { s.missing, s.count = nil, 0 }

// clear forgets what was looked at.
func (s *scope) clear() { s.clock, s.refs = false, nil }

// ResolveName implements cel's Activation.
func (s *scope) ResolveName(name string) (any, bool) {
	switch name {
	case "now":
		s.clock = true
		return s.now, true
	case "trigger.id":
		return s.trigger, true
	case "trigger.event":
		return s.event.Type, true
	case "trigger.kind":
		return s.event.Kind, true
	case "trigger.entity":
		return s.event.EntityID, true
	case "trigger.changed":
		return slices.Clip(s.event.Changed), true
	case "trigger.payload":
		return s.part(name, s.event.Payload), true
	case "trigger.prev":
		return s.part(name, s.event.Prev), true
	case "trigger.next":
		return s.part(name, s.event.Next), true
	case "trigger.actor":
		return map[string]any{"type": s.event.Actor.Type, "id": s.event.Actor.ID, "name": s.event.Actor.Name}, true
	case "trigger.at":
		return s.event.At, true
	case "variables":
		return orEmpty(s.variables), true
	case "artifacts":
		return orEmpty(s.artifacts), true
	case "repeat.index", "repeat.item":
		if s.repeat == nil {
			return types.NewErr("%s is only there inside of repeat", name), true
		}
		if name == "repeat.index" {
			return int64(s.repeat.index), true
		}
		return s.repeat.item, true
	case "state":
		return s.kinds(func(_ string, state entity.State, _ time.Time) ref.Val { return value(state) }), true
	case "since":
		return s.kinds(func(_ string, _ entity.State, since time.Time) ref.Val { return types.Timestamp{Time: since} }), true
	case "health.systems":
		return s.entities("health", s.health), true
	}
	return nil, false
}

// Parent implements cel's Activation.
func (s *scope) Parent() cel.Activation { return nil }

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// part reads an object of the event once; one that is null or none is empty.
func (s *scope) part(name string, raw json.RawMessage) map[string]any {
	if m, ok := s.parsed[name]; ok {
		return m
	}
	var m map[string]any
	if json.Unmarshal(raw, &m) != nil || m == nil {
		m = map[string]any{}
	}
	if s.parsed == nil {
		s.parsed = map[string]map[string]any{}
	}
	s.parsed[name] = m
	return m
}

func value(state entity.State) ref.Val {
	// A state from the program's memory may hold values of Go types; as JSON they are
	// what they are in the record.
	return types.DefaultTypeAdapter.NativeToValue(plain(map[string]any(state)))
}

// plain makes of a value what JSON would.
func plain(v any) any {
	switch v := v.(type) {
	case nil, bool, string, float64:
		return v
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, item := range v {
			m[key] = plain(item)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = plain(item)
		}
		return list
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	var out any
	if json.Unmarshal(text, &out) != nil {
		return nil
	}
	return out
}

type give func(id string, state entity.State, since time.Time) ref.Val

func (s *scope) kinds(give give) *lazy {
	return &lazy{find: func(kind string) (ref.Val, bool) { return s.entities(kind, give), true }}
}

func (s *scope) entities(kind string, give give) *lazy {
	return &lazy{find: func(id string) (ref.Val, bool) {
		state, since, err := s.look(kind, id)
		if err != nil {
			return types.WrapErr(err), false
		}
		if state == nil {
			return nil, false
		}
		return give(id, state, since), true
	}}
}

// look asks for an entity and notes that it was asked for.
func (s *scope) look(kind, id string) (entity.State, time.Time, error) {
	asked := Ref{Kind: kind, ID: id}
	if !slices.Contains(s.refs, asked) {
		s.refs = append(s.refs, asked)
	}
	if s.count++; s.count > MaxUsesState {
		return nil, time.Time{}, fmt.Errorf("looks at more than %d states", MaxUsesState)
	}
	if s.states == nil {
		return nil, time.Time{}, nil
	}
	state, since, err := s.states.State(kind, id)
	if err != nil {
		s.failed = stateError{fmt.Errorf("reading %s %s: %w", kind, id, err)}
		return nil, time.Time{}, s.failed
	}
	if state == nil {
		s.missing = append(s.missing, asked)
	}
	return state, since, nil
}

// health is a system's state with the names that the original has for its age.
func (s *scope) health(_ string, state entity.State, since time.Time) ref.Val {
	all := plain(map[string]any(state)).(map[string]any)
	s.clock = true
	all["in_status_since"] = since
	all["in_status_for_ms"] = s.now.Sub(since).Milliseconds()
	all["in_maintenance"] = all["maintenance"] == true
	all["evaluated_at"] = s.now
	return types.DefaultTypeAdapter.NativeToValue(all)
}

// explain puts an error of an evaluation into words.
func (s *scope) explain(err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "cost limit exceeded"):
		return errors.New("takes too much work; the limit is there for endless expressions")
	case strings.HasPrefix(text, "no such key") && len(s.missing) > 0:
		last := s.missing[len(s.missing)-1]
		if strings.HasSuffix(text, ": "+last.ID) {
			return fmt.Errorf("there is no %s %q", last.Kind, last.ID)
		}
	}
	return errors.New(text)
}
