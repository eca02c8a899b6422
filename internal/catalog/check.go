package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"unicode/utf8"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/entity"
)

// CheckInput is all that people say of a check.
type CheckInput struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	Spec   check.Spec        `json:"spec"`
}

func (in CheckInput) validate(validateSpec ValidateSpec) problems {
	var p problems
	p.name("name", in.Name)
	p.labels("labels", in.Labels)
	p.description("spec.description", in.Spec.Description)
	text, err := json.Marshal(in.Spec)
	switch {
	case err != nil:
		p.add("spec", nil, "cannot be written as JSON: %v", err)
		return p
	case !utf8.Valid(text):
		p.add("spec", nil, "must be valid UTF-8")
		return p
	case len(text) > MaxSpec:
		p.add("spec", nil, "must be at most %d bytes of JSON", MaxSpec)
		return p
	}
	for _, f := range validateSpec(in.Spec) {
		f.Path = "spec." + f.Path
		p = append(p, f)
	}
	return p
}

func (in CheckInput) apply(c Check) Check {
	c.Name, c.Labels, c.Spec = in.Name, labels(in.Labels), in.Spec
	c.Spec.Config = orAbsent(c.Spec.Config)
	c.Spec.Collectors = slices.Clone(c.Spec.Collectors)
	for i := range c.Spec.Collectors {
		c.Spec.Collectors[i].Config = orAbsent(c.Spec.Collectors[i].Config)
	}
	return c
}

// nothing is the spec of a check that is not there.
var nothing check.Spec

// ValidateCheck says what would be wrong with the check if it were saved, but for its
// credentials. Fault: Invalid.
func (c *Catalog) ValidateCheck(in CheckInput) error {
	return in.validate(c.validateSpec).fault("the check is not valid")
}

// orAbsent makes a config of null and no config the same.
func orAbsent(config json.RawMessage) json.RawMessage {
	if string(bytes.TrimSpace(config)) == "null" {
		return nil
	}
	return config
}

// CreateCheck makes a check. Faults: Invalid, Conflict.
func (c *Catalog) CreateCheck(ctx context.Context, actor entity.Actor, in CheckInput) (Check, error) {
	id := newID()
	return c.putCheck(ctx, actor, in, func(*edit) (Check, error) { return Check{ID: id}, nil })
}

// UpdateCheck replaces a check, named by id or name. Faults: Invalid, NotFound, Conflict.
func (c *Catalog) UpdateCheck(ctx context.Context, actor entity.Actor, ref string, in CheckInput) (Check, error) {
	return c.putCheck(ctx, actor, in, func(e *edit) (Check, error) { return e.checks.need(ref) })
}

func (c *Catalog) putCheck(ctx context.Context, actor entity.Actor, in CheckInput, find func(*edit) (Check, error)) (Check, error) {
	if err := c.ValidateCheck(in); err != nil {
		return Check{}, err
	}
	var id string
	err := c.change(ctx, actor, false, func(e *edit) error {
		check, err := find(e)
		if err != nil {
			return err
		}
		id = check.ID
		after := in.apply(check)
		var wrong problems
		if after.Spec, wrong, err = e.conceal(ctx, id, check.Spec, after.Spec); err != nil {
			return err
		}
		outgrown, err := e.outgrown(ctx, e.naming()[id], check.Spec, after)
		if err != nil {
			return err
		}
		if err := append(wrong, outgrown...).fault("the check is not valid"); err != nil {
			return err
		}
		return e.checks.put(after)
	})
	if err != nil {
		return Check{}, err
	}
	return c.store.Check(ctx, id)
}

// naming gives the assignments that name satellites, by their check.
func (e *edit) naming() map[string][]Assignment {
	all := map[string][]Assignment{}
	for _, name := range e.assignments.names() {
		if a, _ := e.assignments.named(name); len(a.Satellites.Names) > 0 {
			all[a.CheckID] = append(all[a.CheckID], a)
		}
	}
	return all
}

// outgrown are the satellites that assignments of the check name and that could run it
// as it was, but not as it will be (spec M71).
func (e *edit) outgrown(ctx context.Context, naming []Assignment, before check.Spec, after Check) (problems, error) {
	var p problems
	for _, a := range naming {
		if err := e.loadSatellites(ctx); err != nil {
			return nil, err
		}
		for _, at := range a.Satellites.Names {
			sat, _ := e.satellites.named(at)
			if why := Unable(sat.Inventory, after.Spec); why != "" && able(sat.Inventory, before) {
				p.add("spec", nil, "satellite %s, which assignment %s names, %s; or take it out of the assignment", at, a.Name, why)
			}
		}
	}
	return p, nil
}

// DeleteCheck removes a check, named by id or name, and its assignments.
// Fault: NotFound.
func (c *Catalog) DeleteCheck(ctx context.Context, actor entity.Actor, ref string) (Removed, error) {
	var removed Removed
	err := c.change(ctx, actor, false, func(e *edit) error {
		check, err := e.checks.need(ref)
		if err != nil {
			return err
		}
		removed = e.removeAssignments(func(a Assignment) bool { return a.CheckID == check.ID })
		e.checks.remove(check.ID)
		_, _, err = e.conceal(ctx, check.ID, check.Spec, nothing)
		return err
	})
	return removed, err
}
