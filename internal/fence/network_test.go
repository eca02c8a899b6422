package fence

import (
	"net/netip"
	"testing"
)

// Whom scripts may reach (spec G.8).
func TestWhomScriptsMayReach(t *testing.T) {
	t.Parallel()
	open := Policy{Enabled: true, Network: Network{Mode: NetworkUnrestricted}}
	guarded := Policy{Enabled: true, Network: Network{Mode: NetworkUnrestricted, DenyLinkLocalAndMetadata: true}}
	listed := Policy{Enabled: true, Network: Network{Mode: NetworkAllowlist, DenyLinkLocalAndMetadata: true, Allow: []string{
		"example.org", "*.example.net", "10.0.0.0/8", "192.0.2.7", "api.test:8443", "[2001:db8::1]:443", "169.254.0.0/16",
	}}}
	off := Policy{Network: Network{Mode: NetworkDeny}}
	for _, c := range []struct {
		rules    Rules
		host, to string
		want     bool
	}{
		{nil, "", "169.254.169.254:80", true},
		{Rules{off}, "", "192.0.2.1:80", true},
		{Rules{open}, "", "169.254.169.254:80", true},
		{Rules{guarded}, "", "169.254.169.254:80", false},
		{Rules{guarded}, "metadata.google.internal", "169.254.169.254:80", false},
		{Rules{guarded}, "", "[::ffff:169.254.169.254]:80", false},
		{Rules{guarded}, "", "[64:ff9b::a9fe:a9fe]:80", false},
		{Rules{guarded}, "", "[2002:a9fe:a9fe::1]:80", false},
		{Rules{guarded}, "", "[fe80::1%eth0]:80", false},
		{Rules{guarded}, "", "[fd00:ec2::254]:80", false},
		{Rules{guarded}, "", "100.100.100.200:80", false},
		{Rules{guarded}, "", "127.0.0.1:80", true},
		{Rules{FailClosed()}, "example.org", "192.0.2.1:443", false},
		{Rules{Default()}, "example.org", "192.0.2.1:443", false},
		{Rules{listed}, "example.org", "192.0.2.1:443", true},
		{Rules{listed}, "Example.ORG.", "192.0.2.1:443", true},
		{Rules{listed}, "www.example.org", "192.0.2.1:443", false},
		{Rules{listed}, "a.b.example.net", "192.0.2.1:443", true},
		{Rules{listed}, "example.net", "192.0.2.1:443", false},
		{Rules{listed}, "badexample.net", "192.0.2.1:443", false},
		{Rules{listed}, "", "10.1.2.3:1", true},
		{Rules{listed}, "", "[::ffff:10.1.2.3]:1", true},
		{Rules{listed}, "", "192.0.2.7:1", true},
		{Rules{listed}, "", "192.0.2.8:1", false},
		{Rules{listed}, "api.test", "192.0.2.9:8443", true},
		{Rules{listed}, "api.test", "192.0.2.9:443", false},
		{Rules{listed}, "", "[2001:db8::1]:443", true},
		{Rules{listed}, "", "[2001:db8::1]:80", false},
		{Rules{listed}, "", "169.254.169.254:80", false},
		{Rules{open, listed}, "other.test", "192.0.2.1:443", false},
		{Rules{listed, guarded}, "example.org", "192.0.2.1:443", true},
		{Rules{listed, FailClosed()}, "example.org", "192.0.2.1:443", false},
	} {
		err := c.rules.Admit(c.host, netip.MustParseAddrPort(c.to))
		if (err == nil) != c.want {
			t.Errorf("%v: %q at %s: %v", c.rules, c.host, c.to, err)
		}
	}
}
