package main

import (
	"context"
	"fmt"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/perigee-monitoring/perigee/internal/health"
)

// HistoryCmd shows how a system did.
type HistoryCmd struct {
	System      string `arg:"" help:"Name or id."`
	Since       string `default:"24h" placeholder:"TIME" help:"From then on: 2026-01-31T08:00:00Z, or how long ago: 15m, 7d (${default})."`
	Until       string `placeholder:"TIME" help:"Until then; now when left out."`
	Step        string `enum:"auto,minute,hour,day" default:"auto" help:"How long each row is: minute, hour, day, or what fits (${default})."`
	By          string `enum:"check,satellite,region,location," default:"" placeholder:"WHAT" help:"Rows of their own for each check, satellite, region or location."`
	Check       string `placeholder:"NAME" help:"Only of this check (name or id)."`
	Satellite   string `placeholder:"NAME" help:"Only of this satellite (name or id)."`
	Environment string `placeholder:"ID" help:"Only of this environment."`
}

// Run shows it.
func (c *HistoryCmd) Run(ctx context.Context, a *app) error {
	from, err := moment("--since", days(c.Since), a.now())
	if err != nil {
		return err
	}
	to, err := moment("--until", days(c.Until), a.now())
	if err != nil {
		return err
	}
	var h health.History
	query := filters("from", from, "to", to, "step", c.Step, "by", c.By, "check", c.Check, "satellite", c.Satellite, "environment", c.Environment)
	if err := a.client.Get(ctx, at("/systems", c.System, "history"), query, &h); err != nil {
		return err
	}
	named := len(h.Series)
	if c.By == "" || c.By == "region" {
		named = 0
	}
	checks, err := a.names(ctx, "/checks", named)
	if err != nil {
		return err
	}
	satellites, err := a.names(ctx, "/satellites", named)
	if err != nil {
		return err
	}
	var ids []string
	for i := range h.Series {
		ids = append(ids, h.Series[i].EnvironmentID)
	}
	environments, err := a.environmentNames(ctx, ids...)
	if err != nil {
		return err
	}
	return a.print(h, func(w *tabwriter.Writer) {
		head := []string{"AT", "RUNS", "AVAILABILITY", "P50", "P95", "MAX", "REMARKS"}
		if c.By != "" {
			head = append([]string{strings.ToUpper(c.By)}, head...)
		}
		if a.pictures {
			head = append(head, "")
		}
		row(w, head...)
		for _, s := range h.Series {
			line := func(at string, sum *health.Summary, picture string) {
				cells := []string{at, fmt.Sprint(sum.Runs), percent(sum.Availability), "-", "-", "-", historyRemarks(sum)}
				if l := sum.Latency; l != nil {
					cells[3], cells[4], cells[5] = latencyMs(l.P50), latencyMs(l.P95), latencyMs(float64(l.Max))
				}
				if c.By != "" {
					cells = append([]string{seriesName(&s, c.By, checks, satellites, environments)}, cells...)
				}
				if a.pictures {
					cells = append(cells, picture)
				}
				row(w, cells...)
			}
			for i := range s.Buckets {
				b := &s.Buckets[i]
				line(instant(b.At), &b.Summary, bar(b.Availability))
			}
			line("total", &s.Total, "")
		}
	})
}

// days lets a time ago be days, which time.ParseDuration does not know.
func days(text string) string {
	var n float64
	if number, ok := strings.CutSuffix(text, "d"); ok {
		if _, err := fmt.Sscanf(number, "%g", &n); err == nil && n >= 0 && n < 10_000 {
			return time.Duration(n * 24 * float64(time.Hour)).String()
		}
	}
	return text
}

// percent never rounds up to 100: one failure in a million is not none.
func percent(share *float64) string {
	if share == nil {
		return "-"
	}
	return fmt.Sprintf("%.3f %%", math.Floor(*share*100_000)/1000)
}

func latencyMs(ms float64) string { return fmt.Sprintf("%.0f ms", ms) }

// bar is a share as a bar of ten places, for the eye; what failed is at least one.
func bar(share *float64) string {
	if share == nil {
		return ""
	}
	full := int(math.Floor(*share * 10))
	return strings.Repeat("█", full) + strings.Repeat("░", 10-full)
}

func historyRemarks(s *health.Summary) string {
	var all []string
	for _, part := range []struct {
		n    int64
		text string
	}{{s.Unhealthy, "unhealthy"}, {s.Degraded, "degraded"}, {s.Inconclusive, "inconclusive"}, {s.Late, "late"}} {
		if part.n > 0 {
			all = append(all, fmt.Sprintf("%d %s", part.n, part.text))
		}
	}
	return strings.Join(all, ", ")
}

func seriesName(s *health.Series, by string, checks, satellites, environments names) string {
	switch by {
	case "check":
		return checks.of(s.CheckID)
	case "satellite":
		return satellites.of(s.SatelliteID)
	case "region":
		return dash(s.Region)
	}
	name := checks.of(s.CheckID) + " from " + satellites.of(s.SatelliteID)
	if s.EnvironmentID != "" {
		name += " in " + environments.of(s.EnvironmentID)
	}
	return name
}
