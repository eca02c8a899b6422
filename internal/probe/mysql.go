package probe

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/perigee-monitoring/perigee/check"
)

// mysqlSession is one connection; its queries wait for each other. The driver is used
// without the pool of database/sql: a check has one connection and wants its errors.
type mysqlSession struct {
	plain
	run   run
	limit time.Duration
	net   *bounded

	mu   sync.Mutex
	conn driver.Conn
}

func init() { offers[check.MySQL] = offer{connect: (*Prober).connectMySQL} }

func (p *Prober) connectMySQL(ctx context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.MySQLConfig])
	if err != nil {
		return nil, err
	}
	s := &mysqlSession{plain: plain{&phases{}}, run: r, limit: timeout(config.Timeout)}
	c := mysql.NewConfig()
	c.Net, c.Addr = "tcp", net.JoinHostPort(config.Host, strconv.Itoa(config.Port))
	c.User, c.Passwd, c.DBName, c.Logger = config.User, config.Password, config.Database, &mysql.NopLogger{}
	if config.TLS {
		c.TLS = p.trust(config.Host, config.RejectUnauthorized)
	}
	c.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := p.dial(ctx, s.phases, "tcp", config.Host, config.Port, s.limit)
		s.net, _ = conn.(*bounded)
		return conn, err
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, fmt.Errorf("the config cannot be used: %w", err)
	}
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	if s.conn, err = connector.Connect(ctx); err != nil {
		return nil, explain(ctx, s.reason(err), "waiting for the greeting")
	}
	return s, nil
}

// reason is what happened to the connection where the driver only says that it is bad,
// and the server's own words where it has some.
func (s *mysqlSession) reason(err error) error {
	if said, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return told{fmt.Sprintf("the server answered %d: %s", said.Number, cut(said.Message, 500)), err}
	}
	if errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, driver.ErrBadConn) {
		return s.net.reason(err)
	}
	return err
}

func (s *mysqlSession) collect(ctx context.Context, _ string, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.QueryConfig])
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := spent(s.net); err != nil {
		return nil, err
	}
	ctx, cancel := within(ctx, s.limit)
	defer cancel()
	start := time.Now()
	rows, err := s.query(ctx, config.Query)
	result := &check.QueryResult{RowCount: rows, ExecutionTimeMs: precise(time.Since(start)), Success: err == nil}
	if err != nil {
		return result, explain(ctx, s.reason(err), "waiting for the query")
	}
	return result, nil
}

func (s *mysqlSession) query(ctx context.Context, text string) (count int, err error) {
	rows, err := s.conn.(driver.QueryerContext).QueryContext(ctx, text, nil)
	if err != nil {
		return 0, err
	}
	values := make([]driver.Value, len(rows.Columns()))
	for err == nil {
		if err = rows.Next(values); err == nil {
			count++
		}
	}
	if !errors.Is(err, io.EOF) {
		return count, err
	}
	return count, rows.Close()
}

func (s *mysqlSession) close() {
	_ = s.net.SetDeadline(time.Now().Add(time.Second)) // it says good-bye
	_ = s.conn.Close()
	s.net.Close()
}
