package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/protocol"
)

// grantFor is how long a pair may be reported for after it was taken away: as long
// as a satellite is expected to hold results of runs that were due before.
const grantFor = health.GrantFor

// placed is one row of a satellite's desired set: the revision, and a placement
// with what it means now, if there is any.
type placed struct {
	satelliteID          string
	revision             int64
	checkID, systemID    *string
	since, removedAt     *time.Time
	seat                 int
	runs                 bool // placed, enabled, not paused
	checkName, spec      sql.NullString
	systemName           sql.NullString
	satellite            string
	fields               map[string]any // of the system
	environments         environments
	decodedSpecification check.Spec
}

func scanPlaced(row scanner) (placed, error) {
	var p placed
	err := row.Scan(append([]any{
		&p.satelliteID, &p.revision, &p.checkID, &p.systemID,
		momentOrNil{&p.since},
		momentOrNil{&p.removedAt},
		&p.seat, &p.runs, &p.checkName, &p.spec, &p.systemName,
		&p.satellite,
		document{&p.fields},
	}, p.environments.dest()...)...)
	if err == nil && p.runs {
		err = json.Unmarshal([]byte(p.spec.String), &p.decodedSpecification)
	}
	return p, err
}

// DesiredSets is one statement, so that each revision is that of its set (spec M66).
func (db *DB) DesiredSets(ctx context.Context, satelliteIDs []string) (map[string]fleet.Desired, error) {
	sets := make(map[string]fleet.Desired, len(satelliteIDs))
	for p, err := range each(ctx, db.reads(), scanPlaced, `SELECT s.id, s.desired_revision, p.check_id, p.system_id, p.since, p.removed_at, coalesce(p.seat, 0),
			(p.removed_at IS NULL OR p.removed_at > {now}) AND coalesce(a.enabled AND NOT c.paused, false) AND NOT `+pausedNow+`, c.name, c.spec, y.name,
			s.name, y.fields, `+environmentColumns+`
		FROM satellites AS s
		LEFT JOIN placements AS p ON p.satellite_id = s.id AND (p.removed_at IS NULL OR p.removed_at > {now} - $2)
		LEFT JOIN assignments AS a ON a.id = p.assignment_id AND a.check_id = p.check_id AND a.system_id = p.system_id
		LEFT JOIN checks AS c ON c.id = a.check_id
		LEFT JOIN systems AS y ON y.id = a.system_id
		WHERE s.id = ANY($1) ORDER BY s.id, p.check_id, p.system_id`, satelliteIDs, grantFor.Microseconds()) {
		if err != nil {
			return nil, err
		}
		d, known := sets[p.satelliteID]
		if !known {
			d = fleet.Desired{SatelliteID: p.satelliteID, Revision: p.revision, Assignments: []protocol.Assignment{}, Grants: []fleet.Grant{}}
		}
		if p.checkID != nil && p.systemID != nil { // something is placed
			pair := protocol.Pair{ConfigID: *p.checkID, SystemID: *p.systemID}
			d.Grants = append(d.Grants, fleet.Grant{Pair: pair, RemovedAt: p.removedAt})
			if p.runs {
				d.Assignments = append(d.Assignments, p.assignment(pair))
			}
		}
		sets[p.satelliteID] = d
	}
	asked, err := db.sentRunRequests(ctx, satelliteIDs)
	for id, runs := range asked {
		if d, known := sets[id]; known {
			d.Asked = runs
			sets[id] = d
		}
	}
	return sets, err
}

// assignment is the placement as the wire spells it (spec E.1).
func (p *placed) assignment(pair protocol.Pair) protocol.Assignment {
	spec := &p.decodedSpecification
	a := protocol.Assignment{
		ConfigID: pair.ConfigID, SystemID: pair.SystemID, StrategyID: spec.Strategy, Config: objectOr(spec.Config),
		IntervalSeconds: time.Duration(spec.Interval).Seconds(), ConfigName: p.checkName.String, SystemName: p.systemName.String,
	}
	if p.seat > 0 {
		a.Seat = &protocol.Seat{Number: p.seat, After: p.since.UnixMilli()}
		if p.removedAt != nil { // it is handed over
			a.Seat.Until = p.removedAt.UnixMilli()
		}
	}
	if len(p.fields) > 0 {
		a.SystemMetadata = p.fields
	}
	a.Environments = p.environments.on(p.satellite)
	for _, c := range spec.Collectors {
		c.Config = objectOr(c.Config)
		a.Collectors = append(a.Collectors, protocol.CollectorOf(c))
	}
	return a
}

// objectOr is the configuration, or an empty one, which the wire does not leave out.
func objectOr(config json.RawMessage) json.RawMessage {
	if len(config) == 0 {
		return json.RawMessage("{}")
	}
	return config
}

func (db *DB) Revisions(ctx context.Context, satelliteIDs []string) (map[string]fleet.Revision, error) {
	revisions := make(map[string]fleet.Revision, len(satelliteIDs))
	if len(satelliteIDs) == 0 {
		return revisions, nil
	}
	type row struct {
		id string
		fleet.Revision
	}
	for r, err := range each(ctx, db.reads(), func(s scanner) (r row, err error) {
		var expires *int64
		var previous int64
		err = s.Scan(&r.id, &r.Desired, &r.Credential, &r.Epoch, &expires, &r.Previous, &previous)
		if expires != nil {
			r.ExpiresIn = new(time.Duration(*expires) * time.Microsecond)
		}
		r.PreviousIn = time.Duration(previous) * time.Microsecond
		return r, err
	}, `SELECT s.id, s.desired_revision, s.credential_version, s.epoch, s.token_expires_at - {now},
			CASE WHEN `+overlapping+` THEN s.previous_version ELSE 0 END, CASE WHEN `+overlapping+` THEN s.previous_until - {now} ELSE 0 END
		FROM satellites AS s WHERE s.id = ANY($1)`, satelliteIDs) {
		if err != nil {
			return nil, err
		}
		revisions[r.id] = r.Revision
	}
	return revisions, nil
}

func (tx *Tx) BumpRevisions(ctx context.Context, satelliteIDs []string) error {
	if len(satelliteIDs) == 0 {
		return nil
	}
	_, err := tx.exec(ctx, `UPDATE satellites SET desired_revision = desired_revision + 1
		WHERE id IN (SELECT s.id FROM satellites AS s WHERE s.id = ANY($1) ORDER BY s.id FOR NO KEY UPDATE)`, satelliteIDs)
	return err
}
