package store

import (
	"context"

	"github.com/perigee-monitoring/perigee/internal/auth"
)

func scanSession(row scanner) (s auth.Session, err error) {
	return s, row.Scan(&s.Digest, &s.UserID, &s.TokenID, moment{&s.CreatedAt}, moment{&s.ExpiresAt})
}

func (db *DB) SessionByDigest(ctx context.Context, digest string) (auth.Session, error) {
	return one(ctx, db.reads(), "such session", scanSession, `SELECT digest, coalesce(user_id, ''), coalesce(token_id, ''), created_at, expires_at FROM page_sessions WHERE digest = $1`, digest)
}

// InsertSession also notes when its user signed in.
func (tx *Tx) InsertSession(ctx context.Context, s auth.Session, keep int) error {
	if _, err := tx.exec(ctx, `DELETE FROM page_sessions WHERE expires_at <= $1`, s.CreatedAt.UnixMicro()); err != nil {
		return err
	}
	if _, err := tx.exec(ctx, `INSERT INTO page_sessions (digest, user_id, token_id, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)`,
		s.Digest, orNil(s.UserID), orNil(s.TokenID), s.CreatedAt.UnixMicro(), s.ExpiresAt.UnixMicro()); err != nil {
		return err
	}
	if _, err := tx.exec(ctx, `DELETE FROM page_sessions WHERE digest NOT IN (SELECT digest FROM page_sessions ORDER BY created_at DESC, digest LIMIT $1)`, keep); err != nil {
		return err
	}
	_, err := tx.exec(ctx, `UPDATE users SET signed_in_at = $2 WHERE id = $1`, s.UserID, s.CreatedAt.UnixMicro())
	return err
}

func (db *DB) DeleteSession(ctx context.Context, digest string) error {
	_, err := db.writes().exec(ctx, `DELETE FROM page_sessions WHERE digest = $1`, digest)
	return err
}

func (tx *Tx) EndSessionsOf(ctx context.Context, user string) error {
	_, err := tx.exec(ctx, `DELETE FROM page_sessions WHERE user_id = $1`, user)
	return err
}
