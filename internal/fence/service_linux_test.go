package fence_test

import (
	"net"
	"strings"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/fence"
)

// Who may reach some waits for nobody: no service begins where the network is not open, on
// loopback or elsewhere.
func TestServices(t *testing.T) {
	t.Parallel()
	const (
		use  = `use Socket qw(:all); `
		done = ` or die "no: $!"; print "through"`
	)
	for name, perl := range map[string]string{
		"on loopback":               `socket(my $s, 2, 1, 0) or die "no: $!"; bind($s, pack_sockaddr_in(0, inet_aton("127.0.0.1"))) && listen($s, 1)`,
		"on every address":          `socket(my $s, 2, 1, 0) or die "no: $!"; bind($s, pack_sockaddr_in(0, INADDR_ANY)) && listen($s, 1)`,
		"without an address":        `socket(my $s, 2, 1, 0) or die "no: $!"; listen($s, 1)`,
		"by IPv6":                   `socket(my $s, 10, 1, 0) or die "no: $!"; bind($s, pack_sockaddr_in6(0, inet_pton(10, "::1"))) && listen($s, 1)`,
		"at a port that it chooses": `socket(my $s, 2, 1, 0) or die "no: $!"; bind($s, pack_sockaddr_in(40053, inet_aton("127.77.0.1")))`,
		"of datagrams":              `socket(my $s, 2, 2, 0) or die "no: $!"; bind($s, pack_sockaddr_in(40054, inet_aton("127.77.0.1")))`,
		"of datagrams, by IPv6":     `socket(my $s, 10, 2, 0) or die "no: $!"; bind($s, pack_sockaddr_in6(40055, inet_pton(10, "::ffff:127.77.0.1")))`,
		"of no family":              `socket(my $s, 2, 2, 0) or die "no: $!"; bind($s, pack("S", 0) . substr(pack_sockaddr_in(40056, INADDR_ANY), 2))`,
		"within the machine":        `socket(my $s, 1, 1, 0) or die "no: $!"; bind($s, pack_sockaddr_un("here")) && listen($s, 1)`,
		"without a file":            `socket(my $s, 1, 2, 0) or die "no: $!"; bind($s, pack_sockaddr_un("\0perigee-service-$$"))`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for mode, change := range map[string]func(*fence.Policy){
				"some": network("allowlist", "127.0.0.1", "127.77.0.1"), "nobody": network("deny"),
				"some, with files open": func(p *fence.Policy) {
					network("allowlist", "127.0.0.0/8")(p)
					p.Filesystem.Mode, p.Privilege.Mode = fence.FilesOff, fence.PrivilegeInherit
				},
			} {
				// One after the other: they want the same port.
				t.Run(mode, func(t *testing.T) { attempt{perl: use + perl + done, change: change}.try(t) })
			}
		})
	}
	t.Run("where the network is open", func(t *testing.T) {
		t.Parallel()
		script := `perl -MSocket -e 'socket(my $s, 2, 1, 0); bind($s, pack_sockaddr_in(0, INADDR_ANY)) && listen($s, 1) or die "no: $!"; print "through"'`
		if got, err := shell(t, strict(network("unrestricted")), fence.Place{Scratch: scratch(t)}, script); got != "through" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// Who asks takes a port for the answer, and an address to ask from.
func TestWhoAsksBinds(t *testing.T) {
	t.Parallel()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { packets.Close() })
	go func() {
		question := make([]byte, 100)
		for {
			n, from, err := packets.ReadFrom(question)
			if err != nil {
				return
			}
			_, _ = packets.WriteTo(question[:n], from) // it may have ended
		}
	}()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tcp.Close() })
	port := func(a net.Addr) string { _, p, _ := net.SplitHostPort(a.String()); return p }
	udp := `perl -MSocket -e 'socket(my $s, 2, 2, 0) or die; BIND send($s, "asked", 0, pack_sockaddr_in(` + port(packets.LocalAddr()) + `, inet_aton("127.0.0.1"))) or die "no: $!"; recv($s, my $got, 10, 0); print $got'`
	for name, c := range map[string]struct{ script, want string }{
		"a datagram, from a port that the system gives": {strings.Replace(udp, "BIND", `bind($s, pack_sockaddr_in(0, INADDR_ANY)) or die "no: $!";`, 1), "asked"},
		"a datagram, without a word":                    {strings.Replace(udp, "BIND", "", 1), "asked"},
		"a stream, from an address":                     {`perl -MSocket -e 'socket(my $s, 2, 1, 0); bind($s, pack_sockaddr_in(0, inet_aton("127.77.0.2"))) && connect($s, pack_sockaddr_in(` + port(tcp.Addr()) + `, inet_aton("127.0.0.1"))) or die "no: $!"; print inet_ntoa((unpack_sockaddr_in(getsockname $s))[1])'`, "127.77.0.2"},
		"which addresses the machine has":               {`perl -e 'socket(my $s, 16, 3, 0) or die; bind($s, pack "SSLL", 16, 0, 0, 0) or die "no: $!"; print "asked"'`, "asked"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := shell(t, strict(network("allowlist", "127.0.0.1")), fence.Place{Scratch: scratch(t)}, c.script); got != c.want || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}
