package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// FieldDiff is one place in which two documents differ. From is nil when the
// place is new, To when it is gone.
type FieldDiff struct {
	Path string `json:"path"`
	From any    `json:"from"`
	To   any    `json:"to"`
}

// Diff gives the differences of two documents of one kind and name, by path.
func Diff(from, to Document) []FieldDiff {
	var all []FieldDiff
	compare(&all, "metadata.labels", canonical(labels(from.Metadata.Labels)), canonical(labels(to.Metadata.Labels)))
	compare(&all, "spec", canonical(from.Spec), canonical(to.Spec))
	return all
}

// compare goes down as long as both sides have the same shape.
func compare(all *[]FieldDiff, path string, from, to any) {
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
	if canonicalText(from) != canonicalText(to) {
		*all = append(*all, FieldDiff{Path: path, From: from, To: to})
	}
}

func compareObjects(all *[]FieldDiff, path string, a, b map[string]any) {
	keys := maps.Clone(a)
	if keys == nil {
		keys = map[string]any{}
	}
	maps.Copy(keys, b)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		compare(all, path+"."+key, a[key], b[key])
	}
}

func at(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

// canonical is a value as JSON understands it: objects without order, numbers as
// they are written. Values that mean the same are equal.
func canonical(v any) any {
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

// canonicalText is canonical as text, whose object keys are sorted.
func canonicalText(v any) string {
	text, err := json.Marshal(canonical(v))
	if err != nil {
		return ""
	}
	return string(text)
}
