package store

import (
	"context"
	"time"

	"github.com/perigee-monitoring/perigee/internal/trial"
)

var _ trial.Store = (*DB)(nil)

func (db *DB) InsertTrial(ctx context.Context, r trial.Row) error {
	_, err := db.writes().exec(ctx, `INSERT INTO trials (id, satellite_id, asked_at, question) VALUES ($1, $2, {now}, $3)`, r.ID, r.SatelliteID, r.Question)
	return err
}

func (db *DB) ClaimTrials(ctx context.Context, satelliteIDs []string) ([]trial.Row, error) {
	if len(satelliteIDs) == 0 {
		return nil, nil
	}
	// Most looks find none, and a look should not cost a write.
	waiting, err := one(ctx, db.reads(), "", func(row scanner) (is bool, err error) { return is, row.Scan(&is) },
		`SELECT EXISTS (SELECT 1 FROM trials WHERE NOT claimed)`)
	if err != nil || !waiting {
		return nil, err
	}
	return all(ctx, db.writes(), func(row scanner) (r trial.Row, err error) {
		return r, row.Scan(&r.ID, &r.SatelliteID, &r.Question)
	}, `UPDATE trials SET claimed = true WHERE NOT claimed AND satellite_id = ANY($1) RETURNING id, satellite_id, question`, satelliteIDs)
}

func (db *DB) AnswerTrial(ctx context.Context, id, answer string) error {
	_, err := db.writes().exec(ctx, `UPDATE trials SET answer = $2 WHERE id = $1`, id, answer) // who asked may have gone
	return err
}

func (db *DB) TrialAnswer(ctx context.Context, id string) (string, error) {
	return one(ctx, db.reads(), "trial", func(row scanner) (answer string, err error) { return answer, row.Scan(&answer) },
		`SELECT answer FROM trials WHERE id = $1`, id)
}

func (db *DB) DeleteTrial(ctx context.Context, id string) error {
	_, err := db.writes().exec(ctx, `DELETE FROM trials WHERE id = $1`, id)
	return err
}

func (db *DB) PurgeTrials(ctx context.Context, older time.Duration) error {
	_, err := db.writes().exec(ctx, `DELETE FROM trials WHERE asked_at < {now} - $1`, older.Microseconds())
	return err
}
