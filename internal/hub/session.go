package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/protocol"
)

// phase is where a connection is in its life. It only goes forward.
type phase byte

const (
	fresh     phase = iota // nothing valid has been said
	verifying              // credentials are being checked
	open                   // authenticated
	ended                  // for whatever reason; nothing more is taken or sent
)

// session is one connection, from its first byte to its last duty. It has one
// goroutine while it is idle, the one that reads; the others (authenticating,
// sending, settling results, keeping notes) live only while they have something
// to do, and run waits for them.
type session struct {
	hub     *Hub
	conn    link.Conn
	remote  string
	since   time.Time
	ctx     context.Context // ends with the session
	cancel  context.CancelFunc
	outbox  outbox
	notes   notes
	work    sync.WaitGroup // goroutines of this session, but authenticate
	opening sync.WaitGroup // authenticate
	stalled atomic.Bool    // we keep it waiting, not it us
	blobs   sync.Mutex     // held while a whole blob is answered

	// Written under mu before the phase is open, read-only afterwards.
	id         string // of the satellite
	name       string
	epoch      int64         // 0 until it was opened
	origin     health.Origin // its clock is the reading goroutine's, and changes
	credential int64
	bootID     string
	hello      bool // it is ours
	features   features
	sealKey    string // to which secret values are sealed, under feature seal
	// persist is the context of making its results durable: the hub's own for agents
	// that cannot send them again, until giveUp.
	persist context.Context
	giveUp  context.CancelFunc

	// Owned by the reading goroutine.
	peerAnswered bool // it was alive when we closed the connection
	nonsense     int
	warned       int           // refused and unreadable messages so far, for the log
	asides       chan struct{} // a place for each request that is answered aside; made when needed
	leases       *rate.Limiter // of requests for secrets; made when needed

	mu        sync.Mutex
	phase     phase
	ending    ending      // why, once ended
	authTimer *time.Timer // until it has said something valid
	expiry    *time.Timer // until its token is not valid any more; nil without end
	gated     bool        // counted by the hub's gate
	results   results
	set       *set    // what it was sent last
	sent      []int64 // revisions that it may report as applied, oldest first
	resync    bool    // the next push is the whole set
	resyncs   int     // in a row
	// asked are runs that it may answer for besides.
	asked map[askedSlot]*askedRun
	// trials are checks that it was given to try, by the trial's id.
	trials map[string]*openTrial
	// tree is the hash of packages that it was told last; absent for none.
	tree protocol.Nullable[string]
	// policy is the sandbox policy that it was told last; "" for none.
	policy string
	// observer is how it fares, as it was written down last; nil before the first time.
	observer *fleet.ObserverHealth
}

func (h *Hub) newSession(conn link.Conn, remote string) *session {
	s := &session{hub: h, conn: conn, remote: remote, since: time.Now()}
	s.ctx, s.cancel = context.WithCancel(h.base)
	s.persist = s.ctx
	conn.SetReadLimit(protocol.MaxFrameUnauthenticated)
	return s
}

// run reads until the connection ends and then does what is left to do.
func (s *session) run() {
	defer s.hub.forget(s)
	s.expectAuthentication()
	for {
		frame, err := s.conn.Read()
		if err != nil {
			s.lost(err)
			if closed, ok := errors.AsType[*link.CloseError](err); ok {
				s.peerAnswered = closed.Answered
			}
			break
		}
		s.hub.metrics.received.Add(float64(len(frame)))
		s.receive(frame)
	}
	s.opening.Wait()
	if s.giveUp != nil {
		defer s.giveUp()
		defer time.AfterFunc(s.hub.limits.Linger, s.giveUp).Stop()
	}
	s.abandonTrials()
	s.leave()
	s.work.Wait()
}

func (s *session) expectAuthentication() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == fresh {
		s.authTimer = time.AfterFunc(s.hub.limits.AuthTimeout, func() {
			s.end(authTimeout, "no authentication in time")
		})
	}
}

// receive handles one message. It runs on the reading goroutine, so messages of
// one connection are handled in order (spec M13).
func (s *session) receive(frame []byte) {
	m, err := protocol.DecodeFromAgent(frame)
	if err != nil {
		s.unreadable(err)
		return
	}
	s.hub.metrics.messages.WithLabelValues(m.Type()).Inc()
	switch s.currentPhase() {
	case fresh:
		if hello, ok := m.(*protocol.Authenticate); ok {
			s.authenticateWith(hello)
			return
		}
		s.refuse(notFirst, protocol.ReasonFirst)
	case verifying:
		// A.4.7: it should have waited for the answer.
		s.refuse(notFirst, protocol.ReasonFirst)
	case open:
		s.handle(m, len(frame))
	case ended:
		if r, ok := m.(*protocol.Result); ok && s.lateResults() {
			s.result(r, len(frame))
		}
	}
}

// lateResults reports whether results are still taken that an original agent sent
// before it learned that its session has ended: it cannot send them again, and the
// end was no fault of its own.
func (s *session) lateResults() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.giveUp != nil && (s.ending.reason == superseded || s.ending.reason == draining || s.ending.reason == cutOff)
}

// unreadable counts a message that cannot be read. It is not answered and the
// connection goes on (spec A.3), but a stranger has only so many of them.
func (s *session) unreadable(err error) {
	kind := "invalid"
	if errors.Is(err, protocol.ErrUnknownType) {
		kind = "unknown"
	}
	s.hub.metrics.messages.WithLabelValues(kind).Inc()
	// The error names the place. The message itself stays out of the log: it may be
	// long, and hold a token.
	s.warn("ignored a message that cannot be read", "error", err.Error())
	if s.currentPhase() >= open {
		return
	}
	if s.nonsense++; s.nonsense >= maxNonsense {
		s.end(nonsense, "too many messages that cannot be read")
	}
}

// handle does what an authenticated satellite asks.
func (s *session) handle(m protocol.FromAgent, size int) {
	switch m := m.(type) {
	case *protocol.Authenticate:
		s.logger().Debug("ignored a second authentication")
	case *protocol.Heartbeat:
		s.heartbeat(m)
	case *protocol.Result:
		s.result(m, size)
	case *protocol.Results:
		if s.features.has(protocol.FeatureAck) {
			s.batch(m, size)
		}
	case *protocol.StrategyError:
		s.logger().Warn("a strategy failed on the satellite", "strategy_id", m.StrategyID, "error", m.Message)
	case *protocol.ScriptPackageSyncState:
		s.note(func(n *notes) { n.sync = m })
	case *protocol.Inventory:
		if s.features.has(protocol.FeatureInventory) {
			m.Features = s.features.names()
			s.note(func(n *notes) { n.inventory = m })
		}
	case *protocol.Tried:
		s.tried(m)
	case *protocol.Applied:
		if s.features.has(protocol.FeatureDelta) {
			s.applied(m)
		}
	default:
		s.answer(m)
	}
}

func (s *session) heartbeat(m *protocol.Heartbeat) {
	received := time.Now()
	beat := fleet.Beat{SatelliteID: s.id, Epoch: s.epoch, Version: m.Version, Capabilities: m.Capabilities}
	if s.hello {
		beat.Pulse, beat.Leases = m.Perigee, s.features.has(protocol.FeatureLease)
		s.selfObserved(m.Perigee)
	}
	s.hub.fleet.Beat(beat)
	if m.Perigee != nil && s.features.has(protocol.FeatureClock) {
		s.send(&protocol.Clock{Echo: m.Perigee.SentAt, ReceivedAt: received.UnixMilli(), SentAt: time.Now().UnixMilli()})
	}
}

// send queues a message; false when it cannot be encoded. It never blocks; a
// satellite that leaves too much unread is closed as slow (spec M24).
func (s *session) send(m protocol.FromCore) bool {
	frame, err := protocol.Encode(m)
	if err != nil {
		s.logger().Error("a message cannot be encoded", "type", m.Type(), "error", err)
		return false
	}
	s.write(frame)
	return true
}

func (s *session) write(frame []byte) {
	if err := s.outbox.put(s, frame); err != nil {
		s.end(slow, err.Error())
	}
}

// ping queues a ping behind what waits to be sent.
func (s *session) ping() { s.write(nil) }

// end ends the session: the first reason wins. It may be called from anywhere,
// and does not wait.
func (s *session) end(r reason, text string) { s.endWith(r, text, nil) }

// refuse ends a handshake with auth_failed.
func (s *session) refuse(r reason, text string) {
	s.endWith(r, text, &protocol.AuthFailed{Reason: text})
}

// endWith ends the session with a last message.
func (s *session) endWith(r reason, text string, last protocol.FromCore) {
	if !s.finish(ending{r, text}) {
		return
	}
	code := r.plain
	if s.isOurs() {
		code = r.code
	} else if last == nil && r.shutdown {
		last = &protocol.Shutdown{Reason: text}
	}
	var frame []byte
	if last != nil {
		frame, _ = protocol.Encode(last) // two strings
	}
	s.outbox.close(s, frame, code, text, r == slow)
}

// lost ends a session whose connection has ended.
func (s *session) lost(err error) {
	s.finish(explain(err))
	s.outbox.abandon()
}

// finish notes how the session ended; false when it had ended already.
func (s *session) finish(e ending) bool {
	s.mu.Lock()
	if s.phase == ended {
		s.mu.Unlock()
		return false
	}
	s.phase, s.ending = ended, e
	for _, timer := range []*time.Timer{s.authTimer, s.expiry} {
		if timer != nil {
			timer.Stop()
		}
	}
	gated := s.gated
	s.gated = false
	s.mu.Unlock()
	s.cancel()
	if gated {
		s.hub.gate.leave(s.remote)
	}
	s.hub.metrics.closes.WithLabelValues(e.name).Inc()
	return true
}

// leave is the end of a session for the rest of the world. Authentication is
// over, so what it opened is known: a socket that died meanwhile leaves nothing
// behind (spec M28b).
func (s *session) leave() {
	s.mu.Lock()
	epoch, why, pending := s.epoch, s.ending, len(s.results.pending)
	s.mu.Unlock()
	if epoch == 0 {
		s.hub.log.Debug("a connection ended before it authenticated", "remote", s.remote, "reason", why.name, "detail", why.text)
		return
	}
	s.hub.unregister(s)
	s.logger().Info("satellite disconnected", "reason", why.name, "detail", why.text, "pending", pending)
	if why.reason == superseded && s.peerAnswered {
		s.replaced()
	}
	if why.reason == superseded || why.reason == draining || why.reason == cutOff || s.hub.stopping() {
		return // it is not the satellite that went away
	}
	if s.hub.limits.Grace > 0 && !s.gone(epoch) {
		return
	}
	s.closeEdge(epoch)
}

// gone waits for the grace of a session that has ended. What comes back meanwhile, to
// whichever core, raises the epoch, so that closing this one tells nothing. It is false
// when the core stops before: then the monitor finds who stays away; and when a newer
// session of the satellite has ended here too, so that one at most waits for each.
func (s *session) gone(epoch int64) bool {
	over := make(chan struct{})
	if !s.hub.away(s.id, epoch, over) {
		return false
	}
	defer s.hub.notAway(s.id, over)
	grace := time.NewTimer(s.hub.limits.Grace)
	defer grace.Stop()
	select {
	case <-grace.C:
		return true
	case <-over:
		return false
	case <-s.hub.closing:
		return false
	}
}

// replaced counts that two processes live side by side with the credentials of one
// satellite. One that was not counted is missed by nobody: they go on.
func (s *session) replaced() {
	ctx, cancel := context.WithTimeout(s.hub.base, callTimeout)
	defer cancel()
	duplicate, err := s.hub.fleet.Replaced(ctx, s.id, s.remote)
	switch {
	case err != nil:
		s.logger().Warn("a replaced session could not be counted", "error", err)
	case duplicate:
		s.hub.metrics.rivals.Inc()
		s.logger().Warn("duplicate identity: two processes use the credentials of one satellite; newcomers are held off for a while")
	}
}

// closeEdge records the end of the session. The database may be away, so it is
// tried for a while; what is given up is found by the monitor.
func (s *session) closeEdge(epoch int64) {
	deadline := time.Now().Add(s.hub.limits.EdgePatience)
	for failures := 0; ; failures++ {
		ctx, cancel := context.WithTimeout(s.hub.base, callTimeout)
		err := s.hub.fleet.Close(ctx, s.id, epoch)
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(deadline) || !wait(s.hub.base, backoff(failures+1)) {
			s.logger().Warn("the end of a session was not recorded; the monitor will find it", "epoch", epoch, "error", err)
			return
		}
	}
}

// wait waits; false when ctx ended before.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

func (s *session) currentPhase() phase {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phase
}

// isOurs: it has sent our Hello.
func (s *session) isOurs() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hello
}

// logger is made when needed: sessions are many and mostly have nothing to say.
func (s *session) logger() *slog.Logger {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id == "" {
		return s.hub.log.With("remote", s.remote)
	}
	return s.hub.log.With("satellite_id", s.id, "satellite", s.name, "remote", s.remote)
}

// warn logs what the peer does wrong, less and less often if it goes on. Only
// the reading goroutine calls it.
func (s *session) warn(message string, args ...any) {
	s.warned++
	if s.warned <= 5 || s.warned%1000 == 0 {
		s.logger().Warn(message, append(args, "times", s.warned)...)
	}
}

func (s *session) info() SessionInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	return SessionInfo{
		SatelliteID: s.id, Name: s.name, Epoch: s.epoch, Remote: s.remote, Since: s.since,
		LastHeardAt: s.conn.LastHeard(), Features: s.features.names(), Revision: s.set.revision,
		Pending: len(s.results.pending),
	}
}

// features is a set of the protocol's features.
type features uint16

func featuresOf(names []string) features {
	var f features
	for i, name := range protocol.Features() {
		if slices.Contains(names, name) {
			f |= 1 << i
		}
	}
	return f
}

func (f features) has(name string) bool {
	return f&featuresOf([]string{name}) != 0
}

func (f features) names() []string {
	names := []string{}
	for i, name := range protocol.Features() {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// sourceOf is how results of a satellite are labelled (spec F.2, L34).
func sourceOf(sat *fleet.Satellite) string { return fmt.Sprintf("%s (%s)", sat.Name, sat.Region) }
