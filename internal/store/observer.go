package store

import (
	"context"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
)

const (
	selfObservations = `SELECT s.id, s.name, s.region, s.epoch, ` + online + `, s.observer, s.ill_since, s.ill_told FROM satellites AS s`
	isIll            = `(s.ill_since IS NOT NULL OR s.ill_told <> '')`
)

func scanSelfObservation(row scanner) (fleet.SelfObservation, error) {
	var s fleet.SelfObservation
	return s, row.Scan(&s.SatelliteID, &s.Name, &s.Region, &s.Epoch, &s.Online, document{&s.Observer}, momentOrNil{&s.IllSince}, &s.Told)
}

func (tx *Tx) SelfObservationForUpdate(ctx context.Context, id string) (fleet.SelfObservation, error) {
	return one(ctx, tx.conn, satelliteNamed(id), scanSelfObservation, selfObservations+` WHERE s.id = $1 FOR NO KEY UPDATE OF s`, id)
}

// LockIll leaves the order of regions to whoever reads it.
func (tx *Tx) LockIll(ctx context.Context) ([]fleet.SelfObservation, error) {
	return all(ctx, tx.conn, scanSelfObservation, selfObservations+` WHERE `+isIll+` ORDER BY s.id FOR NO KEY UPDATE OF s`)
}

// PutSelfObservations expects a transaction that has locked the rows.
func (tx *Tx) PutSelfObservations(ctx context.Context, rows []fleet.SelfObservation) error {
	texts := make(map[string]string, len(rows))
	for _, s := range rows {
		text, err := jsonText(s.Observer)
		if err != nil {
			return err
		}
		texts[s.SatelliteID] = stored(text)
	}
	return chunks(rows, func(rows []fleet.SelfObservation) error {
		cols := []column{
			col("id", "text", rows, func(s *fleet.SelfObservation) string { return s.SatelliteID }),
			col("observer", "text", rows, func(s *fleet.SelfObservation) string { return texts[s.SatelliteID] }),
			col("ill_since", "bigint", rows, func(s *fleet.SelfObservation) *int64 { return microsOrNil(s.IllSince) }),
			col("ill_told", "text", rows, func(s *fleet.SelfObservation) string { return string(s.Told) }),
		}
		if tx.db.dialect == sqlite {
			return tx.repeat(ctx, `UPDATE satellites SET observer = $2, ill_since = $3, ill_told = $4 WHERE id = $1`, len(rows), cols, func(int, int64) {})
		}
		table, args := unnest(cols)
		_, err := tx.exec(ctx, `UPDATE satellites AS s SET observer = b.observer, ill_since = b.ill_since, ill_told = b.ill_told FROM `+table+` WHERE s.id = b.id`, args...)
		return err
	})
}

// IllToTell is a read that spares the writer.
func (db *DB) IllToTell(ctx context.Context, hold time.Duration) (bool, error) {
	return one(ctx, db.reads(), "", func(row scanner) (yes bool, err error) { return yes, row.Scan(&yes) },
		`SELECT EXISTS (SELECT 1 FROM satellites AS s WHERE `+isIll+` AND (s.ill_since IS NULL OR s.ill_told = '' AND `+online+` AND s.ill_since <= {now} - $1))
			OR EXISTS (SELECT 1 FROM ill_regions AS r WHERE NOT EXISTS (
				SELECT 1 FROM satellites AS s WHERE `+isIll+` AND s.region = r.region AND s.ill_told = 'region' AND s.ill_since IS NOT NULL))`, hold.Microseconds())
}

// ObservedRegions are those with somebody ill, or told to be ill.
func (tx *Tx) ObservedRegions(ctx context.Context) ([]fleet.ObservedRegion, error) {
	return all(ctx, tx.conn, func(row scanner) (r fleet.ObservedRegion, err error) {
		return r, row.Scan(&r.Region, &r.Observers, &r.Ill)
	}, `SELECT w.region, (SELECT count(*) FROM satellites AS s WHERE s.region = w.region AND s.observer IS NOT NULL AND `+online+`),
			EXISTS (SELECT 1 FROM ill_regions AS i WHERE i.region = w.region)
		FROM (SELECT s.region FROM satellites AS s WHERE `+isIll+` UNION SELECT region FROM ill_regions) AS w ORDER BY w.region`)
}

func (tx *Tx) PutIllRegions(ctx context.Context, turned []fleet.ObservedRegion) error {
	for _, r := range turned {
		q := `DELETE FROM ill_regions WHERE region = $1`
		if r.Ill {
			q = `INSERT INTO ill_regions (region, since) VALUES ($1, {now}) ON CONFLICT (region) DO NOTHING`
		}
		if _, err := tx.exec(ctx, q, r.Region); err != nil {
			return err
		}
	}
	return nil
}

// withBlind adds to the seats the newest runs that say nothing.
func withBlind(ctx context.Context, c conn, seats []health.Seat, systemIDs []string) ([]health.Seat, error) {
	q, args := `SELECT `+blindNames+` FROM blind_locations`, []any(nil)
	if systemIDs != nil {
		q, args = q+` WHERE system_id = ANY($1)`, []any{systemIDs}
	}
	blind := map[health.LocationKey]*health.Blind{}
	for b, err := range each(ctx, c, func(row scanner) (b health.Blind, err error) {
		return b, row.Scan(&b.SystemID, &b.CheckID, &b.SatelliteID, &b.EnvironmentID, moment{&b.ExecutedAt}, moment{&b.ReceivedAt}, &b.Reason)
	}, q, args...) {
		if err != nil {
			return nil, err
		}
		blind[b.LocationKey] = &b
	}
	for i := range seats {
		seats[i].Blind = blind[seats[i].LocationKey]
	}
	return seats, nil
}

// PutBlind writes rows whose system, check and satellite still exist, as PutLocations
// does, and leaves those that are newer. Rows must differ in their keys.
func (tx *Tx) PutBlind(ctx context.Context, rows []health.Blind) error {
	rows = slices.SortedFunc(slices.Values(rows), func(a, b health.Blind) int { return keyOrder(a.LocationKey, b.LocationKey) })
	return chunks(rows, func(rows []health.Blind) error {
		cols := append(keyColumns(rows, func(b *health.Blind) *health.LocationKey { return &b.LocationKey }),
			col("executed_at", "bigint", rows, func(b *health.Blind) int64 { return b.ExecutedAt.UnixMicro() }),
			col("received_at", "bigint", rows, func(b *health.Blind) int64 { return b.ReceivedAt.UnixMicro() }),
			col("reason", "text", rows, func(b *health.Blind) string { return stored(b.Reason) }),
		)
		if tx.db.dialect == sqlite {
			return tx.repeat(ctx, `INSERT INTO blind_locations (`+blindNames+`) SELECT $1, $2, $3, $4, $5, $6, $7
				WHERE EXISTS (SELECT 1 FROM systems WHERE id = $1) AND EXISTS (SELECT 1 FROM checks WHERE id = $2)
				AND EXISTS (SELECT 1 FROM satellites WHERE id = $3) `+blindUpsert, len(rows), cols, func(int, int64) {})
		}
		table, args := unnest(cols)
		_, err := tx.exec(ctx, `INSERT INTO blind_locations (`+blindNames+`) SELECT `+blindNames+` FROM `+table+`
			WHERE EXISTS (SELECT 1 FROM systems AS y WHERE y.id = b.system_id) AND EXISTS (SELECT 1 FROM checks AS c WHERE c.id = b.check_id)
			AND EXISTS (SELECT 1 FROM satellites AS s WHERE s.id = b.satellite_id) `+blindUpsert, args...)
		return err
	})
}

const (
	blindNames  = `system_id, check_id, satellite_id, environment_id, executed_at, received_at, reason`
	blindUpsert = `ON CONFLICT (system_id, check_id, satellite_id, environment_id) DO UPDATE SET
		executed_at = excluded.executed_at, received_at = excluded.received_at, reason = excluded.reason
		WHERE blind_locations.executed_at < excluded.executed_at`
)
