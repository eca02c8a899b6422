package catalog

import (
	"cmp"
	"maps"

	"github.com/perigee-monitoring/perigee/internal/diff"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// Entity kinds of the definitions. Their events are KIND.created, KIND.updated
// and KIND.deleted.
const (
	KindSystem     = "system"
	KindCheck      = "check"
	KindAssignment = "assignment"
	// KindMaintenance has the events maintenance.started and maintenance.ended besides.
	KindMaintenance = "maintenance"
)

// Derivers are what changes of definitions mean to automations and to the page.
// The payload is {id, name} and, after a renaming, previousName.
func Derivers() []entity.Deriver {
	var all []entity.Deriver
	for _, kind := range []string{KindSystem, KindCheck, KindAssignment} {
		all = append(all, entity.Deriver{Kind: kind, Types: func(c entity.Change) []string {
			switch {
			case c.Prev == nil:
				return []string{kind + ".created"}
			case c.Next == nil:
				return []string{kind + ".deleted"}
			default:
				return []string{kind + ".updated"}
			}
		}, Payload: payload})
	}
	all = append(all, entity.Deriver{Kind: KindMaintenance, Types: maintenanceEvents, Payload: maintenancePayload})
	return append(all, entity.Deriver{
		Kind: KindSeat, Types: func(entity.Change) []string { return []string{TypeMoved} },
		Payload: func(c entity.Change) any { return c.Next["moved"] },
	})
}

func maintenanceEvents(c entity.Change) []string {
	was, is := c.Prev["active"] == true, c.Next["active"] == true
	var types []string
	switch {
	case was && !is:
		types = append(types, "maintenance.ended")
	case is && !was:
		types = append(types, "maintenance.started")
	}
	switch {
	case c.Prev == nil:
		return append([]string{"maintenance.created"}, types...)
	case c.Next == nil:
		return append(types, "maintenance.deleted")
	case was == is:
		return []string{"maintenance.updated"}
	}
	return types
}

func maintenancePayload(c entity.Change) any {
	of := c.Next
	if of == nil {
		of = c.Prev
	}
	payload := map[string]any{"id": c.ID, "maintenanceId": c.ID, "name": of["name"], "mode": of["mode"], "systems": of["systems"], "checks": of["checks"]}
	maps.Copy(payload, c.About)
	return payload
}

// aboutMaintenance is what its events say of its time, and which systems it covers.
func (e *edit) aboutMaintenance(m *Maintenance) map[string]any {
	about := map[string]any{"systemIds": append([]string{}, e.systemsIn(m)...), "status": "over", "startAt": m.Start, "endAt": m.End}
	from, to, ok := m.Window(e.now)
	if !ok {
		return about
	}
	about["status"], about["startAt"], about["endAt"] = "planned", from, to
	if !e.now.Before(from) {
		about["status"] = "active"
	}
	return about
}

func maintenanceState(m Maintenance) entity.State {
	return entity.State{
		"name": m.Name, "description": m.Description, "labels": labels(m.Labels), "mode": m.Mode, "systems": m.Systems, "checks": m.Checks,
		"start": m.Start, "end": m.End, "schedule": m.Schedule, "endedBefore": m.EndedBefore, "active": m.Active,
	}
}

func payload(c entity.Change) any {
	switch {
	case c.Next == nil:
		return map[string]any{"id": c.ID, "name": c.Prev["name"]}
	case c.Prev != nil && c.Prev["name"] != c.Next["name"]:
		return map[string]any{"id": c.ID, "name": c.Next["name"], "previousName": c.Prev["name"]}
	default:
		return map[string]any{"id": c.ID, "name": c.Next["name"]}
	}
}

func systemState(s System) entity.State {
	return entity.State{
		"name": s.Name, "description": s.Description, "labels": labels(s.Labels),
		"fields": fields(s.Fields), "environments": append([]Environment{}, s.Environments...),
		"dependsOn": append([]string{}, s.DependsOnIDs...),
	}
}

func checkState(c Check) entity.State {
	return entity.State{"name": c.Name, "labels": labels(c.Labels), "spec": diff.Canonical(c.Spec)}
}

// assignmentState names check and system by id, so that renaming one of them is
// no change of the assignment.
func assignmentState(a Assignment) entity.State {
	return entity.State{
		"name": a.Name, "labels": labels(a.Labels), "checkId": a.CheckID, "systemId": a.SystemID,
		"includeLocal": a.IncludeLocal, "satellites": a.Satellites, "enabled": a.Enabled, "policy": a.Policy,
		"environments": a.Environments, "satelliteEnvironments": narrowings(a.SatelliteEnvironments),
	}
}

func satelliteState(s fleet.Satellite) entity.State {
	s.Tags = labels(s.Tags)
	return fleet.RecordChange(nil, &s, entity.Actor{}).Next
}

// labels makes no labels and an empty map the same.
func labels(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// fields makes no fields and an empty map the same.
func fields(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// changes are the alterations as the recorder wants them.
func (all altered) changes(actor entity.Actor, e *edit) []entity.Change {
	var changes []entity.Change
	for _, a := range all.satellites {
		changes = append(changes, fleet.RecordChange(a.before, a.after, actor))
	}
	changes = append(changes, changesOf(KindSystem, all.systems, systemState, actor)...)
	changes = append(changes, changesOf(KindCheck, all.checks, func(c Check) entity.State { return checkState(e.hidden(c)) }, actor)...)
	for i, c := range changesOf(KindMaintenance, all.maintenances, maintenanceState, actor) {
		a := all.maintenances[i]
		c.About = e.aboutMaintenance(cmp.Or(a.after, a.before))
		changes = append(changes, c)
	}
	return append(changes, changesOf(KindAssignment, all.assignments, assignmentState, actor)...)
}

func changesOf[T any](kind string, alterations []alteration[T], state func(T) entity.State, actor entity.Actor) []entity.Change {
	var changes []entity.Change
	for _, a := range alterations {
		c := entity.Change{Kind: kind, ID: a.id, Actor: actor}
		if a.before != nil {
			c.Prev = state(*a.before)
		}
		if a.after != nil {
			c.Next = state(*a.after)
		}
		changes = append(changes, c)
	}
	return changes
}
