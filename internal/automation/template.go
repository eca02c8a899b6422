package automation

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// template is a text with holes: ${{ expression }}. A text that is nothing but one hole
// keeps the type of its value. "$${{" stands for the characters themselves.
type template struct {
	parts []part
}

type part struct {
	text string
	hole *expression
}

// compileTemplate reads the text. The error says where in it.
func compileTemplate(text string) (*template, error) {
	t := &template{}
	var plain strings.Builder
	for rest := text; rest != ""; {
		before, after, found := strings.Cut(rest, "${{")
		if found && strings.HasSuffix(before, "$") {
			plain.WriteString(before[:len(before)-1] + "${{")
			rest = after
			continue
		}
		plain.WriteString(before)
		if !found {
			break
		}
		end := holeEnd(after)
		offset := len(text) - len(after)
		if end < 0 {
			return nil, fmt.Errorf("%s: ${{ has no }}", place(text, offset-3))
		}
		if secretHole.MatchString(after[:end]) { // stays a reference until the action is done
			plain.WriteString("${{" + after[:end] + "}}")
			rest = after[end+2:]
			continue
		}
		hole, err := compileExpression(strings.TrimSpace(after[:end]), nil)
		if err != nil {
			return nil, fmt.Errorf("in ${{ }} at %s: %w", place(text, offset-3), err)
		}
		if plain.Len() > 0 {
			t.parts = append(t.parts, part{text: plain.String()})
			plain.Reset()
		}
		t.parts = append(t.parts, part{hole: hole})
		rest = after[end+2:]
	}
	if plain.Len() > 0 || len(t.parts) == 0 {
		t.parts = append(t.parts, part{text: plain.String()})
	}
	return t, nil
}

// secretHole is what stands in a hole that refers to a secret (spec H.1).
var secretHole = regexp.MustCompile(`^\s*secrets\.[A-Za-z][A-Za-z0-9_-]{0,62}\s*$`)

// defused is a value of a hole that refers to no secret: what events and outputs say
// comes from outside, and only the definition itself may ask for a secret.
func defused(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, "${{", "$ {{")
	case []any:
		for i := range v {
			v[i] = defused(v[i])
		}
	case map[string]any:
		safe := make(map[string]any, len(v))
		for key, item := range v {
			safe[strings.ReplaceAll(key, "${{", "$ {{")] = defused(item)
		}
		return safe
	}
	return v
}

// place says line and column of an offset.
func place(text string, offset int) string {
	before := text[:offset]
	line := strings.Count(before, "\n")
	return fmt.Sprintf("line %d, column %d", line+1, len([]rune(before[strings.LastIndexByte(before, '\n')+1:]))+1)
}

// holeEnd finds the }} that ends a hole: not inside of texts and not that of a map.
func holeEnd(text string) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '{':
			depth++
		case '}':
			if depth > 0 {
				depth--
			} else if strings.HasPrefix(text[i:], "}}") {
				return i
			}
		case '\'', '"':
			raw := i > 0 && (text[i-1] == 'r' || text[i-1] == 'R')
			quote := text[i : i+1]
			if triple := strings.Repeat(quote, 3); strings.HasPrefix(text[i:], triple) {
				quote = triple
			}
			for i += len(quote); i < len(text) && !strings.HasPrefix(text[i:], quote); i++ {
				if text[i] == '\\' && !raw {
					i++
				}
			}
			i += len(quote) - 1
		}
	}
	return -1
}

// value renders the template; a single hole gives its value as it is.
func (t *template) value(s *scope) (any, error) {
	if len(t.parts) == 1 && t.parts[0].hole != nil {
		v, err := t.parts[0].hole.eval(s)
		if err != nil {
			return nil, err
		}
		n, err := toNative(v)
		return defused(n), err
	}
	return t.string(s)
}

func (t *template) string(s *scope) (string, error) {
	var b strings.Builder
	for _, p := range t.parts {
		text := p.text
		if p.hole != nil {
			v, err := p.hole.eval(s)
			if err == nil {
				text, err = written(v)
			}
			if s.failed != nil {
				return "", s.failed
			}
			if err != nil {
				return "", fmt.Errorf("${{ %s }}: %w", p.hole.text, err)
			}
		}
		// What two values make together is no reference to a secret either.
		if joined := b.String(); strings.HasSuffix(joined, "$") && strings.HasPrefix(text, "{{") || strings.HasSuffix(joined, "${") && strings.HasPrefix(text, "{") {
			b.WriteByte(' ')
		}
		if b.WriteString(text); b.Len() > maxRendered {
			return "", fmt.Errorf("the text is longer than %d KiB", maxRendered>>10)
		}
	}
	return b.String(), nil
}

// written is a value as it stands in a text.
func written(v ref.Val) (string, error) {
	if d, ok := v.(types.Double); ok {
		return strconv.FormatFloat(float64(d), 'f', -1, 64), nil
	}
	n, err := toNative(v)
	if err != nil {
		return "", err
	}
	n = defused(n)
	if text, ok := n.(string); ok {
		return text, nil
	}
	text, err := json.Marshal(n)
	return string(text), err
}

// tree is a JSON value whose texts are templates.
type tree struct {
	constant any
	template *template
	// text tells that a template is a text though it is a single hole.
	text   bool
	list   []*tree
	object map[string]*tree
}

// compileTree reads a value; problems are noted at their paths.
func (c *compiler) tree(v any, path string) *tree {
	switch v := v.(type) {
	case string:
		if !strings.Contains(v, "${{") {
			return &tree{constant: v}
		}
		t, err := compileTemplate(v)
		if err != nil {
			c.add(path, "%s", err.Error())
		}
		return &tree{template: t}
	case []any:
		t := &tree{list: make([]*tree, len(v))}
		for i, item := range v {
			t.list[i] = c.tree(item, fmt.Sprintf("%s[%d]", path, i))
		}
		return t
	case map[string]any:
		t := &tree{object: make(map[string]*tree, len(v))}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			t.object[key] = c.tree(v[key], path+"."+key)
		}
		return t
	}
	return &tree{constant: v}
}

// value renders everything in it.
func (t *tree) value(s *scope) (any, error) {
	switch {
	case t == nil:
		return nil, nil
	case t.template != nil && t.text:
		return t.template.string(s)
	case t.template != nil:
		return t.template.value(s)
	case t.list != nil:
		list := make([]any, len(t.list))
		for i, item := range t.list {
			v, err := item.value(s)
			if err != nil {
				return nil, at(s, fmt.Sprintf("[%d]", i), err)
			}
			list[i] = v
		}
		return list, nil
	case t.object != nil:
		object := make(map[string]any, len(t.object))
		for _, key := range slices.Sorted(maps.Keys(t.object)) {
			v, err := t.object[key].value(s)
			if err != nil {
				return nil, at(s, key, err)
			}
			object[key] = v
		}
		return object, nil
	}
	return t.constant, nil
}

// json renders it as a step's input.
func (t *tree) json(s *scope) (json.RawMessage, error) {
	v, err := t.value(s)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(text) > maxRendered {
		return nil, fmt.Errorf("it is larger than %d KiB", maxRendered>>10)
	}
	return text, nil
}

func at(s *scope, where string, err error) error {
	if s.failed != nil || errors.As(err, new(stateError)) {
		return err
	}
	return fmt.Errorf("%s: %w", where, err)
}
