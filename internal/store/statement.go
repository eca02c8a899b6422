package store

import (
	"context"
	"database/sql"
	"sync"
)

// maxPrepared bounds the statements that are kept ready; texts are ours and few,
// so it is never reached in practice.
const maxPrepared = 512

// statements keeps SQLite's statements ready: compiling one costs as much as
// running it. (PostgreSQL's driver does this by itself.)
//
// The writer has one connection, which a transaction holds; preparing inside it
// through the pool would wait for itself. So a text that is not ready runs as it
// is and is made ready when the transaction is over.
type statements struct {
	pool *sql.DB

	mu     sync.Mutex
	ready  map[string]*sql.Stmt // guarded by mu
	wanted map[string]struct{}  // guarded by mu
}

func newStatements(pool *sql.DB) *statements {
	return &statements{pool: pool, ready: map[string]*sql.Stmt{}, wanted: map[string]struct{}{}}
}

// find returns the statement, or notes that it is wanted.
func (s *statements) find(text string) *sql.Stmt {
	s.mu.Lock()
	defer s.mu.Unlock()
	stmt := s.ready[text]
	if stmt == nil && len(s.ready)+len(s.wanted) < maxPrepared {
		s.wanted[text] = struct{}{}
	}
	return stmt
}

// prepare makes ready what is wanted. What cannot be prepared goes on running as
// it is, and says itself what is wrong.
func (s *statements) prepare(ctx context.Context) {
	s.mu.Lock()
	if len(s.wanted) == 0 {
		s.mu.Unlock()
		return
	}
	texts := s.wanted
	s.wanted = map[string]struct{}{}
	s.mu.Unlock()
	for text := range texts {
		stmt, err := s.pool.PrepareContext(ctx, text)
		if err != nil {
			continue
		}
		s.mu.Lock()
		if other := s.ready[text]; other == nil {
			s.ready[text], stmt = stmt, nil
		}
		s.mu.Unlock()
		if stmt != nil {
			_ = stmt.Close() // another was quicker
		}
	}
}

// close ends all statements; the pool is closed next.
func (s *statements) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for text, stmt := range s.ready {
		_ = stmt.Close() // its connection goes as well
		delete(s.ready, text)
	}
}

// query runs a query, with a statement that is ready if there is one.
func (c conn) query(ctx context.Context, text string, args []any) (*sql.Rows, error) {
	if stmt := c.statement(ctx, text); stmt != nil {
		return stmt.QueryContext(ctx, args...)
	}
	return c.on.QueryContext(ctx, text, args...)
}

// run runs a statement that yields no rows.
func (c conn) run(ctx context.Context, text string, args []any) (sql.Result, error) {
	if stmt := c.statement(ctx, text); stmt != nil {
		return stmt.ExecContext(ctx, args...)
	}
	return c.on.ExecContext(ctx, text, args...)
}

// statement is the text made ready for this connection; nil when it is not.
func (c conn) statement(ctx context.Context, text string) *sql.Stmt {
	if c.db.dialect != sqlite {
		return nil
	}
	if tx, ok := c.on.(*sql.Tx); ok {
		if c.snapshot {
			return nil
		}
		if ready := c.db.writing.find(text); ready != nil {
			return tx.StmtContext(ctx, ready) // the transaction closes it
		}
		return nil
	}
	if c.on != handle(c.db.read) {
		return nil
	}
	if ready := c.db.reading.find(text); ready != nil {
		return ready
	}
	c.db.reading.prepare(ctx)
	return c.db.reading.find(text)
}
