package satellite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fence"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
	"github.com/perigee-monitoring/perigee/protocol"
)

// Config of a satellite. ID, Token and DataDir are required; other zero fields take
// the default.
type Config struct {
	// ID is the satellite's id at the core, Token its credential.
	ID    string
	Token string
	// DataDir holds the spool, the script packages and the last known assignments. One process at a time
	// may use it.
	DataDir string
	// Version of this build, as the core shows it.
	Version string
	// SpoolBytes bounds the spool on disk. Default DefaultSpoolBytes, at least
	// MinSpoolBytes.
	SpoolBytes int64
	// Concurrency is how many runs go on at once. Default DefaultConcurrency.
	Concurrency int
	// RunTimeout ends a run that takes longer than both this and its interval.
	// Default DefaultRunTimeout.
	RunTimeout time.Duration
	// StatusListen is where the status page is served, such as 127.0.0.1:8421; "" is
	// nowhere. The page shows what is checked, to whoever can reach it.
	StatusListen string
	// PackageCacheBytes bounds the unpacked script packages on disk. Default
	// scriptpkg.DefaultCacheBytes.
	PackageCacheBytes int64
	// Observer is what the satellite watches of itself.
	Observer ObserverConfig
	// ScriptPolicy is what scripts may do here at most, whatever the core says; nil leaves
	// it to the core.
	ScriptPolicy *fence.Policy
	// Now is the wall clock, which may be wrong; nil is the system's.
	Now func() time.Time
}

const (
	DefaultConcurrency = 64
	DefaultRunTimeout  = time.Minute
	// DrainRuns and DrainSpool bound what a stopping satellite waits for: runs that go
	// on, then the delivery of what is spooled (spec M28).
	DrainRuns  = 5 * time.Second
	DrainSpool = 3 * time.Second
)

// Core is one core that the satellite may connect to. Several are one and the same
// Perigee: they share their records, and any of them will do.
type Core struct {
	// URL names it for people (status page, logs).
	URL  string
	Dial Dialer
}

// Dialer opens a connection to the core. The context bounds the opening only.
type Dialer func(context.Context) (link.Conn, error)

// Satellite is the agent. Make one with New and call Run once.
type Satellite struct {
	config  Config
	cores   []Core
	prober  Prober
	log     *slog.Logger
	started time.Time
	bootID  string
	now     func() time.Time // the wall clock

	lock       *os.File
	page       net.Listener // nil without a status page
	spool      *spool
	scheduler  *scheduler
	executor   *executor
	packages   *packages
	clock      clock
	observer   *observer
	state      linkState
	refusals   refusals
	recent     recent
	secrets    *secrets
	policies   *policies
	complaints chan protocol.StrategyError
	trials     atomic.Int32 // that go on, or are being refused
}

// New opens the data directory and takes it for this process. The errors are for
// the person who starts the satellite.
func New(c Config, prober Prober, cores []Core, log *slog.Logger) (*Satellite, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	if len(cores) == 0 {
		return nil, errors.New("there is no core to connect to")
	}
	s := &Satellite{
		config:  c,
		cores:   cores,
		prober:  prober,
		log:     log.With("satellite", c.ID),
		started: time.Now(),
		bootID:  uuid.NewString(),
		now:     c.Now,
		secrets: newSecrets(),
		state:   linkState{bell: make(chan struct{}, 1)},
		// A complaint that finds this full is in the log and on the page all the same.
		complaints: make(chan protocol.StrategyError, 16),
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (c Config) complete() (Config, error) {
	switch {
	case c.ID == "":
		return c, errors.New("the satellite's id is missing")
	case len(c.ID) > protocol.MaxID:
		return c, fmt.Errorf("the satellite's id is longer than %d characters", protocol.MaxID)
	case c.Token == "":
		return c, errors.New("the satellite's token is missing")
	case len(c.Token) > protocol.MaxToken:
		return c, fmt.Errorf("the satellite's token is longer than %d characters", protocol.MaxToken)
	case c.DataDir == "":
		return c, errors.New("the data directory is missing")
	case c.SpoolBytes != 0 && c.SpoolBytes < MinSpoolBytes:
		return c, fmt.Errorf("a spool of %d bytes is too small; the least is %d", c.SpoolBytes, MinSpoolBytes)
	case c.Concurrency < 0 || c.RunTimeout < 0:
		return c, errors.New("concurrency and run timeout cannot be negative")
	case c.PackageCacheBytes < 0:
		return c, errors.New("the size of the package cache cannot be negative")
	}
	if c.SpoolBytes == 0 {
		c.SpoolBytes = DefaultSpoolBytes
	}
	if c.Concurrency == 0 {
		c.Concurrency = DefaultConcurrency
	}
	if c.RunTimeout == 0 {
		c.RunTimeout = DefaultRunTimeout
	}
	if c.Version == "" {
		c.Version = "unknown"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

func (s *Satellite) open() error {
	dir := s.config.DataDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the data directory: %w", err)
	}
	if os.Geteuid() == 0 { // scripts that are to run as somebody else find their way through
		if err := os.Chmod(dir, 0o711); err != nil {
			return fmt.Errorf("opening the data directory: %w", err)
		}
	}
	lock, held, err := lockFile(filepath.Join(dir, "lock"))
	switch {
	case held:
		return fmt.Errorf("the data directory %s is in use by another satellite process", dir)
	case err != nil:
		return fmt.Errorf("locking the data directory: %w", err)
	}
	s.lock = lock
	path := filepath.Join(dir, "desired.json")
	d, err := loadDesired(path)
	if err != nil {
		return err
	}
	if d.SatelliteID != "" && d.SatelliteID != s.config.ID {
		return fmt.Errorf("the data directory %s belongs to satellite %s; give this one a directory of its own", dir, d.SatelliteID)
	}
	d.SatelliteID, d.CoreURL = s.config.ID, strings.Join(s.coreURLs(), ",")
	if s.spool, err = openSpool(filepath.Join(dir, "spool"), s.config.SpoolBytes, s.log); err != nil {
		return err
	}
	store, err := scriptpkg.OpenStore(filepath.Join(dir, "script-packages"), scriptpkg.StoreOptions{
		CacheBytes: s.config.PackageCacheBytes, Versions: npmVersions{}, Log: s.log, Now: func() time.Time { return s.now() },
	})
	if err != nil {
		return err
	}
	s.packages = newPackages(store, s.log)
	s.policies = openPolicies(dir, s.config.ScriptPolicy, s.log)
	if s.config.StatusListen != "" {
		if s.page, err = net.Listen("tcp", s.config.StatusListen); err != nil {
			return fmt.Errorf("opening the status page: %w", err)
		}
	}
	wall := func() time.Time { return s.now() }
	if s.observer, err = newObserver(s.config.Observer, &s.clock, wall, s.log); err != nil {
		return err
	}
	s.assemble(path, d)
	return nil
}

func (s *Satellite) coreURLs() []string {
	urls := make([]string, len(s.cores))
	for i, c := range s.cores {
		urls[i] = c.URL
	}
	return urls
}

func (s *Satellite) assemble(path string, d desired) {
	wall := func() time.Time { return s.now() }
	x := &executor{
		prober: s.prober, timeout: s.config.RunTimeout, spool: s.spool,
		log: s.log, now: wall, complain: s.complain, recent: &s.recent, secrets: s.secrets, observer: s.observer,
		skipped: func(reason protocol.SkipReason, slots int64) { s.scheduler.status.skipped(reason, slots) },
	}
	s.executor = x
	s.scheduler = &scheduler{
		path: path, spool: s.spool, prober: s.prober, log: s.log, now: wall,
		limit: s.config.Concurrency, run: x.run, stepped: s.clockSet, lag: &s.observer.lag,
		changes: make(chan order), asked: make(chan *protocol.RunNow), desired: d,
		ledger: ledger{satelliteID: s.config.ID, accounted: s.spool.Accounted}, leases: new(leases),
	}
}

// clockSet hears that our clock was set: what was known of its offset is wrong, and the
// core is to hear that at once.
func (s *Satellite) clockSet() {
	s.clock.reset()
	ring(s.observer.bell)
}

func (s *Satellite) complain(m protocol.StrategyError) {
	select {
	case s.complaints <- m:
	default:
	}
}

// Run works until the context ends, which is a clean stop and returns nil, or
// until the core refuses the satellite for good: ErrRefused, ErrSuperseded. A stop
// lets runs finish and delivers what is spooled, both within bounds, and takes less
// than ten seconds; what is left is on disk for the next start.
func (s *Satellite) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, s.close()) }()
	g, gctx := errgroup.WithContext(ctx)
	online, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	g.Go(func() error { return s.connect(online) })
	g.Go(func() error { return s.spool.Run(online) })
	g.Go(func() error { return s.packages.Run(online) })
	g.Go(func() error { return s.observer.Run(online) }) // runs that end during a stop ask it
	if s.page != nil {
		g.Go(func() error { return s.serveStatus(online, s.page) })
	}
	g.Go(func() error {
		defer hangUp()
		err := s.scheduler.Run(gctx, DrainRuns)
		s.drainSpool(DrainSpool)
		return err
	})
	return g.Wait()
}

// drainSpool waits until the core has everything, as long as there is a core.
func (s *Satellite) drainSpool(atMost time.Duration) {
	deadline := time.NewTimer(atMost)
	defer deadline.Stop()
	for s.state.get().Connected && s.spool.Status().Records > 0 {
		select {
		case <-s.spool.progress:
		case <-s.state.bell:
		case <-deadline.C:
			return
		}
	}
}

// close gives the data directory back.
func (s *Satellite) close() error {
	var errs []error
	if s.page != nil {
		if err := s.page.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.packages != nil {
		errs = append(errs, s.packages.store.Close())
	}
	if s.spool != nil {
		errs = append(errs, s.spool.Close())
	}
	if s.lock != nil {
		errs = append(errs, unlockFile(s.lock))
	}
	return errors.Join(errs...)
}

func (s *Satellite) inventory() protocol.Inventory {
	in := s.prober.Inventory()
	for what, why := range in.Missing {
		in.Missing[what] = check.Truncate(why, protocol.MaxText)
	}
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	in.Fence = &protocol.Fence{}
	if in.Fence.Level, err = fence.Level(); err != nil {
		in.Fence.Missing = check.Truncate(err.Error(), protocol.MaxName)
	}
	in.Version, in.OS, in.Arch, in.Hostname = s.config.Version, runtime.GOOS, runtime.GOARCH, host
	return in
}
