// Package httpapi is how people and programs talk to a core: REST under /api/v1
// with an OpenAPI 3.1 document, server-sent events, the health and metrics pages, the
// web interface, and the door through which satellites come.
//
// It translates: a request into one call of a domain service, a fault into a
// problem document (RFC 9457). It decides nothing itself. The domain's types are
// the API's types; what stands here besides are envelopes, and the one view that
// joins two domains (status.go).
package httpapi

import (
	"context"
	"io/fs"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fence"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/packages"
	"github.com/perigee-monitoring/perigee/internal/sandbox"
	"github.com/perigee-monitoring/perigee/internal/secret"
	"github.com/perigee-monitoring/perigee/verdict"
)

// Base is where the REST API begins, and SatellitePath where satellites connect
// (spec A.1), exactly.
const (
	Base          = "/api/v1"
	SatellitePath = "/api/ws/satellite"
)

// Fleet is what the API asks of the satellites' service.
type Fleet interface {
	Create(ctx context.Context, actor entity.Actor, n fleet.NewSatellite) (fleet.Satellite, string, error)
	Update(ctx context.Context, actor entity.Actor, id string, p fleet.Patch) (fleet.Satellite, error)
	Rotate(ctx context.Context, actor entity.Actor, id string, r fleet.Rotation) (fleet.Satellite, string, error)
	RevokePrevious(ctx context.Context, actor entity.Actor, id string) (fleet.Satellite, error)
	Delete(ctx context.Context, actor entity.Actor, id string) error
	SetCordon(ctx context.Context, actor entity.Actor, id string, c fleet.Cordon) (fleet.Satellite, error)
}

// Catalog is what the API asks of the definitions' service. Refs are ids or names.
type Catalog interface {
	System(ctx context.Context, ref string) (catalog.System, error)
	Systems(ctx context.Context, p fleet.Page) ([]catalog.System, string, error)
	CreateSystem(ctx context.Context, actor entity.Actor, in catalog.SystemInput) (catalog.System, error)
	UpdateSystem(ctx context.Context, actor entity.Actor, ref string, in catalog.SystemInput) (catalog.System, error)
	DeleteSystem(ctx context.Context, actor entity.Actor, ref string) (catalog.Removed, error)

	Check(ctx context.Context, ref string) (catalog.Check, error)
	Checks(ctx context.Context, p fleet.Page) ([]catalog.Check, string, error)
	CreateCheck(ctx context.Context, actor entity.Actor, in catalog.CheckInput) (catalog.Check, error)
	UpdateCheck(ctx context.Context, actor entity.Actor, ref string, in catalog.CheckInput) (catalog.Check, error)
	DeleteCheck(ctx context.Context, actor entity.Actor, ref string) (catalog.Removed, error)

	Assignment(ctx context.Context, ref string) (catalog.Assignment, error)
	Assignments(ctx context.Context, p fleet.Page) ([]catalog.Assignment, string, error)
	CreateAssignment(ctx context.Context, actor entity.Actor, in catalog.AssignmentInput) (catalog.Assignment, error)
	UpdateAssignment(ctx context.Context, actor entity.Actor, ref string, in catalog.AssignmentInput) (catalog.Assignment, error)
	DeleteAssignment(ctx context.Context, actor entity.Actor, ref string) error
	PreviewPlacement(ctx context.Context, in catalog.PlacementInput) (catalog.PlacementPreview, error)

	Maintenance(ctx context.Context, ref string) (catalog.Maintenance, error)
	Maintenances(ctx context.Context, p fleet.Page) ([]catalog.Maintenance, string, error)
	CreateMaintenance(ctx context.Context, actor entity.Actor, in catalog.MaintenanceInput) (catalog.Maintenance, error)
	UpdateMaintenance(ctx context.Context, actor entity.Actor, ref string, in catalog.MaintenanceInput) (catalog.Maintenance, error)
	EndMaintenance(ctx context.Context, actor entity.Actor, ref string) (catalog.Maintenance, error)
	DeleteMaintenance(ctx context.Context, actor entity.Actor, ref string) error

	Apply(ctx context.Context, actor entity.Actor, docs []catalog.Document, dryRun bool, also ...catalog.Also) (catalog.Plan, error)
	Export(ctx context.Context, also ...func(entity.Tx) error) ([]catalog.Document, error)
	Import(ctx context.Context, actor entity.Actor, in catalog.Import, dryRun bool) (catalog.ImportPlan, error)
}

// Packages is what the API asks of the service of script packages.
type Packages interface {
	Packages(ctx context.Context) ([]packages.Package, error)
	Types(ctx context.Context, name string) (packages.Types, error)
	Add(ctx context.Context, actor entity.Actor, name, version string) (packages.Package, error)
	SetEnabled(ctx context.Context, actor entity.Actor, name string, enabled bool) (packages.Package, error)
	Remove(ctx context.Context, actor entity.Actor, name string) error
	Install(ctx context.Context, actor entity.Actor) error
	State(ctx context.Context) (packages.State, error)
	Satellites(ctx context.Context) ([]packages.SatelliteState, error)
	History(ctx context.Context) ([]packages.Tree, error)
	Unneeded(ctx context.Context) (packages.Unneeded, error)
	Collect(ctx context.Context) (packages.Collected, error)
}

// Secrets is what the API asks of the secrets' service. It never gives a value.
type Secrets interface {
	Set(ctx context.Context, actor entity.Actor, name string, in secret.Input) (secret.Secret, error)
	Delete(ctx context.Context, actor entity.Actor, name string) error
	List(ctx context.Context) ([]secret.Secret, error)
	Leases(ctx context.Context, f secret.LeaseFilter, before int64, limit int) ([]secret.Lease, error)
	RotateKey(ctx context.Context, actor entity.Actor) (secret.Rotated, error)
}

// Sandbox is what the API asks of the sandbox policy's service.
type Sandbox interface {
	Get(ctx context.Context) (sandbox.Setting, error)
	Set(ctx context.Context, actor entity.Actor, p fence.Policy) (sandbox.Setting, error)
	Reset(ctx context.Context, actor entity.Actor) (sandbox.Setting, error)
}

// Records are what the API reads without asking a service.
type Records interface {
	// Now is the database's clock.
	Now(ctx context.Context) (time.Time, error)
	Satellite(ctx context.Context, id string) (fleet.Satellite, error)
	SatelliteByName(ctx context.Context, name string) (fleet.Satellite, error)
	Satellites(ctx context.Context, f fleet.Filter, p fleet.Page) ([]fleet.Satellite, string, error)
	Regions(ctx context.Context) ([]fleet.Region, error)
	Transitions(ctx context.Context, kind, id string, p fleet.Page) ([]entity.Transition, string, error)
	Runs(ctx context.Context, f health.RunFilter, p fleet.Page) ([]health.Run, string, error)
	Skips(ctx context.Context, f health.RunFilter, p fleet.Page) ([]health.Skip, string, error)
	SystemHealths(ctx context.Context, ids []string) (map[string]health.SystemHealth, error)
	Seats(ctx context.Context, systemIDs []string) ([]health.Seat, error)
	Eras(ctx context.Context, f health.RunFilter, p fleet.Page) ([]health.Era, string, error)
	Verdicts(ctx context.Context, systemIDs []string) ([]verdict.Verdict, error)
	VerdictHistory(ctx context.Context, f health.VerdictFilter, p fleet.Page) ([]verdict.Verdict, string, error)
	Evidence(ctx context.Context, verdictID string) (verdict.Judged, error)
	Events(ctx context.Context, after int64, limit int) ([]entity.Event, error)
	EventsOf(ctx context.Context, f entity.EventFilter, limit int) ([]entity.Event, error)
	LastEvent(ctx context.Context) (int64, error)
	health.HistoryStore
}

// Ledger is what the API asks of the ledger.
type Ledger interface {
	Completeness(ctx context.Context, f health.RunFilter, p fleet.Page) (items []health.Completeness, w health.Window, next string, err error)
}

// Bells wake who subscribes to topics; the returned function ends that.
type Bells interface {
	Subscribe(topics ...string) (<-chan struct{}, func())
	Listen(topics ...string) *bus.Listener
	Status() bus.Status
}

// Options are what an API is made of; all that are no flags are needed.
type Options struct {
	Fleet   Fleet
	Catalog Catalog
	Secrets Secrets
	Sandbox Sandbox
	// Packages are what scripts may import.
	Packages Packages
	Records  Records
	// Automations react to events. HookSecret gives what calls of /hooks are signed with.
	Automations Automations
	HookSecret  automation.Secret
	// Incidents are what is wrong, and Channels how people are told.
	Incidents Incidents
	Channels  Channels
	// Ledger says what became of the slots that were due.
	Ledger Ledger
	// Auth says who asks, Accounts are the users and tokens, and Audit notes what they do.
	Auth     *auth.Authenticator
	Accounts *auth.Accounts
	Audit    *auth.Audit
	// About says how the core itself is.
	About func(context.Context) (About, error)
	Bells Bells
	// RunRequests passes on runs that are asked for.
	RunRequests RunRequests
	// Trials run checks that are not saved.
	Trials Trials
	// Satellites takes the requests at SatellitePath, unauthenticated.
	Satellites http.Handler
	// TrustForwarded takes the last address of X-Forwarded-For for the peer's, for
	// Satellites too; only for a core that is reached through a proxy alone.
	TrustForwarded bool
	// Ready are what /readyz asks.
	Ready []Readiness
	// Draining reports whether the core is letting its satellites go, which makes it
	// not ready; nil is never.
	Draining func() bool
	// Metrics gets the API's own metrics, and is what /metrics shows.
	Metrics *prometheus.Registry
	// Page is the web interface: index.html and what it loads.
	Page fs.FS
	// Version of the program, for the OpenAPI document.
	Version string
	Log     *slog.Logger
}

// API is the handler of all requests to a core. Drain it before the server that
// runs it is waited for, or open event streams keep it.
type API struct {
	Options
	metrics  *metrics
	page     *page
	routes   huma.API
	handler  http.Handler
	streams  chan struct{} // a place for each open event stream
	drained  chan struct{}
	drainNow func()
}

// New makes the handler.
func New(o Options) *API {
	a := &API{Options: o, metrics: newMetrics(o.Metrics), page: newPage(o.Page), streams: make(chan struct{}, maxStreams), drained: make(chan struct{})}
	a.drainNow = sync.OnceFunc(func() { close(a.drained) })

	mux := http.NewServeMux()
	a.routes = newRoutes(mux, o.Version)
	a.routes.UseMiddleware(a.measure, a.audit, a.authenticate)
	a.addSatellites()
	a.addRegions()
	a.addSystems()
	a.addChecks()
	a.addVerdicts()
	a.addAssignments()
	a.addMaintenances()
	a.addIncidents()
	a.addAutomations()
	a.addChannels()
	a.addPackages()
	a.addSecrets()
	a.addSandbox()
	a.addRunRequests()
	a.addTrials()
	a.addResults()
	a.addHistory()
	a.addCompleteness()
	a.addEvents()
	a.addDocuments()
	a.addStrategies()
	a.addUsers()
	a.addTokens()
	a.addAudit()
	a.addAbout()
	a.classify()
	a.addSessions(mux)
	a.addHooks(mux)
	a.addProbes(mux)
	a.page.add(mux)
	mux.Handle(SatellitePath, o.Satellites)

	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.refuse(w, r, fault.New(fault.Forbidden, "this request comes from another site"))
	}))
	a.handler = origin.Handler(a.orProblem(mux))
	return a
}

// Drain ends the event streams that are open and those that come.
func (a *API) Drain() { a.drainNow() }

type requestIDKey struct{}

// ServeHTTP gives the request an id and the answer its headers, and hands on. The
// writer is not wrapped, so that sockets can be taken over and streams flushed.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := uuid.Must(uuid.NewV7()).String()
	r = r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id))
	if a.TrustForwarded {
		r.RemoteAddr = forwarded(r)
	}
	limit(w, r)
	h := w.Header()
	h.Set("X-Request-Id", id)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", policy)
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler { //nolint:errorlint // panicked with as it is
				panic(p)
			}
			a.Log.Error("request panicked", "request_id", id, "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			write(w, problemOf(r.Context(), fault.New(fault.Internal, "panic")))
		}
	}()
	a.handler.ServeHTTP(w, r)
}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// orProblem serves what the mux has no route for with a problem instead of text.
func (a *API) orProblem(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		if a.page.wants(r) {
			a.page.serveIndex(w, r)
			return
		}
		var answer statusOnly
		handler.ServeHTTP(&answer, r)
		if allow := answer.Header().Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
			write(w, newProblem(http.StatusMethodNotAllowed, "method-not-allowed", "this path takes "+allow))
			return
		}
		write(w, newProblem(http.StatusNotFound, fault.NotFound.String(), "there is nothing at this path"))
	})
}

// statusOnly is a ResponseWriter of which only the header is looked at.
type statusOnly struct{ header http.Header }

func (s *statusOnly) Header() http.Header {
	if s.header == nil {
		s.header = http.Header{}
	}
	return s.header
}
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }
func (s *statusOnly) WriteHeader(int)             {}
