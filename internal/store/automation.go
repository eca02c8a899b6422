package store

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

const automationRows = `SELECT a.id, a.name, a.labels, a.enabled, a.revision, a.spec, a.created_at, a.updated_at FROM automations AS a`

func scanAutomation(row scanner) (automation.Automation, error) {
	a := automation.Automation{Labels: map[string]string{}}
	return a, row.Scan(&a.ID, &a.Name, document{&a.Labels}, &a.Enabled, &a.Revision, document{&a.Definition}, moment{&a.CreatedAt}, moment{&a.UpdatedAt})
}

func automationNamed(what string) string { return fmt.Sprintf("automation %q", what) }

func (db *DB) Automation(ctx context.Context, id string) (automation.Automation, error) {
	return one(ctx, db.reads(), automationNamed(id), scanAutomation, automationRows+` WHERE a.id = $1`, id)
}

func (db *DB) AutomationByName(ctx context.Context, name string) (automation.Automation, error) {
	return one(ctx, db.reads(), automationNamed(name), scanAutomation, automationRows+` WHERE a.name = $1`, name)
}

func (db *DB) Automations(ctx context.Context, p fleet.Page) ([]automation.Automation, string, error) {
	return pageByName(ctx, db.reads(), &where{}, "a.name", automationRows, scanAutomation, p, func(a automation.Automation) string { return a.Name })
}

func (db *DB) AutomationAt(ctx context.Context, id string, revision int64) (automation.Automation, error) {
	return one(ctx, db.reads(), fmt.Sprintf("revision %d of automation %q", revision, id), scanAutomation,
		`SELECT a.id, a.name, a.labels, a.enabled, r.revision, r.spec, a.created_at, a.updated_at
		FROM automation_revisions AS r JOIN automations AS a ON a.id = r.automation_id WHERE r.automation_id = $1 AND r.revision = $2`, id, revision)
}

func (tx *Tx) AllAutomations(ctx context.Context) ([]automation.Automation, error) {
	return all(ctx, tx.conn, scanAutomation, automationRows+` ORDER BY a.name`)
}

func (tx *Tx) AutomationHeads(ctx context.Context) ([]automation.Head, error) {
	return all(ctx, tx.conn, func(row scanner) (h automation.Head, err error) { return h, row.Scan(&h.ID, &h.Revision, &h.Enabled) },
		`SELECT id, revision, enabled FROM automations ORDER BY name`)
}

func (tx *Tx) CountAutomations(ctx context.Context) (int, error) {
	return one(ctx, tx.conn, "", scanInt, `SELECT count(*) FROM automations`)
}

func (tx *Tx) AutomationForUpdate(ctx context.Context, id string) (automation.Automation, error) {
	return one(ctx, tx.conn, automationNamed(id), scanAutomation, automationRows+` WHERE a.id = $1 FOR UPDATE OF a`, id)
}

func (tx *Tx) PutAutomation(ctx context.Context, a automation.Automation) error {
	if err := tx.touch(ctx, "automations", a.ID); err != nil {
		return err
	}
	labels, err := labelText(a.Labels)
	if err != nil {
		return err
	}
	spec, err := jsonText(a.Definition)
	if err != nil {
		return err
	}
	if _, err := tx.execNaming(ctx, a.Name, `INSERT INTO automations (id, name, labels, enabled, revision, spec, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, labels = excluded.labels, enabled = excluded.enabled, revision = excluded.revision,
			spec = excluded.spec, updated_at = excluded.updated_at`,
		a.ID, a.Name, labels, a.Enabled, a.Revision, spec, a.CreatedAt.UnixMicro(), a.UpdatedAt.UnixMicro()); err != nil {
		return err
	}
	_, err = tx.exec(ctx, `INSERT INTO automation_revisions (automation_id, revision, spec, at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (automation_id, revision) DO NOTHING`, a.ID, a.Revision, spec, a.UpdatedAt.UnixMicro())
	return err
}

func (tx *Tx) ForgetAutomationTriggers(ctx context.Context, id string, triggers []string) error {
	for _, table := range []string{"automation_dwells", "automation_occurrences", "automation_timers"} {
		if _, err := tx.exec(ctx, `DELETE FROM `+table+` WHERE automation_id = $1 AND trigger_id = ANY($2)`, id, triggers); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) DeleteAutomation(ctx context.Context, id string) error {
	if err := tx.touch(ctx, "automations", id); err != nil {
		return err
	}
	return tx.execOne(ctx, automationNamed(id), `DELETE FROM automations WHERE id = $1`, id)
}

func (tx *Tx) LockAutomations(ctx context.Context) (int64, error) {
	return one(ctx, tx.conn, "cursor of automations", scanInt64, `SELECT seq FROM automation_cursor WHERE id = 1 FOR UPDATE`)
}

func (tx *Tx) MoveAutomationCursor(ctx context.Context, seq int64) error {
	_, err := tx.exec(ctx, `UPDATE automation_cursor SET seq = $1 WHERE id = 1`, seq)
	return err
}

const eventRows = `SELECT seq, type, kind, entity_id, change_id, changed, prev, next, payload, actor, at FROM events`

func (tx *Tx) EventsAfter(ctx context.Context, seq int64, n int) ([]entity.Event, error) {
	return all(ctx, tx.conn, scanEvent, eventRows+` WHERE seq > $1 ORDER BY seq LIMIT $2`, seq, n)
}

func (db *DB) EventsBetween(ctx context.Context, after int64, from, to time.Time, n int) ([]entity.Event, error) {
	return all(ctx, db.reads(), scanEvent, eventRows+` WHERE seq > $1 AND at >= $2 AND at < $3 ORDER BY seq LIMIT $4`, after, from.UnixMicro(), to.UnixMicro(), n)
}

// known is what the last event of an entity said.
type known struct {
	state entity.State
	at    time.Time
}

func scanKnown(row scanner) (known, error) {
	var k known
	return k, row.Scan(document{&k.state}, moment{&k.at})
}

func (tx *Tx) Entity(ctx context.Context, kind, id string) (entity.State, time.Time, error) {
	return entityAt(ctx, tx.conn, kind, id, math.MaxInt64)
}

func (db *DB) EntityAt(ctx context.Context, kind, id string, at time.Time) (entity.State, time.Time, error) {
	return entityAt(ctx, db.reads(), kind, id, at.UnixMicro())
}

// entityAt gives what the last event said, and since when the status is what it is: an
// event that changed something else is no news of it.
func entityAt(ctx context.Context, c conn, kind, id string, at int64) (entity.State, time.Time, error) {
	const ofEntity = `SELECT next, at FROM events WHERE kind = $1 AND entity_id = $2 AND at <= $3`
	found, err := all(ctx, c, scanKnown, ofEntity+` ORDER BY seq DESC LIMIT 1`, kind, id, at)
	if err != nil || len(found) == 0 || found[0].state == nil {
		return nil, time.Time{}, err
	}
	now := found[0]
	if _, has := now.state["status"]; !has {
		return now.state, now.at, nil
	}
	found, err = all(ctx, c, scanKnown, ofEntity+` AND changed LIKE '%"status"%' ORDER BY seq DESC LIMIT 1`, kind, id, at)
	if err != nil {
		return nil, time.Time{}, err
	}
	if len(found) > 0 {
		now.at = found[0].at
	}
	return now.state, now.at, nil
}

func scanDwell(row scanner) (automation.Dwell, error) {
	var d automation.Dwell
	return d, row.Scan(&d.Automation, &d.Trigger, &d.ContextKey, moment{&d.Due}, document{&d.Event})
}

func (tx *Tx) AutomationDwell(ctx context.Context, id, trigger, contextKey string) (*automation.Dwell, error) {
	found, err := all(ctx, tx.conn, scanDwell, `SELECT automation_id, trigger_id, context_key, due_at, event FROM automation_dwells
		WHERE automation_id = $1 AND trigger_id = $2 AND context_key = $3`, id, trigger, contextKey)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

type dwelling struct{ contextKey, automation string }

func (tx *Tx) DwellingAutomations(ctx context.Context, contextKeys []string) (map[string][]string, error) {
	found, err := all(ctx, tx.conn, func(row scanner) (d dwelling, err error) { return d, row.Scan(&d.contextKey, &d.automation) },
		`SELECT DISTINCT context_key, automation_id FROM automation_dwells WHERE context_key = ANY($1)`, contextKeys)
	of := map[string][]string{}
	for _, d := range found {
		of[d.contextKey] = append(of[d.contextKey], d.automation)
	}
	return of, err
}

func (tx *Tx) AddAutomationCall(ctx context.Context, hook, id string) (bool, error) {
	n, err := tx.exec(ctx, `INSERT INTO automation_calls (hook, id, at) VALUES ($1, $2, {now}) ON CONFLICT (hook, id) DO NOTHING`, hook, id)
	return n > 0, err
}

func (tx *Tx) PutAutomationDwell(ctx context.Context, d automation.Dwell) error {
	event, err := jsonText(d.Event)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, `INSERT INTO automation_dwells (automation_id, trigger_id, context_key, due_at, event) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (automation_id, trigger_id, context_key) DO UPDATE SET due_at = excluded.due_at, event = excluded.event`,
		d.Automation, d.Trigger, stored(d.ContextKey), d.Due.UnixMicro(), event)
	return err
}

func (tx *Tx) DropAutomationDwell(ctx context.Context, id, trigger, contextKey string) error {
	_, err := tx.exec(ctx, `DELETE FROM automation_dwells WHERE automation_id = $1 AND trigger_id = $2 AND context_key = $3`, id, trigger, contextKey)
	return err
}

func (tx *Tx) DueAutomationDwells(ctx context.Context, n int) ([]automation.Dwell, error) {
	due, err := all(ctx, tx.conn, scanDwell, `SELECT automation_id, trigger_id, context_key, due_at, event FROM automation_dwells
		WHERE due_at <= {now} ORDER BY due_at, automation_id, trigger_id, context_key LIMIT $1 FOR UPDATE`, n)
	if err != nil {
		return nil, err
	}
	for _, d := range due {
		if err := tx.DropAutomationDwell(ctx, d.Automation, d.Trigger, d.ContextKey); err != nil {
			return nil, err
		}
	}
	return due, nil
}

func (tx *Tx) AutomationOccurrences(ctx context.Context, id, trigger, partition string, since time.Time) ([]time.Time, error) {
	return all(ctx, tx.conn, func(row scanner) (t time.Time, err error) { return t, row.Scan(moment{&t}) },
		`SELECT at FROM automation_occurrences WHERE automation_id = $1 AND trigger_id = $2 AND part = $3 AND at > $4 ORDER BY at`,
		id, trigger, stored(partition), since.UnixMicro())
}

func (tx *Tx) AddAutomationOccurrence(ctx context.Context, id, trigger, partition string, event entity.Event) error {
	_, err := tx.exec(ctx, `INSERT INTO automation_occurrences (automation_id, trigger_id, part, at, seq) VALUES ($1, $2, $3, $4, $5)`,
		id, trigger, stored(partition), event.At.UnixMicro(), event.Seq)
	return err
}

func scanTimer(row scanner) (automation.DueTimer, error) {
	var t automation.DueTimer
	return t, row.Scan(&t.Automation, &t.Trigger, moment{&t.Due})
}

func (tx *Tx) DueAutomationTimers(ctx context.Context, n int) ([]automation.DueTimer, error) {
	return all(ctx, tx.conn, scanTimer, `SELECT automation_id, trigger_id, due_at FROM automation_timers WHERE due_at <= {now} ORDER BY due_at, automation_id, trigger_id LIMIT $1`, n)
}

func (tx *Tx) AutomationTimers(ctx context.Context) ([]automation.DueTimer, error) {
	return all(ctx, tx.conn, scanTimer, `SELECT automation_id, trigger_id, due_at FROM automation_timers ORDER BY automation_id, trigger_id`)
}

func (tx *Tx) PutAutomationTimer(ctx context.Context, t automation.DueTimer) error {
	_, err := tx.exec(ctx, `INSERT INTO automation_timers (automation_id, trigger_id, due_at) VALUES ($1, $2, $3)
		ON CONFLICT (automation_id, trigger_id) DO UPDATE SET due_at = excluded.due_at`, t.Automation, t.Trigger, t.Due.UnixMicro())
	return err
}

func (tx *Tx) DropAutomationTimer(ctx context.Context, id, trigger string) error {
	_, err := tx.exec(ctx, `DELETE FROM automation_timers WHERE automation_id = $1 AND trigger_id = $2`, id, trigger)
	return err
}

// rawOrNil reads JSON that may be missing.
type rawOrNil struct{ into *json.RawMessage }

func (r rawOrNil) Scan(src any) error {
	switch text := src.(type) {
	case nil:
		*r.into = nil
	case string:
		*r.into = json.RawMessage(text)
	case []byte:
		*r.into = json.RawMessage(string(text))
	default:
		return fmt.Errorf("JSON is stored as %T", src)
	}
	return nil
}

func rawText(raw json.RawMessage) *string {
	if len(raw) == 0 {
		return nil
	}
	text := stored(string(raw))
	return &text
}
