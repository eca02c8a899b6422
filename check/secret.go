package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"
)

// SecretMarker begins the text that stands in a definition where a credential was
// written out (spec H.3). What follows is for people: which value it stands for is told
// by where it stands, so that a copied marker fetches nothing of another place.
const SecretMarker = "__hcsecret__:"

var secretReference = regexp.MustCompile(`\$\{\{\s*secrets\.`)

// RefersToSecret reports whether a text of a config stands for a secret: it is a
// marker, or holds a reference such as ${{ secrets.NAME }} (spec H.3, L.115).
func RefersToSecret(text string) bool {
	return strings.HasPrefix(text, SecretMarker) || secretReference.MatchString(text)
}

// SetTexts is a copy of a config with other texts at the paths, which are such as a.b
// or list[0].x (spec H.3). Only texts that are there are replaced: nothing is made up
// for a path that leads nowhere (L123, L124). The error does not quote the config.
func SetTexts(config json.RawMessage, texts map[string]string) (json.RawMessage, error) {
	if len(texts) == 0 {
		return config, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(config))
	decoder.UseNumber() // written again without loss
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return nil, errors.New("the config is not JSON")
	}
	for path, text := range texts {
		setText(tree, path, text)
	}
	return json.Marshal(tree)
}

// pathStep is one part of a path: a key, or a position in a list.
var pathStep = regexp.MustCompile(`[^.\[\]]+|\[\d+\]`)

func setText(tree any, path, text string) {
	steps := pathStep.FindAllString(path, -1)
	for i, at := range steps {
		last := i == len(steps)-1
		switch node := tree.(type) {
		case map[string]any:
			if _, is := node[at].(string); is && last {
				node[at] = text
			}
			tree = node[at]
		case []any:
			n, err := strconv.Atoi(strings.Trim(at, "[]"))
			if err != nil || n >= len(node) || at[0] != '[' {
				return
			}
			if _, is := node[n].(string); is && last {
				node[n] = text
			}
			tree = node[n]
		default:
			return
		}
	}
}
