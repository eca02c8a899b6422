// Package perigeetest is the world that satellites stand in, for tests: places, each
// with a nameserver and a way to every host, which can be cut, slowed down and
// broken one by one. What stands at a place is a real satellite, what it watches
// are real servers, and what lies between are real sockets on loopback.
package perigeetest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Network is hosts by name and places from which they are reached.
type Network struct {
	tb    testing.TB
	hosts map[string]string // what listens, by name
	ports map[string]uint16
	next  atomic.Uint32
	net   byte // of the addresses of this network: 127.net.…
}

// networks numbers them, so that two in one process do not meet.
var networks atomic.Uint32

// NewNetwork makes a network of hosts: names, and the addresses at which they
// really listen. It ends with the test.
func NewNetwork(tb testing.TB, hosts map[string]string) *Network {
	tb.Helper()
	n := &Network{tb: tb, hosts: hosts, ports: map[string]uint16{}, net: byte(100 + networks.Add(1)%100)}
	for name, address := range hosts {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			tb.Fatalf("host %s: %v", name, err)
		}
		n.ports[name] = at.Port()
	}
	return n
}

// Place is where a satellite stands.
type Place struct {
	// Nameserver is the address of its nameserver, which knows the hosts.
	Nameserver string

	network *Network
	ways    map[string]*way
	names   atomic.Int32 // a Names
	work    sync.WaitGroup
}

// Names is how a place's nameserver is.
type Names int32

const (
	NamesKnown   Names = iota // it answers
	NamesSilent               // it takes questions and answers none
	NamesFailing              // it answers that it cannot (SERVFAIL)
)

// Way is how the way from a place to a host is.
type Way int32

const (
	WayOpen    Way = iota
	WaySilent      // connections come about, and nothing comes through them
	WayRefused     // connections end at once
)

// Place makes a place. It ends with the test.
func (n *Network) Place() *Place {
	n.tb.Helper()
	p := &Place{network: n, ways: map[string]*way{}}
	for name, address := range n.hosts {
		number := n.next.Add(1)
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, n.net, byte(number >> 8), byte(number)}), n.ports[name])
		p.ways[name] = newWay(n.tb, at, address)
	}
	p.serveNames()
	return p
}

// Address is where the place reaches the host, without asking a nameserver.
func (p *Place) Address(host string) string { return p.ways[host].at.String() }

// Way sets how the way to the host is from now on, also for connections that there are.
func (p *Place) Way(host string, w Way) { p.ways[host].set(w) }

// Slow holds up whatever the host sends by that long.
func (p *Place) Slow(host string, by time.Duration) { p.ways[host].delay.Store(int64(by)) }

// Names sets how the nameserver is from now on.
func (p *Place) Names(is Names) { p.names.Store(int32(is)) }

// Uplink takes everything away from the place, or gives it back: all ways, and the
// nameserver.
func (p *Place) Uplink(up bool) {
	w, is := WaySilent, NamesSilent
	if up {
		w, is = WayOpen, NamesKnown
	}
	p.Names(is)
	for host := range p.ways {
		p.Way(host, w)
	}
}

func (p *Place) serveNames() {
	tb := p.network.tb
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p.Nameserver = conn.LocalAddr().String()
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(p.answer)}
	p.work.Go(func() {
		if err := server.ActivateAndServe(); err != nil && !errors.Is(err, net.ErrClosed) {
			tb.Errorf("nameserver: %v", err)
		}
	})
	tb.Cleanup(func() {
		_ = server.Shutdown() // it ends by itself where it has not begun
		_ = conn.Close()
		p.work.Wait()
	})
}

func (p *Place) answer(w dns.ResponseWriter, question *dns.Msg) {
	reply := new(dns.Msg).SetReply(question)
	switch Names(p.names.Load()) {
	case NamesSilent:
		return
	case NamesFailing:
		reply.Rcode = dns.RcodeServerFailure
	default:
		reply.Rcode = dns.RcodeNameError
		for _, q := range question.Question {
			way := p.ways[trimDot(q.Name)]
			if way == nil {
				continue
			}
			reply.Rcode = dns.RcodeSuccess
			if q.Qtype == dns.TypeA {
				reply.Answer = append(reply.Answer, &dns.A{
					Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IP(way.at.Addr().AsSlice()),
				})
			}
		}
	}
	_ = w.WriteMsg(reply) // over UDP there is nobody to tell
}

func trimDot(name string) string {
	name = dns.CanonicalName(name)
	return name[:max(0, len(name)-1)]
}

// way carries connections from a place to a host.
type way struct {
	at    netip.AddrPort
	to    string
	delay atomic.Int64

	mu   sync.Mutex
	is   Way                   // guarded by mu
	turn chan struct{}         // guarded by mu: closed when is changes
	open map[net.Conn]struct{} // guarded by mu
	work sync.WaitGroup
}

func newWay(tb testing.TB, at netip.AddrPort, to string) *way {
	tb.Helper()
	listener, err := net.Listen("tcp", at.String())
	if err != nil {
		tb.Fatalf("a way to %s: %v", to, err)
	}
	w := &way{at: at, to: to, turn: make(chan struct{}), open: map[net.Conn]struct{}{}}
	w.work.Go(func() { w.accept(listener) })
	tb.Cleanup(func() {
		listener.Close()
		w.set(WayRefused)
		w.work.Wait()
	})
	return w
}

func (w *way) set(is Way) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.is == is {
		return
	}
	w.is = is
	close(w.turn)
	w.turn = make(chan struct{})
	if is == WayRefused {
		for conn := range w.open {
			conn.Close()
		}
	}
}

// passable waits until the way is open; false says that it is refused.
func (w *way) passable() bool {
	for {
		w.mu.Lock()
		is, turn := w.is, w.turn
		w.mu.Unlock()
		switch is {
		case WayOpen:
			return true
		case WayRefused:
			return false
		}
		<-turn
	}
}

func (w *way) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		w.work.Go(func() { w.carry(conn) })
	}
}

// keep has the connection closed when the way is refused; false says that it is.
func (w *way) keep(conn net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.is == WayRefused {
		return false
	}
	w.open[conn] = struct{}{}
	return true
}

func (w *way) drop(conn net.Conn) {
	w.mu.Lock()
	delete(w.open, conn)
	w.mu.Unlock()
	conn.Close()
}

func (w *way) carry(near net.Conn) {
	defer near.Close()
	if !w.keep(near) {
		return
	}
	defer w.drop(near)
	if !w.passable() {
		return
	}
	far, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer far.Close()
	if !w.keep(far) {
		return
	}
	defer w.drop(far)
	var both sync.WaitGroup
	both.Go(func() { w.pass(far, near, nil) })
	both.Go(func() { w.pass(near, far, &w.delay) })
	both.Wait()
}

// pass hands on what comes, for as long as the way is open.
func (w *way) pass(to, from net.Conn, delay *atomic.Int64) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if delay != nil && delay.Load() > 0 {
				<-time.After(time.Duration(delay.Load()))
			}
			if !w.passable() {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				from.Close()
				return
			}
		}
		if err != nil {
			if half, ok := to.(interface{ CloseWrite() error }); ok && errors.Is(err, io.EOF) {
				_ = half.CloseWrite() // the other end is gone, then
				return
			}
			to.Close()
			return
		}
	}
}

// String is for messages of tests.
func (w Way) String() string { return [...]string{"open", "silent", "refused"}[w] }

func (n Names) String() string {
	return fmt.Sprintf("names %s", [...]string{"known", "silent", "failing"}[n])
}
