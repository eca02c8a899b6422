package store

import (
	"cmp"
	"context"
	"database/sql"
	"iter"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/health"
)

var rollupTables = map[health.Tier]string{health.Minute: "rollup_minutes", health.Hour: "rollup_hours", health.Day: "rollup_days"}

const rollupNames = `bucket, system_id, check_id, satellite_id, environment_id, healthy, degraded, unhealthy, inconclusive, late,
	latencies, latency_sum, latency_min, latency_max, sketch`

func rollupColumns(rows []health.Rollup) []column {
	count := func(name string, value func(*health.Rollup) int64) column { return col(name, "bigint", rows, value) }
	cols := append([]column{count("bucket", func(r *health.Rollup) int64 { return r.Bucket.UnixMicro() })},
		keyColumns(rows, func(r *health.Rollup) *health.LocationKey { return &r.LocationKey })...)
	return append(
		cols,
		count("healthy", func(r *health.Rollup) int64 { return r.Healthy }),
		count("degraded", func(r *health.Rollup) int64 { return r.Degraded }),
		count("unhealthy", func(r *health.Rollup) int64 { return r.Unhealthy }),
		count("inconclusive", func(r *health.Rollup) int64 { return r.Inconclusive }),
		count("late", func(r *health.Rollup) int64 { return r.Late }),
		count("latencies", func(r *health.Rollup) int64 { return r.Latencies }),
		count("latency_sum", func(r *health.Rollup) int64 { return r.LatencySum }),
		count("latency_min", func(r *health.Rollup) int64 { return r.LatencyMin }),
		count("latency_max", func(r *health.Rollup) int64 { return r.LatencyMax }),
		col("sketch", "bytea", rows, func(r *health.Rollup) []byte {
			if r.Sketch == nil {
				return []byte{}
			}
			return r.Sketch
		}),
	)
}

func scanRollup(row scanner) (health.Rollup, error) {
	var r health.Rollup
	return r, row.Scan(moment{&r.Bucket}, &r.SystemID, &r.CheckID, &r.SatelliteID, &r.EnvironmentID,
		&r.Healthy, &r.Degraded, &r.Unhealthy, &r.Inconclusive, &r.Late, &r.Latencies, &r.LatencySum, &r.LatencyMin, &r.LatencyMax, &r.Sketch)
}

// AppendRunBatch notes what this transaction made durable, for the rollups.
func (tx *Tx) AppendRunBatch(ctx context.Context, b health.RunBatch) error {
	text, err := jsonText(b)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, `INSERT INTO run_batches (size, runs) VALUES ($1, $2)`, b.Len(), stored(text))
	return err
}

// LockRollups waits for nobody: ok is false while another core is at it.
func (tx *Tx) LockRollups(ctx context.Context) (s health.RollupState, ok bool, err error) {
	s, err = one(ctx, tx.conn, "state of the rollups", scanRollupState, `SELECT minutes_from, hours_from FROM rollup_state WHERE id = 1 FOR UPDATE SKIP LOCKED`)
	if fault.Is(err, fault.NotFound) {
		return s, false, nil
	}
	return s, err == nil, err
}

func scanRollupState(row scanner) (s health.RollupState, err error) {
	return s, row.Scan(moment{&s.MinutesFrom}, moment{&s.HoursFrom})
}

// PutRollupState expects a transaction that has locked it.
func (tx *Tx) PutRollupState(ctx context.Context, s health.RollupState) error {
	_, err := tx.exec(ctx, `UPDATE rollup_state SET minutes_from = $1, hours_from = $2 WHERE id = 1`, s.MinutesFrom.UnixMicro(), s.HoursFrom.UnixMicro())
	return err
}

// looked bounds how many batches one transaction takes.
const looked = 4096

// TakeRunBatches deletes the oldest batches, of about so many runs, and returns them.
func (tx *Tx) TakeRunBatches(ctx context.Context, runs int) ([]health.RunBatch, error) {
	n, sum := 0, 0
	for size, err := range each(ctx, tx.conn, scanInt64, `SELECT size FROM run_batches ORDER BY seq LIMIT $1`, looked) {
		if err != nil {
			return nil, err
		}
		n++
		if sum += int(size); sum >= runs {
			break
		}
	}
	if n == 0 {
		return nil, nil
	}
	// Rows of lower numbers may have become visible since; what is returned is what is gone.
	return all(ctx, tx.conn, scanRunBatch, `DELETE FROM run_batches WHERE seq IN (SELECT seq FROM run_batches ORDER BY seq LIMIT $1) RETURNING runs`, n)
}

func scanRunBatch(row scanner) (health.RunBatch, error) {
	var text []byte
	if err := row.Scan(&text); err != nil {
		return health.RunBatch{}, err
	}
	return health.DecodeRunBatch(text)
}

// AddRollups counts rows into those that are there. Rows must differ in their keys.
func (tx *Tx) AddRollups(ctx context.Context, t health.Tier, rows []health.Rollup) error {
	table := rollupTables[t]
	sketch := table + `.sketch || excluded.sketch`
	if tx.db.dialect == sqlite {
		sketch = `CAST(` + sketch + ` AS BLOB)` // it takes what is joined for text, of the same bytes
	}
	return tx.writeRollups(ctx, t, rows, `healthy = `+table+`.healthy + excluded.healthy, degraded = `+table+`.degraded + excluded.degraded,
		unhealthy = `+table+`.unhealthy + excluded.unhealthy, inconclusive = `+table+`.inconclusive + excluded.inconclusive, late = `+table+`.late + excluded.late,
		latency_min = CASE WHEN excluded.latencies = 0 THEN `+table+`.latency_min
			WHEN `+table+`.latencies = 0 OR excluded.latency_min < `+table+`.latency_min THEN excluded.latency_min ELSE `+table+`.latency_min END,
		latency_max = CASE WHEN excluded.latency_max > `+table+`.latency_max THEN excluded.latency_max ELSE `+table+`.latency_max END,
		latencies = `+table+`.latencies + excluded.latencies, latency_sum = `+table+`.latency_sum + excluded.latency_sum, sketch = `+sketch)
}

// PutRollups writes rows in place of those that are there.
func (tx *Tx) PutRollups(ctx context.Context, t health.Tier, rows []health.Rollup) error {
	return tx.writeRollups(ctx, t, rows, `healthy = excluded.healthy, degraded = excluded.degraded, unhealthy = excluded.unhealthy,
		inconclusive = excluded.inconclusive, late = excluded.late, latencies = excluded.latencies, latency_sum = excluded.latency_sum,
		latency_min = excluded.latency_min, latency_max = excluded.latency_max, sketch = excluded.sketch`)
}

func (tx *Tx) writeRollups(ctx context.Context, t health.Tier, rows []health.Rollup, set string) error {
	order := func(a, b health.Rollup) int {
		if t == health.Minute {
			return cmp.Or(a.Bucket.Compare(b.Bucket), keyOrder(a.LocationKey, b.LocationKey))
		}
		return cmp.Or(cmp.Compare(a.SystemID, b.SystemID), a.Bucket.Compare(b.Bucket), keyOrder(a.LocationKey, b.LocationKey))
	}
	rows = slices.SortedFunc(slices.Values(rows), order)
	return chunks(rows, func(rows []health.Rollup) error {
		return tx.insertMany(ctx, rollupTables[t], `ON CONFLICT (bucket, system_id, check_id, satellite_id, environment_id) DO UPDATE SET `+set, len(rows), rollupColumns(rows))
	})
}

func markColumns(rows []health.Mark) []column {
	return []column{
		col("tier", "text", rows, func(m *health.Mark) string { return string(m.Tier) }),
		col("bucket", "bigint", rows, func(m *health.Mark) int64 { return m.Bucket.UnixMicro() }),
		col("system_id", "text", rows, func(m *health.Mark) string { return m.SystemID }),
	}
}

// PutMarks notes buckets that are to be made anew.
func (tx *Tx) PutMarks(ctx context.Context, marks []health.Mark) error {
	marks = slices.SortedFunc(slices.Values(marks), func(a, b health.Mark) int {
		return cmp.Or(cmp.Compare(a.Tier, b.Tier), a.Bucket.Compare(b.Bucket), cmp.Compare(a.SystemID, b.SystemID))
	})
	return chunks(marks, func(rows []health.Mark) error {
		return tx.insertMany(ctx, "rollup_marks", `ON CONFLICT (tier, bucket, system_id) DO NOTHING`, len(rows), markColumns(rows))
	})
}

// TakeMarks deletes the oldest marks of buckets that began before then, at most n and
// all of one bucket, and returns them.
func (tx *Tx) TakeMarks(ctx context.Context, t health.Tier, before time.Time, n int) ([]health.Mark, error) {
	return all(ctx, tx.conn, scanMark, `DELETE FROM rollup_marks WHERE tier = $1
		AND bucket = (SELECT min(bucket) FROM rollup_marks WHERE tier = $1 AND bucket < $2)
		AND system_id IN (SELECT system_id FROM rollup_marks WHERE tier = $1
			AND bucket = (SELECT min(bucket) FROM rollup_marks WHERE tier = $1 AND bucket < $2) ORDER BY system_id LIMIT $3)
		RETURNING tier, bucket, system_id`, string(t), before.UnixMicro(), n)
}

// FirstMark is the oldest bucket of the tier that is to be made anew; ok is false when
// there is none.
func (tx *Tx) FirstMark(ctx context.Context, t health.Tier) (at time.Time, ok bool, err error) {
	first, err := one(ctx, tx.conn, "", func(row scanner) (us *int64, err error) { return us, row.Scan(&us) }, `SELECT min(bucket) FROM rollup_marks WHERE tier = $1`, string(t))
	if err != nil || first == nil {
		return at, false, err
	}
	return time.UnixMicro(*first).UTC(), true, nil
}

func scanMark(row scanner) (health.Mark, error) {
	var m health.Mark
	return m, row.Scan(&m.Tier, moment{&m.Bucket}, &m.SystemID)
}

// Rollups reads those of one tier.
func (tx *Tx) Rollups(ctx context.Context, t health.Tier, f health.RollupFilter) ([]health.Rollup, error) {
	var w where
	w.and(`system_id = ANY($$)`, f.SystemIDs)
	if f.CheckID != "" {
		w.and(`check_id = $$`, f.CheckID)
	}
	if f.SatelliteID != "" {
		w.and(`satellite_id = $$`, f.SatelliteID)
	}
	if f.EnvironmentID != nil {
		w.and(`environment_id = $$`, *f.EnvironmentID)
	}
	if t != health.Minute {
		w.and(`bucket >= $$`, f.From.UnixMicro())
		w.and(`bucket < $$`, f.To.UnixMicro())
		q := `SELECT ` + rollupNames + ` FROM ` + rollupTables[t] + w.String() + ` ORDER BY system_id, bucket`
		if f.Limit > 0 {
			q += ` LIMIT ` + w.arg(f.Limit)
		}
		return all(ctx, tx.conn, scanRollup, q, w.args...)
	}
	// Minutes lead with time: each of them is looked up, or all systems would be read.
	from, to := w.arg(health.Minute.Bucket(f.From).UnixMicro()), w.arg(f.To.UnixMicro())
	q := `WITH RECURSIVE span(at) AS (SELECT ` + from + `::bigint UNION ALL SELECT at + 60000000 FROM span WHERE at + 60000000 < ` + to + `::bigint)
		SELECT ` + rollupNames + ` FROM span CROSS JOIN rollup_minutes` + w.String() + ` AND bucket = at`
	if f.Limit > 0 {
		q += ` LIMIT ` + w.arg(f.Limit)
	}
	return all(ctx, tx.conn, scanRollup, q, w.args...)
}

// Marks reads those of the systems that began in [from, to).
func (tx *Tx) Marks(ctx context.Context, t health.Tier, systemIDs []string, from, to time.Time) ([]health.Mark, error) {
	return all(ctx, tx.conn, scanMark, `SELECT tier, bucket, system_id FROM rollup_marks WHERE tier = $1 AND bucket >= $2 AND bucket < $3 AND system_id = ANY($4)`,
		string(t), from.UnixMicro(), to.UnixMicro(), systemIDs)
}

// RollupState is the state without the lock.
func (tx *Tx) RollupState(ctx context.Context) (health.RollupState, error) {
	return one(ctx, tx.conn, "state of the rollups", scanRollupState, `SELECT minutes_from, hours_from FROM rollup_state WHERE id = 1`)
}

// RunBatches reads what is not folded yet, in one pass with a batch in memory.
func (tx *Tx) RunBatches(ctx context.Context) iter.Seq2[health.RunBatch, error] {
	return each(ctx, tx.conn, scanRunBatch, `SELECT runs FROM run_batches`)
}

// SystemsOf lists the systems that the check was heard from.
func (tx *Tx) SystemsOf(ctx context.Context, checkID string) ([]string, error) {
	return all(ctx, tx.conn, scanString, `SELECT DISTINCT system_id FROM locations WHERE check_id = $1 ORDER BY system_id`, checkID)
}

// Regions are those of the satellites that there still are, by id.
func (tx *Tx) Regions(ctx context.Context, satelliteIDs []string) (map[string]string, error) {
	regions := map[string]string{}
	for pair, err := range each(ctx, tx.conn, func(row scanner) (pair [2]string, err error) { return pair, row.Scan(&pair[0], &pair[1]) },
		`SELECT id, region FROM satellites WHERE id = ANY($1)`, satelliteIDs) {
		if err != nil {
			return nil, err
		}
		regions[pair[0]] = pair[1]
	}
	return regions, nil
}

// ReadSnapshot runs fn on the state of one instant.
func (db *DB) ReadSnapshot(ctx context.Context, fn func(health.HistoryReader) error) error {
	bounded, cancel := context.WithTimeoutCause(ctx, txDeadline, errSilent)
	defer cancel()
	options := &sql.TxOptions{ReadOnly: true}
	if db.dialect == postgres {
		options.Isolation = sql.LevelRepeatableRead
	}
	tx, err := db.read.BeginTx(bounded, options)
	if err != nil {
		return translate(bounded, err, "")
	}
	defer tx.Rollback() //nolint:errcheck // it only read
	return fn(&Tx{conn: conn{db: db, on: tx, inTx: true, snapshot: true}})
}
