package protocol

import (
	"bytes"
	"encoding/json"
)

// Nullable tells an absent member from null from a value, which the wire does
// (scriptPackagesLockfileHash, environmentId). The zero value is absent; use it
// with the omitzero option.
type Nullable[T any] struct {
	Present bool
	Value   *T // nil for null
}

// Of is a present value.
func Of[T any](v T) Nullable[T] { return Nullable[T]{Present: true, Value: &v} }

// Null is a present null.
func Null[T any]() Nullable[T] { return Nullable[T]{Present: true} }

// OrZero is the value, or the zero value for null and absent.
func (n Nullable[T]) OrZero() T {
	if n.Value == nil {
		var zero T
		return zero
	}
	return *n.Value
}

func (n Nullable[T]) IsZero() bool { return !n.Present }

// MarshalJSON writes the value or null, with <, > and & as they are.
func (n Nullable[T]) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(n.Value)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func (n *Nullable[T]) UnmarshalJSON(b []byte) error {
	n.Present = true
	n.Value = nil
	return json.Unmarshal(b, &n.Value)
}
