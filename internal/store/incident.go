package store

import (
	"context"
	"fmt"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/incident"
)

var (
	_ incident.Store = (*DB)(nil)
	_ incident.Tx    = (*Tx)(nil)
)

const incidentRows = `SELECT i.id, i.title, i.severity, i.status, i.cause, i.systems, i.parts, i.opened_at, i.updated_at, i.resolved_at FROM incidents AS i`

func scanIncident(row scanner) (incident.Incident, error) {
	i := incident.Incident{Systems: []string{}, Parts: []string{}}
	return i, row.Scan(&i.ID, &i.Title, &i.Severity, &i.Status, &i.Cause, document{&i.Systems}, document{&i.Parts}, moment{&i.OpenedAt}, moment{&i.UpdatedAt}, momentOrNil{&i.ResolvedAt})
}

func incidentNamed(id string) string { return fmt.Sprintf("incident %q", id) }

// LockIncidents makes transactions that alter incidents wait for each other.
func (tx *Tx) LockIncidents(ctx context.Context) error { return tx.exclusive(ctx, lockIncidents) }

func (db *DB) Incident(ctx context.Context, id string) (incident.Incident, error) {
	return one(ctx, db.reads(), incidentNamed(id), scanIncident, incidentRows+` WHERE i.id = $1`, id)
}

func (tx *Tx) IncidentForUpdate(ctx context.Context, id string) (incident.Incident, error) {
	return one(ctx, tx.conn, incidentNamed(id), scanIncident, incidentRows+` WHERE i.id = $1 FOR UPDATE`, id)
}

func (tx *Tx) OpenIncident(ctx context.Context, cause string) (incident.Incident, error) {
	return one(ctx, tx.conn, fmt.Sprintf("open incident of the cause %q", cause), scanIncident,
		incidentRows+` WHERE i.cause = $1 AND i.cause <> '' AND i.resolved_at IS NULL FOR UPDATE`, cause)
}

func (db *DB) Incidents(ctx context.Context, open bool, p fleet.Page) ([]incident.Incident, string, error) {
	w := &where{}
	if open {
		w.conds = append(w.conds, `i.resolved_at IS NULL`)
	}
	return pageNewest(ctx, db.reads(), w, "i.id", incidentRows, scanIncident, p, func(i incident.Incident) string { return i.ID })
}

// pageNewest lists by ids that rise with time, newest first.
func pageNewest[T any](ctx context.Context, c conn, w *where, column, q string, scan func(scanner) (T, error), p fleet.Page, id func(T) string) ([]T, string, error) {
	last, err := after(p)
	if err != nil {
		return nil, "", err
	}
	if last != "" {
		w.and(column+` < $$`, last)
	}
	rows, err := all(ctx, c, scan, q+w.String()+` ORDER BY `+column+` DESC LIMIT `+w.arg(limit(p)+1), w.args...)
	if err != nil {
		return nil, "", err
	}
	items, next := paged(rows, p, id)
	return items, next, nil
}

func (tx *Tx) PutIncident(ctx context.Context, i incident.Incident) error {
	if err := tx.touch(ctx, "incidents", i.ID); err != nil {
		return err
	}
	systems, err := jsonText(append([]string{}, i.Systems...))
	if err != nil {
		return err
	}
	parts, err := jsonText(append([]string{}, i.Parts...))
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, `INSERT INTO incidents (id, title, severity, status, cause, systems, parts, opened_at, updated_at, resolved_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (id) DO UPDATE SET title = excluded.title, severity = excluded.severity, status = excluded.status, systems = excluded.systems, parts = excluded.parts,
			updated_at = excluded.updated_at, resolved_at = excluded.resolved_at`,
		i.ID, stored(i.Title), string(i.Severity), string(i.Status), stored(i.Cause), systems, parts, i.OpenedAt.UnixMicro(), i.UpdatedAt.UnixMicro(), microsOrNil(i.ResolvedAt))
	return err
}

const entryRows = `SELECT e.id, e.incident_id, e.status, e.text, e.actor, e.at, e.key FROM incident_entries AS e`

func scanEntry(row scanner) (e incident.Entry, err error) {
	return e, row.Scan(&e.ID, &e.IncidentID, &e.Status, &e.Text, document{&e.Actor}, moment{&e.At}, &e.Key)
}

func (db *DB) IncidentEntries(ctx context.Context, id string) ([]incident.Entry, error) {
	return all(ctx, db.reads(), scanEntry, entryRows+` WHERE e.incident_id = $1 ORDER BY e.id`, id)
}

func (tx *Tx) EntryOfKey(ctx context.Context, key string) (incident.Entry, error) {
	return one(ctx, tx.conn, "entry of this key", scanEntry, entryRows+` WHERE e.key = $1 AND e.key <> ''`, key)
}

func (tx *Tx) CountEntries(ctx context.Context, id string) (int, error) {
	n, err := one(ctx, tx.conn, incidentNamed(id), scanInt64, `SELECT count(*) FROM incident_entries WHERE incident_id = $1`, id)
	return int(n), err
}

func (tx *Tx) InsertEntry(ctx context.Context, e incident.Entry) error {
	if err := tx.touch(ctx, "incidents", e.IncidentID); err != nil {
		return err
	}
	actor, err := jsonText(e.Actor)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, `INSERT INTO incident_entries (id, incident_id, status, text, actor, key, at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		e.ID, e.IncidentID, string(e.Status), stored(e.Text), actor, e.Key, e.At.UnixMicro())
	return err
}

const noteRows = `SELECT n.id, n.kind, n.entity_id, n.text, n.actor, n.at FROM notes AS n`

func scanNote(row scanner) (n incident.Note, err error) {
	return n, row.Scan(&n.ID, &n.Kind, &n.EntityID, &n.Text, document{&n.Actor}, moment{&n.At})
}

func (db *DB) Notes(ctx context.Context, kind, id string, p fleet.Page) ([]incident.Note, string, error) {
	w := &where{}
	if kind != "" {
		w.and(`n.kind = $$`, kind)
	}
	if id != "" {
		w.and(`n.entity_id = $$`, id)
	}
	return pageNewest(ctx, db.reads(), w, "n.id", noteRows, scanNote, p, func(n incident.Note) string { return n.ID })
}

func (tx *Tx) InsertNote(ctx context.Context, n incident.Note) error {
	if err := tx.touch(ctx, "notes", n.ID); err != nil {
		return err
	}
	actor, err := jsonText(n.Actor)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, `INSERT INTO notes (id, kind, entity_id, text, actor, key, at) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
		n.ID, stored(n.Kind), stored(n.EntityID), stored(n.Text), actor, n.Key, n.At.UnixMicro())
	return err
}

// SystemIDs turns ids and names of systems into ids; what does not exist is left out.
func (db *DB) SystemIDs(ctx context.Context, refs []string) (map[string]string, error) {
	found := map[string]string{}
	type named struct{ id, name string }
	for s, err := range each(ctx, db.reads(), func(row scanner) (s named, err error) {
		return s, row.Scan(&s.id, &s.name)
	}, `SELECT id, name FROM systems WHERE id = ANY($1) OR name = ANY($1)`, refs) {
		if err != nil {
			return nil, err
		}
		found[s.name] = s.id
		found[s.id] = s.id
	}
	return found, nil
}
