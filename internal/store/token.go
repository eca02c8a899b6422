package store

import (
	"context"

	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/entity"
)

func (db *DB) TokenByDigest(ctx context.Context, digest string) (auth.Token, error) {
	return one(ctx, db.reads(), "such token", func(row scanner) (t auth.Token, err error) {
		return t, row.Scan(&t.ID, &t.Name, &t.Digest, moment{&t.CreatedAt})
	}, `SELECT id, name, digest, created_at FROM api_tokens WHERE digest = $1`, digest)
}

func (db *DB) InsertToken(ctx context.Context, t auth.Token) error {
	_, err := db.writes().execNaming(ctx, t.Name, `INSERT INTO api_tokens (id, name, digest, created_at) VALUES ($1, $2, $3, $4)`,
		t.ID, t.Name, t.Digest, t.CreatedAt.UnixMicro())
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
		if _, err := tx.exec(ctx, `INSERT INTO api_tokens (id, name, digest, created_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (digest) DO UPDATE SET name = excluded.name`, t.ID, t.Name, t.Digest, t.CreatedAt.UnixMicro()); err != nil {
			return err
		}
		_, err := tx.exec(ctx, `DELETE FROM api_tokens WHERE name = $1 AND digest <> $2`, t.Name, t.Digest)
		return err
	})
}

func (db *DB) CountTokens(ctx context.Context) (int, error) {
	return one(ctx, db.reads(), "", scanInt, `SELECT count(*) FROM api_tokens`)
}
