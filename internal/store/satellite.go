package store

import (
	"context"
	"fmt"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/protocol"
)

// What a satellite's row (s) says of its liveness, by the database's clock: heard
// within its threshold, which counts inclusively, or in the future (spec C.1).
const (
	thresholdUs = `(CASE WHEN s.offline_threshold_ms > 0 THEN s.offline_threshold_ms ELSE {threshold} END * 1000)`
	// connected: a core that runs holds the session, as far as is known.
	connected = `(s.last_connection_event = 'connected' AND (s.core = '' OR EXISTS (SELECT 1 FROM cores AS c WHERE c.id = s.core AND c.seen_at >= {now} - {core})))`
	online    = `(s.last_heartbeat_at IS NOT NULL AND {now} - s.last_heartbeat_at <= ` + thresholdUs + `)`
)

const (
	// An overlap is over when its time is, whoever looks.
	overlapping      = `(s.previous_until IS NOT NULL AND s.previous_until > {now})`
	satelliteColumns = `s.id, s.name, s.region, s.tags, ` + online + `, s.last_heartbeat_at, s.last_connection_event,
		s.version, s.created_at, s.offline_threshold_ms, s.capabilities, s.epoch, s.desired_revision, s.pulse,
		s.token_expires_at, s.token_last_used_at, CASE WHEN ` + overlapping + ` THEN s.previous_until END,
		` + overlapping + ` AND s.session_credential = s.previous_version AND s.last_connection_event <> 'disconnected',
		CASE WHEN s.duplicate_until > {now} THEN s.duplicate_until END, r.inventory, r.applied_revision, r.applied_errors,
		s.observer, s.ill_since,
		s.weight, s.cordoned_at, s.draining, s.leased_until,
		(SELECT count(*) FROM placements AS q WHERE q.satellite_id = s.id AND q.seat > 0 AND (q.removed_at IS NULL OR q.removed_at > {now}))`
	satelliteTables = ` FROM satellites AS s LEFT JOIN satellite_reports AS r ON r.satellite_id = s.id`
	satelliteRows   = `SELECT ` + satelliteColumns + satelliteTables
)

func scanSatellite(row scanner) (fleet.Satellite, error) {
	s := fleet.Satellite{Tags: map[string]string{}, Capabilities: []string{}, AppliedErrors: []protocol.AppliedError{}, Status: fleet.Offline}
	var isOnline bool
	var previousInUse *bool
	err := row.Scan(&s.ID, &s.Name, &s.Region, document{&s.Tags}, &isOnline, momentOrNil{&s.LastHeartbeatAt}, &s.LastConnectionEvent,
		&s.Version, moment{&s.CreatedAt}, &s.OfflineThresholdMs, document{&s.Capabilities}, &s.Epoch, &s.DesiredRevision, document{&s.Pulse},
		momentOrNil{&s.TokenExpiresAt}, momentOrNil{&s.TokenLastUsedAt}, momentOrNil{&s.PreviousTokenValidUntil}, &previousInUse,
		momentOrNil{&s.DuplicateUntil}, document{&s.Inventory}, &s.AppliedRevision, document{&s.AppliedErrors},
		document{&s.Observer}, momentOrNil{&s.IllSince},
		&s.Weight, momentOrNil{&s.CordonedAt}, &s.Draining, momentOrNil{&s.LeasedUntil}, &s.Seats)
	if isOnline {
		s.Status = fleet.Online
	}
	s.PreviousTokenInUse = previousInUse != nil && *previousInUse
	if s.AppliedErrors == nil { // stored as null: a report without errors
		s.AppliedErrors = []protocol.AppliedError{}
	}
	return s, err
}

func satelliteNamed(what string) string { return fmt.Sprintf("satellite %q", what) }

func (db *DB) Satellite(ctx context.Context, id string) (fleet.Satellite, error) {
	return one(ctx, db.reads(), satelliteNamed(id), scanSatellite, satelliteRows+` WHERE s.id = $1`, id)
}

func (db *DB) SatelliteByName(ctx context.Context, name string) (fleet.Satellite, error) {
	return one(ctx, db.reads(), satelliteNamed(name), scanSatellite, satelliteRows+` WHERE s.name = $1`, name)
}

func (db *DB) Satellites(ctx context.Context, f fleet.Filter, p fleet.Page) ([]fleet.Satellite, string, error) {
	var w where
	if f.Name != "" {
		w.and(`s.name = $$`, f.Name)
	}
	if f.Region != "" {
		w.and(`s.region = $$`, f.Region)
	}
	switch f.Status {
	case fleet.Online:
		w.conds = append(w.conds, online)
	case fleet.Offline:
		w.conds = append(w.conds, `NOT `+online)
	}
	for tag, value := range f.Tag {
		w.conds = append(w.conds, `EXISTS (SELECT 1 FROM jsonb_each_text(s.tags::jsonb) AS e WHERE e.key = `+w.arg(tag)+` AND e.value = `+w.arg(value)+`)`)
	}
	return pageByName(ctx, db.reads(), &w, "s.name", satelliteRows, scanSatellite, p, func(s fleet.Satellite) string { return s.Name })
}

// pageByName reads one page in the order of names.
func pageByName[T any](ctx context.Context, c conn, w *where, column, q string, scan func(scanner) (T, error), p fleet.Page, name func(T) string) ([]T, string, error) {
	last, err := after(p)
	if err != nil {
		return nil, "", err
	}
	if last != "" {
		w.and(column+` > $$`, last)
	}
	rows, err := all(ctx, c, scan, q+w.String()+` ORDER BY `+column+` LIMIT `+w.arg(limit(p)+1), w.args...)
	if err != nil {
		return nil, "", err
	}
	items, next := paged(rows, p, name)
	return items, next, nil
}

func (tx *Tx) AllSatellites(ctx context.Context) ([]fleet.Satellite, error) {
	return all(ctx, tx.conn, scanSatellite, satelliteRows+` ORDER BY s.name`)
}

func (tx *Tx) SatelliteForUpdate(ctx context.Context, id string) (fleet.Satellite, error) {
	return one(ctx, tx.conn, satelliteNamed(id), scanSatellite, satelliteRows+` WHERE s.id = $1 FOR UPDATE OF s`, id)
}

func (tx *Tx) InsertSatellite(ctx context.Context, s fleet.Satellite, tokenHash string) error {
	if err := tx.touch(ctx, "satellites", s.ID); err != nil {
		return err
	}
	created, err := tx.orNow(ctx, s.CreatedAt)
	if err != nil {
		return err
	}
	tags, err := labelText(s.Tags)
	if err != nil {
		return err
	}
	_, err = tx.execNaming(ctx, s.Name, `INSERT INTO satellites (id, name, region, tags, token_hash, created_at, offline_threshold_ms, token_expires_at, weight)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, s.ID, s.Name, s.Region, tags, tokenHash, created.UnixMicro(), s.OfflineThresholdMs, microsOrNil(s.TokenExpiresAt), s.Weighs())
	return err
}

func (tx *Tx) UpdateSatellite(ctx context.Context, s fleet.Satellite) error {
	if err := tx.touch(ctx, "satellites", s.ID); err != nil {
		return err
	}
	tags, err := labelText(s.Tags)
	if err != nil {
		return err
	}
	n, err := tx.execNaming(ctx, s.Name, `UPDATE satellites SET name = $2, region = $3, tags = $4, offline_threshold_ms = $5,
			weight = $6, cordoned_at = $7, draining = $8 WHERE id = $1`,
		s.ID, s.Name, s.Region, tags, s.OfflineThresholdMs, s.Weighs(), microsOrNil(s.CordonedAt), s.Draining)
	if err == nil && n == 0 {
		return missing(satelliteNamed(s.ID))
	}
	return err
}

// DeleteSatellite takes its placements, locations and reports along; runs and
// transitions stay as history. The row is locked before anything is read of it: a lease
// that is renewed meanwhile would outlive the fence.
func (tx *Tx) DeleteSatellite(ctx context.Context, id string) error {
	if err := tx.touch(ctx, "satellites", id); err != nil {
		return err
	}
	if _, err := tx.SatelliteForUpdate(ctx, id); err != nil {
		return err
	}
	if err := tx.fenceWhere(ctx, "satellite_id", id); err != nil {
		return err
	}
	if err := tx.turnWhere(ctx, "satellite_id", id); err != nil {
		return err
	}
	return tx.execOne(ctx, satelliteNamed(id), `DELETE FROM satellites WHERE id = $1`, id)
}

// What satellites report of themselves.

func (tx *Tx) SetInventory(ctx context.Context, id string, inv protocol.Inventory) error {
	return tx.report(ctx, id, "inventory", inv)
}

func (tx *Tx) SetSyncState(ctx context.Context, id string, s protocol.ScriptPackageSyncState) error {
	if err := tx.report(ctx, id, "sync_state", s); err != nil {
		return err
	}
	return tx.execOne(ctx, satelliteNamed(id), `UPDATE satellite_reports SET synced_at = {now} WHERE satellite_id = $1`, id)
}

func (tx *Tx) SetApplied(ctx context.Context, id string, applied protocol.Applied) error {
	if err := tx.report(ctx, id, "applied_errors", applied.Errors); err != nil {
		return err
	}
	if err := tx.execOne(ctx, satelliteNamed(id), `UPDATE satellite_reports SET applied_revision = $2 WHERE satellite_id = $1`, id, applied.Revision); err != nil {
		return err
	}
	return tx.told(ctx, id, applied)
}

func (tx *Tx) report(ctx context.Context, id, column string, v any) error {
	text, err := jsonText(v)
	if err != nil {
		return err
	}
	return tx.execOne(ctx, satelliteNamed(id), `INSERT INTO satellite_reports (satellite_id, `+column+`)
		SELECT id, $2 FROM satellites WHERE id = $1
		ON CONFLICT (satellite_id) DO UPDATE SET `+column+` = excluded.`+column, id, text)
}

// labelText writes labels; none are an empty object.
func labelText(labels map[string]string) (string, error) {
	if labels == nil {
		return "{}", nil
	}
	return jsonText(labels)
}
