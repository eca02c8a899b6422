package probe

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fence"
)

// Resolver asks the nameservers, each with its port, in turn; without any it is the
// system's. Each run has one of its own: those who ask one resolver for the same name
// at the same time share an answer, and a question that an earlier run asked in vain
// would decide on later ones.
func Resolver(nameservers []string) *net.Resolver {
	if len(nameservers) == 0 {
		return new(net.Resolver)
	}
	var next atomic.Uint64
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			n := next.Add(1) - 1
			return new(net.Dialer).DialContext(ctx, network, nameservers[n%uint64(len(nameservers))])
		},
	}
}

// guard holds the networks that no connection may go to.
type guard []netip.Prefix

// newGuard reads networks; one that cannot be read fails the run, because leaving
// it out would open what was to be closed.
func newGuard(cidrs []string) (guard, error) {
	var g guard
	for i, text := range cidrs {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("the config cannot be used: egressDenyCidrs[%d] is not a network", i)
		}
		g = append(g, prefix.Masked())
	}
	return g, nil
}

func (g guard) denies(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, prefix := range g {
		if prefix.Contains(addr) || prefix.Contains(netip.AddrFrom16(addr.As16())) {
			return true
		}
	}
	return false
}

// maxRead is how much one connection of a strategy may send, in bytes: what a server
// of its kind answers is a small part of it (spec M37).
const maxRead = 16 << 20

// errFlood is the end of a connection that sent more than maxRead.
var errFlood = errors.New("the other side sent more than 16 MiB")

// attentive is a connection that knows why reading failed first: libraries keep it to
// themselves, or take what came until then for all that there was.
type attentive struct {
	net.Conn
	failed atomic.Pointer[error]
}

func (a *attentive) Read(text []byte) (int, error) {
	n, err := a.Conn.Read(text)
	if err != nil {
		a.failed.CompareAndSwap(nil, &err)
	}
	return n, err
}

// failure is why reading failed, nil if it did not.
func (a *attentive) failure() error {
	if failed := a.failed.Load(); failed != nil {
		return *failed
	}
	return nil
}

// bounded is a connection of which no more than maxRead is read.
type bounded struct {
	attentive
	left atomic.Int64
}

func bound(conn net.Conn) net.Conn {
	b := &bounded{attentive: attentive{Conn: conn}}
	b.left.Store(maxRead)
	return b
}

func (b *bounded) Read(text []byte) (int, error) {
	if b.left.Load() <= 0 {
		b.failed.CompareAndSwap(nil, &errFlood)
		return 0, errFlood
	}
	n, err := b.attentive.Read(text)
	b.left.Add(-int64(n))
	return n, err
}

// reason is why reading failed, if it did, and otherwise the error.
func (b *bounded) reason(err error) error {
	if b == nil {
		return err
	}
	return cmp.Or(b.failure(), err)
}

// unanswered is why nothing is asked where an answer may be on its way that nobody waits for.
const unanswered = "not asked: what was asked before on this connection was not answered in time"

// spent says why nothing can be asked on the connection any more, nil when it can: who asks
// on after an answer that broke off would take what is left of it for the next one.
func spent(conn net.Conn) error {
	ours := under(conn)
	if ours == nil || ours.failure() == nil {
		return nil
	}
	failed := ours.failure()
	if timedOutOf(failed) || errors.Is(failed, net.ErrClosed) { // which is how some libraries end a wait
		return told{unanswered, failed}
	}
	return told{"not asked: the connection had ended: " + describe(failed).Error(), failed}
}

// under is the connection that others go over, such as TLS, or the one itself; nil when it is
// none that we made.
func under(conn net.Conn) *attentive {
	switch c := conn.(type) {
	case *tls.Conn:
		return under(c.NetConn())
	case *bounded:
		return &c.attentive
	case *attentive:
		return c
	}
	return nil
}

// during lets everything that conn does end with ctx. Call what it returns before the
// connection is used under another.
func during(ctx context.Context, conn net.Conn) (stop func()) {
	deadline, _ := ctx.Deadline() // the zero time is none
	_ = conn.SetDeadline(deadline)
	ended := make(chan struct{})
	after := context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = conn.SetDeadline(time.Unix(1, 0))
	})
	return func() {
		if !after() {
			<-ended
		}
	}
}

// dial connects within the limit and clocks it. network is "tcp" or "udp".
func (p *Prober) dial(ctx context.Context, clock *phases, network, host string, port int, limit time.Duration) (net.Conn, error) {
	ctx, cancel := within(ctx, limit)
	defer cancel()
	conn, err := p.dialer(nil).DialContext(clock.in(ctx), network, net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, explain(ctx, err, clock.doing())
	}
	return bound(conn), nil
}

// trust is how the other side of TLS is told from somebody else.
func (p *Prober) trust(name string, verify bool) *tls.Config {
	return &tls.Config{ServerName: name, RootCAs: p.options.Roots, InsecureSkipVerify: !verify} //nolint:gosec // the config says so
}

// secure shakes hands over conn and clocks it. An error closes conn.
func (p *Prober) secure(ctx context.Context, clock *phases, conn net.Conn, name string, verify bool) (net.Conn, error) {
	client := tls.Client(conn, p.trust(name, verify))
	clock.begin(&clock.tls, "shaking hands")
	if err := client.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("shaking hands: %w", err)
	}
	clock.end(&clock.tls)
	return client, nil
}

// reach is what most strategies begin with: a connection, within the limit, with TLS
// if wanted, and greet done over it. Whatever fails closes it.
func (p *Prober) reach(ctx context.Context, at endpoint, greet func(context.Context, *phases, net.Conn) error) (net.Conn, plain, error) {
	ctx, cancel := within(ctx, at.limit)
	defer cancel()
	clock := &phases{}
	conn, err := p.dial(ctx, clock, "tcp", at.host, at.port, at.limit)
	if err != nil {
		return nil, plain{}, err
	}
	if at.tls {
		if conn, err = p.secure(ctx, clock, conn, at.host, at.verify); err != nil {
			return nil, plain{}, explain(ctx, err, clock.doing())
		}
	}
	stop := during(ctx, conn)
	defer stop()
	if err := greet(ctx, clock, conn); err != nil {
		conn.Close()
		return nil, plain{}, explain(ctx, err, "waiting for the greeting")
	}
	return conn, plain{clock}, nil
}

// endpoint is where a strategy connects to, and how.
type endpoint struct {
	host        string
	port        int
	limit       time.Duration
	tls, verify bool
}

// outlet makes the connections of checks. Whether one may be made is asked for every
// address that is about to be connected to, after names were resolved: a name cannot be
// used to get around it.
type outlet struct {
	resolver *net.Resolver
	guard    guard        // of the check
	egress   fence.Egress // of the satellite's operator
}

func (p *Prober) dialer(g guard) *outlet {
	return &outlet{resolver: Resolver(p.options.Nameservers), guard: g, egress: p.egress}
}

// DialContext connects, and tells the phases of ctx, if it has any, what it is at.
func (o *outlet) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	clock := phasesOf(ctx)
	dialer := net.Dialer{KeepAlive: -1, Resolver: o.resolver}
	host, _, err := net.SplitHostPort(address)
	if err == nil { // else it is no address of a network, but the path of a socket
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			if clock != nil {
				clock.end(&clock.dns)
				clock.begin(&clock.connect, "connecting")
			}
			return o.admit(host, to)
		}
	}
	if clock == nil {
		return dialer.DialContext(ctx, network, address)
	}
	if _, err := netip.ParseAddr(host); err != nil {
		clock.begin(&clock.dns, resolving)
	}
	conn, err := dialer.DialContext(ctx, network, address)
	clock.end(&clock.dns) // unless it has, at an address
	if err == nil {       // of several addresses, the one that answered
		clock.end(&clock.connect)
	}
	return conn, err
}

// admit says why a connection may not be made to an address, which was found by that name.
func (o *outlet) admit(host string, to netip.AddrPort) error {
	if o.guard.denies(to.Addr()) {
		return denied{to.String()}
	}
	if err := o.egress.Admit(host, to); err != nil {
		return barred{unsupported{err.Error()}}
	}
	return nil
}

// phases clocks the parts of a run. The hooks may be called from several
// goroutines, and several times: redirects add up.
type phases struct {
	mu      sync.Mutex
	current string
	dns     phase
	connect phase
	tls     phase
	wait    phase
	receive phase
}

type phase struct {
	since time.Time
	total time.Duration
	ended bool
}

func (p *phases) begin(ph *phase, doing string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current = doing
	if ph.since.IsZero() {
		ph.since = time.Now()
	}
}

// at notes what the run is at within a phase, or between two.
func (p *phases) at(doing string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current = doing
}

func (p *phases) end(ph *phase) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ph.since.IsZero() {
		return
	}
	ph.total += time.Since(ph.since)
	ph.since, ph.ended = time.Time{}, true
}

// What requests are at.
const (
	waiting = "waiting for the answer"
	reading = "reading the answer"
)

// doing says what the run is at, for the words of a timeout.
func (p *phases) doing() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == "" {
		return "connecting"
	}
	return p.current
}

// phasesKey is where a context has phases, for what is done by ourselves.
type phasesKey struct{}

func (p *phases) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, phasesKey{}, p)
}

// phasesOf are those of a context, nil when it has none.
func phasesOf(ctx context.Context) *phases {
	p, _ := ctx.Value(phasesKey{}).(*phases)
	return p
}

// trace hooks the phases into package net and net/http, which costs more.
func (p *phases) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart:     func(httptrace.DNSStartInfo) { p.begin(&p.dns, resolving) },
		DNSDone:      func(httptrace.DNSDoneInfo) { p.end(&p.dns) },
		ConnectStart: func(string, string) { p.begin(&p.connect, "connecting") },
		ConnectDone: func(_, _ string, err error) {
			if err == nil { // of several addresses, the one that answered
				p.end(&p.connect)
			}
		},
		TLSHandshakeStart: func() { p.begin(&p.tls, "shaking hands") },
		TLSHandshakeDone:  func(tls.ConnectionState, error) { p.end(&p.tls) },
		WroteRequest:      func(httptrace.WroteRequestInfo) { p.begin(&p.wait, waiting) },
		GotFirstResponseByte: func() {
			p.end(&p.wait)
			p.at(reading)
		},
	})
}

// result gives the phases that took place, nil for none.
func (p *phases) result() *check.Timings {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := check.Timings{
		DNSMs: p.dns.ms(), ConnectMs: p.connect.ms(), TLSMs: p.tls.ms(), WaitMs: p.wait.ms(), TransferMs: p.receive.ms(),
	}
	if t == (check.Timings{}) {
		return nil
	}
	return &t
}

func (p phase) ms() *float64 {
	if !p.ended {
		return nil
	}
	return milliseconds(p.total)
}
