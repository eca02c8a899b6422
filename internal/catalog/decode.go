package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// decode reads JSON into a struct more strictly than encoding/json does: field
// names are exact, unknown ones are errors, and it goes on after an error, so
// that the answer is every wrong place and not the first. Paths begin with path.
func decode(raw json.RawMessage, into any, path string) problems {
	var p problems
	p.decode(raw, reflect.ValueOf(into).Elem(), path)
	return p
}

func (p *problems) decode(raw json.RawMessage, v reflect.Value, path string) {
	if string(bytes.TrimSpace(raw)) == "null" {
		return // as absent
	}
	if custom, ok := v.Addr().Interface().(json.Unmarshaler); ok {
		if err := custom.UnmarshalJSON(raw); err != nil {
			p.add(path, nil, "%s", err.Error())
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
			p.add(path, nil, "must be a list")
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
			p.add(path, nil, "must be %s", scalars[v.Kind()])
		}
	}
}

// scalars are the plain kinds that occur in documents.
var scalars = map[reflect.Kind]string{
	reflect.String: "text", reflect.Bool: "true or false", reflect.Interface: "valid JSON",
}

func (p *problems) decodeStruct(raw json.RawMessage, v reflect.Value, path string) {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		p.add(path, nil, "must be an object")
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
			p.add(join(path, name), nil, "%s", missing("field", name, slices.Sorted(maps.Keys(fields))))
			continue
		}
		p.decode(members[name], field, join(path, name))
	}
}

func (p *problems) decodeMap(raw json.RawMessage, v reflect.Value, path string) {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		p.add(path, nil, "must be an object")
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(members)))
	for _, name := range slices.Sorted(maps.Keys(members)) {
		item := reflect.New(v.Type().Elem()).Elem()
		p.decode(members[name], item, join(path, name))
		v.SetMapIndex(reflect.ValueOf(name), item)
	}
}

func join(path, name string) string {
	if path == "" || name == "" {
		return path + name
	}
	return path + "." + name
}
