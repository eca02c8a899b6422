package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/secret"
	"github.com/perigee-monitoring/perigee/internal/store"
)

func (s *suite) secret(name string) secret.Record {
	s.t.Helper()
	r := secret.Record{ID: newID(), Name: name, Description: "of " + name, Version: 1, Sealed: "c2VhbGVk", KeyID: "k1", UpdatedAt: s.now(), UpdatedBy: "ada"}
	s.putSecret(r)
	return r
}

func (s *suite) putSecret(r secret.Record) {
	s.t.Helper()
	s.tx(func(tx *store.Tx) error { return tx.PutSecret(s.ctx(), r) })
}

func testSecrets(_ *testing.T, s *suite) {
	s.same([]secret.Record{}, must(s.db.Secrets(s.ctx()))(s), cmpopts.EquateEmpty())
	zeta, alpha := s.secret("zeta"), s.secret("alpha")
	external := secret.Record{ID: newID(), Name: "of-vault", Version: 1, External: "kv/shop#token", UpdatedAt: s.now(), UpdatedBy: "grace"}
	s.putSecret(external)
	s.same([]secret.Record{alpha, external, zeta}, must(s.db.Secrets(s.ctx()))(s))
	s.tx(func(tx *store.Tx) error {
		s.same([]secret.Record{alpha, external, zeta}, must(tx.SecretRecords(s.ctx()))(s))
		return nil
	})
	s.same(map[string]secret.Record{"alpha": alpha, "of-vault": external}, must(s.db.SecretsNamed(s.ctx(), []string{"of-vault", "alpha", "unknown"}))(s))
	s.same(map[string]secret.Record{}, must(s.db.SecretsNamed(s.ctx(), nil))(s))

	// Everything about it changes but its name.
	alpha.Description, alpha.Version, alpha.Sealed, alpha.KeyID, alpha.UpdatedAt, alpha.UpdatedBy = "another", 2, "YW5vdGhlcg==", "k2", s.now(), "grace"
	s.putSecret(alpha)
	s.same([]secret.Record{alpha, external, zeta}, must(s.db.Secrets(s.ctx()))(s))
	taken := zeta
	taken.ID = newID()
	s.fails(s.try(func(tx *store.Tx) error { return tx.PutSecret(s.ctx(), taken) }), fault.Conflict, "zeta")

	s.tx(func(tx *store.Tx) error { return tx.DeleteSecret(s.ctx(), zeta.ID) })
	s.fails(s.try(func(tx *store.Tx) error { return tx.DeleteSecret(s.ctx(), zeta.ID) }), fault.NotFound)
	s.same([]secret.Record{alpha, external}, must(s.db.Secrets(s.ctx()))(s))
	s.putSecret(taken) // the name is free again
}

// testSecretsLock: who counts versions under the lock counts them one by one.
func testSecretsLock(_ *testing.T, s *suite) {
	made := s.secret("counted")
	s.atOnce(10, func() error {
		return s.try(func(tx *store.Tx) error {
			if err := tx.LockSecrets(s.ctx()); err != nil {
				return err
			}
			all, err := tx.SecretRecords(s.ctx())
			if err != nil {
				return err
			}
			all[0].Version++
			return tx.PutSecret(s.ctx(), all[0])
		})
	})
	s.same(made.Version+10, must(s.db.Secrets(s.ctx()))(s)[0].Version)
}

func testSecretKeyset(_ *testing.T, s *suite) {
	s.same("", must(s.db.SecretKeyset(s.ctx()))(s))
	for _, wrapped := range []string{"first", "second"} {
		s.tx(func(tx *store.Tx) error { return tx.PutSecretKeyset(s.ctx(), wrapped) })
		s.same(wrapped, must(s.db.SecretKeyset(s.ctx()))(s))
	}
	broken := errors.New("broken")
	err := s.try(func(tx *store.Tx) error {
		s.same("second", must(tx.SecretKeysetForUpdate(s.ctx()))(s))
		return errors.Join(tx.PutSecretKeyset(s.ctx(), "third"), broken)
	})
	if !errors.Is(err, broken) {
		s.t.Errorf("got %v", err)
	}
	s.same("second", must(s.db.SecretKeyset(s.ctx()))(s))
}

func testSecretLeases(_ *testing.T, s *suite) {
	now := s.now()
	s.ok(s.db.InsertSecretLeases(s.ctx(), nil))
	var leases []secret.Lease
	for i := range 7 {
		leases = append(leases, secret.Lease{
			SatelliteID: fmt.Sprint("sat-", i%2), CheckID: fmt.Sprint("check-", i%3), Collector: "e1", RunID: fmt.Sprint("run-", i),
			Names: []string{"a@1", "b@2"}, Allowed: i != 4, Sealed: i > 2, Reason: "why", At: now.Add(time.Duration(i-6) * time.Minute),
		})
	}
	leases[5].Names, leases[5].Collector = []string{}, ""
	// What a satellite calls its run may be anything, and must not keep others from being written.
	leases[6].RunID, leases[6].Reason = "a\x00b\xff", "c\x00"
	s.ok(s.db.InsertSecretLeases(s.ctx(), leases))
	leases[6].RunID, leases[6].Reason = "a\uFFFDb\uFFFD", "c\uFFFD"
	slices.Reverse(leases) // newest first

	withoutID := cmpopts.IgnoreFields(secret.Lease{}, "ID")
	got := must(s.db.SecretLeases(s.ctx(), secret.LeaseFilter{}, 0, 100))(s)
	s.same(leases, got, withoutID)
	find := func(f secret.LeaseFilter, want ...secret.Lease) {
		s.t.Helper()
		s.same(want, must(s.db.SecretLeases(s.ctx(), f, 0, 100))(s), withoutID, cmpopts.EquateEmpty())
	}
	find(secret.LeaseFilter{SatelliteID: "sat-1"}, leases[1], leases[3], leases[5])
	find(secret.LeaseFilter{CheckID: "check-0"}, leases[0], leases[3], leases[6])
	find(secret.LeaseFilter{SatelliteID: "sat-1", CheckID: "check-0"}, leases[3])
	find(secret.LeaseFilter{Refused: true}, leases[2])
	find(secret.LeaseFilter{SatelliteID: "unknown"})

	// Page by page, and again while more come.
	first := must(s.db.SecretLeases(s.ctx(), secret.LeaseFilter{}, 0, 3))(s)
	s.ok(s.db.InsertSecretLeases(s.ctx(), leases[:1]))
	second := must(s.db.SecretLeases(s.ctx(), secret.LeaseFilter{}, first[2].ID, 100))(s)
	s.same(got, append(first, second...))

	// What is older than its time goes.
	s.tx(func(tx *store.Tx) error { return tx.PurgeSecrets(s.ctx(), time.Unix(0, 0), now.Add(-3*time.Minute)) })
	s.same(got[:4], must(s.db.SecretLeases(s.ctx(), secret.LeaseFilter{}, got[0].ID+1, 100))(s))
}
