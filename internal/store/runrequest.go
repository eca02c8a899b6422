package store

import (
	"context"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fleet"
)

var _ fleet.RunRequestStore = (*DB)(nil)

func (db *DB) InsertRunRequests(ctx context.Context, requestID, assignmentID, by string, satellites []string, forget time.Duration) (int, error) {
	if _, err := db.writes().exec(ctx, `DELETE FROM run_requests WHERE requested_at < {now} - $1`, forget.Microseconds()); err != nil {
		return 0, err
	}
	if satellites == nil {
		satellites = []string{}
	}
	n, err := db.writes().exec(ctx, `INSERT INTO run_requests (request_id, satellite_id, check_id, system_id, slot, requested_at, requested_by, state)
		SELECT $1, p.satellite_id, p.check_id, p.system_id, {now} / 1000, {now}, $3, 'waiting'
		FROM placements AS p
		JOIN satellites AS s ON s.id = p.satellite_id
		JOIN assignments AS a ON a.id = p.assignment_id AND a.check_id = p.check_id AND a.system_id = p.system_id
		JOIN checks AS c ON c.id = a.check_id
		WHERE p.assignment_id = $2 AND p.removed_at IS NULL AND a.enabled AND NOT c.paused
			AND ($4 = 0 OR s.id = ANY($5) OR s.name = ANY($5))`, requestID, assignmentID, by, len(satellites), satellites)
	return int(n), err
}

func (db *DB) ClaimRunRequests(ctx context.Context, satelliteIDs []string, patience time.Duration) ([]fleet.RunRequest, error) {
	if len(satelliteIDs) == 0 {
		return nil, nil
	}
	return all(ctx, db.writes(), func(row scanner) (r fleet.RunRequest, err error) {
		return r, row.Scan(&r.SatelliteID, &r.ConfigID, &r.SystemID, &r.Slot, &r.State)
	}, `UPDATE run_requests SET state = 'sent'
		WHERE state = 'waiting' AND satellite_id = ANY($1) AND requested_at >= {now} - $2
		RETURNING satellite_id, check_id, system_id, slot, state`, satelliteIDs, patience.Microseconds())
}

func (db *DB) RunRequests(ctx context.Context, requestID string, patience time.Duration) ([]fleet.RunRequest, error) {
	return all(ctx, db.reads(), func(row scanner) (r fleet.RunRequest, err error) {
		return r, row.Scan(&r.SatelliteID, &r.Satellite, &r.ConfigID, &r.SystemID, &r.Slot, &r.State)
	}, `SELECT q.satellite_id, s.name, q.check_id, q.system_id, q.slot,
			CASE WHEN q.state = 'waiting' AND q.requested_at < {now} - $2 THEN 'not_connected' ELSE q.state END
		FROM run_requests AS q JOIN satellites AS s ON s.id = q.satellite_id
		WHERE q.request_id = $1 ORDER BY s.name`, requestID, patience.Microseconds())
}

func (db *DB) RunStatuses(ctx context.Context, runIDs []string) (map[string]string, error) {
	statuses := map[string]string{}
	type row struct{ id, status string }
	for r, err := range each(ctx, db.reads(), func(s scanner) (r row, err error) { return r, s.Scan(&r.id, &r.status) },
		`SELECT run_id, status FROM runs WHERE run_id = ANY($1)`, runIDs) {
		if err != nil {
			return nil, err
		}
		statuses[r.id] = r.status
	}
	return statuses, nil
}
