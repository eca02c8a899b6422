// Package checkstack reads what a Checkstack core keeps in its PostgreSQL database
// (spec J), for taking it over: satellites with the bcrypt hashes of their tokens,
// systems, configurations and associations.
//
// It promises to write nothing: one read-only transaction on one snapshot, with a
// deadline on every step, that may run beside a core that is at work. Tables are
// found by their names and columns in whatever schema they are, and columns of
// later versions are read where they exist. What cannot be carried over is a
// Finding with the reason, never silently left out. Nothing is decided here about
// what is in the other core already: that is catalog.Import's.
package checkstack

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/perigee-monitoring/perigee/internal/catalog"
)

// Found is what was read.
type Found struct {
	Import   catalog.Import `json:"import"`
	Findings []Finding      `json:"findings"`
}

// Finding is something that is not carried over as it was.
type Finding struct {
	Kind    string `json:"kind"` // Satellite, System, Check or Assignment; "" for all
	Name    string `json:"name"`
	Message string `json:"message"`
}

const (
	connectTimeout = 10 * time.Second
	readTimeout    = 2 * time.Minute
)

// Read reads the database of a Checkstack core. The URL may hold a password; it is
// in no error.
func Read(ctx context.Context, url string) (Found, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return Found{}, errors.New("the address of the original's database is not of the form postgres://user:password@host/database")
	}
	cfg.ConnectTimeout = connectTimeout
	cfg.RuntimeParams["application_name"] = "perigee import"
	cfg.RuntimeParams["statement_timeout"] = "60s"
	cfg.RuntimeParams["lock_timeout"] = "5s"
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return Found{}, fmt.Errorf("connecting to the original's database at %s: %w", cfg.Host, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing was written
	var found Found
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		r := reader{tx: tx, found: Found{Findings: []Finding{}}}
		if err := r.run(ctx); err != nil {
			return err
		}
		found = r.found
		return nil
	})
	if err != nil {
		return Found{}, fmt.Errorf("reading the original's database: %w", err)
	}
	return found, nil
}

// table is a table that was found, and its columns with their types.
type table struct {
	schema, name string
	columns      map[string]string
}

func (t *table) sql() string { return pgx.Identifier{t.schema, t.name}.Sanitize() }

// col is a column if the table has it, otherwise what stands for it.
func (t *table) col(name, otherwise string) string {
	if _, has := t.columns[name]; has {
		return pgx.Identifier{name}.Sanitize()
	}
	return otherwise
}

// given holds for a JSON column that exists and says something.
func (t *table) given(name string) string {
	if _, has := t.columns[name]; !has {
		return "false"
	}
	column := pgx.Identifier{name}.Sanitize()
	return "(" + column + " IS NOT NULL AND " + column + "::text NOT IN ('null', '{}', '[]'))"
}

// wanted are the tables, and the columns with their types ("" for any) by which
// they are known. A table of ours in the same database has other types.
var wanted = map[string]map[string]string{
	"satellites":                  {"id": "uuid", "name": "", "region": "", "tags": "", "token_hash": "", "created_at": ""},
	"health_check_configurations": {"id": "uuid", "name": "", "strategy_id": "", "config": "", "interval_seconds": ""},
	"system_health_checks":        {"system_id": "", "configuration_id": "uuid", "enabled": ""},
	"systems":                     {"id": "text", "name": "text", "metadata": ""},
	// Since 0.9.4.
	"environments":         {"id": "text", "name": "text", "metadata": ""},
	"systems_environments": {"system_id": "text", "environment_id": "text"},
}

// tables finds the wanted tables. Two of one name are an error: it would be a
// guess which to read.
func (r *reader) tables(ctx context.Context) (map[string]*table, error) {
	rows, err := r.tx.Query(ctx, `SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns
		WHERE table_name = ANY($1) ORDER BY 1, 2, 3`, slices.Sorted(maps.Keys(wanted)))
	if err != nil {
		return nil, err
	}
	all := map[[2]string]*table{}
	var schema, name, column, typ string
	_, err = pgx.ForEachRow(rows, []any{&schema, &name, &column, &typ}, func() error {
		t := all[[2]string{schema, name}]
		if t == nil {
			t = &table{schema: schema, name: name, columns: map[string]string{}}
			all[[2]string{schema, name}] = t
		}
		t.columns[column] = typ
		return nil
	})
	if err != nil {
		return nil, err
	}
	found := map[string]*table{}
	for _, t := range all {
		if !t.fits() {
			continue
		}
		if other := found[t.name]; other != nil {
			schemas := []string{t.schema, other.schema}
			slices.Sort(schemas)
			return nil, fmt.Errorf("there are two tables named %s, in the schemas %s; import from a copy that has one", t.name, strings.Join(schemas, " and "))
		}
		found[t.name] = t
	}
	return found, nil
}

func (t *table) fits() bool {
	for column, typ := range wanted[t.name] {
		has, known := t.columns[column]
		if !known || typ != "" && has != typ {
			return false
		}
	}
	return true
}
