package satellite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/protocol"
)

// session is one connection from its first message to its end.
//
// A goroutine reads; it never waits for anything but the connection. What it reads
// about assignments goes through a short queue to another one, because taking
// assignments in writes to disk. A third sends the spool, and Run itself keeps
// the time: the handshake's deadline, heartbeats and pings. That nothing is heard
// for too long is noticed by the connection (link.Options.Silence).
type session struct {
	*Satellite
	conn link.Conn
	log  *slog.Logger

	welcomed  chan *protocol.Authenticated
	orders    chan change
	ordered   atomic.Int64       // changes in orders
	asks      atomic.Int64       // runs asked for in orders
	drains    chan time.Duration // how long to stay
	farewells chan error         // a shutdown message

	// Set before welcomed is closed, read-only afterwards.
	features []string
	sender   *sender
	requests *requests
	peer     *packagePeer

	work sync.WaitGroup  // trials; run waits for them
	life context.Context // ends with the session; set before reading begins

	// sealKey is what secrets of this session are sealed to. Made in newSession.
	sealKey *protocol.SealKey

	// Owned by the reading goroutine.
	draining bool
	asked    error                   // a shutdown message has come
	early    *protocol.ConfigUpdated // came before authenticated
	known    bool                    // authenticated has come

	ended error // why reading ended; set by the reading goroutine, read after it
}

// Ways in which a session ends from this side.
var (
	errStopping    = errors.New("the satellite is stopping")
	errAuthTimeout = errors.New("the core did not answer the authentication in time")
	errBehind      = errors.New("assignments came faster than they could be taken in")
)

// refusedError is an auth_failed.
type refusedError struct{ reason string }

func (e *refusedError) Error() string { return "the core refused this satellite: " + e.reason }

// shutdownError is a shutdown message.
type shutdownError struct{ reason string }

func (e *shutdownError) Error() string {
	return "the core asked this satellite to disconnect: " + e.reason
}

const (
	// ordersWaiting is how many changes of assignments may wait. A core that is further
	// ahead than that is told to start over.
	ordersWaiting = 64
	// asksWaiting is how many runs that the core asks for may wait beside them, in the
	// same order. More are dropped; the core hears nothing of them.
	asksWaiting = 1024
)

func (s *Satellite) newSession(conn link.Conn) (*session, error) {
	key, err := protocol.NewSealKey()
	if err != nil {
		return nil, err
	}
	return &session{
		sealKey:   key,
		Satellite: s,
		conn:      conn,
		log:       s.log,
		welcomed:  make(chan *protocol.Authenticated, 1),
		orders:    make(chan change, ordersWaiting+asksWaiting),
		drains:    make(chan time.Duration, 1),
		farewells: make(chan error, 1),
	}, nil
}

// run holds the session until it ends and says why. authenticated reports
// whether the core took us in.
func (s *session) run(ctx context.Context) (authenticated bool, err error) {
	g, gctx := errgroup.WithContext(ctx)
	s.life = gctx
	defer s.work.Wait()
	// Closing is what ends the reader, so it is tied to the group's context.
	stop := context.AfterFunc(gctx, func() { s.conn.Close(closing(ctx, context.Cause(gctx))) })
	defer stop()
	g.Go(func() error {
		s.ended = s.read()
		return s.ended
	})
	g.Go(func() error {
		welcome, err := s.handshake(gctx)
		if err != nil {
			return err
		}
		authenticated = true
		return s.serve(gctx, g, welcome)
	})
	err = g.Wait()
	if ctx.Err() != nil {
		return authenticated, errStopping
	}
	if closed, ok := errors.AsType[*link.CloseError](s.ended); ok && !closed.Local {
		return authenticated, closed // says more than a write that failed for it
	}
	return authenticated, err
}

// goodbye is what the original agent says when it leaves (A.10).
const goodbye = "Client shutdown"

// closing is the close frame for the way in which a session ends.
func closing(ctx context.Context, cause error) (code int, reason string) {
	if ctx.Err() != nil {
		return protocol.CloseNormal, goodbye
	}
	if _, ok := errors.AsType[*refusedError](cause); ok {
		return protocol.CloseAuthFailed, "Auth failed"
	}
	if _, ok := errors.AsType[*shutdownError](cause); ok {
		return protocol.CloseNormal, goodbye
	}
	switch {
	case errors.Is(cause, errDrained):
		return protocol.CloseGoingAway, cause.Error()
	case errors.Is(cause, errAuthTimeout):
		return protocol.CloseAuthTimeout, cause.Error()
	case errors.Is(cause, errBehind):
		return protocol.CloseResync, cause.Error()
	}
	return protocol.CloseInternal, "satellite failure"
}

func (s *session) send(m protocol.FromAgent) error {
	frame, err := protocol.Encode(m)
	if err != nil {
		return err
	}
	if err := s.conn.Write(frame); err != nil {
		return fmt.Errorf("sending %s: %w", m.Type(), err)
	}
	return nil
}

// handshake sends the credentials and waits for the answer, not for ever (M18).
func (s *session) handshake(ctx context.Context) (*protocol.Authenticated, error) {
	inventory := s.inventory()
	hello := &protocol.Hello{
		Protocol:  protocol.Version,
		Features:  protocol.Features(),
		BootID:    s.bootID,
		Revision:  s.scheduler.status.revision(),
		Inventory: &inventory,
		SealKey:   s.sealKey.Public,
	}
	err := s.send(&protocol.Authenticate{ClientID: s.config.ID, Token: s.config.Token, Perigee: hello})
	if err != nil {
		return nil, err
	}
	deadline := time.NewTimer(protocol.AuthTimeout)
	defer deadline.Stop()
	select {
	case welcome := <-s.welcomed:
		return welcome, nil
	case <-deadline.C:
		return nil, errAuthTimeout
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// serve does what A.7 says, in its order: connected, back-off reset (by the
// caller, who is told), heartbeat, spool, assignments, script packages.
func (s *session) serve(ctx context.Context, g *errgroup.Group, welcome *protocol.Authenticated) error {
	s.state.connected(s.conn.RemoteAddr(), welcome.Perigee, s.features)
	defer s.state.disconnected()
	s.secrets.use(s.requests)
	defer s.requests.end()
	defer s.secrets.use(nil)
	if err := s.beat(); err != nil {
		return err
	}
	g.Go(func() error { return s.sender.Run(ctx) })
	g.Go(func() error { return s.takeIn(ctx) })
	s.packages.attach(s.peer)
	defer s.packages.detach(s.peer)
	ticker := time.NewTicker(protocol.HeartbeatInterval)
	defer ticker.Stop()
	// A shutdown overrides a drain; of each there is one in a session.
	leave := time.NewTimer(math.MaxInt64)
	defer leave.Stop()
	var why error
	for {
		select {
		case <-ctx.Done():
			return nil
		case stay := <-s.drains:
			if why == nil {
				why = errDrained
				leave.Reset(stay)
			}
		case why = <-s.farewells:
			leave.Reset(lastWord)
		case <-leave.C:
			return why
		case <-ticker.C:
			if err := s.beat(); err != nil {
				return err
			}
		case <-s.observer.bell:
			if !s.agreed(protocol.FeatureObserver) {
				continue
			}
			if err := s.beat(); err != nil {
				return err
			}
		case m := <-s.complaints:
			if err := s.send(&m); err != nil {
				return err
			}
		}
	}
}

// beat sends a heartbeat, and a ping that makes a silent peer answer (M21).
func (s *session) beat() error {
	m := &protocol.Heartbeat{
		Version:       s.config.Version,
		UptimeSeconds: math.Round(time.Since(s.started).Seconds()),
	}
	if s.agreed(protocol.FeatureClock) || s.agreed(protocol.FeatureObserver) {
		m.Perigee = s.pulse()
	}
	if err := s.send(m); err != nil {
		return err
	}
	return s.conn.Ping(nil)
}

func (s *session) pulse() *protocol.Pulse {
	spool := s.spool.Status()
	offset, uncertainty := s.clock.estimate()
	var observer *protocol.Observer
	if s.agreed(protocol.FeatureObserver) {
		observer = s.observer.report()
	}
	return &protocol.Pulse{
		SentAt:        s.now().UnixMilli(),
		OffsetMs:      offset,
		UncertaintyMs: uncertainty,
		SpoolRecords:  spool.Records,
		SpoolBytes:    spool.Bytes,
		SpoolDropped:  spool.Dropped,
		Observer:      observer,
	}
}

func (s *session) agreed(feature string) bool { return slices.Contains(s.features, feature) }

// read reads until the connection ends.
func (s *session) read() error {
	for {
		frame, err := s.conn.Read()
		if err != nil && s.asked != nil && final(err) == nil {
			return s.asked
		}
		if err != nil {
			return err
		}
		m, err := protocol.DecodeFromCore(frame)
		switch {
		case errors.Is(err, protocol.ErrUnknownType):
			s.log.Debug("ignored a message of a type that is not known here", "error", err)
			s.state.ignoredMessage()
		case err != nil:
			// The error names the place; the message itself may hold secrets, and may be
			// long (spec M41).
			s.log.Warn("ignored a message that cannot be read", "bytes", len(frame), "error", check.Truncate(err.Error(), 300))
			s.state.ignoredMessage()
		default:
			if err := s.handle(m); err != nil {
				return err
			}
		}
	}
}

func (s *session) handle(m protocol.FromCore) error {
	switch m := m.(type) {
	case *protocol.Authenticated:
		return s.authenticated(m)
	case *protocol.AuthFailed:
		return &refusedError{m.Reason}
	case *protocol.Shutdown:
		return s.askedToLeave(m)
	case *protocol.ConfigUpdated:
		return s.configUpdated(m)
	case *protocol.Delta:
		if !s.agreed(protocol.FeatureDelta) {
			return nil
		}
		return s.order(change{
			delta: true, base: m.Base, revision: m.Revision,
			upserts: m.Upserts, removals: m.Removals, assert: s.agreed(protocol.FeatureAssert),
		})
	case *protocol.RefreshScriptPackages:
		s.packages.want(&m.LockfileHash)
	case *protocol.ScriptPackageManifest, *protocol.ScriptPackageBlob, *protocol.BlobChunk:
		if s.known {
			s.peer.answered(m)
		}
	case *protocol.Ack:
		if s.agreed(protocol.FeatureAck) {
			s.sender.ack(m)
		}
	case *protocol.SandboxPolicy:
		s.policies.told(m.Policy)
	case *protocol.RunNow:
		s.ask(m)
	case *protocol.Try:
		s.try(m)
	case *protocol.Drain:
		s.drain(m)
	case *protocol.RunSecrets:
		s.answered(m.RequestID, m)
	case *protocol.ConfigSecrets:
		s.answered(m.RequestID, m)
	case *protocol.Clock:
		if s.clock.answered(m, s.now()) {
			ring(s.observer.bell) // results are on their way whose time is to be corrected
		}
	case *protocol.Lease:
		if s.agreed(protocol.FeatureLease) {
			s.scheduler.leases.add(*m)
		}
	}
	return nil
}

// answered hands on an answer about secrets.
func (s *session) answered(requestID string, m protocol.FromCore) {
	if !s.known || !s.requests.answer(requestID, m) {
		s.log.Debug("nobody waits for an answer about secrets any more", "request_id", requestID)
	}
}

func (s *session) authenticated(m *protocol.Authenticated) error {
	if s.known {
		return nil
	}
	s.known = true
	var credit, revision int64
	if w := m.Perigee; w != nil && w.Protocol >= 1 {
		s.features = protocol.Agree(protocol.Features(), w.Features)
		credit, revision = w.Credit, w.Revision
	}
	s.sender = newSender(s.spool, s.conn, s.log, s.agreed(protocol.FeatureAck), s.agreed(protocol.FeatureSlots),
		min(credit, protocol.MaxCredit), &s.refusals)
	s.sender.marks = s.agreed(protocol.FeatureObserver)
	var opens *protocol.SealKey
	if s.agreed(protocol.FeatureSeal) {
		opens = s.sealKey
	}
	s.requests = newRequests(s.send, opens, m.Perigee != nil)
	s.peer = newPackagePeer(s.send, s.agreed(protocol.FeatureChunk))
	if !s.agreed(protocol.FeatureChunk) {
		s.conn.SetReadLimit(protocol.MaxFrameWhole)
	}
	s.welcomed <- m
	if len(m.SandboxPolicy) > 0 { // before there is anything to run
		s.policies.told(m.SandboxPolicy)
	}
	err := s.order(change{revision: revision, upserts: m.Assignments, assert: s.agreed(protocol.FeatureAssert)})
	if err != nil {
		return err
	}
	s.wantPackages(m.ScriptPackagesLockfileHash)
	if s.early == nil {
		return nil
	}
	early := s.early
	s.early = nil
	return s.configUpdated(early)
}

// configUpdated takes in a whole set. One that overtakes authenticated (A.4) is
// kept until then: it was sent for a change, which what authenticated carries may
// or may not have seen.
func (s *session) configUpdated(m *protocol.ConfigUpdated) error {
	if !s.known {
		s.early = m
		return nil
	}
	s.wantPackages(m.ScriptPackagesLockfileHash)
	return s.order(change{revision: m.Revision, upserts: m.Assignments, assert: s.agreed(protocol.FeatureAssert)})
}

func (s *session) order(c change) error {
	if s.ordered.Add(1) > ordersWaiting {
		return errBehind
	}
	s.orders <- c // asks cannot take this room: there are never more than asksWaiting
	return nil
}

// ask passes on that the core asks for a run, behind the changes that it sent before.
func (s *session) ask(m *protocol.RunNow) {
	if !s.agreed(protocol.FeatureRun) || m.Assignment != nil && !s.agreed(protocol.FeatureOpinion) {
		return
	}
	if s.asks.Add(1) > asksWaiting {
		s.asks.Add(-1)
		s.log.Warn("dropped a run that the core asked for: too many wait", "check", m.ConfigID, "system", m.SystemID)
		return
	}
	s.orders <- change{now: m}
}

// wantPackages passes on what the core wants; an absent hash says nothing.
func (s *session) wantPackages(hash protocol.Nullable[string]) {
	if hash.Present {
		s.packages.want(hash.Value)
	}
}

// takeIn hands changes to the scheduler, one after the other, and reports what
// became of them.
func (s *session) takeIn(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-s.orders:
			if err := s.takeInOne(ctx, c); err != nil {
				return err
			}
		}
	}
}

func (s *session) takeInOne(ctx context.Context, c change) error {
	if c.now != nil {
		s.asks.Add(-1)
		select {
		case s.scheduler.asked <- c.now:
		case <-ctx.Done():
		}
		return nil
	}
	s.ordered.Add(-1)
	answer := make(chan protocol.Applied, 1)
	select {
	case s.scheduler.changes <- order{c, answer}:
	case <-ctx.Done():
		return nil
	}
	select {
	case applied := <-answer:
		return s.report(&applied)
	case <-ctx.Done():
		return nil
	}
}

// report tells the core what was taken in. An original core has no message for
// it but strategy_error, which it logs (M72).
func (s *session) report(applied *protocol.Applied) error {
	if s.agreed(protocol.FeatureDelta) {
		return s.send(applied)
	}
	for _, e := range applied.Errors {
		m := &protocol.StrategyError{
			StrategyID: s.scheduler.status.strategyOf(e.Pair),
			Message:    check.Truncate(fmt.Sprintf("check %s of system %s is not run: %s", e.ConfigID, e.SystemID, e.Message), protocol.MaxText),
		}
		if err := s.send(m); err != nil {
			return err
		}
	}
	return nil
}
