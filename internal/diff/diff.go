// Package diff says whether two JSON documents mean the same, and else in which places
// they differ.
package diff

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Field is one place in which two documents differ. From is nil when the place is
// new, To when it is gone.
type Field struct {
	Path string `json:"path"`
	From any    `json:"from"`
	To   any    `json:"to"`
}

// Of gives the differences of two values as JSON, by path below the given one.
func Of(path string, from, to any) []Field {
	var all []Field
	compare(&all, path, Canonical(from), Canonical(to))
	return all
}

// compare goes down as long as both sides have the same shape.
func compare(all *[]Field, path string, from, to any) {
	switch a := from.(type) {
	case map[string]any:
		if b, ok := to.(map[string]any); ok {
			compareObjects(all, path, a, b)
			return
		}
	case []any:
		if b, ok := to.([]any); ok {
			for i := range max(len(a), len(b)) {
				compare(all, fmt.Sprintf("%s[%d]", path, i), at(a, i), at(b, i))
			}
			return
		}
	}
	if Text(from) != Text(to) {
		*all = append(*all, Field{Path: path, From: from, To: to})
	}
}

func compareObjects(all *[]Field, path string, a, b map[string]any) {
	keys := maps.Clone(a)
	if keys == nil {
		keys = map[string]any{}
	}
	maps.Copy(keys, b)
	if path != "" {
		path += "."
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		compare(all, path+key, a[key], b[key])
	}
}

func at(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

// Canonical is a value as JSON understands it: objects without order, numbers as
// they are written. Values that mean the same are equal.
func Canonical(v any) any {
	text, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var generic any
	if decoder.Decode(&generic) != nil {
		return nil
	}
	return generic
}

// Text is Canonical as text, whose object keys are sorted.
func Text(v any) string {
	text, err := json.Marshal(Canonical(v))
	if err != nil {
		return ""
	}
	return string(text)
}
