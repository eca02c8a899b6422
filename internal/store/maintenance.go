package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
)

const maintenanceRows = `SELECT m.id, m.name, m.description, m.labels, m.mode, m.systems, m.checks, m.starts_at, m.ends_at, m.schedule,
	m.ended_before, m.active, m.created_at, m.updated_at FROM maintenances AS m`

func scanMaintenance(row scanner) (catalog.Maintenance, error) {
	m := catalog.Maintenance{Labels: map[string]string{}, Checks: []string{}}
	return m, row.Scan(&m.ID, &m.Name, &m.Description, document{&m.Labels}, &m.Mode, document{&m.Systems}, document{&m.Checks},
		momentOrNil{&m.Start}, momentOrNil{&m.End}, document{&m.Schedule}, momentOrNil{&m.EndedBefore}, &m.Active,
		moment{&m.CreatedAt}, moment{&m.UpdatedAt})
}

func maintenanceNamed(what string) string { return fmt.Sprintf("maintenance %q", what) }

func (db *DB) Maintenance(ctx context.Context, id string) (catalog.Maintenance, error) {
	return one(ctx, db.reads(), maintenanceNamed(id), scanMaintenance, maintenanceRows+` WHERE m.id = $1`, id)
}

func (db *DB) MaintenanceByName(ctx context.Context, name string) (catalog.Maintenance, error) {
	return one(ctx, db.reads(), maintenanceNamed(name), scanMaintenance, maintenanceRows+` WHERE m.name = $1`, name)
}

func (db *DB) Maintenances(ctx context.Context, p fleet.Page) ([]catalog.Maintenance, string, error) {
	return pageByName(ctx, db.reads(), &where{}, "m.name", maintenanceRows, scanMaintenance, p, func(m catalog.Maintenance) string { return m.Name })
}

func (db *DB) DueMaintenances(ctx context.Context) ([]catalog.Maintenance, time.Time, error) {
	all, err := all(ctx, db.reads(), scanMaintenance, maintenanceRows+` WHERE m.active OR m.ends_at IS NULL OR m.ends_at > {now} ORDER BY m.name`)
	if err != nil {
		return nil, time.Time{}, err
	}
	now, err := db.Now(ctx)
	return all, now, err
}

func (tx *Tx) AllMaintenances(ctx context.Context) ([]catalog.Maintenance, error) {
	return all(ctx, tx.conn, scanMaintenance, maintenanceRows+` ORDER BY m.name`)
}

func (tx *Tx) PutMaintenance(ctx context.Context, m catalog.Maintenance) error {
	if err := tx.touch(ctx, "maintenances", m.ID); err != nil {
		return err
	}
	created, err := tx.orNow(ctx, m.CreatedAt)
	if err != nil {
		return err
	}
	updated, err := tx.orNow(ctx, m.UpdatedAt)
	if err != nil {
		return err
	}
	labels, err := labelText(m.Labels)
	if err != nil {
		return err
	}
	systems, err := jsonText(m.Systems)
	if err != nil {
		return err
	}
	checks, err := jsonText(append([]string{}, m.Checks...))
	if err != nil {
		return err
	}
	var schedule *string
	if m.Schedule != nil {
		text, err := jsonText(m.Schedule)
		if err != nil {
			return err
		}
		schedule = &text
	}
	_, err = tx.execNaming(ctx, m.Name, `INSERT INTO maintenances (id, name, description, labels, mode, systems, checks, starts_at, ends_at, schedule,
			ended_before, active, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, description = excluded.description, labels = excluded.labels, mode = excluded.mode,
			systems = excluded.systems, checks = excluded.checks, starts_at = excluded.starts_at, ends_at = excluded.ends_at,
			schedule = excluded.schedule, ended_before = excluded.ended_before, active = excluded.active, updated_at = excluded.updated_at`,
		m.ID, m.Name, m.Description, labels, m.Mode, systems, checks, microsOrNil(m.Start), microsOrNil(m.End), schedule,
		microsOrNil(m.EndedBefore), m.Active, created.UnixMicro(), updated.UnixMicro())
	return err
}

func (tx *Tx) DeleteMaintenance(ctx context.Context, id string) error {
	if err := tx.touch(ctx, "maintenances", id); err != nil {
		return err
	}
	return tx.execOne(ctx, maintenanceNamed(id), `DELETE FROM maintenances WHERE id = $1`, id)
}

func (tx *Tx) Maintained(ctx context.Context) ([]catalog.Maintained, error) {
	return all(ctx, tx.conn, func(row scanner) (m catalog.Maintained, err error) {
		return m, row.Scan(&m.MaintenanceID, &m.SystemID, &m.CheckID, &m.Mode)
	}, `SELECT maintenance_id, system_id, check_id, mode FROM maintained WHERE to_at IS NULL ORDER BY system_id, check_id, maintenance_id`)
}

// Maintain ends first: the mode of a maintenance may change.
func (tx *Tx) Maintain(ctx context.Context, begin, end []catalog.Maintained) error {
	now, err := tx.Now(ctx)
	if err != nil {
		return err
	}
	for _, m := range end {
		if _, err := tx.exec(ctx, `UPDATE maintained SET to_at = $4
			WHERE to_at IS NULL AND maintenance_id = $1 AND system_id = $2 AND check_id = $3`, m.MaintenanceID, m.SystemID, m.CheckID, now.UnixMicro()); err != nil {
			return err
		}
	}
	if err := tx.turnMaintained(ctx, slices.Concat(begin, end)); err != nil {
		return err
	}
	return chunks(begin, func(rows []catalog.Maintained) error {
		return tx.insertMany(ctx, "maintained", "", len(rows), []column{
			col("maintenance_id", "text", rows, func(m *catalog.Maintained) string { return m.MaintenanceID }),
			col("system_id", "text", rows, func(m *catalog.Maintained) string { return m.SystemID }),
			col("check_id", "text", rows, func(m *catalog.Maintained) string { return m.CheckID }),
			col("mode", "text", rows, func(m *catalog.Maintained) string { return string(m.Mode) }),
			col("from_at", "bigint", rows, func(*catalog.Maintained) int64 { return now.UnixMicro() }),
		})
	})
}

// pausedNow holds for a placement p that a maintenance keeps from being run.
const pausedNow = `EXISTS (SELECT 1 FROM maintained AS m WHERE m.to_at IS NULL AND m.mode = 'pause'
	AND m.system_id = p.system_id AND m.check_id IN ('', p.check_id))`

// span is in which modes a check of a system is in maintenance, and until when it was
// paused.
type span struct {
	systemID, checkID string
	health.Upkeep
}

// upkeepFor is how long the end of a maintenance may still bear on what is fresh: a few
// of the longest intervals that checks may have.
const upkeepFor = 4 * 24 * time.Hour

// upkeep fills in what maintenance means to the seats, which are of these systems
// (all when nil).
func upkeep(ctx context.Context, c conn, seats []health.Seat, systemIDs []string) error {
	q := `SELECT system_id, check_id, count(*) > count(to_at), count(*) > count(to_at) AND mode = 'pause', CASE WHEN mode = 'pause' THEN max(to_at) END
		FROM maintained WHERE (to_at IS NULL OR to_at > {now} - $1)`
	args := []any{upkeepFor.Microseconds()}
	if systemIDs != nil {
		q, args = q+` AND system_id = ANY($2)`, append(args, systemIDs)
	}
	type key struct{ systemID, checkID string }
	known := map[key]health.Upkeep{}
	for s, err := range each(ctx, c, func(row scanner) (s span, err error) {
		var until *time.Time
		err = row.Scan(&s.systemID, &s.checkID, &s.Maintained, &s.Paused, momentOrNil{&until})
		if until != nil {
			s.DueSince = *until
		}
		return s, err
	}, q+` GROUP BY system_id, check_id, mode`, args...) {
		if err != nil {
			return err
		}
		at := key{s.systemID, s.checkID}
		known[at] = both(known[at], s.Upkeep)
	}
	if len(known) == 0 {
		return nil
	}
	for i := range seats {
		s := &seats[i]
		s.Upkeep = both(known[key{s.SystemID, ""}], known[key{s.SystemID, s.CheckID}])
	}
	return nil
}

func both(a, b health.Upkeep) health.Upkeep {
	a.Maintained, a.Paused = a.Maintained || b.Maintained, a.Paused || b.Paused
	if b.DueSince.After(a.DueSince) {
		a.DueSince = b.DueSince
	}
	return a
}

// ForgetMaintained removes what was in maintenance until before then.
func (db *DB) ForgetMaintained(ctx context.Context, keep time.Duration) error {
	_, err := db.writes().exec(ctx, `DELETE FROM maintained WHERE to_at < {now} - $1`, keep.Microseconds())
	return err
}
