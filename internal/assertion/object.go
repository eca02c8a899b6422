package assertion

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// object is a JSON object by its members, each as it was written. To read and to write one
// this way costs a part of what package json needs for it, and every run does both.
type object map[string]json.RawMessage

// readObject splits an object into its members, which share its memory. It is nil for
// everything else, and for what is not JSON.
func readObject(text json.RawMessage) object {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || text[0] != '{' || !json.Valid(text) {
		return nil
	}
	o := object{}
	for rest := text[1:]; ; {
		rest = bytes.TrimLeft(rest, " \t\r\n,")
		if rest[0] == '}' {
			return o
		}
		end := valueEnd(rest)
		name := textOf(rest[:end])
		rest = bytes.TrimLeft(rest[end:], " \t\r\n:")
		end = valueEnd(rest)
		o[name] = rest[:end:end]
		rest = rest[end:]
	}
}

// valueEnd is where the value ends that the text, which is valid, begins with.
func valueEnd(text []byte) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			for i++; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			if depth == 0 {
				return i // of what the value is in
			}
			depth--
		case ',', ' ', '\t', '\r', '\n', ':':
			if depth == 0 {
				return i
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(text)
}

// scalar reads a text or a number, which most assertions are about. text is valid.
func scalar(text json.RawMessage) (value any, ok bool) {
	switch first := text[0]; {
	case first == '"':
		return textOf(text), true
	case first == '-' || '0' <= first && first <= '9':
		number, err := strconv.ParseFloat(string(text), 64)
		return number, err == nil
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
	size, names := len(`{}`), make([]string, 0, len(o))
	for name, value := range o {
		size += len(name) + len(value) + len(`"":,`)
		names = append(names, name)
	}
	slices.Sort(names)
	text := append(make([]byte, 0, size), '{')
	for i, name := range names {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(appendName(text, name), ':')
		text = append(text, o[name]...)
	}
	return append(text, '}')
}

func appendName(text []byte, name string) []byte {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || 'z' < c) && (c < 'A' || 'Z' < c) && c != '_' {
			quoted, _ := json.Marshal(name) // a text can be written
			return append(text, quoted...)
		}
	}
	return append(append(append(text, '"'), name...), '"')
}
