// Package action is what automations can do (spec D.5): each action in a file of its
// own, joined here into one list. They call the same services as the API, in the name
// of the automation.
//
// An action is told its key, the same for each attempt of a step. Where a record or a
// receiver can keep it, a repeat is no second deed; such actions are repeatable. What
// cannot ask the world whether it happened says automation.ErrInDoubt.
package action

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/incident"
	"github.com/perigee-monitoring/perigee/internal/notify"
	"github.com/perigee-monitoring/perigee/internal/redact"
)

// Services are what the actions call.
type Services struct {
	Channels    Channels
	Incidents   Incidents
	Catalog     Catalog
	Fleet       Fleet
	Satellites  Satellites
	RunRequests RunRequests
	Results     Results
	Secrets     Secrets
	// HTTP is the client by which webhooks are sent.
	HTTP *http.Client
	Log  *slog.Logger
}

// Channels send messages.
type Channels interface {
	Send(ctx context.Context, ref string, m notify.Message) (notify.Delivery, error)
	List(ctx context.Context) ([]notify.Channel, error)
}

// Incidents are kept by key: the same one twice is once.
type Incidents interface {
	Open(ctx context.Context, actor entity.Actor, key string, in incident.Input) (i incident.Incident, opened bool, err error)
	Update(ctx context.Context, actor entity.Actor, key, id string, u incident.Update) (incident.Incident, error)
	UpdateCause(ctx context.Context, actor entity.Actor, key, cause string, u incident.Update) (incident.Incident, error)
	ResolvePart(ctx context.Context, actor entity.Actor, key, cause, part, text string) (incident.Incident, error)
	AddNote(ctx context.Context, actor entity.Actor, key string, n incident.Note) (incident.Note, error)
}

// Catalog is what actions ask of the definitions' service.
type Catalog interface {
	System(ctx context.Context, ref string) (catalog.System, error)
	Check(ctx context.Context, ref string) (catalog.Check, error)
	Assignment(ctx context.Context, ref string) (catalog.Assignment, error)
	UpdateAssignment(ctx context.Context, actor entity.Actor, ref string, in catalog.AssignmentInput) (catalog.Assignment, error)
	Maintenance(ctx context.Context, ref string) (catalog.Maintenance, error)
	CreateMaintenance(ctx context.Context, actor entity.Actor, in catalog.MaintenanceInput) (catalog.Maintenance, error)
	UpdateMaintenance(ctx context.Context, actor entity.Actor, ref string, in catalog.MaintenanceInput) (catalog.Maintenance, error)
	EndMaintenance(ctx context.Context, actor entity.Actor, ref string) (catalog.Maintenance, error)
}

// Fleet is what actions ask of the satellites' service.
type Fleet interface {
	SetCordon(ctx context.Context, actor entity.Actor, id string, c fleet.Cordon) (fleet.Satellite, error)
}

// Satellites are the satellites as they are recorded.
type Satellites interface {
	Satellite(ctx context.Context, id string) (fleet.Satellite, error)
	SatelliteByName(ctx context.Context, name string) (fleet.Satellite, error)
}

// RunRequests pass on runs that are asked for.
type RunRequests interface {
	Order(ctx context.Context, o fleet.RunOrder) (requestID string, err error)
	Get(ctx context.Context, requestID string) ([]fleet.RunRequest, error)
}

// Results are what runs found.
type Results interface {
	Runs(ctx context.Context, f health.RunFilter, p fleet.Page) (items []health.Run, next string, err error)
}

// Secrets puts values into texts that refer to them.
type Secrets interface {
	Fill(ctx context.Context, texts ...string) ([]string, *redact.Redactor, error)
}

// All are the actions that there are.
func All(s Services) []automation.Action {
	return []automation.Action{
		logAction(s),
		supposing(notifyAction(s), `{"delivered":[]}`),
		supposing(webhookAction(s), `{"status":200,"body":""}`),
		incidentOpen(s), incidentUpdate(s), incidentResolve(s), noteAdd(s),
		supposing(checkRun(s), `{"requestId":"dry-run","status":"healthy","runs":[],"summary":""}`),
		supposing(scriptRun(s), `{"requestId":"dry-run","status":"healthy","runs":[],"summary":""}`),
		assignmentEnable(s, true), assignmentEnable(s, false),
		supposing(maintenanceSet(s), `{"id":"dry-run","name":"","end":""}`),
		supposing(maintenanceClear(s), `{"cleared":true}`),
		satelliteCordon(s, fleet.Cordoned), satelliteCordon(s, fleet.Uncordoned),
	}
}

// supposing says what a dry run goes on with as what the action gave.
func supposing(a automation.Action, output string) automation.Action {
	a.Supposed = json.RawMessage(output)
	return a
}

// repeatable marks an action of which twice under one key is once.
func repeatable(a automation.Action) automation.Action {
	a.Repeatable = true
	return a
}

// idOf makes an id of a key, the same each time.
func idOf(key string) string { return uuid.NewSHA1(uuid.NameSpaceURL, []byte("perigee:"+key)).String() }
