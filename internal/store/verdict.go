package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/protocol"
	"github.com/perigee-monitoring/perigee/verdict"
)

func keyOrder(a, b health.LocationKey) int {
	return cmp.Or(cmp.Compare(a.SystemID, b.SystemID), cmp.Compare(a.CheckID, b.CheckID),
		cmp.Compare(a.SatelliteID, b.SatelliteID), cmp.Compare(a.EnvironmentID, b.EnvironmentID))
}

const locationColumns = `l.system_id, l.check_id, l.satellite_id, l.environment_id, l.status, l.since, l.executed_at, l.received_at, l.run_id, l.latency_ms, l.message, l.memory`

func scanLocation(row scanner) (health.Location, error) {
	var l health.Location
	return l, row.Scan(&l.SystemID, &l.CheckID, &l.SatelliteID, &l.EnvironmentID, &l.Status, moment{&l.Since},
		moment{&l.ExecutedAt}, moment{&l.ReceivedAt}, &l.RunID, &l.LatencyMs, &l.Message, document{&l.Memory}, policyText{&l.Policy})
}

// policyText reads a policy; most are the original's, which need no decoding.
type policyText struct{ into *check.Policy }

func (p policyText) Scan(src any) error {
	if src == nil || src == "{}" {
		*p.into = check.Policy{}
		return nil
	}
	return document{p.into}.Scan(src)
}

// keyColumns are keys as rows of their own.
func keyColumns[R any](rows []R, key func(*R) *health.LocationKey) []column {
	return []column{
		col("system_id", "text", rows, func(r *R) string { return key(r).SystemID }),
		col("check_id", "text", rows, func(r *R) string { return key(r).CheckID }),
		col("satellite_id", "text", rows, func(r *R) string { return key(r).SatelliteID }),
		col("environment_id", "text", rows, func(r *R) string { return key(r).EnvironmentID }),
	}
}

func (tx *Tx) LockLocations(ctx context.Context, keys []health.LocationKey) (map[health.LocationKey]health.Location, error) {
	locked := make(map[health.LocationKey]health.Location, len(keys))
	keys = slices.Compact(slices.SortedFunc(slices.Values(keys), keyOrder))
	err := chunks(keys, func(keys []health.LocationKey) error {
		table, args := keyTable(tx.db.dialect, keys)
		for l, err := range each(ctx, tx.conn, scanLocation, `SELECT `+locationColumns+`, a.policy FROM `+table+`
			JOIN locations AS l ON l.system_id = b.system_id AND l.check_id = b.check_id
				AND l.satellite_id = b.satellite_id AND l.environment_id = b.environment_id
			LEFT JOIN assignments AS a ON a.check_id = l.check_id AND a.system_id = l.system_id
			ORDER BY l.system_id, l.check_id, l.satellite_id, l.environment_id FOR NO KEY UPDATE OF l`, args...) {
			if err != nil {
				return err
			}
			locked[l.LocationKey] = l
		}
		return nil
	})
	return locked, err
}

func (tx *Tx) Policies(ctx context.Context, keys []health.LocationKey) (map[health.LocationKey]check.Policy, error) {
	policies := make(map[health.LocationKey]check.Policy, len(keys))
	err := chunks(keys, func(keys []health.LocationKey) error {
		table, args := keyTable(tx.db.dialect, keys)
		for l, err := range each(ctx, tx.conn, func(row scanner) (l health.Location, err error) {
			return l, row.Scan(&l.SystemID, &l.CheckID, &l.SatelliteID, &l.EnvironmentID, policyText{&l.Policy})
		}, `SELECT b.system_id, b.check_id, b.satellite_id, b.environment_id, a.policy FROM `+table+`
			JOIN assignments AS a ON a.check_id = b.check_id AND a.system_id = b.system_id`, args...) {
			if err != nil {
				return err
			}
			policies[l.LocationKey] = l.Policy
		}
		return nil
	})
	return policies, err
}

// keyTable gives keys as a table: in arrays to PostgreSQL, as JSON to SQLite.
func keyTable(d dialect, keys []health.LocationKey) (table string, args []any) {
	if d == postgres {
		return unnest(keyColumns(keys, func(k *health.LocationKey) *health.LocationKey { return k }))
	}
	flat := make([]string, 0, 4*len(keys))
	for _, k := range keys {
		flat = append(flat, k.SystemID, k.CheckID, k.SatelliteID, k.EnvironmentID)
	}
	return liteRows, []any{flat}
}

// liteRows reads a flat list back as rows of four.
const liteRows = `(SELECT max(CASE WHEN key % 4 = 0 THEN value END) AS system_id, max(CASE WHEN key % 4 = 1 THEN value END) AS check_id,
	max(CASE WHEN key % 4 = 2 THEN value END) AS satellite_id, max(CASE WHEN key % 4 = 3 THEN value END) AS environment_id
	FROM json_each($1) GROUP BY key / 4) AS b`

// PutLocations writes rows whose system, check and satellite still exist. Others
// are results of what was deleted meanwhile, and stand for nothing any more.
func (tx *Tx) PutLocations(ctx context.Context, rows []health.Location) error {
	rows = slices.SortedFunc(slices.Values(rows), func(a, b health.Location) int { return keyOrder(a.LocationKey, b.LocationKey) })
	return chunks(rows, func(rows []health.Location) error {
		cols := append(keyColumns(rows, func(l *health.Location) *health.LocationKey { return &l.LocationKey }),
			col("status", "text", rows, func(l *health.Location) string { return string(l.Status) }),
			col("since", "bigint", rows, func(l *health.Location) int64 { return l.Since.UnixMicro() }),
			col("executed_at", "bigint", rows, func(l *health.Location) int64 { return l.ExecutedAt.UnixMicro() }),
			col("received_at", "bigint", rows, func(l *health.Location) int64 { return l.ReceivedAt.UnixMicro() }),
			col("run_id", "text", rows, func(l *health.Location) string { return l.RunID }),
			col("latency_ms", "bigint", rows, func(l *health.Location) *int64 { return l.LatencyMs }),
			col("message", "text", rows, func(l *health.Location) string { return stored(l.Message) }),
			col("memory", "text", rows, memory),
		)
		if tx.db.dialect == sqlite {
			return tx.repeat(ctx, `INSERT INTO locations (`+locationNames+`) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12
				WHERE EXISTS (SELECT 1 FROM systems WHERE id = $1) AND EXISTS (SELECT 1 FROM checks WHERE id = $2)
				AND EXISTS (SELECT 1 FROM satellites WHERE id = $3) `+locationUpsert, len(rows), cols, func(int, int64) {})
		}
		table, args := unnest(cols)
		_, err := tx.exec(ctx, `INSERT INTO locations (`+locationNames+`) SELECT `+locationNames+` FROM `+table+`
			WHERE EXISTS (SELECT 1 FROM systems AS y WHERE y.id = b.system_id) AND EXISTS (SELECT 1 FROM checks AS c WHERE c.id = b.check_id)
			AND EXISTS (SELECT 1 FROM satellites AS s WHERE s.id = b.satellite_id) `+locationUpsert, args...)
		return err
	})
}

// memory is what a location remembers, as JSON; it always marshals.
func memory(l *health.Location) string {
	text, err := json.Marshal(l.Memory)
	if err != nil {
		return "{}"
	}
	return string(text)
}

const (
	locationNames  = `system_id, check_id, satellite_id, environment_id, status, since, executed_at, received_at, run_id, latency_ms, message, memory`
	locationUpsert = `ON CONFLICT (system_id, check_id, satellite_id, environment_id) DO UPDATE SET
		status = excluded.status, since = excluded.since, executed_at = excluded.executed_at, received_at = excluded.received_at,
		run_id = excluded.run_id, latency_ms = excluded.latency_ms, message = excluded.message, memory = excluded.memory`
)

func (db *DB) Seats(ctx context.Context, systemIDs []string) ([]health.Seat, error) {
	return seats(ctx, db.reads(), systemIDs)
}

func (tx *Tx) Seats(ctx context.Context, systemIDs []string) ([]health.Seat, error) {
	return seats(ctx, tx.conn, systemIDs)
}

// seats are the placements of enabled assignments whose check is not paused, one for
// each environment. A seat that is handed over is where it comes from until whoever got
// it has measured something, which must not make the system unknown.
func seats(ctx context.Context, c conn, systemIDs []string) ([]health.Seat, error) {
	q := `SELECT p.system_id, p.check_id, p.satellite_id, coalesce(l.environment_id, ''), k.name, s.name, s.region, ` + online + `, k.interval_us, ` + environmentColumns + `,
			p.seat, coalesce(p.since, 0), CASE WHEN p.removed_at <= {now} THEN p.removed_at END,
			a.id, a.name, a.updated_at, a.policy, l.status, l.since, l.executed_at, l.received_at, l.run_id, l.latency_ms, l.message, l.memory
		FROM placements AS p
		JOIN assignments AS a ON a.id = p.assignment_id AND a.enabled
		JOIN checks AS k ON k.id = p.check_id AND NOT k.paused
		JOIN systems AS y ON y.id = p.system_id
		JOIN satellites AS s ON s.id = p.satellite_id
		LEFT JOIN locations AS l ON l.system_id = p.system_id AND l.check_id = p.check_id AND l.satellite_id = p.satellite_id
		WHERE (p.removed_at IS NULL AND (p.seat = 0 OR coalesce(p.since, 0) <= {now}) OR p.seat > 0 AND p.removed_at > {now} - 2 * k.interval_us - 30000000)`
	const order = ` ORDER BY p.system_id, p.check_id, p.satellite_id, l.environment_id`
	var args []any
	if systemIDs != nil {
		if len(systemIDs) == 0 {
			return nil, nil
		}
		q, args = q+` AND p.system_id = ANY($1)`, []any{systemIDs}
	}
	rows, err := all(ctx, c, scanSeat, q+order, args...)
	if err != nil {
		return nil, err
	}
	seated, err := withBlind(ctx, c, perEnvironment(handedOver(rows)), systemIDs)
	if err != nil {
		return nil, err
	}
	if err := withRefusals(ctx, c, seated); err != nil {
		return nil, err
	}
	if err := upkeep(ctx, c, seated, systemIDs); err != nil {
		return nil, err
	}
	return seated, withOpinions(ctx, c, systemIDs, seated)
}

// withRefusals adds to the seats why their satellites leave the checks out.
func withRefusals(ctx context.Context, c conn, seats []health.Seat) error {
	var satellites []string
	for i := range seats {
		satellites = append(satellites, seats[i].SatelliteID)
	}
	slices.Sort(satellites)
	satellites = slices.Compact(satellites)
	type key struct {
		satellite string
		protocol.Pair
	}
	reasons := map[key]string{}
	type told struct{ satellite, errors string }
	for t, err := range each(ctx, c, func(row scanner) (t told, err error) { return t, row.Scan(&t.satellite, &t.errors) },
		`SELECT satellite_id, applied_errors FROM satellite_reports WHERE satellite_id = ANY($1) AND applied_errors LIKE '[{%'`, satellites) {
		if err != nil {
			return err
		}
		var errors []protocol.AppliedError
		if err := json.Unmarshal([]byte(t.errors), &errors); err != nil {
			return fmt.Errorf("reading what satellite %s could not take in: %w", t.satellite, err)
		}
		for _, e := range errors {
			reasons[key{t.satellite, e.Pair}] = e.Message
		}
	}
	for i := range seats {
		seats[i].Refused = reasons[key{seats[i].SatelliteID, protocol.Pair{ConfigID: seats[i].CheckID, SystemID: seats[i].SystemID}}]
	}
	return nil
}

func scanSeat(row scanner) (heard, error) {
	var s heard
	var interval int64
	var status *check.Status
	var since, executed, received *time.Time
	var runID, message *string
	var latency *int64
	var remembered verdict.Memory
	dest := append([]any{&s.SystemID, &s.CheckID, &s.SatelliteID, &s.EnvironmentID, &s.CheckName, &s.SatelliteName, &s.Region, &s.Online, &interval}, s.dest()...)
	err := row.Scan(append(dest, &s.seat, moment{&s.since}, momentOrNil{&s.left}, &s.Assignment.ID, &s.Assignment.Name, momentOrNil{&s.Assignment.Changed}, policyText{&s.Policy},
		&status, momentOrNil{&since}, momentOrNil{&executed}, momentOrNil{&received}, &runID, &latency, &message, document{&remembered})...)
	if err != nil {
		return s, err
	}
	s.Interval = check.Duration(time.Duration(interval) * time.Microsecond)
	if status != nil {
		s.Location = &health.Location{
			LocationKey: s.LocationKey, RunID: *runID, LatencyMs: latency, Message: *message, Policy: s.Policy,
			State: verdict.State{Status: *status, Since: *since, ExecutedAt: *executed, ReceivedAt: *received, Memory: remembered},
		}
	}
	return s, nil
}

// LockSystems locks first and reads then: a verdict that was written while it
// waited is seen only by a statement that begins afterwards.
func (tx *Tx) LockSystems(ctx context.Context, ids []string) (map[string]health.SystemHealth, error) {
	locked := make(map[string]health.SystemHealth, len(ids))
	if len(ids) == 0 {
		return locked, nil
	}
	existing, err := all(ctx, tx.conn, scanString, `SELECT id FROM systems WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE`, ids)
	if err != nil {
		return nil, err
	}
	known, err := systemHealths(ctx, tx.conn, existing)
	if err != nil {
		return nil, err
	}
	for _, id := range existing {
		h, ok := known[id]
		if !ok {
			h = health.SystemHealth{SystemID: id, Status: check.Unknown}
		}
		locked[id] = h
	}
	return locked, nil
}

func (db *DB) SystemHealths(ctx context.Context, ids []string) (map[string]health.SystemHealth, error) {
	return systemHealths(ctx, db.reads(), ids)
}

func (tx *Tx) SystemHealths(ctx context.Context, ids []string) (map[string]health.SystemHealth, error) {
	return systemHealths(ctx, tx.conn, ids)
}

func systemHealths(ctx context.Context, c conn, ids []string) (map[string]health.SystemHealth, error) {
	found := map[string]health.SystemHealth{}
	q := `SELECT system_id, status, healthy_checks, total_checks, since, reason, told, maintenance, suppressed_by FROM system_health`
	var args []any
	switch {
	case ids != nil && len(ids) == 0:
		return found, nil
	case ids != nil:
		q, args = q+` WHERE system_id = ANY($1)`, []any{ids}
	}
	for h, err := range each(ctx, c, func(row scanner) (h health.SystemHealth, err error) {
		return h, row.Scan(&h.SystemID, &h.Status, &h.HealthyChecks, &h.TotalChecks, moment{&h.Since}, &h.Reason, &h.Told, &h.Maintenance, &h.SuppressedBy)
	}, q, args...) {
		if err != nil {
			return nil, err
		}
		found[h.SystemID] = h
	}
	return found, nil
}

// PutSystemHealths expects systems that LockSystems has locked.
func (tx *Tx) PutSystemHealths(ctx context.Context, rows []health.SystemHealth) error {
	rows = slices.SortedFunc(slices.Values(rows), func(a, b health.SystemHealth) int { return cmp.Compare(a.SystemID, b.SystemID) })
	return chunks(rows, func(rows []health.SystemHealth) error {
		return tx.insertMany(ctx, "system_health", `ON CONFLICT (system_id) DO UPDATE SET status = excluded.status,
			healthy_checks = excluded.healthy_checks, total_checks = excluded.total_checks, since = excluded.since, reason = excluded.reason,
			told = excluded.told, maintenance = excluded.maintenance, suppressed_by = excluded.suppressed_by`,
			len(rows), []column{
				col("system_id", "text", rows, func(h *health.SystemHealth) string { return h.SystemID }),
				col("status", "text", rows, func(h *health.SystemHealth) string { return string(h.Status) }),
				col("healthy_checks", "bigint", rows, func(h *health.SystemHealth) int64 { return int64(h.HealthyChecks) }),
				col("total_checks", "bigint", rows, func(h *health.SystemHealth) int64 { return int64(h.TotalChecks) }),
				col("since", "bigint", rows, func(h *health.SystemHealth) int64 { return h.Since.UnixMicro() }),
				col("reason", "text", rows, func(h *health.SystemHealth) string { return stored(h.Reason) }),
				col("told", "text", rows, func(h *health.SystemHealth) string { return string(h.Told) }),
				col("maintenance", "boolean", rows, func(h *health.SystemHealth) bool { return h.Maintenance }),
				col("suppressed_by", "text", rows, func(h *health.SystemHealth) string { return h.SuppressedBy }),
			})
	})
}

const verdictColumns = `id, system_id, check_id, environment_id, status, reason, class, word, at, until, told`

func scanVerdict(row scanner) (verdict.Verdict, error) {
	var v verdict.Verdict
	return v, row.Scan(&v.ID, &v.SystemID, &v.CheckID, &v.EnvironmentID, &v.Status, &v.Reason, &v.Class, &v.Word, moment{&v.At}, momentOrNil{&v.Until}, &v.Told)
}

func (db *DB) Verdicts(ctx context.Context, systemIDs []string) ([]verdict.Verdict, error) {
	return verdicts(ctx, db.reads(), systemIDs)
}

func (tx *Tx) Verdicts(ctx context.Context, systemIDs []string) ([]verdict.Verdict, error) {
	return verdicts(ctx, tx.conn, systemIDs)
}

func verdicts(ctx context.Context, c conn, systemIDs []string) ([]verdict.Verdict, error) {
	const q, order = `SELECT ` + verdictColumns + ` FROM verdicts WHERE until IS NULL`, ` ORDER BY system_id, check_id, environment_id`
	switch {
	case systemIDs == nil:
		return all(ctx, c, scanVerdict, q+order)
	case len(systemIDs) == 0:
		return nil, nil
	default:
		return all(ctx, c, scanVerdict, q+` AND system_id = ANY($1)`+order, systemIDs)
	}
}

func (db *DB) VerdictHistory(ctx context.Context, f health.VerdictFilter, p fleet.Page) ([]verdict.Verdict, string, error) {
	last, err := after(p)
	if err != nil {
		return nil, "", err
	}
	var w where
	if last != "" {
		w.and(`id < $$`, last)
	}
	if f.CheckID != "" {
		w.and(`check_id = $$`, f.CheckID)
	}
	if f.SystemID != "" {
		w.and(`system_id = $$`, f.SystemID)
	}
	rows, err := all(ctx, db.reads(), scanVerdict, `SELECT `+verdictColumns+` FROM verdicts`+w.String()+` ORDER BY id DESC LIMIT `+w.arg(limit(p)+1), w.args...)
	if err != nil {
		return nil, "", err
	}
	items, next := paged(rows, p, func(v verdict.Verdict) string { return v.ID })
	return items, next, nil
}

// Evidence gives the system its present name: it may have been renamed since.
func (db *DB) Evidence(ctx context.Context, verdictID string) (verdict.Judged, error) {
	return one(ctx, db.reads(), fmt.Sprintf("verdict %q", verdictID), func(row scanner) (j verdict.Judged, err error) {
		v, system := &j.Verdict, ""
		err = row.Scan(&v.ID, &v.SystemID, &v.CheckID, &v.EnvironmentID, &v.Status, &v.Reason, &v.Class, &v.Word, moment{&v.At}, momentOrNil{&v.Until}, &v.Told, document{&j.Evidence}, &system)
		j.Evidence.System.Name = system
		return j, err
	}, `SELECT v.id, v.system_id, v.check_id, v.environment_id, v.status, v.reason, v.class, v.word, v.at, v.until, v.told, v.evidence, y.name
		FROM verdicts AS v JOIN systems AS y ON y.id = v.system_id WHERE v.id = $1`, verdictID)
}

// PurgeVerdicts forgets verdicts that ended before then, with their evidence.
func (db *DB) PurgeVerdicts(ctx context.Context, before time.Time) (gone int64, err error) {
	return db.purge(ctx, `DELETE FROM verdicts WHERE id IN (SELECT id FROM verdicts WHERE until < $1 ORDER BY until LIMIT $2)`,
		verdictPiece, before.UnixMicro(), verdictPiece)
}

// verdictPiece is how many verdicts one statement forgets; evidence may be long.
const verdictPiece int64 = 500

// PutVerdicts ends first: only one verdict of a check holds at a time.
func (tx *Tx) PutVerdicts(ctx context.Context, at time.Time, end []string, begin []verdict.Judged) error {
	if len(end) > 0 {
		if _, err := tx.exec(ctx, `UPDATE verdicts SET until = $1 WHERE id = ANY($2)`, at.UnixMicro(), end); err != nil {
			return err
		}
	}
	evidence := make(map[string]string, len(begin))
	for i := range begin {
		text, err := jsonText(begin[i].Evidence)
		if err != nil {
			return err
		}
		evidence[begin[i].Verdict.ID] = stored(text)
	}
	return chunks(begin, func(rows []verdict.Judged) error {
		return tx.insertMany(ctx, "verdicts", "", len(rows), []column{
			col("id", "text", rows, func(v *verdict.Judged) string { return v.Verdict.ID }),
			col("system_id", "text", rows, func(v *verdict.Judged) string { return v.Verdict.SystemID }),
			col("check_id", "text", rows, func(v *verdict.Judged) string { return v.Verdict.CheckID }),
			col("environment_id", "text", rows, func(v *verdict.Judged) string { return v.Verdict.EnvironmentID }),
			col("status", "text", rows, func(v *verdict.Judged) string { return string(v.Verdict.Status) }),
			col("reason", "text", rows, func(v *verdict.Judged) string { return stored(v.Verdict.Reason) }),
			col("class", "text", rows, func(v *verdict.Judged) string { return string(v.Verdict.Class) }),
			col("word", "text", rows, func(v *verdict.Judged) string { return stored(v.Verdict.Word) }),
			col("at", "bigint", rows, func(v *verdict.Judged) int64 { return v.Verdict.At.UnixMicro() }),
			col("told", "text", rows, func(v *verdict.Judged) string { return string(v.Verdict.Told) }),
			col("evidence", "text", rows, func(v *verdict.Judged) string { return evidence[v.Verdict.ID] }),
		})
	})
}

func (tx *Tx) TellVerdicts(ctx context.Context, told map[check.Status][]string) error {
	for _, status := range slices.Sorted(maps.Keys(told)) {
		if _, err := tx.exec(ctx, `UPDATE verdicts SET told = $1 WHERE id = ANY($2)`, string(status), told[status]); err != nil {
			return err
		}
	}
	return nil
}
