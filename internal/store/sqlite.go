package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	sqlitedriver "modernc.org/sqlite"
)

// registerClock gives SQLite a clock of microseconds; its own counts milliseconds.
// The driver's functions are the process's.
var registerClock = sync.OnceFunc(func() {
	sqlitedriver.MustRegisterScalarFunction(liteClock, 0, func(*sqlitedriver.FunctionContext, []driver.Value) (driver.Value, error) {
		return time.Now().UnixMicro(), nil
	})
})

// readers is how many connections read at once; each has a page cache of its own.
const readers = 4

// openSQLite opens the file with one writing connection, so that writers queue in
// this process, where waiting is fair and bounded, and not inside SQLite.
func openSQLite(ctx context.Context, path string, log *slog.Logger) (*DB, error) {
	if path == "" || path == ":memory:" {
		return nil, errors.New("opening the database: SQLite needs a file")
	}
	registerClock()
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	if err := makeFile(path); err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}
	db := &DB{dialect: sqlite, lock: lock, log: log}
	if db.write, err = sql.Open("sqlite", liteURL(path, "_txlock=immediate", "synchronous(FULL)", "foreign_keys(1)",
		"cache_size(-65536)", "wal_autocheckpoint(4000)", "journal_size_limit(67108864)")); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the database: %w", err), unlockFile(lock))
	}
	db.write.SetMaxOpenConns(1)
	if db.read, err = sql.Open("sqlite", liteURL(path, "", "query_only(1)", "cache_size(-16384)")); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the database: %w", err), db.write.Close(), unlockFile(lock))
	}
	db.read.SetMaxOpenConns(readers)
	db.read.SetMaxIdleConns(readers)
	db.writing, db.reading = newStatements(db.write), newStatements(db.read)
	if err := migrate(ctx, db.write, sqlite, log); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func liteURL(path, options string, pragmas ...string) string {
	file := url.URL{Scheme: "file", Path: path}
	values := url.Values{"_pragma": append([]string{"busy_timeout(10000)", "journal_mode(WAL)", "temp_store(MEMORY)"}, pragmas...)}
	file.RawQuery = values.Encode()
	if options != "" {
		file.RawQuery += "&" + options
	}
	return file.String()
}

// makeFile makes the file and its folder, closed to other users: it holds digests
// of credentials and the results of checks.
func makeFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}
