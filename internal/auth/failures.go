package auth

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How many attempts may fail from one network, or with one account, before it has to
// wait, how fast it is forgiven, and how many are remembered.
const (
	failureBurst    = 10
	failureInterval = 3 * time.Second // forgives one
	maxGuessers     = 10_000
)

// failures counts failed attempts by whoever makes them. The zero value is ready.
type failures struct {
	mu        sync.Mutex
	byGuesser map[string]*rate.Limiter // of those that failed lately
}

// exhausted reports whether the guesser has to wait. Attempts under way at the
// same time are not counted yet, so a few more than the burst may get through.
func (f *failures) exhausted(guesser string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, ok := f.byGuesser[guesser]
	return ok && l.Tokens() < 1
}

// note counts a failed attempt. When too many are remembered, any one is
// forgotten: who has ten thousand addresses is not held up by counting addresses.
func (f *failures) note(guesser string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, ok := f.byGuesser[guesser]
	if !ok {
		if f.byGuesser == nil {
			f.byGuesser = map[string]*rate.Limiter{}
		}
		if len(f.byGuesser) >= maxGuessers {
			for other := range f.byGuesser {
				delete(f.byGuesser, other)
				break
			}
		}
		l = rate.NewLimiter(rate.Every(failureInterval), failureBurst)
		f.byGuesser[guesser] = l
	}
	l.Allow()
}

// network is what one guesser is taken to hold: an IPv4 address, or the /64 of an
// IPv6 address, of which a single machine has as many as it likes.
func network(remote string) string {
	addr, err := netip.ParseAddr(remote)
	if err != nil {
		withPort, err := netip.ParseAddrPort(remote)
		if err != nil {
			return remote // of a test or a unix socket
		}
		addr = withPort.Addr()
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	return netip.PrefixFrom(addr, 64).Masked().String()
}
