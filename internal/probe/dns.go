package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/perigee-monitoring/perigee/check"
)

const (
	// maxValues and maxValue bound what is kept of an answer.
	maxValues = 100
	maxValue  = 4096
	// maxTry is how long one datagram may take to be answered before it is sent
	// again: one lost datagram is not an outage.
	maxTry = 5 * time.Second
)

// dnsSession asks questions. It connects for each.
type dnsSession struct {
	run         run
	limit       time.Duration
	nameserver  string
	nameservers []string // this satellite's own, instead of the system's
	resolvConf  string
	outlet      *outlet
}

func init() { offers[check.DNS] = offer{connect: (*Prober).connectDNS} }

func (p *Prober) connectDNS(_ context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.DNSConfig])
	if err != nil {
		return nil, err
	}
	return &dnsSession{run: r, limit: timeout(config.Timeout), nameserver: config.Nameserver, nameservers: p.options.Nameservers, resolvConf: p.options.ResolvConf, outlet: p.dialer(nil)}, nil
}

func (s *dnsSession) collect(ctx context.Context, _ string, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.DNSLookupConfig])
	if err != nil {
		return nil, err
	}
	if config.Nameserver == "" {
		config.Nameserver = s.nameserver
	}
	if _, ok := dns.IsDomainName(config.Hostname); !ok {
		return nil, fmt.Errorf("%q is not a name that can be looked up", cut(config.Hostname, 200))
	}
	servers, err := s.servers(config.Nameserver)
	if err != nil {
		return nil, err
	}
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	start := time.Now()
	kind := dns.StringToType[config.RecordType]
	answer, err := s.ask(ctx, s.to(config.Nameserver), servers, config.Hostname, kind)
	if err != nil && config.Nameserver == "" {
		return nil, unresolvedName{err} // it is this satellite's own nameserver that failed
	}
	if err != nil {
		return nil, err
	}
	result := &check.DNSLookupResult{Values: []string{}, ResolutionTimeMs: precise(time.Since(start))}
	for _, record := range answer.Answer {
		if record.Header().Rrtype != kind {
			continue // the aliases on the way
		}
		result.RecordCount++
		if len(result.Values) < maxValues {
			result.Values = append(result.Values, cut(value(record), maxValue))
		}
	}
	err = refusal(answer, result, config)
	if config.Nameserver == "" && unable(answer.Rcode) {
		err = unresolvedName{err} // this satellite's own nameserver asks others, and could not
	}
	return result, err
}

// refusal is what is wrong with a complete answer, nil for nothing. A name without
// records of the wanted type fails, as with the resolvers of most programs.
func refusal(answer *dns.Msg, result *check.DNSLookupResult, c check.DNSLookupConfig) error {
	switch answer.Rcode {
	case dns.RcodeSuccess:
		if result.RecordCount == 0 {
			return fmt.Errorf("%s has no %s records", c.Hostname, c.RecordType)
		}
		return nil
	case dns.RcodeNameError:
		return fmt.Errorf("the name %s does not exist (NXDOMAIN)", c.Hostname)
	default:
		return fmt.Errorf("the nameserver answered %s for %s", rcode(answer.Rcode), c.Hostname)
	}
}

// unable reports whether the nameserver could not answer, or would not: it says nothing
// of the name.
func unable(code int) bool { return code == dns.RcodeServerFailure || code == dns.RcodeRefused }

func rcode(code int) string {
	if text, ok := dns.RcodeToString[code]; ok {
		return text
	}
	return fmt.Sprintf("code %d", code)
}

// servers are the addresses to ask, in order.
func (s *dnsSession) servers(nameserver string) ([]string, error) {
	if nameserver != "" {
		return []string{withPort(nameserver, "53")}, nil
	}
	if len(s.nameservers) > 0 {
		return s.nameservers, nil
	}
	config, err := dns.ClientConfigFromFile(s.resolvConf)
	if err != nil || len(config.Servers) == 0 {
		return nil, unsupported{"this satellite has no nameserver of its own (" + s.resolvConf + "); name one in the check"}
	}
	var servers []string
	for _, server := range config.Servers {
		servers = append(servers, net.JoinHostPort(server, config.Port))
	}
	return servers, nil
}

// to is how a nameserver is reached. This satellite's own need nobody's leave.
func (s *dnsSession) to(nameserver string) *outlet {
	if nameserver == "" {
		return &outlet{}
	}
	return s.outlet
}

// withPort adds the port unless there is one: host, host:port, address, [address]:port.
func withPort(text, port string) string {
	if _, err := netip.ParseAddr(text); err == nil {
		return net.JoinHostPort(text, port)
	}
	if _, _, err := net.SplitHostPort(text); err == nil {
		return text
	}
	return net.JoinHostPort(strings.Trim(text, "[]"), port)
}

// ask goes round the servers until one answers the question or ctx ends. A server
// that fails is an answer only if no other gives a better one.
func (s *dnsSession) ask(ctx context.Context, o *outlet, servers []string, name string, kind uint16) (*dns.Msg, error) {
	try := min(s.limit/3, maxTry)
	for {
		var failing *dns.Msg
		var failure error
		lost := false
		for _, server := range servers {
			answer, err := exchange(ctx, o, try, server, name, kind)
			if err == nil && !unable(answer.Rcode) {
				return answer, nil
			}
			if err == nil {
				failing = answer
				continue
			}
			if ctx.Err() != nil {
				return nil, explain(ctx, err, "waiting for "+server)
			}
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
				lost = true
			}
			failure = fmt.Errorf("asking %s: %w", server, describe(err))
			if why, ok := errors.AsType[barred](err); ok {
				failure = why
			}
		}
		switch {
		case failing != nil:
			return failing, nil
		case !lost:
			return nil, failure
		}
	}
}

// exchange asks one server once: by datagram, and by stream if the answer did not
// fit; without extensions if the server does not know them.
func exchange(ctx context.Context, o *outlet, try time.Duration, server, name string, kind uint16) (*dns.Msg, error) {
	question := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	question.SetEdns0(1232, false)
	answer, err := send(ctx, o, "udp", try, server, question)
	if err == nil && answer.Rcode == dns.RcodeFormatError {
		question.Extra = nil
		answer, err = send(ctx, o, "udp", try, server, question)
	}
	if err == nil && answer.Truncated {
		answer, err = send(ctx, o, "tcp", try, server, question)
	}
	return answer, err
}

func send(ctx context.Context, o *outlet, network string, try time.Duration, server string, question *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, try)
	defer cancel()
	client := &dns.Client{Net: network, UDPSize: 1232}
	under, err := o.DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer under.Close()
	conn := &dns.Conn{Conn: under, UDPSize: client.UDPSize}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	answer, _, err := client.ExchangeWithConnContext(ctx, question, conn)
	return answer, err
}

// value is a record's content in the form of the results.
func value(record dns.RR) string {
	name := func(n string) string { return strings.TrimSuffix(n, ".") }
	switch r := record.(type) {
	case *dns.A:
		return r.A.String()
	case *dns.AAAA:
		return r.AAAA.String()
	case *dns.CNAME:
		return name(r.Target)
	case *dns.MX:
		return fmt.Sprintf("%d %s", r.Preference, name(r.Mx))
	case *dns.TXT:
		return strings.Join(r.Txt, "")
	case *dns.NS:
		return name(r.Ns)
	default:
		return record.String()
	}
}

// measure asks the nameserver for the root's nameservers, which any can answer in
// some way: an answer shows that it is there. Without a nameserver in the config
// the target would be the satellite's own resolver, which nobody asked about.
func (s *dnsSession) measure(ctx context.Context) (bool, error) {
	if s.nameserver == "" {
		return false, nil
	}
	servers, err := s.servers(s.nameserver)
	if err != nil {
		return false, err
	}
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	_, err = s.ask(ctx, s.to(s.nameserver), servers, ".", dns.TypeNS)
	return err == nil, err
}

func (s *dnsSession) verdict() (check.Status, string) { return check.Healthy, "" }
func (s *dnsSession) timings() *check.Timings         { return nil }
func (s *dnsSession) close()                          {}
