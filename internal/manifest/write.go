package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/perigee-monitoring/perigee/internal/catalog"
)

// order is how members are written wherever they occur in a document, so that
// the same definitions always give the same text and a person finds the name
// before the details. Members that are not named here follow, by the alphabet.
var order = []string{
	"apiVersion", "kind", "metadata", "spec",
	"id", "name", "labels", "description",
	"strategy", "collector", "field", "jsonPath", "operator", "value",
	"check", "system", "region", "enabled", "paused", "interval",
	"includeLocal", "satellites", "names", "selector", "offlineThreshold",
	"event", "filter", "action", "config", "assertions", "collectors", "triggers", "conditions", "actions",
}

// Write writes the documents as YAML, one after another, in the form that Parse
// reads: the same documents come back.
func Write(w io.Writer, docs []catalog.Document) error {
	for i, doc := range docs {
		text, err := json.Marshal(doc)
		if err != nil {
			return fmt.Errorf("writing %s %s: %w", doc.Kind, doc.Metadata.Name, err)
		}
		value, err := decodeJSON(text)
		if err != nil {
			return fmt.Errorf("writing %s %s: %w", doc.Kind, doc.Metadata.Name, err)
		}
		if i > 0 {
			if _, err := io.WriteString(w, "---\n"); err != nil {
				return err
			}
		}
		if err := encode(w, sorted(value)); err != nil {
			return fmt.Errorf("writing %s %s: %w", doc.Kind, doc.Metadata.Name, err)
		}
	}
	return nil
}

// WriteJSON writes any JSON text as YAML, its members in the order they have.
func WriteJSON(w io.Writer, text []byte) error {
	value, err := decodeJSON(text)
	if err != nil {
		return err
	}
	return encode(w, value)
}

func encode(w io.Writer, value any) error {
	node, err := toNode(value)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(node); err != nil {
		return err
	}
	if err := encoder.Close(); err != nil {
		return err
	}
	_, err = w.Write(b.Bytes())
	return err
}

// sorted orders the members of all objects in value.
func sorted(value any) any {
	switch value := value.(type) {
	case object:
		slices.SortStableFunc(value, func(a, b member) int {
			if c := rank(a.key) - rank(b.key); c != 0 {
				return c
			}
			return strings.Compare(a.key, b.key)
		})
		for i := range value {
			value[i].value = sorted(value[i].value)
		}
	case []any:
		for i := range value {
			value[i] = sorted(value[i])
		}
	}
	return value
}

func rank(key string) int {
	if i := slices.Index(order, key); i >= 0 {
		return i
	}
	return len(order)
}

func toNode(value any) (*yaml.Node, error) {
	switch value := value.(type) {
	case object:
		node := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, m := range value {
			key, err := toNode(m.key)
			if err != nil {
				return nil, err
			}
			child, err := toNode(m.value)
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, key, child)
		}
		return node, nil
	case []any:
		node := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, item := range value {
			child, err := toNode(item)
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, child)
		}
		return node, nil
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: numberTag(value), Value: value.String()}, nil
	case string:
		return textNode(value)
	default: // nil, bool
		node := new(yaml.Node)
		return node, node.Encode(value)
	}
}

// numberTag names the kind of a number as a reader of YAML will see it.
func numberTag(n json.Number) string {
	if strings.ContainsAny(n.String(), ".eE") {
		return "!!float"
	}
	return "!!int"
}

// textNode writes text so that it reads as the same text: in blocks where it has
// lines and nothing that a block would lose, in double quotes where plain text
// would be something else.
func textNode(text string) (*yaml.Node, error) {
	node := new(yaml.Node)
	if err := node.Encode(text); err != nil {
		return nil, err
	}
	if strings.Contains(text, "\n") {
		node.Style = yaml.DoubleQuotedStyle
		if plainLines(text) {
			node.Style = yaml.LiteralStyle
		}
	}
	return node, nil
}

// plainLines reports whether text survives as a literal block: it begins with a
// letter of its first line, no line ends in a space, at most one newline ends it,
// and nothing in it needs an escape.
func plainLines(text string) bool {
	if strings.HasPrefix(text, " ") || strings.HasPrefix(text, "\n") || strings.HasSuffix(text, "\n\n") {
		return false
	}
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasSuffix(line, " ") || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return false
		}
	}
	return true
}

// decodeJSON reads JSON into what convert gives, keeping the order of members and
// the digits of numbers.
func decodeJSON(text []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	value, err := decodeValue(decoder)
	if err != nil {
		return nil, fmt.Errorf("reading JSON: %w", err)
	}
	return value, nil
}

func decodeValue(decoder *json.Decoder) (any, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		members := object{}
		for decoder.More() {
			key, err := decoder.Token()
			if err != nil {
				return nil, err
			}
			value, err := decodeValue(decoder)
			if err != nil {
				return nil, err
			}
			members = append(members, member{key.(string), value})
		}
		_, err := decoder.Token()
		return members, err
	case json.Delim('['):
		list := []any{}
		for decoder.More() {
			item, err := decodeValue(decoder)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		_, err := decoder.Token()
		return list, err
	default:
		return token, nil
	}
}
