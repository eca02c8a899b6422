package store

import (
	"context"
	"time"

	"github.com/perigee-monitoring/perigee/internal/secret"
)

const secretColumns = `id, name, description, version, sealed, key_id, external, updated_at, updated_by`

func scanSecret(row scanner) (r secret.Record, err error) {
	return r, row.Scan(&r.ID, &r.Name, &r.Description, &r.Version, &r.Sealed, &r.KeyID, &r.External, moment{&r.UpdatedAt}, &r.UpdatedBy)
}

const formerColumns = `secret_id, version, name, sealed, superseded_at`

func scanFormer(row scanner) (f secret.Former, err error) {
	return f, row.Scan(&f.SecretID, &f.Version, &f.Name, &f.Sealed, moment{&f.SupersededAt})
}

// keyset reads the wrapped keyset; "" for none.
func keyset(ctx context.Context, c conn, q string) (string, error) {
	found, err := all(ctx, c, scanString, q)
	if err != nil || len(found) == 0 {
		return "", err
	}
	return found[0], nil
}

func (db *DB) SecretKeyset(ctx context.Context) (string, error) {
	return keyset(ctx, db.reads(), `SELECT wrapped FROM secret_keysets WHERE id = 1`)
}

func (tx *Tx) SecretKeysetForUpdate(ctx context.Context) (string, error) {
	return keyset(ctx, tx.conn, `SELECT wrapped FROM secret_keysets WHERE id = 1 FOR UPDATE`)
}

func (tx *Tx) PutSecretKeyset(ctx context.Context, wrapped string) error {
	tx.altered = true
	now, err := tx.Now(ctx)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, `INSERT INTO secret_keysets (id, wrapped, updated_at) VALUES (1, $1, $2)
		ON CONFLICT (id) DO UPDATE SET wrapped = excluded.wrapped, updated_at = excluded.updated_at`, wrapped, now.UnixMicro())
	return err
}

// LockSecrets makes transactions that alter secrets or their keys wait for each other.
func (tx *Tx) LockSecrets(ctx context.Context) error { return tx.exclusive(ctx, lockSecrets) }

func (db *DB) Secrets(ctx context.Context) ([]secret.Record, error) {
	return all(ctx, db.reads(), scanSecret, `SELECT `+secretColumns+` FROM secrets ORDER BY name`)
}

func (tx *Tx) SecretRecords(ctx context.Context) ([]secret.Record, error) {
	return all(ctx, tx.conn, scanSecret, `SELECT `+secretColumns+` FROM secrets ORDER BY name`)
}

func (db *DB) SecretsNamed(ctx context.Context, names []string) (map[string]secret.Record, error) {
	return secretsNamed(ctx, db.reads(), names)
}

func (tx *Tx) SecretRecordsNamed(ctx context.Context, names []string) (map[string]secret.Record, error) {
	return secretsNamed(ctx, tx.conn, names)
}

func secretsNamed(ctx context.Context, c conn, names []string) (map[string]secret.Record, error) {
	found := make(map[string]secret.Record, len(names))
	for r, err := range each(ctx, c, scanSecret, `SELECT `+secretColumns+` FROM secrets WHERE name = ANY($1)`, names) {
		if err != nil {
			return nil, err
		}
		found[r.Name] = r
	}
	return found, nil
}

func (db *DB) FormerSecrets(ctx context.Context, names []string) ([]secret.Former, error) {
	return all(ctx, db.reads(), scanFormer, `SELECT `+formerColumns+` FROM secret_former WHERE name = ANY($1) ORDER BY secret_id, version`, names)
}

func (tx *Tx) FormerSecretRecords(ctx context.Context) ([]secret.Former, error) {
	return all(ctx, tx.conn, scanFormer, `SELECT `+formerColumns+` FROM secret_former ORDER BY secret_id, version`)
}

func (tx *Tx) PutSecret(ctx context.Context, r secret.Record) error {
	if err := tx.touch(ctx, "secrets", r.ID); err != nil {
		return err
	}
	_, err := tx.execNaming(ctx, r.Name, `INSERT INTO secrets (`+secretColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (id) DO UPDATE SET description = excluded.description, version = excluded.version, sealed = excluded.sealed,
			key_id = excluded.key_id, external = excluded.external, updated_at = excluded.updated_at, updated_by = excluded.updated_by`,
		r.ID, r.Name, r.Description, r.Version, r.Sealed, r.KeyID, r.External, r.UpdatedAt.UnixMicro(), r.UpdatedBy)
	return err
}

func (tx *Tx) PutFormerSecret(ctx context.Context, f secret.Former) error {
	_, err := tx.exec(ctx, `INSERT INTO secret_former (`+formerColumns+`) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (secret_id, version) DO UPDATE SET sealed = excluded.sealed`, f.SecretID, f.Version, f.Name, f.Sealed, f.SupersededAt.UnixMicro())
	return err
}

func (tx *Tx) DeleteFormerSecrets(ctx context.Context, id string, upTo int64) error {
	_, err := tx.exec(ctx, `DELETE FROM secret_former WHERE secret_id = $1 AND version <= $2`, id, upTo)
	return err
}

func (tx *Tx) DeleteSecret(ctx context.Context, id string) error {
	if err := tx.touch(ctx, "secrets", id); err != nil {
		return err
	}
	return tx.execOne(ctx, "such secret", `DELETE FROM secrets WHERE id = $1`, id)
}

func (tx *Tx) PurgeSecrets(ctx context.Context, superseded, leased time.Time) error {
	if _, err := tx.exec(ctx, `DELETE FROM secret_former WHERE superseded_at < $1`, superseded.UnixMicro()); err != nil {
		return err
	}
	_, err := tx.exec(ctx, `DELETE FROM secret_leases WHERE at < $1`, leased.UnixMicro())
	return err
}

func (db *DB) InsertSecretLeases(ctx context.Context, leases []secret.Lease) error {
	return chunks(leases, func(rows []secret.Lease) error {
		names := make([]string, len(rows))
		for i, l := range rows {
			var err error
			if names[i], err = jsonText(l.Names); err != nil {
				return err
			}
		}
		return db.writes().insertMany(ctx, "secret_leases", "", len(rows), []column{
			col("satellite_id", "text", rows, func(l *secret.Lease) string { return stored(l.SatelliteID) }),
			col("check_id", "text", rows, func(l *secret.Lease) string { return stored(l.CheckID) }),
			col("collector", "text", rows, func(l *secret.Lease) string { return stored(l.Collector) }),
			col("run_id", "text", rows, func(l *secret.Lease) string { return stored(l.RunID) }),
			{name: "names", typ: "text", list: names, at: func(i int) any { return names[i] }},
			col("allowed", "boolean", rows, func(l *secret.Lease) bool { return l.Allowed }),
			col("sealed", "boolean", rows, func(l *secret.Lease) bool { return l.Sealed }),
			col("guest", "boolean", rows, func(l *secret.Lease) bool { return l.Guest }),
			col("reason", "text", rows, func(l *secret.Lease) string { return stored(l.Reason) }),
			col("at", "bigint", rows, func(l *secret.Lease) int64 { return l.At.UnixMicro() }),
		})
	})
}

func scanLease(row scanner) (l secret.Lease, err error) {
	return l, row.Scan(&l.ID, &l.SatelliteID, &l.CheckID, &l.Collector, &l.RunID, document{&l.Names}, &l.Allowed, &l.Sealed, &l.Guest, &l.Reason, moment{&l.At})
}

func (db *DB) SecretLeases(ctx context.Context, f secret.LeaseFilter, before int64, n int) ([]secret.Lease, error) {
	var w where
	if f.SatelliteID != "" {
		w.and(`satellite_id = $$`, f.SatelliteID)
	}
	if f.CheckID != "" {
		w.and(`check_id = $$`, f.CheckID)
	}
	if f.Refused {
		w.and(`allowed = $$`, false)
	}
	if before > 0 {
		w.and(`id < $$`, before)
	}
	return all(ctx, db.reads(), scanLease, `SELECT id, satellite_id, check_id, collector, run_id, names, allowed, sealed, guest, reason, at
		FROM secret_leases`+w.String()+` ORDER BY id DESC LIMIT `+w.arg(n), w.args...)
}
