package satellite

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"

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

// withSecrets is a copy of the config with the values at their paths, which are such
// as a.b or list[0].x. Only texts that are there are replaced: a path that leads
// nowhere belongs to an older config, and nothing is made up for it (L.123, L.124).
func withSecrets(config json.RawMessage, values map[string]string) (json.RawMessage, error) {
	if len(values) == 0 {
		return config, nil
	}
	tree, err := decodeTree(config)
	if err != nil {
		return nil, errors.New("the config is not JSON") // the decoder's words would quote it
	}
	for path, value := range values {
		replace(tree, path, value)
	}
	return json.Marshal(tree)
}

// step is one part of a path: a key, or a position in a list.
var step = regexp.MustCompile(`[^.\[\]]+|\[\d+\]`)

func replace(tree any, path, value string) {
	steps := step.FindAllString(path, -1)
	for i, at := range steps {
		last := i == len(steps)-1
		switch node := tree.(type) {
		case map[string]any:
			if _, text := node[at].(string); text && last {
				node[at] = value
			}
			tree = node[at]
		case []any:
			n, err := strconv.Atoi(strings.Trim(at, "[]"))
			if err != nil || n >= len(node) || at[0] != '[' {
				return
			}
			if _, text := node[n].(string); text && last {
				node[n] = value
			}
			tree = node[n]
		default:
			return
		}
	}
}
