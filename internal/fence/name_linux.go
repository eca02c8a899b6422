package fence

import (
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// names are which addresses the names of the lists have, as programs find them.
type names struct {
	mu      sync.Mutex
	asked   time.Time
	known   map[netip.Addr][]string
	servers []netip.Addr
	read    bool
}

// namesRest is how long is rested before names are asked for anew.
const namesRest = time.Second

// of gives the names of the lists that have the address.
func (n *names) of(ctx context.Context, rules Rules, a netip.Addr) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	a = plain(a)
	if found := n.known[a]; found != nil || time.Since(n.asked) < namesRest {
		return found
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	n.known = map[netip.Addr][]string{}
	for _, host := range rules.hosts() {
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			continue // it has none
		}
		for _, addr := range addrs {
			n.known[plain(addr)] = append(n.known[plain(addr)], host)
		}
	}
	n.asked = time.Now()
	return n.known[a]
}

// hosts are the names on the lists. One with a star has no address to know it by.
func (r Rules) hosts() []string {
	var all []string
	for _, p := range r.enabled() {
		for _, entry := range p.Network.Allow {
			if host, _, err := net.SplitHostPort(entry); err == nil {
				entry = host
			}
			_, network := netip.ParsePrefix(entry)
			_, address := netip.ParseAddr(strings.Trim(entry, "[]"))
			if network != nil && address != nil && !strings.HasPrefix(entry, "*") && !slices.Contains(all, entry) {
				all = append(all, entry)
			}
		}
	}
	return all
}

// nameserver reports whether the system asks this address for names.
func (n *names) nameserver(a netip.Addr) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.read {
		n.read = true
		text, err := os.ReadFile("/etc/resolv.conf")
		if err != nil {
			return false
		}
		for line := range strings.Lines(string(text)) {
			if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "nameserver" {
				if addr, err := netip.ParseAddr(fields[1]); err == nil {
					n.servers = append(n.servers, plain(addr))
				}
			}
		}
	}
	return slices.Contains(n.servers, plain(a))
}
