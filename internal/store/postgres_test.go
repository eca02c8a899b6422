package store_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/pgtest"
	"github.com/perigee-monitoring/perigee/internal/store"
)

func unavailable(t *testing.T, doing string, err error) {
	t.Helper()
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("%s: %v is of kind %q, want unavailable", doing, err, fault.KindOf(err))
	}
}

// insert puts a satellite into a transaction of its own.
func insert(ctx context.Context, db *store.DB, name string) error {
	return db.InTx(ctx, func(tx entity.Tx) error {
		return tx.(*store.Tx).InsertSatellite(ctx, fleet.Satellite{ID: "id of " + name, Name: name}, "h")
	})
}

func TestPostgresGoesAwayAndComesBack(t *testing.T) {
	t.Parallel()
	cluster := pgtest.New(t)
	db := open(t, cluster.URL())
	ctx := t.Context()
	if err := insert(ctx, db, "before"); err != nil {
		t.Fatal(err)
	}

	unavailable(t, "a transaction in whose middle it went", db.InTx(ctx, func(tx entity.Tx) error {
		if err := tx.(*store.Tx).InsertSatellite(ctx, fleet.Satellite{ID: "lost", Name: "lost"}, "h"); err != nil {
			return err
		}
		if err := cluster.Kill(); err != nil {
			t.Fatal(err)
		}
		return tx.(*store.Tx).InsertSatellite(ctx, fleet.Satellite{ID: "lost too", Name: "lost too"}, "h")
	}))
	unavailable(t, "writing", insert(ctx, db, "during"))
	unavailable(t, "pinging", db.Ping(ctx))
	_, err := db.Satellite(ctx, "id of before")
	unavailable(t, "reading", err)
	_, err = store.Open(ctx, cluster.URL(), slog.New(slog.DiscardHandler))
	unavailable(t, "opening", err)

	if err := cluster.Restart(); err != nil {
		t.Fatal(err)
	}
	// Connections that broke unnoticed are found out one by one, by using them.
	back, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for err := insert(back, db, "after"); err != nil; err = insert(back, db, "after") {
		unavailable(t, "coming back", err)
		if back.Err() != nil {
			t.Fatal("the database is back and the store is not")
		}
	}
	items, _, err := db.Satellites(ctx, fleet.Filter{}, fleet.Page{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range items {
		names = append(names, s.Name)
	}
	if want := []string{"after", "before"}; !slices.Equal(names, want) {
		t.Errorf("satellites are %q, want %q", names, want)
	}
}

func TestClosedDatabaseIsUnavailable(t *testing.T) {
	t.Parallel()
	for name, open := range engines {
		db := open(t)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		unavailable(t, name, insert(t.Context(), db, "late"))
		unavailable(t, name, db.Ping(t.Context()))
	}
}

func TestConcurrentStartersMigrateOnce(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	var group errgroup.Group
	for range 3 {
		group.Go(func() error {
			db, err := store.Open(t.Context(), url, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			return db.Close()
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestPostgresNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	open(t, url)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, true)`); err != nil {
		t.Fatal(err)
	}
	_, err = store.Open(t.Context(), url, slog.New(slog.DiscardHandler))
	if !errors.Is(err, store.ErrNewerSchema) {
		t.Errorf("opening gave %v", err)
	}
}

// Two transactions lock two rows in opposite orders, which no method of ours does:
// the database ends one of them, and it is run again.
func TestDeadlockIsRunAgain(t *testing.T) {
	t.Parallel()
	db := openPostgres(t)
	ctx := t.Context()
	for _, name := range []string{"a", "b"} {
		if err := insert(ctx, db, name); err != nil {
			t.Fatal(err)
		}
	}
	var group errgroup.Group
	runs := make(chan struct{}, 10)
	locked := [2]chan struct{}{make(chan struct{}, 10), make(chan struct{}, 10)}
	for i, order := range [][2]string{{"id of a", "id of b"}, {"id of b", "id of a"}} {
		group.Go(func() error {
			first := true
			return db.InTx(ctx, func(tx entity.Tx) error {
				runs <- struct{}{}
				if _, err := tx.(*store.Tx).SatelliteForUpdate(ctx, order[0]); err != nil {
					return err
				}
				if first {
					first = false
					locked[i] <- struct{}{}
					<-locked[1-i]
				}
				_, err := tx.(*store.Tx).SatelliteForUpdate(ctx, order[1])
				return err
			})
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	if len(runs) < 3 { // more, when the one that goes first is slow to end
		t.Errorf("two transactions ran %d times, want one of them at least twice", len(runs))
	}
}

// A system is deleted while a result of it is being written: the location's parent
// was there when the statement began and is gone when it ends.
func TestResultOfASystemThatIsBeingDeleted(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	db := open(t, url)
	ctx := t.Context()
	watch, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close(context.WithoutCancel(ctx))
	if err := db.InTx(ctx, func(tx entity.Tx) error {
		return errors.Join(
			tx.(*store.Tx).InsertSatellite(ctx, fleet.Satellite{ID: "s", Name: "s"}, "h"),
			tx.(*store.Tx).PutSystems(ctx, catalog.System{ID: "y", Name: "y"}),
			tx.(*store.Tx).PutChecks(ctx, catalog.Check{ID: "c", Name: "c"}))
	}); err != nil {
		t.Fatal(err)
	}
	attempts := 0
	var writer errgroup.Group
	if err := db.InTx(ctx, func(tx entity.Tx) error {
		if err := tx.(*store.Tx).DeleteSystem(ctx, "y"); err != nil {
			return err
		}
		writer.Go(func() error {
			return db.InTx(ctx, func(tx entity.Tx) error {
				attempts++
				return tx.(*store.Tx).PutLocations(ctx, []health.Location{{LocationKey: health.LocationKey{SystemID: "y", CheckID: "c", SatelliteID: "s"}}})
			})
		})
		for waiting := 0; waiting == 0; { // until the writer waits for us
			if err := watch.QueryRow(ctx, `SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.datname = current_database()
				JOIN pg_stat_activity a ON a.pid = l.pid AND a.datid = d.oid WHERE NOT l.granted`).Scan(&waiting); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := writer.Wait(); err != nil {
		t.Errorf("the result's transaction failed: %v", err)
	}
	if attempts != 2 {
		t.Errorf("it ran %d times, want twice", attempts)
	}
}

// A row that is being written at this moment, by a beat or by a connect, is not the
// monitor's to judge, nor does the monitor wait for it.
func TestM45_MarkLostPassesByWhatIsBeingWritten(t *testing.T) {
	t.Parallel()
	db := openPostgres(t)
	ctx := t.Context()
	if err := insert(ctx, db, "a"); err != nil {
		t.Fatal(err)
	}
	write := func(fn func(tx *store.Tx) error) {
		t.Helper()
		if err := db.InTx(ctx, func(tx entity.Tx) error { return fn(tx.(*store.Tx)) }); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-time.Hour)
	write(func(tx *store.Tx) error {
		return tx.WriteConnections(ctx, []fleet.Connection{{SatelliteID: "id of a", Epoch: 1, LastEvent: fleet.Connected, LastHeartbeatAt: &long}})
	})
	lost := -1
	write(func(tx *store.Tx) error {
		if _, _, err := tx.FlushBeats(ctx, []fleet.Beat{{SatelliteID: "id of a", Epoch: 1}}); err != nil {
			return err
		}
		write(func(other *store.Tx) error {
			rows, err := other.MarkLost(ctx)
			lost = len(rows)
			return err
		})
		return nil
	})
	if lost != 0 {
		t.Errorf("%d rows were marked lost", lost)
	}
}

// Heartbeats must not grow the table: rows have room and no index on what changes.
func TestM50_HeartbeatsRewriteRowsInPlace(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	open(t, url)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var indexed []string
	if err := conn.QueryRow(t.Context(), `SELECT array_agg(DISTINCT a.attname::text ORDER BY a.attname::text) FROM pg_index i
		JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey) WHERE i.indrelid = 'satellites'::regclass`).Scan(&indexed); err != nil {
		t.Fatal(err)
	}
	if want := []string{"id", "name"}; !slices.Equal(indexed, want) {
		t.Errorf("indexed columns are %q, want %q", indexed, want)
	}
}

func TestPostgresURLs(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	open(t, url+"&pool_max_conns=3&application_name=other")
	for _, bad := range []string{url + "&pool_max_conns=1", "postgres://%zz", "mysql://localhost/x", ""} {
		if db, err := store.Open(t.Context(), bad, slog.New(slog.DiscardHandler)); err == nil {
			db.Close()
			t.Errorf("%q was opened", bad)
		}
	}
}

func TestGrantsRunOut(t *testing.T) {
	t.Parallel()
	pg := pgtest.URL(t)
	lite := sqliteURL(t)
	for driver, url := range map[string]string{"pgx": pg, "sqlite": lite} {
		db := open(t, url)
		if err := insert(t.Context(), db, "a"); err != nil {
			t.Fatal(err)
		}
		raw, err := sql.Open(driver, plainPath(url))
		if err != nil {
			t.Fatal(err)
		}
		day := 24 * time.Hour
		for name, age := range map[string]time.Duration{"fresh": 6 * day, "old": 8 * day} {
			if _, err := raw.ExecContext(t.Context(), `INSERT INTO placements (satellite_id, check_id, system_id, assignment_id, removed_at)
				VALUES ('id of a', $1, 's', 'x', $2)`, name, time.Now().Add(-age).UnixMicro()); err != nil {
				t.Fatal(err)
			}
		}
		sets, err := db.DesiredSets(t.Context(), []string{"id of a"})
		d := sets["id of a"]
		if err != nil || len(d.Grants) != 1 || d.Grants[0].ConfigID != "fresh" {
			t.Errorf("%s: grants are %+v (%v), want the fresh one", driver, d.Grants, err)
		}
		if err := db.InTx(t.Context(), func(tx entity.Tx) error { return tx.(*store.Tx).Place(t.Context(), nil, nil) }); err != nil {
			t.Fatal(err)
		}
		var left int
		if err := raw.QueryRowContext(t.Context(), `SELECT count(*) FROM placements`).Scan(&left); err != nil || left != 1 {
			t.Errorf("%s: %d placements are left (%v), want 1", driver, left, err)
		}
		if err := raw.Close(); err != nil {
			t.Error(err)
		}
	}
}
