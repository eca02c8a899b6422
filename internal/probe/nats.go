package probe

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

// natsSession is one connection; its collectors wait for each other. The protocol is
// a few lines of text. The client library would connect anew behind our back, which
// is what a check must not do.
type natsSession struct {
	plain
	run   run
	limit time.Duration
	info  natsInfo

	mu            sync.Mutex
	conn          net.Conn
	lines         *bufio.Reader
	subscriptions int
}

// natsInfo is what the server says first.
type natsInfo struct {
	ServerName  string `json:"server_name"`
	Version     string `json:"version"`
	JetStream   bool   `json:"jetstream"`
	MaxPayload  int    `json:"max_payload"`
	TLSRequired bool   `json:"tls_required"`
}

func init() { offers[check.NATS] = offer{connect: (*Prober).connectNATS} }

func (p *Prober) connectNATS(ctx context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.NATSConfig])
	if err != nil {
		return nil, err
	}
	s := &natsSession{run: r, limit: timeout(config.Timeout)}
	at := endpoint{host: config.Host, port: config.Port, limit: s.limit}
	_, s.plain, err = p.reach(ctx, at, func(ctx context.Context, clock *phases, conn net.Conn) error {
		return s.greet(ctx, p, clock, conn, config)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// greet reads the server's greeting, which is not encrypted, and signs in.
func (s *natsSession) greet(ctx context.Context, p *Prober, clock *phases, conn net.Conn, c check.NATSConfig) error {
	s.conn, s.lines = conn, bufio.NewReader(conn)
	line, err := readLine(s.lines)
	if err != nil {
		return err
	}
	text, ok := strings.CutPrefix(line, "INFO ")
	if !ok || json.Unmarshal([]byte(text), &s.info) != nil {
		return fmt.Errorf("the other side does not speak NATS' protocol: it said %q", cut(line, 100))
	}
	if c.TLS || s.info.TLSRequired {
		if s.conn, err = p.secure(ctx, clock, conn, c.Host, c.RejectUnauthorized); err != nil {
			return err
		}
		s.lines = bufio.NewReader(s.conn)
	}
	hello, err := json.Marshal(map[string]any{
		"verbose": false, "pedantic": false, "lang": "go", "name": "perigee", "version": p.options.Version,
		"protocol": 1, "tls_required": c.TLS, "user": c.Username, "pass": c.Password, "auth_token": c.Token,
	})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(s.conn, "CONNECT %s\r\nPING\r\n", hello); err != nil {
		return err
	}
	_, err = s.await("PONG")
	return err
}

// await reads until the line that begins with the word, gives the rest of it, and
// answers pings meanwhile.
func (s *natsSession) await(word string) (string, error) {
	for {
		line, err := readLine(s.lines)
		if err != nil {
			return "", err
		}
		verb, rest, _ := strings.Cut(line, " ")
		switch {
		case verb == word:
			return rest, nil
		case verb == "PING":
			_, err = io.WriteString(s.conn, "PONG\r\n")
		case verb == "-ERR":
			err = fmt.Errorf("the server answered %s", cut(strings.Trim(rest, "'"), 200))
		case verb == "MSG":
			_, err = s.payload(rest)
		case verb != "INFO" && verb != "+OK" && verb != "PONG" && verb != "":
			err = fmt.Errorf("the other side does not speak NATS' protocol: it said %q", cut(line, 100))
		}
		if err != nil {
			return "", err
		}
	}
}

// message waits for one and gives its payload.
func (s *natsSession) message() (string, error) {
	rest, err := s.await("MSG")
	if err != nil {
		return "", err
	}
	return s.payload(rest)
}

// payload reads what follows a line with the length at its end; nothing is kept of
// one that cannot be ours.
func (s *natsSession) payload(line string) (string, error) {
	fields := strings.Fields(line)
	if len(fields) < 3 {
		return "", errors.New("the other side does not speak NATS' protocol")
	}
	n, err := strconv.ParseInt(fields[len(fields)-1], 10, 32)
	if err != nil || n < 0 {
		return "", errors.New("the other side does not speak NATS' protocol")
	}
	if n > maxLine {
		_, err = io.CopyN(io.Discard, s.lines, n+2)
		return "", err
	}
	text := make([]byte, n+2)
	_, err = io.ReadFull(s.lines, text)
	return string(text[:n]), err
}

func (s *natsSession) collect(ctx context.Context, id string, raw json.RawMessage) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := spent(s.conn); err != nil {
		return nil, err
	}
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	defer during(ctx, s.conn)()
	if id == check.NATSRoundTrip {
		result, err := s.roundTrip(raw)
		return result, explain(ctx, err, "waiting for the message")
	}
	start := time.Now()
	if _, err := io.WriteString(s.conn, "PING\r\n"); err != nil {
		return nil, explain(ctx, err, "sending a ping")
	}
	if _, err := s.await("PONG"); err != nil {
		return nil, explain(ctx, err, "waiting for the answer to a ping")
	}
	return &check.NATSServerResult{
		ServerName: cut(s.info.ServerName, 200), Version: cut(s.info.Version, 200), JetStream: s.info.JetStream,
		MaxPayload: s.info.MaxPayload, ResponseTimeMs: precise(time.Since(start)),
	}, nil
}

// roundTrip publishes a message that nobody else sends and waits for it.
func (s *natsSession) roundTrip(raw json.RawMessage) (*check.NATSRoundTripResult, error) {
	config, err := configure(s.run, raw, check.Decode[check.NATSRoundTripConfig])
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(config.Subject, " \t\r\n*>") {
		return nil, fmt.Errorf("the config cannot be used: %q is no subject that can be published to", cut(config.Subject, 200))
	}
	s.subscriptions++
	id, text := s.subscriptions, rand.Text()
	result := &check.NATSRoundTripResult{}
	start := time.Now()
	if _, err := fmt.Fprintf(s.conn, "SUB %s %d\r\nPUB %s %d\r\n%s\r\n", config.Subject, id, config.Subject, len(text), text); err != nil {
		return result, err
	}
	for got := ""; got != text; {
		if got, err = s.message(); err != nil {
			return result, err
		}
	}
	result.ResponseTimeMs, result.Success = precise(time.Since(start)), true
	_, err = fmt.Fprintf(s.conn, "UNSUB %d\r\n", id)
	return result, err
}

func (s *natsSession) close() { s.conn.Close() }
