package satellite

import (
	"sync"
	"time"

	"github.com/perigee-monitoring/perigee/protocol"
)

// clock estimates how far the core's clock is from ours, from heartbeats and
// their answers: of the last exchanges, the one with the shortest round trip says
// most, because half of it bounds the error.
type clock struct {
	mu      sync.Mutex
	samples []sample // oldest first, at most clockSamples
}

type sample struct {
	sent      int64   // our clock, names the exchange
	offset    float64 // core minus satellite, milliseconds
	roundTrip float64
}

// clockSamples is two minutes of heartbeats: long enough to meet a quiet moment
// of the network, short enough to follow a drifting clock.
const clockSamples = 8

// answered takes in the answer to a heartbeat, and reports whether it is the first.
func (c *clock) answered(m *protocol.Clock, now time.Time) (first bool) {
	received := now.UnixMilli()
	roundTrip := float64(received-m.Echo) - float64(m.SentAt-m.ReceivedAt)
	if roundTrip < 0 || roundTrip > float64(protocol.OfflineThreshold.Milliseconds()) {
		return false // a clock was set in between
	}
	offset := (float64(m.ReceivedAt-m.Echo) + float64(m.SentAt-received)) / 2
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.samples) == clockSamples {
		c.samples = c.samples[1:]
	}
	c.samples = append(c.samples, sample{m.Echo, offset, roundTrip})
	return len(c.samples) == 1
}

// reset forgets everything: our own clock was set, or the core is another.
func (c *clock) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.samples = nil
}

// estimate is core clock minus satellite clock and how wrong that may be, both in
// milliseconds; nil before the first exchange.
func (c *clock) estimate() (offset, uncertainty *float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.samples) == 0 {
		return nil, nil
	}
	best := c.samples[0]
	for _, s := range c.samples[1:] {
		if s.roundTrip <= best.roundTrip {
			best = s
		}
	}
	half := best.roundTrip / 2
	return &best.offset, &half
}
