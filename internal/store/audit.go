package store

import (
	"context"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/diff"
	"github.com/perigee-monitoring/perigee/internal/entity"
)

func (db *DB) InsertAudit(ctx context.Context, entries []auth.AuditEntry) error {
	return db.InTx(ctx, func(etx entity.Tx) error {
		tx := etx.(*Tx) //nolint:errcheck // ours
		for _, e := range entries {
			if _, err := tx.putAudit(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// putAudit writes an entry, or over the one of its id, and gives the id.
func (tx *Tx) putAudit(ctx context.Context, e auth.AuditEntry) (int64, error) {
	changes, err := jsonText(append([]diff.Field{}, e.Changes...))
	if err != nil {
		return 0, err
	}
	args := []any{
		e.At.UnixMicro(), e.ActorType, e.ActorID, stored(e.Actor), stored(e.Source), e.Operation, stored(e.Object), stored(e.Change), string(e.Outcome),
		e.Status, stored(e.Reason), e.RequestID, e.Missed, stored(e.ObjectID), changes,
	}
	if e.ID != 0 {
		return e.ID, tx.execOne(ctx, "such entry of the audit log", `UPDATE audit SET at = $1, actor_type = $2, actor_id = $3, actor = $4, source = $5, operation = $6,
			object = $7, change = $8, outcome = $9, status = $10, reason = $11, request_id = $12, missed = $13, object_id = $14, changes = $15 WHERE id = $16`, append(args, e.ID)...)
	}
	return one(ctx, tx.conn, "entry of the audit log", scanInt64, `INSERT INTO audit (at, actor_type, actor_id, actor, source, operation, object, change, outcome, status,
		reason, request_id, missed, object_id, changes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) RETURNING id`, args...)
}

func scanAudit(row scanner) (e auth.AuditEntry, err error) {
	return e, row.Scan(&e.ID, moment{&e.At}, &e.ActorType, &e.ActorID, &e.Actor, &e.Source, &e.Operation, &e.Object, &e.Change, &e.Outcome, &e.Status, &e.Reason, &e.RequestID, &e.Missed, &e.ObjectID, document{&e.Changes})
}

func (db *DB) AuditEntries(ctx context.Context, f auth.AuditFilter, before int64, limit int) ([]auth.AuditEntry, error) {
	w := &where{}
	for _, of := range [][2]string{{"actor", f.Actor}, {"operation", f.Operation}, {"object", f.Object}} {
		if column, part := of[0], of[1]; part != "" {
			w.and(`lower(`+column+`) LIKE $$ ESCAPE '!'`, "%"+likeText.Replace(strings.ToLower(stored(part)))+"%")
		}
	}
	if f.Outcome != "" {
		w.and(`outcome = $$`, string(f.Outcome))
	}
	if !f.From.IsZero() {
		w.and(`at >= $$`, f.From.UnixMicro())
	}
	if !f.To.IsZero() {
		w.and(`at < $$`, f.To.UnixMicro())
	}
	if before > 0 {
		w.and(`id < $$`, before)
	}
	return all(ctx, db.reads(), scanAudit, `SELECT id, at, actor_type, actor_id, actor, source, operation, object, change, outcome, status, reason, request_id, missed, object_id, changes
		FROM audit`+w.String()+` ORDER BY id DESC LIMIT `+w.arg(limit), w.args...)
}

// likeText takes the meaning from what LIKE takes for patterns.
var likeText = strings.NewReplacer("!", "!!", "%", "!%", "_", "!_")

// PurgeAudit forgets what is older.
func (db *DB) PurgeAudit(ctx context.Context, before time.Time) (int64, error) {
	return db.writes().exec(ctx, `DELETE FROM audit WHERE at < $1`, before.UnixMicro())
}
