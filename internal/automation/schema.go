package automation

import (
	_ "embed"
	"encoding/json"
	"fmt"
)

//go:generate go test -run TestSchema -update .

// definitionSchema is made of the types in definition.go, by a test that fails when it
// is not what it would make.
//
//go:embed definition.schema.json
var definitionSchema []byte

// Schema is the JSON Schema (draft 2020-12) of a definition with the actions that there
// are and their configurations.
func Schema(actions Actions) (json.RawMessage, error) {
	var schema map[string]any
	if err := json.Unmarshal(definitionSchema, &schema); err != nil {
		return nil, fmt.Errorf("reading the schema of definitions: %w", err)
	}
	defs := schema["$defs"].(map[string]any) // the file is ours, and tested
	events := make([]any, len(eventTypes))
	for i, t := range eventTypes {
		events[i] = map[string]any{"const": t.Type, "description": t.Summary}
	}
	for _, name := range []string{"Trigger", "WaitForTrigger"} {
		properties := defs[name].(map[string]any)["properties"].(map[string]any)
		properties["event"] = map[string]any{"type": "string", "oneOf": events}
	}
	var names, configs []any
	for _, a := range actions.All() {
		names = append(names, map[string]any{"const": a.Name, "description": a.Summary})
		configs = append(configs, map[string]any{
			"if":   map[string]any{"properties": map[string]any{"action": map[string]any{"const": a.Name}}, "required": []string{"action"}},
			"then": map[string]any{"properties": map[string]any{"config": a.Schema()}},
		})
	}
	action := defs["ActionSpec"].(map[string]any)
	if len(names) > 0 {
		action["properties"].(map[string]any)["action"] = map[string]any{"type": "string", "oneOf": names}
		action["allOf"] = configs
	}
	return json.MarshalIndent(schema, "", "  ")
}
