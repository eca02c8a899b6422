package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
)

// runColumns takes the evidence of those runs that are in no pack.
func runColumns(rows []health.Run, packs map[string]string) []column {
	return []column{
		col("run_id", "text", rows, func(r *health.Run) string { return r.RunID }),
		col("satellite_id", "text", rows, func(r *health.Run) string { return r.SatelliteID }),
		col("check_id", "text", rows, func(r *health.Run) string { return r.CheckID }),
		col("system_id", "text", rows, func(r *health.Run) string { return r.SystemID }),
		col("environment_id", "text", rows, func(r *health.Run) string { return r.EnvironmentID }),
		col("status", "text", rows, func(r *health.Run) string { return string(r.Status) }),
		col("latency_ms", "bigint", rows, func(r *health.Run) *int64 { return r.LatencyMs }),
		col("executed_at", "bigint", rows, func(r *health.Run) int64 { return r.ExecutedAt.UnixMicro() }),
		col("received_at", "bigint", rows, func(r *health.Run) int64 { return r.ReceivedAt.UnixMicro() }),
		col("slot", "bigint", rows, func(r *health.Run) int64 { return r.Slot.UnixMicro() }),
		col("unslotted", "boolean", rows, func(r *health.Run) bool { return r.Unslotted }),
		col("revision", "bigint", rows, func(r *health.Run) int64 { return r.Revision }),
		col("asked", "text", rows, func(r *health.Run) string { return string(r.Asked) }),
		col("inconclusive", "text", rows, func(r *health.Run) string { return stored(r.Inconclusive) }),
		col("clock_offset_ms", "double precision", rows, func(r *health.Run) *float64 { return r.ClockOffsetMs }),
		col("clock_uncertainty_ms", "double precision", rows, func(r *health.Run) *float64 { return r.ClockUncertaintyMs }),
		col("source", "text", rows, func(r *health.Run) string { return stored(r.Source) }),
		col("message", "text", rows, func(r *health.Run) string { return stored(r.Message) }),
		col("result", "text", rows, func(r *health.Run) *string {
			if packs[r.RunID] != "" {
				return nil
			}
			return orNil(stored(string(r.Result)))
		}),
		col("detail", "text", rows, func(r *health.Run) string { return packs[r.RunID] }),
	}
}

// InsertRuns inserts in the order of run ids: two cores that get the same runs at
// once wait for each other and do not deadlock, and the key grows at its end.
func (tx *Tx) InsertRuns(ctx context.Context, runs []health.Run) (map[string]bool, error) {
	inserted := make(map[string]bool, len(runs))
	runs = slices.SortedFunc(slices.Values(runs), func(a, b health.Run) int { return cmp.Compare(a.RunID, b.RunID) })
	err := chunks(runs, func(rows []health.Run) error {
		packs, err := tx.putDetails(ctx, rows)
		if err != nil {
			return err
		}
		cols := runColumns(rows, packs)
		if tx.db.dialect == sqlite {
			return tx.repeat(ctx, insertOne("runs", `ON CONFLICT (run_id) DO NOTHING`, cols), len(rows), cols, func(i int, touched int64) {
				if touched > 0 {
					inserted[rows[i].RunID] = true
				}
			})
		}
		q, args := insertSelect("runs", `ON CONFLICT (run_id) DO NOTHING RETURNING run_id`, cols)
		for id, err := range each(ctx, tx.conn, scanString, q, args...) {
			if err != nil {
				return err
			}
			inserted[id] = true
		}
		return nil
	})
	return inserted, err
}

func scanRun(row scanner) (storedRun, error) {
	var r storedRun
	var result *string
	err := row.Scan(&r.RunID, &r.SatelliteID, &r.CheckID, &r.SystemID, &r.EnvironmentID, &r.Status, &r.LatencyMs,
		moment{&r.ExecutedAt}, moment{&r.ReceivedAt}, moment{&r.Slot}, &r.Unslotted, &r.Revision, &r.Asked, &r.Inconclusive, &r.ClockOffsetMs, &r.ClockUncertaintyMs,
		&r.Source, &r.Message, &result, &r.detail)
	if result != nil {
		r.Result = json.RawMessage(*result)
	}
	return r, err
}

// Runs go by run id, which leads with the slot in milliseconds: newest slot first,
// and the runs of one millisecond in an order that stays.
func (db *DB) Runs(ctx context.Context, f health.RunFilter, p fleet.Page) ([]health.Run, string, error) {
	w, err := runConditions("run_id", f, p)
	if err != nil {
		return nil, "", err
	}
	switch f.Status {
	case "":
	case health.Inconclusive:
		w.and(`inconclusive <> $$`, "")
	default:
		w.and(`status = $$`, string(f.Status))
		w.and(`inconclusive = $$`, "")
	}
	if !f.From.IsZero() {
		w.and(`slot >= $$`, f.From.UnixMicro())
	}
	if !f.To.IsZero() {
		w.and(`slot < $$`, f.To.UnixMicro())
	}
	evidence := `result, detail`
	if f.Plain {
		evidence = `NULL, ''`
	}
	rows, err := all(ctx, db.reads(), scanRun, `SELECT run_id, satellite_id, check_id, system_id, environment_id, status, latency_ms,
		executed_at, received_at, slot, unslotted, revision, asked, inconclusive, clock_offset_ms, clock_uncertainty_ms, source, message, `+evidence+`
		FROM runs`+w.String()+` ORDER BY run_id DESC LIMIT `+w.arg(limit(p)+1), w.args...)
	if err != nil {
		return nil, "", err
	}
	rows, next := paged(rows, p, func(r storedRun) string { return r.RunID })
	if err := db.reads().withDetails(ctx, rows); err != nil {
		return nil, "", err
	}
	items := make([]health.Run, len(rows))
	for i := range rows {
		items[i] = rows[i].Run
	}
	return items, next, nil
}

// runConditions narrows by whom and, through the key, roughly by when.
func runConditions(key string, f health.RunFilter, p fleet.Page) (*where, error) {
	last, err := after(p)
	if err != nil {
		return nil, err
	}
	var w where
	if last != "" {
		w.and(key+` < $$`, last)
	}
	if f.SystemID != "" {
		w.and(`system_id = $$`, f.SystemID)
	}
	if f.CheckID != "" {
		w.and(`check_id = $$`, f.CheckID)
	}
	if f.SatelliteID != "" {
		w.and(`satellite_id = $$`, f.SatelliteID)
	}
	if !f.From.IsZero() {
		w.and(key+` >= $$`, keyAt(f.From))
	}
	if !f.To.IsZero() {
		w.and(key+` < $$`, keyAt(f.To.Add(time.Millisecond)))
	}
	return &w, nil
}

// keyAt is the least key of a run in the millisecond of t: see check.RunID.
func keyAt(t time.Time) string { return fmt.Sprintf("%012x", min(max(0, t.UnixMilli()), 1<<48-1)) }

func (tx *Tx) InsertSkips(ctx context.Context, skips []health.Skip) error {
	skips = slices.SortedFunc(slices.Values(skips), func(a, b health.Skip) int { return cmp.Compare(a.ID, b.ID) })
	return chunks(skips, func(rows []health.Skip) error {
		return tx.insertMany(ctx, "skips", `ON CONFLICT (id) DO NOTHING`, len(rows), []column{
			col("id", "text", rows, func(s *health.Skip) string { return s.ID }),
			col("satellite_id", "text", rows, func(s *health.Skip) string { return s.SatelliteID }),
			col("check_id", "text", rows, func(s *health.Skip) string { return s.CheckID }),
			col("system_id", "text", rows, func(s *health.Skip) string { return s.SystemID }),
			col("environment_id", "text", rows, func(s *health.Skip) string { return s.EnvironmentID }),
			col("from_slot", "bigint", rows, func(s *health.Skip) int64 { return s.From.UnixMicro() }),
			col("to_slot", "bigint", rows, func(s *health.Skip) int64 { return s.To.UnixMicro() }),
			col("count", "bigint", rows, func(s *health.Skip) int64 { return s.Count }),
			col("reason", "text", rows, func(s *health.Skip) string { return stored(string(s.Reason)) }),
			col("asked", "text", rows, func(s *health.Skip) string { return string(s.Asked) }),
			col("received_at", "bigint", rows, func(s *health.Skip) int64 { return s.ReceivedAt.UnixMicro() }),
		})
	})
}

func scanSkip(row scanner) (health.Skip, error) {
	var s health.Skip
	return s, row.Scan(&s.ID, &s.SatelliteID, &s.CheckID, &s.SystemID, &s.EnvironmentID, moment{&s.From}, moment{&s.To},
		&s.Count, &s.Reason, &s.Asked, moment{&s.ReceivedAt})
}

// Skips are listed when any of their slots lies in the filter's span.
func (db *DB) Skips(ctx context.Context, f health.RunFilter, p fleet.Page) ([]health.Skip, string, error) {
	from := f.From
	f.From = time.Time{} // a skip that began earlier may reach into the span
	w, err := runConditions("id", f, p)
	if err != nil {
		return nil, "", err
	}
	if !from.IsZero() {
		w.and(`to_slot >= $$`, from.UnixMicro())
	}
	if !f.To.IsZero() {
		w.and(`from_slot < $$`, f.To.UnixMicro())
	}
	rows, err := all(ctx, db.reads(), scanSkip, `SELECT id, satellite_id, check_id, system_id, environment_id, from_slot, to_slot, count, reason, asked, received_at
		FROM skips`+w.String()+` ORDER BY id DESC LIMIT `+w.arg(limit(p)+1), w.args...)
	if err != nil {
		return nil, "", err
	}
	items, next := paged(rows, p, func(s health.Skip) string { return s.ID })
	return items, next, nil
}

func (tx *Tx) PairNames(ctx context.Context, pairs []health.Pair) (map[health.Pair]health.PairName, error) {
	var systemIDs, checkIDs []string
	for _, p := range pairs {
		systemIDs, checkIDs = append(systemIDs, p.SystemID), append(checkIDs, p.CheckID)
	}
	systems, err := tx.namesOf(ctx, `SELECT id, name FROM systems WHERE id = ANY($1)`, systemIDs)
	if err != nil {
		return nil, err
	}
	checks, err := tx.namesOf(ctx, `SELECT id, name FROM checks WHERE id = ANY($1)`, checkIDs)
	if err != nil {
		return nil, err
	}
	maintained := map[health.Pair]bool{} // without a check: all of the system's
	for p, err := range each(ctx, tx.conn, func(row scanner) (p health.Pair, err error) { return p, row.Scan(&p.SystemID, &p.CheckID) },
		`SELECT system_id, check_id FROM maintained WHERE to_at IS NULL AND system_id = ANY($1)`, slices.Compact(systemIDs)) {
		if err != nil {
			return nil, err
		}
		maintained[p] = true
	}
	names := map[health.Pair]health.PairName{}
	for _, p := range pairs {
		names[p] = health.PairName{System: systems[p.SystemID], Check: checks[p.CheckID], Maintained: maintained[p] || maintained[health.Pair{SystemID: p.SystemID}]}
	}
	return names, nil
}

func (tx *Tx) namesOf(ctx context.Context, q string, ids []string) (map[string]string, error) {
	slices.Sort(ids)
	names := map[string]string{}
	type named struct{ id, name string }
	for n, err := range each(ctx, tx.conn, func(row scanner) (n named, err error) { return n, row.Scan(&n.id, &n.name) }, q, slices.Compact(ids)) {
		if err != nil {
			return nil, err
		}
		names[n.id] = n.name
	}
	return names, nil
}
