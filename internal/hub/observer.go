package hub

import (
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/protocol"
)

// selfObserved takes over what a heartbeat says of clock and observer: the offset for
// the results that come next, the rest into the records where it is news. It runs on the
// reading goroutine.
func (s *session) selfObserved(p *protocol.Pulse) {
	if p == nil {
		return
	}
	if !s.features.has(protocol.FeatureObserver) {
		p.Observer = nil // it was not asked
	}
	if !s.features.has(protocol.FeatureClock) {
		p.OffsetMs, p.UncertaintyMs = nil, nil
	}
	s.origin.ClockOffsetMs, s.origin.ClockUncertaintyMs = p.OffsetMs, p.UncertaintyMs
	s.mu.Lock()
	known := s.observer
	s.mu.Unlock()
	first := known == nil
	if first {
		known = &fleet.ObserverHealth{}
	}
	if first && p.Observer != nil || !s.hub.fleet.Observed(*known, p).Same(*known) {
		s.note(func(n *notes) { n.pulse = p })
	}
}

// observerKnown begins with what the records say, and clears what an earlier agent said
// of itself when this one does not say how it fares.
func (s *session) observerKnown(known *fleet.Satellite) {
	s.mu.Lock()
	if s.observer == nil {
		s.observer = known.Observer
	}
	s.mu.Unlock()
	if !s.features.has(protocol.FeatureObserver) && known.Observer.Illness() != "" {
		s.note(func(n *notes) { n.pulse = &protocol.Pulse{} })
	}
}
