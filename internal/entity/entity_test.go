package entity

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fakeTx keeps what was appended; a failed transaction keeps nothing.
type fakeTx struct {
	transitions []Transition
	events      []Event
}

func (f *fakeTx) Now(context.Context) (time.Time, error) {
	return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), nil
}

func (f *fakeTx) AppendTransitions(_ context.Context, rows []Transition) error {
	f.transitions = append(f.transitions, rows...)
	return nil
}

func (f *fakeTx) AppendEvents(_ context.Context, events []Event) error {
	f.events = append(f.events, events...)
	return nil
}

type fakeStore struct {
	kept  fakeTx
	opens int
}

func (f *fakeStore) InTx(_ context.Context, fn func(Tx) error) error {
	f.opens++
	var tx fakeTx
	if err := fn(&tx); err != nil {
		return err
	}
	f.kept.transitions = append(f.kept.transitions, tx.transitions...)
	f.kept.events = append(f.kept.events, tx.events...)
	return nil
}

type bell struct{ rung []string }

func (b *bell) Ring(topic string) { b.rung = append(b.rung, topic) }

func record(t *testing.T, changes []Change, fail error, derivers ...Deriver) (*fakeStore, *bell, error) {
	t.Helper()
	store, b := &fakeStore{}, &bell{}
	err := Record(t.Context(), NewRecorder(store, b, derivers...), func(Tx) ([]Change, error) { return changes, fail })
	return store, b, err
}

// fields is what a transition says, without what differs from run to run.
func fields(rows []Transition) [][3]string {
	var out [][3]string
	for _, r := range rows {
		from := "<none>"
		if r.From != nil {
			from = *r.From
		}
		out = append(out, [3]string{r.Field, from, r.To})
	}
	return out
}

func TestL255_CreateHasNoPreviousStateAndOneRowPerField(t *testing.T) {
	t.Parallel()
	store, b, err := record(t, []Change{{Kind: "k", ID: "1", Next: State{"status": "online", "n": 2, "gone": nil}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := [][3]string{{"gone", "<none>", "null"}, {"n", "<none>", "2"}, {"status", "<none>", "online"}}
	if diff := cmp.Diff(want, fields(store.kept.transitions)); diff != "" {
		t.Errorf("transitions (-want +got):\n%s", diff)
	}
	if e := store.kept.events; len(e) != 1 || string(e[0].Prev) != "null" || e[0].Type != TypeChanged || e[0].Actor != System {
		t.Errorf("events = %+v, want one entity.changed by the system with a null prev", e)
	}
	if diff := cmp.Diff([]string{TopicEvents}, b.rung); diff != "" {
		t.Errorf("rings (-want +got):\n%s", diff)
	}
}

func TestL255_UpdateTellsOnlyWhatDiffers(t *testing.T) {
	t.Parallel()
	prev := State{"a": map[string]any{"x": 1, "y": 2}, "b": "same", "c": []any{1, 2}, "d": 1}
	next := State{"a": map[string]any{"y": 2, "x": 1}, "b": "same", "c": []any{2, 1}, "d": nil}
	store, _, err := record(t, []Change{{Kind: "k", ID: "1", Prev: prev, Next: next}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := [][3]string{{"c", "[1,2]", "[2,1]"}, {"d", "1", "null"}}
	if diff := cmp.Diff(want, fields(store.kept.transitions)); diff != "" {
		t.Errorf("transitions (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"c", "d"}, store.kept.events[0].Changed); diff != "" {
		t.Errorf("changed fields (-want +got):\n%s", diff)
	}
}

func TestL255_EqualStateTellsNothing(t *testing.T) {
	t.Parallel()
	store, b, err := record(t, []Change{{Kind: "k", ID: "1", Prev: State{"a": 1}, Next: State{"a": 1.0}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(store.kept.transitions)+len(store.kept.events)+len(b.rung) != 0 {
		t.Errorf("kept %+v and rang %v, want nothing", store.kept, b.rung)
	}
}

func TestL255_FailedWriteTellsNothing(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	store, b, err := record(t, []Change{{Kind: "k", ID: "1", Next: State{"a": 1}}}, boom)
	if !errors.Is(err, boom) {
		t.Fatalf("error = %v, want the writer's", err)
	}
	if len(store.kept.events)+len(b.rung) != 0 {
		t.Errorf("kept %+v and rang %v, want nothing", store.kept, b.rung)
	}
}

func TestL256_RemovalIsATombstoneWithoutHistory(t *testing.T) {
	t.Parallel()
	store, _, err := record(t, []Change{{Kind: "k", ID: "1", Prev: State{"a": 1, "b": 2}}, {Kind: "k", ID: "absent"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(store.kept.transitions) != 0 {
		t.Errorf("transitions = %v, want none", store.kept.transitions)
	}
	if e := store.kept.events; len(e) != 1 || string(e[0].Next) != "null" || !cmp.Equal(e[0].Changed, []string{"a", "b"}) {
		t.Errorf("events = %+v, want one tombstone naming a and b", e)
	}
}

func TestL258_EveryChangeHasItsOwnID(t *testing.T) {
	t.Parallel()
	store, _, err := record(t, []Change{{Kind: "k", ID: "1", Next: State{"a": 1}}, {Kind: "k", ID: "1", Prev: State{"a": 1}, Next: State{"a": 2}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if e := store.kept.events; len(e) != 2 || e[0].ChangeID == e[1].ChangeID {
		t.Errorf("events = %+v, want two with different change ids", e)
	}
}

func TestL259_DerivedEventsReplaceThePlainOne(t *testing.T) {
	t.Parallel()
	d := Deriver{Kind: "k", Types: func(Change) []string { return []string{"k.up", "k.first"} }, Payload: func(c Change) any { return c.Next }}
	store, _, err := record(t, []Change{{Kind: "k", ID: "1", Next: State{"a": 1}, Actor: Actor{Type: "user", ID: "u"}}}, nil, d)
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, e := range store.kept.events {
		types = append(types, e.Type)
		if string(e.Payload) != `{"a":1}` || e.Actor.ID != "u" {
			t.Errorf("event = %+v, want the deriver's payload and the change's actor", e)
		}
	}
	if diff := cmp.Diff([]string{"k.up", "k.first"}, types); diff != "" {
		t.Errorf("types (-want +got):\n%s", diff)
	}
}

func TestL259_TwoDeriversOfOneKindAreAMistake(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("a second deriver of the kind was taken")
		}
	}()
	NewRecorder(&fakeStore{}, &bell{}, Deriver{Kind: "k"}, Deriver{Kind: "k"})
}
