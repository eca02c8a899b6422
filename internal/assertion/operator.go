package assertion

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// operator is one way to compare (spec F.5).
type operator struct {
	// words complete "expected …".
	words string
	// value: it compares with a value; without one it never holds.
	value bool
	// list: it looks at a list as a list, also at a list of one that a path selected.
	list  bool
	holds func(actual, expected any) (bool, error)
}

var operators = map[string]operator{
	"equals":    {"to equal", true, false, plain(equal)},
	"notEquals": {"not to equal", true, false, plain(func(a, e any) bool { return !equal(a, e) })},

	"lessThan":           {"to be less than", true, false, ordered(func(order int) bool { return order < 0 })},
	"lessThanOrEqual":    {"to be at most", true, false, ordered(func(order int) bool { return order <= 0 })},
	"greaterThan":        {"to be greater than", true, false, ordered(func(order int) bool { return order > 0 })},
	"greaterThanOrEqual": {"to be at least", true, false, ordered(func(order int) bool { return order >= 0 })},

	"contains":   {"to contain", true, false, texts(strings.Contains)},
	"startsWith": {"to start with", true, false, texts(strings.HasPrefix)},
	"endsWith":   {"to end with", true, false, texts(strings.HasSuffix)},
	"matches":    {"to match pattern", true, false, matches},

	"isTrue":  {"to be true", false, false, plain(func(a, _ any) bool { return a == true })},
	"isFalse": {"to be false", false, false, plain(func(a, _ any) bool { return a == false })},

	"isEmpty":    {"to be empty", false, true, plain(func(a, _ any) bool { return empty(a) })},
	"isNotEmpty": {"not to be empty", false, true, plain(func(a, _ any) bool { return !empty(a) })},
	"exists":     {"to exist", false, false, plain(func(a, _ any) bool { return !missing(a) })},
	"notExists":  {"not to exist", false, false, plain(func(a, _ any) bool { return missing(a) })},

	"includes":          {"to include", true, true, membership(true)},
	"notIncludes":       {"not to include", true, true, membership(false)},
	"lengthEquals":      {"to have length", true, true, sized(func(n, e float64) bool { return n == e })},
	"lengthGreaterThan": {"to have length greater than", true, true, sized(func(n, e float64) bool { return n > e })},
	"lengthLessThan":    {"to have length less than", true, true, sized(func(n, e float64) bool { return n < e })},
}

func plain(holds func(actual, expected any) bool) func(any, any) (bool, error) {
	return func(actual, expected any) (bool, error) { return holds(actual, expected), nil }
}

func ordered(holds func(order int) bool) func(any, any) (bool, error) {
	return plain(func(actual, expected any) bool {
		order, ok := compare(actual, expected)
		return ok && holds(order)
	})
}

func texts(holds func(actual, expected string) bool) func(any, any) (bool, error) {
	return plain(func(actual, expected any) bool { return holds(text(actual), text(expected)) })
}

func membership(want bool) func(any, any) (bool, error) {
	return func(actual, expected any) (bool, error) {
		list, ok := actual.([]any)
		if !ok {
			return false, fmt.Errorf("it is not a list")
		}
		for _, element := range list {
			if equal(element, expected) {
				return want, nil
			}
		}
		return !want, nil
	}
}

func sized(holds func(length, expected float64) bool) func(any, any) (bool, error) {
	return func(actual, expected any) (bool, error) {
		e := number(expected)
		switch v := actual.(type) {
		case []any:
			return holds(float64(len(v)), e), nil
		case string:
			return holds(float64(utf8.RuneCountInString(v)), e), nil
		default:
			return false, fmt.Errorf("it has no length")
		}
	}
}

func matches(actual, expected any) (bool, error) {
	pattern, err := compile(text(expected))
	if err != nil {
		return false, err
	}
	return pattern.MatchString(text(actual)), nil
}

// compile reads an RE2 pattern: it takes time linear in the text, whatever the
// target sends.
func compile(pattern string) (*regexp.Regexp, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("the pattern is longer than %d bytes", maxPattern)
	}
	compiled, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("invalid pattern: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return compiled, nil
}

// equal compares a number with a number or a numeric text as numbers, structured
// values by content, and everything else as texts, in which what is missing is "".
func equal(actual, expected any) bool {
	if (isNumber(actual) || isNumber(expected)) && isScalar(actual) && isScalar(expected) {
		if order, ok := compare(actual, expected); ok {
			return order == 0
		}
	}
	if !isScalar(actual) && !isScalar(expected) && !missing(actual) {
		return same(actual, expected)
	}
	return text(actual) == text(expected)
}

// isScalar: a number or a text. Truth values are compared as the texts "true" and "false".
func isScalar(v any) bool {
	switch v.(type) {
	case float64, json.Number, string:
		return true
	}
	return false
}

// text coerces as the text operators demand: missing is "", lists are joined by
// commas, objects are JSON.
func text(v any) string {
	switch v := v.(type) {
	case undefined, nil:
		return ""
	case string:
		return v
	case []any:
		parts := make([]string, len(v))
		for i, element := range v {
			parts[i] = text(element)
		}
		return strings.Join(parts, ",")
	default:
		encoded, err := written(v)
		if err != nil {
			return ""
		}
		return encoded
	}
}

// written is a value as JSON, in which < > & stay what they are.
func written(v any) (string, error) {
	var to strings.Builder
	encoder := json.NewEncoder(&to)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return strings.TrimSuffix(to.String(), "\n"), err
}

// empty: missing, blank text, a list without elements, an object without keys.
// Numbers and truth values are never empty, zero and false included: they were measured.
func empty(v any) bool {
	switch v := v.(type) {
	case undefined, nil:
		return true
	case string:
		return strings.TrimSpace(v) == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	default:
		return false
	}
}

func missing(v any) bool {
	_, ok := v.(undefined)
	return ok || v == nil
}
