// Package store keeps the records in PostgreSQL or SQLite.
//
// One [DB] serves every domain package through the small interfaces that they
// declare (entity.Store, fleet.Store, catalog.Store, health.Store, auth.Store and
// their Tx). SQL is written once, in PostgreSQL's words; dialect.go says what
// SQLite calls differently, and bulk.go how each engine writes many rows at once.
// Times are UTC microseconds, JSON is text and ids are text in both.
//
// What it promises: a transaction that lost a race against another (deadlock,
// serialization) is run again; rows are locked in the order of their keys; status
// and deadlines are judged by the database's clock; the sequence of events is the
// order in which they become visible. Errors are faults: Unavailable when the
// database is away, full or busy, Conflict naming what is taken, NotFound naming
// what is missing. What it does not do: decide anything.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/packages"
	"github.com/perigee-monitoring/perigee/internal/secret"
)

var (
	_ entity.Store  = (*DB)(nil)
	_ fleet.Store   = (*DB)(nil)
	_ catalog.Store = (*DB)(nil)
	_ health.Store  = (*DB)(nil)
	_ auth.Store    = (*DB)(nil)
	_ auth.Tx       = (*Tx)(nil)

	_ auth.AuditStore = (*DB)(nil)
	_ secret.Store    = (*DB)(nil)

	_ health.LedgerStore = (*DB)(nil)

	_ automation.Store = (*DB)(nil)
	_ automation.Tx    = (*Tx)(nil)

	_ packages.Store     = (*DB)(nil)
	_ packages.BlobStore = Blobs{}

	_ entity.Tx  = (*Tx)(nil)
	_ fleet.Tx   = (*Tx)(nil)
	_ catalog.Tx = (*Tx)(nil)
	_ health.Tx  = (*Tx)(nil)
	_ secret.Tx  = (*Tx)(nil)

	_ packages.Tx = (*Tx)(nil)

	_ health.HistoryStore = (*DB)(nil)
	_ health.RollupTx     = (*Tx)(nil)
)

// DB is an open database whose schema is this program's. It is safe for
// concurrent use.
type DB struct {
	dialect dialect
	// write and read are the same pool on PostgreSQL. SQLite has one writing
	// connection, and reading ones that see the last commit and never wait for it.
	write, read      *sql.DB
	writing, reading *statements // SQLite: statements kept ready
	lock             *os.File    // SQLite: keeps other processes away
	log              *slog.Logger
	texts            sync.Map // shared SQL text → the dialect's
}

// Open opens the database, brings its schema up to date and returns when it can
// be used. The URL is postgres://… for PostgreSQL, and sqlite:///path, sqlite:path
// or a bare path for SQLite, whose file and folder are made when missing. A schema
// that a newer version wrote is refused, and so is a SQLite file that another
// process has open.
func Open(ctx context.Context, url string, log *slog.Logger) (*DB, error) {
	scheme, rest, found := strings.Cut(url, ":")
	switch {
	case url == "":
		return nil, errors.New("opening the database: no URL given")
	case found && (scheme == "postgres" || scheme == "postgresql"):
		return openPostgres(ctx, url, log.With("engine", "postgres"))
	case found && scheme == "sqlite":
		return openSQLite(ctx, strings.TrimPrefix(rest, "//"), log.With("engine", "sqlite"))
	case strings.Contains(url, "://"):
		return nil, fmt.Errorf("opening the database: %q is neither postgres://… nor sqlite:///path", scheme+"://…")
	default:
		return openSQLite(ctx, url, log.With("engine", "sqlite"))
	}
}

// Close ends all connections. Transactions that still run fail. A second Close does
// nothing.
func (db *DB) Close() error {
	if db.dialect == sqlite {
		db.writing.close()
		db.reading.close()
	}
	err := db.write.Close()
	if db.read != db.write {
		err = errors.Join(err, db.read.Close())
	}
	if db.lock != nil {
		if e := unlockFile(db.lock); !errors.Is(e, os.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	if err != nil {
		return fmt.Errorf("closing the database: %w", err)
	}
	return nil
}

// Ping reports whether the database answers now.
func (db *DB) Ping(ctx context.Context) error {
	_, err := one(ctx, db.reads(), "", func(row scanner) (int, error) {
		var n int
		return n, row.Scan(&n)
	}, "SELECT 1")
	return err
}

// Now is the database's clock.
func (db *DB) Now(ctx context.Context) (time.Time, error) {
	return one(ctx, db.reads(), "", func(row scanner) (t time.Time, err error) {
		return t, row.Scan(moment{&t})
	}, "SELECT {now}")
}

// Engine names the database engine: "postgres" or "sqlite".
func (db *DB) Engine() string { return string(db.dialect) }

const (
	// txDeadline bounds a transaction as a whole, waiting for the writer included.
	txDeadline = time.Minute
	// txAttempts is how often a transaction that lost a race is run in all.
	txAttempts = 5
)

// InTx runs fn in a transaction, and runs it again from the start when it lost a
// race against another transaction; so fn must not have effects elsewhere. Calling
// InTx within fn would wait for itself on SQLite.
func (db *DB) InTx(ctx context.Context, fn func(entity.Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := db.tryTx(ctx, fn)
		if err == nil || attempt == txAttempts || !lostRace(err) {
			return err
		}
		db.log.Debug("running a transaction again", "attempt", attempt, "error", err)
		select {
		case <-time.After(time.Duration(attempt*attempt) * 5 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (db *DB) tryTx(ctx context.Context, fn func(entity.Tx) error) error {
	bounded, cancel := context.WithTimeoutCause(ctx, txDeadline, errSilent)
	defer cancel()
	sqlTx, err := db.write.BeginTx(bounded, nil)
	if err != nil {
		return translate(bounded, err, "")
	}
	defer sqlTx.Rollback() //nolint:errcheck // nothing to undo after a commit; after an error that one counts
	tx := &Tx{conn: conn{db: db, on: sqlTx, inTx: true}, draft: auth.DraftFrom(ctx)}
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.turnEras(ctx); err != nil {
		return err
	}
	noted, err := tx.note(ctx)
	if err != nil {
		return err
	}
	if err := sqlTx.Commit(); err != nil {
		return translate(bounded, err, "")
	}
	noted()
	if db.dialect == sqlite {
		db.writing.prepare(bounded)
	}
	return nil
}

// Tx is one transaction. It is for one goroutine.
type Tx struct {
	conn
	now time.Time
	// turned are the checks of which something else may be due now (see turnEras).
	turned map[string]bool
	// draft is the entry of the audit log that is written with it, if any, and touched what
	// it has changed for that entry; altered, that it changed something (see touch).
	draft    *auth.Draft
	touched  []auth.Touched
	touching map[[2]string]bool // kinds and ids of touched
	altered  bool
}

// Now is the database's clock when it is first asked for in the transaction: after
// the locks that were waited for, so that it does not lie before what they guard.
func (tx *Tx) Now(ctx context.Context) (time.Time, error) {
	if !tx.now.IsZero() {
		return tx.now, nil
	}
	now, err := one(ctx, tx.conn, "", func(row scanner) (t time.Time, err error) {
		return t, row.Scan(moment{&t})
	}, "SELECT {now}")
	tx.now = now
	return now, err
}

// orNow is t, or the database's clock when t is zero.
func (tx *Tx) orNow(ctx context.Context, t time.Time) (time.Time, error) {
	if !t.IsZero() {
		return t, nil
	}
	return tx.Now(ctx)
}

// Numbers of PostgreSQL's advisory locks, unlike goose's.
const (
	lockDefinitions = 0x7065726967_01
	lockEvents      = 0x7065726967_02
	lockTokens      = 0x7065726967_03
	lockSecrets     = 0x7065726967_04
	lockPackages    = 0x7065726967_06
	lockIncidents   = 0x7065726967_08
	lockChannels    = 0x7065726967_09
	lockSettings    = 0x7065726967_0a
)

// exclusive waits for the lock and keeps it until the transaction ends and is
// visible. SQLite's one writer is alone anyway.
func (tx *Tx) exclusive(ctx context.Context, lock int64) error {
	if tx.db.dialect == sqlite {
		return nil
	}
	_, err := tx.exec(ctx, "SELECT pg_advisory_xact_lock($1)", lock)
	return err
}

// LockDefinitions makes transactions that plan wait for each other.
func (tx *Tx) LockDefinitions(ctx context.Context) error { return tx.exclusive(ctx, lockDefinitions) }
