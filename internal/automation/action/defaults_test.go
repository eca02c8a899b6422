package action_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/automation/action"
)

// The automations that come with Perigee are valid with the actions that it has.
func TestDefaultAutomationsCompile(t *testing.T) {
	t.Parallel()
	file, err := os.Open("../../../cmd/perigee/automations.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }() // it was only read
	registry := automation.NewRegistry(action.All(action.Services{})...)
	documents := yaml.NewDecoder(file)
	for {
		var doc struct {
			Metadata struct{ Name string }
			Spec     map[string]any
		}
		if err := documents.Decode(&doc); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(doc.Spec)
		if err != nil {
			t.Fatal(err)
		}
		definition, err := automation.ParseDefinition(raw, "spec")
		if err == nil {
			_, err = automation.Compile(automation.Automation{Name: doc.Metadata.Name, Definition: definition}, registry, "spec")
		}
		if err != nil {
			t.Errorf("%s: %v", doc.Metadata.Name, err)
		}
	}
}
