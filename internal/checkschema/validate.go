// Package checkschema says what is wrong with a check that somebody wants to
// save, at the place where it is wrong and in words.
//
// Configs are held against the JSON Schemas of package check; what schemas cannot
// say (which collector belongs to which strategy, unique entry ids, assertions)
// is added here. The satellite does not use it: it decodes what is relayed, which
// is lenient about unknown fields on purpose (see check.Decode).
package checkschema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

// ValidateStrategy holds the config of a strategy against its schema. Paths in
// the answer begin with path. An unknown id has no schema and nothing to say.
func ValidateStrategy(id string, config json.RawMessage, path string) []fault.Field {
	kind, ok := check.Strategy(id)
	if !ok {
		return nil
	}
	return validate(compiled().strategies[id], kind, config, path)
}

// ValidateCollector is ValidateStrategy for the config of a collector.
func ValidateCollector(id string, config json.RawMessage, path string) []fault.Field {
	kind, ok := check.CollectorKind(id)
	if !ok {
		return nil
	}
	return validate(compiled().collectors[id], kind, config, path)
}

type schemas struct{ strategies, collectors map[string]*jsonschema.Schema }

// compiled are all schemas, made on first use. They are embedded and tested, so
// that one which does not compile is a mistake of the build.
var compiled = sync.OnceValue(func() schemas {
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	for _, f := range formats {
		compiler.RegisterFormat(f)
	}
	compile := func(raw json.RawMessage, _ bool) *jsonschema.Schema {
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			panic(fmt.Sprintf("checkschema: reading a schema: %v", err))
		}
		id, _ := document.(map[string]any)["$id"].(string)
		if err := compiler.AddResource(id, document); err != nil {
			panic(fmt.Sprintf("checkschema: %s: %v", id, err))
		}
		return compiler.MustCompile(id)
	}
	all := schemas{make(map[string]*jsonschema.Schema), make(map[string]*jsonschema.Schema)}
	for _, id := range check.Strategies() {
		all.strategies[id] = compile(check.StrategySchema(id))
		for _, id := range check.Collectors(id) {
			all.collectors[id] = compile(check.CollectorSchema(id))
		}
	}
	return all
})

func validate(schema *jsonschema.Schema, k check.Kind, config json.RawMessage, path string) []fault.Field {
	if config = bytes.TrimSpace(config); len(config) == 0 || string(config) == "null" {
		config = json.RawMessage("{}")
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(config))
	if err != nil {
		return []fault.Field{{Path: path, Message: "is not JSON"}}
	}
	v := validation{instance: instance, secrets: secrets(k), roots: slices.Concat(check.TemplateRoots(), k.Roots), path: path}
	if err := schema.Validate(instance); err != nil {
		if failed, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
			v.report(failed)
		} else {
			v.fields = append(v.fields, fault.Field{Path: path, Message: err.Error()})
		}
	}
	v.walk(v.path, v.instance)
	if len(v.fields) == 0 {
		// What may be saved can be run: the two readers differ on 1.0 as a whole number.
		if _, err := k.Decode(config); err != nil {
			v.fields = append(v.fields, fault.Field{Path: path, Message: err.Error()})
		}
	}
	slices.SortStableFunc(v.fields, func(a, b fault.Field) int { return strings.Compare(a.Path, b.Path) })
	return v.fields
}

// secrets are the names of the kind's secret fields, whose values are never shown;
// those in lists without their positions.
func secrets(k check.Kind) map[string]bool {
	config := reflect.New(reflect.TypeOf(k.Default))
	populate(config.Elem())
	names := make(map[string]bool)
	_ = check.Secrets(config.Interface(), func(name, _ string) error { names[position.ReplaceAllString(name, "")] = true; return nil })
	return names
}

var position = regexp.MustCompile(`\[\d+\]`)

// populate puts one element into every list of structs, so that its fields are found.
func populate(v reflect.Value) {
	for f, value := range v.Fields() {
		if f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct {
			value.Set(reflect.MakeSlice(f.Type, 1, 1))
			populate(value.Index(0))
		}
	}
}

type validation struct {
	instance any
	secrets  map[string]bool
	roots    []string
	path     string
	fields   []fault.Field
}

// report adds the leaves of a tree of errors.
func (v *validation) report(err *jsonschema.ValidationError) {
	if len(err.Causes) > 0 {
		for _, cause := range err.Causes {
			v.report(cause)
		}
		return
	}
	path, value := v.locate(err.InstanceLocation)
	switch k := err.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			v.add(path+"."+name, nil, "is missing")
		}
	case *kind.AdditionalProperties:
		for _, name := range slices.Sorted(slices.Values(k.Properties)) {
			v.add(path+"."+name, nil, "is not a known field")
		}
	default:
		v.add(path, value, words(err.ErrorKind))
	}
}

func (v *validation) add(path string, value any, message string) {
	_, name, _ := strings.Cut(strings.TrimPrefix(path, v.path), ".")
	switch value.(type) {
	case string, bool, json.Number:
		if v.secrets[position.ReplaceAllString(name, "")] {
			value = nil
		}
	default:
		value = nil
	}
	v.fields = append(v.fields, fault.Field{Path: path, Message: message, Value: value})
}

// locate writes an instance location as a dotted path with indexes and finds what
// is there.
func (v *validation) locate(location []string) (string, any) {
	path, value := v.path, v.instance
	for _, token := range location {
		switch parent := value.(type) {
		case []any:
			i, _ := strconv.Atoi(token)
			path, value = path+"["+token+"]", parent[i]
		case map[string]any:
			path, value = path+"."+token, parent[token]
		}
	}
	return path, value
}

// walk looks for names in templates that no run knows.
func (v *validation) walk(path string, value any) {
	switch value := value.(type) {
	case string:
		for _, name := range check.Holes(value) {
			root, _, _ := strings.Cut(name, ".")
			if !slices.Contains(v.roots, root) {
				v.add(path, nil, fmt.Sprintf("the template {{ %s }} begins with none of %s", name, strings.Join(v.roots, ", ")))
			}
		}
	case []any:
		for i, element := range value {
			v.walk(fmt.Sprintf("%s[%d]", path, i), element)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			v.walk(path+"."+name, value[name])
		}
	}
}

// words says what a schema demands.
func words(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return fmt.Sprintf("must be %s, not %s", article(strings.Join(k.Want, " or ")), article(k.Got))
	case *kind.Enum:
		var names []string
		for _, value := range k.Want {
			names = append(names, fmt.Sprint(value))
		}
		return "must be one of " + strings.Join(names, ", ")
	case *kind.Minimum:
		return "must be at least " + k.Want.RatString()
	case *kind.Maximum:
		return "must be at most " + k.Want.RatString()
	case *kind.MinLength:
		return "must not be empty"
	case *kind.Format:
		return k.Err.Error()
	default:
		return k.LocalizedString(message.NewPrinter(language.English))
	}
}

func article(noun string) string {
	switch noun {
	case "integer":
		return "a whole number"
	case "array", "object":
		return "an " + noun
	case "null":
		return noun
	default:
		return "a " + noun
	}
}
