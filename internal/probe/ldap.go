package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/perigee-monitoring/perigee/check"
)

// maxEntries is the most entries that a search asks for.
const maxEntries = 1000

// ldapSession is one connection, bound as somebody.
type ldapSession struct {
	plain
	run    run
	limit  time.Duration
	conn   *ldap.Conn
	socket *bounded
}

func init() {
	offers[check.LDAP] = offer{connect: (*Prober).connectLDAP}
	// It is the package's only bound on what a length in a packet makes it allocate.
	ber.MaxPacketLengthBytes = maxRead
}

func (p *Prober) connectLDAP(ctx context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.LDAPConfig])
	if err != nil {
		return nil, err
	}
	s := &ldapSession{run: r, limit: timeout(config.Timeout)}
	at := endpoint{host: config.Host, port: config.Port, limit: s.limit, tls: config.Security == "tls", verify: config.RejectUnauthorized}
	_, s.plain, err = p.reach(ctx, at, func(ctx context.Context, _ *phases, conn net.Conn) error {
		s.socket, _ = conn.(*bounded)
		s.conn = ldap.NewConn(conn, at.tls)
		s.conn.Start()
		if err := s.greet(ctx, p, config); err != nil {
			s.conn.Close()
			return err
		}
		return conn.SetDeadline(time.Time{}) // the library's reader waits on it between answers
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *ldapSession) greet(ctx context.Context, p *Prober, c check.LDAPConfig) error {
	if deadline, ok := ctx.Deadline(); ok {
		s.conn.SetTimeout(time.Until(deadline))
	}
	if c.Security == "starttls" {
		if err := s.conn.StartTLS(p.trust(c.Host, c.RejectUnauthorized)); err != nil {
			return fmt.Errorf("changing to TLS: %w", s.reason(ctx, err))
		}
	}
	bind := ldap.NewSimpleBindRequest(c.BindDN, c.Password, nil)
	bind.AllowEmptyPassword = c.BindDN == ""
	if c.BindDN != "" && c.Password == "" {
		return errors.New("the config cannot be used: a bind DN without a password would bind as nobody")
	}
	if _, err := s.conn.SimpleBind(bind); err != nil {
		return fmt.Errorf("binding: %w", s.reason(ctx, err))
	}
	return nil
}

// reason is why the connection broke where the library only says that it did, and the
// server's own words where it has some.
func (s *ldapSession) reason(ctx context.Context, err error) error {
	said, ok := errors.AsType[*ldap.Error](err)
	if !ok || said.ResultCode >= ldap.ErrorNetwork { // the library's own codes
		if ended(ctx, context.DeadlineExceeded) {
			return context.Cause(ctx)
		}
		return s.socket.reason(err)
	}
	text := fmt.Sprintf("the server answered %d %s", said.ResultCode, ldap.LDAPResultCodeMap[said.ResultCode])
	if said.Err != nil && said.Err.Error() != "" {
		text += ": " + cut(said.Err.Error(), 300)
	}
	return told{text, err}
}

func (s *ldapSession) collect(ctx context.Context, _ string, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.LDAPSearchConfig])
	if err != nil {
		return nil, err
	}
	if _, err := ldap.CompileFilter(config.Filter); err != nil {
		return nil, fmt.Errorf("the config cannot be used: filter: %w", err)
	}
	scope := map[string]int{"base": ldap.ScopeBaseObject, "one": ldap.ScopeSingleLevel, "sub": ldap.ScopeWholeSubtree}[config.Scope]
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { s.conn.Close() })
	defer stop()
	start := time.Now()
	request := ldap.NewSearchRequest(config.BaseDN, scope, ldap.NeverDerefAliases, maxEntries, int(s.limit/time.Second)+1, true, config.Filter, []string{"1.1"}, nil)
	answer, err := s.conn.Search(request)
	result := &check.LDAPSearchResult{ResponseTimeMs: precise(time.Since(start)), Success: err == nil}
	if answer != nil {
		result.EntryCount = len(answer.Entries)
		if len(answer.Entries) > 0 {
			result.FirstDN = cut(answer.Entries[0].DN, 500)
		}
	}
	if ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) {
		result.Success, err = true, nil
	}
	if err != nil {
		return result, explain(ctx, s.reason(ctx, err), "waiting for the answer")
	}
	return result, nil
}

func (s *ldapSession) close() { s.conn.Close() }
