package store

import (
	"context"

	"github.com/perigee-monitoring/perigee/internal/auth"
)

func (db *DB) TokenByDigest(ctx context.Context, digest string) (auth.Token, error) {
	return one(ctx, db.reads(), "such token", func(row scanner) (t auth.Token, err error) {
		return t, row.Scan(&t.ID, &t.Name, &t.Digest, moment{&t.CreatedAt}, momentOrNil{&t.LastUsedAt})
	}, `SELECT id, name, digest, created_at, last_used_at FROM api_tokens WHERE digest = $1`, digest)
}

func (db *DB) InsertToken(ctx context.Context, t auth.Token) error {
	_, err := db.writes().execNaming(ctx, t.Name, `INSERT INTO api_tokens (id, name, digest, created_at, last_used_at) VALUES ($1, $2, $3, $4, $5)`,
		t.ID, t.Name, t.Digest, t.CreatedAt.UnixMicro(), microsOrNil(t.LastUsedAt))
	return err
}

func (db *DB) CountTokens(ctx context.Context) (int, error) {
	return one(ctx, db.reads(), "", scanInt, `SELECT count(*) FROM api_tokens`)
}
