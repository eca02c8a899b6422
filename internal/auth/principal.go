package auth

import (
	"context"

	"github.com/perigee-monitoring/perigee/internal/entity"
)

// Principal is who makes a request.
type Principal struct {
	TokenID string
	Name    string // of the token
}

// Actor is the principal as history names it.
func (p Principal) Actor() entity.Actor {
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
