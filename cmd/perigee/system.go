package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/perigee-monitoring/perigee/internal/catalog"
)

// SystemCmd is what can be done with systems.
type SystemCmd struct {
	Create SystemCreateCmd `cmd:"" help:"Make a system."`
	List   SystemListCmd   `cmd:"" help:"List systems."`
	Get    SystemGetCmd    `cmd:"" help:"Show a system."`
	Status SystemStatusCmd `cmd:"" help:"Show how a system is doing, and on whose word."`
	Update SystemUpdateCmd `cmd:"" help:"Rename, describe or label a system."`
	Delete SystemDeleteCmd `cmd:"" help:"Delete a system and its assignments."`
}

// SystemCreateCmd makes a system.
type SystemCreateCmd struct {
	Name        string            `arg:"" help:"Its name, unique."`
	Description string            `placeholder:"TEXT" help:"What it is."`
	Label       map[string]string `mapsep:"none" placeholder:"KEY=VALUE" help:"A label; may be repeated."`
	Field       map[string]string `mapsep:"none" placeholder:"KEY=VALUE" help:"A field that its runs know as system.metadata.KEY; may be repeated."`
	Environment []string          `sep:"none" placeholder:"NAME[:KEY=VALUE,…]" help:"An environment that it exists in, with its fields; may be repeated."`
	DependsOn   []string          `sep:"none" placeholder:"SYSTEM" help:"A system without which it cannot be well, whose failure explains its own; may be repeated."`
}

// Run makes it.
func (c *SystemCreateCmd) Run(ctx context.Context, a *app) error {
	body := catalog.SystemInput{
		Name: c.Name, Description: c.Description, Labels: c.Label, Fields: fieldsOf(c.Field), Environments: environmentsOf(c.Environment, nil),
		DependsOn: c.DependsOn,
	}
	var s catalog.System
	if err := a.client.Post(ctx, "/systems", body, &s); err != nil {
		return err
	}
	return a.print(s, func(w *tabwriter.Writer) { a.system(w, &s) })
}

// SystemListCmd lists systems.
type SystemListCmd struct {
	Limit int `placeholder:"N" help:"The most to show; all when left out."`
}

// Run lists them.
func (c *SystemListCmd) Run(ctx context.Context, a *app) error {
	all, err := fetch[catalog.System](ctx, a, "/systems", nil, c.Limit)
	if err != nil {
		return err
	}
	return a.print(list[catalog.System]{all}, func(w *tabwriter.Writer) {
		row(w, "NAME", "LABELS", "DESCRIPTION")
		for _, s := range all {
			row(w, s.Name, dash(pairs(s.Labels)), s.Description)
		}
	})
}

// SystemGetCmd shows a system.
type SystemGetCmd struct {
	Name string `arg:"" help:"Its name or id."`
}

// Run shows it.
func (c *SystemGetCmd) Run(ctx context.Context, a *app) error {
	var s catalog.System
	if err := a.client.Get(ctx, at("/systems", c.Name), nil, &s); err != nil {
		return err
	}
	return a.print(s, func(w *tabwriter.Writer) { a.system(w, &s) })
}

func (a *app) system(w *tabwriter.Writer, s *catalog.System) {
	row(w, "Name", s.Name)
	row(w, "Id", s.ID)
	row(w, "Labels", dash(pairs(s.Labels)))
	row(w, "Description", dash(s.Description))
	row(w, "Fields", dash(fieldText(s.Fields)))
	a.environments(w, s.Environments)
	row(w, "Depends on", dash(strings.Join(s.DependsOn, ", ")))
	row(w, "Created", instant(s.CreatedAt))
	row(w, "Updated", instant(s.UpdatedAt))
}

// SystemStatusCmd shows how a system is doing.
type SystemStatusCmd struct {
	Name string `arg:"" help:"Its name or id."`
}

// Run shows it with everything that the verdict rests on.
func (c *SystemStatusCmd) Run(ctx context.Context, a *app) error {
	return (&StatusCmd{System: c.Name, Verbose: true}).Run(ctx, a)
}

// labelFlags change the labels of what exists already.
type labelFlags struct {
	Label    map[string]string `mapsep:"none" placeholder:"KEY=VALUE" xor:"labels" help:"Labels instead of those it has; may be repeated."`
	NoLabels bool              `xor:"labels" help:"Take all labels away."`
}

func (f *labelFlags) given() bool { return f.Label != nil || f.NoLabels }

// instead are the labels that take the place of what there are.
func (f *labelFlags) instead(of map[string]string) map[string]string {
	if f.given() {
		return f.Label
	}
	return of
}

// SystemUpdateCmd changes a system.
type SystemUpdateCmd struct {
	System      string  `arg:"" name:"name" help:"Its name or id."`
	Name        *string `placeholder:"NAME" help:"A new name."`
	Description *string `placeholder:"TEXT" help:"A new description."`
	labelFlags
	fieldFlags
	environmentFlags
	DependsOn      []string `sep:"none" placeholder:"SYSTEM" xor:"depends" help:"Systems that it depends on instead of those it has; may be repeated."`
	NoDependencies bool     `xor:"depends" help:"Let it depend on nothing."`
}

// Run changes what was given and leaves the rest.
func (c *SystemUpdateCmd) Run(ctx context.Context, a *app) error {
	if c.Name == nil && c.Description == nil && !c.labelFlags.given() && !c.fieldFlags.given() && !c.environmentFlags.given() &&
		c.DependsOn == nil && !c.NoDependencies {
		return usage("perigee system update --help", "nothing to change was given")
	}
	var s catalog.System
	if err := a.client.Get(ctx, at("/systems", c.System), nil, &s); err != nil {
		return err
	}
	body := catalog.SystemInput{
		Name: *cmp.Or(c.Name, &s.Name), Description: *cmp.Or(c.Description, &s.Description), Labels: c.labelFlags.instead(s.Labels),
		Fields: c.fieldFlags.instead(s.Fields), Environments: c.environmentFlags.instead(s.Environments),
	}
	if body.DependsOn = s.DependsOnIDs; c.DependsOn != nil || c.NoDependencies {
		body.DependsOn = c.DependsOn
	}
	var changed catalog.System // what is read into a map is added to it
	if err := a.client.Put(ctx, at("/systems", s.ID), body, &changed); err != nil {
		return err
	}
	return a.print(changed, func(w *tabwriter.Writer) { a.system(w, &changed) })
}

// SystemDeleteCmd deletes a system.
type SystemDeleteCmd struct {
	Name string `arg:"" help:"Its name or id."`
	Yes  bool   `short:"y" help:"Do not ask."`
}

// Run deletes it.
func (c *SystemDeleteCmd) Run(ctx context.Context, a *app) error {
	question := fmt.Sprintf("Delete system %s and its assignments?", c.Name)
	if err := a.confirm(c.Yes, question, fmt.Sprintf("perigee system delete %s --yes", c.Name)); err != nil {
		return err
	}
	return a.client.Delete(ctx, at("/systems", c.Name), nil)
}
