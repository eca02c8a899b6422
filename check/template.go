package check

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// hole is a template such as {{ environment.baseUrl }}. One that follows a dollar
// sign is a reference to a secret and not ours.
var hole = regexp.MustCompile(`\$?\{\{\s*([A-Za-z_][\w-]*(?:\.[\w-]+)*)\s*\}\}`)

// TemplateRoots are the names with which the names in templates begin.
func TemplateRoots() []string { return []string{"check", "system", "environment"} }

// Holes are the names in the templates of text.
func Holes(text string) []string {
	var names []string
	for _, match := range hole.FindAllStringSubmatch(text, -1) {
		if !strings.HasPrefix(match[0], "$") {
			names = append(names, match[1])
		}
	}
	return names
}

// Fill replaces the templates in text by values, which are found by following
// their names' parts through nested objects (spec K.4, L.125). A name that begins
// with a known root and leads nowhere is an error, because the empty text would
// make a different request; other double braces are not templates and stay.
func Fill(text string, values map[string]any) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	var failed error
	filled := hole.ReplaceAllStringFunc(text, func(match string) string {
		name := hole.FindStringSubmatch(match)[1]
		root, _, _ := strings.Cut(name, ".")
		if strings.HasPrefix(match, "$") || values[root] == nil && !isRoot(root) {
			return match
		}
		value, err := lookup(values, name)
		if err != nil && failed == nil {
			failed = err
		}
		return value
	})
	return filled, failed
}

func isRoot(name string) bool {
	for _, root := range TemplateRoots() {
		if name == root {
			return true
		}
	}
	return false
}

func lookup(values map[string]any, name string) (string, error) {
	var value any = values
	for part := range strings.SplitSeq(name, ".") {
		object, ok := value.(map[string]any)
		if !ok {
			return "", fmt.Errorf("{{ %s }} has no value in this run", name)
		}
		value = object[part]
	}
	switch v := value.(type) {
	case nil:
		return "", fmt.Errorf("{{ %s }} has no value in this run", name)
	case string:
		return v, nil
	default:
		text, err := json.Marshal(v)
		if err != nil {
			return "", fmt.Errorf("{{ %s }} is no text: %w", name, err)
		}
		return string(text), nil
	}
}
