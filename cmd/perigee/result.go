package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/perigee-monitoring/perigee/internal/health"
)

// ResultCmd is what satellites found.
type ResultCmd struct {
	List ResultListCmd `cmd:"" help:"List results, newest first."`
}

// SkipCmd is what they should have run and did not.
type SkipCmd struct {
	List SkipListCmd `cmd:"" help:"List skipped slots, newest first."`
}

// runFlags narrow results and skips.
type runFlags struct {
	Satellite string `placeholder:"NAME" help:"Only of this satellite (name or id)."`
	Check     string `placeholder:"NAME" help:"Only of this check (name or id)."`
	System    string `placeholder:"NAME" help:"Only of this system (name or id)."`
	From      string `placeholder:"TIME" help:"Only what was due from then on: 2026-01-31T08:00:00Z, or how long ago: 15m."`
	To        string `placeholder:"TIME" help:"Only what was due before then."`
	Limit     int    `default:"50" placeholder:"N" help:"The most to show (${default}); 0 is all."`
}

func (f *runFlags) query(now time.Time) (url.Values, error) {
	from, err := moment("--from", f.From, now)
	if err != nil {
		return nil, err
	}
	to, err := moment("--to", f.To, now)
	if err != nil {
		return nil, err
	}
	return filters("satellite", f.Satellite, "check", f.Check, "system", f.System, "from", from, "to", to), nil
}

// moment reads a time, or how long before now it was.
func moment(flag, text string, now time.Time) (string, error) {
	if text == "" {
		return "", nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d).UTC().Format(time.RFC3339Nano), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return "", usage("", "%s %s is neither a time such as 2026-01-31T08:00:00Z nor a time ago such as 15m", flag, text)
	}
	return t.UTC().Format(time.RFC3339Nano), nil
}

// ResultListCmd lists results.
type ResultListCmd struct {
	runFlags
	Status string `enum:"healthy,degraded,unhealthy,inconclusive," default:"" placeholder:"STATUS" help:"Only healthy, degraded, unhealthy or inconclusive ones."`
	Detail bool   `help:"With the evidence of each run; seen with -o json and -o yaml."`
}

// Run lists them.
func (c *ResultListCmd) Run(ctx context.Context, a *app) error {
	query, err := c.query(a.now())
	if err != nil {
		return err
	}
	if c.Status != "" {
		query.Set("status", c.Status)
	}
	if c.Detail {
		query.Set("detail", "true")
	}
	runs, err := fetch[health.Run](ctx, a, "/results", query, c.Limit)
	if err != nil {
		return err
	}
	checks, systems, err := a.namesFor(ctx, len(runs))
	if err != nil {
		return err
	}
	return a.print(list[health.Run]{runs}, func(w *tabwriter.Writer) {
		row(w, "EXECUTED", "SYSTEM", "CHECK", "SATELLITE", "STATUS", "LATENCY", "MESSAGE")
		for _, r := range runs {
			status, message := string(r.Status), r.Message
			if r.Inconclusive != "" {
				status, message = string(health.Inconclusive), fmt.Sprintf("%s; measured %s: %s", r.Inconclusive, r.Status, r.Message)
			}
			row(w, instant(r.ExecutedAt), systems.of(r.SystemID), checks.of(r.CheckID), r.Source, status, milliseconds(r.LatencyMs), message)
		}
	})
}

// SkipListCmd lists skips.
type SkipListCmd struct{ runFlags }

// Run lists them.
func (c *SkipListCmd) Run(ctx context.Context, a *app) error {
	query, err := c.query(a.now())
	if err != nil {
		return err
	}
	skips, err := fetch[health.Skip](ctx, a, "/skips", query, c.Limit)
	if err != nil {
		return err
	}
	checks, systems, err := a.namesFor(ctx, len(skips))
	if err != nil {
		return err
	}
	satellites, err := a.names(ctx, "/satellites", len(skips))
	if err != nil {
		return err
	}
	return a.print(list[health.Skip]{skips}, func(w *tabwriter.Writer) {
		row(w, "FROM", "TO", "SLOTS", "SYSTEM", "CHECK", "SATELLITE", "REASON")
		for _, s := range skips {
			row(w, instant(s.From), instant(s.To), fmt.Sprint(s.Count), systems.of(s.SystemID), checks.of(s.CheckID), satellites.of(s.SatelliteID), string(s.Reason))
		}
	})
}

// names are what things are called, by id.
type names map[string]string

// of is the name, or the id of what is no more.
func (n names) of(id string) string {
	if name, ok := n[id]; ok {
		return name
	}
	return id
}

// namesFor reads the names of checks and systems for a table of so many rows.
func (a *app) namesFor(ctx context.Context, rows int) (checks, systems names, err error) {
	if checks, err = a.names(ctx, "/checks", rows); err != nil {
		return nil, nil, err
	}
	systems, err = a.names(ctx, "/systems", rows)
	return checks, systems, err
}

// names reads what the things of a collection are called. Only tables show names,
// and an empty one shows none.
func (a *app) names(ctx context.Context, collection string, rows int) (names, error) {
	if rows == 0 || a.format != "table" {
		return nil, nil
	}
	type named struct{ ID, Name string }
	all, err := fetch[named](ctx, a, collection, nil, 0)
	if err != nil {
		return nil, err
	}
	n := names{}
	for _, x := range all {
		n[x.ID] = x.Name
	}
	return n, nil
}

// environmentNames reads what the environments of all systems are called, if ids are
// any that a table is to show.
func (a *app) environmentNames(ctx context.Context, ids ...string) (names, error) {
	if a.format != "table" || strings.Join(ids, "") == "" {
		return nil, nil
	}
	type system struct{ Environments []struct{ ID, Name string } }
	all, err := fetch[system](ctx, a, "/systems", nil, 0)
	if err != nil {
		return nil, err
	}
	n := names{}
	for _, s := range all {
		for _, e := range s.Environments {
			n[e.ID] = e.Name
		}
	}
	return n, nil
}
