package store

import (
	"context"
	"time"

	"github.com/perigee-monitoring/perigee/internal/catalog"
)

// keepFences is how long it is known up to which slot a seat may have been run: much
// longer than a lease, for the case that the database's clock is set back.
const keepFences = 24 * time.Hour

// fences is what is kept of seats (p) that their satellites (s) lose.
const fences = `INSERT INTO seat_fences (check_id, system_id, seat, until)
	SELECT p.check_id, p.system_id, p.seat, GREATEST({now}, coalesce(s.leased_until, 0))
	FROM placements AS p JOIN satellites AS s ON s.id = p.satellite_id `

const onKnownFence = ` AND p.seat > 0 AND p.removed_at IS NULL
	ON CONFLICT (check_id, system_id, seat) DO UPDATE SET until = GREATEST(seat_fences.until, excluded.until)`

// fence notes how far the seats among the placements, which are to be removed, may
// have been run by then.
func (tx *Tx) fence(ctx context.Context, now int64, rows []catalog.Placement) error {
	var seats []catalog.Placement
	for _, p := range rows {
		if p.Seat > 0 {
			seats = append(seats, p)
		}
	}
	if len(seats) == 0 {
		return nil
	}
	if _, err := tx.exec(ctx, `DELETE FROM seat_fences WHERE until <= $1`, now-keepFences.Microseconds()); err != nil {
		return err
	}
	cols := []column{
		col("satellite_id", "text", seats, func(p *catalog.Placement) string { return p.SatelliteID }),
		col("assignment_id", "text", seats, func(p *catalog.Placement) string { return p.AssignmentID }),
	}
	if tx.db.dialect == sqlite {
		return tx.repeat(ctx, fences+`WHERE p.satellite_id = $1 AND p.assignment_id = $2`+onKnownFence, len(seats), cols, func(int, int64) {})
	}
	table, args := unnest(cols)
	_, err := tx.exec(ctx, fences+`JOIN `+table+` ON p.satellite_id = b.satellite_id AND p.assignment_id = b.assignment_id WHERE true`+onKnownFence, args...)
	return err
}

// fenceWhere is fence of the placements that name the id in the column.
func (tx *Tx) fenceWhere(ctx context.Context, column, id string) error {
	_, err := tx.exec(ctx, fences+`WHERE p.`+column+` = $1`+onKnownFence, id)
	return err
}

// seatsBegin says after which slot each of the placements begins: now, or where others
// may have run the seat up to; nil for what is no seat.
func (tx *Tx) seatsBegin(ctx context.Context, now time.Time, add []catalog.Placement) (func(*catalog.Placement) *int64, error) {
	type seat struct {
		checkID, systemID string
		number            int
	}
	held := map[seat]int64{}
	counted := false
	for i := range add {
		counted = counted || add[i].Seat > 0
	}
	if counted {
		type fence struct {
			seat
			until int64
		}
		for f, err := range each(ctx, tx.conn, func(row scanner) (f fence, err error) {
			return f, row.Scan(&f.checkID, &f.systemID, &f.number, &f.until)
		}, `SELECT check_id, system_id, seat, until FROM seat_fences WHERE until > $1`, now.UnixMicro()) {
			if err != nil {
				return nil, err
			}
			held[f.seat] = f.until
		}
	}
	return func(p *catalog.Placement) *int64 {
		if p.Seat == 0 {
			return nil
		}
		return new(max(now.UnixMicro(), held[seat{p.CheckID, p.SystemID, p.Seat}]))
	}, nil
}

const seatRows = `SELECT p.assignment_id, p.satellite_id, s.name, p.seat, p.since, p.removed_at, p.reason
	FROM placements AS p JOIN satellites AS s ON s.id = p.satellite_id
	WHERE p.seat > 0 AND (p.removed_at IS NULL OR p.removed_at > {now})`

func scanSeatAt(row scanner) (at catalog.SeatAt, err error) {
	return at, row.Scan(&at.AssignmentID, &at.SatelliteID, &at.Satellite, &at.Number, moment{&at.Since}, momentOrNil{&at.Until}, &at.Reason)
}

func (tx *Tx) SeatsOf(ctx context.Context, assignmentIDs []string) ([]catalog.SeatAt, error) {
	if assignmentIDs == nil {
		return all(ctx, tx.conn, scanSeatAt, seatRows+` ORDER BY p.assignment_id, p.seat, p.since`)
	}
	return seatsOf(ctx, tx.conn, assignmentIDs)
}

func seatsOf(ctx context.Context, c conn, assignmentIDs []string) ([]catalog.SeatAt, error) {
	return all(ctx, c, scanSeatAt, seatRows+` AND p.assignment_id = ANY($1) ORDER BY p.assignment_id, p.seat, p.since`, assignmentIDs)
}

func (tx *Tx) Watched(ctx context.Context) (time.Time, error) {
	return one(ctx, tx.conn, "observer", func(row scanner) (t time.Time, err error) { return t, row.Scan(moment{&t}) },
		`SELECT coalesce(since, 0) FROM observer WHERE id = 1`)
}

// SeatsAstray is two indexed counts and the sum of what is wanted.
func (db *DB) SeatsAstray(ctx context.Context, holdOff time.Duration) (empty, astray int, err error) {
	_, err = one(ctx, db.reads(), "", func(row scanner) (struct{}, error) { return struct{}{}, row.Scan(&empty, &astray) },
		`SELECT coalesce((SELECT sum(a.seats) FROM assignments AS a WHERE a.seats > 0), 0)
			- (SELECT count(*) FROM placements AS p WHERE p.seat > 0 AND p.removed_at IS NULL),
			(SELECT count(*) FROM placements AS p JOIN satellites AS s ON s.id = p.satellite_id
			WHERE p.seat > 0 AND p.removed_at IS NULL AND (s.draining OR {now} - $1 > coalesce(s.leased_until, 0)))`, holdOff.Microseconds())
	return empty, astray, err
}
