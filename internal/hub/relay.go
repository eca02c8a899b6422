package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/protocol"
)

// relay compares every session with what its satellite should have, in one
// query, and brings up to date those that differ: nobody else is computed for or
// sent anything (spec M64). One relay runs at a time, so pushes to a session are
// in order (M66). The error says that something is left to be tried again (M67).
func (h *Hub) relay(ctx context.Context) error {
	sessions := h.snapshot()
	if len(sessions) == 0 {
		return nil
	}
	ids := make([]string, len(sessions))
	for i, s := range sessions {
		ids[i] = s.id
	}
	timed, cancel := context.WithTimeout(ctx, callTimeout)
	revisions, err := h.fleet.Revisions(timed, ids)
	cancel()
	if err != nil {
		return fmt.Errorf("comparing revisions: %w", err)
	}
	var failed atomic.Int64
	var group errgroup.Group
	group.SetLimit(relayParallel)
	for _, s := range sessions {
		r, exists := revisions[s.id]
		if !s.allowed(r, exists) || !s.behind(r) {
			continue
		}
		group.Go(func() error {
			if err := h.push(ctx, s); err != nil && ctx.Err() == nil {
				failed.Add(1)
				h.metrics.pushFailures.Inc()
				s.logger().Warn("telling a satellite of its assignments failed; trying again", "error", err)
			}
			return nil
		})
	}
	_ = group.Wait() // nothing in it fails as a whole
	if n := failed.Load(); n > 0 {
		return fmt.Errorf("%d satellites could not be told of their assignments", n)
	}
	return nil
}

// allowed ends the session when its satellite, its token or its turn is gone
// (spec M15, M32, M33).
func (s *session) allowed(r fleet.Revision, exists bool) bool {
	if !exists {
		s.end(removed, "the satellite was removed")
		return false
	}
	left, err := r.Holds(s.credential)
	switch {
	case errors.Is(err, fleet.ErrExpired):
		s.end(expired, err.Error())
	case err != nil:
		s.end(rotated, err.Error())
	case r.Epoch > s.epoch:
		s.end(superseded, "a newer session of this satellite took over at another core")
	default:
		s.lookAgain(left)
		return true
	}
	return false
}

// lookAgain has the relay look when the session's token is not valid any more, in
// left; 0 is never. It is the database's clock that decides then.
func (s *session) lookAgain(left time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lookAgainLocked(left)
}

func (s *session) lookAgainLocked(left time.Duration) {
	if s.expiry != nil {
		s.expiry.Stop()
		s.expiry = nil
	}
	if left > 0 && s.phase != ended {
		s.expiry = time.AfterFunc(left+time.Millisecond, s.hub.kick)
	}
}

// behind reports whether the satellite is to be sent something.
func (s *session) behind(r fleet.Revision) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.Desired > s.set.revision || s.resync
}

// push loads what the satellite should run and sends what is different. What it
// may report for changes before it is told (spec E.3).
func (h *Hub) push(ctx context.Context, s *session) error {
	timed, cancel := context.WithTimeout(ctx, callTimeout)
	desired, err := h.fleet.Desired(timed, s.id)
	cancel()
	if err != nil {
		return fmt.Errorf("loading what the satellite should run: %w", err)
	}
	s.features.fit(&desired)
	s.mu.Lock()
	before, resync := s.set, s.resync
	if desired.Revision <= before.revision && !resync {
		s.mu.Unlock()
		return nil // an older answer of a slower question
	}
	next := h.setOf(&desired, before)
	s.set, s.resync = next, false
	if !slices.Contains(s.sent, next.revision) {
		s.sent = append(s.sent[max(0, len(s.sent)-maxUnreported):], next.revision)
	}
	s.mu.Unlock()
	for _, m := range s.update(before, next, resync) {
		s.send(m)
	}
	return nil
}

// maxUnreported bounds the revisions of which a satellite has not said that it
// applied them; original agents never say.
const maxUnreported = 255

// update is the messages that take a satellite from one set to the next.
func (s *session) update(before, next *set, whole bool) []protocol.FromCore {
	upserts, changed, removals := next.difference(before)
	if s.features.has(protocol.FeatureDelta) {
		if whole {
			s.hub.metrics.pushes.WithLabelValues("full").Inc()
			return []protocol.FromCore{&protocol.ConfigUpdated{Assignments: next.assignments(nil), Revision: next.revision}}
		}
		s.hub.metrics.pushes.WithLabelValues("delta").Inc()
		return []protocol.FromCore{&protocol.Delta{Base: before.revision, Revision: next.revision, Upserts: upserts, Removals: removals}}
	}
	if len(upserts) == 0 && len(removals) == 0 {
		return nil
	}
	full := &protocol.ConfigUpdated{Assignments: next.assignments(nil)}
	if len(changed) == 0 {
		s.hub.metrics.pushes.WithLabelValues("full").Inc()
		return []protocol.FromCore{full}
	}
	// An original agent keeps the old form of a pair that it already runs. Taking the
	// pair away and giving it again makes it start anew (spec M63).
	s.hub.metrics.pushes.WithLabelValues("two_step").Inc()
	return []protocol.FromCore{&protocol.ConfigUpdated{Assignments: next.assignments(changed)}, full}
}

// maxResyncs is how often in a row a satellite is sent the whole set because it
// says that what it got does not fit.
const maxResyncs = 3

// applied takes note of what the satellite works by. One that could not follow a
// delta, or holds a revision that this session never sent, gets the whole set.
func (s *session) applied(m *protocol.Applied) {
	s.note(func(n *notes) { n.applied = m })
	s.mu.Lock()
	at := slices.Index(s.sent, m.Revision)
	fits := at >= 0 && !slices.ContainsFunc(m.Errors, func(e protocol.AppliedError) bool { return e.Pair == protocol.Pair{} })
	if fits {
		s.sent, s.resyncs = slices.Clone(s.sent[at:]), 0
		s.mu.Unlock()
		return
	}
	s.resyncs++
	resyncs := s.resyncs
	s.resync = true
	s.mu.Unlock()
	if resyncs > maxResyncs {
		s.end(resync, "the assignments of the two ends cannot be brought together")
		return
	}
	s.hub.kick()
}
