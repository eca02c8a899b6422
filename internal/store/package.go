package store

import (
	"context"
	"fmt"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/packages"
	"github.com/perigee-monitoring/perigee/protocol"
)

const packageRows = `SELECT p.name, p.version, p.enabled, p.added_by, p.added_at FROM script_packages AS p`

func scanPackage(row scanner) (p packages.Package, err error) {
	return p, row.Scan(&p.Name, &p.Version, &p.Enabled, &p.AddedBy, moment{&p.AddedAt})
}

func packageNamed(name string) string { return fmt.Sprintf("package %q on the list", name) }

func (c conn) packages(ctx context.Context) ([]packages.Package, error) {
	return all(ctx, c, scanPackage, packageRows+` ORDER BY p.name`)
}

func (db *DB) Packages(ctx context.Context) ([]packages.Package, error) {
	return db.reads().packages(ctx)
}

func (tx *Tx) Packages(ctx context.Context) ([]packages.Package, error) { return tx.packages(ctx) }

// LockPackages makes transactions that add to the list wait for each other.
func (tx *Tx) LockPackages(ctx context.Context) error { return tx.exclusive(ctx, lockPackages) }

func (tx *Tx) PackageForUpdate(ctx context.Context, name string) (packages.Package, error) {
	return one(ctx, tx.conn, packageNamed(name), scanPackage, packageRows+` WHERE p.name = $1 FOR UPDATE`, name)
}

func (tx *Tx) InsertPackage(ctx context.Context, p packages.Package) error {
	if err := tx.touch(ctx, "packages", p.Name); err != nil {
		return err
	}
	_, err := tx.execNaming(ctx, p.Name, `INSERT INTO script_packages (name, version, enabled, added_by, added_at) VALUES ($1, $2, $3, $4, $5)`,
		p.Name, p.Version, p.Enabled, stored(p.AddedBy), p.AddedAt.UnixMicro())
	return err
}

func (tx *Tx) EnablePackage(ctx context.Context, name string, enabled bool) error {
	if err := tx.touch(ctx, "packages", name); err != nil {
		return err
	}
	return tx.execOne(ctx, packageNamed(name), `UPDATE script_packages SET enabled = $2 WHERE name = $1`, name, enabled)
}

func (tx *Tx) DeletePackage(ctx context.Context, name string) error {
	if err := tx.touch(ctx, "packages", name); err != nil {
		return err
	}
	return tx.execOne(ctx, packageNamed(name), `DELETE FROM script_packages WHERE name = $1`, name)
}

const installationRows = `SELECT i.status, i.lockfile_hash, i.list, i.total_size_bytes, i.last_installed_at, i.error_message, i.warnings,
	i.done, i.total, coalesce(i.holder, ''), i.lease_until, coalesce(i.lease_until, 0) < {now} FROM script_package_install AS i WHERE i.id = 1`

func scanInstallation(row scanner) (i packages.Installation, err error) {
	return i, row.Scan(&i.Status, &i.LockfileHash, document{&i.List}, &i.TotalSizeBytes, momentOrNil{&i.LastInstalledAt}, &i.ErrorMessage, document{&i.Warnings},
		&i.Done, &i.Total, &i.Holder, momentOrNil{&i.LeaseUntil}, &i.Lapsed)
}

const installation = "installation of packages"

func (db *DB) Installation(ctx context.Context) (packages.Installation, error) {
	return one(ctx, db.reads(), installation, scanInstallation, installationRows)
}

func (tx *Tx) InstallationForUpdate(ctx context.Context) (packages.Installation, error) {
	return one(ctx, tx.conn, installation, scanInstallation, installationRows+` FOR UPDATE`)
}

func (tx *Tx) PutInstallation(ctx context.Context, i packages.Installation) error {
	tx.altered = true
	list, err := jsonText(i.List)
	if err != nil {
		return err
	}
	warnings, err := jsonText(i.Warnings)
	if err != nil {
		return err
	}
	return tx.execOne(ctx, installation, `UPDATE script_package_install SET status = $1, lockfile_hash = $2, list = $3, total_size_bytes = $4,
		last_installed_at = $5, error_message = $6, warnings = $7, done = $8, total = $9, holder = $10, lease_until = $11 WHERE id = 1`,
		string(i.Status), i.LockfileHash, list, i.TotalSizeBytes, microsOrNil(i.LastInstalledAt), stored(i.ErrorMessage), stored(warnings),
		i.Done, i.Total, orNil(i.Holder), microsOrNil(i.LeaseUntil))
}

const lockfileRows = `SELECT l.hash, l.manifest, l.recorded_at FROM script_package_lockfiles AS l`

func scanLockfile(row scanner) (l packages.Lockfile, err error) {
	return l, row.Scan(&l.Hash, document{&l.Entries}, moment{&l.RecordedAt})
}

func (db *DB) Lockfile(ctx context.Context, hash string) (packages.Lockfile, error) {
	return one(ctx, db.reads(), fmt.Sprintf("tree of packages %q", hash), scanLockfile, lockfileRows+` WHERE l.hash = $1`, hash)
}

// Lockfiles are the n that were installed last, newest first.
func (db *DB) Lockfiles(ctx context.Context, n int) ([]packages.Lockfile, error) {
	return all(ctx, db.reads(), scanLockfile, lockfileRows+` ORDER BY l.serial DESC LIMIT $1`, n)
}

// PutLockfile makes the tree the newest, also when it was there before.
func (tx *Tx) PutLockfile(ctx context.Context, l packages.Lockfile) error {
	manifest, err := jsonText(l.Entries)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, `INSERT INTO script_package_lockfiles (hash, serial, manifest, recorded_at)
		VALUES ($1, (SELECT coalesce(max(serial), 0) + 1 FROM script_package_lockfiles), $2, $3)
		ON CONFLICT (hash) DO UPDATE SET serial = excluded.serial, manifest = excluded.manifest, recorded_at = excluded.recorded_at`,
		l.Hash, manifest, l.RecordedAt.UnixMicro())
	return err
}

// ForgetLockfiles keeps the n that were installed last.
func (db *DB) ForgetLockfiles(ctx context.Context, n int) error {
	_, err := db.writes().exec(ctx, `DELETE FROM script_package_lockfiles WHERE serial NOT IN
		(SELECT serial FROM script_package_lockfiles ORDER BY serial DESC LIMIT $1)`, n)
	return err
}

const blobRows = `SELECT b.integrity, b.name, b.version, b.sha256, b.size, b.backend, b.stored_at FROM script_package_blobs AS b`

func scanBlob(row scanner) (b packages.Blob, err error) {
	return b, row.Scan(&b.Integrity, &b.Name, &b.Version, &b.Sha256, &b.Size, &b.Backend, moment{&b.StoredAt})
}

func (db *DB) PackageBlobs(ctx context.Context, integrities []string) (map[string]packages.Blob, error) {
	found := make(map[string]packages.Blob, len(integrities))
	for b, err := range each(ctx, db.reads(), scanBlob, blobRows+` WHERE b.integrity = ANY($1)`, integrities) {
		if err != nil {
			return nil, err
		}
		found[b.Integrity] = b
	}
	return found, nil
}

func (db *DB) PutPackageBlob(ctx context.Context, b packages.Blob) error {
	_, err := db.writes().exec(ctx, `INSERT INTO script_package_blobs (integrity, name, version, sha256, size, backend, stored_at)
		VALUES ($1, $2, $3, $4, $5, $6, {now})
		ON CONFLICT (integrity) DO UPDATE SET name = excluded.name, version = excluded.version, sha256 = excluded.sha256,
			size = excluded.size, backend = excluded.backend, stored_at = excluded.stored_at`,
		b.Integrity, b.Name, b.Version, b.Sha256, b.Size, b.Backend)
	return err
}

func (db *DB) DeletePackageBlob(ctx context.Context, integrity string) error {
	_, err := db.writes().exec(ctx, `DELETE FROM script_package_blobs WHERE integrity = $1`, integrity)
	return err
}

func (db *DB) OldPackageBlobs(ctx context.Context, age time.Duration) ([]packages.Blob, error) {
	return all(ctx, db.reads(), scanBlob, blobRows+` WHERE b.stored_at <= {now} - $1 ORDER BY b.integrity`, age.Microseconds())
}

func (db *DB) PackageSyncStates(ctx context.Context) ([]packages.SatelliteState, error) {
	return all(ctx, db.reads(), func(row scanner) (packages.SatelliteState, error) {
		s := packages.SatelliteState{Status: protocol.SyncPending}
		var said protocol.ScriptPackageSyncState
		err := row.Scan(&s.SatelliteID, &s.Name, document{&said}, momentOrNil{&s.SyncedAt})
		if said.Status != "" {
			s.LockfileHash, s.Status, s.ErrorMessage = said.LockfileHash, said.Status, said.ErrorMessage
		}
		return s, err
	}, `SELECT s.id, s.name, r.sync_state, r.synced_at FROM satellites AS s LEFT JOIN satellite_reports AS r ON r.satellite_id = s.id ORDER BY s.name`)
}

// Blobs keeps the bytes of packages in the database.
type Blobs struct{ db *DB }

// Blobs is the database as a store of blobs.
func (db *DB) Blobs() Blobs { return Blobs{db} }

// blobPart is how many bytes of a blob one row has.
const blobPart = 1 << 20

// Name is how the records call this store.
func (Blobs) Name() string { return "db" }

// Put replaces part by part, so that a second writer of the same blob waits at the
// first part until the first writer is done.
func (b Blobs) Put(ctx context.Context, integrity string, data []byte) error {
	return b.db.InTx(ctx, func(etx entity.Tx) error {
		tx := etx.(*Tx) //nolint:errcheck // ours
		part := 0
		for ; part == 0 || part*blobPart < len(data); part++ {
			piece := data[part*blobPart : min((part+1)*blobPart, len(data))]
			if _, err := tx.exec(ctx, `INSERT INTO script_package_blob_data (integrity, part, data) VALUES ($1, $2, $3)
				ON CONFLICT (integrity, part) DO UPDATE SET data = excluded.data`, integrity, part, piece); err != nil {
				return err
			}
		}
		_, err := tx.exec(ctx, `DELETE FROM script_package_blob_data WHERE integrity = $1 AND part >= $2`, integrity, part)
		return err
	})
}

func (b Blobs) Get(ctx context.Context, integrity string) ([]byte, error) {
	var data []byte
	found := false
	scan := func(row scanner) (piece []byte, err error) { return piece, row.Scan(&piece) }
	for piece, err := range each(ctx, b.db.reads(), scan, `SELECT data FROM script_package_blob_data WHERE integrity = $1 ORDER BY part`, integrity) {
		if err != nil {
			return nil, err
		}
		data, found = append(data, piece...), true
	}
	if !found {
		return nil, fault.New(fault.NotFound, "the database does not have this package")
	}
	return data, nil
}

func (b Blobs) Delete(ctx context.Context, integrity string) error {
	_, err := b.db.writes().exec(ctx, `DELETE FROM script_package_blob_data WHERE integrity = $1`, integrity)
	return err
}
