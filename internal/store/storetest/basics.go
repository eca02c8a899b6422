package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/store"
)

func testRollsBack(t *testing.T, s *suite) {
	refused := errors.New("refused")
	err := s.try(func(tx *store.Tx) error {
		if err := tx.InsertSatellite(s.ctx(), fleet.Satellite{ID: "a", Name: "a"}, "h"); err != nil {
			return err
		}
		return refused
	})
	if !errors.Is(err, refused) {
		t.Errorf("error is %v, want the function's own", err)
	}
	_, err = s.db.Satellite(s.ctx(), "a")
	s.fails(err, fault.NotFound)
}

func testCancelled(t *testing.T, s *suite) {
	gone := errors.New("the caller is gone")
	ctx, cancel := context.WithCancelCause(s.ctx())
	cancel(gone)
	ran := false
	err := s.db.InTx(ctx, func(entity.Tx) error {
		ran = true
		return nil
	})
	if !errors.Is(err, gone) || ran {
		t.Errorf("error is %v and the function ran: %t", err, ran)
	}
	if _, err := s.db.Satellite(ctx, "a"); !errors.Is(err, gone) {
		t.Errorf("reading gave %v", err)
	}
}

func testClock(t *testing.T, s *suite) {
	s.tx(func(tx *store.Tx) error {
		first := must(tx.Now(s.ctx()))(s)
		second := must(tx.Now(s.ctx()))(s)
		s.same(first, second)
		if first.Location() != time.UTC || first.Nanosecond()%1000 != 0 {
			t.Errorf("the clock says %v, want UTC microseconds", first)
		}
		return nil
	})
}

func testTokens(_ *testing.T, s *suite) {
	_, err := s.db.TokenByDigest(s.ctx(), "d")
	s.fails(err, fault.NotFound)
	s.same(0, must(s.db.CountTokens(s.ctx()))(s))

	token := auth.Token{ID: newID(), Name: "admin", Digest: "d", CreatedAt: s.now()}
	s.ok(s.db.InsertToken(s.ctx(), token))
	s.same(token, must(s.db.TokenByDigest(s.ctx(), "d"))(s))
	s.fails(s.db.InsertToken(s.ctx(), auth.Token{ID: newID(), Name: "again", Digest: "d"}), fault.Conflict, "token")
	s.ok(s.db.InsertToken(s.ctx(), auth.Token{ID: newID(), Name: "admin", Digest: "e"}))
	s.same(2, must(s.db.CountTokens(s.ctx()))(s))
}

func testReplaceToken(_ *testing.T, s *suite) {
	first := auth.Token{ID: newID(), Name: "first", Digest: "f", CreatedAt: s.now()}
	s.ok(s.db.InsertToken(s.ctx(), first))
	old := auth.Token{ID: newID(), Name: "admin", Digest: "old", CreatedAt: s.now()}
	s.ok(s.db.ReplaceToken(s.ctx(), old))
	s.same(old, must(s.db.TokenByDigest(s.ctx(), "old"))(s))

	changed := auth.Token{ID: newID(), Name: "admin", Digest: "new", CreatedAt: s.now()}
	s.ok(s.db.ReplaceToken(s.ctx(), changed))
	_, err := s.db.TokenByDigest(s.ctx(), "old")
	s.fails(err, fault.NotFound)
	s.same(changed, must(s.db.TokenByDigest(s.ctx(), "new"))(s))
	s.same(first, must(s.db.TokenByDigest(s.ctx(), "f"))(s)) // of another name

	// A token that is known stays what it was, apart from its name.
	again := changed
	again.ID = newID()
	s.ok(s.db.ReplaceToken(s.ctx(), again))
	s.same(changed, must(s.db.TokenByDigest(s.ctx(), "new"))(s))
	s.ok(s.db.ReplaceToken(s.ctx(), auth.Token{ID: newID(), Name: "admin", Digest: "f", CreatedAt: s.now()}))
	first.Name = "admin"
	s.same(first, must(s.db.TokenByDigest(s.ctx(), "f"))(s))
	s.same(1, must(s.db.CountTokens(s.ctx()))(s))
}
