package protocol

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// peek is the byte at hand, 0 at the end.
func (w *walker) peek() byte {
	if w.i < len(w.b) {
		return w.b[w.i]
	}
	return 0
}

func (w *walker) space() {
	for w.i < len(w.b) && (w.b[w.i] == ' ' || w.b[w.i] == '\t' || w.b[w.i] == '\n' || w.b[w.i] == '\r') {
		w.i++
	}
}

// enter steps over what opens an object or a list, if it is there.
func (w *walker) enter(open byte) bool {
	if w.peek() != open {
		return false
	}
	w.i++
	return true
}

// more steps to the next member or element of what end closes, over a comma
// where there is one. It reports false at the end, over which it steps, at the
// end of the frame, and at a bracket that closes something else.
func (w *walker) more(end byte) bool {
	w.space()
	if w.peek() == ',' {
		w.i++
		w.space()
	}
	switch w.peek() {
	case end:
		w.i++
		return false
	case 0, '}', ']':
		return false
	}
	return true
}

// name reads a member's name and the colon after it.
func (w *walker) name() []byte {
	name := w.text()
	w.space()
	if w.peek() == ':' {
		w.i++
	}
	w.space()
	return name
}

// text reads a string. The bytes are the frame's own unless there is an escape
// in it; they are nil for something that is no string.
func (w *walker) text() []byte {
	start := w.i
	w.string()
	raw := w.b[start:w.i]
	if len(raw) < 2 {
		return nil
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil
	}
	return []byte(s)
}

// string steps over a string, and over one byte of anything else.
func (w *walker) string() {
	quoted := w.peek() == '"'
	if w.i < len(w.b) {
		w.i++
	}
	for quoted && w.i < len(w.b) {
		n := bytes.IndexByte(w.b[w.i:], '"')
		if n < 0 {
			w.i = len(w.b)
			return
		}
		w.i += n + 1
		if !escaped(w.b[:w.i-1]) {
			return
		}
	}
}

// escaped reports whether what follows b is escaped: an odd number of backslashes.
func escaped(b []byte) bool {
	n := 0
	for n < len(b) && b[len(b)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

// skip steps over a value of any shape.
func (w *walker) skip(depth int) *InvalidError {
	inside := 0
	for w.i < len(w.b) {
		switch w.b[w.i] {
		case '"':
			w.string()
		case '{', '[':
			if inside++; depth+inside > MaxDepth {
				return &InvalidError{Reason: "nested more than " + strconv.Itoa(MaxDepth) + " deep"}
			}
			w.i++
		case '}', ']':
			if inside--; inside < 0 {
				return nil // the end of what the value is in
			}
			w.i++
		case ',':
			if inside == 0 {
				return nil
			}
			w.i++
			continue
		case ':', ' ', '\t', '\n', '\r':
			w.i++
			continue
		default:
			w.literal()
		}
		if inside == 0 {
			return nil
		}
	}
	return nil
}

// literal steps over a number, true, false, null, or rubbish of at least a byte.
func (w *walker) literal() {
	for w.i++; w.i < len(w.b); w.i++ {
		switch w.b[w.i] {
		case ',', ':', '}', ']', '{', '[', '"', ' ', '\t', '\n', '\r':
			return
		}
	}
}
