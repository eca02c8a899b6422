package store

import (
	"cmp"
	"context"
	"slices"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/verdict"
)

const opinionColumns = `system_id, check_id, environment_id, holder, opinion, id, state`

func scanOpinion(row scanner) (health.CheckOpinion, error) {
	var o health.CheckOpinion
	var id string
	var state verdict.OpinionState
	err := row.Scan(&o.SystemID, &o.CheckID, &o.EnvironmentID, &o.Holder, document{&o.Opinion}, &id, &state)
	o.ID, o.State = id, state // the columns are what changes
	return o, err
}

// opinions are those of the systems, all when nil; there are few.
func opinions(ctx context.Context, c conn, systemIDs []string) ([]health.CheckOpinion, error) {
	const q = `SELECT ` + opinionColumns + ` FROM opinions`
	if systemIDs == nil {
		return all(ctx, c, scanOpinion, q)
	}
	return all(ctx, c, scanOpinion, q+` WHERE system_id = ANY($1)`, systemIDs)
}

// withOpinions gives the seats the opinions on their checks.
func withOpinions(ctx context.Context, c conn, systemIDs []string, seats []health.Seat) error {
	if len(seats) == 0 {
		return nil
	}
	found, err := opinions(ctx, c, systemIDs)
	if err != nil || len(found) == 0 {
		return err
	}
	type key struct{ systemID, checkID, environmentID string }
	by := make(map[key]*verdict.Opinion, len(found))
	for i := range found {
		by[key{found[i].SystemID, found[i].CheckID, found[i].EnvironmentID}] = &found[i].Opinion
	}
	for i := range seats {
		s := &seats[i]
		s.Opinion = by[key{s.SystemID, s.CheckID, s.EnvironmentID}]
	}
	return nil
}

// OpinionPlaces are all satellites; whether they hold a pair is not filled in. Online is
// also who was when no core was looking, and has not been missed since.
func (db *DB) OpinionPlaces(ctx context.Context) ([]fleet.RunPlace, error) {
	return all(ctx, db.reads(), func(row scanner) (fleet.RunPlace, error) {
		p := fleet.RunPlace{Tags: map[string]string{}}
		return p, row.Scan(&p.SatelliteID, &p.Satellite, &p.Region, document{&p.Tags}, &p.Online, &p.Connected, &p.Cordoned, &p.Ill, document{&p.Inventory})
	}, `SELECT s.id, s.name, s.region, s.tags, `+online+` OR coalesce(s.last_connection_event = 'connected', false), coalesce(`+connected+`, false), s.cordoned_at IS NOT NULL OR s.draining, s.ill_since IS NOT NULL, r.inventory`+satelliteTables+` ORDER BY s.name`)
}

// ClaimOpinions takes those that wait to be asked about; each is given to one core only.
func (db *DB) ClaimOpinions(ctx context.Context, holder string, limit int) ([]health.CheckOpinion, error) {
	return all(ctx, db.writes(), scanOpinion, `UPDATE opinions SET state = 'asked', holder = $1
		WHERE id IN (SELECT id FROM opinions WHERE state = 'held' ORDER BY deadline LIMIT $2 FOR UPDATE SKIP LOCKED) AND state = 'held'
		RETURNING `+opinionColumns, holder, limit)
}

// DueOpinions are those that the holder asks about, and those of anybody whose deadline
// has passed or that are to be asked about anew, which come last: verdicts wait for the others.
func (db *DB) DueOpinions(ctx context.Context, holder string) ([]health.CheckOpinion, error) {
	return all(ctx, db.reads(), scanOpinion, `SELECT `+opinionColumns+` FROM opinions
		WHERE state <> 'decided' AND (holder = $1 OR deadline <= {now}) OR state = 'decided' AND again <= {now} ORDER BY state = 'decided', deadline`, holder)
}

// CountOpinions counts those that are not decided.
func (db *DB) CountOpinions(ctx context.Context) (int, error) {
	return one(ctx, db.reads(), "", func(row scanner) (n int, err error) { return n, row.Scan(&n) },
		`SELECT count(*) FROM opinions WHERE state <> 'decided'`)
}

// PutOpinions writes opinions in place of those that there are on the same checks.
func (tx *Tx) PutOpinions(ctx context.Context, rows []health.CheckOpinion) error {
	rows = slices.SortedFunc(slices.Values(rows), func(a, b health.CheckOpinion) int {
		return cmp.Or(cmp.Compare(a.SystemID, b.SystemID), cmp.Compare(a.CheckID, b.CheckID), cmp.Compare(a.EnvironmentID, b.EnvironmentID))
	})
	texts := make(map[string]string, len(rows))
	for i := range rows {
		text, err := jsonText(rows[i].Opinion)
		if err != nil {
			return err
		}
		texts[rows[i].ID] = stored(text)
	}
	return chunks(rows, func(rows []health.CheckOpinion) error {
		return tx.insertMany(ctx, "opinions", `ON CONFLICT (system_id, check_id, environment_id) DO UPDATE SET id = excluded.id,
			state = excluded.state, holder = excluded.holder, deadline = excluded.deadline, again = excluded.again, opinion = excluded.opinion`,
			len(rows), []column{
				col("id", "text", rows, func(o *health.CheckOpinion) string { return o.ID }),
				col("system_id", "text", rows, func(o *health.CheckOpinion) string { return o.SystemID }),
				col("check_id", "text", rows, func(o *health.CheckOpinion) string { return o.CheckID }),
				col("environment_id", "text", rows, func(o *health.CheckOpinion) string { return o.EnvironmentID }),
				col("state", "text", rows, func(o *health.CheckOpinion) string { return string(o.State) }),
				col("holder", "text", rows, func(o *health.CheckOpinion) string { return o.Holder }),
				col("deadline", "bigint", rows, func(o *health.CheckOpinion) int64 { return o.Deadline.UnixMicro() }),
				col("again", "bigint", rows, func(o *health.CheckOpinion) *int64 { return microsOrNil(o.Again) }),
				col("opinion", "text", rows, func(o *health.CheckOpinion) string { return texts[o.ID] }),
			})
	})
}

// DecideOpinion writes the decision down, unless somebody else has, or it is gone.
func (tx *Tx) DecideOpinion(ctx context.Context, o health.CheckOpinion) (bool, error) {
	text, err := jsonText(o.Opinion)
	if err != nil {
		return false, err
	}
	n, err := tx.exec(ctx, `UPDATE opinions SET state = 'decided', opinion = $2, again = $3 WHERE id = $1 AND state <> 'decided'`,
		o.ID, stored(text), microsOrNil(o.Again))
	return n > 0, err
}

// DropOpinions takes away those that are no longer of use.
func (tx *Tx) DropOpinions(ctx context.Context, ids []string) error {
	_, err := tx.exec(ctx, `DELETE FROM opinions WHERE id = ANY($1)`, ids)
	return err
}

func (tx *Tx) OpinionsOf(ctx context.Context, systemIDs []string) ([]health.CheckOpinion, error) {
	return opinions(ctx, tx.conn, systemIDs)
}

// ReopenOpinion replaces a decision by a new question, unless another core has.
func (tx *Tx) ReopenOpinion(ctx context.Context, id string, next health.CheckOpinion) (bool, error) {
	n, err := tx.exec(ctx, `DELETE FROM opinions WHERE id = $1`, id)
	if err != nil || n == 0 {
		return false, err
	}
	return true, tx.PutOpinions(ctx, []health.CheckOpinion{next})
}
