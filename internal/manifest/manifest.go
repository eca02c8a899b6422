// Package manifest turns YAML files into documents and documents into YAML.
//
// It exists because people keep definitions in files and want to be told where
// they are wrong: every value remembers its line and column, so that a mistake
// that only the core can see ("there is no check fornt") is reported at the very
// place in the file where it was written.
//
// What it promises: what is not a document is refused with its place; a key
// written twice, an unknown field of the document itself, a label that is no text
// are mistakes; size, depth and the growth through aliases are bounded, so that
// no file can exhaust the program. What it leaves to others: whether the spec is
// right (package catalog) and what the documents mean together.
package manifest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/perigee-monitoring/perigee/internal/catalog"
)

// Limits of one file. They are far above what people write and low enough that a
// hostile file costs little.
const (
	MaxBytes = 16 << 20
	// MaxDepth is how deep a value may be nested.
	MaxDepth = 64
	// MaxValues is the most values of one file with aliases written out.
	MaxValues = 1_000_000
)

var kinds = []string{catalog.DocSystem, catalog.DocCheck, catalog.DocAssignment, catalog.DocMaintenance, catalog.DocSatellite, catalog.DocAutomation}

// Doc is a document and where it was written.
type Doc struct {
	catalog.Document
	// File is the name given to Parse.
	File string
	node *yaml.Node
}

// Error is one mistake and its place. Line and Column count from one; Path is
// relative to the document ("spec.config.url"), "" for the document as a whole.
type Error struct {
	File         string
	Line, Column int
	Path         string
	Message      string
}

func (e *Error) Error() string {
	place := fmt.Sprintf("%s:%d:%d: ", e.File, e.Line, e.Column)
	if e.Path != "" {
		place += e.Path + ": "
	}
	return place + e.Message
}

// Errors are all mistakes of a set of files.
type Errors []*Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Parse reads all documents of one file. Empty documents are left out. When
// anything is wrong with what is written the error is Errors, with everything
// that was found; other errors are of reading.
func Parse(name string, r io.Reader) ([]Doc, error) {
	p := &parser{file: name}
	return p.parse(r)
}

// ParseAs is Parse for files that may hold specs with nothing around them: what
// has neither API version nor kind is taken for the spec of a document of the
// kind, which gets no name.
func ParseAs(kind, name string, r io.Reader) ([]Doc, error) {
	p := &parser{file: name, bare: kind}
	return p.parse(r)
}

func (p *parser) parse(r io.Reader) ([]Doc, error) {
	nodes, err := p.read(r)
	if err != nil {
		return nil, err
	}
	var docs []Doc
	for _, node := range nodes {
		if doc, ok := p.document(node); ok {
			docs = append(docs, doc)
		}
	}
	if len(p.errors) == 0 {
		return docs, nil
	}
	slices.SortStableFunc(p.errors, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return nil, p.errors
}

// read gives the nodes of the documents. What is wrong with the text is noted.
func (p *parser) read(r io.Reader) ([]*yaml.Node, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", p.file, err)
	}
	if len(text) > MaxBytes {
		p.fail(nil, "", "is larger than %d MiB; split it into several files", MaxBytes>>20)
		return nil, nil
	}
	return p.nodes(text), nil
}

// parser gathers the mistakes of one file.
type parser struct {
	file   string
	bare   string // kind of which a spec alone is taken; "" for none
	errors Errors
	values int // converted so far, aliases written out
}

func (p *parser) fail(at *yaml.Node, path, format string, args ...any) {
	line, column := 1, 1
	if at != nil && at.Line > 0 {
		line, column = at.Line, at.Column
	}
	p.errors = append(p.errors, &Error{
		File: p.file, Line: line, Column: column, Path: path, Message: fmt.Sprintf(format, args...),
	})
}

// document converts one; ok is false for an empty one and for one with mistakes.
func (p *parser) document(root *yaml.Node) (doc Doc, ok bool) {
	if empty(root) {
		return Doc{}, false
	}
	if root.Kind != yaml.MappingNode {
		p.fail(root, "", "a document is a mapping with apiVersion, kind, metadata and spec")
		return Doc{}, false
	}
	if p.bare != "" && place(root, "apiVersion") == root && place(root, "kind") == root {
		return p.spec(root)
	}
	before := len(p.errors)
	doc = Doc{File: p.file, node: root}
	value, ok := p.convert(root, nil, 0).(object)
	if !ok || len(p.errors) > before {
		return Doc{}, false
	}
	p.envelope(root, value, &doc)
	return doc, len(p.errors) == before
}

// spec makes a document of a spec alone. What stands around it in a document is
// put there, at the place where the spec begins.
func (p *parser) spec(root *yaml.Node) (doc Doc, ok bool) {
	around := &yaml.Node{
		Kind: yaml.MappingNode, Tag: "!!map", Line: root.Line, Column: root.Column,
		Content: []*yaml.Node{{Kind: yaml.ScalarNode, Tag: "!!str", Value: "spec", Line: root.Line, Column: root.Column}, root},
	}
	doc = Doc{Document: catalog.Document{APIVersion: catalog.APIVersion, Kind: p.bare}, File: p.file, node: around}
	before := len(p.errors)
	value, ok := p.convert(around, nil, 0).(object)
	if !ok || len(p.errors) > before {
		return Doc{}, false
	}
	p.specOf(around, value, &doc)
	return doc, len(p.errors) == before
}

func empty(root *yaml.Node) bool {
	return root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null"
}

// envelope checks what every document has; the spec is the catalog's to judge.
func (p *parser) envelope(root *yaml.Node, value object, doc *Doc) {
	p.knownFields(root, "", value, "apiVersion", "kind", "metadata", "spec")
	doc.APIVersion = p.text(root, value, "apiVersion", catalog.APIVersion)
	doc.Kind = p.text(root, value, "kind", kinds...)
	switch metadata := value.get("metadata").(type) {
	case nil:
		p.fail(place(root, "metadata"), "metadata", "is missing; a document needs metadata: {name: …}")
	case object:
		p.metadata(root, metadata, doc)
	default:
		p.fail(place(root, "metadata"), "metadata", "must be a mapping such as {name: …}")
	}
	p.specOf(root, value, doc)
}

func (p *parser) specOf(root *yaml.Node, value object, doc *Doc) {
	switch spec := value.get("spec").(type) {
	case nil:
		doc.Spec = json.RawMessage("{}")
	case object:
		text, err := json.Marshal(spec)
		if err != nil { // convert makes only values that JSON has
			p.fail(place(root, "spec"), "spec", "%v", err)
		}
		doc.Spec = text
	default:
		p.fail(place(root, "spec"), "spec", "must be a mapping")
	}
}

func (p *parser) metadata(root *yaml.Node, metadata object, doc *Doc) {
	p.knownFields(root, "metadata", metadata, "name", "labels")
	switch name := metadata.get("name").(type) {
	case nil:
		p.fail(place(root, "metadata"), "metadata.name", "is missing")
	case string:
		doc.Metadata.Name = name
	default:
		p.fail(place(root, "metadata.name"), "metadata.name", "must be text; put it in quotes")
	}
	labels, ok := metadata.get("labels").(object)
	if !ok && metadata.get("labels") != nil {
		p.fail(place(root, "metadata.labels"), "metadata.labels", "must be a mapping such as {env: prod}")
		return
	}
	for _, m := range labels {
		path := "metadata.labels." + m.key
		text, ok := m.value.(string)
		if !ok {
			p.fail(place(root, path), path, "must be text; put it in quotes")
			continue
		}
		if doc.Metadata.Labels == nil {
			doc.Metadata.Labels = map[string]string{}
		}
		doc.Metadata.Labels[m.key] = text
	}
}

// text gives a field of the document that must be one of the given words.
func (p *parser) text(root *yaml.Node, value object, field string, words ...string) string {
	expected := words[len(words)-1]
	if len(words) > 1 {
		expected = strings.Join(words[:len(words)-1], ", ") + " or " + expected
	}
	switch text := value.get(field).(type) {
	case nil:
		p.fail(place(root, field), field, "is missing; it is %s", expected)
	case string:
		if slices.Contains(words, text) {
			return text
		}
		p.fail(place(root, field), field, "is %q; it must be %s", text, expected)
	default:
		p.fail(place(root, field), field, "must be %s", expected)
	}
	return ""
}

func (p *parser) knownFields(root *yaml.Node, base string, value object, known ...string) {
	for _, m := range value {
		if !slices.Contains(known, m.key) {
			path := strings.TrimPrefix(base+"."+m.key, ".")
			p.fail(place(root, path), path, "is not known here; there are %s", strings.Join(known, ", "))
		}
	}
}

// Documents takes the documents out of their places, for sending.
func Documents(docs []Doc) []catalog.Document {
	out := make([]catalog.Document, len(docs))
	for i, d := range docs {
		out[i] = d.Document
	}
	return out
}

// AsErrors gives the mistakes that err holds, if it is about what was written.
func AsErrors(err error) (Errors, bool) { return errors.AsType[Errors](err) }
