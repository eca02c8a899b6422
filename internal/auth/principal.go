package auth

import (
	"context"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
)

// Principal is who makes a request: a user in a session, or the holder of a token.
type Principal struct {
	UserID  string // of a session that a password opened, or of the token's owner; "" for neither
	TokenID string // "" in a session that a password opened
	Name    string // of the user, or of the token
	Role    Role
	Ends    time.Time // of the token; zero is never
}

// Actor is the principal as history names it.
func (p Principal) Actor() entity.Actor {
	if p.TokenID == "" {
		return entity.Actor{Type: "user", ID: p.UserID, Name: p.Name}
	}
	return entity.Actor{Type: "application", ID: p.TokenID, Name: p.Name}
}

type principalKey struct{}

// With returns a context that carries the principal.
func With(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// From gives the principal of the context, the zero one outside of a request that
// was authenticated.
func From(ctx context.Context) Principal {
	p, _ := ctx.Value(principalKey{}).(Principal)
	return p
}
