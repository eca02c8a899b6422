package automation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

// Actions are what automations can do (spec D.5). [Compile] asks it what exists, the
// runner asks it to be done.
type Actions interface {
	// Action gives the action of a name, "log" or "incident.open".
	Action(name string) (Action, bool)
	// All are the actions by name.
	All() []Action
}

// Action is one thing that automations can do.
type Action struct {
	Name string `json:"name"`
	// Summary is a sentence for people.
	Summary string `json:"summary"`
	// Fields are what its configuration may say.
	Fields []Field `json:"fields"`
	// Repeatable tells that doing it twice under one key is the same as once. When it is
	// not known whether it happened, a repeatable action is done again; another fails in
	// doubt, unless the step's in_doubt says retry or skip.
	Repeatable bool `json:"repeatable"`
	// Timeout ends one attempt.
	Timeout time.Duration `json:"-"`
	// Supposed is what a dry run goes on with as its output, so that later steps can look
	// at it; absent, an empty object.
	Supposed json.RawMessage `json:"-"`

	do func(context.Context, Request) (any, error)
}

// Field is a part of an action's configuration.
type Field struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"` // string, integer, number, boolean, array, object, any
	Help     string   `json:"help"`
	Required bool     `json:"required,omitempty"`
	Enum     []string `json:"enum,omitempty"`
}

// Request is an action that is due.
type Request struct {
	// Automation is the name of the automation, for people.
	Automation string
	Run        Run
	// Step is its row of the journal; Step.Input is the configuration after its
	// expressions.
	Step Step
	// Artifacts are the outputs of the run's steps that have an id.
	Artifacts map[string]json.RawMessage
}

// Key is the same for each attempt of a step, and of no other step: what it does to the
// world carries it, so that the world may tell a repeat.
func (r Request) Key() string { return r.Run.ID + "/" + r.Step.Path }

// Actor is who acts, for the records: the automation.
func (r Request) Actor() entity.Actor {
	return entity.Actor{Type: "application", ID: "automation/" + r.Run.Automation, Name: r.Automation}
}

// ErrInDoubt is in the chain of an error after which nobody can say whether the action
// happened: the request went out, and no answer came.
var ErrInDoubt = errors.New("it is not known whether this happened")

// Permanent reports whether another attempt would fail for the same reason.
func Permanent(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.NotFound, fault.Forbidden, fault.Conflict:
		return true
	}
	return false
}

// actionTimeout ends an attempt of an action that names no other.
const actionTimeout = 30 * time.Second

// MaxOutput bounds what a step keeps of an action, in bytes.
const MaxOutput = 64 << 10

// NewAction makes an action of a function. C is a struct: its json tags name the fields
// of the configuration, those without omitempty are required, help tags say what they
// are for and enum tags, comma-separated, what they may be.
func NewAction[C any](name, summary string, do func(context.Context, Request, C) (any, error)) Action {
	return Action{
		Name: name, Summary: summary, Fields: fieldsOf(reflect.TypeFor[C]()), Timeout: actionTimeout,
		do: func(ctx context.Context, r Request) (any, error) {
			var config C
			if err := decodeConfig(name, r.Step.Input, &config); err != nil {
				return nil, err
			}
			return do(ctx, r, config)
		},
	}
}

// Do does it, within its time. Faults: Invalid for a configuration that is none, and
// those of what it calls; see [Permanent] and [ErrInDoubt].
func (a Action) Do(ctx context.Context, r Request) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	if err := a.Check(r.Step.Input); err != nil {
		return nil, err
	}
	output, err := a.do(ctx, r)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(output)
	if err != nil {
		return nil, fmt.Errorf("writing down what %s gave: %w", a.Name, err)
	}
	if len(text) > MaxOutput {
		return json.Marshal(map[string]any{"truncated": true, "bytes": len(text)})
	}
	return text, nil
}

// ConfigProblem is what is wrong with one field of a configuration.
type ConfigProblem struct {
	Field   string
	Message string
}

// Problems judges a configuration when it is saved: which fields it has, and the values
// of those that are no text with holes. Whether a value with holes fits is seen when it
// is rendered.
func (a Action) Problems(config map[string]any) []ConfigProblem {
	var p []ConfigProblem
	for _, name := range slices.Sorted(maps.Keys(config)) {
		i := slices.IndexFunc(a.Fields, func(f Field) bool { return f.Name == name })
		if i < 0 {
			p = append(p, ConfigProblem{name, fmt.Sprintf("%s has no such field; it has %s", a.Name, a.fieldNames())})
			continue
		}
		if message := a.Fields[i].problem(config[name]); message != "" {
			p = append(p, ConfigProblem{name, message})
		}
	}
	for _, f := range a.Fields {
		if _, given := config[f.Name]; f.Required && !given {
			p = append(p, ConfigProblem{f.Name, "must be given: " + f.Help})
		}
	}
	return p
}

// Check judges a configuration after its expressions. Fault: Invalid.
func (a Action) Check(input json.RawMessage) error {
	config := map[string]any{}
	if len(input) > 0 {
		if err := json.Unmarshal(input, &config); err != nil {
			return fault.New(fault.Invalid, "the configuration of %s must be an object", a.Name)
		}
	}
	problems := a.Problems(config)
	if len(problems) == 0 {
		return nil
	}
	var all []string
	for _, p := range problems {
		all = append(all, p.Field+" "+p.Message)
	}
	return fault.New(fault.Invalid, "the configuration of %s is not valid: %s", a.Name, strings.Join(all, "; "))
}

func (a Action) fieldNames() string {
	var names []string
	for _, f := range a.Fields {
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}

func (f Field) problem(v any) string {
	text, isText := v.(string)
	switch {
	case isText && strings.Contains(text, "${{"):
		return ""
	case len(f.Enum) > 0 && !slices.Contains(f.Enum, text):
		return "must be one of " + strings.Join(f.Enum, ", ")
	}
	fits := true
	switch f.Type {
	case "string":
		fits = isText
		if fits && f.Required && strings.TrimSpace(text) == "" {
			return "must not be empty"
		}
	case "integer", "number":
		fits = isNumber(v)
	case "boolean":
		_, fits = v.(bool)
	case "array":
		_, fits = v.([]any)
	case "object":
		_, fits = v.(map[string]any)
	}
	if !fits {
		return "must be of type " + f.Type
	}
	return ""
}

func isNumber(v any) bool {
	switch v.(type) {
	case float64, int, int64, uint64:
		return true
	}
	return false
}

// Schema is the JSON Schema of the configuration, for the published schema.
func (a Action) Schema() map[string]any {
	properties, required := map[string]any{}, []string{}
	for _, f := range a.Fields {
		// Instead of any value a text with holes may stand.
		value := map[string]any{"description": f.Help}
		switch {
		case len(f.Enum) > 0:
			value["anyOf"] = []any{map[string]any{"enum": f.Enum}, hole}
		case f.Type == "any":
		case f.Type == "string":
			value["type"] = "string"
		default:
			value["anyOf"] = []any{map[string]any{"type": f.Type}, hole}
		}
		properties[f.Name] = value
		if f.Required {
			required = append(required, f.Name)
		}
	}
	return map[string]any{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
}

var hole = map[string]any{"type": "string", "pattern": `\$\{\{`}

func decodeConfig(name string, input json.RawMessage, config any) error {
	if len(input) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(input))
	d.DisallowUnknownFields()
	if err := d.Decode(config); err != nil {
		return fault.New(fault.Invalid, "the configuration of %s cannot be read: %s", name, err)
	}
	return nil
}

func fieldsOf(t reflect.Type) []Field {
	var fields []Field
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		field := Field{Name: name, Type: typeOf(f.Type), Help: f.Tag.Get("help"), Required: !strings.Contains(options, "omitempty")}
		if enum := f.Tag.Get("enum"); enum != "" {
			field.Enum = strings.Split(enum, ",")
		}
		fields = append(fields, field)
	}
	return fields
}

func typeOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64:
		return "integer"
	case reflect.Float64:
		return "number"
	case reflect.Slice:
		return "array"
	case reflect.Map, reflect.Struct:
		return "object"
	case reflect.Interface:
		return "any"
	case reflect.Pointer:
		return typeOf(t.Elem())
	}
	return "string"
}

// Registry is Actions that were put together when the program began.
type Registry struct{ actions map[string]Action }

// NewRegistry makes a registry. Two actions of one name are a mistake in the program's
// wiring and panic.
func NewRegistry(actions ...Action) *Registry {
	r := &Registry{actions: map[string]Action{}}
	for _, a := range actions {
		if _, dup := r.actions[a.Name]; dup {
			panic("automation: two actions named " + a.Name)
		}
		r.actions[a.Name] = a
	}
	return r
}

func (r *Registry) Action(name string) (Action, bool) {
	a, ok := r.actions[name]
	return a, ok
}

func (r *Registry) All() []Action {
	return slices.SortedFunc(maps.Values(r.actions), func(a, b Action) int { return strings.Compare(a.Name, b.Name) })
}
