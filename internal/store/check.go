package store

import (
	"context"
	"fmt"
	"time"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

const checkRows = `SELECT c.id, c.name, c.labels, c.spec, c.created_at, c.updated_at FROM checks AS c`

func scanCheck(row scanner) (catalog.Check, error) {
	c := catalog.Check{Labels: map[string]string{}}
	return c, row.Scan(&c.ID, &c.Name, document{&c.Labels}, document{&c.Spec}, moment{&c.CreatedAt}, moment{&c.UpdatedAt})
}

func checkNamed(what string) string { return fmt.Sprintf("check %q", what) }

func (db *DB) Check(ctx context.Context, id string) (catalog.Check, error) {
	return one(ctx, db.reads(), checkNamed(id), scanCheck, checkRows+` WHERE c.id = $1`, id)
}

func (db *DB) CheckByName(ctx context.Context, name string) (catalog.Check, error) {
	return one(ctx, db.reads(), checkNamed(name), scanCheck, checkRows+` WHERE c.name = $1`, name)
}

func (db *DB) Checks(ctx context.Context, p fleet.Page) ([]catalog.Check, string, error) {
	return pageByName(ctx, db.reads(), &where{}, "c.name", checkRows, scanCheck, p, func(c catalog.Check) string { return c.Name })
}

func (tx *Tx) AllChecks(ctx context.Context) ([]catalog.Check, error) {
	return all(ctx, tx.conn, scanCheck, checkRows+` ORDER BY c.name`)
}

func (tx *Tx) PutChecks(ctx context.Context, all ...catalog.Check) error {
	ids := keys(all, func(c catalog.Check) string { return c.ID })
	if err := tx.touch(ctx, "checks", ids...); err != nil {
		return err
	}
	for _, id := range ids {
		tx.turn(id)
	}
	now, err := tx.Now(ctx)
	if err != nil {
		return err
	}
	type row struct {
		catalog.Check
		labels, spec string
	}
	return putNamed(ctx, tx, "checks", `ON CONFLICT (id) DO UPDATE SET name = excluded.name, labels = excluded.labels, spec = excluded.spec,
			interval_us = excluded.interval_us, paused = excluded.paused, updated_at = excluded.updated_at`,
		all, func(c catalog.Check) string { return c.Name },
		func(c catalog.Check) (r row, err error) {
			r.Check = c
			if r.labels, err = labelText(c.Labels); err != nil {
				return r, err
			}
			r.spec, err = jsonText(c.Spec)
			return r, err
		},
		func(rows []row) []column {
			return []column{
				col("id", "text", rows, func(r *row) string { return r.ID }),
				col("name", "text", rows, func(r *row) string { return r.Name }),
				col("labels", "text", rows, func(r *row) string { return r.labels }),
				col("spec", "text", rows, func(r *row) string { return r.spec }),
				col("interval_us", "bigint", rows, func(r *row) int64 { return time.Duration(r.Spec.Interval).Microseconds() }),
				col("paused", "boolean", rows, func(r *row) bool { return r.Spec.Paused }),
				col("created_at", "bigint", rows, func(r *row) int64 { return microsOr(r.CreatedAt, now) }),
				col("updated_at", "bigint", rows, func(r *row) int64 { return microsOr(r.UpdatedAt, now) }),
			}
		})
}

// DeleteCheck takes its assignments and locations along. Its placements become
// grants; its runs stay as history.
func (tx *Tx) DeleteCheck(ctx context.Context, id string) error {
	if err := tx.touch(ctx, "checks", id); err != nil {
		return err
	}
	if err := tx.revoke(ctx, "check_id", id); err != nil {
		return err
	}
	return tx.execOne(ctx, checkNamed(id), `DELETE FROM checks WHERE id = $1`, id)
}
