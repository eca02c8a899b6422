package store

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/health"
)

// Tables that grow with time are cut into pieces of it on PostgreSQL, so that
// forgetting is dropping a table. SQLite deletes rows.
//
// Each has a default partition: a row of a time that has no partition (far too late, or
// of a clock that runs ahead) goes there, and is moved when the partition is made, or
// deleted when its time has come.

// partitioned is a table that is cut by its key.
type partitioned struct {
	table, key string
	width      time.Duration
	bound      func(time.Time) string // the key at a time, as PostgreSQL writes it in bounds
}

func atMicros(t time.Time) string { return strconv.FormatInt(t.UnixMicro(), 10) }

const day = 24 * time.Hour

var (
	runPartitions    = partitioned{"runs", "run_id", day, keyAt}
	minutePartitions = partitioned{"rollup_minutes", "bucket", day, atMicros}
	hourPartitions   = partitioned{"rollup_hours", "bucket", 7 * day, atMicros}
	dayPartitions    = partitioned{"rollup_days", "bucket", 91 * day, atMicros}
)

const (
	// partitionsAhead is how far ahead partitions are made.
	partitionsAhead = 2 * day
	// lockPartitions keeps other cores from making the same.
	lockPartitions = 0x7065726967_08
)

// partition is one of a table's, without the default one.
type partition struct{ name, from, to string } // from "" is from the beginning

// bounds reads "FOR VALUES FROM ('a') TO ('b')".
var bounds = regexp.MustCompile(`FROM \((?:MINVALUE|'?([0-9a-f]+)'?)\) TO \('?([0-9a-f]+)'?\)`)

func partitions(ctx context.Context, c conn, table string) ([]partition, error) {
	return all(ctx, c, func(row scanner) (p partition, err error) {
		var text string
		if err := row.Scan(&p.name, &text); err != nil {
			return p, err
		}
		found := bounds.FindStringSubmatch(text)
		if found == nil {
			return p, fmt.Errorf("the partition %s is bounded by %q", p.name, text)
		}
		p.from, p.to = found[1], found[2]
		return p, nil
	}, `SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
		WHERE i.inhparent = $1::text::regclass AND pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT' ORDER BY c.relname`, table)
}

// less compares bounds, which are digits, of one length or numbers.
func less(a, b string) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a < b
}

// MakePartitions makes the partitions of what is kept and of the days to come. Where
// they are made already it only looks.
func (db *DB) MakePartitions(ctx context.Context, now time.Time, keep health.Retention) error {
	if db.dialect == sqlite {
		return nil
	}
	for _, p := range []struct {
		partitioned
		keep time.Duration
	}{{runPartitions, keep.Runs}, {minutePartitions, keep.Minutes}, {hourPartitions, keep.Hours}, {dayPartitions, keep.Days}} {
		there, err := partitions(ctx, db.writes(), p.table)
		if err != nil {
			return err
		}
		for at := now.Add(-p.keep).Truncate(p.width); at.Before(now.Add(partitionsAhead)); at = at.Add(p.width) {
			if p.has(there, at) {
				continue
			}
			if err := db.makePartition(ctx, p.partitioned, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// has reports whether a partition holds any time of the piece that starts at then.
func (p partitioned) has(there []partition, at time.Time) bool {
	from, to := p.bound(at), p.bound(at.Add(p.width))
	for _, other := range there {
		if (other.from == "" || less(other.from, to)) && less(from, other.to) {
			return true
		}
	}
	return false
}

func (db *DB) makePartition(ctx context.Context, p partitioned, at time.Time) error {
	name := p.table + "_" + at.UTC().Format("20060102")
	from, to := p.bound(at), p.bound(at.Add(p.width))
	return db.InTx(ctx, func(t entity.Tx) error {
		tx := t.(*Tx)
		if err := tx.exclusive(ctx, lockPartitions); err != nil {
			return err
		}
		there, err := partitions(ctx, tx.conn, p.table)
		if err != nil || p.has(there, at) {
			return err
		}
		// Nothing may come into the default partition between moving and attaching.
		for _, q := range []string{
			`LOCK TABLE ` + p.table + `_default IN ACCESS EXCLUSIVE MODE`,
			`CREATE TABLE ` + name + ` (LIKE ` + p.table + ` INCLUDING DEFAULTS)`,
			`WITH moved AS (DELETE FROM ` + p.table + `_default WHERE ` + p.key + ` >= '` + from + `' AND ` + p.key + ` < '` + to + `' RETURNING *)
				INSERT INTO ` + name + ` SELECT * FROM moved`,
			`ALTER TABLE ` + p.table + ` ATTACH PARTITION ` + name + ` FOR VALUES FROM ('` + from + `') TO ('` + to + `')`,
		} {
			if _, err := tx.exec(ctx, q); err != nil {
				return err
			}
		}
		return nil
	})
}

// forget drops the partitions that end before then, and deletes what else is older.
func (db *DB) forget(ctx context.Context, p partitioned, before time.Time) error {
	bound := p.bound(before)
	there, err := partitions(ctx, db.writes(), p.table)
	if err != nil {
		return err
	}
	for _, old := range there {
		if less(bound, old.to) {
			continue
		}
		err := db.InTx(ctx, func(t entity.Tx) error {
			tx := t.(*Tx)
			// Whoever waits for this lock makes others wait behind it.
			if _, err := tx.exec(ctx, `SET LOCAL lock_timeout = '2s'`); err != nil {
				return err
			}
			_, err := tx.exec(ctx, `DROP TABLE IF EXISTS `+old.name)
			return err
		})
		if err != nil {
			return err
		}
	}
	_, err = db.purge(ctx, `DELETE FROM `+p.table+`_default WHERE ctid = ANY(ARRAY(SELECT ctid FROM `+p.table+`_default WHERE `+p.key+` < '`+bound+`' LIMIT `+strconv.Itoa(purgePiece)+`))`, purgePiece)
	return err
}

// purgePieceLite is how many rows of runs one statement of SQLite deletes: each is a
// long row in three trees, and ingest waits meanwhile.
const purgePieceLite = 1000

// PurgeHistory forgets runs and skips of before then, and buckets of before the tiers
// are whole from.
func (db *DB) PurgeHistory(ctx context.Context, runs time.Time, whole health.RollupState, days time.Time) error {
	if _, err := db.purge(ctx, `DELETE FROM skips WHERE id IN (SELECT id FROM skips WHERE id < $1 ORDER BY id LIMIT `+strconv.Itoa(purgePiece)+`)`, purgePiece, keyAt(runs)); err != nil {
		return err
	}
	if db.dialect == sqlite {
		if _, err := db.purge(ctx, `DELETE FROM runs WHERE run_id IN (SELECT run_id FROM runs WHERE run_id < $1 ORDER BY run_id LIMIT `+strconv.Itoa(purgePieceLite)+`)`, purgePieceLite, keyAt(runs)); err != nil {
			return err
		}
		for t, before := range map[health.Tier]time.Time{health.Minute: whole.MinutesFrom, health.Hour: whole.HoursFrom, health.Day: days} {
			if err := db.purgeBuckets(ctx, t, before); err != nil {
				return err
			}
		}
		return nil
	}
	for _, p := range []struct {
		partitioned
		before time.Time
	}{{runPartitions, runs}, {minutePartitions, whole.MinutesFrom}, {hourPartitions, whole.HoursFrom}, {dayPartitions, days}} {
		if err := db.forget(ctx, p.partitioned, p.before); err != nil {
			return err
		}
	}
	return nil
}

// purgeBuckets deletes rollups of before then.
func (db *DB) purgeBuckets(ctx context.Context, t health.Tier, before time.Time) error {
	key := "system_id, bucket, check_id, satellite_id, environment_id"
	table := rollupTables[t]
	_, err := db.purge(ctx, `DELETE FROM `+table+` WHERE (`+key+`) IN (SELECT `+key+` FROM `+table+` WHERE bucket < $1 ORDER BY bucket LIMIT `+strconv.Itoa(purgePiece)+`)`, purgePiece, before.UnixMicro())
	return err
}

// purge repeats a statement that deletes at most so many rows until it finds less.
func (db *DB) purge(ctx context.Context, q string, piece int64, args ...any) (gone int64, err error) {
	for {
		n, err := db.writes().exec(ctx, q, args...)
		gone += n
		if err != nil || n < piece {
			return gone, err
		}
	}
}
