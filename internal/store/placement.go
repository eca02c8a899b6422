package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/perigee-monitoring/perigee/internal/catalog"
)

const activePlacements = `SELECT assignment_id, satellite_id FROM placements WHERE removed_at IS NULL AND seat = 0`

func (tx *Tx) Placements(ctx context.Context) (map[string][]string, error) {
	return pairs(ctx, tx.conn, activePlacements+` ORDER BY satellite_id`)
}

func (tx *Tx) PlacementsOf(ctx context.Context, assignmentIDs []string) (map[string][]string, error) {
	return pairs(ctx, tx.conn, activePlacements+` AND assignment_id = ANY($1) ORDER BY satellite_id`, assignmentIDs)
}

func (tx *Tx) PlacementsOn(ctx context.Context, satelliteID string) ([]string, error) {
	return all(ctx, tx.conn, scanString,
		`SELECT assignment_id FROM placements WHERE removed_at IS NULL AND seat = 0 AND satellite_id = $1 ORDER BY assignment_id`, satelliteID)
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

// Place removes first, so that a pair, or a seat, may move from one assignment or
// satellite to another. It also forgets grants that have run out. Revisions that rise
// with it have risen before: that locks the satellites, whose leases bound what they
// may have run of the seats that they lose.
func (tx *Tx) Place(ctx context.Context, add, remove []catalog.Placement) error {
	for _, rows := range [][]catalog.Placement{add, remove} {
		for i := range rows {
			tx.turn(rows[i].CheckID)
		}
	}
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
	since, err := tx.seatsBegin(ctx, now, add)
	if err != nil {
		return err
	}
	return chunks(sorted(add), func(rows []catalog.Placement) error {
		return tx.insertMany(ctx, "placements", `ON CONFLICT (satellite_id, check_id, system_id)
			DO UPDATE SET assignment_id = excluded.assignment_id, removed_at = NULL,
				seat = excluded.seat, since = excluded.since, reason = excluded.reason`, len(rows), []column{
			col("satellite_id", "text", rows, func(p *catalog.Placement) string { return p.SatelliteID }),
			col("check_id", "text", rows, func(p *catalog.Placement) string { return p.CheckID }),
			col("system_id", "text", rows, func(p *catalog.Placement) string { return p.SystemID }),
			col("assignment_id", "text", rows, func(p *catalog.Placement) string { return p.AssignmentID }),
			col("seat", "bigint", rows, func(p *catalog.Placement) int64 { return int64(p.Seat) }),
			col("since", "bigint", rows, since),
			col("reason", "text", rows, func(p *catalog.Placement) string { return string(p.Reason) }),
		})
	})
}

func (tx *Tx) unplace(ctx context.Context, now int64, rows []catalog.Placement) error {
	if err := tx.fence(ctx, now, rows); err != nil {
		return err
	}
	cols := []column{
		col("satellite_id", "text", rows, func(p *catalog.Placement) string { return p.SatelliteID }),
		col("assignment_id", "text", rows, func(p *catalog.Placement) string { return p.AssignmentID }),
		col("removed_at", "bigint", rows, func(*catalog.Placement) int64 { return now }),
		col("handover", "boolean", rows, func(p *catalog.Placement) bool { return p.Handover }),
	}
	const until = `CASE WHEN %[2]s THEN GREATEST(%[1]s, coalesce((SELECT s.leased_until FROM satellites AS s WHERE s.id = p.satellite_id), 0)) ELSE %[1]s END`
	if tx.db.dialect == sqlite {
		return tx.repeat(ctx, `UPDATE placements AS p SET removed_at = `+fmt.Sprintf(until, "$3", "$4")+`
			WHERE p.satellite_id = $1 AND p.assignment_id = $2 AND p.removed_at IS NULL`, len(rows), cols, func(int, int64) {})
	}
	table, args := unnest(cols)
	_, err := tx.exec(ctx, `UPDATE placements AS p SET removed_at = `+fmt.Sprintf(until, "b.removed_at", "b.handover")+` FROM `+table+`
		WHERE p.satellite_id = b.satellite_id AND p.assignment_id = b.assignment_id AND p.removed_at IS NULL`, args...)
	return err
}

// revoke makes grants of the placements that name the id in the column.
func (tx *Tx) revoke(ctx context.Context, column, id string) error {
	now, err := tx.Now(ctx)
	if err != nil {
		return err
	}
	if err := tx.fenceWhere(ctx, column, id); err != nil {
		return err
	}
	if err := tx.turnWhere(ctx, column, id); err != nil {
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
