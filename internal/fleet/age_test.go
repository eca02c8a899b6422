package fleet_test

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // drivers by name, to set back what the store will not
	_ "modernc.org/sqlite"
)

// exec changes the database beside the store, as the passing of time would.
func exec(t *testing.T, url, statement string, args ...any) {
	t.Helper()
	db := beside(t, url)
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

func query(t *testing.T, url, statement string, into any) {
	t.Helper()
	db := beside(t, url)
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), statement).Scan(into); err != nil {
		t.Fatal(err)
	}
}

func beside(t *testing.T, url string) *sql.DB {
	t.Helper()
	driver := "sqlite"
	if strings.HasPrefix(url, "postgres") {
		driver = "pgx"
	} else {
		url = "file:" + url + "?_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open(driver, url)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// backdate makes the cores have looked without a gap for two hours.
func (c *core) backdate(t *testing.T) {
	t.Helper()
	now := time.Now()
	exec(t, c.url, `UPDATE observer SET since = $1, at = $2`, now.Add(-2*time.Hour).UnixMicro(), now.UnixMicro())
}

// age makes everything that a stopped core left an hour older.
func age(t *testing.T, url, satelliteID string) {
	t.Helper()
	hour := time.Hour.Microseconds()
	exec(t, url, `UPDATE observer SET since = since - $1, at = at - $1`, hour)
	exec(t, url, `UPDATE satellites SET last_heartbeat_at = last_heartbeat_at - $1 WHERE id = $2`, hour, satelliteID)
}

// watchLooks waits until the cores on the database have looked n times more.
func watchLooks(t *testing.T, url string, n int) {
	t.Helper()
	last := observedAt(t, url)
	eventually(t, "the watch to look", func() bool {
		if at := observedAt(t, url); at > last {
			last = at
			n--
		}
		return n <= 0
	})
}

// observedAt is when a core last looked, 0 for never.
func observedAt(t *testing.T, url string) int64 {
	t.Helper()
	var at sql.NullInt64
	query(t, url, `SELECT at FROM observer`, &at)
	return at.Int64
}
