package main

import (
	"context"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/diff"
)

// AuditCmd is what can be done with the audit log.
type AuditCmd struct {
	List AuditListCmd `cmd:"" help:"Show what was changed and refused, the newest first."`
}

// AuditListCmd shows the log.
type AuditListCmd struct {
	Actor     string        `placeholder:"NAME" help:"Only of those whose name has this in it."`
	Operation string        `placeholder:"TEXT" help:"Only operations that have this in their name, such as delete."`
	Object    string        `placeholder:"TEXT" help:"Only on objects that have this in their name, such as satellites/."`
	Outcome   string        `enum:",allowed,refused,failed" default:"" placeholder:"OUTCOME" help:"Only what was allowed, refused or failed."`
	Since     time.Duration `placeholder:"DURATION" help:"Only what is not older, such as 24h."`
	Changes   bool          `help:"Show below each entry the fields that were changed, before and after."`
	Limit     int           `default:"100" placeholder:"N" help:"The most to show (${default})."`
}

// Run shows it.
func (c *AuditListCmd) Run(ctx context.Context, a *app) error {
	query := filters("actor", c.Actor, "operation", c.Operation, "object", c.Object, "outcome", c.Outcome)
	if c.Since > 0 {
		query.Set("from", instant(a.now().Add(-c.Since)))
	}
	all, err := fetch[auth.AuditEntry](ctx, a, "/audit", query, c.Limit)
	if err != nil {
		return err
	}
	return a.print(list[auth.AuditEntry]{all}, func(w *tabwriter.Writer) {
		row(w, "AT", "WHO", "FROM", "DID", "TO", "OUTCOME", "WHAT")
		for _, e := range all {
			what := e.Change
			if e.Outcome != auth.Allowed {
				what = e.Reason
			}
			if e.Missed > 0 {
				what += fmt.Sprintf(" (and %d refusals before it that were too many to be written down)", e.Missed)
			}
			row(w, instant(e.At), dash(e.Actor), dash(e.Source), e.Operation, e.Object, string(e.Outcome), dash(what))
			if c.Changes {
				for _, f := range e.Changes {
					row(w, "", "", "", "", "", "", f.Path+": "+side(f.From)+" → "+side(f.To))
				}
			}
		}
	})
}

// side is a value before or after a change.
func side(value any) string {
	switch v := value.(type) {
	case nil:
		return "nothing"
	case string:
		return strconv.Quote(v)
	}
	return diff.Text(value)
}
