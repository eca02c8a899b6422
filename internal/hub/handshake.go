package hub

import (
	"context"
	"errors"
	"reflect"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/protocol"
)

// authenticateWith begins to check credentials. The reading goroutine goes on
// reading, and so notices a socket that closes, or a peer that does not wait for
// its answer, while the check is running (spec M28b, M28c).
func (s *session) authenticateWith(m *protocol.Authenticate) {
	s.mu.Lock()
	if s.phase != fresh {
		s.mu.Unlock()
		return
	}
	s.phase = verifying
	s.hello = m.Perigee != nil
	s.authTimer.Stop()
	s.mu.Unlock()
	s.opening.Go(func() { s.authenticate(m) })
}

// authenticate takes the satellite in or says why not. After everything that
// waits it looks whether the connection still lives: only then is a session made
// of it, and what was opened for a dead one is closed by leave.
func (s *session) authenticate(m *protocol.Authenticate) {
	ctx, cancel := context.WithTimeout(s.ctx, s.hub.limits.AuthTimeout)
	defer cancel()
	select {
	case s.hub.admission <- struct{}{}:
		defer func() { <-s.hub.admission }()
	case <-ctx.Done():
		if s.ctx.Err() == nil {
			s.answered("too_many")
			s.end(tooMany, "too many satellites are connecting at once")
		}
		return
	}
	changes := s.hub.changes.Load()
	verified, err := s.verify(ctx, m)
	if err != nil {
		s.notAdmitted(err)
		return
	}
	desired, err := s.hub.fleet.Desired(ctx, verified.Satellite.ID)
	if err != nil {
		s.notAdmitted(err)
		return
	}
	if m.Perigee != nil {
		featuresOf(m.Perigee.Features).fit(&desired)
	} else {
		features(0).fit(&desired)
	}
	welcome, err := s.welcome(ctx, m, &desired)
	if err != nil {
		s.notAdmitted(err)
		return
	}
	if !s.open(&verified, m, &desired) {
		return
	}
	s.hub.gate.succeeded(m.ClientID)
	if welcome.Perigee != nil {
		welcome.Perigee.Epoch = s.epoch
	}
	s.conn.SetReadLimit(protocol.MaxFrame)
	// Before anybody can find the session, so that no push overtakes it (A.4).
	if !s.send(welcome) {
		s.answered("internal")
		s.end(internal, "the core failed; come back")
		return
	}
	s.answered("ok")
	if !s.hub.register(s) {
		s.end(superseded, "a newer session of this satellite took over")
		return
	}
	s.introduced(m, &verified.Satellite)
	s.logger().Info("satellite connected", "epoch", s.epoch, "assignments", len(desired.Assignments),
		"revision", desired.Revision, "features", s.features.names())
	if s.hub.changes.Load() != changes {
		s.hub.kick() // something changed after it was read and before the relay knew of us
	}
}

// verify checks the credentials within the address's means.
func (s *session) verify(ctx context.Context, m *protocol.Authenticate) (fleet.Verified, error) {
	if !s.hub.gate.mayTry(s.remote, m.ClientID) {
		return fleet.Verified{}, fault.New(fault.TooMany, "too many failed attempts from this address")
	}
	verified, err := s.hub.fleet.Verify(ctx, m.ClientID, m.Token)
	if fault.Is(err, fault.Unauthenticated) {
		s.hub.gate.failed(s.remote)
	}
	return verified, err
}

// notAdmitted answers or closes, whatever went wrong: silence would leave the
// agent waiting for ever (spec M18).
func (s *session) notAdmitted(err error) {
	if s.ctx.Err() != nil {
		return // the connection is gone
	}
	switch kind := fault.KindOf(err); {
	case kind == fault.Unauthenticated || kind == fault.NotFound:
		s.answered("refused")
		s.hub.log.Info("refused a satellite", "remote", s.remote, "cause", errors.Unwrap(err))
		s.refuse(refused, protocol.ReasonInvalid)
	case kind == fault.TooMany:
		s.answered("too_many")
		s.end(tooMany, "too many failed attempts from this address")
	case kind == fault.Conflict:
		s.answered("held_off")
		s.end(heldOff, fault.Message(err))
	case kind == fault.Unavailable || errors.Is(err, context.DeadlineExceeded):
		s.answered("unavailable")
		s.hub.log.Warn("a satellite could not be taken in", "remote", s.remote, "error", err)
		s.end(unavailable, "the core's database is away; come back")
	default:
		s.answered("internal")
		s.hub.log.Error("a satellite could not be taken in", "remote", s.remote, "error", err)
		s.end(internal, "the core failed; come back")
	}
}

func (s *session) answered(result string) { s.hub.metrics.handshakes.WithLabelValues(result).Inc() }

// welcome is the answer to right credentials, but for the epoch.
func (s *session) welcome(ctx context.Context, m *protocol.Authenticate, d *fleet.Desired) (*protocol.Authenticated, error) {
	w := &protocol.Authenticated{
		SatelliteID: d.SatelliteID,
		Assignments: d.Assignments,
	}
	hash, err := s.hub.wantedTree(ctx)
	if err != nil {
		return nil, err
	}
	w.ScriptPackagesLockfileHash = hash
	if w.SandboxPolicy, err = s.hub.policy(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.tree, s.policy = hash, string(w.SandboxPolicy)
	s.mu.Unlock()
	if m.Perigee == nil {
		return w, nil
	}
	agreed := protocol.Agree(protocol.Features(), m.Perigee.Features)
	w.Perigee = &protocol.Welcome{Protocol: min(m.Perigee.Protocol, protocol.Version), Features: agreed, Revision: d.Revision}
	if featuresOf(agreed).has(protocol.FeatureAck) {
		w.Perigee.Credit = s.hub.limits.Credit
	}
	return w, nil
}

// open records the new session and makes one of this connection. It reports
// false when the connection has ended meanwhile, or the recording failed.
func (s *session) open(v *fleet.Verified, m *protocol.Authenticate, d *fleet.Desired) bool {
	if s.ctx.Err() != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(s.hub.base, openTimeout)
	epoch, err := s.hub.fleet.Open(ctx, v.Satellite.ID, v.Credential)
	cancel()
	if err != nil {
		s.notAdmitted(err)
		return false
	}
	set := s.hub.setOf(d, nil)
	s.expectAgain(d.Asked)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id, s.name, s.epoch = v.Satellite.ID, v.Satellite.Name, epoch
	if s.phase == ended {
		return false
	}
	s.credential = v.Credential
	s.lookAgainLocked(v.Left)
	s.origin = health.Origin{SatelliteID: s.id, Source: sourceOf(&v.Satellite)}
	if hello := m.Perigee; hello != nil {
		s.bootID, s.features, s.sealKey = hello.BootID, featuresOf(hello.Features), hello.SealKey
		s.origin.Evaluated = s.features.has(protocol.FeatureAssert)
		s.origin.Slots = s.features.has(protocol.FeatureSlots)
		s.origin.Observes = s.features.has(protocol.FeatureObserver)
	}
	if !s.features.has(protocol.FeatureAck) {
		s.persist, s.giveUp = context.WithCancel(s.hub.base)
	}
	s.set, s.sent = set, []int64{d.Revision}
	s.phase = open
	if s.gated {
		s.gated = false
		s.hub.gate.leave(s.remote)
	}
	return true
}

// introduced takes over what the satellite says of itself, where it is news.
func (s *session) introduced(m *protocol.Authenticate, known *fleet.Satellite) {
	var version string
	if m.Perigee != nil && m.Perigee.Inventory != nil {
		inventory := m.Perigee.Inventory
		version = inventory.Version
		inventory.Features = s.features.names()
		if s.features.has(protocol.FeatureInventory) && !reflect.DeepEqual(inventory, known.Inventory) {
			s.note(func(n *notes) { n.inventory = inventory })
		}
	}
	s.observerKnown(known)
	if version != "" || m.Capabilities != nil {
		s.hub.fleet.Beat(fleet.Beat{SatelliteID: s.id, Epoch: s.epoch, Version: version, Capabilities: m.Capabilities})
	}
}
