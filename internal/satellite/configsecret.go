package satellite

import (
	"bytes"
	"encoding/json"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// wantsConfigSecrets reports whether a text of the assignment's configs refers to a
// secret that the core has to give first (spec H.3).
func wantsConfigSecrets(a *protocol.Assignment) bool {
	if refersToSecrets(a.Config) {
		return true
	}
	for _, c := range a.Collectors {
		if refersToSecrets(c.Config) {
			return true
		}
	}
	return false
}

// refersToSecrets looks at every text at any depth, except below a key named
// secretEnv: those are leased one by one (L.115 to L.119, L.122).
func refersToSecrets(config json.RawMessage) bool {
	// Most configs hold no secrets, and this is asked for every run.
	if !bytes.Contains(config, []byte("secret")) && !bytes.Contains(config, []byte(`\u`)) {
		return false
	}
	tree, err := decodeTree(config)
	return err == nil && refers(tree)
}

func refers(v any) bool {
	switch v := v.(type) {
	case string:
		return check.RefersToSecret(v)
	case []any:
		for _, item := range v {
			if refers(item) {
				return true
			}
		}
	case map[string]any:
		for key, item := range v {
			if key != "secretEnv" && refers(item) {
				return true
			}
		}
	}
	return false
}

// decodeTree reads a config so that it can be written again without loss.
func decodeTree(config json.RawMessage) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(config))
	decoder.UseNumber()
	var tree any
	err := decoder.Decode(&tree)
	return tree, err
}
