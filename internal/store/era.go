package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/protocol"
)

// turn notes that something else may be due of the check after this transaction.
func (tx *Tx) turn(checkID string) {
	if tx.turned == nil {
		tx.turned = map[string]bool{}
	}
	tx.turned[checkID] = true
}

// turnMaintained is turn of the checks that came into maintenance or left it.
func (tx *Tx) turnMaintained(ctx context.Context, all []catalog.Maintained) error {
	whole := map[string]bool{}
	for _, m := range all {
		if m.CheckID != "" {
			tx.turn(m.CheckID)
		} else if !whole[m.SystemID] {
			whole[m.SystemID] = true
			if err := tx.turnWhere(ctx, "system_id", m.SystemID); err != nil {
				return err
			}
		}
	}
	return nil
}

// turnWhere is turn of the checks of the placements that name one of the ids in the column.
func (tx *Tx) turnWhere(ctx context.Context, column string, ids ...string) error {
	for checkID, err := range each(ctx, tx.conn, scanString, `SELECT DISTINCT check_id FROM placements WHERE `+column+` = ANY($1)`, ids) {
		if err != nil {
			return err
		}
		tx.turn(checkID)
	}
	return nil
}

// dueNow is what is due of checks, as the definitions and placements say. A seat that
// is handed over is due up to then. Each environment is due by itself.
const dueNow = `SELECT p.satellite_id, p.check_id, p.system_id, c.interval_us / 1000, p.seat,
		CASE WHEN NOT a.enabled THEN 'disabled' WHEN c.paused THEN 'paused' WHEN ` + pausedNow + ` THEN 'maintenance' ELSE 'active' END,
		s.desired_revision, GREATEST($2, coalesce(p.since, 0)), p.removed_at,
		CASE WHEN r.applied_revision >= s.desired_revision THEN $2::bigint END,
		s.name, ` + environmentColumns + `
	FROM placements AS p
	JOIN assignments AS a ON a.id = p.assignment_id AND a.check_id = p.check_id AND a.system_id = p.system_id
	JOIN checks AS c ON c.id = p.check_id
	JOIN systems AS y ON y.id = p.system_id
	JOIN satellites AS s ON s.id = p.satellite_id
	LEFT JOIN satellite_reports AS r ON r.satellite_id = p.satellite_id
	WHERE (p.removed_at IS NULL OR p.removed_at > $2) AND p.check_id = ANY($1)
	ORDER BY p.satellite_id, p.check_id, p.system_id`

// turnEras makes the eras of the checks that were turned what is due of them now. It is
// the last thing in every transaction, and the only place where eras begin and end, so
// that nothing that changes what is due can forget them.
func (tx *Tx) turnEras(ctx context.Context) error {
	if len(tx.turned) == 0 {
		return nil
	}
	now, err := tx.Now(ctx)
	if err != nil {
		return err
	}
	return chunks(sortedKeys(tx.turned), func(checkIDs []string) error {
		var due []health.Era
		for d, err := range each(ctx, tx.conn, scanDue, dueNow, checkIDs, now.UnixMicro()) {
			if err != nil {
				return fmt.Errorf("reading what is due: %w", err)
			}
			due = append(due, d.perEnvironment()...)
		}
		open, err := all(ctx, tx.conn, scanEra, `SELECT `+eraColumns+` FROM eras AS e WHERE e.check_id = ANY($1) AND (e.until IS NULL OR e.until > $2)`, checkIDs, now.UnixMicro())
		if err != nil {
			return fmt.Errorf("reading eras: %w", err)
		}
		ended, begun := turned(open, due, now)
		if err := tx.endEras(ctx, ended); err != nil {
			return fmt.Errorf("ending eras: %w", err)
		}
		if err := tx.beginEras(ctx, begun); err != nil {
			return fmt.Errorf("beginning eras: %w", err)
		}
		return nil
	})
}

// turned gives the open eras that end, or end at another time, and those that begin.
func turned(open, due []health.Era, now time.Time) (ended, begun []health.Era) {
	goesOn := make(map[health.LocationKey]*health.Era, len(due))
	for i := range due {
		goesOn[due[i].Location()] = &due[i]
	}
	for _, e := range open {
		d := goesOn[e.Location()]
		if d == nil || d.IntervalMs != e.IntervalMs || d.Seat != e.Seat || d.State != e.State {
			end := now
			if e.Since.After(now) { // it never came
				end = e.Since
			}
			e.Until = &end
			ended = append(ended, e)
			continue
		}
		delete(goesOn, e.Location())
		if !sameMoment(d.Until, e.Until) {
			e.Until = d.Until
			ended = append(ended, e)
		}
	}
	for i := range due {
		if goesOn[due[i].Location()] == &due[i] {
			begun = append(begun, due[i])
		}
	}
	return ended, begun
}

func sameMoment(a, b *time.Time) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(*b)
}

func (tx *Tx) endEras(ctx context.Context, eras []health.Era) error {
	return chunks(eras, func(rows []health.Era) error {
		cols := []column{
			col("id", "bigint", rows, func(e *health.Era) int64 { return e.ID }),
			col("until", "bigint", rows, func(e *health.Era) *int64 { return microsOrNil(e.Until) }),
		}
		if tx.db.dialect == sqlite {
			return tx.repeat(ctx, `UPDATE eras SET until = $2 WHERE id = $1`, len(rows), cols, func(int, int64) {})
		}
		table, args := unnest(cols)
		_, err := tx.exec(ctx, `UPDATE eras AS e SET until = b.until FROM `+table+` WHERE e.id = b.id`, args...)
		return err
	})
}

func (tx *Tx) beginEras(ctx context.Context, eras []health.Era) error {
	return chunks(eras, func(rows []health.Era) error {
		return tx.insertMany(ctx, "eras", "", len(rows), []column{
			col("satellite_id", "text", rows, func(e *health.Era) string { return e.SatelliteID }),
			col("check_id", "text", rows, func(e *health.Era) string { return e.CheckID }),
			col("system_id", "text", rows, func(e *health.Era) string { return e.SystemID }),
			col("environment_id", "text", rows, func(e *health.Era) string { return e.EnvironmentID }),
			col("interval_ms", "bigint", rows, func(e *health.Era) int64 { return e.IntervalMs }),
			col("seat", "bigint", rows, func(e *health.Era) int64 { return int64(e.Seat) }),
			col("state", "text", rows, func(e *health.Era) string { return string(e.State) }),
			col("revision", "bigint", rows, func(e *health.Era) int64 { return e.Revision }),
			col("since", "bigint", rows, func(e *health.Era) int64 { return e.Since.UnixMicro() }),
			col("until", "bigint", rows, func(e *health.Era) *int64 { return microsOrNil(e.Until) }),
			col("told_at", "bigint", rows, func(e *health.Era) *int64 { return microsOrNil(e.ToldAt) }),
		})
	})
}

// told notes that the satellite works by the revision. Pairs that it cannot carry out
// are not told of: nothing of them will be run.
func (tx *Tx) told(ctx context.Context, satelliteID string, applied protocol.Applied) error {
	refused := []string{}
	for _, e := range applied.Errors {
		refused = append(refused, e.ConfigID+":"+e.SystemID)
	}
	_, err := tx.exec(ctx, `UPDATE eras SET told_at = {now} WHERE satellite_id = $1 AND revision <= $2 AND told_at IS NULL
		AND NOT (check_id || ':' || system_id = ANY($3))`, satelliteID, applied.Revision, refused)
	return err
}

// FillEras begins eras for what is due and has none: in a database of before there
// were any, or that was altered from outside.
func (db *DB) FillEras(ctx context.Context) error {
	return db.InTx(ctx, func(etx entity.Tx) error {
		tx := etx.(*Tx)
		if err := tx.LockDefinitions(ctx); err != nil {
			return err
		}
		for id, err := range each(ctx, tx.conn, scanString, `SELECT check_id FROM placements UNION SELECT check_id FROM eras WHERE until IS NULL`) {
			if err != nil {
				return err
			}
			tx.turn(id)
		}
		return nil
	})
}

// PurgeEras forgets eras that ended before then.
func (db *DB) PurgeEras(ctx context.Context, before time.Time) (gone int64, err error) {
	return db.writes().exec(ctx, `DELETE FROM eras WHERE until < $1`, before.UnixMicro())
}

const eraColumns = `e.id, e.satellite_id, e.check_id, e.system_id, e.environment_id, e.interval_ms, e.seat, e.state, e.revision, e.since, e.until, e.told_at`

func scanEra(row scanner) (health.Era, error) {
	var e health.Era
	return e, row.Scan(&e.ID, &e.SatelliteID, &e.CheckID, &e.SystemID, &e.EnvironmentID, &e.IntervalMs, &e.Seat, &e.State, &e.Revision,
		moment{&e.Since}, momentOrNil{&e.Until}, momentOrNil{&e.ToldAt})
}

// placementDue is what is due of a placement.
type placementDue struct {
	health.Era
	satellite string
	environments
}

func scanDue(row scanner) (placementDue, error) {
	var d placementDue
	return d, row.Scan(append([]any{
		&d.SatelliteID, &d.CheckID, &d.SystemID, &d.IntervalMs, &d.Seat, &d.State, &d.Revision,
		moment{&d.Since},
		momentOrNil{&d.Until},
		momentOrNil{&d.ToldAt},
		&d.satellite,
	}, d.environments.dest()...)...)
}

// perEnvironment is one era for each environment, or the one without.
func (d *placementDue) perEnvironment() []health.Era {
	in := d.on(d.satellite)
	if len(in) == 0 {
		return []health.Era{d.Era}
	}
	eras := make([]health.Era, len(in))
	for i := range in {
		eras[i] = d.Era
		eras[i].EnvironmentID = in[i].ID
	}
	return eras
}

// Eras lists eras that reach into the filter's window, in the order in which they began.
func (db *DB) Eras(ctx context.Context, f health.RunFilter, p fleet.Page) ([]health.Era, string, error) {
	last, err := after(p)
	if err != nil {
		return nil, "", err
	}
	w := eraConditions(f)
	if last != "" {
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil {
			return nil, "", fault.New(fault.Invalid, "the cursor is not one of ours")
		}
		w.and(`e.id > $$`, n)
	}
	rows, err := all(ctx, db.reads(), scanEra, `SELECT `+eraColumns+` FROM eras AS e`+w.String()+` ORDER BY e.id LIMIT `+w.arg(limit(p)+1), w.args...)
	if err != nil {
		return nil, "", err
	}
	items, next := paged(rows, p, func(e health.Era) string { return strconv.FormatInt(e.ID, 10) })
	return items, next, nil
}

// eraConditions narrows by whom, and to eras that reach into the window.
func eraConditions(f health.RunFilter) *where {
	var w where
	for _, c := range []struct{ column, value string }{{"system_id", f.SystemID}, {"check_id", f.CheckID}, {"satellite_id", f.SatelliteID}} {
		if c.value != "" {
			w.and(`e.`+c.column+` = $$`, c.value)
		}
	}
	if !f.From.IsZero() {
		w.and(`(e.until IS NULL OR e.until >= $$)`, f.From.UnixMicro())
	}
	if !f.To.IsZero() {
		w.and(`e.since < $$`, f.To.UnixMicro())
	}
	return &w
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
