package store

import (
	"context"
	"fmt"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

const systemRows = `SELECT y.id, y.name, y.description, y.labels, y.fields, y.environments, y.created_at, y.updated_at FROM systems AS y`

func scanSystem(row scanner) (catalog.System, error) {
	s := catalog.System{Labels: map[string]string{}, Fields: map[string]any{}, Environments: []catalog.Environment{}, DependsOnIDs: []string{}, DependsOn: []string{}}
	return s, row.Scan(&s.ID, &s.Name, &s.Description, document{&s.Labels}, document{&s.Fields}, document{&s.Environments}, moment{&s.CreatedAt}, moment{&s.UpdatedAt})
}

func systemNamed(what string) string { return fmt.Sprintf("system %q", what) }

func (db *DB) System(ctx context.Context, id string) (catalog.System, error) {
	return db.system(ctx, "y.id", id)
}

func (db *DB) SystemByName(ctx context.Context, name string) (catalog.System, error) {
	return db.system(ctx, "y.name", name)
}

func (db *DB) system(ctx context.Context, column, key string) (catalog.System, error) {
	s, err := one(ctx, db.reads(), systemNamed(key), scanSystem, systemRows+` WHERE `+column+` = $1`, key)
	if err != nil {
		return s, err
	}
	items := []catalog.System{s}
	err = fillDependencies(ctx, db.reads(), items)
	return items[0], err
}

func (db *DB) Systems(ctx context.Context, p fleet.Page) ([]catalog.System, string, error) {
	items, next, err := pageByName(ctx, db.reads(), &where{}, "y.name", systemRows, scanSystem, p, func(s catalog.System) string { return s.Name })
	if err != nil {
		return nil, "", err
	}
	return items, next, fillDependencies(ctx, db.reads(), items)
}

func (tx *Tx) AllSystems(ctx context.Context) ([]catalog.System, error) {
	items, err := all(ctx, tx.conn, scanSystem, systemRows+` ORDER BY y.name`)
	if err != nil {
		return nil, err
	}
	return items, fillDependencies(ctx, tx.conn, items)
}

func (tx *Tx) PutSystems(ctx context.Context, all ...catalog.System) error {
	ids := keys(all, func(s catalog.System) string { return s.ID })
	if err := tx.touch(ctx, "systems", ids...); err != nil {
		return err
	}
	if err := tx.turnWhere(ctx, "system_id", ids...); err != nil { // their environments
		return err
	}
	now, err := tx.Now(ctx)
	if err != nil {
		return err
	}
	type row struct {
		catalog.System
		labels, fields, environments string
	}
	return putNamed(ctx, tx, "systems", `ON CONFLICT (id) DO UPDATE SET name = excluded.name, description = excluded.description,
			labels = excluded.labels, fields = excluded.fields, environments = excluded.environments, updated_at = excluded.updated_at`,
		all, func(s catalog.System) string { return s.Name },
		func(s catalog.System) (r row, err error) {
			r.System, r.fields = s, "{}"
			if r.labels, err = labelText(s.Labels); err != nil {
				return r, err
			}
			if len(s.Fields) > 0 {
				if r.fields, err = jsonText(s.Fields); err != nil {
					return r, err
				}
			}
			r.environments, err = jsonText(append([]catalog.Environment{}, s.Environments...))
			return r, err
		},
		func(rows []row) []column {
			return []column{
				col("id", "text", rows, func(r *row) string { return r.ID }),
				col("name", "text", rows, func(r *row) string { return r.Name }),
				col("description", "text", rows, func(r *row) string { return r.Description }),
				col("labels", "text", rows, func(r *row) string { return r.labels }),
				col("fields", "text", rows, func(r *row) string { return r.fields }),
				col("environments", "text", rows, func(r *row) string { return r.environments }),
				col("created_at", "bigint", rows, func(r *row) int64 { return microsOr(r.CreatedAt, now) }),
				col("updated_at", "bigint", rows, func(r *row) int64 { return microsOr(r.UpdatedAt, now) }),
			}
		})
}

// DeleteSystem takes its assignments, locations and verdict along. Its placements
// become grants; its runs stay as history.
func (tx *Tx) DeleteSystem(ctx context.Context, id string) error {
	if err := tx.touch(ctx, "systems", id); err != nil {
		return err
	}
	if err := tx.revoke(ctx, "system_id", id); err != nil {
		return err
	}
	return tx.execOne(ctx, systemNamed(id), `DELETE FROM systems WHERE id = $1`, id)
}
