package satellite

import (
	"cmp"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/protocol"
)

// route is the order in which a satellite tries its cores. Each satellite has an
// order of its own, made of its id, so that a fleet spreads over the cores, and so
// does what a core leaves behind that fails. Only when every core has failed since
// the last session is there a wait: the back-off of spec K.5.
type route struct {
	cores   []Core
	at      int
	failed  int // in a row
	round   int // in which every core has failed, in a row
	retry   time.Duration
	drained time.Time // when a core was last left at its own wish
}

func newRoute(satelliteID string, cores []Core) *route {
	weight := func(c Core) uint64 {
		h := fnv.New64a()
		h.Write([]byte(satelliteID + "\x00" + c.URL))
		return h.Sum64() * 0x9e3779b97f4a7c15 // FNV's low bits carry little of what came last
	}
	return &route{cores: slices.SortedFunc(slices.Values(cores), func(a, b Core) int { return cmp.Compare(weight(a), weight(b)) })}
}

// core is the one to try next.
func (r *route) core() Core { return r.cores[r.at] }

// after says how long to wait after a session, or an attempt at one, has ended.
func (r *route) after(err error, authenticated bool) time.Duration {
	if authenticated {
		r.failed, r.round, r.retry = 0, 0, 0
	}
	if _, ok := errors.AsType[*shutdownError](err); ok {
		return jitter(shutdownPause) // as the core wishes
	}
	r.at = (r.at + 1) % len(r.cores)
	if errors.Is(err, errDrained) {
		again := time.Since(r.drained) < protocol.ReconnectBase
		r.drained = time.Now()
		if !again { // or two cores that stop could keep it busy
			return 0
		}
	}
	r.failed++
	if refused, ok := errors.AsType[*link.HandshakeError](err); ok {
		r.retry = max(r.retry, refused.RetryAfter)
	}
	if r.failed < len(r.cores) {
		return r.move(authenticated)
	}
	delay := backoff(r.round)
	if r.retry > 0 {
		delay = max(delay, r.retry+jitter(r.retry/4))
	}
	r.failed, r.retry = 0, 0
	r.round++
	return delay
}

// move is the wait before the next core. Those that lose a core lose it together, and
// the others are not to be run over by them (spec M27).
func (r *route) move(lost bool) time.Duration {
	if !lost {
		return 0
	}
	return rand.N(protocol.ReconnectBase).Round(time.Millisecond)
}
