// Package fault names the kinds of error that decisions depend on.
//
// An error has three faces: a kind for programs (status code, close code, retry
// or not), words for the person who made the request, and a cause for the log.
// Text reaches people only through faults; everything else is Internal and its
// text stays inside.
package fault

import (
	"errors"
	"fmt"
	"net/http"
)

// Kind is what went wrong, as far as a caller can act on it.
type Kind int

const (
	Internal        Kind = iota // ours; the text is for the log only
	Invalid                     // the request cannot be right
	NotFound                    // the thing does not exist
	Conflict                    // it cannot be done in the present state (name taken, version passed)
	Unauthenticated             // who are you
	Forbidden                   // not you
	TooMany                     // later
	Unavailable                 // something we need is away; trying again may help
)

var kinds = map[Kind]struct {
	name   string
	status int
}{
	Internal:        {"internal", http.StatusInternalServerError},
	Invalid:         {"invalid", http.StatusUnprocessableEntity},
	NotFound:        {"not-found", http.StatusNotFound},
	Conflict:        {"conflict", http.StatusConflict},
	Unauthenticated: {"unauthenticated", http.StatusUnauthorized},
	Forbidden:       {"forbidden", http.StatusForbidden},
	TooMany:         {"too-many-requests", http.StatusTooManyRequests},
	Unavailable:     {"unavailable", http.StatusServiceUnavailable},
}

func (k Kind) String() string { return kinds[k].name }

// Status is the HTTP status of the kind.
func (k Kind) Status() int { return kinds[k].status }

// Error is a fault: words for people, and where it applies, the place in the input.
type Error struct {
	Kind Kind
	// Message is for the person who asked: no cause, no secrets.
	Message string
	// Fields are the places in the input that are wrong, if any.
	Fields []Field
	// Cause is for the log.
	Cause error
}

// Field is one wrong place in the input. Path is dotted with indexes:
// "spec.collectors[0].config.url".
type Field struct {
	Path    string `json:"path"`
	Message string `json:"message"`
	Value   any    `json:"value,omitempty"`
}

func (e *Error) Error() string {
	text := e.Message
	for _, f := range e.Fields {
		text += fmt.Sprintf("; %s: %s", f.Path, f.Message)
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Cause }

// New makes a fault of the kind with words for people.
func New(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes a fault whose cause goes to the log and whose words go to people.
func Wrap(kind Kind, cause error, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...), Cause: cause}
}

// KindOf gives the kind of err; an error that is no fault is Internal.
func KindOf(err error) Kind {
	if f, ok := errors.AsType[*Error](err); ok {
		return f.Kind
	}
	return Internal
}

// Is reports whether err is a fault of the kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// Message is what a person may read of err: the words of a fault, and of anything
// else only that we failed.
func Message(err error) string {
	if f, ok := errors.AsType[*Error](err); ok {
		return f.Message
	}
	return "the core failed; its log says why"
}
