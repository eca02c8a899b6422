package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	lite "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// errSilent is why a deadline of ours ended a statement.
var errSilent = errors.New("the database did not answer in time")

// Words for people.
const (
	wordsAway    = "the database is away; try again later"
	wordsBusy    = "the database is busy; try again later"
	wordsFull    = "the database has no room left on its disk"
	wordsDamaged = "the database file is damaged or unreadable"
)

// taken says what a unique key guards: by PostgreSQL's name of the key, and by the
// columns that SQLite names. NAME stands for the name that was asked for.
var taken = map[string]string{
	"satellites_name":   "the name NAME is taken by another satellite",
	"satellites.name":   "the name NAME is taken by another satellite",
	"systems_name":      "the name NAME is taken by another system",
	"systems.name":      "the name NAME is taken by another system",
	"maintenances_name": "the name NAME is taken by another maintenance",
	"maintenances.name": "the name NAME is taken by another maintenance",
	"checks_name":       "the name NAME is taken by another check",
	"checks.name":       "the name NAME is taken by another check",
	"assignments_name":  "the name NAME is taken by another assignment",
	"assignments.name":  "the name NAME is taken by another assignment",
	"channels_name_key": "the name NAME is taken by another channel",
	"channels.name":     "the name NAME is taken by another channel",
	"assignments_pair":  "another assignment joins this check and this system",
	"assignments.check_id, assignments.system_id": "another assignment joins this check and this system",
	"automations_name":     "the name NAME is taken by another automation",
	"automations.name":     "the name NAME is taken by another automation",
	"secrets_name":         "the name NAME is taken by another secret",
	"secrets.name":         "the name NAME is taken by another secret",
	"script_packages_pkey": "the package NAME is on the list already",
	"script_packages.name": "the package NAME is on the list already",
	"users_name":           "the name NAME is taken by another user",
	"users.name":           "the name NAME is taken by another user",
	"api_tokens_digest":    "this token exists already",
	"api_tokens.digest":    "this token exists already",
}

func conflict(err error, key, name string) error {
	words, ok := taken[key]
	if !ok {
		words = "it exists already"
	}
	return fault.Wrap(fault.Conflict, err, "%s", strings.ReplaceAll(words, "NAME", strconv.Quote(name)))
}

// translate makes a driver's error a fault. ctx is the statement's; name is what
// the statement gives to something, "" for nothing.
func translate(ctx context.Context, err error, name string) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		if cause := context.Cause(ctx); !errors.Is(cause, errSilent) {
			return cause // the caller's own end
		}
		return fault.Wrap(fault.Unavailable, errors.Join(errSilent, err), wordsAway)
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return translatePostgres(err, pg, name)
	}
	if l, ok := errors.AsType[*lite.Error](err); ok {
		return translateSQLite(err, l, name)
	}
	if away(err) {
		return fault.Wrap(fault.Unavailable, err, wordsAway)
	}
	return err
}

// translatePostgres decides by SQLSTATE.
func translatePostgres(err error, pg *pgconn.PgError, name string) error {
	switch pg.Code {
	case "23505": // unique_violation
		return conflict(err, pg.ConstraintName, name)
	case "23503": // foreign_key_violation
		return fault.Wrap(fault.Invalid, err, "it refers to something that does not exist")
	case "22021", "22P05": // character_not_in_repertoire, untranslatable_character
		return fault.Wrap(fault.Invalid, err, "a text holds a character that cannot be stored")
	case "53100": // disk_full
		return fault.Wrap(fault.Unavailable, err, wordsFull)
	case "40001", "40P01", "55P03", "57014": // serialization, deadlock, lock and statement timeout
		return fault.Wrap(fault.Unavailable, err, wordsBusy)
	case "58030", "25006": // io_error, read_only_sql_transaction (a standby)
		return fault.Wrap(fault.Unavailable, err, wordsAway)
	}
	switch pg.Code[:min(2, len(pg.Code))] {
	case "08", "53", "57", "28", "3D": // connection, resources, shutdown, log-in, no such database
		return fault.Wrap(fault.Unavailable, err, wordsAway)
	}
	return err
}

// translateSQLite decides by result code, whose low byte is the kind.
func translateSQLite(err error, l *lite.Error, name string) error {
	switch l.Code() {
	case codes.SQLITE_CONSTRAINT_UNIQUE, codes.SQLITE_CONSTRAINT_PRIMARYKEY:
		return conflict(err, liteKey(l.Error()), name)
	case codes.SQLITE_CONSTRAINT_FOREIGNKEY:
		return fault.Wrap(fault.Invalid, err, "it refers to something that does not exist")
	}
	switch l.Code() & 0xff {
	case codes.SQLITE_BUSY, codes.SQLITE_LOCKED:
		return fault.Wrap(fault.Unavailable, err, wordsBusy)
	case codes.SQLITE_FULL:
		return fault.Wrap(fault.Unavailable, err, wordsFull)
	case codes.SQLITE_IOERR, codes.SQLITE_CANTOPEN, codes.SQLITE_READONLY, codes.SQLITE_PROTOCOL, codes.SQLITE_NOMEM:
		return fault.Wrap(fault.Unavailable, err, wordsAway)
	case codes.SQLITE_CORRUPT, codes.SQLITE_NOTADB:
		return fault.Wrap(fault.Unavailable, err, wordsDamaged)
	}
	return err
}

// liteKey takes the columns out of "… UNIQUE constraint failed: satellites.name (2067)".
func liteKey(message string) string {
	_, key, _ := strings.Cut(message, "constraint failed: ")
	// The driver may repeat the words: "constraint failed: UNIQUE constraint failed: …".
	if _, inner, found := strings.Cut(key, "constraint failed: "); found {
		key = inner
	}
	key, _, _ = strings.Cut(key, " (")
	return key
}

// away reports whether err, of no SQLSTATE, means that the server cannot be
// reached or that the connection broke.
func away(err error) bool {
	if slices.ContainsFunc([]error{
		driver.ErrBadConn, sql.ErrConnDone, sql.ErrTxDone, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, pgconn.ErrConnClosed,
	}, func(target error) bool { return errors.Is(err, target) }) {
		return true
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	// database/sql has no name for this one; it means that Close was called.
	return pgconn.SafeToRetry(err) || err.Error() == "sql: database is closed"
}

// lostRace reports whether a transaction may succeed when it is run again at once:
// it deadlocked, could not be serialized, or wrote of something that was deleted
// while it ran (a location's parent, which its statement had just seen).
func lostRace(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == "40001" || pg.Code == "40P01" ||
			pg.Code == "23503" && strings.HasPrefix(pg.ConstraintName, "locations_")
	}
	return false
}
