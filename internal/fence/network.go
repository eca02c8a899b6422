package fence

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Modes of a policy (spec G.8).
const (
	NetworkUnrestricted = "unrestricted"
	NetworkDeny         = "deny"
	NetworkAllowlist    = "allowlist"

	FilesOff       = "off"
	FilesScratch   = "scratch-only"
	FilesScratchRO = "scratch-plus-ro"

	PrivilegeInherit = "inherit"
	PrivilegeDrop    = "drop-to-uid"

	UnavailableDegrade = "degrade"
	UnavailableFail    = "fail"
)

// FailClosed is what a satellite goes by before a core has told it a policy.
func FailClosed() Policy {
	p := Default()
	p.Network = Network{Mode: NetworkDeny, DenyLinkLocalAndMetadata: true}
	return p
}

// Rules are what several policies say together, such as that of the core and that of the
// satellite's own operator: each of them must allow. None at all is no fence.
type Rules []Policy

// enabled are those that are in force.
func (r Rules) enabled() Rules {
	var all Rules
	for _, p := range r {
		if p.Enabled {
			all = append(all, p)
		}
	}
	return all
}

// Unrestricted reports that no connection is refused.
func (r Rules) Unrestricted() bool {
	for _, p := range r.enabled() {
		if p.Network.Mode != NetworkUnrestricted || p.Network.DenyLinkLocalAndMetadata {
			return false
		}
	}
	return true
}

// Closed reports that every connection is refused.
func (r Rules) Closed() bool {
	for _, p := range r.enabled() {
		if p.Network.Mode == NetworkDeny || p.Network.Mode == NetworkAllowlist && len(p.Network.Allow) == 0 {
			return true
		}
	}
	return false
}

// Denied is a connection that a policy does not allow.
type Denied struct {
	To     string
	Reason string
}

func (e *Denied) Error() string {
	return fmt.Sprintf("the sandbox policy does not allow connections to %s: %s (perigee sandbox shows it)", e.To, e.Reason)
}

// Admit says why a connection to an address is refused; nil lets it be made. host is the
// name that it was found by, "" for none.
func (r Rules) Admit(host string, to netip.AddrPort) error {
	name := host
	if name == "" {
		name = to.Addr().String()
	}
	for _, p := range r.enabled() {
		if p.Network.DenyLinkLocalAndMetadata && linkLocalOrMetadata(to.Addr()) {
			return &Denied{name, "link-local and metadata addresses are closed"}
		}
		switch p.Network.Mode {
		case NetworkDeny:
			return &Denied{name, "there is no network"}
		case NetworkAllowlist:
			if !p.Network.lists(host, to) {
				return &Denied{name, "it is not on the list of what is allowed"}
			}
		}
	}
	return nil
}

// metadata are where clouds tell their machines who they are: most of them, AWS for
// containers and over IPv6, Google over IPv6, Alibaba, Azure's own host, Oracle.
var metadata = []netip.Prefix{
	netip.MustParsePrefix("169.254.169.254/32"), netip.MustParsePrefix("169.254.170.2/32"), netip.MustParsePrefix("169.254.170.23/32"),
	netip.MustParsePrefix("fd00:ec2::254/128"), netip.MustParsePrefix("fd00:ec2::23/128"), netip.MustParsePrefix("fd20:ce::254/128"),
	netip.MustParsePrefix("100.100.100.200/32"), netip.MustParsePrefix("168.63.129.16/32"), netip.MustParsePrefix("192.0.0.192/32"),
}

func linkLocalOrMetadata(a netip.Addr) bool {
	a = plain(a)
	return isLinkLocal(a) || isMetadata(a)
}

func isLinkLocal(a netip.Addr) bool { return a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast() }

func isMetadata(a netip.Addr) bool {
	return slices.ContainsFunc(metadata, func(p netip.Prefix) bool { return p.Contains(a) })
}

var (
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
	sixto = netip.MustParsePrefix("2002::/16")
)

// plain is the address that is meant by one that carries another inside.
func plain(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:]))
	case sixto.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return a
}

// lists reports whether an entry of the list is about this host or address, and port if it
// names one. "*.example.org" is every name below example.org.
func (n Network) lists(host string, to netip.AddrPort) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	for _, entry := range n.Allow {
		entry = strings.TrimSuffix(strings.ToLower(entry), ".")
		if prefix, err := netip.ParsePrefix(entry); err == nil {
			if prefix.Contains(plain(to.Addr())) {
				return true
			}
			continue
		}
		if h, port, err := net.SplitHostPort(entry); err == nil {
			if port != strconv.Itoa(int(to.Port())) {
				continue
			}
			entry = h
		}
		if addr, err := netip.ParseAddr(strings.Trim(entry, "[]")); err == nil {
			if plain(addr) == plain(to.Addr()) {
				return true
			}
			continue
		}
		if below, ok := strings.CutPrefix(entry, "*"); ok && strings.HasPrefix(below, ".") {
			if strings.HasSuffix(host, below) && len(host) > len(below) {
				return true
			}
			continue
		}
		if host != "" && host == entry {
			return true
		}
	}
	return false
}

// Dial connects as the rules allow: a name is resolved first, and what it resolves to is
// what is asked about and connected to.
func (r Rules) Dial(ctx context.Context, dialer *net.Dialer, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	to, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%q is no port", port)
	}
	if r.Closed() { // then names are not told to anybody either
		return nil, &Denied{host, "there is no network"}
	}
	var addrs []netip.Addr
	if addr, err := netip.ParseAddr(host); err == nil {
		addrs, host = []netip.Addr{addr}, ""
	} else {
		resolver := dialer.Resolver
		if resolver == nil {
			resolver = net.DefaultResolver
		}
		if addrs, err = resolver.LookupNetIP(ctx, "ip", host); err != nil {
			return nil, err
		}
	}
	var failures []error
	for _, addr := range addrs {
		target := netip.AddrPortFrom(addr.Unmap(), uint16(to))
		if err := r.Admit(host, target); err != nil {
			failures = append(failures, err)
			continue
		}
		conn, err := dialer.DialContext(ctx, network, target.String())
		if err == nil {
			return conn, nil
		}
		failures = append(failures, err)
	}
	if len(failures) == 0 {
		return nil, fmt.Errorf("%s has no address", host)
	}
	return nil, errors.Join(failures...)
}
