package hub

import (
	"math/rand/v2"
	"time"

	"github.com/perigee-monitoring/perigee/protocol"
)

const stoppingText = "the core is stopping"

// drain lets every session go. Satellites that know how are asked to leave within
// the span at a moment of their own choice and work on until then; the others are
// closed one by one over the span, as they come back at once (spec M26, M27).
func (h *Hub) drain() {
	open := h.closeDoors()
	gone := make(chan struct{})
	go func() { h.running.Wait(); close(gone) }()

	span := h.limits.DrainSpan
	var timers []*time.Timer
	for _, s := range open {
		if timer := s.letGo(span); timer != nil {
			timers = append(timers, timer)
		}
	}
	if span > 0 {
		rest := time.NewTimer(span)
		select {
		case <-gone:
		case <-rest.C:
		}
		rest.Stop()
	}
	for _, timer := range timers {
		timer.Stop()
	}
	for _, s := range open {
		s.end(draining, stoppingText)
	}
	late := time.AfterFunc(h.limits.DrainGrace, h.abandon)
	defer late.Stop()
	<-gone
}

// closeDoors stops taking connections and returns those there are.
func (h *Hub) closeDoors() []*session {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
	close(h.closing)
	open := make([]*session, 0, len(h.all))
	for s := range h.all {
		open = append(open, s)
	}
	return open
}

// Draining reports whether the hub takes no connections any more.
func (h *Hub) Draining() bool { return h.stopping() }

// letGo has the satellite leave within the span; the timer that closes it then, if
// it does not know how to leave by itself.
func (s *session) letGo(span time.Duration) *time.Timer {
	switch {
	case span <= 0:
		return nil // its end comes at once
	case s.currentPhase() != open:
		s.end(draining, stoppingText)
		return nil
	case s.features.has(protocol.FeatureDrain):
		s.send(&protocol.Drain{SpanMs: span.Milliseconds(), Reason: stoppingText})
		return nil
	}
	return time.AfterFunc(rand.N(span), func() { s.end(draining, stoppingText) })
}

// cutOff sends the satellites away when the database has been out of reach for too
// long: they live, but this core cannot write it down, and the others would take
// them for dead. No edges are written for them: those that find no other core have
// their thresholds, and time in which no core looked does not count.
func (h *Hub) cutOff() bool {
	if h.limits.CutOff <= 0 || h.config.Unreachable == nil || h.config.Unreachable() < h.limits.CutOff {
		return false
	}
	all := h.snapshot()
	if len(all) > 0 {
		h.log.Warn("the database is out of reach; satellites are sent to other cores", "sessions", len(all))
	}
	for _, s := range all {
		s.end(cutOff, "this core cannot reach its database")
	}
	return true
}
