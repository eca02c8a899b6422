package assertion

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/theory/jsonpath"

	"github.com/perigee-monitoring/perigee/check"
)

const (
	// maxShown bounds an expected or actual value in a failure text, in bytes.
	maxShown = 256
	// maxPattern bounds a regular expression, maxPath a JSONPath, in bytes.
	maxPattern = 1000
	maxPath    = 1000
	// maxSource and maxDepth bound the JSON that a path is applied to.
	maxSource = 2 << 20
	maxDepth  = 200
	// maxSelectors bounds how often a path can name one node: the product of the
	// numbers of selectors of its segments.
	maxSelectors = 64
)

// undefined is the value of what is not there.
type undefined struct{}

// document is one collector's result object.
type document struct {
	raw object
	// parsed are the fields that were read as JSON documents: values or errors.
	parsed map[string]any
	// tookMs is how long the collector took.
	tookMs float64
}

// evaluate returns "" if the assertion holds, and otherwise the failure's text:
// "<field>: expected <words> <expected JSON>, got <actual JSON>"; and what was found.
func (d *document) evaluate(a check.Assertion) (failure string, actual any) {
	expected := normal(a.Value)
	actual, many, err := d.find(a)
	op, known := operators[a.Operator]
	if !known {
		op.words = a.Operator
	}
	holds := false
	switch {
	case err != nil:
	case !known:
		err = fmt.Errorf("unknown operator")
	case op.value && expected == nil:
		err = fmt.Errorf("there is no value to compare with")
	default:
		holds, err = op.holds(one(actual, many && !op.list), expected)
	}
	if holds {
		return "", actual
	}
	var text strings.Builder
	text.WriteString(a.Field)
	if a.JSONPath != "" {
		text.WriteString(" " + a.JSONPath)
	}
	text.WriteString(": expected " + op.words)
	if op.value || !known {
		text.WriteString(" " + show(expected))
	}
	text.WriteString(", got " + show(actual))
	if err != nil {
		fmt.Fprintf(&text, " (%s)", cut(err.Error()))
	}
	return text.String(), actual
}

// find gives the value that the assertion is about. many: it is the list of the
// nodes that a path selected, which may be one.
func (d *document) find(a check.Assertion) (actual any, many bool, err error) {
	source, dynamic := strings.CutSuffix(a.Field, ".$") // the original's way to say "this field, as JSON"
	if a.JSONPath == "" {
		if dynamic {
			return undefined{}, false, fmt.Errorf("there is no JSONPath")
		}
		return d.field(a.Field), false, nil
	}
	path, err := parsePath(a.JSONPath)
	if err != nil {
		return undefined{}, false, err
	}
	root, err := d.json(source)
	if err != nil {
		return undefined{}, false, err
	}
	nodes := path.Select(root)
	switch {
	case len(nodes) == 0:
		return undefined{}, false, nil
	case path.Query().Singular() != nil:
		return nodes[0], false, nil
	default:
		return []any(nodes), true, nil
	}
}

// field is a field's value.
func (d *document) field(name string) any {
	raw := d.raw.get(name)
	if raw == nil {
		return undefined{}
	}
	if value, ok := scalar(raw); ok {
		return value
	}
	value, err := decode(raw)
	if err != nil {
		return undefined{}
	}
	return value
}

// json is the field as a JSON document: a text is read as JSON, anything else is
// one already.
func (d *document) json(name string) (any, error) {
	if value, ok := d.parsed[name]; ok {
		err, failed := value.(error)
		if failed {
			return nil, err
		}
		return value, nil
	}
	if d.parsed == nil {
		d.parsed = map[string]any{}
	}
	value, err := d.readJSON(name)
	if err != nil {
		d.parsed[name] = err
		return nil, err
	}
	d.parsed[name] = value
	return value, nil
}

func (d *document) readJSON(name string) (value any, err error) {
	value = d.field(name)
	if missing(value) {
		return nil, fmt.Errorf("%s has no value", name)
	}
	if text, ok := value.(string); ok {
		if len(text) > maxSource {
			return nil, fmt.Errorf("%s is too long to be read as JSON", name)
		}
		if value, err = decode([]byte(text)); err != nil {
			return nil, fmt.Errorf("%s is not JSON", name)
		}
	}
	if deeper(value, maxDepth) {
		return nil, fmt.Errorf("%s is nested too deeply", name)
	}
	return value, nil
}

func deeper(value any, levels int) bool {
	if levels < 0 {
		return true
	}
	switch v := value.(type) {
	case []any:
		for _, element := range v {
			if deeper(element, levels-1) {
				return true
			}
		}
	case map[string]any:
		for _, element := range v {
			if deeper(element, levels-1) {
				return true
			}
		}
	}
	return false
}

// parsePath reads an RFC 9535 path and refuses those that could select more nodes
// than the document has: what is judged is written by the target.
func parsePath(text string) (*jsonpath.Path, error) {
	if len(text) > maxPath {
		return nil, fmt.Errorf("the JSONPath is longer than %d bytes", maxPath)
	}
	path, err := jsonpath.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("invalid JSONPath: %s", strings.TrimPrefix(err.Error(), "jsonpath: "))
	}
	if strings.Count(text, "..") > 1 {
		return nil, fmt.Errorf("the JSONPath may descend with .. only once")
	}
	if asksAnew(text) {
		return nil, fmt.Errorf("a filter of the JSONPath may ask the whole document ($) for one value only, such as $.limit")
	}
	selectors := 1
	for _, segment := range path.Query().Segments() {
		selectors *= len(segment.Selectors())
		if selectors > maxSelectors {
			return nil, fmt.Errorf("the JSONPath has too many selectors")
		}
	}
	return path, nil
}

var (
	// quoted is a text in a path.
	quoted = regexp.MustCompile(`'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"`)
	// single are the segments of a path, without its texts, that lead to one value.
	single = regexp.MustCompile(`^(?:\s*\.[^\s.\[\]()<>=!&|,*]+|\s*\[\s*(?:-?\d+|'')\s*\])*\s*`)
)

// asksAnew reports whether filters of a path, which was parsed, search the whole document for
// each node that they are asked about.
func asksAnew(path string) bool {
	path = quoted.ReplaceAllString(path, "''")
	for _, query := range strings.Split(path, "$")[2:] { // the first is the path's own
		query = query[len(single.FindString(query)):]
		if strings.HasPrefix(query, ".") || strings.HasPrefix(query, "[") {
			return true
		}
	}
	return false
}

// normal is an assertion's value as JSON would read it: it may have been written
// in Go or read from YAML.
func normal(value any) any {
	switch value.(type) {
	case nil, string, float64, bool:
		return value
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		return nil
	}
	read, err := decode(encoded)
	if err != nil {
		return nil
	}
	return read
}

// one is the only node of a list, for operators that compare single values.
func one(actual any, unwrap bool) any {
	if list, ok := actual.([]any); ok && unwrap && len(list) == 1 {
		return list[0]
	}
	return actual
}

// show is a value as bounded JSON.
func show(value any) string {
	if _, ok := value.(undefined); ok || value == nil {
		return map[bool]string{true: "undefined", false: "null"}[ok]
	}
	if text, ok := value.(string); ok {
		value = cut(text) // before it is encoded: it may be a megabyte
	}
	text, err := written(value)
	if err != nil {
		return "a value that is not JSON"
	}
	return cut(text)
}

func cut(text string) string {
	if len(text) <= maxShown {
		return text
	}
	end := maxShown
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
