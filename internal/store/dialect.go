package store

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/protocol"
)

// dialect is whose SQL a database speaks. Shared SQL is written in PostgreSQL's
// words, with three of our own: {now}, the database's clock in microseconds,
// {threshold}, the default offline threshold in milliseconds, and {core}, after how many
// microseconds a core counts as gone.
type dialect string

const (
	postgres dialect = "postgres"
	sqlite   dialect = "sqlite"
)

// What SQLite says differently. It numbers $n by first appearance but ?n by n; it
// has no arrays, so a list travels as JSON; its one writer needs no row locks; it
// converts types by itself.
var (
	litePlaceholder = regexp.MustCompile(`\$(\d+)`)
	liteList        = regexp.MustCompile(`= ANY\((\?\d+)\)`)
	liteLock        = regexp.MustCompile(` FOR (?:NO KEY )?UPDATE(?: OF \w+)?(?: SKIP LOCKED)?`)
	liteCast        = regexp.MustCompile(`::\w+`)
)

// liteClock is the function by which SQLite, which is in this process, asks for
// the time. Not a number written into the text: statements are kept ready by it.
const liteClock = "perigee_now_us"

// text gives shared SQL in the dialect's words.
func (d dialect) text(q string) string {
	q = strings.ReplaceAll(q, "{threshold}", strconv.FormatInt(protocol.OfflineThreshold.Milliseconds(), 10))
	q = strings.ReplaceAll(q, "{core}", strconv.FormatInt(fleet.CoreGone.Microseconds(), 10))
	if d == postgres {
		return strings.ReplaceAll(q, "{now}", "(extract(epoch FROM statement_timestamp()) * 1000000)::bigint")
	}
	q = litePlaceholder.ReplaceAllString(q, "?$1")
	q = liteList.ReplaceAllString(q, "IN (SELECT value FROM json_each($1))")
	q = liteLock.ReplaceAllString(q, "")
	q = liteCast.ReplaceAllString(q, "")
	return strings.NewReplacer("GREATEST(", "max(", "jsonb_each_text(", "json_each(", "{now}", liteClock+"()").Replace(q)
}

// text is dialect.text, remembered.
func (db *DB) text(q string) string {
	known, ok := db.texts.Load(q)
	if !ok {
		known, _ = db.texts.LoadOrStore(q, db.dialect.text(q))
	}
	return known.(string)
}

// args gives arguments as the dialect takes them.
func (d dialect) args(args []any) ([]any, error) {
	if d == postgres {
		return args, nil
	}
	for i, a := range args {
		if list, ok := a.([]string); ok {
			b, err := json.Marshal(list)
			if err != nil {
				return nil, err
			}
			args[i] = string(b)
		}
	}
	return args, nil
}
