package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/perigee-monitoring/perigee/check"
)

// postgresSession is one connection; its queries wait for each other. Of the driver
// only the layer of the wire is used, which decodes no values and needs no database/sql.
type postgresSession struct {
	plain
	run   run
	limit time.Duration

	mu   sync.Mutex
	conn *pgconn.PgConn
}

func init() { offers[check.Postgres] = offer{connect: (*Prober).connectPostgres} }

func (p *Prober) connectPostgres(ctx context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.PostgresConfig])
	if err != nil {
		return nil, err
	}
	s := &postgresSession{plain: plain{&phases{}}, run: r, limit: timeout(config.Timeout)}
	c, err := s.settings(p, config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	if s.conn, err = pgconn.ConnectConfig(ctx, c); err != nil {
		return nil, explain(ctx, postgresError(err), "waiting for the greeting")
	}
	return s, nil
}

// settings are those of the config alone: what the environment of the satellite says
// of databases, which the library reads too, is none of the check's.
func (s *postgresSession) settings(p *Prober, config check.PostgresConfig) (*pgconn.Config, error) {
	at := url.URL{Scheme: "postgres", User: url.User(config.User), Host: net.JoinHostPort(config.Host, strconv.Itoa(config.Port)), Path: "/" + config.Database}
	at.RawQuery = "sslmode=disable&passfile=/dev/null&target_session_attrs=any"
	c, err := pgconn.ParseConfig(at.String())
	if err != nil {
		return nil, errors.New("the config cannot be used: host, port, database and user do not name a database")
	}
	c.Host, c.Port, c.Database, c.User, c.Password = config.Host, uint16(config.Port), config.Database, config.User, config.Password
	c.RuntimeParams, c.Fallbacks = map[string]string{"application_name": "perigee"}, nil
	c.MaxProtocolMessageBodyLen = maxRead
	if config.SSL {
		c.TLSConfig = p.trust(config.Host, config.RejectUnauthorized)
	}
	// Names are resolved where everything else is: in the dialer.
	c.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	c.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return p.dial(ctx, s.phases, "tcp", config.Host, config.Port, s.limit)
	}
	return c, nil
}

// postgresError is what the server says, without the library's account of the attempt.
func postgresError(err error) error {
	if said, ok := errors.AsType[*pgconn.PgError](err); ok {
		return told{fmt.Sprintf("the server answered %s: %s (%s)", said.Severity, cut(said.Message, 500), said.Code), err}
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		for range 3 { // which database, which address, which attempt
			if inner := errors.Unwrap(err); inner != nil {
				err = inner
			}
		}
	}
	return err
}

func (s *postgresSession) collect(ctx context.Context, _ string, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.QueryConfig])
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := spent(s.conn.Conn()); err != nil {
		return nil, err
	}
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	start := time.Now()
	rows, count := s.conn.ExecParams(ctx, config.Query, nil, nil, nil, nil), 0
	for rows.NextRow() {
		count++
	}
	_, err = rows.Close()
	result := &check.QueryResult{RowCount: count, ExecutionTimeMs: precise(time.Since(start)), Success: err == nil}
	if err != nil {
		return result, explain(ctx, postgresError(err), "waiting for the query")
	}
	return result, nil
}

func (s *postgresSession) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // it says good-bye
	defer cancel()
	_ = s.conn.Close(ctx)
}
