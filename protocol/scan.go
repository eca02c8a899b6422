package protocol

import (
	"encoding/json"
	"strconv"
)

// scanner reads JSON (RFC 8259) out of a frame, strictly and without taking
// anything out of it: what a caller does not need is checked and stepped over.
// Between calls it stands on the first byte of a value, or behind one.
type scanner struct {
	b []byte
	i int
}

func notJSON() *InvalidError { return &InvalidError{Reason: "is not JSON"} }

func tooDeep() *InvalidError {
	return &InvalidError{Reason: "is nested more than " + strconv.Itoa(MaxDepth) + " deep"}
}

// peek is the byte at hand, 0 at the end.
func (in *scanner) peek() byte {
	if in.i < len(in.b) {
		return in.b[in.i]
	}
	return 0
}

func (in *scanner) space() {
	for in.i < len(in.b) {
		switch in.b[in.i] {
		case ' ', '\t', '\n', '\r':
			in.i++
		default:
			return
		}
	}
}

// next goes to member or element number n of what end closes, and reports false
// when there is none, having stepped over the end.
func (in *scanner) next(end byte, n int) (bool, *InvalidError) {
	in.space()
	switch {
	case in.peek() == end:
		in.i++
		return false, nil
	case n == 0:
		return true, nil
	case in.peek() == ',':
		in.i++
		in.space()
		return true, nil
	}
	return false, notJSON()
}

// key reads a member's name and the colon behind it. The bytes are the frame's
// own unless there is an escape in them.
func (in *scanner) key() ([]byte, *InvalidError) {
	raw, escaped, err := in.text()
	if err != nil {
		return nil, err
	}
	in.space()
	if in.peek() != ':' {
		return nil, notJSON()
	}
	in.i++
	in.space()
	if escaped {
		return []byte(unescape(raw)), nil
	}
	return raw, nil
}

// text steps over a string and gives what is between the quotes, and whether
// there is an escape in it.
func (in *scanner) text() (raw []byte, escaped bool, err *InvalidError) {
	if in.peek() != '"' {
		return nil, false, notJSON()
	}
	start := in.i + 1
	for i := start; i < len(in.b); i++ {
		switch c := in.b[i]; {
		case c == '"':
			in.i = i + 1
			return in.b[start:i], escaped, nil
		case c == '\\':
			escaped = true
			n := escapeLength(in.b[i:])
			if n == 0 {
				return nil, false, notJSON()
			}
			i += n - 1
		case c < ' ':
			return nil, false, notJSON()
		}
	}
	return nil, false, notJSON()
}

// escapeLength is how long the escape is that b begins with, 0 if it is none.
func escapeLength(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) >= 6 && isHex(b[2]) && isHex(b[3]) && isHex(b[4]) && isHex(b[5]) {
			return 6
		}
	}
	return 0
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// unescape gives the text of what text found escapes in.
func unescape(raw []byte) string {
	var s string
	if json.Unmarshal([]byte(`"`+string(raw)+`"`), &s) != nil {
		return "" // cannot be: the scanner has checked it
	}
	return s
}

// number steps over a number and gives its bytes.
func (in *scanner) number() ([]byte, *InvalidError) {
	start := in.i
	if in.peek() == '-' {
		in.i++
	}
	switch {
	case in.peek() == '0':
		in.i++
	case in.digits() == 0:
		return nil, notJSON()
	}
	if in.peek() == '.' {
		in.i++
		if in.digits() == 0 {
			return nil, notJSON()
		}
	}
	if c := in.peek(); c == 'e' || c == 'E' {
		in.i++
		if c := in.peek(); c == '+' || c == '-' {
			in.i++
		}
		if in.digits() == 0 {
			return nil, notJSON()
		}
	}
	return in.b[start:in.i], nil
}

func (in *scanner) digits() int {
	start := in.i
	for c := in.peek(); '0' <= c && c <= '9'; c = in.peek() {
		in.i++
	}
	return in.i - start
}

// literal steps over true, false or null.
func (in *scanner) literal(word string) *InvalidError {
	if end := in.i + len(word); end <= len(in.b) && string(in.b[in.i:end]) == word {
		in.i = end
		return nil
	}
	return notJSON()
}

// skip steps over one value of any kind.
func (in *scanner) skip(depth int) *InvalidError {
	if depth > MaxDepth {
		return tooDeep()
	}
	switch in.peek() {
	case '"':
		_, _, err := in.text()
		return err
	case 't':
		return in.literal("true")
	case 'f':
		return in.literal("false")
	case 'n':
		return in.literal("null")
	case '{':
		return in.skipAll('}', depth)
	case '[':
		return in.skipAll(']', depth)
	}
	_, err := in.number()
	return err
}

// skipAll steps over an object or a list.
func (in *scanner) skipAll(end byte, depth int) *InvalidError {
	in.i++
	for n := 0; ; n++ {
		more, err := in.next(end, n)
		if err != nil || !more {
			return err
		}
		if end == '}' {
			if _, err := in.key(); err != nil {
				return err
			}
		}
		if err := in.skip(depth + 1); err != nil {
			return err
		}
	}
}

// raw steps over one value and gives its bytes.
func (in *scanner) raw(depth int) ([]byte, *InvalidError) {
	start := in.i
	err := in.skip(depth)
	return in.b[start:in.i], err
}
