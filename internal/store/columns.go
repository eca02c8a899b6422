package store

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// moment reads a time.
type moment struct{ t *time.Time }

func (m moment) Scan(src any) error {
	us, ok := src.(int64)
	if !ok {
		return fmt.Errorf("a time is stored as %T", src)
	}
	*m.t = time.UnixMicro(us).UTC()
	return nil
}

// millis reads a length of time that is stored in milliseconds.
type millis struct{ d *time.Duration }

func (m millis) Scan(src any) error {
	ms, ok := src.(int64)
	if !ok {
		return fmt.Errorf("a length of time is stored as %T", src)
	}
	*m.d = time.Duration(ms) * time.Millisecond
	return nil
}

// momentOrNil reads a time that may be missing.
type momentOrNil struct{ t **time.Time }

func (m momentOrNil) Scan(src any) error {
	if src == nil {
		*m.t = nil
		return nil
	}
	var t time.Time
	if err := (moment{&t}).Scan(src); err != nil {
		return err
	}
	*m.t = &t
	return nil
}

// microsOrNil writes a time that may be missing.
func microsOrNil(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	us := t.UnixMicro()
	return &us
}

// document reads JSON text; a missing one leaves the value as it is.
type document struct{ into any }

func (d document) Scan(src any) error {
	switch text := src.(type) {
	case nil:
		return nil
	case string:
		return json.Unmarshal([]byte(text), d.into)
	case []byte:
		return json.Unmarshal(text, d.into)
	default:
		return fmt.Errorf("JSON is stored as %T", src)
	}
}

// jsonText writes a value as JSON. The values are our own types, which marshal.
func jsonText(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encoding %T: %w", v, err)
	}
	return string(b), nil
}

// microsOr is t as it is kept, or otherwise when t is zero.
func microsOr(t, otherwise time.Time) int64 {
	if t.IsZero() {
		t = otherwise
	}
	return t.UnixMicro()
}

// stored is a text from outside as both engines can keep it: PostgreSQL takes
// neither NUL nor what is not UTF-8, and a result must not be lost for it.
func stored(text string) string {
	if utf8.ValidString(text) && strings.IndexByte(text, 0) < 0 {
		return text
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

// orNil is nil for "".
func orNil(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
