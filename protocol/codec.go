package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
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

func decode[M Message](known map[string]kind[M], frame []byte) (M, error) {
	var none M
	if !utf8.Valid(frame) {
		return none, &InvalidError{Reason: "is not UTF-8"}
	}
	name, err := peekType(frame)
	if err != nil {
		return none, err
	}
	k, ok := known[string(name)]
	if !ok {
		return none, fmt.Errorf("%w %q", ErrUnknownType, shorten(name))
	}
	m := k.make()
	err = read(m, k.shape, frame)
	if batch, ok := any(m).(*Results); ok {
		err = batch.apart(frame, err)
	}
	if err != nil {
		return none, err
	}
	return m, nil
}

func read(m Message, s *shape, frame []byte) error {
	if err := s.check(frame); err != nil {
		err.Type = m.Type()
		return err
	}
	if err := json.Unmarshal(frame, m); err != nil {
		return invalid(m.Type(), err)
	}
	return m.Validate()
}

// peekType finds the message's type: first by the form that nearly every sender
// uses, else wherever it is. When there are several, the first counts.
func peekType(frame []byte) ([]byte, error) {
	const prefix = `{"type":"`
	if bytes.HasPrefix(frame, []byte(prefix)) {
		rest := frame[len(prefix):]
		if n := bytes.IndexByte(rest, '"'); n >= 0 && bytes.IndexByte(rest[:n], '\\') < 0 {
			return rest[:n], nil
		}
	}
	if !json.Valid(frame) {
		return nil, &InvalidError{Reason: "is not JSON"}
	}
	w := walker{b: frame}
	if w.space(); !w.enter('{') {
		return nil, &InvalidError{Reason: "is not a JSON object"}
	}
	for w.more('}') {
		if string(w.name()) != "type" {
			if err := w.skip(1); err != nil {
				return nil, err
			}
			continue
		}
		if w.peek() != '"' {
			return nil, &InvalidError{Reason: "has a type that is not a string"}
		}
		return w.text(), nil
	}
	return nil, &InvalidError{Reason: "has no type"}
}

// shorten keeps a name from a stranger short enough for a log line.
func shorten(name []byte) string {
	const most = 64
	if len(name) <= most {
		return string(name)
	}
	return strings.ToValidUTF8(string(name[:most]), "") + "…"
}

// invalid turns what encoding/json says into an InvalidError.
func invalid(messageType string, err error) *InvalidError {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return &InvalidError{Type: messageType, Path: wrong.Field, Reason: "cannot be the " + wrong.Value + " given"}
	}
	return &InvalidError{Type: messageType, Reason: "is not JSON"}
}
