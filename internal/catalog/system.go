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
}

func (in SystemInput) validate() problems {
	var p problems
	p.name("name", in.Name)
	p.description("description", in.Description)
	p.labels("labels", in.Labels)
	return p
}

func (in SystemInput) apply(s System) System {
	s.Name, s.Description, s.Labels = in.Name, in.Description, labels(in.Labels)
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
		return e.systems.put(in.apply(s))
	})
	if err != nil {
		return System{}, err
	}
	return c.store.System(ctx, id)
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
		return nil
	})
	return removed, err
}
