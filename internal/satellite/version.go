package satellite

import (
	"strings"

	"deps.dev/util/semver"
)

// npmVersions judges versions as npm does.
type npmVersions struct{}

func (npmVersions) Compare(a, b string) int { return semver.NPM.Compare(a, b) }

// Satisfies is false for what is no range of versions: a tag, an address.
func (npmVersions) Satisfies(version, constraint string) bool {
	if alias, ok := strings.CutPrefix(constraint, "npm:"); ok {
		if i := strings.LastIndex(alias, "@"); i > 0 {
			constraint = alias[i+1:]
		}
	}
	c, err := semver.NPM.ParseConstraint(constraint)
	return err == nil && c.Match(version)
}
