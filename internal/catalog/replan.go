package catalog

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// SatelliteChanged is fleet's Replan: it places every assignment anew on one
// satellite, which may be new (before is nil), or able to run other things than before. An assignment that names the
// satellite follows its renaming, because a new name is no reason to stop
// watching, and forgets its name when it is deleted (after is nil). Fleet rings
// TopicConfig itself.
func (c *Catalog) SatelliteChanged(ctx context.Context, ftx fleet.Tx, before, after *fleet.Satellite, actor entity.Actor) ([]entity.Change, error) {
	if before != nil && after != nil && maps.Equal(before.Labels(), after.Labels()) && before.Inventory.RunsAlike(after.Inventory) {
		return nil, nil
	}
	tx, ok := ftx.(Tx)
	if !ok {
		return nil, fmt.Errorf("catalog: the store's transaction %T is not a catalog.Tx", ftx)
	}
	e, err := c.open(ctx, tx)
	if err != nil {
		return nil, err
	}
	switch {
	case after == nil:
		err = e.forgetSatellite(before.Name)
	case before != nil && before.Name != after.Name:
		err = e.renameSatellite(before.Name, after.Name)
	}
	if err != nil {
		return nil, err
	}
	renamed, err := e.assignments.altered(assignmentState)
	if err != nil {
		return nil, err
	}
	all := altered{assignments: renamed}
	p := newPlan()
	if after != nil { // what was placed on one that is gone goes with its row
		if err := e.planSatellite(ctx, p, *after, e.assignmentIDs(func(string) bool { return true })); err != nil {
			return nil, err
		}
	}
	if _, err := e.carryOut(ctx, all, p); err != nil {
		return nil, err
	}
	return all.changes(actor, e), nil
}

// forgetSatellite takes the name out of the assignments that name it, the last one
// too (spec M70): a new satellite of that name would inherit them unasked. What
// has no place to run any more is disabled, which somebody sees.
func (e *edit) forgetSatellite(name string) error {
	for _, a := range maps.Clone(e.assignments.after) {
		i, named := slices.BinarySearch(a.Satellites.Names, name)
		_, narrowed := a.SatelliteEnvironments[name]
		if !named && !narrowed {
			continue
		}
		if named {
			a.Satellites.Names = sortedUnique(slices.Delete(slices.Clone(a.Satellites.Names), i, i+1))
		}
		if narrowed {
			rest := maps.Clone(a.SatelliteEnvironments)
			delete(rest, name)
			a.SatelliteEnvironments = narrowings(rest)
		}
		if !a.IncludeLocal && len(a.Satellites.Names) == 0 && a.Satellites.Selector == "" {
			a.Enabled = false
		}
		if err := e.assignments.put(a); err != nil {
			return err
		}
	}
	return nil
}

// renameSatellite puts the new name into the assignments that name the old one.
func (e *edit) renameSatellite(from, to string) error {
	for _, a := range maps.Clone(e.assignments.after) {
		i, named := slices.BinarySearch(a.Satellites.Names, from)
		environments, narrowed := a.SatelliteEnvironments[from]
		if !named && !narrowed {
			continue
		}
		if named {
			names := slices.Clone(a.Satellites.Names)
			names[i] = to
			a.Satellites.Names = sortedUnique(names)
		}
		if narrowed {
			all := maps.Clone(a.SatelliteEnvironments)
			delete(all, from)
			all[to] = environments
			a.SatelliteEnvironments = all
		}
		if err := e.assignments.put(a); err != nil {
			return err
		}
	}
	return nil
}

// Replan recomputes every placement from the definitions and the fleet, and
// returns the satellites that are affected. Nothing needs it in the normal course
// of things; it mends a database that was altered from outside.
func (c *Catalog) Replan(ctx context.Context) (affected []string, err error) {
	err = entity.InTx(ctx, c.recorder, func(tx Tx) error {
		e, err := c.begin(ctx, tx)
		if err != nil {
			return err
		}
		touched := make(map[string]touch, len(e.assignments.after))
		for id, a := range e.assignments.after {
			touched[id] = touch{alteration: alteration[Assignment]{id: id, before: &a, after: &a}}
		}
		p := newPlan()
		if err := e.planAssignments(ctx, p, touched, true); err != nil {
			return err
		}
		if err := e.planSeats(ctx, p, touched); err != nil {
			return err
		}
		affected, err = e.carryOut(ctx, altered{}, p)
		return err
	})
	if err == nil && len(affected) > 0 {
		c.bell.Ring(fleet.TopicConfig)
	}
	return affected, err
}
