package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// Automations is what the API asks of the automations' service. Refs are ids or names.
type Automations interface {
	Automation(ctx context.Context, ref string) (automation.Automation, error)
	Automations(ctx context.Context, p fleet.Page) ([]automation.Automation, string, error)
	// All are those that the transaction of somebody else sees, by name.
	All(ctx context.Context, tx entity.Tx) ([]automation.Automation, error)
	// Apply makes them be as people say in the transaction of somebody else, who records the
	// changes.
	Apply(ctx context.Context, tx entity.Tx, actor entity.Actor, wishes []automation.Wish) ([]automation.Applied, []entity.Change, error)
	Create(ctx context.Context, actor entity.Actor, in automation.Input) (automation.Automation, error)
	Update(ctx context.Context, actor entity.Actor, ref string, in automation.Input) (automation.Automation, error)
	SetEnabled(ctx context.Context, actor entity.Actor, ref string, enabled bool) (automation.Automation, error)
	Delete(ctx context.Context, actor entity.Actor, ref string) error
	Start(ctx context.Context, actor entity.Actor, ref, trigger string, payload json.RawMessage) (automation.Run, error)
	// Read judges an automation without keeping it.
	Read(in automation.Input, path string) (automation.Automation, error)
	DryRun(ctx context.Context, in automation.Input, from, to time.Time) (automation.Report, error)
	Actions() []automation.Action
	Hook(ctx context.Context, secret automation.Secret, call automation.Call) error

	Runs(ctx context.Context, automation string, status automation.RunStatus, p fleet.Page) ([]automation.Run, string, error)
	Run(ctx context.Context, id string) (automation.Run, []automation.Step, error)
	Cancel(ctx context.Context, actor entity.Actor, id string) (automation.Run, error)
	Rerun(ctx context.Context, actor entity.Actor, runID string) (automation.Run, error)
}

// definitionSchema describes a definition and holds nothing against it: the service
// reports everything that is wrong with it together.
type definitionSchema struct{}

func (definitionSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Description: "Triggers, conditions, actions and mode, as docs/automations.md says."}
}

type automationBody struct{ RawBody []byte }

// input reads a body itself, since the definition's wrong places are the service's.
func (b *automationBody) input() (automation.Input, error) {
	var in automation.Input
	d := json.NewDecoder(bytes.NewReader(b.RawBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return in, fault.New(fault.Invalid, "the body cannot be read: %s", err)
	}
	return in, nil
}

type automationUpdate struct {
	Ref
	automationBody
}

// RunStart is the body of POST /automations/{id}/run.
type RunStart struct {
	Trigger string          `json:"trigger,omitempty" maxLength:"64" doc:"The trigger that it is to look like."`
	Payload json.RawMessage `json:"payload,omitempty" doc:"What trigger.payload is."`
}

type runStart struct {
	Ref
	Body RunStart `required:"false"`
}

// DryRunRequest is the body of POST /automations/dry-run.
type DryRunRequest struct {
	Name       string          `json:"name"`
	Definition json.RawMessage `json:"definition"`
	From       time.Time       `json:"from"`
	To         time.Time       `json:"to"`
}

type automationRunQuery struct {
	Paging
	Automation string `query:"automation" maxLength:"512" doc:"Only of this automation (id or name)."`
	Status     string `query:"status" enum:"pending,running,waiting,success,failed,cancelled,skipped,in_doubt"`
}

// AutomationTrace is a run with its journal.
type AutomationTrace struct {
	automation.Run
	Steps []automation.Step `json:"steps"`
}

// ActionList is what automations can do.
type ActionList struct {
	Items []automation.Action `json:"items"`
}

// TriggerList is what automations can react to.
type TriggerList struct {
	Items []automation.EventType `json:"items"`
}

func (a *API) addAutomations() {
	// The bodies are read by the service, and described here.
	body := func(op *huma.Operation) {
		op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: &huma.Schema{Type: huma.TypeObject, Description: "name, labels, enabled and definition, as docs/automations.md says."}},
		}}
	}
	route(a, http.MethodGet, "/automations", "list-automations", "List automations by name", func(ctx context.Context, in *Paging) (*answer[List[automation.Automation]], error) {
		return listed(a.Automations.Automations(ctx, in.page()))
	})
	route(a, http.MethodPost, "/automations", "create-automation", "Create an automation", func(ctx context.Context, in *automationBody) (*created[automation.Automation], error) {
		input, err := in.input()
		if err != nil {
			return nil, err
		}
		m, err := a.Automations.Create(ctx, actor(ctx), input)
		return made("/automations/"+m.ID, m, err)
	}, status(http.StatusCreated), body)
	route(a, http.MethodGet, "/automations/{id}", "get-automation", "Get an automation", func(ctx context.Context, in *Ref) (*answer[automation.Automation], error) {
		return answered(a.Automations.Automation(ctx, in.ID))
	})
	route(a, http.MethodPut, "/automations/{id}", "update-automation", "Replace an automation", func(ctx context.Context, in *automationUpdate) (*answer[automation.Automation], error) {
		input, err := in.input()
		if err != nil {
			return nil, err
		}
		return answered(a.Automations.Update(ctx, actor(ctx), in.ID, input))
	}, body)
	route(a, http.MethodDelete, "/automations/{id}", "delete-automation", "Delete an automation with its runs", func(ctx context.Context, in *Ref) (*struct{}, error) {
		return nil, a.Automations.Delete(ctx, actor(ctx), in.ID)
	}, status(http.StatusNoContent))
	route(a, http.MethodPost, "/automations/{id}/enable", "enable-automation", "Let an automation react", func(ctx context.Context, in *Ref) (*answer[automation.Automation], error) {
		return answered(a.Automations.SetEnabled(ctx, actor(ctx), in.ID, true))
	})
	route(a, http.MethodPost, "/automations/{id}/disable", "disable-automation", "Let an automation react no more; its runs go on", func(ctx context.Context, in *Ref) (*answer[automation.Automation], error) {
		return answered(a.Automations.SetEnabled(ctx, actor(ctx), in.ID, false))
	})
	route(a, http.MethodPost, "/automations/{id}/run", "run-automation", "Run an automation now", func(ctx context.Context, in *runStart) (*created[automation.Run], error) {
		run, err := a.Automations.Start(ctx, actor(ctx), in.ID, in.Body.Trigger, in.Body.Payload)
		return made("/automation-runs/"+run.ID, run, err)
	}, status(http.StatusCreated))
	route(a, http.MethodPost, "/automations/dry-run", "dry-run-automation", "What an automation would have done in the past", func(ctx context.Context, in *struct{ Body DryRunRequest }) (*answer[automation.Report], error) {
		return answered(a.Automations.DryRun(ctx, automation.Input{Name: in.Body.Name, Definition: in.Body.Definition}, in.Body.From, in.Body.To))
	})
	route(a, http.MethodGet, "/automations/actions", "list-actions", "What automations can do", func(context.Context, *struct{}) (*answer[ActionList], error) {
		return answered(ActionList{Items: a.Automations.Actions()}, nil)
	})
	route(a, http.MethodGet, "/automations/triggers", "list-triggers", "What automations can react to", func(context.Context, *struct{}) (*answer[TriggerList], error) {
		return answered(TriggerList{Items: automation.EventTypes()}, nil)
	})
	route(a, http.MethodGet, "/automations/schema", "get-automation-schema", "The JSON Schema of definitions, with the events and actions that there are", func(context.Context, *struct{}) (*answer[json.RawMessage], error) {
		return answered(automation.Schema(automation.NewRegistry(a.Automations.Actions()...)))
	}, func(op *huma.Operation) {
		op.Responses = map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{
			"application/json": {Schema: &huma.Schema{Type: huma.TypeObject}},
		}}}
	})
	route(a, http.MethodGet, "/automation-runs", "list-automation-runs", "List runs of automations, newest first", func(ctx context.Context, in *automationRunQuery) (*answer[List[automation.Run]], error) {
		return listed(a.Automations.Runs(ctx, in.Automation, automation.RunStatus(in.Status), in.page()))
	})
	route(a, http.MethodGet, "/automation-runs/{id}", "get-automation-run", "Get a run with its steps", func(ctx context.Context, in *Ref) (*answer[AutomationTrace], error) {
		run, steps, err := a.Automations.Run(ctx, in.ID)
		return answered(AutomationTrace{Run: run, Steps: append([]automation.Step{}, steps...)}, err)
	})
	route(a, http.MethodPost, "/automation-runs/{id}/cancel", "cancel-automation-run", "End a run that goes on", func(ctx context.Context, in *Ref) (*answer[automation.Run], error) {
		return answered(a.Automations.Cancel(ctx, actor(ctx), in.ID))
	})
	route(a, http.MethodPost, "/automation-runs/{id}/rerun", "rerun-automation-run", "Run again, on what it reacted to", func(ctx context.Context, in *Ref) (*created[automation.Run], error) {
		run, err := a.Automations.Rerun(ctx, actor(ctx), in.ID)
		return made("/automation-runs/"+run.ID, run, err)
	}, status(http.StatusCreated))
}

// maxHook bounds the body of a hook, in bytes.
const maxHook = 64 << 10

// addHooks takes calls from outside, which are signed instead of authenticated.
func (a *API) addHooks(mux *http.ServeMux) {
	mux.HandleFunc("POST /hooks/{hook}", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxHook))
		if err != nil {
			a.refuse(w, r, fault.New(fault.Invalid, "the body cannot be read, or is larger than %d KiB", maxHook>>10))
			return
		}
		err = a.Automations.Hook(ctx, a.HookSecret, automation.Call{
			Hook: r.PathValue("hook"), Timestamp: r.Header.Get("X-Perigee-Timestamp"), Signature: r.Header.Get("X-Perigee-Signature"),
			ID: r.Header.Get("Idempotency-Key"), Body: body,
		})
		if err != nil {
			a.refuse(w, r, err)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})
}
