package httpapi

import (
	"context"
	"net/http"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/incident"
)

// Incidents is what the API asks of the incidents' service.
type Incidents interface {
	Get(ctx context.Context, id string) (incident.Incident, error)
	List(ctx context.Context, open bool, p fleet.Page) ([]incident.Incident, string, error)
	Open(ctx context.Context, actor entity.Actor, key string, in incident.Input) (i incident.Incident, opened bool, err error)
	Update(ctx context.Context, actor entity.Actor, key, id string, u incident.Update) (incident.Incident, error)
	AddNote(ctx context.Context, actor entity.Actor, key string, n incident.Note) (incident.Note, error)
	Notes(ctx context.Context, kind, id string, p fleet.Page) ([]incident.Note, string, error)
}

type incidentQuery struct {
	Paging
	Open bool `query:"open" doc:"Only those that are not resolved."`
}

type incidentBody struct{ Body incident.Input }

type incidentUpdate struct {
	Ref
	Body incident.Update
}

type noteQuery struct {
	Paging
	Kind   string `query:"kind" maxLength:"100" doc:"Only on entities of this kind, such as satellite."`
	Entity string `query:"entity" maxLength:"200" doc:"Only on the entity of this id."`
}

// NoteInput is the body of POST /notes.
type NoteInput struct {
	Kind   string `json:"kind" maxLength:"100" doc:"The kind of what it is about, such as satellite or system."`
	Entity string `json:"entity" maxLength:"200" doc:"Its id."`
	Text   string `json:"text" maxLength:"10000"`
}

type noteBody struct{ Body NoteInput }

func (a *API) addIncidents() {
	route(a, http.MethodGet, "/incidents", "list-incidents", "List incidents, newest first", func(ctx context.Context, in *incidentQuery) (*answer[List[incident.Incident]], error) {
		return listed(a.Incidents.List(ctx, in.Open, in.page()))
	})
	route(a, http.MethodPost, "/incidents", "open-incident", "Open an incident, or add to the open one of its cause", func(ctx context.Context, in *incidentBody) (*created[incident.Incident], error) {
		i, _, err := a.Incidents.Open(ctx, actor(ctx), "", in.Body)
		return made("/incidents/"+i.ID, i, err)
	}, status(http.StatusCreated))
	route(a, http.MethodGet, "/incidents/{id}", "get-incident", "Get an incident with its timeline", func(ctx context.Context, in *Ref) (*answer[incident.Incident], error) {
		return answered(a.Incidents.Get(ctx, in.ID))
	})
	route(a, http.MethodPost, "/incidents/{id}/updates", "update-incident", "Add to an incident, or resolve it", func(ctx context.Context, in *incidentUpdate) (*answer[incident.Incident], error) {
		return answered(a.Incidents.Update(ctx, actor(ctx), "", in.ID, in.Body))
	})
	route(a, http.MethodGet, "/notes", "list-notes", "List notes, newest first", func(ctx context.Context, in *noteQuery) (*answer[List[incident.Note]], error) {
		return listed(a.Incidents.Notes(ctx, in.Kind, in.Entity, in.page()))
	})
	route(a, http.MethodPost, "/notes", "add-note", "Write a note on an entity", func(ctx context.Context, in *noteBody) (*answer[incident.Note], error) {
		return answered(a.Incidents.AddNote(ctx, actor(ctx), "", incident.Note{Kind: in.Body.Kind, EntityID: in.Body.Entity, Text: in.Body.Text}))
	}, status(http.StatusCreated))
}
