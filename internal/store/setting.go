package store

import (
	"context"
	"fmt"

	"github.com/perigee-monitoring/perigee/internal/sandbox"
)

const settingRows = `SELECT value, updated_at, updated_by FROM settings`

func scanSetting(row scanner) (s sandbox.Stored, err error) {
	return s, row.Scan(&s.Value, moment{&s.UpdatedAt}, &s.UpdatedBy)
}

func (db *DB) Setting(ctx context.Context, name string) (sandbox.Stored, error) {
	return one(ctx, db.reads(), settingNamed(name), scanSetting, settingRows+` WHERE name = $1`, name)
}

// SettingForUpdate excludes its like, also where there is no row yet to be locked.
func (tx *Tx) SettingForUpdate(ctx context.Context, name string) (sandbox.Stored, error) {
	if err := tx.exclusive(ctx, lockSettings); err != nil {
		return sandbox.Stored{}, err
	}
	return one(ctx, tx.conn, settingNamed(name), scanSetting, settingRows+` WHERE name = $1 FOR UPDATE`, name)
}

func (tx *Tx) PutSetting(ctx context.Context, name string, s sandbox.Stored) error {
	if err := tx.touch(ctx, name, name); err != nil {
		return err
	}
	_, err := tx.exec(ctx, `INSERT INTO settings (name, value, updated_at, updated_by) VALUES ($1, $2, $3, $4)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at, updated_by = excluded.updated_by`,
		name, s.Value, s.UpdatedAt.UnixMicro(), stored(s.UpdatedBy))
	return err
}

func (tx *Tx) DeleteSetting(ctx context.Context, name string) error {
	if err := tx.touch(ctx, name, name); err != nil {
		return err
	}
	_, err := tx.exec(ctx, `DELETE FROM settings WHERE name = $1`, name)
	return err
}

func settingNamed(name string) string { return fmt.Sprintf("setting %q", name) }
