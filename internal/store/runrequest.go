package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/protocol"
)

var _ fleet.RunRequestStore = (*DB)(nil)

func (db *DB) InsertRunRequests(ctx context.Context, requestID, assignmentID, by string, satellites []string, forget time.Duration) (int, error) {
	if err := db.forgetRunRequests(ctx, forget); err != nil {
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
		WHERE p.assignment_id = $2 AND p.removed_at IS NULL AND a.enabled AND NOT c.paused AND NOT `+pausedNow+`
			AND ($4 = 0 OR s.id = ANY($5) OR s.name = ANY($5))`, requestID, assignmentID, by, len(satellites), satellites)
	return int(n), err
}

func (db *DB) forgetRunRequests(ctx context.Context, forget time.Duration) error {
	_, err := db.writes().exec(ctx, `DELETE FROM run_requests WHERE requested_at < {now} - $1`, forget.Microseconds())
	return err
}

const (
	holdsPair = `EXISTS (SELECT 1 FROM placements AS p JOIN assignments AS a ON a.id = p.assignment_id AND a.enabled
		JOIN checks AS c ON c.id = p.check_id AND NOT c.paused
		WHERE p.satellite_id = s.id AND p.check_id = $1 AND p.system_id = $2 AND p.removed_at IS NULL AND NOT ` + pausedNow + `)`
	runPlaces = `SELECT s.id, s.name, s.region, s.tags, ` + online + `, coalesce(` + connected + `, false), s.cordoned_at IS NOT NULL OR s.draining, s.ill_since IS NOT NULL, r.inventory, ` + holdsPair + satelliteTables
)

func scanRunPlace(row scanner) (fleet.RunPlace, error) {
	p := fleet.RunPlace{Tags: map[string]string{}}
	return p, row.Scan(&p.SatelliteID, &p.Satellite, &p.Region, document{&p.Tags}, &p.Online, &p.Connected, &p.Cordoned, &p.Ill, document{&p.Inventory}, &p.Holds)
}

func (db *DB) RunPlaces(ctx context.Context, pair protocol.Pair, satellites []string) ([]fleet.RunPlace, error) {
	if len(satellites) == 0 {
		return all(ctx, db.reads(), scanRunPlace, runPlaces+` WHERE `+holdsPair+` ORDER BY s.name`, pair.ConfigID, pair.SystemID)
	}
	return all(ctx, db.reads(), scanRunPlace, runPlaces+` WHERE s.id = ANY($3) OR s.name = ANY($3) ORDER BY s.name`, pair.ConfigID, pair.SystemID, satellites)
}

func (db *DB) PutRunRequests(ctx context.Context, requestID, by string, rows []fleet.RunRequest, forget time.Duration) error {
	if err := db.forgetRunRequests(ctx, forget); err != nil {
		return err
	}
	now, err := db.Now(ctx)
	if err != nil {
		return err
	}
	return chunks(rows, func(rows []fleet.RunRequest) error {
		return db.writes().insertMany(ctx, "run_requests", "", len(rows), []column{
			col("request_id", "text", rows, func(*fleet.RunRequest) string { return requestID }),
			col("satellite_id", "text", rows, func(r *fleet.RunRequest) string { return r.SatelliteID }),
			col("check_id", "text", rows, func(r *fleet.RunRequest) string { return r.ConfigID }),
			col("system_id", "text", rows, func(r *fleet.RunRequest) string { return r.SystemID }),
			col("environment_id", "text", rows, func(r *fleet.RunRequest) string { return stored(r.EnvironmentID) }),
			col("slot", "bigint", rows, func(*fleet.RunRequest) int64 { return now.UnixMilli() }),
			col("requested_at", "bigint", rows, func(*fleet.RunRequest) int64 { return now.UnixMicro() }),
			col("requested_by", "text", rows, func(*fleet.RunRequest) string { return stored(by) }),
			col("asked", "text", rows, func(r *fleet.RunRequest) string { return string(r.Asked) }),
			col("state", "text", rows, func(r *fleet.RunRequest) string { return string(r.State) }),
			col("reason", "text", rows, func(r *fleet.RunRequest) string { return stored(r.Reason) }),
			col("guest", "boolean", rows, func(r *fleet.RunRequest) bool { return r.Guest }),
			col("deadline_ms", "bigint", rows, func(r *fleet.RunRequest) int64 { return r.Deadline.Milliseconds() }),
		})
	})
}

const runRequestColumns = `satellite_id, check_id, system_id, environment_id, slot, asked, state, reason, guest, deadline_ms, requested_at`

// runRequestFields are the places for runRequestColumns.
func runRequestFields(r *fleet.RunRequest) []any {
	return []any{
		&r.SatelliteID, &r.ConfigID, &r.SystemID, &r.EnvironmentID, &r.Slot, &r.Asked, &r.State, &r.Reason, &r.Guest,
		millis{&r.Deadline},
		moment{&r.RequestedAt},
	}
}

func (db *DB) ClaimRunRequests(ctx context.Context, satelliteIDs []string, patience time.Duration) ([]fleet.RunRequest, error) {
	if len(satelliteIDs) == 0 {
		return nil, nil
	}
	claimed, err := all(ctx, db.writes(), func(row scanner) (r fleet.RunRequest, err error) {
		return r, row.Scan(runRequestFields(&r)...)
	}, `UPDATE run_requests SET state = 'sent'
		WHERE state = 'waiting' AND satellite_id = ANY($1) AND requested_at >= {now} - $2
		RETURNING `+runRequestColumns, satelliteIDs, patience.Microseconds())
	if err != nil {
		return nil, err
	}
	return claimed, db.fillGuests(ctx, claimed)
}

// fillGuests gives guests what they run.
func (db *DB) fillGuests(ctx context.Context, rows []fleet.RunRequest) error {
	var pairs []protocol.Pair
	for _, r := range rows {
		if r.Guest {
			pairs = append(pairs, r.Pair)
		}
	}
	assignments, err := db.PairAssignments(ctx, pairs)
	if err != nil {
		return err
	}
	for i := range rows {
		if rows[i].Guest {
			rows[i].Assignment = assignments[rows[i].Pair]
		}
	}
	return nil
}

// sentRunRequests are, by satellite, those that may still be answered.
func (db *DB) sentRunRequests(ctx context.Context, satelliteIDs []string) (map[string][]fleet.RunRequest, error) {
	rows, err := all(ctx, db.reads(), func(row scanner) (r fleet.RunRequest, err error) {
		return r, row.Scan(runRequestFields(&r)...)
	}, `SELECT `+runRequestColumns+` FROM run_requests
		WHERE satellite_id = ANY($1) AND requested_at >= {now} - $2 AND state = 'sent'`, satelliteIDs, fleet.RunGrant.Microseconds())
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	if err := db.fillGuests(ctx, rows); err != nil {
		return nil, err
	}
	sent := map[string][]fleet.RunRequest{}
	for _, r := range rows {
		sent[r.SatelliteID] = append(sent[r.SatelliteID], r)
	}
	return sent, nil
}

func (db *DB) RefuseRunRequest(ctx context.Context, r fleet.RunRequest, reason string) error {
	_, err := db.writes().exec(ctx, `UPDATE run_requests SET state = 'refused', reason = $5
		WHERE satellite_id = $1 AND check_id = $2 AND system_id = $3 AND slot = $4 AND environment_id = $6 AND state = 'sent'`,
		r.SatelliteID, r.ConfigID, r.SystemID, r.Slot, stored(reason), r.EnvironmentID)
	return err
}

func (db *DB) RunRequests(ctx context.Context, requestID string, patience time.Duration) ([]fleet.RunRequest, error) {
	return all(ctx, db.reads(), func(row scanner) (r fleet.RunRequest, err error) {
		var in environments
		if err := row.Scan(append(append([]any{&r.Satellite, &r.Region}, runRequestFields(&r)...), in.dest()...)...); err != nil {
			return r, err
		}
		at := r.Satellite
		if r.Guest {
			at = "" // what narrows a satellite that holds the pair does not bind it
		}
		for _, env := range in.on(at) {
			r.Expected = append(r.Expected, fleet.ExpectedRun{EnvironmentID: env.ID, Environment: env.Name})
		}
		return r, nil
	}, `SELECT s.name, s.region, q.satellite_id, q.check_id, q.system_id, q.environment_id, q.slot, q.asked,
			CASE WHEN q.state = 'waiting' AND q.requested_at < {now} - $2 THEN 'not_connected' ELSE q.state END,
			q.reason, q.guest, q.deadline_ms, q.requested_at, `+environmentColumns+`
		FROM run_requests AS q JOIN satellites AS s ON s.id = q.satellite_id
		LEFT JOIN assignments AS a ON a.check_id = q.check_id AND a.system_id = q.system_id
		LEFT JOIN systems AS y ON y.id = a.system_id
		WHERE q.request_id = $1 ORDER BY s.name`, requestID, patience.Microseconds())
}

// RunAnswers looks at the few runs and skips whose ids begin with the slot.
func (db *DB) RunAnswers(ctx context.Context, of []fleet.RunRequest) ([]fleet.RunAnswer, error) {
	if len(of) == 0 {
		return nil, nil
	}
	ids := make([]string, len(of))
	for i, r := range of {
		ids[i] = r.SatelliteID
	}
	slot := time.UnixMilli(of[0].Slot)
	args := []any{keyAt(slot), keyAt(slot.Add(time.Millisecond)), of[0].ConfigID, of[0].SystemID, ids}
	answers, err := all(ctx, db.reads(), scanRunAnswer, `SELECT run_id, satellite_id, environment_id, status, latency_ms, message, received_at, inconclusive, result
		FROM runs WHERE run_id >= $1 AND run_id < $2 AND check_id = $3 AND system_id = $4 AND satellite_id = ANY($5)`, args...)
	if err != nil {
		return nil, err
	}
	skips, err := all(ctx, db.reads(), func(row scanner) (a fleet.RunAnswer, err error) {
		return a, row.Scan(&a.RunID, &a.SatelliteID, &a.EnvironmentID, &a.Skipped, moment{&a.ReceivedAt})
	}, `SELECT id, satellite_id, environment_id, reason, received_at
		FROM skips WHERE id >= $1 AND id < $2 AND check_id = $3 AND system_id = $4 AND satellite_id = ANY($5)`, args...)
	return append(answers, skips...), err
}

func scanRunAnswer(row scanner) (fleet.RunAnswer, error) {
	var a fleet.RunAnswer
	var result *string
	err := row.Scan(&a.RunID, &a.SatelliteID, &a.EnvironmentID, &a.Status, &a.LatencyMs, &a.Message, moment{&a.ReceivedAt}, &a.Inconclusive, &result)
	if err != nil || result == nil {
		return a, err
	}
	var evidence check.Result
	if json.Unmarshal([]byte(*result), &evidence) == nil { // stored by us, and no more than an ornament here
		a.Timings = evidence.Metadata.Timings
	}
	return a, nil
}

// PairAssignments are not placed: what is paused or disabled is among them, since
// somebody may want to run it once all the same, and all environments of the assignment
// are, whatever single satellites narrow them to.
func (db *DB) PairAssignments(ctx context.Context, pairs []protocol.Pair) (map[protocol.Pair]*protocol.Assignment, error) {
	found := make(map[protocol.Pair]*protocol.Assignment, len(pairs))
	if len(pairs) == 0 {
		return found, nil
	}
	var checks, systems []string
	wanted := make(map[protocol.Pair]bool, len(pairs))
	for _, p := range pairs {
		if !wanted[p] {
			wanted[p] = true
			checks, systems = append(checks, p.ConfigID), append(systems, p.SystemID)
		}
	}
	for p, err := range each(ctx, db.reads(), func(row scanner) (p placed, err error) {
		err = row.Scan(append([]any{&p.checkID, &p.systemID, &p.checkName, &p.spec, &p.systemName, document{&p.fields}}, p.environments.dest()...)...)
		if err == nil {
			err = json.Unmarshal([]byte(p.spec.String), &p.decodedSpecification)
		}
		return p, err
	}, `SELECT a.check_id, a.system_id, c.name, c.spec, y.name, y.fields, `+environmentColumns+` FROM assignments AS a
		JOIN checks AS c ON c.id = a.check_id JOIN systems AS y ON y.id = a.system_id
		WHERE a.check_id = ANY($1) AND a.system_id = ANY($2)`, checks, systems) {
		if err != nil {
			return nil, err
		}
		if pair := (protocol.Pair{ConfigID: *p.checkID, SystemID: *p.systemID}); wanted[pair] {
			a := p.assignment(pair)
			found[pair] = &a
		}
	}
	return found, nil
}

func (db *DB) SystemsOfCheck(ctx context.Context, checkID string) (map[string]string, error) {
	systems := map[string]string{}
	for s, err := range each(ctx, db.reads(), func(row scanner) (s [2]string, err error) { return s, row.Scan(&s[0], &s[1]) },
		`SELECT y.id, y.name FROM assignments AS a JOIN systems AS y ON y.id = a.system_id WHERE a.check_id = $1`, checkID) {
		if err != nil {
			return nil, err
		}
		systems[s[0]] = s[1]
	}
	return systems, nil
}
