package manifest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Locate gives the line and column, from one, of a path such as
// "spec.collectors[0].config.url": of the key for a member, of the value for an
// item of a list. What does not exist is placed at its nearest existing ancestor,
// and "" at the beginning of the document.
func (d *Doc) Locate(path string) (line, column int) {
	if d.node == nil { // not read from a file
		return 1, 1
	}
	at := place(d.node, path)
	return at.Line, at.Column
}

// Fault makes a mistake of something that was found wrong elsewhere, by the core
// for example.
func (d *Doc) Fault(path, message string) *Error {
	line, column := d.Locate(path)
	return &Error{File: d.File, Line: line, Column: column, Path: path, Message: message}
}

// numbered is a document as the core names it.
var numbered = regexp.MustCompile(`documents\[(\d+)\]`)

// At makes a mistake of one that the core found in the documents: location is
// "documents[2].spec.config.url". Documents that the message names become their
// places. ok is false for a location outside of the documents.
func At(docs []Doc, location, message string) (mistake *Error, ok bool) {
	at := numbered.FindStringSubmatchIndex(location)
	if at == nil || at[0] != 0 {
		return nil, false
	}
	index, err := strconv.Atoi(location[at[2]:at[3]])
	if err != nil || index >= len(docs) {
		return nil, false
	}
	message = numbered.ReplaceAllStringFunc(message, func(name string) string {
		other, err := strconv.Atoi(numbered.FindStringSubmatch(name)[1])
		if err != nil || other >= len(docs) {
			return name
		}
		line, column := docs[other].Locate("")
		return fmt.Sprintf("%s:%d:%d", docs[other].File, line, column)
	})
	return docs[index].Fault(strings.TrimPrefix(location[at[1]:], "."), message), true
}

// place finds the node at which to point for a path.
func place(root *yaml.Node, path string) *yaml.Node {
	at, value := root, root
	for path != "" {
		next, ok := step(value, path)
		if !ok {
			return at
		}
		at, value, path = next.at, next.value, strings.TrimPrefix(next.rest, ".")
	}
	return at
}

// found is where one step of a path leads.
type found struct {
	at    *yaml.Node // to point at
	value *yaml.Node
	rest  string // of the path
}

func step(value *yaml.Node, path string) (found, bool) {
	if value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	switch value.Kind {
	case yaml.MappingNode:
		return stepKey(value, path, 0)
	case yaml.SequenceNode:
		digits, rest, ok := strings.Cut(strings.TrimPrefix(path, "["), "]")
		index, err := strconv.Atoi(digits)
		if !ok || err != nil || index < 0 || index >= len(value.Content) {
			return found{}, false
		}
		return found{at: value.Content[index], value: value.Content[index], rest: rest}, true
	default:
		return found{}, false
	}
}

// stepKey takes the longest key that the path begins with, because keys (of
// labels, of headers) may hold dots themselves.
func stepKey(mapping *yaml.Node, path string, depth int) (best found, ok bool) {
	longest := -1
	for key, value := range pairs(mapping) {
		name, _ := keyText(key)
		rest, begins := strings.CutPrefix(path, name)
		if isMerge(key) || !begins || len(name) <= longest || (rest != "" && rest[0] != '.' && rest[0] != '[') {
			continue
		}
		longest, best, ok = len(name), found{at: key, value: value, rest: rest}, true
	}
	if ok || depth > MaxDepth {
		return best, ok
	}
	for key, value := range pairs(mapping) {
		if !isMerge(key) {
			continue
		}
		for _, source := range mergeSources(value) {
			if best, ok = stepKey(source, path, depth+1); ok {
				return best, true
			}
		}
	}
	return found{}, false
}

// mergeSources gives the mappings that a << names.
func mergeSources(value *yaml.Node) []*yaml.Node {
	if value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	if value.Kind == yaml.MappingNode {
		return []*yaml.Node{value}
	}
	var sources []*yaml.Node
	for _, item := range value.Content {
		if item.Kind == yaml.AliasNode {
			item = item.Alias
		}
		if item.Kind == yaml.MappingNode {
			sources = append(sources, item)
		}
	}
	return sources
}
