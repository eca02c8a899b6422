package check

import (
	"embed"
	"encoding/json"
)

//go:generate go run ../internal/schemagen schema ../docs/checks.md

//go:embed schema
var schemas embed.FS

// StrategySchema is the JSON Schema (2020-12) of a strategy's config, made from
// its struct. Beside the standard words it uses "x-secret" and "x-templatable".
func StrategySchema(id string) (json.RawMessage, bool) { return schema("strategy", id) }

// CollectorSchema is the JSON Schema (2020-12) of a collector's config.
func CollectorSchema(id string) (json.RawMessage, bool) { return schema("collector", id) }

func schema(folder, id string) (json.RawMessage, bool) {
	text, err := schemas.ReadFile("schema/" + folder + "/" + id + ".json")
	return text, err == nil
}
