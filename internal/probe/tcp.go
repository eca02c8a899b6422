package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

const (
	// maxBanner is the most of a banner that is read.
	maxBanner = 4096
	// bannerRest is how long the rest of a first line may lag behind its first byte.
	bannerRest = 250 * time.Millisecond
)

// tcpSession is one connection.
type tcpSession struct {
	run    run
	limit  time.Duration
	conn   net.Conn
	phases *phases

	// A connection greets once, however many collectors listen.
	mu     sync.Mutex
	banner *check.TCPBannerResult
}

func init() { offers[check.TCP] = offer{connect: (*Prober).connectTCP} }

func (p *Prober) connectTCP(ctx context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.TCPConfig])
	if err != nil {
		return nil, err
	}
	clock := &phases{}
	conn, err := p.dial(ctx, clock, "tcp", config.Host, config.Port, timeout(config.Timeout))
	if err != nil {
		return nil, err
	}
	return &tcpSession{run: r, limit: timeout(config.Timeout), conn: conn, phases: clock}, nil
}

func (s *tcpSession) collect(ctx context.Context, _ string, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.TCPBannerConfig])
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.banner == nil {
		banner, err := readBanner(ctx, s.conn, min(s.limit, timeout(config.Timeout)))
		if err != nil {
			return nil, explain(ctx, err, "waiting for a banner")
		}
		s.banner = banner
	}
	return s.banner, nil
}

// readBanner reads what the server says first: up to the end of the first line,
// or what has come a moment after its beginning. Silence until the limit, or until
// the server hangs up, is no error.
func readBanner(ctx context.Context, conn net.Conn, limit time.Duration) (*check.TCPBannerResult, error) {
	start := time.Now()
	if err := conn.SetReadDeadline(start.Add(limit)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var banner []byte
	buffer := make([]byte, maxBanner)
	for len(banner) < maxBanner && !bytes.ContainsRune(banner, '\n') {
		n, err := conn.Read(buffer[:maxBanner-len(banner)])
		if len(banner) == 0 && n > 0 {
			if err := conn.SetReadDeadline(time.Now().Add(bannerRest)); err != nil {
				return nil, err
			}
		}
		banner = append(banner, buffer[:n]...)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	text := strings.TrimRight(cut(string(banner), maxBanner), "\r\n")
	return &check.TCPBannerResult{Banner: text, HasBanner: len(banner) > 0, ReadTimeMs: precise(time.Since(start))}, nil
}

func (s *tcpSession) verdict() (check.Status, string) { return check.Healthy, "" }
func (s *tcpSession) timings() *check.Timings         { return s.phases.result() }
func (s *tcpSession) close()                          { s.conn.Close() }
