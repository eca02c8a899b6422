package probe

import (
	"bufio"
	"context"
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

// redisSession is one connection; its commands wait for each other.
type redisSession struct {
	plain
	run   run
	limit time.Duration

	mu     sync.Mutex
	conn   net.Conn
	answer *bufio.Reader
}

func init() { offers[check.Redis] = offer{connect: (*Prober).connectRedis} }

func (p *Prober) connectRedis(ctx context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.RedisConfig])
	if err != nil {
		return nil, err
	}
	s := &redisSession{run: r, limit: timeout(config.Timeout)}
	at := endpoint{host: config.Host, port: config.Port, limit: s.limit, tls: config.TLS, verify: config.RejectUnauthorized}
	s.conn, s.plain, err = p.reach(ctx, at, func(_ context.Context, _ *phases, conn net.Conn) error { return s.greet(conn, config) })
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *redisSession) greet(conn net.Conn, c check.RedisConfig) error {
	s.conn, s.answer = conn, bufio.NewReader(conn)
	if c.Password != "" {
		words := []string{"AUTH", c.Password}
		if c.Username != "" {
			words = []string{"AUTH", c.Username, c.Password}
		}
		if _, err := s.command(words...); err != nil {
			return fmt.Errorf("signing in: %w", err)
		}
	}
	if c.Database != 0 {
		if _, err := s.command("SELECT", strconv.Itoa(c.Database)); err != nil {
			return fmt.Errorf("selecting the database: %w", err)
		}
	}
	if c.Password == "" && c.Database == 0 {
		// A server that wants a password says so, and one that is none of this kind does not.
		_, err := s.command("PING")
		if refused, ok := errors.AsType[redisError](err); ok && !strings.HasPrefix(string(refused), "NOAUTH") {
			return nil // it may be loading its data: that is for the collectors to tell
		}
		return err
	}
	return nil
}

func (s *redisSession) collect(ctx context.Context, _ string, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.RedisCommandConfig])
	if err != nil {
		return nil, err
	}
	words := []string{config.Command}
	if config.Args != "" {
		words = append(words, config.Args)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := spent(s.conn); err != nil {
		return nil, err
	}
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	defer during(ctx, s.conn)()
	start := time.Now()
	answer, err := s.command(words...)
	result := &check.RedisCommandResult{Response: answer, ResponseTimeMs: precise(time.Since(start)), Success: err == nil}
	return result, explain(ctx, err, "waiting for the answer to "+config.Command)
}

func (s *redisSession) close() { s.conn.Close() }

// redisError is an error that the server reports.
type redisError string

func (e redisError) Error() string { return "the server answered " + string(e) }

// command sends one command and reads its answer, nil for none.
func (s *redisSession) command(words ...string) (*string, error) {
	var text strings.Builder
	fmt.Fprintf(&text, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&text, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(s.conn, text.String()); err != nil {
		return nil, err
	}
	line, err := readLine(s.answer)
	if err != nil {
		return nil, err
	}
	if line == "" {
		return nil, errors.New("the other side does not speak Redis' protocol")
	}
	switch rest := line[1:]; line[0] {
	case '+', ':':
		return &rest, nil
	case '-':
		return nil, redisError(rest)
	case '$':
		return s.bulk(rest)
	default:
		return nil, fmt.Errorf("the other side does not speak Redis' protocol: it answered %q", cut(line, 100))
	}
}

// bulk reads a text of the length, of which the beginning is kept.
func (s *redisSession) bulk(length string) (*string, error) {
	n, err := strconv.ParseInt(length, 10, 64)
	if err != nil || n < -1 {
		return nil, fmt.Errorf("the other side does not speak Redis' protocol: %q is no length", cut(length, 100))
	}
	if n < 0 {
		return nil, nil
	}
	kept, err := io.ReadAll(io.LimitReader(s.answer, min(n, maxText)))
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, s.answer, n-int64(len(kept))+2); err != nil {
		return nil, err
	}
	text := s.run.keep(string(kept))
	return &text, nil
}

// maxLine bounds a line of a protocol of lines, its end included.
const maxLine = 64 << 10

// readLine reads one line and takes its end off.
func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return "", fmt.Errorf("the other side sent a line of more than %d bytes", maxLine)
		}
		if err == nil {
			return strings.TrimRight(string(line), "\r\n"), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return "", err
		}
	}
}
