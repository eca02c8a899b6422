package store_test

import (
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/store"
)

func sqliteURL(t testing.TB) string {
	return "sqlite:" + filepath.Join(t.TempDir(), "data", "perigee.db")
}

// plainPath is a URL as the bare driver takes it.
func plainPath(url string) string { return strings.TrimPrefix(url, "sqlite:") }

func TestSQLiteURLs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, url := range []string{
		"sqlite:" + dir + "/colon.db", "sqlite://" + dir + "/slashes.db", dir + "/bare.db", dir + "/with space ? and # and %41.db",
	} {
		db := open(t, url)
		if db.Engine() != "sqlite" {
			t.Errorf("%s is %s", url, db.Engine())
		}
	}
	for _, name := range []string{"colon.db", "slashes.db", "bare.db", "with space ? and # and %41.db"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s is %v, want it closed to others", name, info.Mode())
		}
	}
	for _, bad := range []string{":memory:", "sqlite:", dir, "/proc/no/such.db"} {
		if db, err := store.Open(t.Context(), bad, slog.New(slog.DiscardHandler)); err == nil {
			db.Close()
			t.Errorf("%q was opened", bad)
		}
	}
}

func TestSQLiteIsForOneProcess(t *testing.T) {
	t.Parallel()
	url := sqliteURL(t)
	db, err := store.Open(t.Context(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.Open(t.Context(), url, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "in use by another process") || !strings.Contains(err.Error(), plainPath(url)) {
		t.Errorf("the second opener was told %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, url) // and afterwards it is free
}

func TestSQLiteNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	url := sqliteURL(t)
	db, err := store.Open(t.Context(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := sql.Open("sqlite", plainPath(url))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)`); err != nil {
		t.Fatal(err)
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time shows that the first let go of the file
		if _, err := store.Open(t.Context(), url, slog.New(slog.DiscardHandler)); !errors.Is(err, store.ErrNewerSchema) {
			t.Errorf("opening gave %v", err)
		}
	}
}

func TestSQLiteSurvivesReopening(t *testing.T) {
	t.Parallel()
	url := sqliteURL(t)
	for i, name := range []string{"a", "b", "c"} {
		db, err := store.Open(t.Context(), url, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := insert(t.Context(), db, name); err != nil {
			t.Fatal(err)
		}
		n, err := db.BcryptRows(t.Context())
		if err != nil || n != 0 {
			t.Errorf("opening %d: %d bcrypt rows, %v", i, n, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Readers see the last commit and do not wait for a writer.
func TestSQLiteReadsWhileItWrites(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	if err := db.InTx(t.Context(), func(tx entity.Tx) error {
		if err := tx.(*store.Tx).LockDefinitions(t.Context()); err != nil {
			return err
		}
		_, err := db.SatelliteByName(t.Context(), "a")
		if err == nil {
			t.Error("a reader sees what is not committed")
		}
		return db.Ping(t.Context())
	}); err != nil {
		t.Fatal(err)
	}
}
