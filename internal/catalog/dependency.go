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

// circlesFrom finds systems that depend on themselves in the end, at or behind those: at
// most one circle from each of them, and one of several that share systems, so that each
// system is walked through once. None is found only when there is none.
func (e *edit) circlesFrom(ids ...string) (circles [][]string) {
	walked, place := map[string]bool{}, map[string]int{} // place of those that are on the way
	var way []string
	var walk func(id string) (circle []string)
	walk = func(id string) (circle []string) {
		walked[id], place[id] = true, len(way)
		way = append(way, id)
		for _, on := range e.systems.after[id].DependsOnIDs {
			if at, is := place[on]; is {
				circle = slices.Clone(way[at:])
			} else if !walked[on] {
				circle = walk(on)
			}
			if circle != nil {
				break
			}
		}
		way = way[:len(way)-1]
		delete(place, id)
		return circle
	}
	for _, id := range ids {
		if walked[id] {
			continue
		}
		if circle := walk(id); circle != nil {
			circles = append(circles, circle)
		}
	}
	return circles
}

// around tells a circle by names: "shop → database → shop". Of a long one it tells the
// first and the last.
func (e *edit) around(circle []string) string {
	const most = 20
	var names []string
	for i, id := range circle {
		switch {
		case i < most/2 || i >= len(circle)-most/2:
			names = append(names, e.systems.after[id].Name)
		case i == most/2:
			names = append(names, fmt.Sprintf("%d more", len(circle)-most))
		}
	}
	return strings.Join(append(names, names[0]), " → ")
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
