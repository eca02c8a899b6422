package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// defaultConns is how many connections a core uses at most, unless the URL says
// pool_max_conns: writers are few because commits are grouped.
const defaultConns = 16

// openPostgres opens a pool whose connections cannot hang: connecting, waiting for
// a lock, a statement and a transaction that nobody continues all end by
// themselves. What the URL says goes before these defaults.
func openPostgres(ctx context.Context, url string, log *slog.Logger) (*DB, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	conns, err := poolSize(cfg)
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 5 * time.Second
	}
	defaults(cfg.RuntimeParams, map[string]string{"application_name": "perigee"})

	if err := migratePostgres(ctx, cfg.Copy(), log); err != nil {
		return nil, err
	}

	defaults(cfg.RuntimeParams, map[string]string{
		"lock_timeout":                        "10s",
		"statement_timeout":                   "30s",
		"idle_in_transaction_session_timeout": "60s",
	})
	pool := stdlib.OpenDB(*cfg)
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	pool.SetConnMaxLifetime(time.Hour)
	db := &DB{dialect: postgres, write: pool, read: pool, log: log}
	if err := db.Ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the database: %w", err), db.Close())
	}
	return db, nil
}

func migratePostgres(ctx context.Context, cfg *pgx.ConnConfig, log *slog.Logger) error {
	// A migration may take long, so its connections have no timeouts.
	pool := stdlib.OpenDB(*cfg)
	defer pool.Close()
	return migrate(ctx, pool, postgres, log)
}

// poolSize takes pool_max_conns, as pgxpool spells it, out of the parameters.
func poolSize(cfg *pgx.ConnConfig) (int, error) {
	text, ok := cfg.RuntimeParams["pool_max_conns"]
	if !ok {
		return defaultConns, nil
	}
	delete(cfg.RuntimeParams, "pool_max_conns")
	n, err := strconv.Atoi(text)
	if err != nil || n < 2 {
		return 0, fmt.Errorf("pool_max_conns %q is not a number above 1", text)
	}
	return n, nil
}

func defaults(params, values map[string]string) {
	for k, v := range values {
		if _, given := params[k]; !given {
			params[k] = v
		}
	}
}
