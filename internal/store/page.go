package store

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

func limit(p fleet.Page) int {
	if p.Limit <= 0 {
		return defaultPage
	}
	return min(p.Limit, maxPage)
}

// after is the key after which a page starts, "" for the first. Cursors are keys
// of last rows, so pages neither repeat nor miss rows that stay, whatever is
// inserted in between.
func after(p fleet.Page) (string, error) {
	key, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	if err != nil {
		return "", &fault.Error{
			Kind: fault.Invalid, Message: "the cursor is not one of ours",
			Fields: []fault.Field{{Path: "cursor", Message: "use nextCursor of the page before", Value: p.Cursor}},
		}
	}
	return string(key), nil
}

// paged cuts rows, of which one more than the limit was asked for, into a page and
// the cursor of the next.
func paged[T any](rows []T, p fleet.Page, key func(T) string) ([]T, string) {
	n := limit(p)
	if len(rows) <= n {
		return rows, ""
	}
	return rows[:n], base64.RawURLEncoding.EncodeToString([]byte(key(rows[n-1])))
}

// where gathers conditions and their arguments.
type where struct {
	conds []string
	args  []any
}

// and adds a condition in which $$ stands for the argument.
func (w *where) and(cond string, arg any) {
	w.conds = append(w.conds, strings.ReplaceAll(cond, "$$", w.arg(arg)))
}

// arg adds an argument and returns its place.
func (w *where) arg(arg any) string {
	w.args = append(w.args, arg)
	return "$" + strconv.Itoa(len(w.args))
}

// String is the clause, "" without conditions.
func (w *where) String() string {
	if len(w.conds) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conds, " AND ")
}
