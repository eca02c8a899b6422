// Command schemagen makes the JSON Schemas of package check out of its config
// structs: types, constraints and titles from the tags, descriptions from the
// comments, defaults from the same functions that the satellite uses.
//
// It is run by go generate in the folder of package check; its test fails when
// what is embedded is not what it would write.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/perigee-monitoring/perigee/check"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: schemagen FOLDER PAGE, in the folder of package check")
	}
	files, err := generate("github.com/perigee-monitoring/perigee/check", ".")
	if err != nil {
		log.Fatal(err)
	}
	if err := write(os.Args[1], files); err != nil {
		log.Fatal(err)
	}
	if err := writePage(os.Args[2], files); err != nil {
		log.Fatal(err)
	}
}

// write replaces everything in folder by files.
func write(folder string, files map[string][]byte) error {
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	for name, text := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// writePage replaces what is between the marks of the page.
func writePage(name string, files map[string][]byte) error {
	old, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	text, err := paged(string(old), files)
	if err != nil {
		return err
	}
	return os.WriteFile(name, []byte(text), 0o644)
}

// paged is the page with its tables.
func paged(old string, files map[string][]byte) (string, error) {
	before, rest, begun := strings.Cut(old, pageBegin)
	_, after, ended := strings.Cut(rest, pageEnd)
	if !begun || !ended {
		return "", fmt.Errorf("the page has no marks %q and %q", pageBegin, pageEnd)
	}
	tables, err := page(files)
	return before + pageBegin + "\n\n" + tables + "\n" + pageEnd + after, err
}

// generate gives the schemas by their path below the schema folder. source is the
// folder of package check, base the import path that belongs to the current folder.
func generate(base, source string) (map[string][]byte, error) {
	reflector := &jsonschema.Reflector{
		RequiredFromJSONSchemaTags: true,
		DoNotReference:             true,
		ExpandedStruct:             true,
		Anonymous:                  true,
	}
	if err := reflector.AddGoComments(base, source, jsonschema.WithFullComment()); err != nil {
		return nil, fmt.Errorf("reading comments: %w", err)
	}
	files := make(map[string][]byte)
	for _, id := range check.Strategies() {
		kind, _ := check.Strategy(id)
		text, err := schema(reflector, "strategy", kind)
		if err != nil {
			return nil, err
		}
		files["strategy/"+id+".json"] = text
		for _, id := range check.Collectors(id) {
			kind, _ := check.CollectorKind(id)
			text, err := schema(reflector, "collector", kind)
			if err != nil {
				return nil, err
			}
			files["collector/"+id+".json"] = text
		}
	}
	return files, nil
}

func schema(reflector *jsonschema.Reflector, role string, kind check.Kind) ([]byte, error) {
	s := reflector.Reflect(kind.Default)
	s.ID = jsonschema.ID("urn:perigee:" + role + ":" + kind.ID)
	s.Title = kind.Title
	if err := annotate(s, reflect.ValueOf(kind.Default)); err != nil {
		return nil, fmt.Errorf("%s %s: %w", role, kind.ID, err)
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(s); err != nil {
		return nil, err
	}
	return text.Bytes(), nil
}

// annotate adds what the generator does not know: defaults, and our own marks.
func annotate(s *jsonschema.Schema, v reflect.Value) error {
	s.Description = "" // the type's comment speaks to programmers
	for f, value := range v.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		property, ok := s.Properties.Get(name)
		if !ok {
			return fmt.Errorf("no property for field %s", f.Name)
		}
		property.Description = oneLine(property.Description)
		if !value.IsZero() || (value.Kind() == reflect.Bool && !slices.Contains(s.Required, name)) {
			property.Default = value.Interface()
		}
		switch mark := f.Tag.Get("check"); mark {
		case "":
		case "secret", "templatable":
			property.Extras = map[string]any{"x-" + mark: true}
		default:
			return fmt.Errorf("unknown mark %q on field %s", mark, f.Name)
		}
		if f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct {
			if err := annotate(property.Items, reflect.Zero(f.Type.Elem())); err != nil {
				return err
			}
		}
	}
	return nil
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
