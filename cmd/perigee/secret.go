package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"

	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/internal/secret"
)

// SecretCmd is what can be done with secrets. Their values go in and never come out.
type SecretCmd struct {
	Set       SecretSetCmd       `cmd:"" help:"Give a secret a value, read from standard input."`
	List      SecretListCmd      `cmd:"" help:"List secrets, without their values."`
	Delete    SecretDeleteCmd    `cmd:"" help:"Delete a secret."`
	RotateKey SecretRotateKeyCmd `cmd:"" help:"Seal every secret by a new key and forget the old one."`
	Leases    SecretLeasesCmd    `cmd:"" help:"Show who asked for values, newest first."`
}

// SecretSetCmd gives a secret a value.
type SecretSetCmd struct {
	Name        string  `arg:"" help:"Its name: a letter, then letters, digits, _ and -."`
	Vault       string  `placeholder:"PATH#FIELD" help:"Fetch it from the vault, each time that it is needed, instead of keeping it."`
	Description *string `placeholder:"TEXT" help:"What it is for."`
}

// Run sets it.
func (c *SecretSetCmd) Run(ctx context.Context, a *app) error {
	body := httpapi.SecretInput{External: c.Vault, Description: c.Description}
	if c.Vault == "" {
		value, err := a.readSecret(c.Name, fmt.Sprintf("perigee secret set %s < FILE", c.Name))
		if err != nil {
			return err
		}
		body.Value = value
	}
	var made secret.Secret
	if err := a.client.Put(ctx, at("/secrets", c.Name), body, &made); err != nil {
		return err
	}
	return a.print(made, func(w *tabwriter.Writer) {
		fmt.Fprintf(w, "Secret %s has version %d. A check uses it as ${{ secrets.%s }}.\n", made.Name, made.Version, made.Name)
	})
}

// readSecret reads a value: unseen from a person, whole from a pipe. One line end
// behind it is not part of it: echo and editors put it there. again is the command that
// gives one.
func (a *app) readSecret(name, again string) (string, error) {
	if file, ok := a.in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		fmt.Fprintf(a.errw, "Value of %s (it is not shown): ", name)
		value, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(a.errw)
		if err != nil {
			return "", fmt.Errorf("reading the value: %w", err)
		}
		return string(value), nil
	}
	text, err := io.ReadAll(io.LimitReader(a.in, secret.MaxValue+2))
	if err != nil {
		return "", fmt.Errorf("reading the value: %w", err)
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if value == "" {
		return "", usage(again, "no value came from standard input")
	}
	return value, nil
}

// SecretListCmd lists secrets.
type SecretListCmd struct{}

// Run lists them.
func (c *SecretListCmd) Run(ctx context.Context, a *app) error {
	all, err := fetch[secret.Secret](ctx, a, "/secrets", nil, 0)
	if err != nil {
		return err
	}
	return a.print(list[secret.Secret]{all}, func(w *tabwriter.Writer) {
		row(w, "NAME", "VERSION", "SET", "BY", "KEPT", "DESCRIPTION")
		for _, s := range all {
			kept := "here, key " + s.KeyID
			if s.External != "" {
				kept = "vault " + s.External
			}
			row(w, s.Name, fmt.Sprint(s.Version), a.ago(s.UpdatedAt), dash(s.UpdatedBy), kept, dash(s.Description))
		}
	})
}

// SecretDeleteCmd deletes a secret.
type SecretDeleteCmd struct {
	Name string `arg:"" help:"Its name."`
	Yes  bool   `short:"y" help:"Do not ask."`
}

// Run deletes it.
func (c *SecretDeleteCmd) Run(ctx context.Context, a *app) error {
	question := fmt.Sprintf("Delete secret %s? Checks that refer to it cannot run any more.", c.Name)
	if err := a.confirm(c.Yes, question, fmt.Sprintf("perigee secret delete %s --yes", c.Name)); err != nil {
		return err
	}
	return a.client.Delete(ctx, at("/secrets", c.Name), nil)
}

// SecretRotateKeyCmd makes a new key.
type SecretRotateKeyCmd struct{}

// Run makes it.
func (c *SecretRotateKeyCmd) Run(ctx context.Context, a *app) error {
	var done secret.Rotated
	if err := a.client.Post(ctx, "/secrets/rotate-key", nil, &done); err != nil {
		return err
	}
	return a.print(done, func(w *tabwriter.Writer) {
		fmt.Fprintf(w, "%d secrets are sealed by key %s now; the old key is forgotten.\n", done.Secrets, done.KeyID)
	})
}

// SecretLeasesCmd shows who asked.
type SecretLeasesCmd struct {
	Satellite string `placeholder:"NAME" help:"Only those of this satellite."`
	Check     string `placeholder:"NAME" help:"Only those for this check."`
	Refused   bool   `help:"Only those that were not allowed."`
	Limit     int    `default:"100" placeholder:"N" help:"The most to show (${default})."`
}

// Run shows them.
func (c *SecretLeasesCmd) Run(ctx context.Context, a *app) error {
	query := filters("satellite", c.Satellite, "check", c.Check)
	if c.Refused {
		query.Set("refused", "true")
	}
	all, err := fetch[secret.Lease](ctx, a, "/secrets/leases", query, c.Limit)
	if err != nil {
		return err
	}
	satellites, err := a.names(ctx, "/satellites", len(all))
	if err != nil {
		return err
	}
	checks, err := a.names(ctx, "/checks", len(all))
	if err != nil {
		return err
	}
	return a.print(list[secret.Lease]{all}, func(w *tabwriter.Writer) {
		row(w, "AT", "SATELLITE", "CHECK", "COLLECTOR", "SECRETS", "GIVEN", "SEALED", "WHY NOT")
		for _, l := range all {
			row(w, instant(l.At), satellites.of(l.SatelliteID), checks.of(l.CheckID), dash(l.Collector), dash(strings.Join(leased(l), " ")),
				yesNo(l.Allowed), yesNo(l.Sealed), dash(l.Reason))
		}
	})
}

// leased are the names of what was leased. A credential of the check itself is named by
// where it stands, without the check's id.
func leased(l secret.Lease) []string {
	names := make([]string, len(l.Names))
	for i, name := range l.Names {
		names[i] = strings.TrimPrefix(name, "check:"+l.CheckID+":")
	}
	return names
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
