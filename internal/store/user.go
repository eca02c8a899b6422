package store

import (
	"context"
	"fmt"
	"time"

	"github.com/perigee-monitoring/perigee/internal/auth"
)

// LockAccounts makes transactions that decide about users and tokens wait for each other.
func (tx *Tx) LockAccounts(ctx context.Context) error { return tx.exclusive(ctx, lockTokens) }

const accountRows = `SELECT id, name, role, disabled, password, created_at, updated_at, signed_in_at FROM users`

func scanAccount(row scanner) (a auth.Account, err error) {
	return a, row.Scan(&a.ID, &a.Name, &a.Role, &a.Disabled, &a.Password, moment{&a.CreatedAt}, moment{&a.UpdatedAt}, momentOrNil{&a.SignedInAt})
}

func userNamed(ref string) string { return fmt.Sprintf("user %q", ref) }

func (db *DB) User(ctx context.Context, id string) (auth.Account, error) {
	return one(ctx, db.reads(), userNamed(id), scanAccount, accountRows+` WHERE id = $1`, id)
}

func (db *DB) UserByName(ctx context.Context, name string) (auth.Account, error) {
	return one(ctx, db.reads(), userNamed(name), scanAccount, accountRows+` WHERE name = $1`, stored(name))
}

func (db *DB) Users(ctx context.Context) ([]auth.Account, error) {
	return all(ctx, db.reads(), scanAccount, accountRows+` ORDER BY name`)
}

func (tx *Tx) Accounts(ctx context.Context) ([]auth.Account, error) {
	return all(ctx, tx.conn, scanAccount, accountRows+` ORDER BY name`)
}

func (tx *Tx) PutAccount(ctx context.Context, a auth.Account) error {
	if err := tx.touch(ctx, "users", a.ID); err != nil {
		return err
	}
	_, err := tx.execNaming(ctx, a.Name, `INSERT INTO users (id, name, role, disabled, password, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (id) DO UPDATE SET role = excluded.role, disabled = excluded.disabled, password = excluded.password, updated_at = excluded.updated_at`,
		a.ID, a.Name, string(a.Role), a.Disabled, a.Password, a.CreatedAt.UnixMicro(), a.UpdatedAt.UnixMicro())
	return err
}

func (tx *Tx) DeleteAccount(ctx context.Context, id string) error {
	if err := tx.touch(ctx, "users", id); err != nil {
		return err
	}
	return tx.execOne(ctx, userNamed(id), `DELETE FROM users WHERE id = $1`, id)
}

func (tx *Tx) AddSetupCode(ctx context.Context, digest string, at time.Time, keep int) error {
	if _, err := tx.exec(ctx, `INSERT INTO setup_codes (digest, created_at) VALUES ($1, $2)`, digest, at.UnixMicro()); err != nil {
		return err
	}
	_, err := tx.exec(ctx, `DELETE FROM setup_codes WHERE digest NOT IN (SELECT digest FROM setup_codes ORDER BY created_at DESC, digest LIMIT $1)`, keep)
	return err
}

func (tx *Tx) SetupCodes(ctx context.Context) ([]string, error) {
	return all(ctx, tx.conn, func(row scanner) (digest string, err error) { return digest, row.Scan(&digest) }, `SELECT digest FROM setup_codes`)
}

func (tx *Tx) DeleteSetupCodes(ctx context.Context) error {
	_, err := tx.exec(ctx, `DELETE FROM setup_codes`)
	return err
}
