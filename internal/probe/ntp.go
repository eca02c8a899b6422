package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/beevik/ntp"

	"github.com/perigee-monitoring/perigee/check"
)

// maxNTPTry is how long one datagram may take to be answered before it is sent again.
const maxNTPTry = 3 * time.Second

// ntpSession asks one server. It connects for each question.
type ntpSession struct {
	plain
	prober *Prober
	config check.NTPConfig
	limit  time.Duration
}

func init() { offers[check.NTP] = offer{connect: (*Prober).connectNTP} }

func (p *Prober) connectNTP(_ context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.NTPConfig])
	if err != nil {
		return nil, err
	}
	return &ntpSession{plain{&phases{}}, p, config, timeout(config.Timeout)}, nil
}

func (s *ntpSession) collect(ctx context.Context, _ string, _ json.RawMessage) (any, error) {
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	try := min(s.limit/3, maxNTPTry)
	for {
		answer, err := s.ask(ctx, try)
		if ctx.Err() != nil {
			return nil, explain(ctx, context.Cause(ctx), "waiting for the server")
		}
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			continue // one lost datagram is not an outage
		}
		if err != nil {
			return nil, err
		}
		return ntpResult(answer)
	}
}

// ask sends one datagram and waits for its answer.
func (s *ntpSession) ask(ctx context.Context, try time.Duration) (*ntp.Response, error) {
	var stop func()
	answer, err := ntp.QueryWithOptions(net.JoinHostPort(s.config.Host, strconv.Itoa(s.config.Port)), ntp.QueryOptions{
		Timeout: try,
		Dialer: func(string, string) (net.Conn, error) {
			conn, err := s.prober.dial(ctx, s.phases, "udp", s.config.Host, s.config.Port, s.limit)
			if err != nil {
				return nil, err
			}
			after := context.AfterFunc(ctx, func() { conn.Close() })
			stop = func() { after() }
			return conn, nil
		},
	})
	if stop != nil {
		stop()
	}
	return answer, err
}

func ntpResult(answer *ntp.Response) (*check.NTPTimeResult, error) {
	if answer.Stratum == 0 && answer.KissCode != "" {
		return nil, fmt.Errorf("the server refused: %s", cut(answer.KissCode, 20))
	}
	result := &check.NTPTimeResult{
		OffsetMs: precise(answer.ClockOffset), Stratum: int(answer.Stratum), Reference: cut(strings.Trim(answer.ReferenceString(), "."), 100),
		RootDistanceMs: precise(answer.RootDistance), ResponseTimeMs: precise(answer.RTT),
		Synchronized: answer.Leap != ntp.LeapNotInSync && answer.Stratum > 0 && answer.Stratum < 16,
	}
	if !result.Synchronized {
		return result, errors.New("the server says that its clock is not set")
	}
	if err := answer.Validate(); err != nil {
		return result, fmt.Errorf("the server's time cannot be trusted: %w", err)
	}
	return result, nil
}

func (s *ntpSession) close() {}
