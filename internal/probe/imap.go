package probe

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

// imapSession is one connection; its collectors wait for each other. A check needs
// three commands of IMAP, whose answers are lines; the library reads all of mail.
type imapSession struct {
	plain
	run   run
	limit time.Duration

	mu    sync.Mutex
	conn  net.Conn
	lines *bufio.Reader
	tag   int
}

func init() { offers[check.IMAP] = offer{connect: (*Prober).connectIMAP} }

func (p *Prober) connectIMAP(ctx context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.IMAPConfig])
	if err != nil {
		return nil, err
	}
	if config.Username != "" && config.Security == "none" {
		return nil, errors.New("the config cannot be used: a password would travel in the clear; choose starttls or tls as security")
	}
	s := &imapSession{run: r, limit: timeout(config.Timeout)}
	at := endpoint{host: config.Host, port: config.Port, limit: s.limit, tls: config.Security == "tls", verify: config.RejectUnauthorized}
	_, s.plain, err = p.reach(ctx, at, func(ctx context.Context, clock *phases, conn net.Conn) error {
		return s.greet(ctx, p, clock, conn, config)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *imapSession) greet(ctx context.Context, p *Prober, clock *phases, conn net.Conn, c check.IMAPConfig) error {
	s.conn, s.lines = conn, bufio.NewReader(conn)
	line, err := readLine(s.lines)
	if err != nil {
		return err
	}
	if said := strings.ToUpper(line); !strings.HasPrefix(said, "* OK") && !strings.HasPrefix(said, "* PREAUTH") {
		return fmt.Errorf("the other side does not greet as IMAP does: it said %q", cut(line, 100))
	}
	if c.Security == "starttls" {
		if _, err := s.ask("STARTTLS"); err != nil {
			return fmt.Errorf("changing to TLS: %w", err)
		}
		if s.lines.Buffered() > 0 {
			return errors.New("changing to TLS: the server said something that is not encrypted")
		}
		if s.conn, err = p.secure(ctx, clock, conn, c.Host, c.RejectUnauthorized); err != nil {
			return err
		}
		s.lines = bufio.NewReader(s.conn)
	}
	if c.Username == "" {
		return nil
	}
	if _, err := s.ask("LOGIN", c.Username, c.Password); err != nil {
		return fmt.Errorf("signing in: %w", err)
	}
	return nil
}

func (s *imapSession) collect(ctx context.Context, _ string, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.IMAPMailboxConfig])
	if err != nil {
		return nil, err
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
	lines, err := s.ask("STATUS", config.Mailbox, imapAtom("(MESSAGES UNSEEN)"))
	if err != nil {
		return nil, explain(ctx, err, "waiting for the answer")
	}
	result := &check.IMAPMailboxResult{ResponseTimeMs: precise(time.Since(start))}
	for _, line := range lines {
		if !strings.HasPrefix(line, "* STATUS ") {
			continue
		}
		for _, m := range imapCount.FindAllStringSubmatch(line[strings.LastIndex(line, "(")+1:], -1) {
			n, _ := strconv.Atoi(m[2]) // digits
			if m[1] == "MESSAGES" {
				result.Messages = n
			} else {
				result.Unseen = n
			}
		}
		return result, nil
	}
	return nil, errors.New("the server did not answer what it was asked")
}

var imapCount = regexp.MustCompile(`\b(MESSAGES|UNSEEN) (\d{1,9})\b`)

// imapAtom is a word of a command that is sent as it is, rather than quoted.
type imapAtom string

// ask sends a command and gives what comes before its end. Texts are quoted, those
// with characters that cannot be are sent by their length.
func (s *imapSession) ask(verb string, words ...any) ([]string, error) {
	s.tag++
	tag := "p" + strconv.Itoa(s.tag)
	command := tag + " " + verb
	for _, word := range words {
		switch word := word.(type) {
		case imapAtom:
			command += " " + string(word)
		case string:
			if !strings.ContainsFunc(word, func(r rune) bool { return r < ' ' || r > '~' }) {
				command += ` "` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
				continue
			}
			command += fmt.Sprintf(" {%d}", len(word))
			if _, err := io.WriteString(s.conn, command+"\r\n"); err != nil {
				return nil, err
			}
			if line, err := readLine(s.lines); err != nil || !strings.HasPrefix(line, "+") {
				return nil, errors.Join(err, fmt.Errorf("the server answered %s", cut(line, 300)))
			}
			command = word
		}
	}
	if _, err := io.WriteString(s.conn, command+"\r\n"); err != nil {
		return nil, err
	}
	var lines []string
	for range maxReplyLines {
		line, err := readLine(s.lines)
		if err != nil {
			return nil, err
		}
		rest, ours := strings.CutPrefix(line, tag+" ")
		switch {
		case !ours && strings.HasPrefix(line, "* "):
			lines = append(lines, line)
		case !ours:
			return nil, fmt.Errorf("the other side does not speak IMAP: it said %q", cut(line, 100))
		case strings.HasPrefix(strings.ToUpper(rest), "OK"):
			return lines, nil
		default:
			return nil, fmt.Errorf("the server answered %s", cut(rest, 300))
		}
	}
	return nil, fmt.Errorf("the server's answer has more than %d lines", maxReplyLines)
}

func (s *imapSession) close() {
	_ = s.conn.SetDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(s.conn, "z LOGOUT\r\n") // a courtesy
	s.conn.Close()
}
