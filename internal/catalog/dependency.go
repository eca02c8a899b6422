package catalog

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/perigee-monitoring/perigee/internal/strictjson"
)

// MaxDependencies is the most systems that one system depends on directly.
const MaxDependencies = 100

// dependencies checks what a system says that it depends on, as far as that needs no store.
func (p *problems) dependencies(path string, refs []string) {
	if len(refs) > MaxDependencies {
		p.add(path, nil, "must be at most %d systems", MaxDependencies)
	}
}

// depend fills in what the system depends on, and says which of it there is not.
// Systems that the same edit is about to make are known by their names.
func (e *edit) depend(s System, refs []string) (System, problems) {
	var p problems
	s.DependsOnIDs, s.DependsOn = nil, nil
	for i, ref := range refs {
		id, name := e.coming[ref], ref
		if id == "" {
			on, ok := e.systems.get(ref)
			if !ok {
				p.add(fmt.Sprintf("dependsOn[%d]", i), ref, "%s", strictjson.Missing("system", ref, e.systems.names()))
				continue
			}
			id, name = on.ID, on.Name
		}
		if !slices.Contains(s.DependsOnIDs, id) {
			s.DependsOnIDs, s.DependsOn = append(s.DependsOnIDs, id), append(s.DependsOn, name)
		}
	}
	slices.Sort(s.DependsOnIDs)
	slices.Sort(s.DependsOn)
	return s, p
}

// cycle is the way from the system back to itself over dependencies, by names:
// "shop → database → shop"; "" when there is none.
func (e *edit) cycle(from string) string {
	name := func(id string) string { return e.systems.after[id].Name }
	seen := map[string]bool{}
	var walk func(id string, way []string) string
	walk = func(id string, way []string) string {
		for _, on := range e.systems.after[id].DependsOnIDs {
			if on == from {
				return strings.Join(append(way, name(on)), " → ")
			}
			if seen[on] {
				continue
			}
			seen[on] = true
			if found := walk(on, append(slices.Clone(way), name(on))); found != "" {
				return found
			}
		}
		return ""
	}
	return walk(from, []string{name(from)})
}

// undepend takes a removed system out of those that depend on it.
func (e *edit) undepend(removed System) error {
	for _, s := range maps.Clone(e.systems.after) {
		at := slices.Index(s.DependsOnIDs, removed.ID)
		if at < 0 {
			continue
		}
		s.DependsOnIDs = slices.Delete(slices.Clone(s.DependsOnIDs), at, at+1)
		s.DependsOn = slices.DeleteFunc(slices.Clone(s.DependsOn), func(name string) bool { return name == removed.Name })
		if err := e.systems.put(s); err != nil {
			return err
		}
	}
	return nil
}

// dependenciesAltered reports whether a system depends on other systems than before.
func dependenciesAltered(a alteration[System]) bool {
	var before []string
	if a.before != nil {
		before = a.before.DependsOnIDs
	}
	return a.after != nil && !slices.Equal(before, a.after.DependsOnIDs)
}
