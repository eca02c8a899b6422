package satellite

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// HasNameserver reports whether the system names a nameserver, so that its resolver is
// worth watching. Where systems do not say in a file, they have one.
func HasNameserver() bool {
	text, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return runtime.GOOS != "linux"
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "nameserver" {
			return true
		}
	}
	return false
}

// resolverSense asks for names.
type resolverSense struct {
	resolver Resolver
	names    []string
}

const (
	// nameThatCannotBe is answered by every resolver that answers at all (RFC 6761).
	nameThatCannotBe = "perigee-observer.invalid."
	// askWithin bounds one question; it is asked twice, because one lost datagram is no
	// illness.
	askWithin = observeWithin/2 - 50*time.Millisecond
)

func (r *resolverSense) look(ctx context.Context) (string, bool) {
	if len(r.names) == 0 {
		err := r.ask(ctx, nameThatCannotBe)
		if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
			return "", true
		}
		return resolverWords(err), true
	}
	errs := make([]error, len(r.names))
	var all sync.WaitGroup
	for i, name := range r.names {
		all.Go(func() { errs[i] = r.ask(ctx, name) })
	}
	all.Wait()
	if slices.Contains(errs, nil) {
		return "", true
	}
	return resolverWords(errs[0]), true
}

func (r *resolverSense) ask(ctx context.Context, name string) (err error) {
	for range 2 {
		limited, cancel := context.WithTimeout(ctx, askWithin)
		_, err = r.resolver.LookupHost(limited, name)
		cancel()
		if dns, ok := errors.AsType[*net.DNSError](err); err == nil || ok && dns.IsNotFound {
			return err
		}
	}
	return err
}

func resolverWords(err error) string {
	if err == nil {
		return ""
	}
	dns, ok := errors.AsType[*net.DNSError](err)
	switch {
	case !ok:
		return "names are not resolved: " + err.Error()
	case dns.IsNotFound:
		return fmt.Sprintf("%s is not found", dns.Name)
	case dns.IsTimeout:
		return "no answer from the nameserver"
	}
	return "names are not resolved: " + dns.Err
}

// Where Linux tells its routes and neighbours. Elsewhere these do not exist, and there
// is nothing to look at.
const (
	routeFile     = "/proc/net/route"
	neighbourFile = "/proc/net/arp"
)

// gatewaySense looks whether the gateway of the default route is there. It opens a
// connection that nobody has to accept: being refused is an answer. A gateway that
// drops such attempts is judged by whether it answers on the link.
type gatewaySense struct {
	route, neighbours string
	had               bool // there was a default route
}

// routeGateway are the flags of a route that is up and leads to a gateway.
const routeGateway = 0x1 | 0x2

// gatewayPort is the discard service: nothing is harmed if it is there.
const gatewayPort = 9

func (g *gatewaySense) look(ctx context.Context) (string, bool) {
	gateway, ok := defaultGateway(g.route)
	if !ok {
		if g.had {
			return "the default route is gone", true
		}
		return "", false
	}
	g.had = true
	limited, cancel := context.WithTimeout(ctx, observeWithin/2)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(limited, "tcp", netip.AddrPortFrom(gateway, gatewayPort).String())
	if err == nil {
		conn.Close()
		return "", true
	}
	for _, unreachable := range []error{syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENETDOWN} {
		if errors.Is(err, unreachable) {
			return fmt.Sprintf("the gateway %s cannot be reached", gateway), true
		}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		if known, there := neighbour(g.neighbours, gateway); known && !there {
			return fmt.Sprintf("the gateway %s does not answer", gateway), true
		}
	}
	return "", true
}

// defaultGateway reads the gateway of the default route.
func defaultGateway(path string) (netip.Addr, bool) {
	for fields := range tableRows(path) {
		// Iface Destination Gateway Flags RefCnt Use Metric Mask …
		if len(fields) < 8 || fields[1] != "00000000" || fields[7] != "00000000" {
			continue
		}
		flags, err := strconv.ParseUint(fields[3], 16, 16)
		gateway, addressErr := strconv.ParseUint(fields[2], 16, 32)
		if err != nil || addressErr != nil || flags&routeGateway != routeGateway {
			continue
		}
		var address [4]byte
		binary.NativeEndian.PutUint32(address[:], uint32(gateway))
		return netip.AddrFrom4(address), true
	}
	return netip.Addr{}, false
}

// neighbour reads whether the address is known on the link, and whether it answered.
func neighbour(path string, address netip.Addr) (known, there bool) {
	for fields := range tableRows(path) {
		// IP address, HW type, Flags, HW address, Mask, Device
		if len(fields) < 3 || fields[0] != address.String() {
			continue
		}
		flags, err := strconv.ParseUint(strings.TrimPrefix(fields[2], "0x"), 16, 16)
		return err == nil, flags&0x2 != 0 // ATF_COM
	}
	return false, false
}

// tableRows are the rows of a table of the kernel's, without its head.
func tableRows(path string) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		f, err := os.Open(path)
		if err != nil {
			return
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		for head := true; lines.Scan(); head = false {
			if !head && !yield(strings.Fields(lines.Text())) {
				return
			}
		}
	}
}

// referenceSense looks how many of the references answer.
type referenceSense struct {
	targets []*url.URL
	least   int // that must answer
	dialer  *net.Dialer
	client  *http.Client
}

// MaxReferences bounds ObserverConfig.References and Names.
const MaxReferences = 64

func newReferenceSense(c ObserverConfig) (*referenceSense, error) {
	if len(c.References) > MaxReferences {
		return nil, fmt.Errorf("at most %d references", MaxReferences)
	}
	dialer := &net.Dialer{KeepAlive: -1}
	if own, ok := c.Resolver.(*net.Resolver); ok {
		dialer.Resolver = own
	}
	r := &referenceSense{
		least: int(math.Ceil(c.ReferenceShare * float64(len(c.References)))), dialer: dialer,
		client: &http.Client{
			Transport:     &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	for _, text := range c.References {
		target, err := ParseReference(text)
		if err != nil {
			return nil, err
		}
		r.targets = append(r.targets, target)
	}
	return r, nil
}

// ParseReference reads one of ObserverConfig.References.
func ParseReference(text string) (*url.URL, error) {
	target, err := url.Parse(text)
	ok := err == nil && target.Hostname() != "" && target.User == nil
	if ok && target.Scheme == "tcp" {
		ok = target.Port() != "" && target.Path == "" && target.RawQuery == ""
	} else if ok {
		ok = target.Scheme == "http" || target.Scheme == "https"
	}
	if !ok {
		return nil, fmt.Errorf("%q is no reference; write it as tcp://host:port or https://host/path", text)
	}
	return target, nil
}

func (r *referenceSense) look(ctx context.Context) (string, bool) {
	errs := make([]error, len(r.targets))
	var all sync.WaitGroup
	for i, target := range r.targets {
		all.Go(func() { errs[i] = r.ask(ctx, target) })
	}
	all.Wait()
	answered, silent := 0, ""
	for i, err := range errs {
		if err == nil {
			answered++
		} else if silent == "" {
			silent = r.targets[i].Host
		}
	}
	if answered >= r.least {
		return "", true
	}
	return fmt.Sprintf("%d of %d references answer; %s does not", answered, len(r.targets), silent), true
}

// ask is nil when the target answers, whatever it says.
func (r *referenceSense) ask(ctx context.Context, target *url.URL) error {
	if target.Scheme == "tcp" {
		conn, err := r.dialer.DialContext(ctx, "tcp", target.Host)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, target.String(), nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "Perigee-Observer")
	response, err := r.client.Do(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}
