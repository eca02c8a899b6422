package action

import (
	"cmp"
	"context"
	"encoding/json"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/incident"
)

type incidentConfig struct {
	Title    string   `json:"title" help:"One line."`
	Severity string   `json:"severity,omitempty" enum:"minor,major,critical" help:"How bad it is; major when left out."`
	Cause    string   `json:"cause,omitempty" help:"What brought it about, such as satellite/ID: while an incident of this cause is open, no other is opened, and created is false."`
	Part     string   `json:"part,omitempty" help:"What of the cause is not well, when several things may be, such as a satellite of a region; incident.resolve of the last part resolves it."`
	Systems  []string `json:"systems,omitempty" help:"Systems that it is about, by id or name."`
	Text     string   `json:"text,omitempty" help:"The entry of its timeline; the title when left out."`
}

// opened is what incident.open gives to later steps.
type opened struct {
	ID      string `json:"id"`
	Created bool   `json:"created"` // false: it is another finding of a cause that is known
	Title   string `json:"title"`
	Status  string `json:"status"`
}

func incidentOpen(s Services) automation.Action {
	a := repeatable(automation.NewAction("incident.open", "Opens an incident, or adds to the open one of the same cause.",
		func(ctx context.Context, r automation.Request, c incidentConfig) (any, error) {
			i, created, err := s.Incidents.Open(ctx, r.Actor(), r.Key(), incident.Input{
				Title: c.Title, Severity: incident.Severity(cmp.Or(c.Severity, "major")), Cause: c.Cause, Part: c.Part, Systems: c.Systems, Text: c.Text,
			})
			return opened{ID: i.ID, Created: created, Title: i.Title, Status: string(i.Status)}, err
		}))
	a.Supposed = json.RawMessage(`{"id":"dry-run","created":true,"title":"","status":"open"}`)
	return a
}

type incidentUpdateConfig struct {
	ID       string `json:"id,omitempty" help:"The incident. Left out, it is that of cause, or the one that an earlier step of the run opened."`
	Cause    string `json:"cause,omitempty" help:"The open incident of this cause."`
	Status   string `json:"status,omitempty" enum:"open,identified,monitoring,resolved" help:"Its status from now on."`
	Severity string `json:"severity,omitempty" enum:"minor,major,critical" help:"Its severity from now on."`
	Text     string `json:"text,omitempty" help:"What is said."`
}

func incidentUpdate(s Services) automation.Action {
	return repeatable(automation.NewAction("incident.update", "Adds to an incident, or changes its status or severity.",
		func(ctx context.Context, r automation.Request, c incidentUpdateConfig) (any, error) {
			return s.updateIncident(ctx, r, c)
		}))
}

type incidentResolveConfig struct {
	ID    string `json:"id,omitempty" help:"The incident. Left out, it is that of cause, or the one that an earlier step of the run opened."`
	Cause string `json:"cause,omitempty" help:"The open incident of this cause; when there is none, nothing happens and resolved is false."`
	Part  string `json:"part,omitempty" help:"Only this part of the cause is well again; the incident is resolved when none is left, and resolved is false until then."`
	Text  string `json:"text,omitempty" help:"What is said."`
}

func incidentResolve(s Services) automation.Action {
	a := repeatable(automation.NewAction("incident.resolve", "Resolves an incident.", func(ctx context.Context, r automation.Request, c incidentResolveConfig) (any, error) {
		output, err := s.resolve(ctx, r, c)
		if c.ID == "" && c.Cause != "" && fault.Is(err, fault.NotFound) {
			return map[string]any{"resolved": false}, nil
		}
		if err != nil {
			return nil, err
		}
		return map[string]any{"resolved": output.Status == string(incident.Resolved), "id": output.ID, "title": output.Title, "status": output.Status}, nil
	}))
	a.Supposed = json.RawMessage(`{"id":"dry-run","resolved":true,"title":"","status":"resolved"}`)
	return a
}

func (s Services) resolve(ctx context.Context, r automation.Request, c incidentResolveConfig) (opened, error) {
	if c.Part == "" {
		return s.updateIncident(ctx, r, incidentUpdateConfig{ID: c.ID, Cause: c.Cause, Status: string(incident.Resolved), Text: c.Text})
	}
	if c.Cause == "" {
		return opened{}, fault.New(fault.Invalid, "part of incident.resolve is given without cause")
	}
	i, err := s.Incidents.ResolvePart(ctx, r.Actor(), r.Key(), c.Cause, c.Part, c.Text)
	return opened{ID: i.ID, Title: i.Title, Status: string(i.Status)}, err
}

func (s Services) updateIncident(ctx context.Context, r automation.Request, c incidentUpdateConfig) (opened, error) {
	u := incident.Update{Status: incident.Status(c.Status), Severity: incident.Severity(c.Severity), Text: c.Text}
	id := c.ID
	if id == "" && c.Cause == "" {
		if id = openedBefore(r); id == "" {
			return opened{}, fault.New(fault.Invalid, "no incident is named: give id or cause, or open one in an earlier step that has an id")
		}
	}
	var i incident.Incident
	var err error
	if id != "" {
		i, err = s.Incidents.Update(ctx, r.Actor(), r.Key(), id, u)
	} else {
		i, err = s.Incidents.UpdateCause(ctx, r.Actor(), r.Key(), c.Cause, u)
	}
	return opened{ID: i.ID, Title: i.Title, Status: string(i.Status)}, err
}

// openedBefore is the incident that an earlier step opened; "" for none, or several.
func openedBefore(r automation.Request) string {
	found := ""
	for _, artifact := range r.Artifacts {
		var o struct {
			ID      string `json:"id"`
			Created *bool  `json:"created"`
		}
		if json.Unmarshal(artifact, &o) != nil || o.ID == "" || o.Created == nil {
			continue
		}
		if found != "" && found != o.ID {
			return ""
		}
		found = o.ID
	}
	return found
}
