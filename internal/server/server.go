// Package server is the composition root of the core: every part is made here,
// given what it needs, and joined.
//
// Parts stop in two storeys. What talks to the outside (HTTP, the hub's sessions,
// the built-in satellite) stops first; what makes facts durable (ingest, edges,
// liveness) runs until those are done, so that a stop loses nothing that was
// taken in. The database is closed last.
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/blob"
	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/checkschema"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/internal/hub"
	"github.com/perigee-monitoring/perigee/internal/incident"
	"github.com/perigee-monitoring/perigee/internal/notify"
	"github.com/perigee-monitoring/perigee/internal/packages"
	"github.com/perigee-monitoring/perigee/internal/sandbox"
	"github.com/perigee-monitoring/perigee/internal/secret"
	"github.com/perigee-monitoring/perigee/internal/store"
	"github.com/perigee-monitoring/perigee/internal/trial"
)

// Config is what an operator decides.
type Config struct {
	// Listen is the address of API, page and satellites ("127.0.0.1:8420"; port 0
	// takes a free one).
	Listen string
	// Database is postgres://… or a SQLite file; "" is perigee.db in DataDir.
	Database string
	// Bus is how the cores of one database tell each other to look: "local" for one
	// core alone, "postgres", or nats://…; "" is postgres on PostgreSQL and local on SQLite.
	Bus string
	// DataDir holds the SQLite file and the built-in satellite's spool.
	DataDir string
	// Registry is where script packages are fetched from, "" for npm's own, and
	// RegistryToken what is shown to it. Blobs are where their bytes are kept: "db" (or
	// ""), dir:PATH or s3://…, with BlobKeys for the last.
	Registry, RegistryToken, Blobs string
	BlobKeys                       blob.Keys
	// KeepTransitions is how long it is known what happened to satellites and systems;
	// zero means 90 days.
	KeepTransitions time.Duration
	// Settings are what it was started with, as whoever started it calls that; shown to
	// people, and nothing else.
	Settings []httpapi.InForce
	// KeepAudit is how long the audit log is kept; zero means 400 days.
	KeepAudit time.Duration
	// Keep is how long results and their rollups are kept; zero means the defaults.
	Keep health.Retention
	// SecretKeyFile holds the root key of secrets, 32 bytes in base64; "" is secret.key in
	// DataDir, which is made when it is missing. Several cores of one database need the
	// same. SecretKey is the key itself and wins.
	SecretKeyFile, SecretKey string
	// SecretKeyOldFile holds the root key before, until the keyset is sealed by the present one.
	SecretKeyOldFile string
	// Vault is where secrets that are kept elsewhere are fetched from; nil for nowhere.
	Vault *secret.KV
	// AdminToken seeds the first API token; "" makes one at the first start.
	AdminToken string
	// Local runs the built-in satellite, which carries out assignments that include
	// the core itself.
	Local bool
	// LocalScripts lets the built-in satellite run shell scripts, as this process's user.
	LocalScripts bool
	// TrustForwarded believes X-Forwarded-For, for a core behind a proxy.
	TrustForwarded bool
	// Grace is how long a satellite may be away before that is told.
	Grace time.Duration
	// HoldOff is how long a satellite may be lost before its seats move; zero is a minute.
	HoldOff time.Duration
	// MaxClockSkew is how far satellites' clocks may be off before that is told. Default
	// fleet.DefaultMaxSkew.
	MaxClockSkew time.Duration
	// DrainSpan is over how long a stop lets satellites go to the other cores. A core
	// that is alone (bus local) lets them go at once.
	DrainSpan time.Duration
	Version   string
	Log       *slog.Logger
}

// Server is a core that listens and does not yet work.
type Server struct {
	// Catalog is where definitions are kept, for whoever embeds the core.
	Catalog *catalog.Catalog
	// FirstToken is the API token that this start made, "" if there was one already.
	// It is known nowhere else.
	FirstToken string

	config    Config
	startedAt time.Time
	accounts  *auth.Accounts
	audit     *auth.Audit
	log       *slog.Logger
	db        *store.DB
	listener  net.Listener
	api       *httpapi.API
	http      *http.Server
	bell      bus.Bus
	fleet     *fleet.Fleet
	runs      *fleet.RunRequests
	trials    *trial.Service
	ingest    *health.Ingest
	roller    *health.Roller
	opinions  *health.Opinions
	watch     *health.Watch
	hub       *hub.Hub
	mover     *catalog.Mover
	secrets   *secret.Service
	sandbox   *sandbox.Service
	channels  *notify.Service
	incidents *incident.Service
	// actions are what automations can do.
	actions     *automation.Registry
	automations *automation.Service
	runner      *automation.Runner
	packages    *packages.Service
	// watches are the runs that automations wish to be told of; watchesChanged rings when
	// there may be others.
	watches        runWatches
	watchesChanged <-chan struct{}
	// secretsChanged rings when a value was replaced, here or on another core.
	secretsChanged <-chan struct{}
	// definitionsChanged rings when there may be another maintenance.
	definitionsChanged <-chan struct{}
	cleanup            []func()
}

// New opens the database, brings it up to date, and binds the address. Close
// undoes it when Run is not called.
func New(ctx context.Context, c Config) (*Server, error) {
	c.KeepTransitions = cmp.Or(c.KeepTransitions, defaultKeepTransitions)
	c.KeepAudit = cmp.Or(c.KeepAudit, defaultKeepAudit)
	c.Keep = cmp.Or(c.Keep, health.DefaultRetention)
	if err := c.Keep.Validate(); err != nil {
		return nil, err
	}
	s := &Server{config: c, log: c.Log, startedAt: time.Now().UTC()}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) open(ctx context.Context) error {
	c := &s.config
	if c.DataDir == "" {
		return errors.New("the data directory is missing")
	}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return fmt.Errorf("making the data directory: %w", err)
	}
	if c.Database == "" {
		c.Database = filepath.Join(c.DataDir, "perigee.db")
	}
	var err error
	if s.db, err = store.Open(ctx, c.Database, s.log); err != nil {
		return err
	}
	if err := s.db.FillEras(ctx); err != nil {
		return fmt.Errorf("looking through what is due: %w", err)
	}
	if err := s.db.MakePartitions(ctx, time.Now(), c.Keep); err != nil {
		return err
	}
	if s.bell, err = newBus(c.Bus, c.Database, s.db.Engine(), s.log); err != nil {
		return err
	}
	if s.FirstToken, err = auth.Bootstrap(ctx, s.db, c.AdminToken); err != nil {
		return err
	}
	root, err := s.rootKey()
	if err != nil {
		return err
	}
	oldRoot, err := s.oldRootKey()
	if err != nil {
		return err
	}
	if err := s.wire(ctx, root, oldRoot); err != nil {
		return err
	}
	if s.listener, err = net.Listen("tcp", c.Listen); err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	return nil
}

// wire makes the parts. Nothing runs yet.
func (s *Server) wire(ctx context.Context, root, oldRoot []byte) (err error) {
	derivers := slices.Concat(fleet.Derivers(), health.Derivers(), catalog.Derivers(), secret.Derivers(), packages.Derivers(), sandbox.Derivers(), incident.Derivers(), notify.Derivers())
	recorder := entity.NewRecorder(s.db, s.bell, derivers...)

	s.accounts, s.audit = auth.NewAccounts(s.db), auth.NewAudit(s.db, s.log)
	s.fleet = fleet.New(s.db, recorder, s.bell, s.log)
	s.Catalog = catalog.New(s.db, recorder, s.bell, checkschema.ValidateSpec, s.log)
	s.runs = fleet.NewRunRequests(s.db, s.bell)
	s.definitionsChanged = s.subscribe(entity.TopicEvents)
	s.fleet.SetReplan(s.Catalog.SatelliteChanged)
	s.fleet.SetGrace(s.config.Grace)
	s.fleet.SetMaxSkew(cmp.Or(s.config.MaxClockSkew, fleet.DefaultMaxSkew))
	s.ingest = health.NewIngest(s.db, recorder, s.log)
	s.roller = health.NewRoller(s.db, s.log)
	s.watch = health.NewWatch(s.db, s.db, recorder, s.log, s.subscribe(entity.TopicEvents, fleet.TopicConfig))
	s.opinions = health.NewOpinions(s.db, recorder, s.runs, s.log, s.subscribe(health.TopicOpinion, fleet.TopicAnswer))
	s.ingest.Consult(s.opinions)
	s.ingest.Watch(s.watches.get)
	s.watchesChanged = s.subscribe(entity.TopicEvents)
	s.watch.Consult(s.opinions)

	if s.secrets, err = secret.New(secret.Config{Store: s.db, Recorder: recorder, Bell: s.bell, Root: root, OldRoot: oldRoot, KV: s.config.Vault, Log: s.log}); err != nil {
		return err
	}
	s.secretsChanged = s.subscribe(secret.Topic)
	s.channels = notify.New(s.db, recorder, s.secrets, s.log)
	s.incidents = incident.New(s.db, recorder)
	s.actions = s.newActions()
	s.automations = automation.NewService(s.db, recorder, s.actions)
	s.runner = automation.NewRunner(s.db, recorder, s.actions, s.log, s.subscribe(entity.TopicEvents))
	if s.db.Engine() == "sqlite" { // which one process has open
		if err := s.runner.TakeOver(ctx); err != nil {
			return err
		}
	}
	s.Catalog.SetConcealer(s.secrets)
	s.trials = trial.New(s.db, s.Catalog, s.secrets, s.bell, s.log)

	if s.packages, err = s.newPackages(ctx, recorder); err != nil {
		return err
	}

	s.sandbox = sandbox.New(s.db, recorder, s.bell)

	metrics := hub.NewMetrics()
	s.hub = hub.New(hub.Config{
		Fleet: s.fleet, Ingest: s.ingest, Secrets: s.secrets, Packages: s.packages, PackageChanges: s.subscribe(packages.Topic),
		Sandbox: s.sandbox, SandboxChanges: s.subscribe(sandbox.Topic),
		RunRequests: s.runs, Trials: s.trials, Runs: s.subscribe(fleet.TopicRun, trial.TopicAsked), Changes: s.subscribe(fleet.TopicConfig), Unreachable: s.fleet.Unreachable, Deaf: func() bool { return !s.bell.Status().Connected }, Limits: s.limits(),
		Log: s.log, Metrics: metrics,
	})
	s.fleet.SetLeased(s.hub.Leased)
	s.mover = catalog.NewMover(s.Catalog, s.db, s.config.HoldOff, s.subscribe(fleet.TopicConfig))
	s.wireHTTP(registry(s, metrics))
	return nil
}

// limits are the hub's. Satellites of a core that is alone have nowhere to go.
func (s *Server) limits() hub.Limits {
	if s.alone() {
		return hub.Limits{Grace: s.config.Grace}
	}
	return hub.Limits{Grace: s.config.Grace, DrainSpan: s.config.DrainSpan, DrainGrace: drainGrace, CutOff: cutOff}
}

// alone reports that there are no other cores, as far as the operator says.
func (s *Server) alone() bool { return s.bell.Status().Kind == "local" }

func (s *Server) subscribe(topics ...string) <-chan struct{} {
	rings, end := s.bell.Subscribe(topics...)
	s.cleanup = append(s.cleanup, end)
	return rings
}

// URL is where the core is reached on this machine.
func (s *Server) URL() string {
	host, port, err := net.SplitHostPort(s.listener.Addr().String())
	if err != nil {
		return "http://" + s.listener.Addr().String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// SetupCode makes the code by which the page lets somebody make the first administrator;
// "" when there are users, or an operator chose the token of one.
func (s *Server) SetupCode(ctx context.Context) (string, error) {
	if s.config.AdminToken != "" {
		return "", nil
	}
	return s.accounts.SetupCode(ctx)
}

// Run works until ctx ends, and closes the server. It returns nil after a clean stop.
func (s *Server) Run(ctx context.Context) error {
	s.log.Info("core started", "url", s.URL(), "engine", s.db.Engine(), "version", s.config.Version)
	below, stopBelow := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBelow()
	durable, below := errgroup.WithContext(below)
	durable.Go(func() error { return s.bell.Run(below) })
	durable.Go(func() error { return s.audit.Run(below) })
	durable.Go(func() error { return s.secrets.Run(below) })
	durable.Go(func() error { return s.keepSecrets(below) })
	durable.Go(func() error { return s.packages.Run(below) })
	durable.Go(func() error { return s.keepHouse(below) })
	durable.Go(func() error { return s.keepMaintenances(below) })
	durable.Go(func() error { return s.keepWatches(below) })
	durable.Go(func() error { return s.fleet.Run(below) })
	durable.Go(func() error { return s.mover.Run(below) })
	durable.Go(func() error { return s.ingest.Run(below) })
	durable.Go(func() error { return s.roller.Run(below) })
	durable.Go(func() error { return s.watch.Run(below) })
	durable.Go(func() error { return s.opinions.Run(below) })
	durable.Go(func() error { return s.runner.Run(below) })

	outside, ctx := errgroup.WithContext(ctx)
	drained := make(chan struct{})
	outside.Go(func() error {
		defer close(drained)
		return s.hub.Run(ctx)
	})
	outside.Go(func() error { return s.serve(ctx, drained) })
	if s.config.Local {
		outside.Go(func() error { return s.runLocal(ctx) })
	}
	// A part below that fails takes the ones outside with it.
	outside.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-below.Done():
			return context.Cause(below)
		}
	})
	err := outside.Wait()
	stopBelow()
	err = errors.Join(err, durable.Wait(), s.Close())
	s.log.Info("core stopped")
	return err
}

const (
	// drainHTTP bounds how long requests in progress are waited for, and drainGrace
	// how long results of satellites that were let go may take to be made durable.
	drainHTTP  = 3 * time.Second
	drainGrace = 3 * time.Second
	// cutOff is how long the database may be out of reach before satellites are sent
	// to other cores: well before they count as silent (protocol.OfflineThreshold).
	cutOff = 12 * time.Second
)

// serve answers until ctx ends and the satellites were let go: until then load
// balancers are told so.
func (s *Server) serve(ctx context.Context, drained <-chan struct{}) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving HTTP: %w", err)
	case <-ctx.Done():
	}
	if !s.alone() {
		select {
		case <-drained:
		case <-time.After(s.config.DrainSpan):
		}
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainHTTP)
	defer cancel()
	if err := s.http.Shutdown(limit); err != nil {
		_ = s.http.Close() // what is still open after the drain is cut
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving HTTP: %w", err)
	}
	return nil
}

// Close frees what New opened. Run does it at its end.
func (s *Server) Close() error {
	for _, end := range s.cleanup {
		end()
	}
	s.cleanup = nil
	var errs []error
	if s.listener != nil {
		if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
		s.db = nil
	}
	return errors.Join(errs...)
}
