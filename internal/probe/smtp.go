package probe

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

// maxReplyLines bounds one answer of a mail server.
const maxReplyLines = 200

// smtpSession is one connection; its collectors wait for each other. The protocol is
// lines of text, and the library for it hides the answers that a check is about.
type smtpSession struct {
	plain
	run        run
	limit      time.Duration
	banner     string
	extensions []string
	secure     bool

	mu    sync.Mutex
	conn  net.Conn
	lines *bufio.Reader
}

func init() { offers[check.SMTP] = offer{connect: (*Prober).connectSMTP} }

func (p *Prober) connectSMTP(ctx context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.SMTPConfig])
	if err != nil {
		return nil, err
	}
	s := &smtpSession{run: r, limit: timeout(config.Timeout), secure: config.Security == "tls"}
	at := endpoint{host: config.Host, port: config.Port, limit: s.limit, tls: s.secure, verify: config.RejectUnauthorized}
	_, s.plain, err = p.reach(ctx, at, func(ctx context.Context, clock *phases, conn net.Conn) error {
		return s.greet(ctx, p, clock, conn, config)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *smtpSession) greet(ctx context.Context, p *Prober, clock *phases, conn net.Conn, c check.SMTPConfig) error {
	s.conn, s.lines = conn, bufio.NewReader(conn)
	greeting, err := s.reply()
	if err != nil {
		return err
	}
	if greeting.code != 220 {
		return fmt.Errorf("greeting: %w", greeting)
	}
	s.banner = greeting.lines[0]
	if err := s.hello(c.Hello); err != nil {
		return err
	}
	if c.Security == "starttls" {
		if _, err := s.ask(220, "STARTTLS"); err != nil {
			return fmt.Errorf("changing to TLS: %w", err)
		}
		if s.lines.Buffered() > 0 {
			return errors.New("changing to TLS: the server said something that is not encrypted")
		}
		if s.conn, err = p.secure(ctx, clock, conn, c.Host, c.RejectUnauthorized); err != nil {
			return err
		}
		s.lines, s.secure = bufio.NewReader(s.conn), true
		if err := s.hello(c.Hello); err != nil {
			return err
		}
	}
	if c.Username == "" {
		return nil
	}
	if !s.secure {
		return errors.New("the config cannot be used: a password would travel in the clear; choose starttls or tls as security")
	}
	return s.signIn(c.Username, c.Password)
}

// hello greets and learns what the server offers; old servers know only the short form.
func (s *smtpSession) hello(name string) error {
	answer, err := s.ask(250, "EHLO "+oneWord(name))
	if refused, ok := errors.AsType[smtpReply](err); ok && refused.code >= 500 {
		answer, err = s.ask(250, "HELO "+oneWord(name))
	}
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	s.extensions = []string{}
	for _, line := range answer.lines[1:] {
		word, _, _ := strings.Cut(line, " ")
		s.extensions = append(s.extensions, cut(strings.ToUpper(word), 100))
	}
	slices.Sort(s.extensions)
	return nil
}

func (s *smtpSession) signIn(user, password string) error {
	secret := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	if _, err := s.ask(235, "AUTH PLAIN "+secret); err != nil {
		return fmt.Errorf("signing in: %w", err)
	}
	return nil
}

// oneWord keeps a text of the config from being several commands.
func oneWord(text string) string { return strings.Join(strings.Fields(text), "") }

func (s *smtpSession) collect(ctx context.Context, id string, raw json.RawMessage) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := spent(s.conn); err != nil {
		return nil, err
	}
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	defer during(ctx, s.conn)()
	start := time.Now()
	if id == check.SMTPServer {
		if _, err := s.ask(250, "NOOP"); err != nil {
			return nil, explain(ctx, err, "waiting for the answer")
		}
		return &check.SMTPServerResult{Banner: cut(s.banner, 500), Extensions: s.extensions, TLS: s.secure, ResponseTimeMs: precise(time.Since(start))}, nil
	}
	config, err := configure(s.run, raw, check.Decode[check.SMTPRecipientConfig])
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(config.From+config.To, " \r\n<>") {
		return nil, errors.New("the config cannot be used: from and to must be addresses alone, such as a@example.org")
	}
	answer, err := s.recipient(config)
	if err != nil {
		return nil, explain(ctx, err, "waiting for the answer")
	}
	result := &check.SMTPRecipientResult{
		Accepted: answer.code/100 == 2, Code: answer.code, Response: cut(strings.Join(answer.lines, "\n"), 1000), ResponseTimeMs: precise(time.Since(start)),
	}
	if !result.Accepted {
		return result, answer
	}
	return result, nil
}

// recipient begins a mail and gives it up once the server has said whether it takes it.
func (s *smtpSession) recipient(c check.SMTPRecipientConfig) (smtpReply, error) {
	if _, err := s.ask(250, "MAIL FROM:<"+c.From+">"); err != nil {
		return smtpReply{}, fmt.Errorf("the sender: %w", err)
	}
	answer, err := s.ask(0, "RCPT TO:<"+c.To+">")
	if err != nil {
		return smtpReply{}, err
	}
	_, err = s.ask(250, "RSET")
	return answer, err
}

// smtpReply is an answer, and an error where another was wanted.
type smtpReply struct {
	code  int
	lines []string
}

func (r smtpReply) Error() string {
	return fmt.Sprintf("the server answered %d %s", r.code, cut(strings.Join(r.lines, " / "), 500))
}

// ask sends a command and wants an answer of the code, any for 0.
func (s *smtpSession) ask(wanted int, command string) (smtpReply, error) {
	if _, err := io.WriteString(s.conn, command+"\r\n"); err != nil {
		return smtpReply{}, err
	}
	answer, err := s.reply()
	if err != nil {
		return answer, err
	}
	if wanted != 0 && answer.code != wanted {
		return answer, answer
	}
	return answer, nil
}

// reply reads an answer: lines of a code and a text, with a dash between them in all
// but the last.
func (s *smtpSession) reply() (smtpReply, error) {
	var answer smtpReply
	for range maxReplyLines {
		line, err := readLine(s.lines)
		if err != nil {
			return answer, err
		}
		code, err := strconv.Atoi(line[:min(3, len(line))])
		if err != nil || len(line) < 3 || code < 200 || code > 599 || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
			return answer, fmt.Errorf("the other side does not speak SMTP: it said %q", cut(line, 100))
		}
		answer.code, answer.lines = code, append(answer.lines, line[min(4, len(line)):])
		if len(line) == 3 || line[3] == ' ' {
			return answer, nil
		}
	}
	return answer, fmt.Errorf("the server's answer has more than %d lines", maxReplyLines)
}

func (s *smtpSession) close() {
	_ = s.conn.SetDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(s.conn, "QUIT\r\n") // a courtesy
	s.conn.Close()
}
