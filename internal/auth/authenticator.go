package auth

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// maxProven bounds the digests that are remembered as right; beyond it all are
// forgotten and proven anew.
const maxProven = 1024

// usePrecision is how exactly it is known when a token was used last.
const usePrecision = time.Minute

// Authenticator tells who holds a token or a session.
type Authenticator struct {
	store    Store
	accounts *Accounts
	failures failures

	mu sync.Mutex
	// proven are digests that were right once. They are still looked up every time;
	// what they are spared is the limit, so that a stranger behind the same address
	// cannot lock out those who hold a token.
	proven map[string]struct{}
}

// New makes an authenticator of the accounts.
func New(accounts *Accounts) *Authenticator {
	return &Authenticator{store: accounts.store, accounts: accounts, proven: map[string]struct{}{}}
}

// Token tells who holds the token; remote is the address that the request came
// from, with or without a port. Faults: Unauthenticated; TooMany after too many
// failed attempts from there; Unavailable when the database is away.
func (a *Authenticator) Token(ctx context.Context, remote, token string) (Principal, error) {
	if token == "" {
		return Principal{}, fault.New(fault.Unauthenticated, "a token is needed")
	}
	from, digest := network(remote), Digest(token)
	if !a.isProven(digest) && a.failures.exhausted(from) {
		return Principal{}, tooMany()
	}
	p, err := a.holder(ctx, func() (Token, error) { return a.store.TokenByDigest(ctx, digest) })
	switch {
	case err == nil:
		a.prove(digest)
	case fault.Is(err, fault.Unauthenticated):
		a.failures.note(from)
	}
	return p, err
}

// holder looks the token up, which costs the same for each that is wrong.
func (a *Authenticator) holder(ctx context.Context, look func() (Token, error)) (Principal, error) {
	refused := fault.New(fault.Unauthenticated, "the token is not valid")
	t, err := look()
	if fault.Is(err, fault.NotFound) {
		return Principal{}, refused
	}
	if err != nil {
		return Principal{}, fmt.Errorf("looking up an API token: %w", err)
	}
	now := time.Now().UTC()
	if t.ExpiresAt != nil && !now.Before(*t.ExpiresAt) {
		return Principal{}, fault.New(fault.Unauthenticated, "the token has expired")
	}
	p := Principal{TokenID: t.ID, UserID: t.UserID, Name: t.Name, Role: t.Role}
	if t.ExpiresAt != nil {
		p.Ends = *t.ExpiresAt
	}
	if t.UserID != "" {
		owner, err := a.store.User(ctx, t.UserID)
		if fault.Is(err, fault.NotFound) || err == nil && owner.Disabled {
			return Principal{}, refused
		}
		if err != nil {
			return Principal{}, fmt.Errorf("looking up the owner of an API token: %w", err)
		}
		p.Role = lesser(t.Role, owner.Role)
	}
	if t.LastUsedAt == nil || now.Sub(*t.LastUsedAt) >= usePrecision {
		// Who holds it is let in all the same: the next use is noted.
		_ = a.store.NoteTokenUse(ctx, t.ID, now)
	}
	return p, nil
}

func (a *Authenticator) isProven(digest string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.proven[digest]
	return ok
}

func (a *Authenticator) prove(digest string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.proven) >= maxProven {
		clear(a.proven)
	}
	a.proven[digest] = struct{}{}
}
