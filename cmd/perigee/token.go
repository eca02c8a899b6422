package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

// TokenCmd is what can be done with API tokens.
type TokenCmd struct {
	Create TokenCreateCmd `cmd:"" help:"Make a token; it is shown once."`
	List   TokenListCmd   `cmd:"" help:"List tokens: yours, or all for an administrator."`
	Revoke TokenRevokeCmd `cmd:"" help:"End a token."`
}

// TokenCreateCmd makes a token.
type TokenCreateCmd struct {
	Name    string        `arg:"" help:"What it is for."`
	Role    string        `enum:"viewer,operator,admin" default:"viewer" placeholder:"ROLE" help:"What its holder may do: viewer, operator or admin (${default})."`
	Expires time.Duration `placeholder:"DURATION" help:"How long it is valid, such as 720h; for ever when left out."`
}

// Run makes it.
func (c *TokenCreateCmd) Run(ctx context.Context, a *app) error {
	body := httpapi.NewAPIToken{Name: c.Name, Role: auth.Role(c.Role)}
	if c.Expires < 0 {
		return usage("", "--expires must be more than nothing, such as 720h")
	}
	if c.Expires > 0 {
		at := a.now().Add(c.Expires).UTC()
		body.ExpiresAt = &at
	}
	var made httpapi.APITokenText
	if err := a.client.Post(ctx, "/tokens", body, &made); err != nil {
		return err
	}
	return a.print(made, func(w *tabwriter.Writer) {
		fmt.Fprintf(w, "Token %s (%s) is made. It is shown this once:\n\n  export PERIGEE_TOKEN=%s\n", made.Token.Name, made.Token.Role, made.Text)
	})
}

// TokenListCmd lists tokens.
type TokenListCmd struct{}

// Run lists them.
func (c *TokenListCmd) Run(ctx context.Context, a *app) error {
	all, err := fetch[auth.Token](ctx, a, "/tokens", nil, 0)
	if err != nil {
		return err
	}
	return a.print(list[auth.Token]{all}, func(w *tabwriter.Writer) {
		row(w, "NAME", "ROLE", "OWNER", "USED", "EXPIRES", "MADE")
		for _, t := range all {
			expires := "never"
			if t.ExpiresAt != nil {
				expires = a.ago(*t.ExpiresAt)
			}
			row(w, t.Name, string(t.Role), dash(t.Owner), a.ago(value(t.LastUsedAt)), expires, a.ago(t.CreatedAt))
		}
	})
}

// TokenRevokeCmd ends a token.
type TokenRevokeCmd struct {
	Name string `arg:"" help:"Its name or id."`
	Yes  bool   `short:"y" help:"Do not ask."`
}

// Run ends it.
func (c *TokenRevokeCmd) Run(ctx context.Context, a *app) error {
	question := fmt.Sprintf("Revoke token %s? What uses it is refused from now on.", c.Name)
	if err := a.confirm(c.Yes, question, fmt.Sprintf("perigee token revoke %s --yes", c.Name)); err != nil {
		return err
	}
	return a.client.Delete(ctx, at("/tokens", c.Name), nil)
}
