package hub

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// gate bounds what strangers cost (spec M17, M31): sockets that have not
// authenticated, counted in all and by address, and failed attempts by address.
//
// A success costs an address nothing, so thousands of satellites behind one are
// not slowed. When an address fails too often, only satellites that have
// authenticated here before are let try from it: one bad neighbour, or an
// attacker behind the same address, does not shut them out.
type gate struct {
	most, perAddress int
	every            rate.Limit
	burst            int

	mu        sync.Mutex
	total     int            // guarded by mu
	byAddress map[string]int // guarded by mu

	failures recent[string, *rate.Limiter]
	known    recent[string, struct{}] // client ids that have authenticated
}

func newGate(l Limits) gate {
	return gate{
		most: l.Unauthenticated, perAddress: l.UnauthenticatedPerAddress,
		every: rate.Limit(l.FailedPerSecond), burst: l.FailedAttempts,
		byAddress: map[string]int{},
		failures:  newRecent[string, *rate.Limiter](8192),
		known:     newRecent[string, struct{}](1 << 16),
	}
}

// enter counts a socket that has not authenticated; false when there are too many.
func (g *gate) enter(remote string) bool {
	address := addressOf(remote)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total >= g.most || g.byAddress[address] >= g.perAddress {
		return false
	}
	g.total++
	g.byAddress[address]++
	return true
}

// leave is the end of enter: the socket has authenticated, or is gone.
func (g *gate) leave(remote string) {
	address := addressOf(remote)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if g.byAddress[address]--; g.byAddress[address] == 0 {
		delete(g.byAddress, address)
	}
}

// mayTry reports whether the credentials may be looked at.
func (g *gate) mayTry(remote, clientID string) bool {
	limiter, ok := g.failures.get(addressOf(remote))
	if !ok || limiter.Tokens() >= 1 {
		return true
	}
	_, known := g.known.get(clientID)
	return known
}

func (g *gate) failed(remote string) {
	now := time.Now()
	g.failures.update(addressOf(remote), func(l *rate.Limiter) *rate.Limiter {
		if l == nil {
			l = rate.NewLimiter(g.every, g.burst)
		}
		l.AllowN(now, 1)
		return l
	})
}

func (g *gate) succeeded(clientID string) {
	g.known.update(clientID, func(struct{}) struct{} { return struct{}{} })
}

// addressOf is what a remote address is counted as: without its port, and the
// network rather than the host for IPv6, of which everybody has plenty.
func addressOf(remote string) string {
	var ip netip.Addr
	if ap, err := netip.ParseAddrPort(remote); err == nil {
		ip = ap.Addr()
	} else if ip, err = netip.ParseAddr(remote); err != nil {
		return remote
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		if network, err := ip.Prefix(64); err == nil {
			return network.String()
		}
	}
	return ip.String()
}
