package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/perigee-monitoring/perigee/internal/auth"
)

// NewAPIToken is the body of POST /tokens.
type NewAPIToken struct {
	Name      string     `json:"name" maxLength:"63" doc:"Unique; what it is for."`
	Role      auth.Role  `json:"role" enum:"viewer,operator,admin" doc:"What its holder may do: no more than you, and never more than you at the time."`
	ExpiresAt *time.Time `json:"expiresAt,omitempty" nullable:"true" doc:"Null is never."`
}

// APITokenText is a token and its text, which is shown this once.
type APITokenText struct {
	Token auth.Token `json:"token"`
	Text  string     `json:"text"`
}

func (a *API) addTokens() {
	route(a, http.MethodGet, "/tokens", "list-tokens", "List API tokens by name: yours, or all for an administrator", func(ctx context.Context, in *Paging) (*answer[List[auth.Token]], error) {
		all, err := a.Accounts.ListTokens(ctx, auth.From(ctx))
		return paged(all, *in, func(t auth.Token) string { return t.Name }, err)
	})
	route(a, http.MethodPost, "/tokens", "create-token", "Make an API token; its text is shown this once", func(ctx context.Context, in *struct{ Body NewAPIToken }) (*created[APITokenText], error) {
		t, text, err := a.Accounts.CreateToken(ctx, auth.From(ctx), auth.NewAPIToken{Name: in.Body.Name, Role: in.Body.Role, ExpiresAt: in.Body.ExpiresAt})
		return made("/tokens/"+t.ID, APITokenText{t, text}, err)
	}, status(http.StatusCreated))
	route(a, http.MethodDelete, "/tokens/{id}", "revoke-token", "Revoke an API token; it ends at once, with the sessions that it opened", func(ctx context.Context, in *Ref) (*struct{}, error) {
		_, err := a.Accounts.RevokeToken(ctx, auth.From(ctx), in.ID)
		return nil, err
	}, status(http.StatusNoContent))
}
