package storetest

import (
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/store"
)

func (s *suite) setTokens(id string, t fleet.Tokens) {
	s.t.Helper()
	s.tx(func(tx *store.Tx) error { return tx.SetTokens(s.ctx(), id, t) })
}

func testTwoTokens(_ *testing.T, s *suite) {
	sat, now := s.satellite("eu-1"), s.now()
	want := fleet.Tokens{
		Hash: "new", Version: 2, ExpiresAt: ptr(now.Add(time.Hour)),
		Previous: &fleet.PreviousToken{Hash: "$2a$10$old", Version: 1, ValidUntil: now.Add(time.Minute)},
	}
	s.setTokens(sat.ID, want)
	s.tx(func(tx *store.Tx) error {
		s.same(want, must(tx.Tokens(s.ctx(), sat.ID))(s))
		_, err := tx.Tokens(s.ctx(), "unknown")
		s.fails(err, fault.NotFound)
		return nil
	})
	got := must(s.db.Credentials(s.ctx(), []string{sat.ID}))(s)[sat.ID]
	s.same(want, got.Tokens)
	if got.At.Before(now) || got.Satellite.ID != sat.ID {
		s.t.Errorf("read at %v, before %v; satellite %q", got.At, now, got.Satellite.ID)
	}
	s.same(1, must(s.db.BcryptRows(s.ctx()))(s))

	r := must(s.db.Revisions(s.ctx(), []string{sat.ID}))(s)[sat.ID]
	if left, err := r.Holds(2); err != nil || left > time.Hour || left < 50*time.Minute {
		s.t.Errorf("the current token holds for %s, %v", left, err)
	}
	if left, err := r.Holds(1); err != nil || left > time.Minute || left <= 0 {
		s.t.Errorf("the previous token holds for %s, %v", left, err)
	}
	shown := must(s.db.Satellite(s.ctx(), sat.ID))(s)
	s.same(want.ExpiresAt, shown.TokenExpiresAt)
	s.same(&want.Previous.ValidUntil, shown.PreviousTokenValidUntil)

	s.tx(func(tx *store.Tx) error { return tx.UpgradeTokenHash(s.ctx(), sat.ID, "$2a$10$old", "sha256:old") })
	want.Previous.Hash = "sha256:old"
	s.same(want, must(s.db.Credentials(s.ctx(), []string{sat.ID}))(s)[sat.ID].Tokens)

	// Both are over.
	want.ExpiresAt, want.Previous.ValidUntil = ptr(now.Add(-time.Second)), now.Add(-time.Minute)
	s.setTokens(sat.ID, want)
	r = must(s.db.Revisions(s.ctx(), []string{sat.ID}))(s)[sat.ID]
	if left, err := r.Holds(2); err != fleet.ErrExpired {
		s.t.Errorf("an expired token holds for %s, %v", left, err)
	}
	if left, err := r.Holds(1); err != fleet.ErrReplaced {
		s.t.Errorf("a token whose overlap is over holds for %s, %v", left, err)
	}
	if shown := must(s.db.Satellite(s.ctx(), sat.ID))(s); shown.PreviousTokenValidUntil != nil {
		s.t.Errorf("an overlap that is over is shown until %v", shown.PreviousTokenValidUntil)
	}

	want.Previous = nil
	s.setTokens(sat.ID, want)
	s.same(want, must(s.db.Credentials(s.ctx(), []string{sat.ID}))(s)[sat.ID].Tokens)
}

// testTokenUse: opening a session is a use of the token that opens it.
func testTokenUse(_ *testing.T, s *suite) {
	sat, now := s.satellite("eu-1"), s.now()
	open := func(epoch, credential int64, at time.Time, opened bool, event fleet.Edge) {
		s.tx(func(tx *store.Tx) error {
			return tx.WriteConnections(s.ctx(), []fleet.Connection{{
				SatelliteID: sat.ID, Epoch: epoch, LastEvent: event, LastHeartbeatAt: &at, Credential: credential, Opened: opened,
			}})
		})
	}
	shown := func(used *time.Time, previousInUse bool) {
		s.t.Helper()
		got := must(s.db.Satellite(s.ctx(), sat.ID))(s)
		s.same(used, got.TokenLastUsedAt)
		s.same(previousInUse, got.PreviousTokenInUse)
	}
	shown(nil, false)
	open(1, 1, now, true, fleet.Connected)
	shown(&now, false)
	s.same(int64(1), s.locked(sat.ID)[sat.ID].Credential)

	overlap := fleet.Tokens{Hash: "new", Version: 2, Previous: &fleet.PreviousToken{Hash: "old", Version: 1, ValidUntil: now.Add(time.Hour)}}
	s.setTokens(sat.ID, overlap)
	shown(nil, true)
	open(2, 1, now.Add(time.Second), true, fleet.Connected) // it came back with the old one
	shown(nil, true)
	later := now.Add(2 * time.Second)
	open(3, 2, later, true, fleet.Connected)
	shown(&later, false)
	open(3, 2, now.Add(time.Minute), false, fleet.Connected) // no session was opened
	shown(&later, false)
	open(4, 1, now, true, fleet.Connected)
	shown(&later, true)
	open(4, 1, now, false, fleet.Disconnected)
	shown(&later, false)
}

func testExpiring(_ *testing.T, s *suite) {
	soon, later, never, now := s.satellite("soon"), s.satellite("later"), s.satellite("never"), s.now()
	s.setTokens(soon.ID, fleet.Tokens{Hash: "a", Version: 2, ExpiresAt: ptr(now.Add(time.Hour))})
	s.setTokens(later.ID, fleet.Tokens{Hash: "b", Version: 2, ExpiresAt: ptr(now.Add(30 * 24 * time.Hour))})
	find := func(want ...string) {
		s.t.Helper()
		found := []string{}
		s.tx(func(tx *store.Tx) (err error) {
			found, err = tx.MarkExpiring(s.ctx(), 7*24*time.Hour)
			return err
		})
		s.same(append([]string{}, want...), found)
	}
	find(soon.ID)
	find()
	s.setTokens(soon.ID, fleet.Tokens{Hash: "c", Version: 3, ExpiresAt: ptr(now.Add(2 * time.Hour))})
	find(soon.ID)
	find()
	s.tx(func(tx *store.Tx) error { return tx.DeleteSatellite(s.ctx(), never.ID) })
}
