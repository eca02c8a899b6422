package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations
var migrations embed.FS

// ErrNewerSchema says that a newer version of the program has upgraded the database.
var ErrNewerSchema = errors.New("the database was upgraded by a newer version; run that version")

// migrate brings the schema up to date. Several cores may start at once on
// PostgreSQL: one migrates and the others wait for it; on SQLite the file's lock
// lets in one process only.
func migrate(ctx context.Context, pool *sql.DB, d dialect, log *slog.Logger) error {
	files, err := fs.Sub(migrations, "migrations/"+string(d))
	if err != nil {
		return fmt.Errorf("migrating the database: %w", err)
	}
	var options []goose.ProviderOption
	engine := goose.DialectSQLite3
	if d == postgres {
		engine = goose.DialectPostgres
		// Asked for each second, for at most ten minutes.
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 600), lock.WithUnlockTimeout(1, 60))
		if err != nil {
			return fmt.Errorf("migrating the database: %w", err)
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	provider, err := goose.NewProvider(engine, pool, files, options...)
	if err != nil {
		return fmt.Errorf("migrating the database: %w", err)
	}
	// On a newer schema nothing of ours is pending, so asking afterwards is soon enough.
	done, err := provider.Up(ctx)
	if err != nil {
		return translate(ctx, fmt.Errorf("migrating the database: %w", err), "")
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return translate(ctx, fmt.Errorf("migrating the database: %w", err), "")
	}
	if current > target {
		return fmt.Errorf("opening the database: %w (its schema is %d, this version knows up to %d)", ErrNewerSchema, current, target)
	}
	if len(done) > 0 {
		log.Info("database schema upgraded", "schema", current, "migrations", len(done))
	}
	return nil
}
