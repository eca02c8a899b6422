package main

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/manifest"
)

// policyFlag reads a policy as it is written behind --policy: YAML, of which JSON
// is one form. What its values may be is for the core to say.
func policyFlag(text string) (check.Policy, error) {
	var p check.Policy
	docs, err := manifest.ParseAs(catalog.DocAssignment, "--policy", strings.NewReader(text))
	if err != nil {
		return p, err
	}
	if len(docs) == 0 {
		return p, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(docs[0].Spec))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		return p, usage("", "--policy: %w", err)
	}
	return p, nil
}

// policyText is a policy as people write it, on one line.
func policyText(p check.Policy) string {
	text, err := encoded(p)
	if err != nil || p == (check.Policy{}) {
		return "each result counts, the worst place wins"
	}
	return strings.TrimSpace(string(text))
}
