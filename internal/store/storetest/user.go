package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/diff"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/store"
)

func (s *suite) user(name string) auth.Account {
	s.t.Helper()
	a := auth.Account{User: auth.User{ID: newID(), Name: name, Role: auth.Operator, CreatedAt: s.now(), UpdatedAt: s.now()}, Password: "digest of " + name}
	s.tx(func(tx *store.Tx) error { return tx.PutAccount(s.ctx(), a) })
	return a
}

func testUsers(_ *testing.T, s *suite) {
	s.same([]auth.Account{}, must(s.db.Users(s.ctx()))(s))
	zoe, ada := s.user("zoe"), s.user("ada")
	s.same([]auth.Account{ada, zoe}, must(s.db.Users(s.ctx()))(s))
	s.same(ada, must(s.db.User(s.ctx(), ada.ID))(s))
	s.same(ada, must(s.db.UserByName(s.ctx(), "ada"))(s))
	for _, unknown := range []string{"bob", "a\x00b\xff"} {
		_, err := s.db.UserByName(s.ctx(), unknown)
		s.fails(err, fault.NotFound)
	}

	ada.Role, ada.Disabled, ada.Password, ada.UpdatedAt = auth.Admin, true, "another", s.now()
	s.tx(func(tx *store.Tx) error { return tx.PutAccount(s.ctx(), ada) })
	s.same(ada, must(s.db.User(s.ctx(), ada.ID))(s))
	twin := zoe
	twin.ID = newID()
	s.fails(s.try(func(tx *store.Tx) error { return tx.PutAccount(s.ctx(), twin) }), fault.Conflict, "zoe", "user")

	s.tx(func(tx *store.Tx) error { return tx.DeleteAccount(s.ctx(), zoe.ID) })
	s.fails(s.try(func(tx *store.Tx) error { return tx.DeleteAccount(s.ctx(), zoe.ID) }), fault.NotFound)
	s.same([]auth.Account{ada}, must(s.db.Users(s.ctx()))(s))
}

// testTokensOfUsers: a token knows its owner, and goes with them.
func testTokensOfUsers(_ *testing.T, s *suite) {
	ada := s.user("ada")
	at := s.now().Add(time.Hour)
	token := auth.Token{ID: newID(), Name: "deploy", Role: auth.Viewer, Digest: "d", UserID: ada.ID, Owner: "ada", CreatedAt: s.now(), CreatedBy: "ada", ExpiresAt: &at}
	s.tx(func(tx *store.Tx) error { return tx.InsertAPIToken(s.ctx(), token) })
	s.same(token, must(s.db.TokenByDigest(s.ctx(), "d"))(s))
	s.same(token, must(s.db.Token(s.ctx(), token.ID))(s))

	used := s.now()
	s.ok(s.db.NoteTokenUse(s.ctx(), token.ID, used))
	token.LastUsedAt = &used
	nobodys := auth.Token{ID: newID(), Name: "admin", Role: auth.Admin, Digest: "e", CreatedAt: s.now()}
	s.ok(s.db.InsertToken(s.ctx(), nobodys))
	s.same([]auth.Token{nobodys, token}, must(s.db.Tokens(s.ctx()))(s))

	// The core's own token of a name takes the place of its like, not of a user's.
	theirs := auth.Token{ID: newID(), Name: "admin", Role: auth.Viewer, Digest: "f", UserID: ada.ID, Owner: "ada", CreatedAt: s.now()}
	s.ok(s.db.InsertToken(s.ctx(), theirs))
	s.ok(s.db.ReplaceToken(s.ctx(), auth.Token{ID: newID(), Name: "admin", Role: auth.Admin, Digest: "g", CreatedAt: s.now()}))
	s.same(3, must(s.db.CountTokens(s.ctx()))(s))
	s.same(theirs, must(s.db.Token(s.ctx(), theirs.ID))(s))

	s.ok(s.db.DeleteToken(s.ctx(), theirs.ID))
	s.fails(s.db.DeleteToken(s.ctx(), theirs.ID), fault.NotFound)
	s.tx(func(tx *store.Tx) error { return tx.DeleteAccount(s.ctx(), ada.ID) })
	_, err := s.db.TokenByDigest(s.ctx(), "d")
	s.fails(err, fault.NotFound)
}

func testPageSessions(_ *testing.T, s *suite) {
	ada := s.user("ada")
	token := auth.Token{ID: newID(), Name: "t", Role: auth.Admin, Digest: "t", CreatedAt: s.now()}
	s.ok(s.db.InsertToken(s.ctx(), token))
	began := s.now()
	open := func(digest, user, token string, after time.Duration, keep int) auth.Session {
		session := auth.Session{Digest: digest, UserID: user, TokenID: token, CreatedAt: began.Add(after), ExpiresAt: began.Add(after + time.Hour)}
		s.tx(func(tx *store.Tx) error { return tx.InsertSession(s.ctx(), session, keep) })
		return session
	}
	is := func(want ...string) {
		s.t.Helper()
		var got []string
		for i := range 6 {
			digest := fmt.Sprint("s", i)
			if _, err := s.db.SessionByDigest(s.ctx(), digest); err == nil {
				got = append(got, digest)
			} else {
				s.fails(err, fault.NotFound)
			}
		}
		s.same(want, got)
	}
	first := open("s0", ada.ID, "", 0, 10)
	s.same(first, must(s.db.SessionByDigest(s.ctx(), "s0"))(s))
	s.same(began, *must(s.db.User(s.ctx(), ada.ID))(s).SignedInAt)
	open("s1", "", token.ID, time.Second, 10)
	open("s2", ada.ID, "", 2*time.Second, 2)
	is("s1", "s2") // the oldest of too many has ended
	s.ok(s.db.DeleteSession(s.ctx(), "s1"))
	s.ok(s.db.DeleteSession(s.ctx(), "s1"))
	open("s3", "", token.ID, 3*time.Second, 10)
	is("s2", "s3")
	s.ok(s.db.DeleteToken(s.ctx(), token.ID))
	is("s2") // a session goes with its token
	s.tx(func(tx *store.Tx) error { return tx.EndSessionsOf(s.ctx(), ada.ID) })
	is()
	open("s4", ada.ID, "", 0, 10)
	open("s5", ada.ID, "", time.Hour, 10)
	is("s5") // what has ended is forgotten
	s.tx(func(tx *store.Tx) error { return tx.DeleteAccount(s.ctx(), ada.ID) })
	is()
}

func testSetupCodes(_ *testing.T, s *suite) {
	codes := func() (all []string) {
		s.tx(func(tx *store.Tx) (err error) {
			all, err = tx.SetupCodes(s.ctx())
			slices.Sort(all)
			return err
		})
		return all
	}
	s.same([]string{}, codes(), cmpopts.EquateEmpty())
	at := s.now()
	for i, digest := range []string{"a", "b", "c"} {
		s.tx(func(tx *store.Tx) error {
			return tx.AddSetupCode(s.ctx(), digest, at.Add(time.Duration(i)*time.Second), 2)
		})
	}
	s.same([]string{"b", "c"}, codes())
	s.tx(func(tx *store.Tx) error { return tx.DeleteSetupCodes(s.ctx()) })
	s.same([]string{}, codes(), cmpopts.EquateEmpty())
}

func testAudit(_ *testing.T, s *suite) {
	at := s.now()
	entry := func(i int, actor, operation, object string, outcome auth.Outcome) auth.AuditEntry {
		return auth.AuditEntry{
			At: at.Add(time.Duration(i) * time.Minute), ActorType: "user", ActorID: "1", Actor: actor, Source: "192.0.2.1", Operation: operation, Object: object,
			ObjectID: "o", Change: "name", Changes: []diff.Field{{Path: "labels.env\x00", From: "a\x00b", To: []any{"c", true, nil}}}, Outcome: outcome, Status: 200 + i, Reason: "why", RequestID: "r", Missed: int64(i),
		}
	}
	entries := []auth.AuditEntry{
		entry(0, "ada", "create-system", "systems/shop", auth.Allowed),
		entry(1, "Grace", "delete-system", "systems/100%_shop", auth.Refused),
		entry(2, "ada", "delete-check", "checks/a\x00b", auth.Failed),
		entry(3, "ada", "sign-in", "session", auth.Allowed),
	}
	s.ok(s.db.InsertAudit(s.ctx(), entries))
	entries[2].Object = "checks/a\uFFFDb"
	find := func(f auth.AuditFilter, before int64, limit int, want ...int) []auth.AuditEntry {
		s.t.Helper()
		got := must(s.db.AuditEntries(s.ctx(), f, before, limit))(s)
		wanted := []auth.AuditEntry{}
		for _, i := range want {
			wanted = append(wanted, entries[i])
		}
		s.same(wanted, got, cmpopts.IgnoreFields(auth.AuditEntry{}, "ID"))
		return got
	}
	all := find(auth.AuditFilter{}, 0, 10, 3, 2, 1, 0)
	find(auth.AuditFilter{}, all[1].ID, 10, 1, 0)
	find(auth.AuditFilter{}, 0, 2, 3, 2)
	find(auth.AuditFilter{Actor: "GRA"}, 0, 10, 1)
	find(auth.AuditFilter{Operation: "delete"}, 0, 10, 2, 1)
	find(auth.AuditFilter{Object: "0%_"}, 0, 10, 1)
	find(auth.AuditFilter{Object: "%"}, 0, 10, 1) // no pattern
	find(auth.AuditFilter{Actor: "a", Outcome: auth.Allowed}, 0, 10, 3, 0)
	find(auth.AuditFilter{From: entries[1].At, To: entries[3].At}, 0, 10, 2, 1)
	s.same(int64(2), must(s.db.PurgeAudit(s.ctx(), entries[2].At))(s))
	find(auth.AuditFilter{}, 0, 10, 3, 2)
}

func testFacts(_ *testing.T, s *suite) {
	s.tx(func(tx *store.Tx) error {
		_, _, err := tx.Observe(s.ctx(), "core-1", time.Minute)
		return err
	})
	got := must(s.db.Facts(s.ctx()))(s)
	if got.Version == "" || got.Schema < 24 || got.SizeBytes < 10_000 || len(got.Cores) != 1 || got.Cores[0].ID != "core-1" {
		s.t.Errorf("facts = %+v", got)
	}
}
