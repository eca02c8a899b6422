package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"
)

// ErrUnknownType says that a message's type is not one that the sender's side
// sends, or that this build knows. A receiver counts it and goes on (A.3).
var ErrUnknownType = errors.New("unknown message type")

// InvalidError says what is wrong with a message. It is dropped whole and the
// connection goes on (A.3).
type InvalidError struct {
	Type   string // the message's type, "" when even that could not be read
	Path   string // of the offending member: records[3].result.status
	Reason string // "is missing", "must be a number", …
}

func (e *InvalidError) Error() string {
	text := "invalid message: "
	if e.Type != "" {
		text = "invalid " + e.Type + " message: "
	}
	if e.Path != "" {
		text += e.Path + " "
	}
	return text + e.Reason
}

// under puts the error below a member or an index.
func (e *InvalidError) under(step string) *InvalidError {
	if e.Path != "" && !strings.HasPrefix(e.Path, "[") {
		step += "."
	}
	e.Path = step + e.Path
	return e
}

// Encode returns the message as one frame, "type" first. It does not validate:
// a sender does so where a message is born, because here it is too late to say
// no (a spooled result that cannot be encoded would block those behind it).
func Encode(m Message) ([]byte, error) { return Append(nil, m) }

// Append is Encode onto dst, which it returns extended; on error it returns dst
// as it was.
func Append(dst []byte, m Message) ([]byte, error) {
	w := appender{b: dst}
	w.b = append(w.b, `{"type":"`...)
	w.b = append(w.b, m.Type()...)
	w.b = append(w.b, '"')
	body := len(w.b)
	e := json.NewEncoder(&w)
	e.SetEscapeHTML(false)
	if err := e.Encode(complete(m)); err != nil {
		return dst, fmt.Errorf("encoding %s: %w", m.Type(), err)
	}
	// What was written is {…}\n. Its brace becomes the comma after "type".
	w.b = w.b[:len(w.b)-1]
	if w.b[body+1] == '}' {
		return append(w.b[:body], '}'), nil
	}
	w.b[body] = ','
	return w.b, nil
}

type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

// DecodeFromAgent reads a frame that a satellite sent. The error is
// ErrUnknownType or *InvalidError. Nothing in the message aliases the frame.
func DecodeFromAgent(frame []byte) (FromAgent, error) { return decode(agentMessages, frame) }

// DecodeFromCore reads a frame that a core sent; see DecodeFromAgent.
func DecodeFromCore(frame []byte) (FromCore, error) { return decode(coreMessages, frame) }

func decode[M Message](known map[string]entry[M], frame []byte) (M, error) {
	var none M
	if !utf8.Valid(frame) {
		return none, &InvalidError{Reason: "is not UTF-8"}
	}
	name, wrong := peekType(frame)
	if wrong != nil {
		return none, wrong
	}
	k, ok := known[string(name)]
	if !ok {
		return none, fmt.Errorf("%w %q", ErrUnknownType, shorten(name))
	}
	m := k.make()
	if err := read(frame, k.shape, reflect.ValueOf(m).Elem()); err != nil {
		err.Type = m.Type()
		return none, err
	}
	if batch, ok := any(m).(*Results); ok {
		batch.mark()
	}
	if err := m.Validate(); err != nil {
		return none, err
	}
	return m, nil
}

// read decodes the one value that the frame is.
func read(frame []byte, s *shape, v reflect.Value) *InvalidError {
	in := scanner{b: frame}
	in.space()
	if err := s.decode(&in, v, 0); err != nil {
		return err
	}
	if in.space(); in.i < len(frame) {
		return notJSON()
	}
	return nil
}

// peekType finds the message's type: first by the form that nearly every sender
// uses, else wherever it is. When there are several, the first counts.
func peekType(frame []byte) ([]byte, *InvalidError) {
	const prefix = `{"type":"`
	if bytes.HasPrefix(frame, []byte(prefix)) {
		rest := frame[len(prefix):]
		if n := bytes.IndexByte(rest, '"'); n >= 0 && bytes.IndexByte(rest[:n], '\\') < 0 {
			return rest[:n], nil
		}
	}
	in := scanner{b: frame}
	if in.space(); in.peek() != '{' {
		return nil, &InvalidError{Reason: "is not a JSON object"}
	}
	in.i++
	for n := 0; ; n++ {
		more, err := in.next('}', n)
		if err != nil {
			return nil, err
		}
		if !more {
			return nil, &InvalidError{Reason: "has no type"}
		}
		key, err := in.key()
		if err != nil {
			return nil, err
		}
		if string(key) == "type" {
			return typeHere(&in)
		}
		if err := in.skip(1); err != nil {
			return nil, err
		}
	}
}

func typeHere(in *scanner) ([]byte, *InvalidError) {
	if in.peek() != '"' {
		return nil, &InvalidError{Reason: "has a type that is not a string"}
	}
	name, escaped, err := in.text()
	if escaped {
		name = []byte(unescape(name))
	}
	return name, err
}

// shorten keeps a name from a stranger short enough for a log line.
func shorten(name []byte) string {
	const most = 64
	if len(name) <= most {
		return string(name)
	}
	return strings.ToValidUTF8(string(name[:most]), "") + "…"
}
