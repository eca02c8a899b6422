package store

import (
	"context"
	"time"
)

// Facts are what the database knows of itself.
type Facts struct {
	Version   string
	Schema    int64
	SizeBytes int64
	Cores     []Core // that were seen lately
}

// Core is a core that runs on this database.
type Core struct {
	ID     string
	SeenAt time.Time
}

// Facts asks the database about itself.
func (db *DB) Facts(ctx context.Context) (f Facts, err error) {
	q := `SELECT current_setting('server_version'), pg_database_size(current_database())`
	if db.dialect == sqlite {
		q = `SELECT sqlite_version(), (SELECT page_count FROM pragma_page_count()) * (SELECT page_size FROM pragma_page_size())`
	}
	if f, err = one(ctx, db.reads(), "database", func(row scanner) (f Facts, err error) { return f, row.Scan(&f.Version, &f.SizeBytes) }, q); err != nil {
		return f, err
	}
	if f.Schema, err = one(ctx, db.reads(), "migration", scanInt64, `SELECT max(version_id) FROM goose_db_version`); err != nil {
		return f, err
	}
	f.Cores, err = all(ctx, db.reads(), func(row scanner) (c Core, err error) { return c, row.Scan(&c.ID, moment{&c.SeenAt}) },
		`SELECT id, seen_at FROM cores WHERE seen_at >= {now} - {core} ORDER BY id`)
	return f, err
}
