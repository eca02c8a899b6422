package store

import (
	"context"
	"slices"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/health"
)

func (tx *Tx) PutDependencies(ctx context.Context, systemID string, dependsOnIDs []string) error {
	if err := tx.touch(ctx, "systems", systemID); err != nil {
		return err
	}
	if dependsOnIDs == nil {
		dependsOnIDs = []string{}
	}
	if _, err := tx.exec(ctx, `DELETE FROM dependencies WHERE system_id = $1 AND NOT depends_on_id = ANY($2)`, systemID, dependsOnIDs); err != nil {
		return err
	}
	_, err := tx.exec(ctx, `INSERT INTO dependencies (system_id, depends_on_id) SELECT $1, id FROM systems WHERE id = ANY($2)
		ON CONFLICT DO NOTHING`, systemID, dependsOnIDs)
	return err
}

// fillDependencies fills in what the systems depend on.
func fillDependencies(ctx context.Context, c conn, items []catalog.System) error {
	at := make(map[string]int, len(items))
	ids := make([]string, len(items))
	for i, s := range items {
		at[s.ID], ids[i] = i, s.ID
	}
	for d, err := range each(ctx, c, func(row scanner) (d [3]string, err error) { return d, row.Scan(&d[0], &d[1], &d[2]) },
		`SELECT d.system_id, d.depends_on_id, y.name FROM dependencies AS d JOIN systems AS y ON y.id = d.depends_on_id
		WHERE d.system_id = ANY($1) ORDER BY d.system_id, d.depends_on_id`, ids) {
		if err != nil {
			return err
		}
		s := &items[at[d[0]]]
		s.DependsOnIDs, s.DependsOn = append(s.DependsOnIDs, d[1]), append(s.DependsOn, d[2])
	}
	for i := range items {
		slices.Sort(items[i].DependsOn)
	}
	return nil
}

func (db *DB) Dependencies(ctx context.Context) (health.Dependencies, error) {
	return dependencies(ctx, db.reads())
}

func (tx *Tx) Dependencies(ctx context.Context) (health.Dependencies, error) {
	return dependencies(ctx, tx.conn)
}

func dependencies(ctx context.Context, c conn) (health.Dependencies, error) {
	all, err := pairs(ctx, c, `SELECT system_id, depends_on_id FROM dependencies ORDER BY system_id, depends_on_id`)
	return health.Dependencies(all), err
}
