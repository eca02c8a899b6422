package catalog

import (
	"context"

	"github.com/perigee-monitoring/perigee/internal/entity"
)

// SystemInput is all that people say of a system.
type SystemInput struct {
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	// Fields are told to satellites as the system's metadata (spec E.1).
	Fields       map[string]any     `json:"fields,omitempty"`
	Environments []EnvironmentInput `json:"environments,omitempty"`
	// DependsOn are names or ids of systems.
	DependsOn []string `json:"dependsOn,omitempty"`
}

func (in SystemInput) validate() problems {
	var p problems
	p.name("name", in.Name)
	p.description("description", in.Description)
	p.labels("labels", in.Labels)
	p.fields("fields", in.Fields)
	p.environments("environments", in.Environments)
	p.dependencies("dependsOn", in.DependsOn)
	return p
}

func (in SystemInput) apply(s System) System {
	s.Name, s.Description, s.Labels = in.Name, in.Description, labels(in.Labels)
	s.Fields, s.Environments = fields(in.Fields), environmentsOf(in.Environments, s.Environments)
	return s
}

// Removed is what went with a definition that was deleted.
type Removed struct {
	// Assignments are the names of the deleted definition's assignments.
	Assignments []string `json:"assignments"`
}

// CreateSystem makes a system. Faults: Invalid, Conflict.
func (c *Catalog) CreateSystem(ctx context.Context, actor entity.Actor, in SystemInput) (System, error) {
	id := newID()
	return c.putSystem(ctx, actor, in, func(*edit) (System, error) { return System{ID: id}, nil })
}

// UpdateSystem replaces a system, named by id or name. Faults: Invalid, NotFound, Conflict.
func (c *Catalog) UpdateSystem(ctx context.Context, actor entity.Actor, ref string, in SystemInput) (System, error) {
	return c.putSystem(ctx, actor, in, func(e *edit) (System, error) { return e.systems.need(ref) })
}

func (c *Catalog) putSystem(ctx context.Context, actor entity.Actor, in SystemInput, find func(*edit) (System, error)) (System, error) {
	if err := in.validate().fault("the system is not valid"); err != nil {
		return System{}, err
	}
	var id string
	err := c.change(ctx, actor, false, func(e *edit) error {
		s, err := find(e)
		if err != nil {
			return err
		}
		id = s.ID
		after, dangling := e.depend(in.apply(s), in.DependsOn)
		if err := dangling.fault("the system is not valid"); err != nil {
			return err
		}
		if err := e.putSystem(s, after); err != nil {
			return err
		}
		var p problems
		for _, circle := range e.circlesFrom(id) {
			p.add("dependsOn", in.DependsOn, "would be a circle: %s", e.around(circle))
		}
		return p.fault("the system is not valid")
	})
	if err != nil {
		return System{}, err
	}
	return c.store.System(ctx, id)
}

// putSystem puts the system in the place of before.
func (e *edit) putSystem(before, after System) error {
	if err := e.systems.put(after); err != nil {
		return err
	}
	return e.renameEnvironments(before, after)
}

// DeleteSystem removes a system, named by id or name, and its assignments.
// Fault: NotFound.
func (c *Catalog) DeleteSystem(ctx context.Context, actor entity.Actor, ref string) (Removed, error) {
	var removed Removed
	err := c.change(ctx, actor, false, func(e *edit) error {
		s, err := e.systems.need(ref)
		if err != nil {
			return err
		}
		removed = e.removeAssignments(func(a Assignment) bool { return a.SystemID == s.ID })
		e.systems.remove(s.ID)
		return e.undepend(s)
	})
	return removed, err
}
