package store

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// conn runs statements: on a pool, or in a transaction.
type conn struct {
	db   *DB
	on   handle
	inTx bool
	// snapshot: the transaction only reads, on SQLite over a reading connection.
	snapshot bool
}

type handle interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

func (db *DB) reads() conn  { return conn{db: db, on: db.read} }
func (db *DB) writes() conn { return conn{db: db, on: db.write} }

// statementDeadline bounds one statement, from waiting for a connection to the
// last row. The server has shorter ones of its own: see openPostgres.
const statementDeadline = 45 * time.Second

// bounded gives a statement its deadline. In a transaction on SQLite it gives none
// and takes cancelling away instead: no network can fall silent there, and the
// driver would start a goroutine for each statement to watch for it.
func (c conn) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.inTx && c.db.dialect == sqlite && ctx.Err() == nil {
		return context.WithoutCancel(ctx), func() {}
	}
	return context.WithTimeoutCause(ctx, statementDeadline, errSilent)
}

// exec runs a statement and returns how many rows it touched.
func (c conn) exec(ctx context.Context, q string, args ...any) (int64, error) {
	return c.execNaming(ctx, "", q, args...)
}

// execNaming is exec of a statement that gives something a name: a conflict then
// says which name is taken.
func (c conn) execNaming(ctx context.Context, name, q string, args ...any) (int64, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	args, err := c.db.dialect.args(args)
	if err != nil {
		return 0, err
	}
	res, err := c.run(ctx, c.db.text(q), args)
	if err != nil {
		return 0, translate(ctx, err, name)
	}
	return res.RowsAffected()
}

// execOne is exec of a statement that must touch a row; what says which is missing.
func (c conn) execOne(ctx context.Context, what, q string, args ...any) error {
	n, err := c.exec(ctx, q, args...)
	if err == nil && n == 0 {
		return missing(what)
	}
	return err
}

// scanner is a row to be read.
type scanner interface{ Scan(dest ...any) error }

// all runs a query and reads every row.
func all[T any](ctx context.Context, c conn, scan func(scanner) (T, error), q string, args ...any) ([]T, error) {
	items := []T{}
	for item, err := range each(ctx, c, scan, q, args...) {
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// one runs a query and reads its first row; what says what is missing without one.
func one[T any](ctx context.Context, c conn, what string, scan func(scanner) (T, error), q string, args ...any) (T, error) {
	for item, err := range each(ctx, c, scan, q, args...) {
		return item, err
	}
	var zero T
	return zero, missing(what)
}

// each runs a query and yields its rows; an error is the last thing it yields.
func each[T any](ctx context.Context, c conn, scan func(scanner) (T, error), q string, args ...any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		ctx, cancel := c.bounded(ctx)
		defer cancel()
		args, err := c.db.dialect.args(args)
		if err != nil {
			yield(zero, err)
			return
		}
		rows, err := c.query(ctx, c.db.text(q), args)
		if err != nil {
			yield(zero, translate(ctx, err, ""))
			return
		}
		defer rows.Close()
		for rows.Next() {
			item, err := scan(rows)
			if !yield(item, err) || err != nil {
				return
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			yield(zero, translate(ctx, err, ""))
		}
	}
}

func missing(what string) error { return fault.New(fault.NotFound, "there is no %s", what) }
