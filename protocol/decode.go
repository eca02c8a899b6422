package protocol

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

// decode reads one value of the shape into v, which is zero. On an error the
// scanner stands somewhere inside the value.
func (s *shape) decode(in *scanner, v reflect.Value, depth int) *InvalidError {
	if depth > MaxDepth {
		return tooDeep()
	}
	if in.peek() == 'n' && s.kind != kindRaw {
		if !s.nullable {
			return s.refuse(in, depth)
		}
		if s.kind == kindOptional {
			v.Addr().Interface().(*Nullable[string]).Present = true
		}
		return in.literal("null")
	}
	switch s.kind {
	case kindRaw:
		bytes, err := in.raw(depth)
		v.SetBytes(append([]byte(nil), bytes...))
		return err
	case kindFree:
		bytes, err := in.raw(depth)
		if err == nil && json.Unmarshal(bytes, v.Addr().Interface()) != nil {
			err = &InvalidError{Reason: "holds a number out of range"}
		}
		return err
	case kindPointer:
		v.Set(reflect.New(s.typ))
		return s.elem.decode(in, v.Elem(), depth)
	case kindList:
		return s.list(in, v, depth)
	case kindDictionary:
		return s.dictionary(in, v, depth)
	case kindRecord:
		return s.record(in, v, depth)
	}
	return s.scalar(in, v, depth)
}

// refuse says what the value should be, unless it is not JSON at all.
func (s *shape) refuse(in *scanner, depth int) *InvalidError {
	if err := in.skip(depth); err != nil {
		return err
	}
	return &InvalidError{Reason: s.kind.wants()}
}

func (s *shape) scalar(in *scanner, v reflect.Value, depth int) *InvalidError {
	c := in.peek()
	switch {
	case (s.kind == kindText || s.kind == kindOptional) && c == '"':
		found, escaped, err := in.text()
		if err != nil {
			return err
		}
		value := string(found)
		if escaped { // PostgreSQL's text holds everything but NUL, and one record must not cost a batch
			value = strings.ReplaceAll(unescape(found), "\x00", "\uFFFD")
		}
		if s.kind == kindOptional {
			v.Set(reflect.ValueOf(Of(value)))
			return nil
		}
		v.SetString(value)
		return nil
	case (s.kind == kindNumber || s.kind == kindInteger) && (c == '-' || '0' <= c && c <= '9'):
		return s.number(in, v)
	case s.kind == kindBoolean && c == 't':
		v.SetBool(true)
		return in.literal("true")
	case s.kind == kindBoolean && c == 'f':
		return in.literal("false")
	}
	return s.refuse(in, depth)
}

func (s *shape) number(in *scanner, v reflect.Value) *InvalidError {
	digits, err := in.number()
	if err != nil {
		return err
	}
	if s.kind == kindInteger {
		n, err := strconv.ParseInt(string(digits), 10, 64)
		if err != nil || v.OverflowInt(n) {
			return &InvalidError{Reason: s.kind.wants()}
		}
		v.SetInt(n)
		return nil
	}
	f, wrong := strconv.ParseFloat(string(digits), 64)
	if wrong != nil {
		return &InvalidError{Reason: "is out of range"}
	}
	v.SetFloat(f)
	return nil
}

func (s *shape) list(in *scanner, v reflect.Value, depth int) *InvalidError {
	if in.peek() != '[' {
		return s.refuse(in, depth)
	}
	in.i++
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	for n := 0; ; n++ {
		more, err := in.next(']', n)
		if err != nil || !more {
			return err
		}
		v.Grow(1)
		v.SetLen(n + 1)
		start := in.i
		if err = s.elem.decode(in, v.Index(n), depth+1); err != nil && s.typ == reflect.TypeFor[Record]() {
			err = salvage(in, start, depth+1, v.Index(n), err)
		}
		if err != nil {
			return err.under("[" + strconv.Itoa(n) + "]")
		}
	}
}

func (s *shape) dictionary(in *scanner, v reflect.Value, depth int) *InvalidError {
	if in.peek() != '{' {
		return s.refuse(in, depth)
	}
	in.i++
	v.Set(reflect.MakeMap(v.Type()))
	for n := 0; ; n++ {
		more, err := in.next('}', n)
		if err != nil || !more {
			return err
		}
		key, err := in.key()
		if err != nil {
			return err
		}
		name := string(key)
		if values, ok := v.Interface().(map[string]json.RawMessage); ok { // what every result has
			found, err := in.raw(depth + 1)
			if err != nil {
				return err.under(name)
			}
			values[name] = append([]byte(nil), found...)
			continue
		}
		value := reflect.New(s.typ).Elem()
		if err := s.elem.decode(in, value, depth+1); err != nil {
			return err.under(name)
		}
		v.SetMapIndex(reflect.ValueOf(name), value)
	}
}

func (s *shape) record(in *scanner, v reflect.Value, depth int) *InvalidError {
	if in.peek() != '{' {
		return s.refuse(in, depth)
	}
	in.i++
	var seen uint64
	hint := 0 // senders keep to one order, so the next member is mostly this one
	for n := 0; ; n++ {
		more, err := in.next('}', n)
		if err != nil {
			return err
		}
		if !more {
			return s.missing(seen)
		}
		key, err := in.key()
		if err != nil {
			return err
		}
		at := s.find(key, hint)
		if at < 0 {
			if err := in.skip(depth + 1); err != nil {
				return err
			}
			continue
		}
		hint = at + 1
		if err := s.members[at].decode(in, v, depth+1, seen&(1<<at) != 0); err != nil {
			return err.under(s.members[at].name)
		}
		seen |= 1 << at
	}
}

// decode reads the value of a member into its field of v. Null for a member that
// need not be there is as good as its absence, except where null is a value of
// its own (Nullable).
func (m *member) decode(in *scanner, v reflect.Value, depth int, again bool) *InvalidError {
	field := v.Field(m.index[0])
	for _, i := range m.index[1:] {
		field = field.Field(i)
	}
	if again { // of several members with one name the last counts
		field.SetZero()
	}
	if !m.required && m.shape.kind != kindOptional && in.peek() == 'n' {
		return in.literal("null")
	}
	return m.shape.decode(in, field, depth)
}

// find returns the index of the named member, or -1; it looks at hint first.
func (s *shape) find(name []byte, hint int) int {
	if hint < len(s.members) && s.members[hint].name == string(name) {
		return hint
	}
	for i := range s.members {
		if s.members[i].name == string(name) {
			return i
		}
	}
	return -1
}

func (s *shape) missing(seen uint64) *InvalidError {
	for at := range s.members {
		if s.members[at].required && seen&(1<<at) == 0 {
			return &InvalidError{Path: s.members[at].name, Reason: "is missing"}
		}
	}
	return nil
}
