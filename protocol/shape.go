package protocol

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	"github.com/perigee-monitoring/perigee/check"
)

// A shape says which JSON a Go type takes. encoding/json cannot tell a missing
// member from a zero one and takes null for anything, so the decoder walks the
// frame along its shape first: one pass over the bytes, nothing allocated,
// nothing decoded. It is read off the struct tags, where a member without
// omitempty or omitzero is a required one; that way the wire is written down
// once.
//
// The walk is strict about what it looks for (members, kinds, depth) and easy
// about syntax, which json.Unmarshal checks right after it.
type shape struct {
	kind     jsonKind
	nullable bool     // null is a value here, not an absence
	members  []member // of an object with known members
	elem     *shape   // of a list, or of an object used as a map
}

type member struct {
	name     string
	required bool
	shape    *shape
}

type jsonKind byte

const (
	anything jsonKind = iota
	text
	number
	boolean
	list
	object
)

func (k jsonKind) String() string {
	return [...]string{"a value", "a string", "a number", "true or false", "an array", "an object"}[k]
}

// kindOf tells a value's kind by its first byte; null and rubbish are anything.
func kindOf(b byte) jsonKind {
	switch b {
	case '"':
		return text
	case '{':
		return object
	case '[':
		return list
	case 't', 'f':
		return boolean
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return number
	}
	return anything
}

func shapeOf(message any) *shape { return typeShape(reflect.TypeOf(message).Elem()) }

func typeShape(t reflect.Type) *shape {
	switch t {
	case reflect.TypeFor[json.RawMessage]():
		return &shape{kind: anything}
	case reflect.TypeFor[Nullable[string]]():
		return &shape{kind: text, nullable: true}
	case reflect.TypeFor[check.Duration]():
		return &shape{kind: anything}
	}
	switch t.Kind() {
	case reflect.Pointer:
		s := *typeShape(t.Elem())
		s.nullable = true
		return &s
	case reflect.String:
		return &shape{kind: text}
	case reflect.Bool:
		return &shape{kind: boolean}
	case reflect.Int, reflect.Int64, reflect.Float64:
		return &shape{kind: number}
	case reflect.Slice:
		return &shape{kind: list, elem: typeShape(t.Elem())}
	case reflect.Map:
		return &shape{kind: object, elem: typeShape(t.Elem())}
	case reflect.Struct:
		return &shape{kind: object, members: members(t)}
	case reflect.Interface:
		return &shape{kind: anything, nullable: true}
	}
	panic("protocol: no shape for " + t.String())
}

func members(t reflect.Type) []member {
	var all []member
	for f := range t.Fields() {
		if f.Anonymous {
			all = append(all, members(f.Type)...)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		all = append(all, member{
			name:     name,
			required: options != "omitempty" && options != "omitzero",
			shape:    typeShape(f.Type),
		})
	}
	if len(all) > 64 {
		panic("protocol: more than 64 members in " + t.String())
	}
	return all
}

// check walks one JSON value that must have the shape. It returns nil when the
// value does, as far as a walk can tell.
func (s *shape) check(frame []byte) *InvalidError {
	w := walker{b: frame}
	w.space()
	if err := w.value(s, 0); err != nil {
		return err
	}
	return nil
}

// walker reads JSON that need not be well-formed; it never reads past the end
// and always moves on.
type walker struct {
	b []byte
	i int
}

// value walks over one value of shape s.
func (w *walker) value(s *shape, depth int) *InvalidError {
	if depth > MaxDepth {
		return &InvalidError{Reason: "nested more than " + strconv.Itoa(MaxDepth) + " deep"}
	}
	switch got := kindOf(w.peek()); {
	case s.kind == anything:
		return w.skip(depth)
	case got == anything && s.nullable:
		return w.skip(depth)
	case got != s.kind:
		return &InvalidError{Reason: "must be " + s.kind.String()}
	case got == list:
		return w.list(s.elem, depth)
	case got == object && s.members == nil:
		return w.dictionary(s.elem, depth)
	case got == object:
		return w.object(s.members, depth)
	}
	return w.skip(depth)
}

func (w *walker) list(elem *shape, depth int) *InvalidError {
	w.i++
	for n := 0; w.more(']'); n++ {
		if err := w.value(elem, depth+1); err != nil {
			return err.under("[" + strconv.Itoa(n) + "]")
		}
	}
	return nil
}

func (w *walker) dictionary(elem *shape, depth int) *InvalidError {
	w.i++
	for w.more('}') {
		name := w.name()
		if err := w.value(elem, depth+1); err != nil {
			return err.under(string(name))
		}
	}
	return nil
}

func (w *walker) object(members []member, depth int) *InvalidError {
	w.i++
	var seen uint64
	next := 0 // senders keep to one order, so the next member is mostly this one
	for w.more('}') {
		at := find(members, w.name(), next)
		if at < 0 {
			if err := w.skip(depth + 1); err != nil {
				return err
			}
			continue
		}
		next = at + 1
		m := members[at]
		if !m.required && w.peek() == 'n' { // null for an optional member: as good as absent
			if err := w.skip(depth + 1); err != nil {
				return err
			}
			continue
		}
		if err := w.value(m.shape, depth+1); err != nil {
			return err.under(m.name)
		}
		seen |= 1 << at
	}
	for at, m := range members {
		if m.required && seen&(1<<at) == 0 {
			return &InvalidError{Path: m.name, Reason: "is missing"}
		}
	}
	return nil
}

// find returns the index of the named member, or -1; it looks at hint first.
func find(members []member, name []byte, hint int) int {
	if hint < len(members) && members[hint].name == string(name) {
		return hint
	}
	for i := range members {
		if members[i].name == string(name) {
			return i
		}
	}
	return -1
}
