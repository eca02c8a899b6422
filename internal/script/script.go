package script

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Input is one script and what it may know.
type Input struct {
	// Source is the text of a module in TypeScript or JavaScript.
	Source string
	// Name is what it is called in errors, such as check.ts; its ending says which
	// language it is.
	Name string
	// Root is the directory in whose node_modules imports are found; "" for none.
	Root string
	// Context becomes globalThis.context: an object.
	Context json.RawMessage
	// Env becomes process.env.
	Env map[string]string
	// Runtime is the program of this machine that a Program is built for: Node or Bun; ""
	// for the engine.
	Runtime string
}

// Runtimes of this machine that scripts can be built for.
const (
	Node = "node"
	Bun  = "bun"
)

// Limits of one run.
type Limits struct {
	// Memory of the script's heap, in bytes; 0 for DefaultMemory.
	Memory int64
	// Output is how many bytes of what it prints are kept; 0 for DefaultOutput.
	Output int
}

// What a script gets when nothing else is said.
const (
	DefaultMemory = 64 << 20
	DefaultOutput = 64 << 10
)

// Outcome is what a script came to.
type Outcome struct {
	// Success is what it returned (see Returned).
	Success bool
	Message string
	// Value is a number that it measured; nil for none.
	Value *float64
	// Output is the beginning of what it printed, in the order in which it did; errors are
	// not kept apart. Cut: there was more.
	Output string
	Cut    bool
}

// Returned says what becomes of a value that a script returns: nothing is success, true
// and false are success and failure, a number is a success with that value, a text a
// success with that message, and an object says {success, message, value} itself, where
// success left out is true. A null is nothing.
func Returned(raw json.RawMessage) (Outcome, error) {
	var value any
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &value); err != nil {
			return Outcome{}, fmt.Errorf("reading what the script returned: %w", err)
		}
	}
	switch v := value.(type) {
	case nil:
		return Outcome{Success: true}, nil
	case bool:
		return Outcome{Success: v}, nil
	case float64:
		return Outcome{Success: true, Value: &v}, nil
	case string:
		return Outcome{Success: true, Message: v}, nil
	case map[string]any:
		return returnedObject(v)
	}
	return Outcome{}, errors.New("the script returned a list; return nothing, true or false, a number, a text, or {success, message, value}")
}

func returnedObject(v map[string]any) (Outcome, error) {
	o := Outcome{Success: true}
	for name, field := range v {
		ok := true
		switch name {
		case "success":
			o.Success, ok = field.(bool)
		case "message":
			if field != nil {
				o.Message, ok = field.(string)
			}
		case "value":
			if field != nil {
				var n float64
				n, ok = field.(float64)
				o.Value = &n
			}
		}
		if !ok {
			return Outcome{}, fmt.Errorf("the script returned an object whose %s is no %s", name, map[string]string{"success": "boolean", "message": "text", "value": "number"}[name])
		}
	}
	return o, nil
}

// Error is a fault of the script, as it would be shown to who wrote it.
type Error struct {
	// Message is what is wrong, such as "TypeError: x is not a function".
	Message string
	// At is the place in the source, such as "check.ts:3:9"; "" where there is none.
	At string
	// Stack are the places on the way there, the innermost first.
	Stack []string
	// Refused is a connection that a policy did not allow in this run; nil for none.
	Refused error `json:"-"`
}

func (e *Error) Error() string {
	if e.At == "" {
		return e.Message
	}
	return e.Message + " (" + e.At + ")"
}

// ErrTimeout is that a script did not end in its time.
var ErrTimeout = errors.New("the script did not end in its time")

// Fetcher carries the requests of scripts out. It is the only way out that they have, so
// it is where a network policy holds.
type Fetcher interface {
	RoundTrip(r *http.Request) (*http.Response, error)
}

// Run runs a script to its end, or to that of ctx, which should have a deadline. The error
// is an *Error where the script is at fault, wraps ErrTimeout where it took too long, and
// is anything else where this machine is. What the script printed is there in any case.
func (r *Runner) Run(ctx context.Context, in Input, limits Limits, fetch Fetcher) (Outcome, error) {
	built, err := r.build(ctx, in)
	if err != nil {
		return Outcome{}, err
	}
	return r.run(ctx, built, in, limits, fetch)
}

// Check says what is wrong with a script without running it.
func (r *Runner) Check(ctx context.Context, in Input) error {
	_, err := r.build(ctx, in)
	return err
}

// tooLate tells an end of time from an end of work.
func tooLate(ctx context.Context, began time.Time) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w (%s)", ErrTimeout, time.Since(began).Round(time.Millisecond))
	}
	return ctx.Err()
}
