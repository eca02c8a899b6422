package auth

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

// SessionAge is how long a session lasts, and maxSessions how many there are; the
// oldest ends when one more begins.
const (
	SessionAge  = 12 * time.Hour
	maxSessions = 1000
)

// Session stands for a user, or for a token with which it was opened, so that a browser
// need not keep either. It is stored: every core knows it, and it goes with what it
// stands for.
type Session struct {
	Digest          string // of its id
	UserID, TokenID string // one of them
	CreatedAt       time.Time
	ExpiresAt       time.Time
}

// Credentials are what somebody signs in with: a token, or a name and a password.
type Credentials struct {
	Token          string
	Name, Password string
}

// SignIn opens a session. Faults: Unauthenticated; TooMany after too many failed
// attempts from there; Unavailable when the database is away.
func (a *Authenticator) SignIn(ctx context.Context, remote string, c Credentials) (id string, p Principal, err error) {
	if c.Token != "" || c.Name == "" {
		if p, err = a.Token(ctx, remote, c.Token); err != nil {
			return "", Principal{}, err
		}
		id, err = a.open(ctx, Session{TokenID: p.TokenID})
		return id, p, err
	}
	from := network(remote)
	if a.failures.exhausted(from) {
		return "", Principal{}, tooMany()
	}
	account, err := a.byPassword(ctx, c)
	if fault.Is(err, fault.Unauthenticated) {
		a.failures.note(from)
	}
	if err != nil {
		return "", Principal{}, err
	}
	id, err = a.open(ctx, Session{UserID: account.ID})
	return id, principal(account.User), err
}

// byPassword finds whose name and password they are. Who is unknown, disabled or wrong
// is told the same, after the same time.
func (a *Authenticator) byPassword(ctx context.Context, c Credentials) (Account, error) {
	account, err := a.store.UserByName(ctx, strings.ToLower(strings.TrimSpace(c.Name)))
	if err != nil && !fault.Is(err, fault.NotFound) {
		return Account{}, fmt.Errorf("looking up a user: %w", err)
	}
	if len(c.Password) > maxPassword {
		c.Password = ""
	}
	right, err := a.accounts.passwords.right(ctx, account.Password, c.Password)
	if err != nil {
		return Account{}, err
	}
	if !right || account.Disabled {
		return Account{}, fault.New(fault.Unauthenticated, "the name or the password is not right")
	}
	return account, nil
}

// SetUp makes the first administrator by the code that the core printed, and signs them
// in. Faults: Unauthenticated, TooMany, Conflict, Invalid, Unavailable.
func (a *Authenticator) SetUp(ctx context.Context, remote, code string, n NewUser) (id string, p Principal, err error) {
	from := network(remote)
	if a.failures.exhausted(from) {
		return "", Principal{}, tooMany()
	}
	made, err := a.accounts.setup(ctx, code, n)
	if fault.Is(err, fault.Unauthenticated) {
		a.failures.note(from)
	}
	if err != nil {
		return "", Principal{}, err
	}
	id, err = a.open(ctx, Session{UserID: made.ID})
	return id, principal(made), err
}

func tooMany() error {
	return fault.New(fault.TooMany, "too many failed attempts from this address; try again later")
}

func principal(u User) Principal { return Principal{UserID: u.ID, Name: u.Name, Role: u.Role} }

// open stores a session and gives its id.
func (a *Authenticator) open(ctx context.Context, s Session) (id string, err error) {
	id = rand.Text()
	s.Digest, s.CreatedAt = Digest(id), time.Now().UTC()
	s.ExpiresAt = s.CreatedAt.Add(SessionAge)
	err = a.store.InTx(ctx, inAuth(func(tx Tx) error { return tx.InsertSession(ctx, s, maxSessions) }))
	if err != nil {
		return "", fmt.Errorf("opening a session: %w", err)
	}
	return id, nil
}

// inAuth is fn as the store's transactions take it.
func inAuth(fn func(Tx) error) func(entity.Tx) error {
	return func(tx entity.Tx) error { return fn(tx.(Tx)) } //nolint:errcheck // the store's
}

// Session tells who opened the session. The user or token is looked up each time, so a
// session does not outlive it. Faults: Unauthenticated, Unavailable.
func (a *Authenticator) Session(ctx context.Context, id string) (Principal, error) {
	ended := fault.New(fault.Unauthenticated, "the session has ended; sign in again")
	s, err := a.store.SessionByDigest(ctx, Digest(id))
	if fault.Is(err, fault.NotFound) || err == nil && !time.Now().Before(s.ExpiresAt) {
		return Principal{}, ended
	}
	if err != nil {
		return Principal{}, fmt.Errorf("looking up a session: %w", err)
	}
	if s.TokenID != "" {
		return a.holder(ctx, func() (Token, error) { return a.store.Token(ctx, s.TokenID) })
	}
	account, err := a.store.User(ctx, s.UserID)
	if fault.Is(err, fault.NotFound) || err == nil && account.Disabled {
		return Principal{}, ended
	}
	if err != nil {
		return Principal{}, fmt.Errorf("looking up a user: %w", err)
	}
	return principal(account.User), nil
}

// CloseSession ends a session; an unknown one has ended already.
func (a *Authenticator) CloseSession(ctx context.Context, id string) error {
	return a.store.DeleteSession(ctx, Digest(id))
}
