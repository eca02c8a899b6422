package action

import (
	"context"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/incident"
)

type noteConfig struct {
	Kind   string `json:"kind,omitempty" help:"The kind of what it is about, such as satellite; that of the event when left out."`
	Entity string `json:"entity,omitempty" help:"The id of what it is about; that of the event when left out."`
	Text   string `json:"text" help:"What is written."`
}

func noteAdd(s Services) automation.Action {
	return repeatable(automation.NewAction("note.add", "Writes a note on an entity.", func(ctx context.Context, r automation.Request, c noteConfig) (any, error) {
		n := incident.Note{Kind: c.Kind, EntityID: c.Entity, Text: c.Text}
		if n.Kind == "" && n.EntityID == "" {
			n.Kind, n.EntityID = r.Run.Event.Kind, r.Run.Event.EntityID
		}
		n, err := s.Incidents.AddNote(ctx, r.Actor(), r.Key(), n)
		return n, err
	}))
}
