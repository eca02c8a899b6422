package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/protocol"
)

// ledgerReader reads from one state of the database.
type ledgerReader struct{ conn }

// readTx is a transaction of the reading pool, whose statements are not kept ready.
type readTx struct{ *sql.Tx }

// ReadLedger gives fn one state of the database to read from: what is counted by
// several statements must add up.
func (db *DB) ReadLedger(ctx context.Context, fn func(health.LedgerReader) error) error {
	options := &sql.TxOptions{ReadOnly: true}
	if db.dialect == postgres {
		options.Isolation = sql.LevelRepeatableRead
	}
	bounded, cancel := context.WithTimeoutCause(ctx, txDeadline, errSilent)
	defer cancel()
	tx, err := db.read.BeginTx(bounded, options)
	if err != nil {
		return translate(bounded, err, "")
	}
	defer tx.Rollback() //nolint:errcheck // nothing was written
	return fn(ledgerReader{conn{db: db, on: readTx{tx}}})
}

func (r ledgerReader) Now(ctx context.Context) (time.Time, error) {
	return one(ctx, r.conn, "", func(row scanner) (t time.Time, err error) { return t, row.Scan(moment{&t}) }, "SELECT {now}")
}

// rowsTable gives rows as a table b: in arrays to PostgreSQL, as JSON to SQLite.
func rowsTable(d dialect, n int, cols []column) (table string, args []any, err error) {
	if d == postgres {
		table, args = unnest(cols)
		return "(SELECT * FROM " + table + ")", args, nil
	}
	rows := make([][]any, n)
	for i := range rows {
		for _, c := range cols {
			rows[i] = append(rows[i], c.at(i))
		}
	}
	names := make([]string, len(cols))
	for k, c := range cols {
		// The type lets SQLite make an index of the rows for the time of the statement.
		kind := "TEXT"
		if c.typ == "bigint" {
			kind = "INTEGER"
		}
		names[k] = fmt.Sprintf("CAST(json_extract(value, '$[%d]') AS %s) AS %s", k, kind, c.name)
	}
	text, err := json.Marshal(rows)
	return "(SELECT " + strings.Join(names, ", ") + " FROM json_each($1))", []any{string(text)}, err
}

// atLocation joins b and the table by their location.
func atLocation(table string) string {
	return fmt.Sprintf(`%[1]s.system_id = b.system_id AND %[1]s.check_id = b.check_id AND %[1]s.satellite_id = b.satellite_id AND %[1]s.environment_id = b.environment_id`, table)
}

func scanKey(row scanner) (k health.LocationKey, err error) {
	return k, row.Scan(&k.SystemID, &k.CheckID, &k.SatelliteID, &k.EnvironmentID)
}

func (r ledgerReader) LedgerLocations(ctx context.Context, f health.RunFilter, p fleet.Page) ([]health.LedgerLocation, string, error) {
	last, err := after(p)
	if err != nil {
		return nil, "", err
	}
	w := eraConditions(f)
	if last != "" {
		ids := strings.Split(last, " ")
		if len(ids) != 4 {
			return nil, "", fault.New(fault.Invalid, "the cursor is not one of ours")
		}
		w.conds = append(w.conds, `(e.system_id, e.check_id, e.satellite_id, e.environment_id) > (`+w.arg(ids[0])+`, `+w.arg(ids[1])+`, `+w.arg(ids[2])+`, `+w.arg(ids[3])+`)`)
	}
	keys, err := all(ctx, r.conn, scanKey, `SELECT DISTINCT e.system_id, e.check_id, e.satellite_id, e.environment_id FROM eras AS e`+w.String()+`
		ORDER BY e.system_id, e.check_id, e.satellite_id, e.environment_id LIMIT `+w.arg(limit(p)+1), w.args...)
	if err != nil {
		return nil, "", err
	}
	keys, next := paged(keys, p, func(k health.LocationKey) string {
		return strings.Join([]string{k.SystemID, k.CheckID, k.SatelliteID, k.EnvironmentID}, " ")
	})
	items := make([]health.LedgerLocation, len(keys))
	at := make(map[health.LocationKey]*health.LedgerLocation, len(keys))
	satellites := map[string]bool{}
	for i, k := range keys {
		items[i].LocationKey = k
		at[k] = &items[i]
		satellites[k.SatelliteID] = true
	}
	if err := r.erasOf(ctx, f, keys, at); err != nil {
		return nil, "", err
	}
	heard, err := r.heard(ctx, sortedKeys(satellites))
	if err != nil {
		return nil, "", err
	}
	for i := range items {
		var known bool
		items[i].Heard, known = heard[items[i].SatelliteID]
		items[i].Gone = !known
	}
	return items, next, nil
}

func (r ledgerReader) erasOf(ctx context.Context, f health.RunFilter, keys []health.LocationKey, at map[health.LocationKey]*health.LedgerLocation) error {
	return chunks(keys, func(keys []health.LocationKey) error {
		table, args, err := rowsTable(r.db.dialect, len(keys), keyColumns(keys, func(k *health.LocationKey) *health.LocationKey { return k }))
		if err != nil {
			return err
		}
		w := where{args: args}
		w.and(`(e.until IS NULL OR e.until >= $$)`, f.From.UnixMicro())
		w.and(`e.since < $$`, f.To.UnixMicro())
		for e, err := range each(ctx, r.conn, scanEra, `SELECT `+eraColumns+` FROM `+table+` AS b JOIN eras AS e ON `+atLocation("e")+w.String()+` ORDER BY e.since, e.id`, w.args...) {
			if err != nil {
				return err
			}
			l := at[e.Location()]
			l.Eras = append(l.Eras, e)
		}
		return nil
	})
}

// heard gives, for each of the satellites that exist, until when everything that it
// wrote down is known to have arrived. Records arrive in the order in which they were
// written down: so what was before the newest has, and all has when none was left.
func (r ledgerReader) heard(ctx context.Context, satelliteIDs []string) (map[string]time.Time, error) {
	type row struct {
		id     string
		newest *time.Time
		pulse  *protocol.Pulse
	}
	heard := make(map[string]time.Time, len(satelliteIDs))
	if len(satelliteIDs) == 0 {
		return heard, nil
	}
	for s, err := range each(ctx, r.conn, func(row_ scanner) (s row, err error) {
		return s, row_.Scan(&s.id, document{&s.pulse}, momentOrNil{&s.newest})
	}, `SELECT s.id, s.pulse, (SELECT max(l.executed_at) FROM locations AS l WHERE l.satellite_id = s.id) FROM satellites AS s WHERE s.id = ANY($1)`, satelliteIDs) {
		if err != nil {
			return nil, err
		}
		var at time.Time
		if s.newest != nil {
			at = *s.newest
		}
		if p := s.pulse; p != nil && p.SpoolRecords == 0 {
			if sent := time.UnixMilli(p.SentAt).UTC(); sent.After(at) {
				at = sent
			}
		}
		heard[s.id] = at
	}
	return heard, nil
}

func (r ledgerReader) CountRuns(ctx context.Context, span health.Window, stretches []health.Stretch) ([]health.RunCount, error) {
	if len(stretches) == 0 {
		return nil, nil
	}
	systems := map[string]bool{}
	places := make(map[health.LocationKey]bool, len(stretches))
	type numbered struct {
		n int64
		*health.Stretch
	}
	rows := make([]numbered, len(stretches))
	for i := range stretches {
		rows[i] = numbered{int64(i), &stretches[i]}
		systems[stretches[i].SystemID] = true
		places[stretches[i].LocationKey] = true
	}
	table, args, err := rowsTable(r.db.dialect, len(rows), append(
		keyColumns(rows, func(s *numbered) *health.LocationKey { return &s.LocationKey }),
		col("n", "bigint", rows, func(s *numbered) int64 { return s.n }),
		col("after_us", "bigint", rows, func(s *numbered) int64 { return s.After * 1000 }),
		col("until_us", "bigint", rows, func(s *numbered) int64 { return s.Until * 1000 }),
		col("interval_us", "bigint", rows, func(s *numbered) int64 { return s.Schedule.Interval.Microseconds() }),
		col("phase_us", "bigint", rows, func(s *numbered) int64 { return s.Schedule.Phase.Microseconds() }),
		col("late_us", "bigint", rows, func(s *numbered) int64 { return s.InTime.Microseconds() }),
	))
	if err != nil {
		return nil, err
	}
	w := where{args: args}
	w.and(`r.system_id = ANY($$)`, sortedKeys(systems))
	w.span("r", span)
	var counts []health.RunCount
	for c, err := range each(ctx, r.conn, func(row scanner) (c health.RunCount, err error) {
		return c, row.Scan(&c.SystemID, &c.CheckID, &c.SatelliteID, &c.EnvironmentID, &c.Stretch, &c.Late, &c.Inconclusive, &c.Status, &c.Count, &c.Unslotted)
	}, `WITH b AS MATERIALIZED `+table+`
		SELECT r.system_id, r.check_id, r.satellite_id, r.environment_id, coalesce(b.n, -1), coalesce(r.received_at > r.slot + b.late_us, false),
			r.inconclusive <> '', r.status, count(*), sum(CASE WHEN r.unslotted THEN 1 ELSE 0 END)
		FROM runs AS r LEFT JOIN b ON `+atLocation("r")+` AND r.slot > b.after_us AND r.slot <= b.until_us AND (r.slot - b.phase_us) % b.interval_us = 0
		`+w.String()+` GROUP BY 1, 2, 3, 4, 5, 6, 7, 8`, w.args...) {
		if err != nil {
			return nil, err
		}
		if places[c.LocationKey] {
			counts = append(counts, c)
		}
	}
	return counts, nil
}

// span narrows to runs of slots in the window, by the key that leads with the slot.
func (w *where) span(table string, span health.Window) {
	w.and(table+`.run_id >= $$`, keyAt(span.From))
	w.and(table+`.run_id < $$`, keyAt(span.To.Add(time.Millisecond)))
	w.and(table+`.slot >= $$`, span.From.UnixMicro())
	w.and(table+`.slot < $$`, span.To.UnixMicro())
}

func (r ledgerReader) LocationSkips(ctx context.Context, span health.Window, keys []health.LocationKey) ([]health.Skip, error) {
	var skips []health.Skip
	err := chunks(keys, func(keys []health.LocationKey) error {
		table, args, err := rowsTable(r.db.dialect, len(keys), keyColumns(keys, func(k *health.LocationKey) *health.LocationKey { return k }))
		if err != nil {
			return err
		}
		systems := map[string]bool{}
		for _, k := range keys {
			systems[k.SystemID] = true
		}
		w := where{args: args}
		w.and(`k.system_id = ANY($$)`, sortedKeys(systems))
		w.and(`k.to_slot >= $$`, span.From.UnixMicro())
		w.and(`k.from_slot < $$`, span.To.UnixMicro())
		w.and(`k.asked = $$`, "") // answers to those who asked for a run account for no due slot
		some, err := all(ctx, r.conn, scanSkip, `WITH b AS MATERIALIZED `+table+`
			SELECT k.id, k.satellite_id, k.check_id, k.system_id, k.environment_id, k.from_slot, k.to_slot, k.count, k.reason, k.asked, k.received_at
			FROM skips AS k JOIN b ON `+atLocation("k")+w.String(), w.args...)
		skips = append(skips, some...)
		return err
	})
	return skips, err
}

func (r ledgerReader) RunsWithin(ctx context.Context, span health.Window, skips []health.Skip) ([]health.Slot, error) {
	var slots []health.Slot
	err := chunks(skips, func(rows []health.Skip) error {
		first := func(s *health.Skip) time.Time {
			if s.From.Before(span.From) {
				return span.From
			}
			return s.From
		}
		last := func(s *health.Skip) time.Time {
			if s.To.After(span.To) {
				return span.To
			}
			return s.To
		}
		table, args, err := rowsTable(r.db.dialect, len(rows), []column{
			col("system_id", "text", rows, func(s *health.Skip) string { return s.SystemID }),
			col("check_id", "text", rows, func(s *health.Skip) string { return s.CheckID }),
			col("satellite_id", "text", rows, func(s *health.Skip) string { return s.SatelliteID }),
			col("environment_id", "text", rows, func(s *health.Skip) string { return s.EnvironmentID }),
			col("least", "text", rows, func(s *health.Skip) string { return keyAt(first(s)) }),
			col("beyond", "text", rows, func(s *health.Skip) string { return keyAt(last(s).Add(time.Millisecond)) }),
			col("from_slot", "bigint", rows, func(s *health.Skip) int64 { return first(s).UnixMicro() }),
			col("to_slot", "bigint", rows, func(s *health.Skip) int64 { return last(s).UnixMicro() }),
		})
		if err != nil {
			return err
		}
		some, err := all(ctx, r.conn, func(row scanner) (s health.Slot, err error) {
			var us int64
			err = row.Scan(&s.SystemID, &s.CheckID, &s.SatelliteID, &s.EnvironmentID, &us)
			s.At = us / 1000
			return s, err
		}, `SELECT DISTINCT r.system_id, r.check_id, r.satellite_id, r.environment_id, r.slot
			FROM `+table+` AS b CROSS JOIN runs AS r
			WHERE `+atLocation("r")+` AND r.run_id >= b.least AND r.run_id < b.beyond AND r.slot >= b.from_slot AND r.slot <= b.to_slot`, args...)
		slots = append(slots, some...)
		return err
	})
	return slots, err
}
