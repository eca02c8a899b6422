package check

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Kind is a strategy or a collector that checks can be made of. The two have ids
// of their own: healthcheck-ping.ping is one of each.
type Kind struct {
	// ID is the qualified id, as it travels and is stored.
	ID    string
	Title string
	// Strategy is the strategy whose connection a collector uses, "" for a strategy.
	Strategy string
	// Lazy strategies connect only when a collector does, so that without one
	// nothing is measured (spec M77).
	Lazy bool
	// Multiple: a check may have several entries of this collector.
	Multiple bool
	// Roots are first parts of names in templates that only this kind fills, beside
	// [TemplateRoots].
	Roots []string
	// Default is the config with its defaults, a struct.
	Default any
	// Result is an empty result of a collector, a struct; nil for a strategy.
	Result any

	decode    func(json.RawMessage) (any, error)
	ephemeral []string // see Ephemeral
}

// Decode reads a stored config of this kind, see [Decode].
func (k Kind) Decode(raw json.RawMessage) (any, error) { return k.decode(raw) }

// strategyKinds and collectorKinds are every kind of this build, in the order of
// the files that register them. What is not here cannot be checked with.
var strategyKinds, collectorKinds []Kind

// register adds a strategy and the collectors that work over it. Each file of a
// strategy does so in its init, so that there is no list to forget.
func register(strategy Kind, collectors ...Kind) {
	strategyKinds = append(strategyKinds, strategy)
	for _, c := range collectors {
		c.Strategy = strategy.ID
		for _, f := range c.resultFields() {
			if f.Ephemeral {
				c.ephemeral = append(c.ephemeral, f.Name)
			}
		}
		collectorKinds = append(collectorKinds, c)
	}
}

func strategy[T any, P config[T]](id, title string, lazy bool) Kind {
	return Kind{ID: id, Title: title, Lazy: lazy, Default: defaultsOf[T, P](), decode: decodeAny[T, P]}
}

func collector[T, R any, P config[T]](id, title string, multiple bool) Kind {
	var result R
	return Kind{ID: id, Title: title, Multiple: multiple, Default: defaultsOf[T, P](), Result: result, decode: decodeAny[T, P]}
}

// Strategies are the ids of all strategies.
func Strategies() []string { return ids(strategyKinds) }

// Collectors are the ids of the collectors that work over the strategy.
func Collectors(strategy string) []string {
	return ids(slices.DeleteFunc(slices.Clone(collectorKinds), func(k Kind) bool { return k.Strategy != strategy }))
}

// Strategy finds a strategy by its id.
func Strategy(id string) (Kind, bool) { return find(strategyKinds, id) }

// CollectorKind finds a collector by its id.
func CollectorKind(id string) (Kind, bool) { return find(collectorKinds, id) }

func ids(kinds []Kind) []string {
	list := make([]string, len(kinds))
	for i, k := range kinds {
		list[i] = k.ID
	}
	return list
}

func find(kinds []Kind, id string) (Kind, bool) {
	for i := range kinds { // a kind is large, and this is asked for in every run
		if kinds[i].ID == id {
			return kinds[i], true
		}
	}
	return Kind{}, false
}

// ResultField is one field of what a collector finds.
type ResultField struct {
	Name string `json:"name"`
	// Type is number, string, boolean, array or object.
	Type string `json:"type"`
	// Ephemeral fields are there for assertions only and are never stored.
	Ephemeral bool `json:"ephemeral,omitempty"`
}

// ResultFields are the fields that assertions on the collector can name.
func ResultFields(collectorID string) []ResultField {
	kind, ok := CollectorKind(collectorID)
	if !ok {
		return nil
	}
	return kind.resultFields()
}

func (k Kind) resultFields() []ResultField {
	var fields []ResultField
	for f := range reflect.TypeOf(k.Result).Fields() {
		fields = append(fields, ResultField{Name: jsonName(f), Type: jsonType(f.Type), Ephemeral: f.Tag.Get("check") == "ephemeral"})
	}
	return fields
}

// Ephemeral are the fields of the collector's result that must not be stored
// (spec F.2, L.228). Nobody changes the list.
func Ephemeral(collectorID string) []string {
	kind, _ := CollectorKind(collectorID)
	return kind.ephemeral
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func jsonType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return jsonType(t.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Slice:
		return "array"
	case reflect.Int, reflect.Int64, reflect.Float64:
		return "number"
	case reflect.Map:
		return "object"
	default:
		panic(fmt.Sprintf("check: no JSON type for %s", t))
	}
}
