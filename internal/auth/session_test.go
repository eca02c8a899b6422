package auth_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

func TestASessionStandsForItsToken(t *testing.T) {
	t.Parallel()
	a, m := holding(t)
	id, opened, err := a.SignIn(t.Context(), "192.0.2.1:1", auth.Credentials{Token: right})
	if err != nil || id == "" || id == right {
		t.Fatalf("session %q, %v", id, err)
	}
	if p, err := a.Session(t.Context(), id); err != nil || p != opened || p.Name != "admin" {
		t.Errorf("holder = %+v, %v, want %+v", p, err, opened)
	}
	if _, _, err := a.SignIn(t.Context(), "192.0.2.1:1", auth.Credentials{Token: "a-wrong-token"}); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("a wrong token opens a session: %v", err)
	}
	if _, err := a.Session(t.Context(), "another"); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("an unknown session: %v", err)
	}
	m.revoke(right)
	if _, err := a.Session(t.Context(), id); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("the session outlives its token: %v", err)
	}
	if _, err := a.Token(t.Context(), "192.0.2.1:1", right); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("a revoked token: %v", err)
	}
}

func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, _ := holding(t)
		open := func() string {
			id, _, err := a.SignIn(t.Context(), "192.0.2.1:1", auth.Credentials{Token: right})
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
		closed, old := open(), open()
		for range 2 {
			if err := a.CloseSession(t.Context(), closed); err != nil {
				t.Error(err)
			}
		}
		if _, err := a.Session(t.Context(), closed); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("after its end: %v", err)
		}
		time.Sleep(auth.SessionAge - time.Second)
		if _, err := a.Session(t.Context(), old); err != nil {
			t.Errorf("a second before its age: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := a.Session(t.Context(), old); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("at its age: %v", err)
		}
	})
}

// While the database is away nobody is told that their token is wrong, and nobody
// is counted as guessing.
func TestTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, m := holding(t)
		id, _, err := a.SignIn(t.Context(), "192.0.2.1:1", auth.Credentials{Token: right})
		if err != nil {
			t.Fatal(err)
		}
		m.fail(fault.Wrap(fault.Unavailable, errors.New("dialing"), "the database is away"))
		for range 50 {
			if _, err := a.Token(t.Context(), "192.0.2.1:1", "some-token"); !fault.Is(err, fault.Unavailable) {
				t.Fatalf("a token: %v", err)
			}
		}
		if _, err := a.Session(t.Context(), id); !fault.Is(err, fault.Unavailable) {
			t.Errorf("a session: %v", err)
		}
		m.fail(nil)
		if _, err := a.Session(t.Context(), id); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		if n := guess(t, a, "192.0.2.1:1", 1); n != 1 {
			t.Error("attempts while it was away were counted")
		}
	})
}

func TestNoTokenIsNoGuess(t *testing.T) {
	t.Parallel()
	a, _ := holding(t)
	for range 50 {
		if _, err := a.Token(t.Context(), "192.0.2.1:1", ""); !fault.Is(err, fault.Unauthenticated) {
			t.Fatalf("no token: %v", err)
		}
	}
	if n := guess(t, a, "192.0.2.1:1", 1); n != 1 {
		t.Error("requests without a token were counted as guesses")
	}
}

func TestThePrincipalOfAContext(t *testing.T) {
	t.Parallel()
	if p := auth.From(t.Context()); p != (auth.Principal{}) {
		t.Errorf("of nobody: %+v", p)
	}
	want := auth.Principal{TokenID: "1", Name: "admin"}
	if got := auth.From(auth.With(t.Context(), want)); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
