package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/perigee-monitoring/perigee/internal/catalog"
)

// AssignmentCmd is what can be done with assignments.
type AssignmentCmd struct {
	Create  AssignmentCreateCmd  `cmd:"" help:"Let a check run for a system."`
	List    AssignmentListCmd    `cmd:"" help:"List assignments."`
	Get     AssignmentGetCmd     `cmd:"" help:"Show an assignment and where it runs."`
	Preview AssignmentPreviewCmd `cmd:"" help:"Show where an assignment would run, and why not elsewhere."`
	Update  AssignmentUpdateCmd  `cmd:"" help:"Rename or label an assignment, or let it run elsewhere."`
	Enable  AssignmentEnableCmd  `cmd:"" help:"Let an assignment run again."`
	Disable AssignmentDisableCmd `cmd:"" help:"Keep an assignment and run it nowhere."`
	Run     AssignmentRunCmd     `cmd:"" help:"Run an assignment now, beside its schedule."`
	Delete  AssignmentDeleteCmd  `cmd:"" help:"Delete an assignment."`
}

// AssignmentCreateCmd makes an assignment.
type AssignmentCreateCmd struct {
	Name      string   `arg:"" help:"Its name, unique."`
	Check     string   `required:"" placeholder:"NAME" help:"The check (name or id)."`
	System    string   `required:"" placeholder:"NAME" help:"The system (name or id)."`
	Satellite []string `sep:"none" placeholder:"NAME" help:"A satellite to run it; may be repeated."`
	Selector  string   `placeholder:"SELECTOR" help:"Satellites to run it, by their tags: 'region in (eu, us), tier!=test'."`
	Count     int      `placeholder:"N" help:"On so many of those that the selector picks, instead of all."`
	SpreadBy  string   `placeholder:"LABEL" help:"Spread them over the values of this label: region."`
	Local     bool     `default:"true" negatable:"" help:"Whether the core's built-in satellite runs it too (it does)."`
	environmentChoice
	Enabled bool              `default:"true" negatable:"" help:"Whether it runs at all yet (it does)."`
	Policy  string            `placeholder:"YAML" help:"When results mean that something is wrong: '{thresholds: {unhealthy: 3}, quorum: {kind: count, count: 2}}'. Each result counts and the worst place wins when left out."`
	Label   map[string]string `mapsep:"none" placeholder:"KEY=VALUE" help:"A label; may be repeated."`
}

// Run makes it.
func (c *AssignmentCreateCmd) Run(ctx context.Context, a *app) error {
	policy, err := policyFlag(c.Policy)
	if err != nil {
		return err
	}
	var made catalog.Assignment
	if err := a.client.Post(ctx, "/assignments", catalog.AssignmentInput{
		Name: c.Name, Labels: c.Label, Check: c.Check, System: c.System, IncludeLocal: &c.Local, Enabled: &c.Enabled,
		Satellites:   catalog.Selector{Names: c.Satellite, Selector: c.Selector, Count: c.Count, SpreadBy: c.SpreadBy},
		Environments: c.chosen(nil), SatelliteEnvironments: c.narrowed(nil), Policy: policy,
	}, &made); err != nil {
		return err
	}
	return a.print(made, func(w *tabwriter.Writer) { a.assignment(w, &made) })
}

// AssignmentListCmd lists assignments.
type AssignmentListCmd struct {
	Limit int `placeholder:"N" help:"The most to show; all when left out."`
}

// Run lists them.
func (c *AssignmentListCmd) Run(ctx context.Context, a *app) error {
	all, err := fetch[catalog.Assignment](ctx, a, "/assignments", nil, c.Limit)
	if err != nil {
		return err
	}
	return a.print(list[catalog.Assignment]{all}, func(w *tabwriter.Writer) {
		row(w, "NAME", "CHECK", "SYSTEM", "RUNS ON", "LABELS")
		for _, one := range all {
			row(w, one.Name, one.CheckName, one.SystemName, runsOn(&one), dash(pairs(one.Labels)))
		}
	})
}

// runsOn names the satellites that run it now.
func runsOn(a *catalog.Assignment) string {
	if !a.Enabled {
		return "disabled"
	}
	return cmp.Or(strings.Join(a.Placed, ", "), "nowhere")
}

// AssignmentGetCmd shows an assignment.
type AssignmentGetCmd struct {
	Name string `arg:"" help:"Its name or id."`
}

// Run shows it.
func (c *AssignmentGetCmd) Run(ctx context.Context, a *app) error {
	var one catalog.Assignment
	if err := a.client.Get(ctx, at("/assignments", c.Name), nil, &one); err != nil {
		return err
	}
	return a.print(one, func(w *tabwriter.Writer) { a.assignment(w, &one) })
}

func (a *app) assignment(w *tabwriter.Writer, one *catalog.Assignment) {
	row(w, "Name", one.Name)
	row(w, "Id", one.ID)
	row(w, "Check", one.CheckName)
	row(w, "System", one.SystemName)
	row(w, "Local", fmt.Sprint(one.IncludeLocal))
	row(w, "Satellites", dash(strings.Join(one.Satellites.Names, ", ")))
	row(w, "Selector", dash(one.Satellites.Selector))
	if n := one.Satellites.Count; n > 0 {
		spread := ""
		if by := one.Satellites.SpreadBy; by != "" {
			spread = ", spread by " + by
		}
		row(w, "Count", fmt.Sprintf("%d%s", n, spread))
		a.seats(w, one.Seats, n)
	}
	row(w, "Environments", chosenText(one.Environments))
	for _, satellite := range slices.Sorted(maps.Keys(one.SatelliteEnvironments)) {
		row(w, "  on "+satellite, chosenText(one.SatelliteEnvironments[satellite]))
	}
	row(w, "Runs on", runsOn(one))
	row(w, "Policy", policyText(one.Policy))
	row(w, "Labels", dash(pairs(one.Labels)))
	row(w, "Created", instant(one.CreatedAt))
	row(w, "Updated", instant(one.UpdatedAt))
}

// AssignmentUpdateCmd changes an assignment.
type AssignmentUpdateCmd struct {
	Assignment   string   `arg:"" name:"name" help:"Its name or id."`
	Name         *string  `placeholder:"NAME" help:"A new name."`
	Check        *string  `placeholder:"NAME" help:"Another check (name or id)."`
	System       *string  `placeholder:"NAME" help:"Another system (name or id)."`
	Satellite    []string `sep:"none" placeholder:"NAME" xor:"satellites" help:"Satellites by name instead of those it has; may be repeated."`
	Count        *int     `placeholder:"N" help:"On so many of those that the selector picks; 0 for all."`
	SpreadBy     *string  `placeholder:"LABEL" help:"Spread them over the values of this label."`
	NoSatellites bool     `xor:"satellites" help:"Take all satellites that are there by name away."`
	Selector     *string  `placeholder:"SELECTOR" help:"Another selector; '' for none."`
	Local        *bool    `negatable:"" help:"Whether the core's built-in satellite runs it too."`
	environmentChoice
	Policy *string `placeholder:"YAML" help:"Another policy; '' for none."`
	labelFlags
}

// Run changes what was given and leaves the rest.
func (c *AssignmentUpdateCmd) Run(ctx context.Context, a *app) error {
	if c.Name == nil && c.Check == nil && c.System == nil && c.Satellite == nil && !c.NoSatellites && c.Count == nil && c.SpreadBy == nil &&
		c.Selector == nil && c.Local == nil && c.Policy == nil && !c.environmentChoice.given() && !c.labelFlags.given() {
		return usage("perigee assignment update --help", "nothing to change was given")
	}
	policy, err := policyFlag(value(c.Policy))
	if err != nil {
		return err
	}
	return a.changeAssignment(ctx, c.Assignment, func(in *catalog.AssignmentInput) {
		if c.Policy != nil {
			in.Policy = policy
		}
		in.Labels = c.instead(in.Labels)
		in.Environments, in.SatelliteEnvironments = c.chosen(in.Environments), c.narrowed(in.SatelliteEnvironments)
		in.Name = *cmp.Or(c.Name, &in.Name)
		in.Check = *cmp.Or(c.Check, &in.Check)
		in.System = *cmp.Or(c.System, &in.System)
		in.Satellites.Selector = *cmp.Or(c.Selector, &in.Satellites.Selector)
		in.Satellites.Count = *cmp.Or(c.Count, &in.Satellites.Count)
		in.Satellites.SpreadBy = *cmp.Or(c.SpreadBy, &in.Satellites.SpreadBy)
		in.IncludeLocal = cmp.Or(c.Local, in.IncludeLocal)
		if c.Satellite != nil || c.NoSatellites {
			in.Satellites.Names = c.Satellite
		}
	})
}

// changeAssignment replaces an assignment by what change makes of it, and shows it.
func (a *app) changeAssignment(ctx context.Context, ref string, change func(*catalog.AssignmentInput)) error {
	var one catalog.Assignment
	if err := a.client.Get(ctx, at("/assignments", ref), nil, &one); err != nil {
		return err
	}
	in := catalog.AssignmentInput{
		Name: one.Name, Labels: one.Labels, Check: one.CheckID, System: one.SystemID,
		IncludeLocal: &one.IncludeLocal, Enabled: &one.Enabled, Satellites: one.Satellites,
		Environments: one.Environments, SatelliteEnvironments: one.SatelliteEnvironments, Policy: one.Policy,
	}
	change(&in)
	var changed catalog.Assignment
	if err := a.client.Put(ctx, at("/assignments", one.ID), in, &changed); err != nil {
		return err
	}
	return a.print(changed, func(w *tabwriter.Writer) { a.assignment(w, &changed) })
}

// AssignmentEnableCmd lets an assignment run again.
type AssignmentEnableCmd struct {
	Name string `arg:"" help:"Its name or id."`
}

// Run enables it.
func (c *AssignmentEnableCmd) Run(ctx context.Context, a *app) error {
	return a.enable(ctx, c.Name, true)
}

// AssignmentDisableCmd keeps an assignment from running.
type AssignmentDisableCmd struct {
	Name string `arg:"" help:"Its name or id."`
}

// Run disables it.
func (c *AssignmentDisableCmd) Run(ctx context.Context, a *app) error {
	return a.enable(ctx, c.Name, false)
}

func (a *app) enable(ctx context.Context, ref string, enabled bool) error {
	return a.changeAssignment(ctx, ref, func(in *catalog.AssignmentInput) { in.Enabled = &enabled })
}

// AssignmentDeleteCmd deletes an assignment.
type AssignmentDeleteCmd struct {
	Name string `arg:"" help:"Its name or id."`
	Yes  bool   `short:"y" help:"Do not ask."`
}

// Run deletes it.
func (c *AssignmentDeleteCmd) Run(ctx context.Context, a *app) error {
	question := fmt.Sprintf("Delete assignment %s?", c.Name)
	if err := a.confirm(c.Yes, question, fmt.Sprintf("perigee assignment delete %s --yes", c.Name)); err != nil {
		return err
	}
	return a.client.Delete(ctx, at("/assignments", c.Name), nil)
}
