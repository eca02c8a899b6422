package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/auth"
	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/diff"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/incident"
	"github.com/perigee-monitoring/perigee/internal/notify"
	"github.com/perigee-monitoring/perigee/internal/trial"
	"github.com/perigee-monitoring/perigee/verdict"
)

// Limits of requests.
const (
	maxBody      = 1 << 20
	maxDocuments = 16 << 20 // body of an apply
	maxImport    = 64 << 20 // body of an import
	// requestTimeout ends what a request started; event streams have none. What is about all
	// definitions at once has as long as a transaction has.
	requestTimeout, documentsTimeout = 30 * time.Second, time.Minute
)

// newRoutes makes the empty REST API with its OpenAPI 3.1 document.
func newRoutes(mux *http.ServeMux, version string) huma.API {
	config := huma.DefaultConfig("Perigee", version)
	config.Info.Description = "Satellites, systems, checks, assignments, and what was found. " +
		"Ids in paths and filters may be the unique names instead. " +
		"Lists come in pages: pass nextCursor as cursor until it is null."
	config.CreateHooks = nil // no $schema in answers
	config.SchemasPath = ""
	config.DocsPath = "" // its pages load scripts from elsewhere
	config.RejectUnknownQueryParameters = true
	config.Transformers = []huma.Transformer{likeOurs}
	registry := huma.NewMapRegistry("#/components/schemas/", schemaName)
	registry.RegisterTypeAlias(reflect.TypeFor[check.Duration](), reflect.TypeFor[durationSchema]())
	registry.RegisterTypeAlias(reflect.TypeFor[automation.Definition](), reflect.TypeFor[definitionSchema]())
	registry.RegisterTypeAlias(reflect.TypeFor[catalog.Document](), reflect.TypeFor[documentSchema]())
	config.Components = &huma.Components{
		Schemas: registry,
		SecuritySchemes: map[string]*huma.SecurityScheme{
			"token": {Type: "http", Scheme: "bearer", Description: "An API token. Each operation says in x-role the least role that may do it."},
		},
	}
	config.Security = []map[string][]string{{"token": {}}}
	return humago.NewWithPrefix(mux, Base, config)
}

func schemaName(t reflect.Type, hint string) string {
	switch t {
	case reflect.TypeFor[*Problem](), reflect.TypeFor[Problem]():
		return "Problem"
	case reflect.TypeFor[check.Policy](): // sandboxes and maintenance have one too
		return "VerdictPolicy"
	case reflect.TypeFor[check.Window]():
		return "FailureWindow"
	case reflect.TypeFor[incident.Input]():
		return "IncidentInput"
	case reflect.TypeFor[incident.Update]():
		return "IncidentUpdate"
	case reflect.TypeFor[incident.Entry]():
		return "IncidentEntry"
	case reflect.TypeFor[notify.Input]():
		return "ChannelInput"
	case reflect.TypeFor[notify.Config]():
		return "ChannelConfig"
	case reflect.TypeFor[diff.Field]():
		return "FieldDiff"
	case reflect.TypeFor[auth.Token]():
		return "APIToken"
	}
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if judged := reflect.TypeFor[verdict.Verdict](); t.PkgPath() == judged.PkgPath() && t != judged {
		return judged.Name() + name // its nouns are everybody's: State, Run, Seat
	}
	if t == reflect.TypeFor[List[automation.Run]]() {
		return "ListAutomationRun"
	}
	for _, ours := range []reflect.Type{reflect.TypeFor[automation.Automation](), reflect.TypeFor[trial.Trial]()} {
		if t.PkgPath() == ours.PkgPath() && t != ours {
			return ours.Name() + name
		}
	}
	return name
}

// durationSchema is the schema of check.Duration, which cannot say it itself
// because it knows the standard library only.
type durationSchema struct{}

func (durationSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Description: "A length of time: text such as 10s, 5m or 1h30m, or a number of seconds.",
		Examples:    []any{"10s"},
		OneOf: []*huma.Schema{
			{Type: huma.TypeString, Pattern: `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`},
			{Type: huma.TypeNumber},
		},
	}
}

// route adds an operation to the REST API.
func route[I, O any](a *API, method, path, id, summary string, handle func(context.Context, *I) (*O, error), more ...func(*huma.Operation)) {
	tag, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	op := huma.Operation{Method: method, Path: path, OperationID: id, Summary: summary, Tags: []string{tag}, MaxBodyBytes: maxBody, BodyReadTimeout: bodyTimeout, DefaultStatus: http.StatusOK}
	for _, change := range more {
		change(&op)
	}
	timeout := requestTimeout
	if slices.Contains([]string{"apply", "import", "export"}, tag) {
		timeout = documentsTimeout
	}
	huma.Register(a.routes, op, func(ctx context.Context, in *I) (*O, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		note := noteOf(ctx)
		note.describe(in)
		a.identify(ctx, note)
		out, err := handle(a.drafted(ctx, note, op.DefaultStatus), in)
		if err == nil {
			a.write(ctx, note, op.DefaultStatus, "")
			return out, nil
		}
		p := a.fail(ctx, id, err)
		a.write(ctx, note, p.Status, p.Detail)
		if p.Status == http.StatusServiceUnavailable {
			return nil, huma.ErrorWithHeaders(p, http.Header{"Retry-After": {retryAfter}})
		}
		return nil, p
	})
}

// status is the status of an operation that succeeds.
func status(code int) func(*huma.Operation) {
	return func(op *huma.Operation) { op.DefaultStatus = code }
}

// Ref names the thing that a path is about.
type Ref struct {
	ID string `path:"id" maxLength:"512" doc:"The id, or the unique name."`
}

// Paging asks for a page of a list.
type Paging struct {
	Cursor string `query:"cursor" maxLength:"1024" doc:"nextCursor of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"The most items to return."`
}

func (p Paging) page() fleet.Page { return fleet.Page{Cursor: p.Cursor, Limit: p.Limit} }

// List is a page of a list. NextCursor is null on the last one.
type List[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"nextCursor"`
}

// answer is an answer with nothing but a body.
type answer[T any] struct{ Body T }

// created is the answer to a POST that made something.
type created[T any] struct {
	Location string `header:"Location"`
	Body     T
}

// made answers a POST with what it made and where that is.
func made[T any](path string, body T, err error) (*created[T], error) {
	if err != nil {
		return nil, err
	}
	return &created[T]{Location: Base + path, Body: body}, nil
}

func listed[T any](items []T, next string, err error) (*answer[List[T]], error) {
	if err != nil {
		return nil, inQuery(err)
	}
	out := &answer[List[T]]{}
	out.Body.Items = append([]T{}, items...) // never null
	if next != "" {
		out.Body.NextCursor = &next
	}
	return out, nil
}

// paged is a page of a list that is short enough to be read whole: items are in the
// order of their keys, and the cursor is the key of the last one seen.
func paged[T any](all []T, p Paging, key func(T) string, err error) (*answer[List[T]], error) {
	if err != nil {
		return nil, err
	}
	from, found := slices.BinarySearchFunc(all, p.Cursor, func(item T, cursor string) int { return strings.Compare(key(item), cursor) })
	if found {
		from++
	}
	to, next := min(from+p.Limit, len(all)), ""
	if to < len(all) {
		next = key(all[to-1])
	}
	return listed(all[from:to], next, nil)
}

// inQuery says of a fault in the cursor that the cursor is in the query.
func inQuery(err error) error {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || len(f.Fields) != 1 || f.Fields[0].Path != "cursor" {
		return err
	}
	placed := *f
	placed.Fields = []fault.Field{f.Fields[0]}
	placed.Fields[0].Path = "query.cursor"
	return &placed
}

func answered[T any](body T, err error) (*answer[T], error) {
	if err != nil {
		return nil, err
	}
	return &answer[T]{Body: body}, nil
}

func actor(ctx context.Context) entity.Actor { return auth.From(ctx).Actor() }

// isID tells ids from names.
func isID(ref string) bool { return len(ref) == 36 && uuid.Validate(ref) == nil }

// filterID turns a filter's value, an id or a name, into an id. Ids are not looked
// up: what they name may be deleted, and its results are still there.
func filterID[T any](ctx context.Context, param, ref string, find func(context.Context, string) (T, error), id func(T) string) (string, error) {
	if ref == "" || isID(ref) {
		return strings.ToLower(ref), nil
	}
	found, err := find(ctx, ref)
	if fault.Is(err, fault.NotFound) {
		f, _ := errors.AsType[*fault.Error](err)
		return "", &fault.Error{
			Kind: fault.Invalid, Message: "a filter names something that does not exist",
			Fields: []fault.Field{{Path: "query." + param, Message: f.Message, Value: ref}},
		}
	}
	if err != nil {
		return "", err
	}
	return id(found), nil
}

// isNull reports whether the object has the member and it is null.
func isNull(object []byte, member string) bool {
	var members map[string]json.RawMessage
	return json.Unmarshal(object, &members) == nil && string(members[member]) == "null"
}
