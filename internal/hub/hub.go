package hub

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/protocol"
)

// Fleet is what the hub needs of the satellites' records; *fleet.Fleet is one.
type Fleet interface {
	Verify(ctx context.Context, clientID, token string) (fleet.Verified, error)
	Open(ctx context.Context, satelliteID string, credential int64) (epoch int64, err error)
	Close(ctx context.Context, satelliteID string, epoch int64) error
	Replaced(ctx context.Context, satelliteID, remote string) (duplicate bool, err error)
	Beat(b fleet.Beat)
	Desired(ctx context.Context, satelliteID string) (fleet.Desired, error)
	Revisions(ctx context.Context, satelliteIDs []string) (map[string]fleet.Revision, error)
	SetInventory(ctx context.Context, id string, inv protocol.Inventory) error
	SetApplied(ctx context.Context, id string, applied protocol.Applied) error
	SetSyncState(ctx context.Context, id string, s protocol.ScriptPackageSyncState) error
	Observed(known fleet.ObserverHealth, p *protocol.Pulse) fleet.ObserverHealth
	Observe(ctx context.Context, id string, epoch int64, p *protocol.Pulse) (fleet.ObserverHealth, error)
}

// Ingest makes results durable; *health.Ingest is one. The channel yields nil
// once the item is; an Unavailable fault means that it may be handed in again.
type Ingest interface {
	Submit(ctx context.Context, item health.Item) (<-chan error, error)
}

// Config is what a hub is made of.
type Config struct {
	Fleet  Fleet
	Ingest Ingest
	// Packages may be nil: the core then knows nothing of script packages (spec L40).
	Packages Packages
	// Secrets may be nil: the core then delivers none.
	Secrets Secrets
	// Changes rings when some satellite's desired set or credential has changed
	// (fleet.TopicConfig). Nil leaves it to the slow poll.
	Changes <-chan struct{}
	// RunRequests may be nil. Runs rings when there are new ones (fleet.TopicRun).
	RunRequests RunRequests
	Runs        <-chan struct{}
	// Trials may be nil. Runs rings for them too (trial.TopicAsked).
	Trials Trials
	// Unreachable is for how long the database has been out of reach; see
	// Limits.CutOff. Nil is never.
	Unreachable func() time.Duration
	// Deaf reports that bells of other cores are not heard now: what they would have told
	// is looked for each Limits.DeafPoll then. Nil is never.
	Deaf func() bool
	// PackageChanges rings when the tree of packages that satellites should have may
	// have changed (packages.Topic). Nil leaves it to the slow poll.
	PackageChanges <-chan struct{}
	Log            *slog.Logger
	// Metrics may be nil. Whoever passes them registers them.
	Metrics *Metrics
	Limits  Limits
	// Link are the options of connections that ServeHTTP accepts.
	Link link.Options
	// Sandbox may be nil: the core then tells satellites no policy. SandboxChanges rings
	// when it may have changed; nil leaves it to the slow poll.
	Sandbox        Sandbox
	SandboxChanges <-chan struct{}
}

// Hub holds the live sessions of this process.
type Hub struct {
	config  Config
	fleet   Fleet
	ingest  Ingest
	log     *slog.Logger
	metrics *Metrics
	limits  Limits

	gate        gate
	admission   chan struct{}       // a place for each handshake at work
	inFlight    *semaphore.Weighted // bytes of results not yet durable
	serving     *semaphore.Weighted // packages that are read for satellites
	assignments pool
	kicked      chan struct{} // asks the relay to look; holds one token
	changes     atomic.Uint64 // how often Changes rang

	// base is the context of work that outlives its session: edges to be written,
	// results of original agents. It ends when Run has waited long enough.
	base    context.Context
	abandon context.CancelFunc

	mu       sync.Mutex
	sessions map[string]*session                // guarded by mu: by satellite id, authenticated ones
	all      map[*session]struct{}              // guarded by mu: every connection
	draining bool                               // guarded by mu
	closing  chan struct{}                      // closed when draining begins
	tree     reading[protocol.Nullable[string]] // of packages
	sandbox  reading[json.RawMessage]
	absences map[string]absence // guarded by mu: by satellite id, those that are not told yet
	running  sync.WaitGroup     // one for each connection; Add under mu
}

// New makes a hub. Run must be running for satellites to learn of changes.
func New(c Config) *Hub {
	if c.Metrics == nil {
		c.Metrics = NewMetrics()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	limits := c.Limits.withDefaults()
	base, abandon := context.WithCancel(context.Background())
	return &Hub{
		config: c, fleet: c.Fleet, ingest: c.Ingest, log: c.Log, metrics: c.Metrics, limits: limits,
		gate:      newGate(limits),
		admission: make(chan struct{}, limits.Handshakes),
		inFlight:  semaphore.NewWeighted(limits.InFlightBytes),
		serving:   semaphore.NewWeighted(servedAtOnce),
		kicked:    make(chan struct{}, 1),
		base:      base, abandon: abandon,
		sessions: map[string]*session{},
		all:      map[*session]struct{}{},
		closing:  make(chan struct{}),
		absences: map[string]absence{},
	}
}

// ServeHTTP upgrades requests for protocol.Path, exactly, and serves them in
// goroutines that Run waits for. Peers are counted by the request's RemoteAddr; who
// serves behind a proxy puts the address there that the proxy saw.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != protocol.Path {
		http.NotFound(w, r)
		return
	}
	remote := r.RemoteAddr
	if h.stopping() || !h.gate.enter(remote) {
		h.metrics.refusedSockets.Inc()
		w.Header().Set("Retry-After", strconv.Itoa(retryAfterSeconds))
		http.Error(w, "too many connections at once", http.StatusServiceUnavailable)
		return
	}
	o := h.config.Link
	o.ReadLimit = protocol.MaxFrameUnauthenticated
	conn, err := link.Accept(w, r, o)
	if err != nil {
		h.gate.leave(remote)
		h.log.Debug("not a satellite", "remote", remote, "error", err)
		return
	}
	s := h.newSession(conn, remote)
	s.gated = true
	if !h.admit(s) {
		h.gate.leave(remote)
		conn.Close(protocol.CloseGoingAway, "the core is stopping")
		return
	}
	// Not in this goroutine: a handler that stays holds its request and a large stack.
	go s.run()
}

// Serve takes in a connection that came another way (link.Pipe) and returns when
// it has ended.
func (h *Hub) Serve(conn link.Conn) {
	s := h.newSession(conn, conn.RemoteAddr())
	if !h.admit(s) {
		conn.Close(protocol.CloseGoingAway, "the core is stopping")
		return
	}
	s.run()
}

// admit counts the session among those that Run waits for, until forget; false
// when the hub is stopping.
func (h *Hub) admit(s *session) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining {
		return false
	}
	h.running.Add(1)
	h.all[s] = struct{}{}
	h.metrics.connections.Inc()
	return true
}

func (h *Hub) forget(s *session) {
	h.mu.Lock()
	delete(h.all, s)
	h.mu.Unlock()
	h.metrics.connections.Dec()
	h.running.Done()
}

func (h *Hub) stopping() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.draining
}

// Run relays changes and looks after idle sessions until ctx ends. Then it takes no
// new ones, lets its satellites go over Limits.DrainSpan, ends what is left with
// protocol.CloseGoingAway, writes no edges for any of them (spec M26; the
// satellites have their thresholds to come back), and waits for what is still
// being made durable. Fleet and Ingest must run for longer than it.
func (h *Hub) Run(ctx context.Context) error {
	defer h.abandon()
	sweep := time.NewTicker(h.limits.Sweep)
	defer sweep.Stop()
	poll := time.NewTicker(h.limits.DeafPoll)
	defer poll.Stop()
	polled := time.Now()
	var again <-chan time.Time
	asked := false // runs may have been asked for
	for {
		select {
		case <-ctx.Done():
			h.drain()
			return nil
		case <-sweep.C:
			h.sweep()
			continue
		case <-h.config.PackageChanges:
			h.relayPackages(ctx)
			continue
		case <-h.config.SandboxChanges:
			h.relaySandbox(ctx)
			continue
		case <-h.config.Changes:
			h.changes.Add(1)
		case <-h.kicked:
		case <-h.config.Runs:
			asked = true
		case <-poll.C:
			if time.Since(polled) < h.limits.Poll-h.limits.DeafPoll/2 && !h.deaf() {
				continue
			}
			polled = time.Now()
			asked = true
			h.relayPackages(ctx)
			h.relaySandbox(ctx)
		case <-again:
		}
		again = nil
		if err := h.relay(ctx); err != nil && ctx.Err() == nil {
			h.log.Warn("telling satellites of changes failed; trying again", "error", err)
			again = time.After(relayRetry)
			continue // what is to be run now has to be known there first
		}
		if asked {
			if err := errors.Join(h.runNow(ctx), h.tryNow(ctx)); err != nil && ctx.Err() == nil {
				h.log.Warn("passing on runs failed; trying again", "error", err)
				again = time.After(relayRetry)
				continue
			}
			asked = false
		}
	}
}

func (h *Hub) deaf() bool { return h.config.Deaf != nil && h.config.Deaf() }

// kick asks the relay to compare revisions soon.
func (h *Hub) kick() {
	select {
	case h.kicked <- struct{}{}:
	default:
	}
}

// sweep pings the sessions that have been quiet, so that a link which is alive
// is heard and one which is not ends by its silence.
func (h *Hub) sweep() {
	if h.cutOff() {
		return
	}
	now := time.Now()
	for _, s := range h.snapshot() {
		if now.Sub(s.conn.LastHeard()) >= h.limits.PingAfter {
			s.ping()
		}
		if s.stalled.Load() {
			// It is we who do not read; that is not its silence.
			h.fleet.Beat(fleet.Beat{SatelliteID: s.id, Epoch: s.epoch})
		}
	}
}

// snapshot is the authenticated sessions.
func (h *Hub) snapshot() []*session {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*session, 0, len(h.sessions))
	for _, s := range h.sessions {
		all = append(all, s)
	}
	return all
}

// SessionInfo is a live session, for the API and for debugging.
type SessionInfo struct {
	SatelliteID string    `json:"satelliteId"`
	Name        string    `json:"name"`
	Epoch       int64     `json:"epoch"`
	Remote      string    `json:"remote"`
	Since       time.Time `json:"since"`
	LastHeardAt time.Time `json:"lastHeardAt"`
	// Features that both ends use; none for an original agent.
	Features []string `json:"features"`
	// Revision of the assignments that were sent last.
	Revision int64 `json:"revision"`
	// Pending is how many submissions are not durable yet.
	Pending int `json:"pending"`
}

// Sessions lists the authenticated sessions by satellite id.
func (h *Hub) Sessions() []SessionInfo {
	all := h.snapshot()
	infos := make([]SessionInfo, 0, len(all))
	for _, s := range all {
		infos = append(infos, s.info())
	}
	slices.SortFunc(infos, func(a, b SessionInfo) int { return strings.Compare(a.SatelliteID, b.SatelliteID) })
	return infos
}

// register makes s the session of its satellite; the older one ends. It reports
// false when s itself is the older.
func (h *Hub) register(s *session) bool {
	h.mu.Lock()
	old := h.sessions[s.id]
	if old != nil && old.epoch > s.epoch {
		h.mu.Unlock()
		return false
	}
	h.sessions[s.id] = s
	h.metrics.sessions.Set(float64(len(h.sessions)))
	h.mu.Unlock()
	if old != nil {
		old.end(superseded, "a newer session of this satellite took over")
	}
	return true
}

// absence is the end of a session that is not told yet; over is closed when that of a
// newer one is not either.
type absence struct {
	epoch int64
	over  chan struct{}
}

// away makes the session's end the one that is to be told; false when a newer session
// of the satellite has ended already.
func (h *Hub) away(id string, epoch int64, over chan struct{}) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, ok := h.absences[id]
	if ok && before.epoch > epoch {
		return false
	}
	if ok {
		close(before.over)
	}
	h.absences[id] = absence{epoch, over}
	return true
}

func (h *Hub) notAway(id string, over chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.absences[id].over == over {
		delete(h.absences, id)
	}
}

// unregister takes s out, if it is still the session of its satellite.
func (h *Hub) unregister(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sessions[s.id] == s {
		delete(h.sessions, s.id)
	}
	h.metrics.sessions.Set(float64(len(h.sessions)))
}
