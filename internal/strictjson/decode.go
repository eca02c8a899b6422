// Package strictjson reads what people write more strictly than encoding/json does, and
// tells all that is wrong with it, each at its place and in words.
package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// Unmarshaler reads itself: a type with more than one form.
type Unmarshaler interface {
	UnmarshalStrict(raw json.RawMessage, path string) []fault.Field
}

type problems []fault.Field

func (p *problems) add(path, format string, args ...any) {
	*p = append(*p, fault.Field{Path: path, Message: fmt.Sprintf(format, args...)})
}

// Decode reads JSON into a struct: field names are exact, unknown ones are errors, and
// it goes on after an error, so that the answer is every wrong place and not the first.
// Paths begin with path.
func Decode(raw json.RawMessage, into any, path string) []fault.Field {
	var p problems
	p.decode(raw, reflect.ValueOf(into).Elem(), path)
	return p
}

func (p *problems) decode(raw json.RawMessage, v reflect.Value, path string) {
	if string(bytes.TrimSpace(raw)) == "null" {
		return // as absent
	}
	if own, ok := v.Addr().Interface().(Unmarshaler); ok {
		*p = append(*p, own.UnmarshalStrict(raw, path)...)
		return
	}
	if custom, ok := v.Addr().Interface().(json.Unmarshaler); ok {
		if err := custom.UnmarshalJSON(raw); err != nil {
			p.add(path, "%s", err.Error())
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		before, item := len(*p), reflect.New(v.Type().Elem())
		if p.decode(raw, item.Elem(), path); len(*p) == before {
			v.Set(item) // what cannot be read is as absent
		}
	case reflect.Struct:
		p.decodeStruct(raw, v, path)
	case reflect.Slice:
		var items []json.RawMessage
		if json.Unmarshal(raw, &items) != nil {
			p.add(path, "must be a list")
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
		for i, item := range items {
			p.decode(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
	case reflect.Map:
		p.decodeMap(raw, v, path)
	default:
		if json.Unmarshal(raw, v.Addr().Interface()) != nil {
			p.add(path, "must be %s", scalars[v.Kind()])
		}
	}
}

// scalars are the plain kinds that occur in documents.
var scalars = map[reflect.Kind]string{
	reflect.String: "text", reflect.Bool: "true or false", reflect.Interface: "valid JSON",
	reflect.Int: "a whole number", reflect.Int64: "a whole number", reflect.Float64: "a number",
}

func (p *problems) decodeStruct(raw json.RawMessage, v reflect.Value, path string) {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		p.add(path, "must be an object")
		return
	}
	fields := map[string]reflect.Value{}
	for i := range v.NumField() {
		if tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); tag != "" {
			fields[tag] = v.Field(i)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		field, known := fields[name]
		if !known {
			p.add(Join(path, name), "%s", Missing("field", name, slices.Sorted(maps.Keys(fields))))
			continue
		}
		p.decode(members[name], field, Join(path, name))
	}
}

func (p *problems) decodeMap(raw json.RawMessage, v reflect.Value, path string) {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		p.add(path, "must be an object")
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(members)))
	for _, name := range slices.Sorted(maps.Keys(members)) {
		item := reflect.New(v.Type().Elem()).Elem()
		p.decode(members[name], item, Join(path, name))
		v.SetMapIndex(reflect.ValueOf(name), item)
	}
}

// Join gives the path of a field.
func Join(path, name string) string {
	if path == "" || name == "" {
		return path + name
	}
	return path + "." + name
}
