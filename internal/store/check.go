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

func (tx *Tx) PutCheck(ctx context.Context, c catalog.Check) error {
	tx.turn(c.ID)
	created, err := tx.orNow(ctx, c.CreatedAt)
	if err != nil {
		return err
	}
	updated, err := tx.orNow(ctx, c.UpdatedAt)
	if err != nil {
		return err
	}
	labels, err := labelText(c.Labels)
	if err != nil {
		return err
	}
	spec, err := jsonText(c.Spec)
	if err != nil {
		return err
	}
	_, err = tx.execNaming(ctx, c.Name, `INSERT INTO checks (id, name, labels, spec, interval_us, paused, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, labels = excluded.labels, spec = excluded.spec,
			interval_us = excluded.interval_us, paused = excluded.paused, updated_at = excluded.updated_at`,
		c.ID, c.Name, labels, spec, time.Duration(c.Spec.Interval).Microseconds(), c.Spec.Paused, created.UnixMicro(), updated.UnixMicro())
	return err
}

// DeleteCheck takes its assignments and locations along. Its placements become
// grants; its runs stay as history.
func (tx *Tx) DeleteCheck(ctx context.Context, id string) error {
	if err := tx.revoke(ctx, "check_id", id); err != nil {
		return err
	}
	return tx.execOne(ctx, checkNamed(id), `DELETE FROM checks WHERE id = $1`, id)
}
