package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/perigee-monitoring/perigee/check"
)

// The marks between which the page of checks is written.
const (
	pageBegin = "<!-- begin of what go generate writes -->"
	pageEnd   = "<!-- end of what go generate writes -->"
)

// page is the tables of all strategies and collectors, in Markdown.
func page(files map[string][]byte) (string, error) {
	var text strings.Builder
	text.WriteString("| strategy | what it checks | collectors |\n|---|---|---|\n")
	for _, id := range check.Strategies() {
		kind, _ := check.Strategy(id)
		fmt.Fprintf(&text, "| [`%s`](#%s) | %s | %s |\n", id, anchor(id), kind.Title, "`"+strings.Join(check.Collectors(id), "`, `")+"`")
	}
	for _, id := range check.Strategies() {
		kind, _ := check.Strategy(id)
		fmt.Fprintf(&text, "\n## %s\n\n%s.", id, kind.Title)
		if kind.Lazy {
			text.WriteString(" It connects when a collector does, so a check needs one.")
		} else {
			text.WriteString(" Connecting is a measurement already: a check needs no collector.")
		}
		text.WriteString("\n\n")
		if err := fields(&text, files["strategy/"+id+".json"]); err != nil {
			return "", err
		}
		for _, id := range check.Collectors(id) {
			collector, _ := check.CollectorKind(id)
			fmt.Fprintf(&text, "\n### %s: %s\n\n", id, collector.Title)
			if collector.Multiple {
				text.WriteString("May be there several times.\n\n")
			}
			if err := fields(&text, files["collector/"+id+".json"]); err != nil {
				return "", err
			}
			results(&text, id)
		}
	}
	return text.String(), nil
}

// anchor is what a heading is called in a link.
func anchor(id string) string { return strings.ReplaceAll(id, ".", "") }

// fields is the table of a config.
func fields(text *strings.Builder, raw []byte) error {
	var s jsonschema.Schema
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	if s.Properties.Len() == 0 {
		text.WriteString("It takes no config.\n")
		return nil
	}
	text.WriteString("| field | type | default | what for |\n|---|---|---|---|\n")
	var m marked
	if err := json.Unmarshal(raw, &m); err != nil {
		return err
	}
	return rows(text, "", &s, &m)
}

// marked are our own marks in a schema, which the library does not read back.
type marked struct {
	Secret     bool               `json:"x-secret"`
	Template   bool               `json:"x-templatable"`
	Properties map[string]*marked `json:"properties"`
	Items      *marked            `json:"items"`
}

func rows(text *strings.Builder, path string, s *jsonschema.Schema, m *marked) error {
	required := map[string]bool{}
	for _, name := range s.Required {
		required[name] = true
	}
	for pair := s.Properties.Oldest(); pair != nil; pair = pair.Next() {
		p, name := pair.Value, path+pair.Key
		start := "required"
		if p.Default != nil {
			value, err := json.Marshal(p.Default)
			if err != nil {
				return err
			}
			start = "`" + string(value) + "`"
		} else if !required[pair.Key] {
			start = ""
		}
		fmt.Fprintf(text, "| `%s` | %s | %s | %s%s |\n", name, kindOf(p), start, cell(p.Description), marks(m.Properties[pair.Key]))
		if p.Items != nil && p.Items.Properties.Len() > 0 {
			if err := rows(text, name+"[].", p.Items, m.Properties[pair.Key].Items); err != nil {
				return err
			}
		}
	}
	return nil
}

// kindOf says what a value of the property is.
func kindOf(p *jsonschema.Schema) string {
	if len(p.Enum) > 0 {
		var values []string
		for _, v := range p.Enum {
			if v != "" {
				values = append(values, fmt.Sprint(v))
			}
		}
		return strings.Join(values, ", ")
	}
	kind := p.Type
	if p.Items != nil {
		kind = "list of " + cmp.Or(p.Items.Type, "values") + "s"
	}
	switch low, high := p.Minimum, p.Maximum; {
	case low != "" && high != "":
		kind += fmt.Sprintf(", %s to %s", low, high)
	case low != "":
		kind += fmt.Sprintf(", at least %s", low)
	}
	return kind
}

// marks say which values are kept apart, and where templates are filled in.
func marks(m *marked) string {
	switch {
	case m.Secret:
		return " *(secret)*"
	case m.Template:
		return " *(template)*"
	}
	return ""
}

func cell(text string) string { return strings.ReplaceAll(oneLine(text), "|", `\|`) }

// results is the list of what a collector finds.
func results(text *strings.Builder, id string) {
	var found []string
	for _, f := range check.ResultFields(id) {
		words := "`" + f.Name + "` " + f.Type
		if f.Ephemeral {
			words += " (not stored)"
		}
		found = append(found, words)
	}
	fmt.Fprintf(text, "\nIt finds %s.\n", strings.Join(found, ", "))
}
