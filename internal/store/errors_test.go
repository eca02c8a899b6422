package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/health"
)

// A full disk is not the fault of who writes, and passes.
func TestSQLiteFullDiskIsUnavailable(t *testing.T) {
	t.Parallel()
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "p.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	limit := func(pragma string) {
		t.Helper()
		if _, err := db.write.ExecContext(t.Context(), pragma); err != nil {
			t.Fatal(err)
		}
	}
	run := func() error {
		return db.InTx(t.Context(), func(tx entity.Tx) error {
			inserted, err := tx.(*Tx).InsertRuns(t.Context(), []health.Run{{RunID: "r", Result: []byte(strings.Repeat("x", 1<<20))}})
			if err == nil && !inserted["r"] {
				err = errors.New("inserted before")
			}
			return err
		})
	}
	limit("PRAGMA max_page_count = 100")
	err = run()
	if f, ok := errors.AsType[*fault.Error](err); !ok || f.Kind != fault.Unavailable || f.Message != wordsFull {
		t.Errorf("a full disk gave %v", err)
	}
	limit("PRAGMA max_page_count = 100000")
	if err := run(); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestLiteKey(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		"constraint failed: UNIQUE constraint failed: satellites.name (2067)":   "satellites.name",
		"UNIQUE constraint failed: assignments.check_id, assignments.system_id": "assignments.check_id, assignments.system_id",
		"something else": "",
	} {
		if got := liteKey(message); got != want {
			t.Errorf("%q names %q, want %q", message, got, want)
		}
	}
}

func TestPostgresErrorsHaveKinds(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]fault.Kind{
		"23505": fault.Conflict, "23503": fault.Invalid, "22021": fault.Invalid, "42601": fault.Internal,
		"08006": fault.Unavailable, "53100": fault.Unavailable, "53300": fault.Unavailable, "57P01": fault.Unavailable,
		"57P03": fault.Unavailable, "57014": fault.Unavailable, "55P03": fault.Unavailable, "40001": fault.Unavailable,
		"40P01": fault.Unavailable, "25006": fault.Unavailable, "28P01": fault.Unavailable, "3D000": fault.Unavailable,
	} {
		err := translate(t.Context(), fmt.Errorf("writing: %w", &pgconn.PgError{Code: code}), "")
		if got := fault.KindOf(err); got != want {
			t.Errorf("%s is %q, want %q", code, got, want)
		}
		if race := code == "40001" || code == "40P01"; lostRace(err) != race {
			t.Errorf("%s is a lost race: %t, want %t", code, !race, race)
		}
	}
}

// A deadline of ours means that the database is silent; the caller's own end stays
// what it is.
func TestDeadlinesHaveKinds(t *testing.T) {
	t.Parallel()
	silent, cancel := context.WithTimeoutCause(t.Context(), -1, errSilent)
	defer cancel()
	if err := translate(silent, errors.New("x"), ""); !fault.Is(err, fault.Unavailable) {
		t.Errorf("our deadline gave %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := translate(gone, errors.New("x"), ""); !errors.Is(err, context.Canceled) || fault.Is(err, fault.Unavailable) {
		t.Errorf("the caller's end gave %v", err)
	}
}
