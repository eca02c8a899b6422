package scriptpkg

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// Bounds of a tree that is laid out here.
const (
	maxPlaces = 50_000
	maxNested = 32 // versions that need each other in turn would nest without end
)

// Place is where one package lies in a tree.
type Place struct {
	Path  string // such as "node_modules/a/node_modules/@s/b"
	Entry int    // which of the manifest's
}

// needs is what a package says of itself: the ranges of what it imports, and what
// it brings along in its own node_modules.
type needs struct {
	ranges  map[string]string
	bundled map[string]bool
}

// layout is where each package of a manifest lies. Our core says so; for what an
// original core sends it is worked out from what the packages say they need, such
// that each finds a version that satisfies it where the manifest has one (spec M84).
func layout(entries []Entry, read func(Entry) (needs, error), versions Versions) ([]Place, error) {
	said := slices.IndexFunc(entries, func(e Entry) bool { return len(e.Paths) > 0 })
	if said >= 0 {
		return placesSaid(entries)
	}
	p := planner{entries: entries, versions: versions, byName: map[string][]int{}, at: map[string]int{}}
	if err := p.learn(read); err != nil {
		return nil, err
	}
	if err := p.plan(); err != nil {
		return nil, err
	}
	places := make([]Place, 0, len(p.at))
	for where, entry := range p.at {
		places = append(places, Place{where, entry})
	}
	sortPlaces(places)
	return places, nil
}

// sortPlaces puts outer places before inner ones.
func sortPlaces(places []Place) {
	slices.SortFunc(places, func(a, b Place) int {
		return cmp.Or(cmp.Compare(strings.Count(a.Path, "/node_modules/"), strings.Count(b.Path, "/node_modules/")), cmp.Compare(a.Path, b.Path))
	})
}

func placesSaid(entries []Entry) ([]Place, error) {
	var places []Place
	at := map[string]bool{}
	for i, e := range entries {
		if len(e.Paths) == 0 {
			return nil, fmt.Errorf("the manifest does not say where %s@%s lies", e.Name, e.Version)
		}
		for _, where := range e.Paths {
			if at[where] {
				return nil, fmt.Errorf("the manifest puts two packages at %s", where)
			}
			at[where] = true
			places = append(places, Place{where, i})
		}
	}
	for where := range at {
		if i := strings.LastIndex(where, "/node_modules/"); i >= 0 && !at[where[:i]] {
			return nil, fmt.Errorf("the manifest puts a package at %s, where there is none around it", where)
		}
	}
	sortPlaces(places)
	return places, nil
}

// planner lays a tree out as its packages need it.
type planner struct {
	entries  []Entry
	versions Versions
	byName   map[string][]int // entries, the highest version first
	needs    []needs          // by entry
	at       map[string]int   // entries by place
}

func (p *planner) learn(read func(Entry) (needs, error)) error {
	p.needs = make([]needs, len(p.entries))
	several := false
	for i, e := range p.entries {
		n, err := read(e)
		if err != nil {
			return fmt.Errorf("reading what %s@%s needs: %w", e.Name, e.Version, err)
		}
		p.needs[i] = n
		if slices.ContainsFunc(p.byName[e.Name], func(j int) bool { return p.entries[j].Version == e.Version }) {
			continue // said twice
		}
		p.byName[e.Name] = append(p.byName[e.Name], i)
		several = several || len(p.byName[e.Name]) > 1
	}
	if several && p.versions == nil {
		return errors.New("a package is there in several versions, and nothing judges between them")
	}
	for _, all := range p.byName {
		slices.SortFunc(all, func(i, j int) int { return p.compare(p.entries[j].Version, p.entries[i].Version) })
	}
	return nil
}

func (p *planner) compare(a, b string) int {
	if p.versions == nil || a == b {
		return 0
	}
	return cmp.Or(p.versions.Compare(a, b), cmp.Compare(a, b))
}

// choose is the entry that a range should get: the highest version in it, or the
// highest there is; false when the manifest has none, as for optional packages of
// another platform.
func (p *planner) choose(name, constraint string) (int, bool) {
	all := p.byName[name]
	if len(all) == 0 {
		return 0, false
	}
	for _, i := range all {
		if len(all) == 1 || p.versions.Satisfies(p.entries[i].Version, constraint) {
			return i, true
		}
	}
	return all[0], true
}

func (p *planner) satisfied(entry int, name, constraint string) bool {
	if len(p.byName[name]) == 1 {
		return true
	}
	wanted, _ := p.choose(name, constraint)
	return entry == wanted || p.versions.Satisfies(p.entries[entry].Version, constraint)
}

func (p *planner) plan() error {
	for name, entry := range p.top() {
		p.at["node_modules/"+name] = entry
	}
	for _, where := range slices.Sorted(maps.Keys(p.at)) {
		if err := p.provide(where); err != nil {
			return err
		}
	}
	return nil
}

// top is what lies at the root, where scripts look. A version that nothing claims
// is there because somebody asked for it, so it comes first; else it is the highest.
func (p *planner) top() map[string]int {
	claimed := map[int]bool{}
	for _, n := range p.needs {
		for name, constraint := range n.ranges {
			if i, ok := p.choose(name, constraint); ok && !n.bundled[name] {
				claimed[i] = true
			}
		}
	}
	top := make(map[string]int, len(p.byName))
	for name, all := range p.byName {
		top[name] = all[0]
		if i := slices.IndexFunc(all, func(i int) bool { return !claimed[i] }); i >= 0 {
			top[name] = all[i]
		}
	}
	return top
}

// provide sees to it that the package at a place finds what it needs, and what is
// put there for it as well. All that it needs itself comes first: what lies in its
// node_modules is found by everything below.
func (p *planner) provide(where string) error {
	n := p.needs[p.at[where]]
	var added []string
	for _, name := range slices.Sorted(maps.Keys(n.ranges)) {
		wanted, there := p.choose(name, n.ranges[name])
		if !there || n.bundled[name] {
			continue
		}
		if found, ok := resolve(where, name, p.at); ok && p.satisfied(found, name, n.ranges[name]) {
			continue
		}
		inner := where + "/node_modules/" + name
		if len(p.at) >= maxPlaces || strings.Count(inner, "/node_modules/") > maxNested || len(inner) > maxTreePath {
			return fmt.Errorf("the packages need each other in too many versions: no place for %s", name)
		}
		p.at[inner] = wanted
		added = append(added, inner)
	}
	for _, inner := range added {
		if err := p.provide(inner); err != nil {
			return err
		}
	}
	return nil
}

// resolve is Node's algorithm: what the package at a place gets when it asks for a
// name.
func resolve(where, name string, at map[string]int) (int, bool) {
	for dir := where; ; dir = path.Dir(dir) {
		if path.Base(dir) != "node_modules" {
			if entry, ok := at[path.Join(dir, "node_modules", name)]; ok {
				return entry, true
			}
		}
		if dir == "." {
			return 0, false
		}
	}
}
