package store_test

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/store"
	"github.com/perigee-monitoring/perigee/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, url string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func openPostgres(t testing.TB) *store.DB { return open(t, dbtest.PostgreSQL(t)) }

func openSQLite(t testing.TB) *store.DB { return open(t, dbtest.SQLite(t)) }

var engines = map[string]func(t testing.TB) *store.DB{"postgres": openPostgres, "sqlite": openSQLite}

func TestContract(t *testing.T) {
	t.Parallel()
	for name, open := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, open)
		})
	}
}
