package store_test

import (
	"database/sql"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/pgtest"
	"github.com/perigee-monitoring/perigee/internal/secret"
)

// oldDatabase is one of the schema of a version, with what the statement makes in it.
func oldDatabase(t *testing.T, engine, url string, version int64, statements ...string) {
	t.Helper()
	driver, dialect := "sqlite", goose.DialectSQLite3
	if engine == "postgres" {
		driver, dialect = "pgx", goose.DialectPostgres
	}
	raw, err := sql.Open(driver, plainPath(url))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	provider, err := goose.NewProvider(dialect, raw, os.DirFS("migrations/"+engine))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	for _, statement := range statements {
		if _, err := raw.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// The previous values of a database of before there were former ones are kept as such,
// and are forgotten when they would have been.
func TestPreviousValuesBecomeFormerOnes(t *testing.T) {
	t.Parallel()
	for engine, url := range map[string]func() string{
		"sqlite":   func() string { return "sqlite:" + t.TempDir() + "/perigee.db" },
		"postgres": func() string { return pgtest.URL(t) },
	} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			url := url()
			oldDatabase(
				t, engine, url, 5,
				`INSERT INTO secrets (id, name, description, version, sealed, key_id, previous, superseded_at, external, updated_at, updated_by)
					VALUES ('a', 'REPLACED', '', 3, 's3', 'k', 's2', 1700000000000000, '', 1700000000000000, 'Ada'),
						('b', 'NEW', '', 1, 's1', 'k', NULL, NULL, '', 1700000000000000, 'Ada'),
						('c', 'PURGED', 'd', 2, 's2', 'k', NULL, NULL, 'p#f', 1700000000000000, 'Ada')`,
				`INSERT INTO satellites (id, name, region, tags, token_hash, created_at) VALUES ('s', 'eu-1', 'eu', '{}', 'h', 1700000000000000)`,
			)
			db := open(t, url)
			at := time.UnixMicro(1700000000000000).UTC()
			records, err := db.Secrets(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]secret.Record{
				{ID: "b", Name: "NEW", Version: 1, Sealed: "s1", KeyID: "k", UpdatedAt: at, UpdatedBy: "Ada"},
				{ID: "c", Name: "PURGED", Description: "d", Version: 2, Sealed: "s2", KeyID: "k", External: "p#f", UpdatedAt: at, UpdatedBy: "Ada"},
				{ID: "a", Name: "REPLACED", Version: 3, Sealed: "s3", KeyID: "k", UpdatedAt: at, UpdatedBy: "Ada"},
			}, records); diff != "" {
				t.Errorf("secrets (-want +got)\n%s", diff)
			}
			former, err := db.FormerSecrets(t.Context(), []string{"REPLACED", "NEW", "PURGED"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]secret.Former{{SecretID: "a", Version: 2, Name: "REPLACED", Sealed: "s2", SupersededAt: at}}, former); diff != "" {
				t.Errorf("former values (-want +got)\n%s", diff)
			}
			s, err := db.Satellite(t.Context(), "s")
			if err != nil || s.Name != "eu-1" || s.DuplicateUntil != nil {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}

// Runs of before they were kept by the day stay, are known by their ids, and are
// forgotten in their time.
func TestRunsOfBeforePartitionsStay(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	now := time.Now()
	id := func(at time.Time) string { return fmt.Sprintf("%012x%020d", at.UnixMilli(), 0) }
	var ids []string
	for _, age := range []time.Duration{30 * 24 * time.Hour, time.Hour, -72 * time.Hour} {
		ids = append(ids, id(now.Add(-age)))
	}
	var values []string
	for _, id := range ids {
		values = append(values, "('"+id+"', 's', 'c', 'y', '', 'healthy', 1, 1, 1, 1, '', '')")
	}
	oldDatabase(t, "postgres", url, 13, `INSERT INTO runs (run_id, satellite_id, check_id, system_id, environment_id, status, executed_at, received_at, slot, revision, source, message)
		VALUES `+strings.Join(values, ", "))
	db := open(t, url)
	keep := health.DefaultRetention
	is := func(want ...string) {
		t.Helper()
		runs, _, err := db.Runs(t.Context(), health.RunFilter{}, fleet.Page{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range runs {
			got = append(got, r.RunID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
	if err := db.MakePartitions(t.Context(), now, keep); err != nil {
		t.Fatal(err)
	}
	is(ids[2], ids[1], ids[0])
	later := now.Add(6 * 24 * time.Hour)
	for at := now; !at.After(later); at = at.Add(24 * time.Hour) {
		if err := db.MakePartitions(t.Context(), at, keep); err != nil {
			t.Fatal(err)
		}
	}
	is(ids[2], ids[1], ids[0])
	if err := db.PurgeHistory(t.Context(), now.Add(-keep.Runs), health.RollupState{}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	is(ids[2], ids[1], ids[0]) // they go with the day on which the last of them was made
	if err := db.PurgeHistory(t.Context(), now.Add(2*24*time.Hour), health.RollupState{}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	is(ids[2])
}
