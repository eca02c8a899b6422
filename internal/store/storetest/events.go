package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/store"
)

func testTransitions(_ *testing.T, s *suite) {
	at := s.now()
	var want []entity.Transition
	for i := range 7 {
		t := entity.Transition{Kind: "health", EntityID: "a", Field: name(i), To: "b\uFFFD", At: at, ChangeID: newID()}
		if i > 0 {
			t.From = ptr("a")
		}
		t.Actor = entity.System
		if i%2 > 0 {
			t.Actor = entity.Actor{Type: "user", ID: "u1", Name: "Ada"}
		}
		want = append(want, t)
	}
	written := slices.Clone(want)
	for i := range written {
		written[i].To = "b\x00"
	}
	s.tx(func(tx *store.Tx) error {
		return tx.AppendTransitions(s.ctx(), append(written,
			entity.Transition{Kind: "health", EntityID: "b", Field: "other"}, entity.Transition{Kind: "other", EntityID: "a", Field: "other"}))
	})
	slices.Reverse(want)
	s.same(want, pages(s, 3, func(int) {}, func(p fleet.Page) ([]entity.Transition, string, error) {
		return s.db.Transitions(s.ctx(), "health", "a", p)
	}))
}

func newEvent(id string) entity.Event {
	return entity.Event{
		Type: "t", Kind: "k", EntityID: id, ChangeID: newID(), Changed: []string{"status"},
		Prev: []byte(`null`), Next: []byte(`{"status":"online"}`), Payload: []byte(`{"id":1}`), Actor: entity.Actor{Type: "user", ID: "1", Name: "n"},
	}
}

func testEvents(_ *testing.T, s *suite) {
	s.same(int64(0), must(s.db.LastEvent(s.ctx()))(s))
	want := []entity.Event{newEvent("a"), newEvent("b"), newEvent("c")}
	at := s.now()
	for i := range want {
		want[i].At = at
	}
	s.tx(func(tx *store.Tx) error {
		s.ok(tx.AppendEvents(s.ctx(), want[:1]))
		return tx.AppendEvents(s.ctx(), want[1:])
	})
	for i := range want[1:] {
		if want[i].Seq < 1 || want[i+1].Seq <= want[i].Seq {
			s.t.Errorf("events are numbered %d, then %d", want[i].Seq, want[i+1].Seq)
		}
	}
	s.same(want, must(s.db.Events(s.ctx(), 0, 10))(s))
	s.same(want[:2], must(s.db.Events(s.ctx(), 0, 2))(s))
	s.same(want[2:], must(s.db.Events(s.ctx(), want[1].Seq, 10))(s))
	s.same(want[2].Seq, must(s.db.LastEvent(s.ctx()))(s))

	other := []entity.Event{newEvent("d")}
	other[0].Kind, other[0].Type, other[0].At = "core", "core.blind", at
	s.tx(func(tx *store.Tx) error { return tx.AppendEvents(s.ctx(), other) })
	of := func(f entity.EventFilter, n int) []entity.Event { return must(s.db.EventsOf(s.ctx(), f, n))(s) }
	s.same(append(slices.Clone(want), other...), of(entity.EventFilter{}, 10))
	s.same(want[:2], of(entity.EventFilter{Kinds: []string{want[0].Kind}}, 2))
	s.same(want[1:], of(entity.EventFilter{Kinds: []string{want[0].Kind}, Newest: true}, 2))
	s.same(other, of(entity.EventFilter{Kinds: []string{"core"}, Type: "core.blind", Newest: true}, 10))
	s.same(append(slices.Clone(want[2:]), other...), of(entity.EventFilter{Kinds: []string{"core", want[0].Kind}, Newest: true}, 2))
	s.same(0, len(of(entity.EventFilter{Type: "core.blind", After: other[0].Seq}, 10)))
}

// A reader that asks for what is after the last it has seen must see everything,
// whatever writers do at the same time.
func testEventOrder(t *testing.T, s *suite) {
	const writers, each = 8, 25
	var group errgroup.Group
	for i := range writers {
		group.Go(func() error {
			for k := range each {
				events := []entity.Event{newEvent(fmt.Sprint(i, "-", k, "-0")), newEvent(fmt.Sprint(i, "-", k, "-1"))}
				if err := s.try(func(tx *store.Tx) error { return tx.AppendEvents(s.ctx(), events) }); err != nil {
					return err
				}
			}
			return nil
		})
	}
	seen := map[string]bool{}
	last, done := int64(0), false
	written := make(chan error, 1)
	go func() { written <- group.Wait() }()
	for {
		events := must(s.db.Events(s.ctx(), last, 50))(s)
		for _, e := range events {
			seen[e.EntityID] = true
			last = e.Seq
		}
		if done && len(events) == 0 {
			break
		}
		select {
		case err := <-written:
			s.ok(err)
			done = true
		default:
		}
	}
	if len(seen) != 2*writers*each {
		t.Errorf("%d events were seen of %d", len(seen), 2*writers*each)
	}
}

func testPurgeTransitions(t *testing.T, s *suite) {
	now := s.now()
	rows := make([]entity.Transition, 12_000)
	for i := range rows {
		rows[i] = entity.Transition{Kind: "health", EntityID: "a", Field: "f", To: "v", At: now.Add(-time.Hour), ChangeID: "c"}
		if i >= 11_990 {
			rows[i].At = now
		}
	}
	s.tx(func(tx *store.Tx) error { return tx.AppendTransitions(s.ctx(), rows) })
	gone, err := s.db.PurgeTransitions(s.ctx(), now.Add(-time.Minute))
	if err != nil || gone != 11_990 {
		t.Errorf("%d are gone, %v", gone, err)
	}
	left, _, err := s.db.Transitions(s.ctx(), "health", "a", fleet.Page{Limit: 100})
	if err != nil || len(left) != 10 {
		t.Errorf("%d are left, %v", len(left), err)
	}
}
