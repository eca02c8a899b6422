package store

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fleet"
)

const connectionColumns = `id, name, region, epoch, last_heartbeat_at, last_connection_event, offline_threshold_ms, coalesce(session_credential, 0), duplicate_until, core`

func scanConnection(row scanner) (fleet.Connection, error) {
	var c fleet.Connection
	var event *fleet.Edge
	err := row.Scan(&c.SatelliteID, &c.Name, &c.Region, &c.Epoch, momentOrNil{&c.LastHeartbeatAt}, &event, &c.ThresholdMs, &c.Credential, momentOrNil{&c.DuplicateUntil}, &c.Core)
	if event != nil {
		c.LastEvent = *event
	}
	return c, err
}

func (tx *Tx) LockConnections(ctx context.Context, ids []string) (map[string]fleet.Connection, error) {
	locked := make(map[string]fleet.Connection, len(ids))
	if len(ids) == 0 {
		return locked, nil
	}
	for c, err := range each(ctx, tx.conn, scanConnection, `SELECT `+connectionColumns+`
		FROM satellites WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE`, ids) {
		if err != nil {
			return nil, err
		}
		locked[c.SatelliteID] = c
	}
	return locked, nil
}

// WriteConnections expects rows that LockConnections has locked; one that does not
// exist (spec L64) is NotFound and fails all.
func (tx *Tx) WriteConnections(ctx context.Context, rows []fleet.Connection) error {
	rows = slices.SortedFunc(slices.Values(rows), func(a, b fleet.Connection) int { return cmp.Compare(a.SatelliteID, b.SatelliteID) })
	return chunks(rows, func(rows []fleet.Connection) error {
		cols := []column{
			col("id", "text", rows, func(c *fleet.Connection) string { return c.SatelliteID }),
			col("epoch", "bigint", rows, func(c *fleet.Connection) int64 { return c.Epoch }),
			col("heartbeat", "bigint", rows, func(c *fleet.Connection) *int64 { return microsOrNil(c.LastHeartbeatAt) }),
			col("event", "text", rows, func(c *fleet.Connection) *string { return orNil(string(c.LastEvent)) }),
			col("credential", "bigint", rows, func(c *fleet.Connection) int64 { return c.Credential }),
			col("opened", "boolean", rows, func(c *fleet.Connection) bool { return c.Opened }),
			col("core", "text", rows, func(c *fleet.Connection) string { return c.Core }),
		}
		written := int64(0)
		if tx.db.dialect == sqlite {
			err := tx.repeat(ctx, `UPDATE satellites SET epoch = $2, last_heartbeat_at = $3, last_connection_event = $4, session_credential = $5, core = $7,
				token_last_used_at = CASE WHEN $6 AND credential_version = $5 THEN $3 ELSE token_last_used_at END
				WHERE id = $1`,
				len(rows), cols, func(_ int, touched int64) { written += touched })
			if err != nil {
				return err
			}
		} else {
			table, args := unnest(cols)
			var err error
			if written, err = tx.exec(ctx, `UPDATE satellites AS s SET epoch = b.epoch, last_heartbeat_at = b.heartbeat,
				last_connection_event = b.event, session_credential = b.credential, core = b.core,
				token_last_used_at = CASE WHEN b.opened AND s.credential_version = b.credential THEN b.heartbeat ELSE s.token_last_used_at END
				FROM `+table+` WHERE s.id = b.id`, args...); err != nil {
				return err
			}
		}
		if written != int64(len(rows)) {
			return missing("satellite to connect or disconnect any more")
		}
		return nil
	})
}

func (tx *Tx) ReplacementsForUpdate(ctx context.Context, satelliteID string) (fleet.Replacements, error) {
	return one(ctx, tx.conn, satelliteNamed(satelliteID), func(row scanner) (r fleet.Replacements, err error) {
		return r, row.Scan(&r.Times, momentOrNil{&r.Since}, &r.Remote, momentOrNil{&r.DuplicateUntil})
	}, `SELECT replaced_times, replaced_since, coalesce(replaced_remote, ''), duplicate_until FROM satellites WHERE id = $1 FOR NO KEY UPDATE`, satelliteID)
}

func (tx *Tx) PutReplacements(ctx context.Context, satelliteID string, r fleet.Replacements) error {
	return tx.execOne(ctx, satelliteNamed(satelliteID), `UPDATE satellites SET replaced_times = $2, replaced_since = $3, replaced_remote = $4, duplicate_until = $5
		WHERE id = $1`, satelliteID, r.Times, microsOrNil(r.Since), r.Remote, microsOrNil(r.DuplicateUntil))
}

// leaseUs is fleet.LeaseSpan.
const leaseUs = `{threshold} * 1000`

// beaten is what is known of a satellite after its heartbeat was written.
type beaten struct {
	fleet.Lease
	event *fleet.Edge
}

func scanBeaten(row scanner) (b beaten, err error) {
	var until *time.Time
	err = row.Scan(&b.SatelliteID, &b.Epoch, &b.event, momentOrNil{&until}, &b.Revision)
	if until != nil {
		b.Until = *until
	}
	return b, err
}

// FlushBeats expects at most one beat of a satellite and epoch. What it returns are
// rows whose socket lives although the record says otherwise, and the leases.
func (tx *Tx) FlushBeats(ctx context.Context, beats []fleet.Beat) (recovered []string, leases []fleet.Lease, err error) {
	if len(beats) == 0 {
		return nil, nil, nil
	}
	beats = slices.SortedFunc(slices.Values(beats), func(a, b fleet.Beat) int { return cmp.Compare(a.SatelliteID, b.SatelliteID) })
	now, err := tx.Now(ctx)
	if err != nil {
		return nil, nil, err
	}
	written, err := tx.flushBeats(ctx, beats, []column{
		col("id", "text", beats, func(b *fleet.Beat) string { return b.SatelliteID }),
		col("epoch", "bigint", beats, func(b *fleet.Beat) int64 { return b.Epoch }),
		col("heard", "bigint", beats, func(b *fleet.Beat) int64 { return now.Add(-b.Age).UnixMicro() }),
		col("version", "text", beats, func(b *fleet.Beat) *string { return orNil(stored(b.Version)) }),
		col("capabilities", "text", beats, func(b *fleet.Beat) *string { return jsonOrNil(b.Capabilities, b.Capabilities == nil) }),
		col("pulse", "text", beats, func(b *fleet.Beat) *string { return jsonOrNil(b.Pulse, b.Pulse == nil) }),
		col("leases", "boolean", beats, func(b *fleet.Beat) bool { return b.Leases }),
	})
	if err != nil {
		return nil, nil, err
	}
	asked := make(map[string]bool, len(beats))
	for _, b := range beats {
		asked[b.SatelliteID] = asked[b.SatelliteID] || b.Leases
	}
	recovered = []string{}
	for _, b := range written {
		if b.event == nil || *b.event != fleet.Connected {
			recovered = append(recovered, b.SatelliteID)
		}
		if asked[b.SatelliteID] && !b.Until.IsZero() {
			leases = append(leases, b.Lease)
		}
	}
	return recovered, leases, nil
}

// flushBeats gives the rows that were written, in the order of ids.
func (tx *Tx) flushBeats(ctx context.Context, beats []fleet.Beat, cols []column) ([]beaten, error) {
	if tx.db.dialect == sqlite {
		return tx.flushOneByOne(ctx, beats, cols)
	}
	// The rows are locked in the order of ids first, like everywhere, and looked at
	// again after a wait; then written.
	table, args := unnest(cols)
	return all(ctx, tx.conn, scanBeaten, `WITH held AS (
			SELECT b.* FROM satellites AS s JOIN `+table+` ON b.id = s.id AND b.epoch = s.epoch
			WHERE s.last_connection_event <> 'disconnected'
			ORDER BY s.id FOR NO KEY UPDATE OF s
		), written AS (
			UPDATE satellites AS s SET
				last_heartbeat_at = GREATEST(s.last_heartbeat_at, h.heard),
				version = COALESCE(h.version, s.version),
				capabilities = COALESCE(h.capabilities, s.capabilities),
				pulse = COALESCE(h.pulse, s.pulse),
				leased_until = CASE WHEN h.leases THEN GREATEST(coalesce(s.leased_until, 0), {now} + `+leaseUs+`) ELSE s.leased_until END
			FROM held AS h WHERE s.id = h.id
			RETURNING s.id, s.epoch, s.last_connection_event, s.leased_until, s.desired_revision
		)
		SELECT id, epoch, last_connection_event, leased_until, desired_revision FROM written ORDER BY id`, args...)
}

func (tx *Tx) flushOneByOne(ctx context.Context, beats []fleet.Beat, cols []column) ([]beaten, error) {
	matched := make(map[string]bool, len(beats))
	err := tx.repeat(ctx, `UPDATE satellites AS s SET
			last_heartbeat_at = max(coalesce(last_heartbeat_at, $3), $3),
			version = coalesce($4, version),
			capabilities = coalesce($5, capabilities),
			pulse = coalesce($6, pulse),
			leased_until = CASE WHEN $7 THEN GREATEST(coalesce(s.leased_until, 0), {now} + `+leaseUs+`) ELSE s.leased_until END
		WHERE id = $1 AND epoch = $2 AND last_connection_event <> 'disconnected'`, len(beats), cols, func(i int, touched int64) {
		if touched > 0 {
			matched[beats[i].SatelliteID] = true
		}
	})
	if err != nil {
		return nil, err
	}
	ids := slices.Sorted(maps.Keys(matched))
	return all(ctx, tx.conn, scanBeaten, `SELECT id, epoch, last_connection_event, leased_until, desired_revision
		FROM satellites WHERE id = ANY($1) ORDER BY id`, ids)
}

func scanString(row scanner) (s string, err error) { return s, row.Scan(&s) }

// jsonOrNil writes a value of ours as JSON, nothing when absent.
func jsonOrNil(v any, absent bool) *string {
	if absent {
		return nil
	}
	text, err := jsonText(v)
	if err != nil { // a float of a pulse that is no number: as good as absent
		return nil
	}
	text = stored(text)
	return &text
}

// overdue holds for a row (s) that is connected and silent past its threshold,
// not counting time in which no core was looking (design 2.7).
const overdue = `s.last_connection_event = 'connected' AND {now} > ` + thresholdUs + ` +
	GREATEST(coalesce(s.last_heartbeat_at, 0), coalesce((SELECT o.since FROM observer AS o), 0))`

func (db *DB) Overdue(ctx context.Context) (bool, error) {
	return one(ctx, db.reads(), "", func(row scanner) (yes bool, err error) { return yes, row.Scan(&yes) },
		`SELECT EXISTS (SELECT 1 FROM satellites AS s WHERE `+overdue+`)`)
}

// MarkLost is conditional as a whole: a beat or a connection written in between
// makes a row pass by (spec M45). A row that somebody is writing right now is
// skipped and judged in the next pass.
func (tx *Tx) MarkLost(ctx context.Context) ([]fleet.Connection, error) {
	return all(ctx, tx.conn, scanConnection, `UPDATE satellites SET last_connection_event = 'heartbeat_lost'
		WHERE last_connection_event = 'connected' AND id IN (
			SELECT s.id FROM satellites AS s WHERE `+overdue+` ORDER BY s.id FOR NO KEY UPDATE SKIP LOCKED)
		RETURNING `+connectionColumns)
}

func (tx *Tx) Observe(ctx context.Context, core string, blindAfter time.Duration) (before fleet.Observation, others bool, err error) {
	var since, at *time.Time
	_, err = one(ctx, tx.conn, "observer", func(row scanner) (struct{}, error) {
		return struct{}{}, row.Scan(momentOrNil{&since}, momentOrNil{&at})
	}, `SELECT since, at FROM observer WHERE id = 1 FOR UPDATE`)
	if err != nil {
		return before, false, err
	}
	now, err := tx.Now(ctx)
	if err != nil {
		return before, false, err
	}
	sinceNow := now
	if since != nil && at != nil {
		before = fleet.Observation{Since: *since, At: *at}
		if now.Sub(*at) <= blindAfter {
			sinceNow = *since
		}
	}
	_, err = tx.exec(ctx, `UPDATE observer SET since = $1, at = GREATEST(coalesce(at, $2), $2) WHERE id = 1`, sinceNow.UnixMicro(), now.UnixMicro())
	if err != nil {
		return before, false, err
	}
	known, err := tx.exec(ctx, `UPDATE cores SET seen_at = {now} WHERE id = $1`, core)
	if err == nil && known == 0 {
		_, err = tx.exec(ctx, `INSERT INTO cores (id, seen_at) VALUES ($1, {now})`, core)
	}
	if err != nil {
		return before, false, err
	}
	// SQLite has one core at a time.
	gone, err := tx.exec(ctx, `DELETE FROM cores WHERE id <> $1 AND (seen_at < {now} - $2 OR $3)`, core, fleet.CoreGone.Microseconds(), tx.db.dialect == sqlite)
	return before, known == 0 || gone > 0, err
}

func (tx *Tx) LeaveCore(ctx context.Context, core string) error {
	_, err := tx.exec(ctx, `DELETE FROM cores WHERE id = $1`, core)
	return err
}
