package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/manifest"
)

// Exit codes, as the package comment promises them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitRefused     = 4
)

// failure is an error with its exit code and, if there is one, the way out.
type failure struct {
	code int
	err  error
	hint string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usage is a wrong command line; hint is the command that would be right, or "".
func usage(hint, format string, args ...any) error {
	return &failure{code: exitUsage, err: fmt.Errorf(format, args...), hint: hint}
}

// errDifferent ends a comparison that found a difference and has shown it.
var errDifferent = errors.New("there are differences")

// explain finds the exit code of an error of a command, and a hint.
func explain(ctx context.Context, err error) error {
	if _, done := errors.AsType[*failure](err); done || errors.Is(err, errDifferent) {
		return err
	}
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx))) {
		return errors.New("interrupted")
	}
	if u, ok := errors.AsType[*client.Unreachable](err); ok {
		return unreachable(u)
	}
	if p, ok := errors.AsType[*client.Problem](err); ok {
		switch p.Status {
		case http.StatusUnauthorized:
			return &failure{exitRefused, err, "set PERIGEE_TOKEN, or give --token-file"}
		case http.StatusForbidden:
			return &failure{exitRefused, err, "another token may do this: set PERIGEE_TOKEN, or give --token-file"}
		}
	}
	return err
}

func unreachable(u *client.Unreachable) error {
	f := &failure{code: exitUnreachable, err: u, hint: "start a core with: perigee serve (or, to try things: perigee dev); or name another with --url or PERIGEE_URL"}
	_, unknown := errors.AsType[x509.UnknownAuthorityError](u)
	switch {
	case unknown:
		f.hint = "give the certificate of who signed the core's with --ca-file"
	case errors.Is(u, context.DeadlineExceeded):
		f.err = fmt.Errorf("no core answers at %s in time", u.URL)
		f.hint = "give it longer with --timeout, or name another with --url or PERIGEE_URL"
		if u.Unsure {
			f.err = fmt.Errorf("the core at %s has not answered in time; what it was to do it may have done", u.URL)
			f.hint = "look whether it did before you try again, and give it longer with --timeout"
		}
	}
	return f
}

// complain tells a person what went wrong and returns the exit code.
func complain(w io.Writer, err error) int {
	if errors.Is(err, errDifferent) {
		return exitFailed
	}
	if places, ok := errors.AsType[manifest.Errors](err); ok {
		fmt.Fprintln(w, places) // file:line:column, as editors like it
		if f, ok := errors.AsType[*failure](err); ok {
			return f.code
		}
		return exitFailed
	}
	fmt.Fprintf(w, "perigee: %s\n", words(err))
	f, ok := errors.AsType[*failure](err)
	if !ok {
		return exitFailed
	}
	if f.hint != "" {
		fmt.Fprintf(w, "hint: %s\n", f.hint)
	}
	return f.code
}

// words are the error's, with wrong places one to a line.
func words(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		text := f.Message
		for _, field := range f.Fields {
			text += "\n  " + field.Path + ": " + field.Message
		}
		if f.Cause != nil { // the core runs here: the log is what we print
			text += ": " + f.Cause.Error()
		}
		return text
	}
	text := err.Error()
	p, ok := errors.AsType[*client.Problem](err)
	if ok && p.Detail == "" {
		text = strings.Replace(text, p.Title, strings.ToLower(p.Title), 1)
	}
	if ok && p.Status >= http.StatusInternalServerError && p.RequestID != "" {
		text += "\n  the core's log has it under request id " + p.RequestID
	}
	return text
}

var (
	unknownWord = regexp.MustCompile(`^(?:unexpected argument|unknown flag) (\S+?)(?:, did you mean (.*)\?)?$`)
	quotedWord  = regexp.MustCompile(`"([^"]+)"`)
)

// misread is what is wrong with a command line, and the command that was perhaps
// meant.
func misread(args []string, err error) error {
	hint, kind := "perigee --help", "command"
	if parsed, ok := errors.AsType[*kong.ParseError](err); ok && parsed.Context.Selected() != nil {
		hint = "perigee " + withoutArguments(parsed.Context.Command()) + " --help"
		if parsed.Context.Selected().Leaf() {
			kind = "argument"
		}
	}
	match := unknownWord.FindStringSubmatch(err.Error())
	if match == nil {
		return usage(hint, "%w", err)
	}
	word := match[1]
	if strings.HasPrefix(word, "-") {
		kind = "flag"
	}
	if meant := quotedWord.FindAllStringSubmatch(match[2], -1); len(meant) > 0 {
		hint = "perigee " + shown(replaced(args, word, nearest(word, meant)))
	}
	return usage(hint, "unknown %s %s", kind, word)
}

// withoutArguments is "satellite get" of "satellite get <name>".
func withoutArguments(command string) string {
	words := strings.Fields(command)
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return strings.HasPrefix(w, "<") }), " ")
}

// nearest prefers a candidate that goes on where the word ends; kong gives those
// that are close.
func nearest(word string, candidates [][]string) string {
	for _, c := range candidates {
		if strings.HasPrefix(c[1], word) {
			return c[1]
		}
	}
	return candidates[0][1]
}

// replaced is args with the first occurrence of the word, or of the flag with its
// value, replaced.
func replaced(args []string, word, by string) []string {
	args = slices.Clone(args)
	for i, a := range args {
		if name, value, ok := strings.Cut(a, "="); a == word || ok && name == word {
			args[i] = by
			if ok && a != word {
				args[i] += "=" + value
			}
			return args
		}
	}
	return args
}

var tokenFlag = regexp.MustCompile(`^--[a-z-]*token(=.*)?$`)

// shown is a command line as it can be typed again. Tokens do not appear in it.
func shown(args []string) string {
	words, secret := make([]string, len(args)), false
	for i, a := range args {
		flag, _, given := strings.Cut(a, "=")
		isToken := tokenFlag.MatchString(a)
		switch {
		case secret:
			words[i] = "…"
		case isToken && given:
			words[i] = flag + "=…"
		case a == "" || strings.ContainsAny(a, " \t\n\"'`$\\&|;<>()*?[]#~"):
			words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		default:
			words[i] = a
		}
		secret = isToken && !given
	}
	return strings.Join(words, " ")
}
