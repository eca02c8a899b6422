package main

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

// CompletenessCmd shows what became of every slot that was due.
type CompletenessCmd struct {
	System    string        `placeholder:"NAME" help:"Only of this system (name or id)."`
	Check     string        `placeholder:"NAME" help:"Only of this check (name or id)."`
	Satellite string        `placeholder:"NAME" help:"Only of this satellite (name or id)."`
	Since     time.Duration `default:"24h" placeholder:"AGO" help:"Slots of the last so much time (${default})."`
	From      string        `placeholder:"TIME" help:"In place of --since: slots from then on, 2026-01-31T08:00:00Z, or how long ago: 15m."`
	To        string        `placeholder:"TIME" help:"Slots before then."`
}

// Help says how to read it.
func (c *CompletenessCmd) Help() string {
	return `Every slot that was due has one fate, and the columns from REPORTED to AWAITED add up to DUE.
COMPLETE is the share that was measured; UPTIME the share of those that was healthy or degraded.`
}

// completenessView is all pages as one.
type completenessView struct {
	httpapi.Span
	Items  []health.Completeness `json:"items"`
	Totals health.Fates          `json:"totals"`
}

// Run shows it.
func (c *CompletenessCmd) Run(ctx context.Context, a *app) error {
	now := a.now()
	if c.Since <= 0 {
		return usage("", "--since %s is not a length of time such as 24h", c.Since)
	}
	from, err := moment("--from", c.From, now)
	if err != nil {
		return err
	}
	to, err := moment("--to", c.To, now)
	if err != nil {
		return err
	}
	if from == "" {
		end := now
		if to != "" {
			if end, err = time.Parse(time.RFC3339Nano, to); err != nil {
				return err
			}
		}
		from = end.Add(-c.Since).UTC().Format(time.RFC3339Nano)
	}
	all, err := a.completeness(ctx, filters("system", c.System, "check", c.Check, "satellite", c.Satellite, "from", from, "to", to))
	if err != nil {
		return err
	}
	checks, systems, err := a.namesFor(ctx, len(all.Items))
	if err != nil {
		return err
	}
	satellites, err := a.names(ctx, "/satellites", len(all.Items))
	if err != nil {
		return err
	}
	var ids []string
	for i := range all.Items {
		ids = append(ids, all.Items[i].EnvironmentID)
	}
	environments, err := a.environmentNames(ctx, ids...)
	if err != nil {
		return err
	}
	return a.print(all, func(w *tabwriter.Writer) {
		row(w, "SYSTEM", "CHECK", "SATELLITE", "DUE", "REPORTED", "LATE", "INCONCL", "SKIPPED", "LOST", "DOWN", "UNTOLD", "UNACCOUNTED", "AWAITED", "COMPLETE", "UPTIME")
		for i := range all.Items {
			at := &all.Items[i]
			satellite := satellites.of(at.SatelliteID)
			if at.EnvironmentID != "" {
				satellite += " in " + environments.of(at.EnvironmentID)
			}
			if !at.Exact {
				satellite += " (no slots)"
			}
			row(w, append([]string{systems.of(at.SystemID), checks.of(at.CheckID), satellite}, fates(&at.Fates)...)...)
		}
		row(w, append([]string{"total", "", ""}, fates(&all.Totals)...)...)
	})
}

// completeness reads every page; all are of the window of the first.
func (a *app) completeness(ctx context.Context, query url.Values) (all completenessView, err error) {
	all.Items = []health.Completeness{}
	query.Set("limit", "1000")
	for {
		var page httpapi.CompletenessList
		if err := a.client.Get(ctx, "/completeness", query, &page); err != nil {
			return all, err
		}
		all.Span = page.Span
		all.Items = append(all.Items, page.Items...)
		all.Totals.Add(&page.Totals)
		if page.NextCursor == nil {
			return all, nil
		}
		query.Set("to", page.To.Format(time.RFC3339Nano))
		query.Set("cursor", *page.NextCursor)
	}
}

// fates are the cells of a row.
func fates(f *health.Fates) []string {
	var skipped []string
	for _, reason := range slices.Sorted(maps.Keys(f.Skipped)) {
		skipped = append(skipped, fmt.Sprintf("%s %d", reason, f.Skipped[reason]))
	}
	cells := []string{fmt.Sprint(f.Due), fmt.Sprint(f.Reported), fmt.Sprint(f.Backfilled), fmt.Sprint(f.Inconclusive), dash(strings.Join(skipped, ", "))}
	for _, n := range []int64{f.Lost, f.NotExecuted, f.NotTold, f.Unaccounted, f.Awaited} {
		cells = append(cells, fmt.Sprint(n))
	}
	return append(cells, percent(f.Completeness), percent(f.Uptime))
}
