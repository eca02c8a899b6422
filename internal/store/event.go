package store

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

func (tx *Tx) AppendTransitions(ctx context.Context, rows []entity.Transition) error {
	return chunks(rows, func(rows []entity.Transition) error {
		return tx.insertMany(ctx, "transitions", "", len(rows), []column{
			col("kind", "text", rows, func(t *entity.Transition) string { return t.Kind }),
			col("entity_id", "text", rows, func(t *entity.Transition) string { return t.EntityID }),
			col("field", "text", rows, func(t *entity.Transition) string { return t.Field }),
			col("from_value", "text", rows, func(t *entity.Transition) *string {
				if t.From == nil {
					return nil
				}
				from := stored(*t.From)
				return &from
			}),
			col("to_value", "text", rows, func(t *entity.Transition) string { return stored(t.To) }),
			col("at", "bigint", rows, func(t *entity.Transition) int64 { return t.At.UnixMicro() }),
			col("change_id", "text", rows, func(t *entity.Transition) string { return t.ChangeID }),
			col("actor", "text", rows, func(t *entity.Transition) *string {
				return jsonOrNil(t.Actor, t.Actor == entity.Actor{} || t.Actor == entity.System)
			}),
		})
	})
}

// purgePiece is how many of the oldest transitions one statement looks at, so that
// none holds the writer for long.
const purgePiece = 5000

// PurgeTransitions forgets transitions of before then (spec M55), the oldest first.
func (db *DB) PurgeTransitions(ctx context.Context, before time.Time) (gone int64, err error) {
	for {
		n, err := db.writes().exec(ctx, `DELETE FROM transitions WHERE at < $1 AND id IN (SELECT id FROM transitions ORDER BY id LIMIT $2)`, before.UnixMicro(), purgePiece)
		gone += n
		if err != nil || n < purgePiece {
			return gone, err
		}
	}
}

func scanTransition(row scanner) (numbered[entity.Transition], error) {
	t := numbered[entity.Transition]{row: entity.Transition{Actor: entity.System}}
	return t, row.Scan(&t.id, &t.row.Kind, &t.row.EntityID, &t.row.Field, &t.row.From, &t.row.To, moment{&t.row.At}, &t.row.ChangeID, document{&t.row.Actor})
}

// numbered is a row with the number that its type does not show.
type numbered[T any] struct {
	id  int64
	row T
}

func (db *DB) Transitions(ctx context.Context, kind, id string, p fleet.Page) ([]entity.Transition, string, error) {
	last, err := after(p)
	if err != nil {
		return nil, "", err
	}
	var w where
	w.and(`kind = $$`, kind)
	w.and(`entity_id = $$`, id)
	if last != "" {
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil {
			return nil, "", fault.New(fault.Invalid, "the cursor is not one of ours")
		}
		w.and(`id < $$`, n)
	}
	rows, err := all(ctx, db.reads(), scanTransition, `SELECT id, kind, entity_id, field, from_value, to_value, at, change_id, actor
		FROM transitions`+w.String()+` ORDER BY id DESC LIMIT `+w.arg(limit(p)+1), w.args...)
	if err != nil {
		return nil, "", err
	}
	rows, next := paged(rows, p, func(t numbered[entity.Transition]) string { return strconv.FormatInt(t.id, 10) })
	items := make([]entity.Transition, len(rows))
	for i, r := range rows {
		items[i] = r.row
	}
	return items, next, nil
}

// AppendEvents numbers events so that whoever has seen n has seen everything below
// n. Numbers are given out in the order of asking, and transactions could become
// visible in another; so a transaction that appends events waits until the one
// before it has ended. It is the last thing a transaction does.
func (tx *Tx) AppendEvents(ctx context.Context, events []entity.Event) error {
	if len(events) == 0 {
		return nil
	}
	if err := tx.exclusive(ctx, lockEvents); err != nil {
		return err
	}
	return chunks(events, func(events []entity.Event) error {
		cols, err := eventColumns(events)
		if err != nil {
			return err
		}
		seqs, err := tx.insertEvents(ctx, len(events), cols)
		if err != nil {
			return err
		}
		for i := range events {
			events[i].Seq = seqs[i]
		}
		return nil
	})
}

func (tx *Tx) insertEvents(ctx context.Context, n int, cols []column) ([]int64, error) {
	if tx.db.dialect == sqlite {
		if err := tx.insertMany(ctx, "events", "", n, cols); err != nil {
			return nil, err
		}
		// Nobody else writes, so the newest n are these.
		seqs, err := all(ctx, tx.conn, scanInt64, `SELECT seq FROM events ORDER BY seq DESC LIMIT $1`, n)
		slices.Sort(seqs)
		return seqs, err
	}
	q, args := insertSelect("events", `RETURNING seq`, cols)
	seqs, err := all(ctx, tx.conn, scanInt64, q, args...)
	slices.Sort(seqs)
	return seqs, err
}

func scanInt64(row scanner) (n int64, err error) { return n, row.Scan(&n) }

func eventColumns(events []entity.Event) ([]column, error) {
	changed, actors := make([]string, len(events)), make([]string, len(events))
	for i, e := range events {
		var err error
		if changed[i], err = jsonText(e.Changed); err != nil {
			return nil, err
		}
		if actors[i], err = jsonText(e.Actor); err != nil {
			return nil, err
		}
	}
	raw := func(text json.RawMessage) string {
		if len(text) == 0 {
			return "null"
		}
		return stored(string(text))
	}
	return []column{
		col("type", "text", events, func(e *entity.Event) string { return e.Type }),
		col("kind", "text", events, func(e *entity.Event) string { return e.Kind }),
		col("entity_id", "text", events, func(e *entity.Event) string { return e.EntityID }),
		col("change_id", "text", events, func(e *entity.Event) string { return e.ChangeID }),
		{name: "changed", typ: "text", list: changed, at: func(i int) any { return changed[i] }},
		col("prev", "text", events, func(e *entity.Event) string { return raw(e.Prev) }),
		col("next", "text", events, func(e *entity.Event) string { return raw(e.Next) }),
		col("payload", "text", events, func(e *entity.Event) string { return raw(e.Payload) }),
		{name: "actor", typ: "text", list: actors, at: func(i int) any { return actors[i] }},
		col("at", "bigint", events, func(e *entity.Event) int64 { return e.At.UnixMicro() }),
	}, nil
}

func scanEvent(row scanner) (entity.Event, error) {
	var e entity.Event
	var prev, next, payload string
	err := row.Scan(&e.Seq, &e.Type, &e.Kind, &e.EntityID, &e.ChangeID, document{&e.Changed}, &prev, &next, &payload, document{&e.Actor}, moment{&e.At})
	e.Prev, e.Next, e.Payload = json.RawMessage(prev), json.RawMessage(next), json.RawMessage(payload)
	return e, err
}

func (db *DB) Events(ctx context.Context, after int64, n int) ([]entity.Event, error) {
	return all(ctx, db.reads(), scanEvent, `SELECT seq, type, kind, entity_id, change_id, changed, prev, next, payload, actor, at
		FROM events WHERE seq > $1 ORDER BY seq LIMIT $2`, after, limit(fleet.Page{Limit: n}))
}

// EventsOf are the first n events of a filter, or the last, oldest first all the
// same. One that names kinds is quick however many events of others there are.
func (db *DB) EventsOf(ctx context.Context, f entity.EventFilter, n int) ([]entity.Event, error) {
	var w where
	w.and("seq > $$", f.After)
	if len(f.Kinds) > 0 {
		w.and("kind = ANY($$)", f.Kinds)
	}
	if f.Type != "" {
		w.and("type = $$", f.Type)
	}
	order := ""
	if f.Newest {
		order = " DESC"
	}
	events, err := all(ctx, db.reads(), scanEvent, `SELECT seq, type, kind, entity_id, change_id, changed, prev, next, payload, actor, at
		FROM events`+w.String()+` ORDER BY seq`+order+` LIMIT `+w.arg(limit(fleet.Page{Limit: n})), w.args...)
	if f.Newest {
		slices.Reverse(events)
	}
	return events, err
}

func (db *DB) LastEvent(ctx context.Context) (int64, error) {
	return one(ctx, db.reads(), "", scanInt64, `SELECT coalesce(max(seq), 0) FROM events`)
}
