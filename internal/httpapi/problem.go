package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// Problem is every error of the API (RFC 9457). Type is "urn:perigee:problem:" and
// the kind of fault; Errors name the places that are wrong: a path in the body
// ("spec.collectors[0].config.url"), "query.limit", "path.id", or "body" as a whole.
type Problem = huma.ErrorModel

const problemType = "urn:perigee:problem:"

// retryAfter is how many seconds a client that was turned away should wait.
const retryAfter = "5"

func newProblem(status int, kind, detail string) *Problem {
	return &Problem{Type: problemType + kind, Title: http.StatusText(status), Status: status, Detail: detail}
}

// problemOf is the one place where errors become answers. What is no fault, or an
// internal one, is answered with a fixed text and the id under which the log has it.
func problemOf(ctx context.Context, err error) *Problem {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok && errors.Is(err, context.DeadlineExceeded) {
		f, ok = fault.New(fault.Unavailable, "it took too long; try again later"), true
	}
	if !ok || f.Kind == fault.Internal {
		return newProblem(http.StatusInternalServerError, fault.Internal.String(), "an internal error; the log has it under request id "+requestID(ctx))
	}
	p := newProblem(f.Kind.Status(), f.Kind.String(), f.Message)
	for _, field := range f.Fields {
		p.Errors = append(p.Errors, &huma.ErrorDetail{Location: field.Path, Message: field.Message, Value: shown(field.Value)})
	}
	return p
}

// fail logs an error that a person has to know of, and makes it an answer.
func (a *API) fail(ctx context.Context, operation string, err error) *Problem {
	p := problemOf(ctx, err)
	switch {
	case errors.Is(err, context.Canceled) && ctx.Err() != nil: // the client has gone
	case p.Status == http.StatusServiceUnavailable:
		a.Log.Warn("request failed", "request_id", requestID(ctx), "operation", operation, "error", err)
	case p.Status >= http.StatusInternalServerError:
		a.Log.Error("request failed", "request_id", requestID(ctx), "operation", operation, "error", err)
	}
	return p
}

// refuse answers a request outside of the REST routes with an error.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	write(w, a.fail(r.Context(), r.Method+" "+r.URL.Path, err))
}

// write sends the problem.
func write(w http.ResponseWriter, p *Problem) {
	for name, values := range problemHeader(p.Status) {
		w.Header()[name] = values
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client has gone
}

// likeOurs is a huma transformer: problems that huma's validation makes get the
// form of the others.
func likeOurs(_ huma.Context, _ string, v any) (any, error) {
	p, ok := v.(*Problem)
	if !ok || p.Type != "" {
		return v, nil
	}
	if p.Status >= http.StatusInternalServerError { // huma could not read the body
		return newProblem(http.StatusBadRequest, fault.Invalid.String(), "the request's body could not be read"), nil
	}
	p.Type = problemType + fault.Invalid.String()
	for _, e := range p.Errors {
		if e == nil {
			continue
		}
		e.Location = strings.TrimPrefix(e.Location, "body.")
		e.Value = shown(e.Value)
		switch e.Message {
		case validation.MsgUnexpectedProperty:
			e.Value = nil // it is the whole object
		case validation.MsgExpectedMatchExactlyOneSchema: // only durations have alternatives
			e.Message = "expected a duration such as 10s, 5m or 1h, or a number of seconds"
		}
	}
	return p, nil
}

// shown is a wrong value as far as it helps to see it: what is short. Bodies and
// objects are not echoed, they may be large and hold secrets.
func shown(v any) any {
	switch v := v.(type) {
	case string:
		if utf8.RuneCountInString(v) <= 100 {
			return v
		}
	case bool, float64, int, int64:
		return v
	}
	return nil
}
