package packages

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"deps.dev/util/semver"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
)

// manifest is what a registry says of one version.
type manifest struct {
	Deprecated   anything `json:"deprecated"`
	Dependencies ranges   `json:"dependencies"`
	Optional     ranges   `json:"optionalDependencies"`
	Peers        ranges   `json:"peerDependencies"`
	PeersMeta    map[string]struct {
		Optional bool `json:"optional"`
	} `json:"peerDependenciesMeta"`
	Bundle  bundle   `json:"bundleDependencies"`
	Bundled bundle   `json:"bundledDependencies"`
	OS      anything `json:"os"`
	CPU     anything `json:"cpu"`
	Libc    anything `json:"libc"`
	Dist    struct {
		Integrity string `json:"integrity"`
		Tarball   string `json:"tarball"`
	} `json:"dist"`
}

// platform reports whether the version is for some platforms only.
func (m *manifest) platform() bool { return bool(m.OS || m.CPU || m.Libc) }

// brings reports whether the tarball brings the dependency along.
func (m *manifest) brings(name string) bool {
	return m.Bundle.all || m.Bundled.all || slices.Contains(m.Bundle.names, name) || slices.Contains(m.Bundled.names, name)
}

// anything is whether a member is there and says something.
type anything bool

func (a *anything) UnmarshalJSON(text []byte) error {
	switch string(text) {
	case "null", "false", `""`, "[]":
	default:
		*a = true
	}
	return nil
}

// ranges are dependencies by name. Registries have kept whatever was once published,
// such as a list where an object should be: then there are none.
type ranges map[string]string

func (r *ranges) UnmarshalJSON(text []byte) error {
	var all map[string]json.RawMessage
	if json.Unmarshal(text, &all) != nil {
		return nil
	}
	*r = make(ranges, len(all))
	for name, raw := range all {
		var spec string
		if json.Unmarshal(raw, &spec) == nil {
			(*r)[name] = spec
		}
	}
	return nil
}

// bundle is a list of names, or true for all.
type bundle struct {
	all   bool
	names []string
}

func (b *bundle) UnmarshalJSON(text []byte) error {
	if json.Unmarshal(text, &b.all) != nil {
		_ = json.Unmarshal(text, &b.names) // neither is none
	}
	return nil
}

// ordered is one version of a document.
type ordered struct {
	text    string
	version *semver.Version
}

// newestFirst is the versions that are versions.
func (d *document) newestFirst() []ordered {
	if d.order != nil || len(d.versions) == 0 {
		return d.order
	}
	for text := range d.versions {
		if scriptpkg.CheckVersion(text) != nil {
			continue
		}
		if v, err := semver.NPM.Parse(text); err == nil {
			d.order = append(d.order, ordered{text, v})
		}
	}
	slices.SortFunc(d.order, func(a, b ordered) int {
		return cmp.Or(b.version.Compare(a.version), cmp.Compare(b.text, a.text))
	})
	return d.order
}

// manifest reads what the document says of a version.
func (d *document) manifest(version string) (*manifest, error) {
	text, ok := d.versions[version]
	if !ok || scriptpkg.CheckVersion(version) != nil {
		return nil, fault.New(fault.NotFound, "there is no %s@%s%s", d.name, version, d.offers())
	}
	m := new(manifest)
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "what the registry says of %s@%s cannot be read", d.name, version)
	}
	if _, err := scriptpkg.ParseIntegrity(m.Dist.Integrity); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "%s@%s has no sha512 at the registry, so what is downloaded could not be verified", d.name, version)
	}
	return m, nil
}

// offers names the newest versions, for who asked for one that is not there.
func (d *document) offers() string {
	var all []string
	for _, v := range d.newestFirst() {
		if !v.version.IsPrerelease() {
			all = append(all, v.text)
		}
	}
	if len(all) == 0 {
		return ""
	}
	return "; the newest are " + strings.Join(all[:min(3, len(all))], ", ")
}

// spec is what a dependency asks for: a package, perhaps under another name, and
// which versions of it will do.
type spec struct {
	name     string // of the folder in node_modules
	of       string // the package's own name
	text     string
	versions *semver.Constraint // nil: a tag
}

// parseSpec reads a dependency as npm does: a range, a tag, or npm:other@range. What
// would come from elsewhere than the registry is refused.
func parseSpec(name, text string) (spec, error) {
	s := spec{name: name, of: name, text: strings.TrimSpace(text)}
	if rest, alias := strings.CutPrefix(s.text, "npm:"); alias {
		s.of, s.text = rest, ""
		if i := strings.LastIndex(rest, "@"); i > 0 {
			s.of, s.text = rest[:i], rest[i+1:]
		}
	}
	for _, n := range []string{s.name, s.of} {
		if err := scriptpkg.CheckName(n); err != nil {
			return spec{}, fault.Wrap(fault.Invalid, err, "the dependency %q has an impossible name", n)
		}
	}
	if strings.ContainsAny(s.text, ":/") {
		return spec{}, fault.New(fault.Invalid, "the dependency %s is %q, which is not in the registry", name, text)
	}
	if constraint, err := semver.NPM.ParseConstraint(s.text); err == nil {
		s.versions = constraint
	}
	return s, nil
}

func (s spec) String() string {
	if s.of != s.name {
		return fmt.Sprintf("%s (%s@%s)", s.name, s.of, s.text)
	}
	return s.name + "@" + s.text
}

// anyVersion is a range that even takes versions before the first release.
func (s spec) anyVersion() bool { return s.text == "" || s.text == "*" }

// takes reports whether a version will do. Tags are of the document.
func (s spec) takes(d *document, version string) bool {
	if s.versions == nil {
		return d.tags[s.text] == version
	}
	return s.anyVersion() || s.versions.Match(version)
}

// pick is the version that npm would choose, with the other requirements met too if
// that can be: what the tag latest names if it will do, else the newest, else the
// newest that is deprecated.
func (d *document) pick(s spec, others ...spec) (string, *manifest, error) {
	takes := func(version string) bool {
		if !s.takes(d, version) {
			return false
		}
		for _, other := range others {
			if !other.takes(d, version) {
				return false
			}
		}
		return true
	}
	if latest := d.tags["latest"]; latest != "" && takes(latest) {
		if m, err := d.manifest(latest); err == nil && !bool(m.Deprecated) {
			return latest, m, nil
		}
	}
	var deprecated string
	for _, v := range d.newestFirst() {
		if !takes(v.text) {
			continue
		}
		m, err := d.manifest(v.text)
		if err != nil {
			return "", nil, err
		}
		if !bool(m.Deprecated) {
			return v.text, m, nil
		}
		deprecated = cmp.Or(deprecated, v.text)
	}
	if deprecated != "" {
		m, err := d.manifest(deprecated)
		return deprecated, m, err
	}
	if len(others) > 0 {
		return d.pick(s)
	}
	return "", nil, fault.New(fault.NotFound, "no version of %s is %s%s", s.of, cmp.Or(s.text, "*"), d.offers())
}
