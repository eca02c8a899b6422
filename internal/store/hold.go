package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// lockLocal is held by the core that runs the built-in satellite.
const lockLocal = 0x7065726967_07

// Held is something that one core of a database has to itself, for as long as its
// connection lives.
type Held struct{ conn *sql.Conn }

// HoldLocal takes the place of the core that runs the built-in satellite; nil when
// another has it. Release gives it back; it is free, too, as soon as the database
// notices that this core is gone. A SQLite file has one core, which needs no place.
func (db *DB) HoldLocal(ctx context.Context) (*Held, error) {
	if db.dialect == sqlite {
		return &Held{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := db.write.Conn(ctx)
	if err != nil {
		return nil, translate(ctx, err, "")
	}
	var free bool
	if err := conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock($1)", int64(lockLocal)).Scan(&free); err != nil || !free {
		_ = conn.Close() // back to the pool; it holds nothing
		if err != nil {
			return nil, translate(ctx, err, "")
		}
		return nil, nil
	}
	return &Held{conn: conn}, nil
}

// Check reports whether the place is still held.
func (h *Held) Check(ctx context.Context) error {
	if h.conn == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := h.conn.PingContext(ctx); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the database is away")
	}
	return nil
}

// Release gives the place back.
func (h *Held) Release() {
	if h.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if _, err := h.conn.ExecContext(ctx, "SELECT pg_advisory_unlock($1)", int64(lockLocal)); err != nil {
		// The connection must not go back to the pool with the lock on it.
		_ = h.conn.Raw(func(any) error { return driver.ErrBadConn })
	}
	_ = h.conn.Close()
}
