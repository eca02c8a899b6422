// Package dbtest gives tests databases with the schema in them. It is made once in a
// process and copied: with the race detector, migrating an empty file takes two
// seconds of a processor, and opening a copy a tenth of that. What migrations do is what
// the tests of the store look at; they begin with an empty database where that matters.
package dbtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/pgtest"
	"github.com/perigee-monitoring/perigee/internal/store"
)

// OnBoth runs a test on both engines at the same time, each time with the URL of a
// database of its own.
func OnBoth(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, SQLite(t))
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		test(t, PostgreSQL(t))
	})
}

// SQLite makes a database that goes with the test, and returns its URL.
func SQLite(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "perigee.db")
	if err := File(path); err != nil {
		tb.Fatal(err)
	}
	return path
}

// PostgreSQL makes a database in the cluster of this test process, which is dropped when the
// test ends, and returns its URL.
func PostgreSQL(tb testing.TB) string {
	tb.Helper()
	template, err := emptyPostgres()
	if err != nil {
		tb.Fatalf("making a database: %v", err)
	}
	return pgtest.Copy(tb, template)
}

// emptyPostgres is a database that has the schema and nothing in it.
var emptyPostgres = sync.OnceValues(func() (string, error) {
	return pgtest.Template(context.Background(), migrate)
})

// migrate brings the schema into an empty database.
func migrate(url string) error {
	db, err := store.Open(context.Background(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return db.Close() // which leaves nobody connected, and of SQLite nothing in the log
}

// File makes the file of an SQLite database, and its folder, unless it is there.
func File(path string) error {
	content, err := emptySQLite()
	if err != nil {
		return fmt.Errorf("making a database: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// emptySQLite is the file of a database that has the schema and nothing in it.
var emptySQLite = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "perigee-sqlite-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // in the folder for what is temporary
	path := filepath.Join(dir, "perigee.db")
	if err := migrate(path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})
