package probe

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/perigee-monitoring/perigee/check"
)

// loopback listens for a server in this process.
func loopback(t *testing.T) (net.Listener, target) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener, target{"127.0.0.1", listener.Addr().(*net.TCPAddr).Port}
}

// mailbox is a session of a mail server that takes what is for a@example.org.
type mailbox struct{}

func (mailbox) AuthMechanisms() []string { return []string{sasl.Plain} }
func (mailbox) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "u" || password != "right" {
			return errors.New("no")
		}
		return nil
	}), nil
}
func (mailbox) Mail(string, *smtp.MailOptions) error { return nil }
func (mailbox) Rcpt(to string, _ *smtp.RcptOptions) error {
	if to != "a@example.org" {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	return nil
}
func (mailbox) Data(io.Reader) error { return errors.New("nothing is sent") }
func (mailbox) Reset()               {}
func (mailbox) Logout() error        { return nil }

func TestSMTP(t *testing.T) {
	t.Parallel()
	against(check.SMTP, "module", "github.com/emersion/go-smtp")
	ca := newAuthority(t)
	start := func(change func(*smtp.Server), wrap func(net.Listener) net.Listener) target {
		server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return mailbox{}, nil }))
		server.Domain, server.ReadTimeout, server.WriteTimeout, server.ErrorLog = "mail.test", time.Minute, time.Minute, quiet
		change(server)
		listener, s := loopback(t)
		done := make(chan struct{})
		go func() { defer close(done); server.Serve(wrap(listener)) }()
		t.Cleanup(func() { server.Close(); <-done })
		return s
	}
	secured := &tls.Config{Certificates: []tls.Certificate{ca.leaf(-time.Hour, 365*24*time.Hour, "127.0.0.1")}}
	same := func(l net.Listener) net.Listener { return l }
	open := start(func(*smtp.Server) {}, same)
	starttls := start(func(s *smtp.Server) { s.TLSConfig = secured }, same)
	implicit := start(func(*smtp.Server) {}, func(l net.Listener) net.Listener { return tls.NewListener(l, secured) })
	try(t, open, check.SMTP, []trial{
		{"greeting", ``, "", "", "", nil},
		{"server", ``, check.SMTPServer, `{}`, "", map[string]any{"banner": "mail.test ESMTP Service Ready", "extensions": some, "tls": false}},
		{"recipient", ``, check.SMTPRecipient, `{"from":"me@example.org","to":"a@example.org"}`, "", map[string]any{"accepted": true, "code": 250.0, "response": some}},
		{
			"no such recipient", ``, check.SMTPRecipient, `{"to":"b@example.org"}`,
			"Check failed: the server answered 550 5.1.1 no such user",
			map[string]any{"accepted": false, "code": 550.0, "response": "5.1.1 no such user"},
		},
		{"two commands", ``, check.SMTPRecipient, `{"to":"a@example.org>\r\nDATA"}`, "Check failed: the config cannot be used: from and to must be addresses alone…", nil},
		{"TLS that it does not speak", `"security":"starttls"`, "", "", "changing to TLS: the server answered 502 …", nil},
		{"password in the clear", `"username":"u","password":"right"`, "", "", "the config cannot be used: a password would travel in the clear…", nil},
	})
	p := New(Options{Roots: ca.pool})
	for name, s := range map[string]target{`"starttls"`: starttls, `"tls"`: implicit} {
		for password, message := range map[string]string{"right": "", "wrong": "signing in: the server answered …"} {
			t.Run(name+" "+password, func(t *testing.T) {
				t.Parallel()
				a := s.assignment(check.SMTP, `"security":`+name+`,"username":"u","password":"`+password+`"`, check.SMTPServer, `{}`)
				c := trial{message: message}
				if message == "" {
					c.want = map[string]any{"banner": some, "extensions": some, "tls": true}
				}
				wantFound(t, p.Execute(t.Context(), a, nil, nil), c)
			})
		}
	}
	try(t, starttls, check.SMTP, []trial{{"unknown authority", `"security":"starttls"`, "", "", "the certificate is signed by an unknown authority", nil}})
}

func TestIMAP(t *testing.T) {
	t.Parallel()
	against(check.IMAP, "module", "github.com/emersion/go-imap/v2/imapserver")
	ca := newAuthority(t)
	memory, user := imapmemserver.New(), imapmemserver.NewUser("u", "ri\"ght\\")
	for _, name := range []string{"INBOX", "Entwürfe"} {
		if err := user.Create(name, nil); err != nil {
			t.Fatal(err)
		}
	}
	memory.AddUser(user)
	secured := &tls.Config{Certificates: []tls.Certificate{ca.leaf(-time.Hour, 365*24*time.Hour, "127.0.0.1")}}
	server := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return memory.NewSession(), nil, nil
		},
		TLSConfig: secured, Logger: quiet, Caps: imap.CapSet{imap.CapIMAP4rev1: {}},
	})
	plainAt, starttls := loopback(t)
	tlsAt, implicit := loopback(t)
	done := make(chan struct{}, 2)
	go func() { server.Serve(plainAt); done <- struct{}{} }()
	go func() { server.Serve(tls.NewListener(tlsAt, secured)); done <- struct{}{} }()
	t.Cleanup(func() { server.Close(); <-done; <-done })
	p := New(Options{Roots: ca.pool})
	const right = `,"username":"u","password":"ri\"ght\\"`
	found := map[string]any{"messages": 0.0, "unseen": 0.0}
	for _, c := range []struct {
		s target
		trial
	}{
		{starttls, trial{"greeting", `"security":"none"`, "", "", "", nil}},
		{starttls, trial{"starttls", `"security":"starttls"` + right, check.IMAPMailbox, `{}`, "", found}},
		{implicit, trial{"tls", `"security":"tls"` + right, check.IMAPMailbox, `{}`, "", found}},
		{implicit, trial{"no such mailbox", `"security":"tls"` + right, check.IMAPMailbox, `{"mailbox":"none"}`, "Check failed: the server answered NO …", nil}},
		{implicit, trial{"wrong password", `"security":"tls","username":"u","password":"wrong"`, "", "", "signing in: the server answered NO …", nil}},
		{starttls, trial{"password in the clear", `"security":"none"` + right, "", "", "the config cannot be used: a password would travel in the clear…", nil}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			wantFound(t, p.Execute(t.Context(), c.s.assignment(check.IMAP, c.more, c.collector, c.config), nil, nil), c.trial)
		})
	}
	try(t, implicit, check.IMAP, []trial{{"unknown authority", ``, "", "", "the certificate is signed by an unknown authority", nil}})
}
