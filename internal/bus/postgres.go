package bus

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// channel is the one channel of notifications that all cores of a database share.
const channel = "perigee_bells"

const (
	connectTimeout = 5 * time.Second
	// quiet is how long a listening connection may say nothing before it is asked
	// whether it is still there: a path that died silently would never say so.
	quiet = 10 * time.Second
	// retryMin and retryMax bound the wait before a lost connection is made anew.
	retryMin = 100 * time.Millisecond
	retryMax = 5 * time.Second
)

// Postgres rings through the notifications of a PostgreSQL database. It has two
// connections of its own beside the pool's: one listens, one notifies. Notifying
// takes a lock of the whole database at commit, so it is done in a transaction of
// its own, for many rings at once, and never in one that writes facts.
type Postgres struct {
	*shared
	config *pgx.ConnConfig
}

// NewPostgres makes a bus on the database. It connects in Run.
func NewPostgres(url string, log *slog.Logger) (*Postgres, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("reading the database's URL: %w", err)
	}
	delete(config.RuntimeParams, "pool_max_conns") // a word of the pool's
	config.RuntimeParams["application_name"] = "perigee-bus"
	config.RuntimeParams["statement_timeout"] = "10s"
	config.ConnectTimeout = connectTimeout
	return &Postgres{shared: newShared("postgres", log), config: config}, nil
}

// Run listens and notifies until ctx ends.
func (p *Postgres) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.listen(ctx) })
	group.Go(func() error {
		var out *pgx.Conn
		defer func() { hangUp(out) }()
		return p.forward(ctx, func(ctx context.Context, payload []byte) (err error) {
			if out == nil {
				if out, err = pgx.ConnectConfig(ctx, p.config); err != nil {
					return err
				}
			}
			if _, err = out.Exec(ctx, "SELECT pg_notify($1, $2)", channel, string(payload)); err != nil {
				hangUp(out)
				out = nil
			}
			return err
		})
	})
	return group.Wait()
}

// listen keeps a listening connection until ctx ends.
func (p *Postgres) listen(ctx context.Context) error {
	pause := retryMin
	for again := false; ; again = true {
		heard, err := p.hear(ctx, again)
		p.parted()
		if ctx.Err() != nil {
			return nil
		}
		if heard {
			pause = retryMin
		}
		p.log.Warn("the bells of the other cores are not heard; trying again", "error", err, "in", pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, retryMax)
	}
}

// hear listens on one connection until that fails; heard reports whether it ever did.
func (p *Postgres) hear(ctx context.Context, again bool) (heard bool, err error) {
	timed, cancel := context.WithTimeout(ctx, 2*connectTimeout)
	defer cancel()
	in, err := pgx.ConnectConfig(timed, p.config)
	if err != nil {
		return false, err
	}
	defer hangUp(in)
	if _, err := in.Exec(timed, "LISTEN "+channel); err != nil {
		return false, err
	}
	p.joined(again)
	for {
		n, err := waitFor(ctx, in)
		switch {
		case err != nil:
			return true, err
		case n != "":
			p.deliver([]byte(n))
		}
	}
}

// waitFor waits for a notification; without one for a while it makes sure that the
// other end is still there, and returns "".
func waitFor(ctx context.Context, in *pgx.Conn) (string, error) {
	timed, cancel := context.WithTimeout(ctx, quiet)
	n, err := in.WaitForNotification(timed)
	expired := timed.Err() != nil && ctx.Err() == nil
	cancel()
	if err == nil {
		return n.Payload, nil
	}
	if !expired || in.IsClosed() {
		return "", err
	}
	asked, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return "", in.Ping(asked)
}

func hangUp(conn *pgx.Conn) {
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // it is given up, whatever it says
}
