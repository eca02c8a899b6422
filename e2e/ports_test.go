package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
)

// A core's port is not among those that the kernel gives to servers and connections which
// ask for any: while a core is down, for a start or by a kill, one of those would answer in its
// place.
func TestPortsOfCoresAreNobodyElses(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Fatal(err)
	}
	var first, last uint16
	if _, err := fmt.Sscan(string(text), &first, &last); err != nil {
		t.Fatal(err)
	}
	given := map[netip.AddrPort]bool{}
	for range 50 {
		addr := netip.MustParseAddrPort(freeAddress(t))
		if given[addr] || first <= addr.Port() && addr.Port() <= last {
			t.Errorf("%s was given, of %d to %d or twice", addr, first, last)
		}
		given[addr] = true
	}
}
