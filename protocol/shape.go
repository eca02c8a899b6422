package protocol

import (
	"encoding/json"
	"reflect"
	"strings"
)

// A shape says which JSON a Go type takes and how it gets there. It is read off
// the struct tags once, when the program starts; a member without omitempty or
// omitzero is a required one. That way the wire is written down once.
//
// We decode by ourselves because encoding/json cannot tell a missing member from
// a zero one, takes null for anything and "TYPE" for "type", and reads every byte
// twice; and because this is where a core spends its time: results are most of
// what it receives. See the benchmarks, and the fuzz targets that hold both
// against each other.
type shape struct {
	kind     kind
	nullable bool         // null is a value here, not an absence
	members  []member     // of a record
	elem     *shape       // of a list, a dictionary, or what is behind a pointer
	typ      reflect.Type // of elem
}

type member struct {
	name     string
	index    []int // of the field, see reflect.Value.FieldByIndex
	required bool
	shape    *shape
}

// kind is what a Go type is on the wire.
type kind byte

const (
	kindRaw        kind = iota // json.RawMessage: any value, kept as it is
	kindFree                   // any: any value, decoded by encoding/json
	kindText                   // string
	kindNumber                 // float64
	kindInteger                // int, int64
	kindBoolean                // bool
	kindList                   // []T
	kindDictionary             // map[string]T
	kindRecord                 // struct
	kindPointer                // *T; null is nil
	kindOptional               // Nullable[string]
)

// wants says what a value must be, for people.
func (k kind) wants() string {
	switch k {
	case kindText, kindOptional:
		return "must be a string"
	case kindNumber:
		return "must be a number"
	case kindInteger:
		return "must be a whole number"
	case kindBoolean:
		return "must be true or false"
	case kindList:
		return "must be an array"
	case kindDictionary, kindRecord:
		return "must be an object"
	}
	return "must be a value"
}

func shapeOf(message any) *shape { return typeShape(reflect.TypeOf(message).Elem()) }

func typeShape(t reflect.Type) *shape {
	switch t {
	case reflect.TypeFor[json.RawMessage]():
		return &shape{kind: kindRaw, nullable: true}
	case reflect.TypeFor[Nullable[string]]():
		return &shape{kind: kindOptional, nullable: true}
	}
	switch t.Kind() {
	case reflect.String:
		return &shape{kind: kindText}
	case reflect.Bool:
		return &shape{kind: kindBoolean}
	case reflect.Float64:
		return &shape{kind: kindNumber}
	case reflect.Int, reflect.Int64:
		return &shape{kind: kindInteger}
	case reflect.Interface:
		return &shape{kind: kindFree, nullable: true}
	case reflect.Pointer:
		return &shape{kind: kindPointer, nullable: true, typ: t.Elem(), elem: typeShape(t.Elem())}
	case reflect.Slice:
		return &shape{kind: kindList, typ: t.Elem(), elem: typeShape(t.Elem())}
	case reflect.Map:
		return &shape{kind: kindDictionary, typ: t.Elem(), elem: typeShape(t.Elem())}
	case reflect.Struct:
		s := &shape{kind: kindRecord, members: members(t, nil)}
		if len(s.members) > 64 { // one bit each, see shape.record
			panic("protocol: more than 64 members in " + t.String())
		}
		return s
	}
	panic("protocol: no shape for " + t.String())
}

func members(t reflect.Type, under []int) []member {
	var all []member
	for f := range t.Fields() {
		index := append(append([]int(nil), under...), f.Index...)
		if f.Anonymous {
			all = append(all, members(f.Type, index)...)
			continue
		}
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		all = append(all, member{
			name: name, index: index, shape: typeShape(f.Type),
			required: option != "omitempty" && option != "omitzero",
		})
	}
	return all
}
