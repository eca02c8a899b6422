package automation

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
	"github.com/rogpeppe/go-internal/txtar"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// JSONSchemaExtend says that an expression stands for a condition.
func (Condition) JSONSchemaExtend(s *jsonschema.Schema) {
	object := *s
	one := uint64(1)
	object.MinProperties, object.MaxProperties = &one, &one
	*s = jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string", Description: "An expression that is true or false."}, {Type: "boolean"}, &object}}
}

// JSONSchemaExtend says that one of the fields is given.
func (Duration) JSONSchemaExtend(s *jsonschema.Schema) {
	one := uint64(1)
	s.MaxProperties = &one
}

// TestSchema makes the schema of definitions of their types, and holds it against the
// definitions of the case files: what is refused for its form by one is by both.
func TestSchema(t *testing.T) {
	t.Parallel()
	reflector := &jsonschema.Reflector{RequiredFromJSONSchemaTags: true}
	if err := reflector.AddGoComments("github.com/perigee-monitoring/perigee/internal/automation", ".", jsonschema.WithFullComment()); err != nil {
		t.Fatal(err)
	}
	made := reflector.Reflect(Definition{})
	made.ID = "https://perigee.dev/schema/automation.json"
	made.Title = "Automation"
	text, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if *update {
		if err := os.WriteFile("definition.schema.json", text, 0o644); err != nil {
			t.Fatal(err)
		}
		definitionSchema = text
	}
	if diff := cmp.Diff(string(definitionSchema), string(text)); diff != "" {
		t.Fatalf("definition.schema.json is old: go generate ./internal/automation (-is +would be):\n%s", diff)
	}

	whole, err := Schema(testActions())
	if err != nil {
		t.Fatal(err)
	}
	document, err := validator.UnmarshalJSON(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	compiler := validator.NewCompiler()
	if err := compiler.AddResource("automation.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("automation.json")
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var tree any
		if err := yaml.Unmarshal(archive.Files[0].Data, &tree); err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		instance, err := validator.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		_, refused := compileCase(archive.Files[0].Data)
		if invalid := schema.Validate(instance); (invalid == nil) != (refused == nil) {
			t.Errorf("%s: the schema says %v, and Compile %v", file, invalid, refused)
		}
	}
}
