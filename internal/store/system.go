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

func (tx *Tx) PutSystem(ctx context.Context, s catalog.System) error {
	if err := tx.turnWhere(ctx, "system_id", s.ID); err != nil { // its environments
		return err
	}
	created, err := tx.orNow(ctx, s.CreatedAt)
	if err != nil {
		return err
	}
	updated, err := tx.orNow(ctx, s.UpdatedAt)
	if err != nil {
		return err
	}
	labels, err := labelText(s.Labels)
	if err != nil {
		return err
	}
	fields := "{}"
	if len(s.Fields) > 0 {
		if fields, err = jsonText(s.Fields); err != nil {
			return err
		}
	}
	environments, err := jsonText(append([]catalog.Environment{}, s.Environments...))
	if err != nil {
		return err
	}
	_, err = tx.execNaming(ctx, s.Name, `INSERT INTO systems (id, name, description, labels, fields, environments, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, description = excluded.description,
			labels = excluded.labels, fields = excluded.fields, environments = excluded.environments, updated_at = excluded.updated_at`,
		s.ID, s.Name, s.Description, labels, fields, environments, created.UnixMicro(), updated.UnixMicro())
	return err
}

// DeleteSystem takes its assignments, locations and verdict along. Its placements
// become grants; its runs stay as history.
func (tx *Tx) DeleteSystem(ctx context.Context, id string) error {
	if err := tx.revoke(ctx, "system_id", id); err != nil {
		return err
	}
	return tx.execOne(ctx, systemNamed(id), `DELETE FROM systems WHERE id = $1`, id)
}
