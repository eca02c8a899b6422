package assertion

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"
)

// object is a JSON object by its members, each as it was written. To read and to write one
// this way costs a part of what package json needs for it, and every run does both. Of
// members of one name the last counts.
type object []member

type member struct {
	name  []byte
	value json.RawMessage
}

// readObject splits an object into its members, which share its memory. It is nil for
// everything else, and for what is not JSON.
func readObject(text json.RawMessage) object {
	text = bytes.Trim(text, " \t\r\n") // and no other blanks
	if len(text) == 0 || text[0] != '{' {
		return nil
	}
	o := make(object, 0, 12) // most have fewer, outcomes included
	rest := skipSpace(text[1:])
	if len(rest) == 1 && rest[0] == '}' {
		return o
	}
	for {
		name := textEnd(rest)
		if name < 0 {
			return nil
		}
		m := member{name: nameOf(rest[:name])}
		if rest = skipSpace(rest[name:]); len(rest) == 0 || rest[0] != ':' {
			return nil
		}
		rest = skipSpace(rest[1:])
		end := valueEnd(rest)
		if end < 0 {
			return nil
		}
		m.value = rest[:end:end]
		o = append(o, m)
		rest = skipSpace(rest[end:])
		switch {
		case len(rest) > 0 && rest[0] == ',':
			rest = skipSpace(rest[1:])
		case len(rest) == 1 && rest[0] == '}':
			return o
		default:
			return nil
		}
	}
}

// get is the value of a member, nil when there is none.
func (o object) get(name string) json.RawMessage {
	for i := range slices.Backward(o) {
		if string(o[i].name) == name {
			return o[i].value
		}
	}
	return nil
}

// without takes a member out.
func (o object) without(name string) object {
	return slices.DeleteFunc(o, func(m member) bool { return string(m.name) == name })
}

// with puts a member in, in place of what had its name.
func (o object) with(name string, value json.RawMessage) object {
	return append(o.without(name), member{[]byte(name), value})
}

func skipSpace(text []byte) []byte {
	for i, c := range text {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return text[i:]
		}
	}
	return nil
}

// valueEnd is where the value ends that the text begins with, -1 if that is none.
func valueEnd(text []byte) int {
	if len(text) == 0 {
		return -1
	}
	switch text[0] {
	case '"':
		return textEnd(text)
	case '{', '[':
		if end := nestedEnd(text); end >= 0 && json.Valid(text[:end]) {
			return end
		}
		return -1
	}
	end := bytes.IndexFunc(text, func(c rune) bool { return c == ',' || c == '}' || c <= ' ' })
	if end < 0 {
		return -1
	}
	switch string(text[:end]) {
	case "true", "false", "null":
		return end
	}
	if !isNumeral(text[:end]) {
		return -1
	}
	return end
}

// isNumeral reports whether the text is a number as JSON has them.
func isNumeral(text []byte) bool {
	text = bytes.TrimPrefix(text, []byte("-"))
	whole := digits(text)
	if whole == 0 || whole > 1 && text[0] == '0' {
		return false
	}
	text = text[whole:]
	if len(text) > 0 && text[0] == '.' {
		n := digits(text[1:])
		if n == 0 {
			return false
		}
		text = text[1+n:]
	}
	if len(text) > 0 && (text[0] == 'e' || text[0] == 'E') {
		text = text[1:]
		if len(text) > 0 && (text[0] == '+' || text[0] == '-') {
			text = text[1:]
		}
		n := digits(text)
		if n == 0 {
			return false
		}
		text = text[n:]
	}
	return len(text) == 0
}

// digits is how many digits the text begins with.
func digits(text []byte) int {
	for i, c := range text {
		if c < '0' || '9' < c {
			return i
		}
	}
	return len(text)
}

// textEnd is where the text in quotes ends that the text begins with, -1 if that is none.
func textEnd(text []byte) int {
	if len(text) == 0 || text[0] != '"' {
		return -1
	}
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return i + 1
		case c < ' ':
			return -1
		case c != '\\':
		case i+1 == len(text):
			return -1
		case text[i+1] == 'u':
			if i+6 > len(text) || !hexadecimal(text[i+2:i+6]) {
				return -1
			}
			i += 5
		case strings.IndexByte(`"\/bfnrt`, text[i+1]) < 0:
			return -1
		default:
			i++
		}
	}
	return -1
}

func hexadecimal(text []byte) bool {
	for _, c := range text {
		if (c < '0' || '9' < c) && (c < 'a' || 'f' < c) && (c < 'A' || 'F' < c) {
			return false
		}
	}
	return true
}

// nestedEnd is where the brackets close that the text begins with, -1 if they do not.
func nestedEnd(text []byte) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			end := textEnd(text[i:])
			if end < 0 {
				return -1
			}
			i += end - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// scalar reads a text or a number, which most assertions are about. text is valid.
func scalar(text json.RawMessage) (value any, ok bool) {
	switch first := text[0]; {
	case first == '"':
		return textOf(text), true
	case first == '-' || '0' <= first && first <= '9':
		return numeral(text), true
	}
	return nil, false
}

// textOf reads a text, which is valid.
func textOf(text json.RawMessage) (read string) {
	read, ok := unquoted(text[1 : len(text)-1])
	if !ok {
		_ = json.Unmarshal(text, &read) // a text that is valid can be read
	}
	return read
}

// nameOf is textOf, without a copy where there is nothing to it.
func nameOf(text json.RawMessage) []byte {
	if inner := text[1 : len(text)-1]; bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return inner
	}
	return []byte(textOf(text))
}

// unquoted reads what is between the quotes of a text, unless something rare is in it.
func unquoted(text []byte) (read string, ok bool) {
	if !utf8.Valid(text) {
		return "", false
	}
	at := bytes.IndexByte(text, '\\')
	if at < 0 {
		return string(text), true
	}
	var b strings.Builder
	b.Grow(len(text))
	for ; at >= 0; at = bytes.IndexByte(text, '\\') {
		b.Write(text[:at])
		switch c := text[at+1]; c {
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case '"', '\\', '/':
			b.WriteByte(c)
		default:
			return "", false
		}
		text = text[at+2:]
	}
	b.Write(text)
	return b.String(), true
}

// text writes the object, its members by name.
func (o object) text() json.RawMessage {
	size := len(`{}`)
	for _, m := range o {
		size += len(m.name) + len(m.value) + len(`"":,`)
	}
	slices.SortStableFunc(o, func(a, b member) int { return bytes.Compare(a.name, b.name) })
	text := append(make([]byte, 0, size), '{')
	for i, m := range o {
		if i+1 < len(o) && bytes.Equal(m.name, o[i+1].name) {
			continue // it has been said again
		}
		if len(text) > len(`{`) {
			text = append(text, ',')
		}
		text = append(appendText(text, m.name), ':')
		text = append(text, m.value...)
	}
	return append(text, '}')
}

// appendText writes a text as package json does.
func appendText[T string | []byte](to []byte, text T) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(string(text)) // a text can be written
			return append(to, quoted...)
		}
	}
	return append(append(append(to, '"'), text...), '"')
}
