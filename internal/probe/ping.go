package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	probing "github.com/prometheus-community/pro-bing"

	"github.com/perigee-monitoring/perigee/check"
)

// pingInterval is the pause between two packets.
const pingInterval = 200 * time.Millisecond

// pingSession pings. It opens a socket for each collector.
type pingSession struct {
	run      run
	limit    time.Duration
	resolver *net.Resolver
	outlet   *outlet
}

func init() { offers[check.Ping] = offer{connect: (*Prober).connectPing} }

func (p *Prober) connectPing(_ context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.PingConfig])
	if err != nil {
		return nil, err
	}
	return &pingSession{run: r, limit: timeout(config.Timeout), resolver: Resolver(p.options.Nameservers), outlet: p.dialer(nil)}, nil
}

func (s *pingSession) collect(ctx context.Context, _ string, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.PingPingConfig])
	if err != nil {
		return nil, err
	}
	// The config's timeout is for the last packet's reply; the strategy's is for all.
	wait := timeout(config.Timeout) + time.Duration(config.Count-1)*pingInterval
	ctx, cancel := within(ctx, min(s.limit, wait))
	defer cancel()
	addrs, err := s.resolver.LookupIPAddr(ctx, config.Host)
	if err != nil {
		return nil, explain(ctx, err, resolving)
	}
	addr, _ := netip.AddrFromSlice(addrs[0].IP)
	if err := s.outlet.admit(config.Host, netip.AddrPortFrom(addr.Unmap().WithZone(addrs[0].Zone), 0)); err != nil {
		return nil, err
	}
	stats, err := ping(ctx, &addrs[0], config.Count)
	if err != nil {
		return nil, explain(ctx, err, "pinging")
	}
	return pinged(config.Host, stats)
}

// pinged is what the packets found. Losing some is for assertions to judge;
// losing all is a failure.
func pinged(host string, stats *probing.Statistics) (*check.PingPingResult, error) {
	result := &check.PingPingResult{
		PacketsSent:     stats.PacketsSent,
		PacketsReceived: stats.PacketsRecv,
		PacketLoss:      math.Round(stats.PacketLoss),
	}
	if stats.PacketsRecv == 0 {
		return result, told{fmt.Sprintf("no reply from %s; packets sent: %d", host, stats.PacketsSent), context.DeadlineExceeded}
	}
	result.MinLatency, result.AvgLatency, result.MaxLatency = milliseconds(stats.MinRtt), milliseconds(stats.AvgRtt), milliseconds(stats.MaxRtt)
	return result, nil
}

// ping sends the packets through a datagram socket, which needs no privilege where
// the system allows it, or else through a raw one. If it may open neither, that is
// this satellite's shortcoming and says nothing about the target.
func ping(ctx context.Context, addr *net.IPAddr, count int) (*probing.Statistics, error) {
	var err error
	for _, privileged := range []bool{false, true} {
		pinger := probing.New("")
		pinger.SetIPAddr(addr)
		pinger.SetPrivileged(privileged)
		pinger.SetLogger(probing.NoopLogger{})
		pinger.Count, pinger.Interval = count, pingInterval
		pinger.RecordRtts, pinger.RecordTTLs = false, false
		err = pinger.RunWithContext(ctx)
		_, limited := errors.AsType[timedOut](context.Cause(ctx))
		switch stats := pinger.Statistics(); {
		case err == nil, limited && stats.PacketsSent > 0:
			return stats, nil
		case errors.Is(err, syscall.EAFNOSUPPORT):
			return nil, unsupported{"this satellite has no network for addresses such as " + addr.String()}
		case !notPermitted(err):
			return nil, err
		}
	}
	return nil, unsupported{"this satellite may not send ICMP: it needs the capability NET_RAW, or its group in net.ipv4.ping_group_range"}
}

// notPermitted: the socket may not be opened. Not being allowed to send to an
// address (a broadcast, a firewall's rule) is about the address.
func notPermitted(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "write" {
		return false
	}
	return errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EPROTONOSUPPORT)
}

func (s *pingSession) verdict() (check.Status, string) { return check.Healthy, "" }
func (s *pingSession) timings() *check.Timings         { return nil }
func (s *pingSession) close()                          {}
