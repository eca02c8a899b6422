package main

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/perigee-monitoring/perigee/internal/incident"
)

// IncidentCmd is what can be done with incidents.
type IncidentCmd struct {
	List    IncidentListCmd    `cmd:"" help:"List incidents, newest first."`
	Get     IncidentGetCmd     `cmd:"" help:"Show an incident with its timeline."`
	Open    IncidentOpenCmd    `cmd:"" help:"Open an incident."`
	Update  IncidentUpdateCmd  `cmd:"" help:"Add to an incident, or change its status or severity."`
	Resolve IncidentResolveCmd `cmd:"" help:"Resolve an incident."`
}

// IncidentListCmd lists incidents.
type IncidentListCmd struct {
	All   bool `help:"Those that are resolved too."`
	Limit int  `placeholder:"N" help:"The most to show; all when left out."`
}

// Run lists them.
func (c *IncidentListCmd) Run(ctx context.Context, a *app) error {
	query := url.Values{}
	if !c.All {
		query.Set("open", "true")
	}
	all, err := fetch[incident.Incident](ctx, a, "/incidents", query, c.Limit)
	if err != nil {
		return err
	}
	return a.print(list[incident.Incident]{all}, func(w *tabwriter.Writer) {
		row(w, "ID", "SEVERITY", "STATUS", "OPENED", "CAUSE", "TITLE")
		for _, i := range all {
			row(w, i.ID, string(i.Severity), string(i.Status), a.ago(i.OpenedAt), dash(i.Cause), i.Title)
		}
	})
}

// IncidentGetCmd shows an incident.
type IncidentGetCmd struct {
	ID string `arg:"" help:"Its id."`
}

// Run shows it.
func (c *IncidentGetCmd) Run(ctx context.Context, a *app) error {
	var i incident.Incident
	if err := a.client.Get(ctx, at("/incidents", c.ID), nil, &i); err != nil {
		return err
	}
	return a.print(i, func(w *tabwriter.Writer) { a.incident(w, &i) })
}

func (a *app) incident(w *tabwriter.Writer, i *incident.Incident) {
	row(w, "Title", i.Title)
	row(w, "Id", i.ID)
	row(w, "Severity", string(i.Severity))
	row(w, "Status", string(i.Status))
	row(w, "Cause", dash(i.Cause))
	row(w, "Systems", dash(strings.Join(i.Systems, ", ")))
	row(w, "Opened", instant(i.OpenedAt))
	if i.ResolvedAt != nil {
		row(w, "Resolved", instant(*i.ResolvedAt))
	}
	if len(i.Timeline) == 0 {
		return
	}
	row(w, "")
	row(w, "AT", "STATUS", "BY", "WHAT")
	for _, e := range i.Timeline {
		row(w, instant(e.At), string(e.Status), cmp.Or(e.Actor.Name, e.Actor.ID), strings.Join(strings.Fields(e.Text), " "))
	}
}

// IncidentOpenCmd opens an incident.
type IncidentOpenCmd struct {
	Title    string   `arg:"" help:"One line."`
	Severity string   `enum:"minor,major,critical" default:"major" help:"minor, major or critical."`
	Cause    string   `placeholder:"TEXT" help:"What brought it about; while an incident of this cause is open, that gets an entry instead."`
	System   []string `sep:"none" placeholder:"NAME" help:"A system that it is about (name or id); may be repeated."`
	Text     string   `placeholder:"TEXT" help:"The first entry of its timeline."`
}

// Run opens it.
func (c *IncidentOpenCmd) Run(ctx context.Context, a *app) error {
	in := incident.Input{Title: c.Title, Severity: incident.Severity(c.Severity), Cause: c.Cause, Systems: c.System, Text: c.Text}
	var i incident.Incident
	if err := a.client.Post(ctx, "/incidents", in, &i); err != nil {
		return err
	}
	return a.print(i, func(w *tabwriter.Writer) { a.incident(w, &i) })
}

// IncidentUpdateCmd adds to an incident.
type IncidentUpdateCmd struct {
	ID       string `arg:"" help:"Its id."`
	Text     string `arg:"" optional:"" help:"What is to be said."`
	Status   string `placeholder:"STATUS" help:"open, identified or monitoring."`
	Severity string `placeholder:"SEVERITY" help:"minor, major or critical."`
}

// Run adds it.
func (c *IncidentUpdateCmd) Run(ctx context.Context, a *app) error {
	return a.updateIncident(ctx, c.ID, incident.Update{Status: incident.Status(c.Status), Severity: incident.Severity(c.Severity), Text: c.Text})
}

func (a *app) updateIncident(ctx context.Context, id string, u incident.Update) error {
	var i incident.Incident
	if err := a.client.Post(ctx, at("/incidents", id, "updates"), u, &i); err != nil {
		return err
	}
	return a.print(i, func(w *tabwriter.Writer) { fmt.Fprintf(w, "Incident %s is %s.\n", i.Title, i.Status) })
}

// IncidentResolveCmd resolves an incident.
type IncidentResolveCmd struct {
	ID   string `arg:"" help:"Its id."`
	Text string `arg:"" optional:"" help:"What is to be said."`
}

// Run resolves it.
func (c *IncidentResolveCmd) Run(ctx context.Context, a *app) error {
	return a.updateIncident(ctx, c.ID, incident.Update{Status: incident.Resolved, Text: c.Text})
}
