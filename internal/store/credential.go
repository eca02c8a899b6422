package store

import (
	"context"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fleet"
)

const tokenColumns = `s.token_hash, s.credential_version, s.token_expires_at, s.previous_hash, s.previous_version, s.previous_until`

// tokenRow reads tokenColumns.
type tokenRow struct {
	fleet.Tokens
	hash    *string
	version *int64
	until   *time.Time
}

func (r *tokenRow) dest() []any {
	return []any{&r.Hash, &r.Version, momentOrNil{&r.ExpiresAt}, &r.hash, &r.version, momentOrNil{&r.until}}
}

func (r *tokenRow) tokens() fleet.Tokens {
	if r.hash != nil && r.version != nil && r.until != nil {
		r.Previous = &fleet.PreviousToken{Hash: *r.hash, Version: *r.version, ValidUntil: *r.until}
	}
	return r.Tokens
}

func (db *DB) Credentials(ctx context.Context, ids []string) (map[string]fleet.Credential, error) {
	found := make(map[string]fleet.Credential, len(ids))
	scan := func(row scanner) (c fleet.Credential, err error) {
		var stored tokenRow
		c.Satellite, err = scanSatellite(withMore{row, append(stored.dest(), moment{&c.At})})
		c.Tokens = stored.tokens()
		return c, err
	}
	for c, err := range each(ctx, db.reads(), scan, `SELECT `+satelliteColumns+`, `+tokenColumns+`, {now}`+satelliteTables+` WHERE s.id = ANY($1)`, ids) {
		if err != nil {
			return nil, err
		}
		found[c.Satellite.ID] = c
	}
	return found, nil
}

// withMore is a row that has further columns behind those that its reader knows.
type withMore struct {
	scanner
	more []any
}

func (w withMore) Scan(dest ...any) error { return w.scanner.Scan(append(dest, w.more...)...) }

func (tx *Tx) Tokens(ctx context.Context, id string) (fleet.Tokens, error) {
	return one(ctx, tx.conn, satelliteNamed(id), func(row scanner) (fleet.Tokens, error) {
		var stored tokenRow
		err := row.Scan(stored.dest()...)
		return stored.tokens(), err
	}, `SELECT `+tokenColumns+` FROM satellites AS s WHERE s.id = $1 FOR UPDATE OF s`, id)
}

func (tx *Tx) SetTokens(ctx context.Context, id string, t fleet.Tokens) error {
	if err := tx.touch(ctx, "satellites", id); err != nil {
		return err
	}
	var row tokenRow
	if p := t.Previous; p != nil {
		row = tokenRow{hash: &p.Hash, version: &p.Version, until: &p.ValidUntil}
	}
	return tx.execOne(ctx, satelliteNamed(id), `UPDATE satellites SET token_hash = $2, credential_version = $3, token_expires_at = $4,
			previous_hash = $5, previous_version = $6, previous_until = $7,
			token_last_used_at = CASE WHEN credential_version = $3 THEN token_last_used_at END
		WHERE id = $1`, id, t.Hash, t.Version, microsOrNil(t.ExpiresAt), row.hash, row.version, microsOrNil(row.until))
}

func (tx *Tx) UpgradeTokenHash(ctx context.Context, id, old, upgraded string) error {
	for _, column := range []string{"token_hash", "previous_hash"} {
		if _, err := tx.exec(ctx, `UPDATE satellites SET `+column+` = $3 WHERE id = $1 AND `+column+` = $2`, id, old, upgraded); err != nil {
			return err
		}
	}
	return nil
}

// MarkExpiring is conditional as a whole, so that of several cores one finds a
// token. A row that somebody is writing is found in the next pass.
func (tx *Tx) MarkExpiring(ctx context.Context, within time.Duration) ([]string, error) {
	return all(ctx, tx.conn, scanString, `UPDATE satellites SET expiry_told = credential_version
		WHERE id IN (SELECT s.id FROM satellites AS s
			WHERE s.token_expires_at - $1 < {now} AND s.expiry_told IS DISTINCT FROM s.credential_version
			ORDER BY s.id FOR NO KEY UPDATE SKIP LOCKED)
		RETURNING id`, within.Microseconds())
}

// bcryptPrefix is how every bcrypt hash begins, and no digest of ours.
const bcryptPrefix = "$2"

func (db *DB) BcryptRows(ctx context.Context) (int, error) {
	return one(ctx, db.reads(), "", scanInt, `SELECT count(*) FROM satellites WHERE token_hash LIKE $1 OR previous_hash LIKE $1`, bcryptPrefix+"%")
}

func scanInt(row scanner) (n int, err error) { return n, row.Scan(&n) }
