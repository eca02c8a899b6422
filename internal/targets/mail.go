package targets

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
)

// Mail is a message that a mail server took.
type Mail struct {
	From string
	To   []string
	// Data is the message with its header.
	Data string
}

// MailServer is an SMTP server on loopback that takes whatever comes and keeps it.
type MailServer struct {
	listener net.Listener
	sessions sync.WaitGroup
	came     chan struct{}

	mu     sync.Mutex
	mails  []Mail            // guarded by mu
	open   map[net.Conn]bool // guarded by mu
	refuse string            // guarded by mu
}

// ListenMail begins to take mail on a free port.
func ListenMail() (*MailServer, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for mail: %w", err)
	}
	m := &MailServer{listener: listener, came: make(chan struct{}, 1), open: map[net.Conn]bool{}}
	m.sessions.Go(m.accept)
	return m, nil
}

// Addr is host and port.
func (m *MailServer) Addr() string { return m.listener.Addr().String() }

// Came yields after mail came.
func (m *MailServer) Came() <-chan struct{} { return m.came }

// Mails are those that came, in their order.
func (m *MailServer) Mails() []Mail {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Mail{}, m.mails...)
}

// Refuse answers to recipients with this line from now on, "550 no"; "" takes them.
func (m *MailServer) Refuse(line string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refuse = line
}

// Close ends it and waits for its sessions.
func (m *MailServer) Close() error {
	err := m.listener.Close()
	m.mu.Lock()
	for conn := range m.open {
		_ = conn.Close() // it ends the session
	}
	m.mu.Unlock()
	m.sessions.Wait()
	return err
}

func (m *MailServer) accept() {
	for {
		conn, err := m.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		m.mu.Lock()
		m.open[conn] = true
		m.mu.Unlock()
		m.sessions.Go(func() {
			m.serve(conn)
			_ = conn.Close() // done with
			m.mu.Lock()
			delete(m.open, conn)
			m.mu.Unlock()
		})
	}
}

// serve speaks as much of RFC 5321 as a client needs.
func (m *MailServer) serve(conn net.Conn) {
	say := func(line string) { fmt.Fprintf(conn, "%s\r\n", line) }
	say("220 localhost ESMTP")
	var mail Mail
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		verb, rest, _ := strings.Cut(lines.Text(), " ")
		switch strings.ToUpper(verb) {
		case "EHLO", "HELO":
			say("250-localhost\r\n250 8BITMIME")
		case "MAIL":
			mail = Mail{From: address(rest)}
			say("250 ok")
		case "RCPT":
			m.mu.Lock()
			refuse := m.refuse
			m.mu.Unlock()
			if refuse != "" {
				say(refuse)
				continue
			}
			mail.To = append(mail.To, address(rest))
			say("250 ok")
		case "DATA":
			say("354 go on")
			mail.Data = data(lines)
			m.keep(mail)
			say("250 kept")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func (m *MailServer) keep(mail Mail) {
	m.mu.Lock()
	m.mails = append(m.mails, mail)
	m.mu.Unlock()
	select {
	case m.came <- struct{}{}:
	default:
	}
}

// data reads up to the lone dot.
func data(lines *bufio.Scanner) string {
	var text strings.Builder
	for lines.Scan() && lines.Text() != "." {
		text.WriteString(strings.TrimPrefix(lines.Text(), "."))
		text.WriteString("\n")
	}
	return text.String()
}

// address is what stands between < and >.
func address(rest string) string {
	_, rest, _ = strings.Cut(rest, "<")
	inside, _, _ := strings.Cut(rest, ">")
	return inside
}
