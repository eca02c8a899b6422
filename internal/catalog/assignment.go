package catalog

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/strictjson"
)

// AssignmentInput is all that people say of an assignment.
type AssignmentInput struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	// Check and System are names or ids.
	Check  string `json:"check"`
	System string `json:"system"`
	// IncludeLocal and Enabled are true when absent.
	IncludeLocal *bool    `json:"includeLocal,omitempty"`
	Satellites   Selector `json:"satellites,omitzero"`
	Enabled      *bool    `json:"enabled,omitempty"`
	// Policy is the original's when absent: each result counts, the worst location wins.
	Policy check.Policy `json:"policy,omitzero"`
	// Environments and SatelliteEnvironments are as those of Assignment: absent and an
	// empty list differ.
	Environments          []string            `json:"environments,omitzero"`
	SatelliteEnvironments map[string][]string `json:"satelliteEnvironments,omitempty"`
}

func orTrue(b *bool) bool { return b == nil || *b }

// validate checks what can be judged without the store.
func (in AssignmentInput) validate() problems {
	var p problems
	p.name("name", in.Name)
	p.labels("labels", in.Labels)
	if in.Check == "" {
		p.add("check", nil, "must name a check")
	}
	if in.System == "" {
		p.add("system", nil, "must name a system")
	}
	p.limitEnvironments(in)
	// What is disabled needs no place to run; the satellite it named may be deleted.
	p.selector("satellites", in.Satellites, orTrue(in.IncludeLocal) || !orTrue(in.Enabled))
	p.policy("policy", in.Policy)
	return p
}

// resolve gives the assignment that in makes of a, and what in refers to in vain.
// A satellite that does not exist is an error, since a misspelt name would run
// nowhere and nobody would know; a name that a has already is let be, because its
// satellite may have been deleted when names were left behind.
func (in AssignmentInput) resolve(ctx context.Context, e *edit, a Assignment) (Assignment, problems, error) {
	var p problems
	run, ok := e.checks.get(in.Check)
	if !ok && in.Check != "" {
		p.add("check", in.Check, "%s", strictjson.Missing("check", in.Check, e.checks.names()))
	}
	system, ok := e.systems.get(in.System)
	if !ok && in.System != "" {
		p.add("system", in.System, "%s", strictjson.Missing("system", in.System, e.systems.names()))
	}
	for i, name := range in.Satellites.Names {
		had := slices.Contains(a.Satellites.Names, name)
		if had && run.ID == a.CheckID {
			continue
		}
		if err := e.loadSatellites(ctx); err != nil {
			return a, nil, err
		}
		sat, ok := e.satellites.named(name)
		if !ok {
			if !had {
				p.add(fmt.Sprintf("satellites.names[%d]", i), name, "%s", strictjson.Missing("satellite", name, e.satellites.names()))
			}
			continue
		}
		if why := Unable(sat.Inventory, run.Spec); why != "" && run.ID != "" {
			p.add(fmt.Sprintf("satellites.names[%d]", i), name, "%s; or name another", why)
		}
	}
	p.environmentChoice(in, system, a)
	if in.SatelliteEnvironments != nil {
		if err := e.loadSatellites(ctx); err != nil {
			return a, nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(in.SatelliteEnvironments)) {
		if _, had := a.SatelliteEnvironments[name]; had {
			continue
		}
		if _, ok := e.satellites.ids[name]; !ok {
			p.add("satelliteEnvironments."+name, nil, "%s", strictjson.Missing("satellite", name, e.satellites.names()))
		}
	}
	a.Name, a.Labels = in.Name, labels(in.Labels)
	a.Environments, a.SatelliteEnvironments = distinct(in.Environments), narrowings(in.SatelliteEnvironments)
	a.CheckID, a.SystemID = run.ID, system.ID
	a.IncludeLocal, a.Satellites, a.Enabled = orTrue(in.IncludeLocal), in.Satellites.canonical(), orTrue(in.Enabled)
	a.Policy = in.Policy
	return a, p, nil
}

// CreateAssignment makes an assignment. Faults: Invalid, Conflict when the name
// is taken or check and system are joined already.
func (c *Catalog) CreateAssignment(ctx context.Context, actor entity.Actor, in AssignmentInput) (Assignment, error) {
	id := newID()
	return c.putAssignment(ctx, actor, in, func(*edit) (Assignment, error) { return Assignment{ID: id}, nil })
}

// UpdateAssignment replaces an assignment, named by id or name. Faults: Invalid,
// NotFound, Conflict.
func (c *Catalog) UpdateAssignment(ctx context.Context, actor entity.Actor, ref string, in AssignmentInput) (Assignment, error) {
	return c.putAssignment(ctx, actor, in, func(e *edit) (Assignment, error) { return e.assignments.need(ref) })
}

func (c *Catalog) putAssignment(ctx context.Context, actor entity.Actor, in AssignmentInput, find func(*edit) (Assignment, error)) (Assignment, error) {
	wrong := in.validate()
	var id string
	err := c.change(ctx, actor, false, func(e *edit) error {
		a, err := find(e)
		if err != nil {
			return err
		}
		a, dangling, err := in.resolve(ctx, e, a)
		if err != nil {
			return err
		}
		if err := slices.Concat(wrong, dangling).fault("the assignment is not valid"); err != nil {
			return err
		}
		id = a.ID
		if holder, held := e.holder(a); held {
			return taken("system", in.System, "assignment %q joins this check and this system already", holder.Name)
		}
		return e.assignments.put(a)
	})
	if err != nil {
		return Assignment{}, err
	}
	return c.store.Assignment(ctx, id)
}

// holder is the other assignment of the same pair, if any.
func (e *edit) holder(a Assignment) (Assignment, bool) {
	for id, other := range e.assignments.after {
		if id != a.ID && other.pair() == a.pair() {
			return other, true
		}
	}
	return Assignment{}, false
}

// DeleteAssignment removes an assignment, named by id or name. Fault: NotFound.
func (c *Catalog) DeleteAssignment(ctx context.Context, actor entity.Actor, ref string) error {
	return c.change(ctx, actor, false, func(e *edit) error {
		a, err := e.assignments.need(ref)
		if err != nil {
			return err
		}
		e.assignments.remove(a.ID)
		return nil
	})
}

// removeAssignments removes those that match and says which.
func (e *edit) removeAssignments(match func(Assignment) bool) Removed {
	removed := Removed{Assignments: []string{}}
	for id, a := range maps.Clone(e.assignments.after) {
		if match(a) {
			e.assignments.remove(id)
			removed.Assignments = append(removed.Assignments, a.Name)
		}
	}
	slices.Sort(removed.Assignments)
	return removed
}
