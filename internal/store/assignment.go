package store

import (
	"context"
	"fmt"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

const assignmentRows = `SELECT a.id, a.name, a.labels, a.check_id, a.system_id, c.name, y.name, a.include_local, a.satellites,
	a.environments, a.satellite_environments, a.enabled, a.policy, a.created_at, a.updated_at
	FROM assignments AS a JOIN checks AS c ON c.id = a.check_id JOIN systems AS y ON y.id = a.system_id`

func scanAssignment(row scanner) (catalog.Assignment, error) {
	a := catalog.Assignment{Labels: map[string]string{}, Placed: []string{}}
	err := row.Scan(&a.ID, &a.Name, document{&a.Labels}, &a.CheckID, &a.SystemID, &a.CheckName, &a.SystemName, &a.IncludeLocal,
		document{&a.Satellites}, document{&a.Environments}, document{&a.SatelliteEnvironments}, &a.Enabled, document{&a.Policy},
		moment{&a.CreatedAt}, moment{&a.UpdatedAt})
	if len(a.SatelliteEnvironments) == 0 {
		a.SatelliteEnvironments = nil
	}
	return a, err
}

func assignmentNamed(what string) string { return fmt.Sprintf("assignment %q", what) }

func (db *DB) Assignment(ctx context.Context, id string) (catalog.Assignment, error) {
	return db.assignment(ctx, "a.id", id)
}

func (db *DB) AssignmentByName(ctx context.Context, name string) (catalog.Assignment, error) {
	return db.assignment(ctx, "a.name", name)
}

func (db *DB) assignment(ctx context.Context, column, key string) (catalog.Assignment, error) {
	a, err := one(ctx, db.reads(), assignmentNamed(key), scanAssignment, assignmentRows+` WHERE `+column+` = $1`, key)
	if err != nil {
		return a, err
	}
	items := []catalog.Assignment{a}
	return items[0], fillPlaced(ctx, db.reads(), items)
}

func (db *DB) Assignments(ctx context.Context, p fleet.Page) ([]catalog.Assignment, string, error) {
	items, next, err := pageByName(ctx, db.reads(), &where{}, "a.name", assignmentRows, scanAssignment, p, func(a catalog.Assignment) string { return a.Name })
	if err != nil {
		return nil, "", err
	}
	return items, next, fillPlaced(ctx, db.reads(), items)
}

// AllAssignments leaves Placed empty.
func (tx *Tx) AllAssignments(ctx context.Context) ([]catalog.Assignment, error) {
	return all(ctx, tx.conn, scanAssignment, assignmentRows+` ORDER BY a.name`)
}

// fillPlaced fills in the names of the satellites on which the assignments are.
func fillPlaced(ctx context.Context, c conn, items []catalog.Assignment) error {
	at := make(map[string]int, len(items))
	ids := make([]string, len(items))
	for i, a := range items {
		at[a.ID], ids[i] = i, a.ID
	}
	placed, err := pairs(ctx, c, `SELECT p.assignment_id, s.name FROM placements AS p JOIN satellites AS s ON s.id = p.satellite_id
		WHERE p.removed_at IS NULL AND p.assignment_id = ANY($1) ORDER BY s.name`, ids)
	if err != nil {
		return err
	}
	for id, names := range placed {
		items[at[id]].Placed = names
	}
	seats, err := seatsOf(ctx, c, ids)
	for _, seat := range seats {
		a := &items[at[seat.AssignmentID]]
		a.Seats = append(a.Seats, seat)
	}
	return err
}

func (tx *Tx) PutAssignments(ctx context.Context, all ...catalog.Assignment) error {
	if err := tx.touch(ctx, "assignments", keys(all, func(a catalog.Assignment) string { return a.ID })...); err != nil {
		return err
	}
	for i := range all {
		tx.turn(all[i].CheckID)
	}
	now, err := tx.Now(ctx)
	if err != nil {
		return err
	}
	type row struct {
		catalog.Assignment
		labels, satellites, policy, narrowed string
		environments                         *string
	}
	return putNamed(ctx, tx, "assignments", `ON CONFLICT (id) DO UPDATE SET name = excluded.name, labels = excluded.labels, check_id = excluded.check_id,
			system_id = excluded.system_id, include_local = excluded.include_local, satellites = excluded.satellites,
			enabled = excluded.enabled, updated_at = excluded.updated_at, seats = excluded.seats, policy = excluded.policy,
			environments = excluded.environments, satellite_environments = excluded.satellite_environments`,
		all, func(a catalog.Assignment) string { return a.Name },
		func(a catalog.Assignment) (r row, err error) {
			r.Assignment = a
			if r.labels, err = labelText(a.Labels); err != nil {
				return r, err
			}
			if r.satellites, err = jsonText(a.Satellites); err != nil {
				return r, err
			}
			if r.policy, err = jsonText(a.Policy); err != nil {
				return r, err
			}
			r.environments, r.narrowed, err = choiceTexts(a)
			return r, err
		},
		func(rows []row) []column {
			return []column{
				col("id", "text", rows, func(r *row) string { return r.ID }),
				col("name", "text", rows, func(r *row) string { return r.Name }),
				col("labels", "text", rows, func(r *row) string { return r.labels }),
				col("check_id", "text", rows, func(r *row) string { return r.CheckID }),
				col("system_id", "text", rows, func(r *row) string { return r.SystemID }),
				col("include_local", "boolean", rows, func(r *row) bool { return r.IncludeLocal }),
				col("satellites", "text", rows, func(r *row) string { return r.satellites }),
				col("enabled", "boolean", rows, func(r *row) bool { return r.Enabled }),
				col("created_at", "bigint", rows, func(r *row) int64 { return microsOr(r.CreatedAt, now) }),
				col("updated_at", "bigint", rows, func(r *row) int64 { return microsOr(r.UpdatedAt, now) }),
				col("seats", "bigint", rows, func(r *row) int64 { return int64(r.Satellites.Count) }),
				col("policy", "text", rows, func(r *row) string { return r.policy }),
				col("environments", "text", rows, func(r *row) *string { return r.environments }),
				col("satellite_environments", "text", rows, func(r *row) string { return r.narrowed }),
			}
		})
}

// DeleteAssignment makes its placements grants.
func (tx *Tx) DeleteAssignment(ctx context.Context, id string) error {
	if err := tx.touch(ctx, "assignments", id); err != nil {
		return err
	}
	if err := tx.revoke(ctx, "assignment_id", id); err != nil {
		return err
	}
	return tx.execOne(ctx, assignmentNamed(id), `DELETE FROM assignments WHERE id = $1`, id)
}
