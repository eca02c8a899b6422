//go:build !lean

package probe

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/perigee-monitoring/perigee/check"
)

// http3Session makes the requests of one run over connections of its own.
type http3Session struct {
	plain
	prober    *Prober
	run       run
	config    check.HTTP3Config
	limit     time.Duration
	transport *http3.Transport

	mu    sync.Mutex
	under []*quic.Transport // of each connection; it owns the socket
}

func init() {
	offers[check.HTTP3] = offer{connect: (*Prober).connectHTTP3}
	// The library would print once that it cannot have larger buffers: one request needs none.
	_ = os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
}

func (p *Prober) connectHTTP3(_ context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.HTTP3Config])
	if err != nil {
		return nil, err
	}
	s := &http3Session{prober: p, run: r, config: config, limit: timeout(config.Timeout)}
	s.transport = &http3.Transport{
		TLSClientConfig: p.trust("", config.RejectUnauthorized), MaxResponseHeaderBytes: maxHeader, Dial: s.dial,
		QUICConfig: &quic.Config{HandshakeIdleTimeout: s.limit, MaxIdleTimeout: s.limit},
	}
	return s, nil
}

// dial connects a socket by our dialer and shakes hands over it.
func (s *http3Session) dial(ctx context.Context, address string, trust *tls.Config, config *quic.Config) (*quic.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	conn, err := s.prober.dial(ctx, &phases{}, "udp", host, n, s.limit)
	if err != nil {
		return nil, err
	}
	under := &quic.Transport{Conn: connected{conn.(*bounded).Conn.(*net.UDPConn)}}
	s.mu.Lock()
	s.under = append(s.under, under)
	s.mu.Unlock()
	return under.DialEarly(ctx, conn.RemoteAddr(), trust, config)
}

// connected is a socket that is connected to one address, where the library wants one
// that is not: what comes from elsewhere never arrives.
type connected struct{ udp *net.UDPConn }

func (c connected) ReadFrom(text []byte) (int, net.Addr, error) {
	n, err := c.udp.Read(text)
	return n, c.udp.RemoteAddr(), err
}
func (c connected) WriteTo(text []byte, _ net.Addr) (int, error) { return c.udp.Write(text) }
func (c connected) Close() error                                 { return c.udp.Close() }
func (c connected) LocalAddr() net.Addr                          { return c.udp.LocalAddr() }
func (c connected) SetDeadline(t time.Time) error                { return c.udp.SetDeadline(t) }
func (c connected) SetReadDeadline(t time.Time) error            { return c.udp.SetReadDeadline(t) }
func (c connected) SetWriteDeadline(t time.Time) error           { return c.udp.SetWriteDeadline(t) }
func (c connected) SetReadBuffer(n int) error                    { return c.udp.SetReadBuffer(n) }
func (c connected) SetWriteBuffer(n int) error                   { return c.udp.SetWriteBuffer(n) }
func (c connected) SyscallConn() (syscall.RawConn, error)        { return c.udp.SyscallConn() }

func (s *http3Session) collect(ctx context.Context, _ string, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.HTTP3RequestConfig])
	if err != nil {
		return nil, err
	}
	if target, err := url.Parse(config.URL); err != nil || target.Scheme != "https" || target.Hostname() == "" {
		return nil, fmt.Errorf("the config cannot be used: %q is not a URL with https", cut(withoutPassword(config.URL), 200))
	}
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, config.Method, config.URL, strings.NewReader(config.Body))
	if err != nil {
		return nil, fmt.Errorf("the request cannot be made: %w", describe(err))
	}
	request.Header.Set("User-Agent", strings.TrimSuffix("Perigee/"+s.prober.options.Version, "/"))
	if s.config.Token != "" {
		request.Header.Set("Authorization", "Bearer "+s.config.Token)
	}
	for _, h := range config.Headers {
		request.Header.Set(h.Name, h.Value)
	}
	result, err := s.exchange(request)
	if err != nil {
		return nil, explain(ctx, quicError(err), "waiting for the answer")
	}
	return result, nil
}

func (s *http3Session) exchange(request *http.Request) (*check.HTTP3RequestResult, error) {
	start := time.Now()
	response, err := s.transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	kept, err := io.ReadAll(io.LimitReader(response.Body, int64(s.run.bodyCap)))
	if err != nil {
		return nil, err
	}
	more, err := io.Copy(io.Discard, io.LimitReader(response.Body, maxCounted-int64(len(kept))))
	if err != nil {
		return nil, err
	}
	return &check.HTTP3RequestResult{
		StatusCode: response.StatusCode, ResponseTimeMs: precise(time.Since(start)), Body: strings.ToValidUTF8(string(kept), "�"),
		BodyLength: int64(len(kept)) + more, Success: response.StatusCode >= 200 && response.StatusCode < 400,
	}, nil
}

// quicError finds the reason that a certificate was refused inside what QUIC says of it.
func quicError(err error) error {
	if idle, ok := errors.AsType[*quic.IdleTimeoutError](err); ok {
		return told{"the other side stopped answering", idle}
	}
	return err
}

func (s *http3Session) close() {
	_ = s.transport.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, under := range s.under {
		_ = under.Close()
		_ = under.Conn.Close()
	}
}
