package auth

import (
	"context"
	"fmt"
	"sync"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// maxProven bounds the digests that are remembered as right; beyond it all are
// forgotten and proven anew.
const maxProven = 1024

// Authenticator tells who holds a token or a session.
type Authenticator struct {
	store    Store
	failures failures
	sessions sessions

	mu sync.Mutex
	// proven are digests that were right once. They are still looked up every time;
	// what they are spared is the limit, so that a stranger behind the same address
	// cannot lock out those who hold a token.
	proven map[string]struct{}
}

// New makes an authenticator.
func New(store Store) *Authenticator {
	return &Authenticator{store: store, proven: map[string]struct{}{}}
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
		return Principal{}, fault.New(fault.TooMany, "too many failed attempts from this address; try again later")
	}
	p, err := a.holder(ctx, digest)
	switch {
	case err == nil:
		a.prove(digest)
	case fault.Is(err, fault.Unauthenticated):
		a.failures.note(from)
	}
	return p, err
}

// holder looks the digest up, which costs the same for each.
func (a *Authenticator) holder(ctx context.Context, digest string) (Principal, error) {
	t, err := a.store.TokenByDigest(ctx, digest)
	if fault.Is(err, fault.NotFound) {
		return Principal{}, fault.New(fault.Unauthenticated, "the token is not valid")
	}
	if err != nil {
		return Principal{}, fmt.Errorf("looking up an API token: %w", err)
	}
	return Principal{TokenID: t.ID, Name: t.Name}, nil
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
