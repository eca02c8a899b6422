package script

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

//go:embed hosted.mjs
var hosted string

// MaxAnswer is the most that a program may say of how it ended, in bytes.
const MaxAnswer = 1 << 20

// Program is a script that is built for a runtime of this machine. Whoever runs it writes
// its files into one directory, starts the runtime with Main in there, and reads what it
// says on descriptor 3.
type Program struct {
	Files map[string]string
	Main  string

	built built
	began time.Time
}

// Program builds a script for the runtime that it names. The error is an *Error where the
// script is at fault.
func (r *Runner) Program(ctx context.Context, in Input) (*Program, error) {
	began := time.Now()
	b, err := r.build(ctx, in)
	if err != nil {
		return nil, err
	}
	knows := cmp.Or(string(in.Context), "{}")
	return &Program{
		Files: map[string]string{"perigee-check.mjs": b.Code, "perigee-run.mjs": strings.Replace(hosted, "CONTEXT", escapeSeparators(knows), 1)},
		Main:  "perigee-run.mjs", built: b, began: began,
	}, nil
}

// Outcome is what the program came to, by what it has said.
func (p *Program) Outcome(answer []byte) (Outcome, error) {
	if len(answer) > MaxAnswer {
		return Outcome{}, &Error{Message: fmt.Sprintf("what the script returned is longer than %d bytes", MaxAnswer)}
	}
	var e ended
	if err := json.Unmarshal(answer, &e); err != nil {
		return Outcome{}, &Error{Message: "the script ended before it returned"}
	}
	e.Timeout = false // the time is not its own to tell
	return p.built.outcome(&e, p.began)
}
