package fence

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whom checks may reach, as a satellite's operator says.
func TestWhomChecksMayReach(t *testing.T) {
	t.Parallel()
	home := Egress{Deny: []string{"metadata", "link-local", "loopback", "private", "203.0.113.0/24", "2001:db8:1::/48"}}
	listed := Egress{Deny: []string{"metadata"}, Allow: []string{"example.org", "*.example.net", "10.0.0.0/8", "api.test:8443", "169.254.0.0/16"}}
	for _, c := range []struct {
		egress   Egress
		host, to string
		want     bool
	}{
		{Egress{}, "", "169.254.169.254:80", true},
		{DefaultEgress(), "", "169.254.169.254:80", false},
		{DefaultEgress(), "metadata.google.internal", "169.254.169.254:80", false},
		{DefaultEgress(), "", "169.254.169.254:53", true},
		{DefaultEgress(), "", "[::ffff:169.254.169.254]:80", false},
		{DefaultEgress(), "", "[64:ff9b::a9fe:a9fe]:80", false},
		{DefaultEgress(), "", "[fd00:ec2::254]:80", false},
		{DefaultEgress(), "", "169.254.170.2:80", false},
		{DefaultEgress(), "", "100.100.100.200:443", false},
		{DefaultEgress(), "", "169.254.7.7:80", true},
		{DefaultEgress(), "", "[fe80::1%eth0]:80", true},
		{DefaultEgress(), "", "127.0.0.1:80", true},
		{DefaultEgress(), "", "10.0.0.1:80", true},
		{home, "", "169.254.7.7:80", false},
		{home, "", "[fe80::1%eth0]:80", false},
		{home, "localhost", "127.0.0.1:80", false},
		{home, "", "[::1]:80", false},
		{home, "", "0.0.0.0:80", false},
		{home, "", "[::ffff:127.0.0.1]:80", false},
		{home, "intranet.example", "10.1.2.3:80", false},
		{home, "", "192.168.1.1:80", false},
		{home, "", "[fd12::1]:80", false},
		{home, "", "100.64.0.1:80", false},
		{home, "", "203.0.113.9:80", false},
		{home, "", "[2001:db8:1::9]:80", false},
		{home, "", "198.51.100.1:80", true},
		{listed, "example.org", "198.51.100.1:443", true},
		{listed, "other.org", "198.51.100.1:443", false},
		{listed, "a.example.net", "198.51.100.1:443", true},
		{listed, "", "10.9.9.9:1", true},
		{listed, "api.test", "198.51.100.1:443", false},
		{listed, "api.test", "198.51.100.1:8443", true},
		{listed, "", "169.254.169.254:80", false}, // what is denied stays denied
	} {
		err := c.egress.Admit(c.host, netip.MustParseAddrPort(c.to))
		if (err == nil) != c.want {
			t.Errorf("%v: %q at %s: %v", c.egress, c.host, c.to, err)
		}
	}
}

// An operator's file may be about scripts, about checks, or about both.
func TestReadLocal(t *testing.T) {
	t.Parallel()
	plain := Policy{
		Enabled: true, OnUnavailable: "degrade", Filesystem: Filesystem{Mode: "off"},
		Network: Network{Mode: "deny", DenyLinkLocalAndMetadata: true}, Privilege: Privilege{Mode: "inherit"},
	}
	for text, want := range map[string]struct {
		policy *Policy
		egress *Egress
		wrong  string
	}{
		`{"network":{"mode":"deny","denyLinkLocalAndMetadata":true}}`: {policy: &plain},
		`{"checks":{}}`:          {egress: &Egress{Deny: []string{"metadata"}}},
		`{"checks":{"deny":[]}}`: {egress: &Egress{Deny: []string{}}},
		`{"checks":{"allow":["a.test"]},"network":{"mode":"deny","denyLinkLocalAndMetadata":true}}`: {&plain, &Egress{Deny: []string{"metadata"}, Allow: []string{"a.test"}}, ""},
		`{"checks":{"deny":["everything"]}}`: {wrong: "checks.deny[0]"},
		`{"checks":{"allow":["a b"]}}`:       {wrong: "checks.allow[0]"},
		`{"checks":{"denied":[]}}`:           {wrong: "denied"},
		`{"chekcs":{}}`:                      {wrong: "chekcs"},
		`[]`:                                 {wrong: "array"},
	} {
		policy, egress, err := ReadLocal([]byte(text))
		if want.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), want.wrong) {
				t.Errorf("%s: error %v, want one that names %s", text, err, want.wrong)
			}
			continue
		}
		if diff := cmp.Diff(want.policy, policy) + cmp.Diff(want.egress, egress); diff != "" || err != nil {
			t.Errorf("%s (-want +got):\n%s%v", text, diff, err)
		}
	}
}
