package store

import (
	"cmp"
	"context"
	"slices"

	"github.com/perigee-monitoring/perigee/internal/catalog"
)

const activePlacements = `SELECT assignment_id, satellite_id FROM placements WHERE removed_at IS NULL`

func (tx *Tx) Placements(ctx context.Context) (map[string][]string, error) {
	return pairs(ctx, tx.conn, activePlacements+` ORDER BY satellite_id`)
}

func (tx *Tx) PlacementsOf(ctx context.Context, assignmentIDs []string) (map[string][]string, error) {
	return pairs(ctx, tx.conn, activePlacements+` AND assignment_id = ANY($1) ORDER BY satellite_id`, assignmentIDs)
}

func (tx *Tx) PlacementsOn(ctx context.Context, satelliteID string) ([]string, error) {
	return all(ctx, tx.conn, scanString,
		`SELECT assignment_id FROM placements WHERE removed_at IS NULL AND satellite_id = $1 ORDER BY assignment_id`, satelliteID)
}

// pairs reads rows of two texts into lists of the second by the first.
func pairs(ctx context.Context, c conn, q string, args ...any) (map[string][]string, error) {
	lists := map[string][]string{}
	for p, err := range each(ctx, c, func(row scanner) (p [2]string, err error) { return p, row.Scan(&p[0], &p[1]) }, q, args...) {
		if err != nil {
			return nil, err
		}
		lists[p[0]] = append(lists[p[0]], p[1])
	}
	return lists, nil
}

// Place removes first, so that a pair may move from one assignment to another. It
// also forgets grants that have run out.
func (tx *Tx) Place(ctx context.Context, add, remove []catalog.Placement) error {
	now, err := tx.Now(ctx)
	if err != nil {
		return err
	}
	if _, err := tx.exec(ctx, `DELETE FROM placements WHERE removed_at <= $1`, now.Add(-grantFor).UnixMicro()); err != nil {
		return err
	}
	if err := chunks(sorted(remove), func(rows []catalog.Placement) error { return tx.unplace(ctx, now.UnixMicro(), rows) }); err != nil {
		return err
	}
	return chunks(sorted(add), func(rows []catalog.Placement) error {
		return tx.insertMany(ctx, "placements", `ON CONFLICT (satellite_id, check_id, system_id)
			DO UPDATE SET assignment_id = excluded.assignment_id, removed_at = NULL`, len(rows), []column{
			col("satellite_id", "text", rows, func(p *catalog.Placement) string { return p.SatelliteID }),
			col("check_id", "text", rows, func(p *catalog.Placement) string { return p.CheckID }),
			col("system_id", "text", rows, func(p *catalog.Placement) string { return p.SystemID }),
			col("assignment_id", "text", rows, func(p *catalog.Placement) string { return p.AssignmentID }),
		})
	})
}

func (tx *Tx) unplace(ctx context.Context, now int64, rows []catalog.Placement) error {
	cols := []column{
		col("satellite_id", "text", rows, func(p *catalog.Placement) string { return p.SatelliteID }),
		col("assignment_id", "text", rows, func(p *catalog.Placement) string { return p.AssignmentID }),
		col("removed_at", "bigint", rows, func(*catalog.Placement) int64 { return now }),
	}
	if tx.db.dialect == sqlite {
		return tx.repeat(ctx, `UPDATE placements SET removed_at = $3
			WHERE satellite_id = $1 AND assignment_id = $2 AND removed_at IS NULL`, len(rows), cols, func(int, int64) {})
	}
	table, args := unnest(cols)
	_, err := tx.exec(ctx, `UPDATE placements AS p SET removed_at = b.removed_at FROM `+table+`
		WHERE p.satellite_id = b.satellite_id AND p.assignment_id = b.assignment_id AND p.removed_at IS NULL`, args...)
	return err
}

// revoke makes grants of the placements that name the id in the column.
func (tx *Tx) revoke(ctx context.Context, column, id string) error {
	now, err := tx.Now(ctx)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, `UPDATE placements SET removed_at = $2 WHERE `+column+` = $1 AND removed_at IS NULL`, id, now.UnixMicro())
	return err
}

// sorted are the placements in the order of their key, in which rows are locked.
func sorted(rows []catalog.Placement) []catalog.Placement {
	return slices.SortedFunc(slices.Values(rows), func(a, b catalog.Placement) int {
		return cmp.Or(cmp.Compare(a.SatelliteID, b.SatelliteID), cmp.Compare(a.CheckID, b.CheckID), cmp.Compare(a.SystemID, b.SystemID))
	})
}
