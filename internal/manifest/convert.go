package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxErrors is how many mistakes of one file are told; more help nobody.
const maxErrors = 100

// object is a mapping in the order in which it was written.
type object []member

type member struct {
	key   string
	value any
}

func (o object) get(key string) any {
	for _, m := range o {
		if m.key == key {
			return m.value
		}
	}
	return nil
}

// MarshalJSON writes the members in their order.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(m.key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// nodes reads the text up to its end or its first mistake of syntax.
func (p *parser) nodes(text []byte) []*yaml.Node {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var nodes []*yaml.Node
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return nodes
		}
		if err != nil {
			p.syntax(text, err.Error())
			return nodes
		}
		nodes = append(nodes, document.Content...)
	}
}

var (
	yamlPlace     = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)
	parserMistake = regexp.MustCompile(`^did not find expected (?:[,'<]|key|node)`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced`)
)

// tabMistake is told with the line in which the text before the tab begins.
const tabMistake = "found a tab character that violates indentation"

// firstTab finds the first line after the given one that is indented with a tab.
func firstTab(text []byte, after int) (line, column int) {
	for row := range bytes.Lines(text) {
		if line++; line <= after {
			continue
		}
		if indent := len(row) - len(bytes.TrimLeft(row, " ")); indent < len(row) && row[indent] == '\t' {
			return line, indent + 1
		}
	}
	return after, 1
}

// syntax notes a mistake that the library found. It says the line in its text and
// nowhere else: counted from zero when its parser speaks, from one when its
// scanner does, and not at all for an alias without an anchor.
func (p *parser) syntax(text []byte, message string) {
	at := &yaml.Node{Line: 1, Column: 1}
	if where := yamlPlace.FindStringSubmatch(message); where != nil {
		message = strings.TrimPrefix(message, where[0])
		if line, err := strconv.Atoi(where[1]); err == nil {
			at.Line = line
		}
	}
	if parserMistake.MatchString(message) {
		at.Line++
	}
	if anchor := unknownAnchor.FindStringSubmatch(message); anchor != nil {
		if before, _, ok := bytes.Cut(text, []byte("*"+anchor[1])); ok {
			at.Line += bytes.Count(before, []byte("\n"))
			at.Column = len(before) - bytes.LastIndexByte(before, '\n')
		}
	}
	if message == tabMistake {
		at.Line, at.Column = firstTab(text, at.Line)
	}
	p.fail(at, "", "%s", message)
}

// trail is the way to a value; its text is made only when a mistake is told.
type trail struct {
	parent *trail
	key    string
	index  int // -1 for a key
}

func (t *trail) String() string {
	if t == nil {
		return ""
	}
	before := t.parent.String()
	switch {
	case t.index >= 0:
		return before + "[" + strconv.Itoa(t.index) + "]"
	case before == "":
		return t.key
	default:
		return before + "." + t.key
	}
}

// convert gives nil, bool, json.Number, string, []any or object. Mistakes are
// noted and leave nil in their place.
func (p *parser) convert(node *yaml.Node, at *trail, depth int) any {
	p.values++
	switch {
	case len(p.errors) >= maxErrors:
		return nil
	case p.values > MaxValues:
		if p.values == MaxValues+1 {
			p.fail(node, at.String(), "the file holds more than %d values; aliases may make it grow", MaxValues)
		}
		return nil
	case depth > MaxDepth:
		p.fail(node, at.String(), "is nested more than %d deep", MaxDepth)
		return nil
	}
	switch node.Kind {
	case yaml.AliasNode:
		return p.convert(node.Alias, at, depth+1)
	case yaml.MappingNode:
		return p.mapping(node, at, depth)
	case yaml.SequenceNode:
		list := make([]any, 0, len(node.Content))
		for i, item := range node.Content {
			list = append(list, p.convert(item, &trail{parent: at, index: i}, depth+1))
		}
		return list
	default:
		return p.scalar(node, at)
	}
}

func (p *parser) mapping(node *yaml.Node, at *trail, depth int) any {
	if tag := node.ShortTag(); tag != "!!map" {
		p.fail(node, at.String(), "has the tag %s, which means nothing here", tag)
		return nil
	}
	members := make(object, 0, len(node.Content)/2)
	lines := make(map[string]int, len(node.Content)/2)
	var merged []*yaml.Node
	for key, value := range pairs(node) {
		if isMerge(key) {
			merged = append(merged, value)
			continue
		}
		name, ok := keyText(key)
		path := &trail{parent: at, key: name, index: -1}
		switch first, twice := lines[name]; {
		case !ok:
			p.fail(key, at.String(), "a key must be text")
		case twice:
			p.fail(key, path.String(), "is given twice, first in line %d", first)
		default:
			lines[name] = key.Line
			members = append(members, member{name, p.convert(value, path, depth+1)})
		}
	}
	for _, source := range merged {
		members = p.merge(members, source, at, depth+1)
	}
	return members
}

// merge adds what << brings: members that are not there already, of one mapping
// or of several, of which the first counts.
func (p *parser) merge(members object, source *yaml.Node, at *trail, depth int) object {
	from := p.convert(source, at, depth)
	list, ok := from.([]any)
	if !ok {
		list = []any{from}
	}
	for _, one := range list {
		mapping, ok := one.(object)
		if !ok && one != nil {
			p.fail(source, at.String(), "<< needs a mapping or a list of mappings")
		}
		present := make(map[string]bool, len(members))
		for _, m := range members {
			present[m.key] = true
		}
		for _, m := range mapping {
			if !present[m.key] {
				members = append(members, m)
			}
		}
	}
	return members
}

func (p *parser) scalar(node *yaml.Node, at *trail) any {
	switch tag := node.ShortTag(); tag {
	case "!!str", "!!merge", "!!timestamp": // a date is the text as it was written
		return node.Value
	case "!!null":
		return nil
	case "!!bool":
		var b bool
		if err := node.Decode(&b); err != nil {
			p.fail(node, at.String(), "is not true or false")
		}
		return b
	case "!!int", "!!float":
		return p.number(node, at)
	default:
		p.fail(node, at.String(), "has the tag %s, which means nothing here", tag)
		return nil
	}
}

// number keeps the digits as they were written where JSON can.
func (p *parser) number(node *yaml.Node, at *trail) any {
	if json.Valid([]byte(node.Value)) {
		return json.Number(node.Value)
	}
	var value any
	if err := node.Decode(&value); err == nil {
		if text, err := json.Marshal(value); err == nil && json.Valid(text) {
			return json.Number(text)
		}
	}
	p.fail(node, at.String(), "%s is not a number that can be sent", node.Value)
	return nil
}

// pairs walks the keys and values of a mapping.
func pairs(mapping *yaml.Node) func(yield func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		for i := 0; i+1 < len(mapping.Content); i += 2 {
			if !yield(mapping.Content[i], mapping.Content[i+1]) {
				return
			}
		}
	}
}

func isMerge(key *yaml.Node) bool { return key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge" }

// keyText gives a key as it was written; numbers and true are text as keys.
func keyText(key *yaml.Node) (string, bool) {
	if key.Kind == yaml.AliasNode {
		key = key.Alias
	}
	return key.Value, key.Kind == yaml.ScalarNode && key.ShortTag() != "!!null"
}
