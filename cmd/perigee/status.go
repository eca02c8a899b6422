package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

// StatusCmd shows how systems are doing.
type StatusCmd struct {
	System  string `arg:"" optional:"" help:"Only this system (name or id)."`
	Verbose bool   `short:"v" help:"With every check, and what each satellite says of it."`
}

// Run shows it.
func (c *StatusCmd) Run(ctx context.Context, a *app) error {
	if c.System != "" {
		var s httpapi.SystemStatus
		if err := a.client.Get(ctx, at("/systems", c.System, "status"), nil, &s); err != nil {
			return err
		}
		return a.print(s, func(w *tabwriter.Writer) { a.statuses(w, []httpapi.SystemStatus{s}, c.Verbose) })
	}
	var all list[httpapi.SystemStatus] // in one piece: there are no pages of it
	if err := a.client.Get(ctx, "/status", nil, &all); err != nil {
		return err
	}
	return a.print(all, func(w *tabwriter.Writer) { a.statuses(w, all.Items, c.Verbose) })
}

func (a *app) statuses(w *tabwriter.Writer, all []httpapi.SystemStatus, verbose bool) {
	if !verbose {
		row(w, "SYSTEM", "STATUS", "SINCE", "CHECKS", "REASON")
	} else {
		row(w, "SYSTEM / CHECK / SATELLITE", "STATUS", "SINCE", "CHECKS", "RAN", "LATENCY", "REASON")
	}
	for _, s := range all {
		counts := fmt.Sprintf("%d/%d", s.HealthyChecks, s.TotalChecks)
		if !verbose {
			row(w, s.System, string(s.Status), a.ago(value(s.Since)), counts, because(&s))
			continue
		}
		row(w, s.System, string(s.Status), a.ago(value(s.Since)), counts, "", "", because(&s))
		for _, c := range s.Checks {
			row(w, "  "+c.Check, string(c.Status), a.ago(value(c.Since)), "", "", "", c.Reason)
			for _, l := range c.Locations {
				row(w, "    "+place(&l), string(l.Status), a.ago(value(l.Since)), "", a.ago(value(l.ExecutedAt)), milliseconds(l.LatencyMs), remarks(&l))
			}
		}
	}
}

// because is the reason of a system's status, with what keeps it from being an alarm.
func because(s *httpapi.SystemStatus) string {
	reason := s.Reason
	if len(s.SuppressedBy) > 0 {
		var names []string
		for _, cause := range s.SuppressedBy {
			names = append(names, cause.Name)
		}
		reason = "because of " + strings.Join(names, ", ") + ": " + reason
	}
	if s.Maintenance {
		reason = strings.TrimSuffix("in maintenance; "+reason, "; ")
	}
	return reason
}

// place is where a check runs from: "eu-1 (eu)".
func place(l *httpapi.LocationStatus) string {
	text := l.Satellite
	if l.Region != "" {
		text += " (" + l.Region + ")"
	}
	return inEnvironment(text, l.Environment)
}

func inEnvironment(text, environment string) string {
	if environment != "" {
		text += " in " + environment
	}
	return text
}

// remarks are why a location does not count, and what its last run said.
func remarks(l *httpapi.LocationStatus) string {
	var all []string
	if !l.Online {
		all = append(all, "satellite offline")
	}
	switch {
	case l.ExecutedAt == nil:
		all = append(all, "no result yet")
	case !l.Fresh:
		all = append(all, "does not count: no recent result")
	}
	if l.Flapping {
		all = append(all, "flapping")
	}
	if l.Message != "" {
		all = append(all, l.Message)
	}
	return strings.Join(all, "; ")
}
