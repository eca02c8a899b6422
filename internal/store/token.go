package store

import (
	"context"
	"fmt"
	"time"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/entity"
)

const tokenRows = `SELECT t.id, t.name, t.role, t.digest, coalesce(t.user_id, ''), coalesce(u.name, ''), t.created_at, t.created_by, t.expires_at, t.last_used_at
	FROM api_tokens AS t LEFT JOIN users AS u ON u.id = t.user_id`

func scanToken(row scanner) (t auth.Token, err error) {
	return t, row.Scan(&t.ID, &t.Name, &t.Role, &t.Digest, &t.UserID, &t.Owner, moment{&t.CreatedAt}, &t.CreatedBy, momentOrNil{&t.ExpiresAt}, momentOrNil{&t.LastUsedAt})
}

func (db *DB) TokenByDigest(ctx context.Context, digest string) (auth.Token, error) {
	return one(ctx, db.reads(), "such token", scanToken, tokenRows+` WHERE t.digest = $1`, digest)
}

func (db *DB) Token(ctx context.Context, id string) (auth.Token, error) {
	return one(ctx, db.reads(), "such token", scanToken, tokenRows+` WHERE t.id = $1`, id)
}

const tokensByName = tokenRows + ` ORDER BY t.name, t.id`

func (db *DB) Tokens(ctx context.Context) ([]auth.Token, error) {
	return all(ctx, db.reads(), scanToken, tokensByName)
}

func (tx *Tx) APITokens(ctx context.Context) ([]auth.Token, error) {
	return all(ctx, tx.conn, scanToken, tokensByName)
}

func (db *DB) InsertToken(ctx context.Context, t auth.Token) error {
	return insertToken(ctx, db.writes(), t)
}

func (tx *Tx) InsertAPIToken(ctx context.Context, t auth.Token) error {
	if err := tx.touch(ctx, "tokens", t.ID); err != nil {
		return err
	}
	return insertToken(ctx, tx.conn, t)
}

func insertToken(ctx context.Context, c conn, t auth.Token) error {
	_, err := c.execNaming(ctx, t.Name, `INSERT INTO api_tokens (id, name, role, digest, user_id, created_at, created_by, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		t.ID, t.Name, string(t.Role), t.Digest, orNil(t.UserID), t.CreatedAt.UnixMicro(), t.CreatedBy, microsOrNil(t.ExpiresAt))
	return err
}

// ReplaceToken excludes its like, or two cores that start at the same time with
// different tokens would not see, and so not delete, each other's.
func (db *DB) ReplaceToken(ctx context.Context, t auth.Token) error {
	return db.InTx(ctx, func(etx entity.Tx) error {
		tx := etx.(*Tx) //nolint:errcheck // ours
		if err := tx.exclusive(ctx, lockTokens); err != nil {
			return err
		}
		if _, err := tx.exec(ctx, `INSERT INTO api_tokens (id, name, role, digest, created_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (digest) DO UPDATE SET name = excluded.name`, t.ID, t.Name, string(t.Role), t.Digest, t.CreatedAt.UnixMicro()); err != nil {
			return err
		}
		_, err := tx.exec(ctx, `DELETE FROM api_tokens WHERE name = $1 AND digest <> $2 AND user_id IS NULL`, t.Name, t.Digest)
		return err
	})
}

func (db *DB) CountTokens(ctx context.Context) (int, error) {
	return one(ctx, db.reads(), "", scanInt, `SELECT count(*) FROM api_tokens`)
}

func (db *DB) NoteTokenUse(ctx context.Context, id string, at time.Time) error {
	_, err := db.writes().exec(ctx, `UPDATE api_tokens SET last_used_at = $2 WHERE id = $1`, id, at.UnixMicro())
	return err
}

func (db *DB) DeleteToken(ctx context.Context, id string) error {
	return db.InTx(ctx, func(etx entity.Tx) error {
		tx := etx.(*Tx) //nolint:errcheck // ours
		if err := tx.touch(ctx, "tokens", id); err != nil {
			return err
		}
		return tx.execOne(ctx, fmt.Sprintf("token %q", id), `DELETE FROM api_tokens WHERE id = $1`, id)
	})
}
