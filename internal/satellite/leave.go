package satellite

import (
	"math/rand/v2"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// The two ways in which a core asks a satellite to leave: for now (drain), when the
// core itself is about to stop, or until further notice (shutdown).

// lastWord is how long after a shutdown message the core's close is waited for: its
// code says whether there is a point in coming back (spec M25). An original core has
// no codes, and is left at once.
const lastWord = time.Second

func (s *session) askedToLeave(m *protocol.Shutdown) error {
	asked := &shutdownError{m.Reason}
	if !s.known || !s.requests.ours || s.asked != nil {
		return asked
	}
	s.asked = asked
	s.farewells <- asked // has room for the one
	return nil
}

// maxDrain bounds how long a core may ask to be left in.
const maxDrain = 10 * time.Minute

// drain lets the session end at a random instant of the span, so that a fleet leaves,
// and comes back, one by one (spec M26, M27). The first word counts.
func (s *session) drain(m *protocol.Drain) {
	if !s.agreed(protocol.FeatureDrain) || s.draining {
		return
	}
	s.draining = true
	span := time.Duration(min(m.SpanMs, maxDrain.Milliseconds())) * time.Millisecond
	stay := time.Duration(rand.Int64N(int64(span) + 1))
	s.log.Info("the core is about to stop", "reason", check.Truncate(m.Reason, 200), "leaving_in", stay.Round(time.Millisecond))
	s.drains <- stay // has room for the one
}
