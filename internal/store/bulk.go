package store

import (
	"context"
	"strconv"
	"strings"
)

// column is one column of rows that are written together.
type column struct {
	name string
	typ  string          // of its elements in PostgreSQL
	list any             // []T, PostgreSQL's array
	at   func(i int) any // one of its elements, for SQLite
}

// col takes a column out of rows.
func col[R, T any](name, typ string, rows []R, value func(*R) T) column {
	list := make([]T, len(rows))
	for i := range rows {
		list[i] = value(&rows[i])
	}
	return column{name: name, typ: typ, list: list, at: func(i int) any { return list[i] }}
}

// unnest gives rows to PostgreSQL as a table: one argument for each column, so
// that any number of rows is one statement, planned once.
func unnest(cols []column) (table string, args []any) {
	var places, names []string
	for i, c := range cols {
		places = append(places, "$"+strconv.Itoa(i+1)+"::"+c.typ+"[]")
		names = append(names, c.name)
		args = append(args, c.list)
	}
	return "unnest(" + strings.Join(places, ", ") + ") AS b(" + strings.Join(names, ", ") + ")", args
}

// maxRows is how many rows one statement gets on PostgreSQL; larger arrays spill
// out of its working memory and are slower.
const maxRows = 1000

// insertMany inserts rows: INSERT INTO into … suffix.
func (c conn) insertMany(ctx context.Context, into, suffix string, n int, cols []column) error {
	if n == 0 {
		return nil
	}
	if c.db.dialect == sqlite {
		return c.repeat(ctx, insertOne(into, suffix, cols), n, cols, func(int, int64) {})
	}
	q, args := insertSelect(into, suffix, cols)
	_, err := c.exec(ctx, q, args...)
	return err
}

// putNamed is insertMany of rows that have names, taken out of what they are made of. Of
// one alone a conflict says whose name is taken; who writes several has looked before.
func putNamed[R, T any](ctx context.Context, tx *Tx, into, suffix string, all []R, name func(R) string, made func(R) (T, error), cols func([]T) []column) error {
	return chunks(all, func(all []R) error {
		rows := make([]T, len(all))
		for i := range all {
			var err error
			if rows[i], err = made(all[i]); err != nil {
				return err
			}
		}
		cols := cols(rows)
		if len(rows) > 1 {
			return tx.insertMany(ctx, into, suffix, len(rows), cols)
		}
		args := make([]any, len(cols))
		for i, c := range cols {
			args[i] = c.at(0)
		}
		_, err := tx.execNaming(ctx, name(all[0]), insertOne(into, suffix, cols), args...)
		return err
	})
}

// keys are the ids of rows.
func keys[R any](all []R, id func(R) string) []string {
	ids := make([]string, len(all))
	for i := range all {
		ids[i] = id(all[i])
	}
	return ids
}

// insertOne is the statement of one row; the columns are its arguments in order.
func insertOne(into, suffix string, cols []column) string {
	names, places := make([]string, len(cols)), make([]string, len(cols))
	for i, c := range cols {
		names[i], places[i] = c.name, "$"+strconv.Itoa(i+1)
	}
	return "INSERT INTO " + into + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(places, ", ") + ") " + suffix
}

// insertSelect is the statement of all rows.
func insertSelect(into, suffix string, cols []column) (string, []any) {
	names := make([]string, len(cols))
	for i, c := range cols {
		names[i] = c.name
	}
	table, args := unnest(cols)
	list := strings.Join(names, ", ")
	return "INSERT INTO " + into + " (" + list + ") SELECT " + list + " FROM " + table + " " + suffix, args
}

// repeat runs a statement prepared once for each row, which is the quickest that
// SQLite does; did hears how many rows each run touched.
func (c conn) repeat(ctx context.Context, q string, n int, cols []column, did func(i int, touched int64)) error {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	text := c.db.text(q)
	stmt := c.statement(ctx, text)
	if stmt == nil {
		var err error
		if stmt, err = c.on.PrepareContext(ctx, text); err != nil {
			return translate(ctx, err, "")
		}
		defer stmt.Close()
	}
	args := make([]any, len(cols))
	for i := range n {
		for k, col := range cols {
			args[k] = col.at(i)
		}
		res, err := stmt.ExecContext(ctx, args...)
		if err != nil {
			return translate(ctx, err, "")
		}
		touched, err := res.RowsAffected()
		if err != nil {
			return err
		}
		did(i, touched)
	}
	return nil
}

// chunks calls fn with at most maxRows rows at a time.
func chunks[R any](rows []R, fn func([]R) error) error {
	for len(rows) > 0 {
		n := min(len(rows), maxRows)
		if err := fn(rows[:n]); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}
