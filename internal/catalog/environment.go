package catalog

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/perigee-monitoring/perigee/internal/diff"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/strictjson"
)

// Environment is a place in which a system exists, such as staging: a check of the
// system runs once for each (spec E.1). Fields are what its runs know of it, as
// {{ environment.KEY }}.
type Environment = check.Environment

// EnvironmentInput is all that people say of an environment. Without an ID it is the
// one that has the name already, else a new one; giving the ID renames it.
type EnvironmentInput struct {
	ID     string         `json:"id,omitempty"`
	Name   string         `json:"name"`
	Fields map[string]any `json:"fields,omitempty"`
}

// Environments gives those that an assignment runs in on one satellite, in the order
// in which the system has them; none is one run without an environment (spec E.2,
// L 230-237). Of the system's, chosen picks: nil is all, an empty list none. Narrowed
// is the same choice again of what chosen left, by the satellite's name; it takes
// away and never adds. Names that the system does not have (any more) pick nothing.
func Environments(of []Environment, chosen []string, narrowed map[string][]string, satellite string) []Environment {
	return pickEnvironments(pickEnvironments(of, chosen), narrowed[satellite])
}

func pickEnvironments(of []Environment, names []string) []Environment {
	if names == nil && len(of) > 0 {
		return of
	}
	var picked []Environment
	for _, env := range of {
		if slices.Contains(names, env.Name) {
			picked = append(picked, env)
		}
	}
	return picked
}

// environments checks what a system has.
func (p *problems) environments(path string, list []EnvironmentInput) {
	if len(list) > MaxEnvironments {
		p.add(path, nil, "must be at most %d environments", MaxEnvironments)
		return
	}
	names, ids := map[string]bool{}, map[string]bool{}
	for i, env := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		p.name(at+".name", env.Name)
		if names[env.Name] {
			p.add(at+".name", env.Name, "is there twice")
		}
		if env.ID != "" && (len(env.ID) > MaxName || !printable(env.ID) || ids[env.ID]) {
			p.add(at+".id", env.ID, "must be printable text of at most %d characters that no other environment of the system has", MaxName)
		}
		names[env.Name], ids[env.ID] = true, true
		p.fields(at+".fields", env.Fields)
	}
}

// fields checks fields of a system's or an environment's own.
func (p *problems) fields(path string, fields map[string]any) {
	text, err := json.Marshal(fields)
	switch {
	case err != nil:
		p.add(path, nil, "must be JSON")
	case len(text) > MaxFields:
		p.add(path, nil, "must be at most %d KiB as JSON", MaxFields>>10)
	}
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if key == "" || len(key) > MaxLabelKey || !printable(key) {
			p.add(path, key, "a field's name is printable text of 1 to %d characters", MaxLabelKey)
		}
	}
}

// environmentsOf makes the inputs environments, which keep the ids that they have.
func environmentsOf(in []EnvironmentInput, before []Environment) []Environment {
	var all []Environment
	held := map[string]bool{}
	for _, env := range in {
		held[env.ID] = true
	}
	for _, env := range in {
		id := env.ID
		if id == "" {
			at := slices.IndexFunc(before, func(e Environment) bool { return e.Name == env.Name && !held[e.ID] })
			if id = newID(); at >= 0 {
				id = before[at].ID
			}
		}
		e := Environment{ID: id, Name: env.Name}
		if len(env.Fields) > 0 {
			e.Fields = env.Fields
		}
		all = append(all, e)
	}
	return all
}

// environmentChoice checks which environments an assignment names: those of its
// system, or that it named already, whose environment may have been taken away.
func (p *problems) environmentChoice(in AssignmentInput, system System, before Assignment) {
	known := make([]string, len(system.Environments))
	for i, env := range system.Environments {
		known[i] = env.Name
	}
	judge := func(path string, names, had []string) {
		for i, name := range names {
			if !slices.Contains(known, name) && !slices.Contains(had, name) {
				p.add(fmt.Sprintf("%s[%d]", path, i), name, "%s", strictjson.Missing("environment of the system", name, known))
			}
		}
	}
	judge("environments", in.Environments, before.Environments)
	for _, satellite := range slices.Sorted(maps.Keys(in.SatelliteEnvironments)) {
		judge("satelliteEnvironments."+satellite, in.SatelliteEnvironments[satellite], before.SatelliteEnvironments[satellite])
	}
}

// limitEnvironments checks a choice as far as that needs no store.
func (p *problems) limitEnvironments(in AssignmentInput) {
	if len(in.Environments) > MaxEnvironments {
		p.add("environments", nil, "must be at most %d names", MaxEnvironments)
	}
	if len(in.SatelliteEnvironments) > MaxNamed {
		p.add("satelliteEnvironments", nil, "must be of at most %d satellites", MaxNamed)
	}
	for _, satellite := range slices.Sorted(maps.Keys(in.SatelliteEnvironments)) {
		if len(in.SatelliteEnvironments[satellite]) > MaxEnvironments {
			p.add("satelliteEnvironments."+satellite, nil, "must be at most %d names", MaxEnvironments)
		}
	}
}

// distinct is a choice in canonical form, in which nothing and an empty list differ.
func distinct(names []string) []string {
	if names == nil {
		return nil
	}
	names = slices.Sorted(slices.Values(names))
	return append([]string{}, slices.Compact(names)...)
}

func narrowings(m map[string][]string) map[string][]string {
	all := map[string][]string{}
	for satellite, names := range m {
		if names != nil { // null is what there is without the key
			all[satellite] = distinct(names)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// renameEnvironments lets the assignments of the system follow its environments that
// have another name now.
func (e *edit) renameEnvironments(before, after System) error {
	renamed := map[string]string{}
	for _, was := range before.Environments {
		for _, now := range after.Environments {
			if was.ID == now.ID && was.Name != now.Name {
				renamed[was.Name] = now.Name
			}
		}
	}
	if len(renamed) == 0 {
		return nil
	}
	follow := func(names []string) []string {
		names = slices.Clone(names)
		for i, name := range names {
			if now, is := renamed[name]; is {
				names[i] = now
			}
		}
		return distinct(names)
	}
	for _, a := range maps.Clone(e.assignments.after) {
		if a.SystemID != after.ID {
			continue
		}
		a.Environments = follow(a.Environments)
		narrowed := map[string][]string{}
		for satellite, names := range a.SatelliteEnvironments {
			narrowed[satellite] = follow(names)
		}
		a.SatelliteEnvironments = narrowings(narrowed)
		if err := e.assignments.put(a); err != nil {
			return err
		}
	}
	return nil
}

// toldOfEnvironments reports whether the environments that a satellite is told of
// for an assignment differ after the edit.
func (e *edit) toldOfEnvironments(t touch, satelliteID string) bool {
	before, after := e.systems.before[t.before.SystemID].Environments, e.systems.after[t.after.SystemID].Environments
	name := e.satellites.after[satelliteID].Name
	was := Environments(before, t.before.Environments, t.before.SatelliteEnvironments, name)
	now := Environments(after, t.after.Environments, t.after.SatelliteEnvironments, name)
	return diff.Text(was) != diff.Text(now)
}

// environmentsAltered reports whether toldOfEnvironments can be true at all.
func (e *edit) environmentsAltered(t touch) bool {
	if t.before == nil || t.after == nil || e.systems == nil || t.before.pair() != t.after.pair() {
		return false
	}
	choice := func(a *Assignment) any { return []any{a.Environments, a.SatelliteEnvironments} }
	return diff.Text(choice(t.before)) != diff.Text(choice(t.after)) ||
		diff.Text(e.systems.before[t.before.SystemID].Environments) != diff.Text(e.systems.after[t.after.SystemID].Environments)
}
