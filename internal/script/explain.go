package script

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-sourcemap/sourcemap"
)

// frame is one line of a stack: "    at name (<eval>:3:16)" of the engine's, and "    at
// async name (file:///dir/perigee-check.mjs:3:16)" of other runtimes.
var frame = regexp.MustCompile(`^\s*at (?:async )?(?:(.*) \()?(?:<eval>|\S*/perigee-check\.mjs):(\d+):(\d+)\)?\s*$`)

// explain says where in the source something was thrown. What the prelude did in
// between is left out.
func (b built) explain(t *thrown) *Error {
	e := &Error{Message: t.Message}
	if t.Name != "" {
		e.Message = t.Name + ": " + t.Message
	}
	if !b.Hosted {
		e.Message = friendlier(e.Message)
	}
	source, err := sourcemap.Parse("", []byte(b.Map))
	if err != nil {
		return e
	}
	for line := range strings.Lines(t.Stack) {
		found := frame.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if found == nil {
			continue
		}
		row, _ := strconv.Atoi(found[2])
		column, _ := strconv.Atoi(found[3])
		file, _, atRow, atColumn, ok := source.Source(row, max(0, column-1))
		if !ok || strings.HasPrefix(file, "perigee:") {
			continue
		}
		file = strings.TrimPrefix(file, "script:")
		if i := strings.LastIndex(file, "node_modules/"); i >= 0 {
			file = file[i:]
		}
		at := fmt.Sprintf("%s:%d:%d", file, atRow, atColumn+1)
		if e.At == "" {
			e.At = at
		}
		if name := found[1]; name != "" && name != "<anonymous>" {
			at = name + " (" + at + ")"
		}
		e.Stack = append(e.Stack, at)
	}
	return e
}

// friendlier adds to what the engine says of what it has not.
func friendlier(message string) string {
	name, ok := strings.CutSuffix(strings.TrimPrefix(message, "ReferenceError: "), " is not defined")
	if !ok || !strings.HasPrefix(message, "ReferenceError: ") {
		return message
	}
	switch strings.Trim(name, "'") {
	case "require":
		return message + "; write import … from \"…\""
	case "Buffer", "__dirname", "__filename", "Bun", "Deno":
		return message + "; this script runs without Node; set runtime to node where Node is installed"
	case "Intl":
		return message + "; the engine has no internationalization"
	}
	return message
}
