package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
)

// MaintenanceCmd is what can be done with maintenances.
type MaintenanceCmd struct {
	Create MaintenanceCreateCmd `cmd:"" help:"Plan a maintenance, or begin one now."`
	List   MaintenanceListCmd   `cmd:"" help:"List maintenances."`
	Get    MaintenanceGetCmd    `cmd:"" help:"Show a maintenance."`
	Update MaintenanceUpdateCmd `cmd:"" help:"Change a maintenance."`
	End    MaintenanceEndCmd    `cmd:"" help:"End a maintenance that lasts now."`
	Delete MaintenanceDeleteCmd `cmd:"" help:"Delete a maintenance, and end it."`
}

// maintenanceFlags say what is in maintenance, and when.
type maintenanceFlags struct {
	Description *string           `placeholder:"TEXT" help:"What is done."`
	Label       map[string]string `mapsep:"none" placeholder:"KEY=VALUE" help:"A label; may be repeated."`
	System      []string          `sep:"none" placeholder:"NAME" help:"A system (name or id); may be repeated."`
	Selector    *string           `placeholder:"SELECTOR" help:"Systems by their labels: 'team=web, env in (prod)'."`
	Check       []string          `sep:"none" placeholder:"NAME" help:"Only this check of them (name or id); may be repeated."`
	Pause       *bool             `negatable:"" help:"Do not run the checks meanwhile. (They run, and nobody is alarmed.)"`
	Start       *time.Time        `placeholder:"TIME" help:"When it begins, in RFC 3339; now when left out."`
	End         *time.Time        `placeholder:"TIME" xor:"end" help:"When it ends, in RFC 3339."`
	For         time.Duration     `placeholder:"DURATION" xor:"end" help:"How long it lasts, from its start or, with --cron, each time."`
	Cron        *string           `placeholder:"'M H DOM MON DOW'" help:"Let it come again: minute, hour, day of the month, month, day of the week."`
	TimeZone    *string           `placeholder:"ZONE" help:"The time zone of --cron, such as Europe/Berlin; UTC when left out."`
}

// apply changes what was given.
func (f *maintenanceFlags) apply(in *catalog.MaintenanceInput) {
	in.Description = *cmp.Or(f.Description, &in.Description)
	if f.Label != nil {
		in.Labels = f.Label
	}
	if f.System != nil {
		in.Systems.Names = f.System
	}
	in.Systems.Selector = *cmp.Or(f.Selector, &in.Systems.Selector)
	if f.Check != nil {
		in.Checks = f.Check
	}
	if f.Pause != nil {
		in.Mode = catalog.Mute
		if *f.Pause {
			in.Mode = catalog.Pause
		}
	}
	if f.Cron != nil || f.TimeZone != nil || in.Schedule != nil && f.For > 0 {
		s := catalog.Schedule{}
		if in.Schedule != nil {
			s = *in.Schedule
		}
		s.Cron, s.TimeZone = *cmp.Or(f.Cron, &s.Cron), *cmp.Or(f.TimeZone, &s.TimeZone)
		s.Duration = cmp.Or(check.Duration(f.For), s.Duration)
		in.Schedule, in.Start, in.End = &s, f.Start, f.End
		return
	}
	if f.Start != nil || f.End != nil {
		in.Schedule = nil
	}
	in.Start, in.End = cmp.Or(f.Start, in.Start), cmp.Or(f.End, in.End)
	if f.For > 0 {
		in.End = new(value(cmp.Or(in.Start, new(time.Now()))).Add(f.For))
	}
}

// MaintenanceCreateCmd makes a maintenance.
type MaintenanceCreateCmd struct {
	Name string `arg:"" help:"Its name, unique."`
	maintenanceFlags
}

// Run makes it.
func (c *MaintenanceCreateCmd) Run(ctx context.Context, a *app) error {
	in := catalog.MaintenanceInput{Name: c.Name}
	c.apply(&in)
	if in.Schedule == nil && in.End == nil {
		return usage("perigee maintenance create --help", "nothing says how long it lasts: give --for, --end or --cron with --for")
	}
	var m catalog.Maintenance
	if err := a.client.Post(ctx, "/maintenances", in, &m); err != nil {
		return err
	}
	return a.print(m, func(w *tabwriter.Writer) { a.maintenance(w, &m) })
}

// MaintenanceListCmd lists maintenances.
type MaintenanceListCmd struct {
	Limit int `placeholder:"N" help:"The most to show; all when left out."`
}

// Run lists them.
func (c *MaintenanceListCmd) Run(ctx context.Context, a *app) error {
	all, err := fetch[catalog.Maintenance](ctx, a, "/maintenances", nil, c.Limit)
	if err != nil {
		return err
	}
	return a.print(list[catalog.Maintenance]{all}, func(w *tabwriter.Writer) {
		row(w, "NAME", "STATE", "WINDOW", "MODE", "SYSTEMS")
		for _, m := range all {
			state, window := phase(&m)
			row(w, m.Name, state, window, string(m.Mode), covers(&m))
		}
	})
}

// phase is how far a maintenance is, and its window that lasts or comes next.
func phase(m *catalog.Maintenance) (state, window string) {
	from, to, ok := m.Window(time.Now())
	switch {
	case !ok:
		return "over", "-"
	case m.Active:
		state = "active"
	default:
		state = "planned"
	}
	return state, instant(from) + " to " + instant(to)
}

// covers is what is in maintenance.
func covers(m *catalog.Maintenance) string {
	var all []string
	if len(m.Systems.Names) > 0 {
		all = append(all, strings.Join(m.Systems.Names, ", "))
	}
	if m.Systems.Selector != "" {
		all = append(all, "those with "+m.Systems.Selector)
	}
	return cmp.Or(strings.Join(all, "; "), "none")
}

// MaintenanceGetCmd shows a maintenance.
type MaintenanceGetCmd struct {
	Name string `arg:"" help:"Its name or id."`
}

// Run shows it.
func (c *MaintenanceGetCmd) Run(ctx context.Context, a *app) error {
	var m catalog.Maintenance
	if err := a.client.Get(ctx, at("/maintenances", c.Name), nil, &m); err != nil {
		return err
	}
	return a.print(m, func(w *tabwriter.Writer) { a.maintenance(w, &m) })
}

func (a *app) maintenance(w *tabwriter.Writer, m *catalog.Maintenance) {
	state, window := phase(m)
	row(w, "Name", m.Name)
	row(w, "Id", m.ID)
	row(w, "State", state)
	row(w, "Window", window)
	if s := m.Schedule; s != nil {
		row(w, "Schedule", fmt.Sprintf("%s for %s (%s)", s.Cron, s.Duration, cmp.Or(s.TimeZone, "UTC")))
	}
	row(w, "Mode", string(m.Mode))
	row(w, "Systems", covers(m))
	row(w, "Checks", cmp.Or(strings.Join(m.Checks, ", "), "all"))
	row(w, "Labels", dash(pairs(m.Labels)))
	row(w, "Description", dash(m.Description))
	row(w, "Created", instant(m.CreatedAt))
	row(w, "Updated", instant(m.UpdatedAt))
}

// MaintenanceUpdateCmd changes a maintenance.
type MaintenanceUpdateCmd struct {
	Maintenance string  `arg:"" name:"name" help:"Its name or id."`
	Name        *string `placeholder:"NAME" help:"A new name."`
	maintenanceFlags
}

// Run changes what was given and leaves the rest.
func (c *MaintenanceUpdateCmd) Run(ctx context.Context, a *app) error {
	var m, changed catalog.Maintenance
	if err := a.client.Get(ctx, at("/maintenances", c.Maintenance), nil, &m); err != nil {
		return err
	}
	in := catalog.MaintenanceInput{
		Name: *cmp.Or(c.Name, &m.Name), Description: m.Description, Labels: m.Labels, Mode: m.Mode, Systems: m.Systems, Checks: m.Checks,
		Start: m.Start, End: m.End, Schedule: m.Schedule,
	}
	c.apply(&in)
	if err := a.client.Put(ctx, at("/maintenances", m.ID), in, &changed); err != nil {
		return err
	}
	return a.print(changed, func(w *tabwriter.Writer) { a.maintenance(w, &changed) })
}

// MaintenanceEndCmd ends a maintenance.
type MaintenanceEndCmd struct {
	Name string `arg:"" help:"Its name or id."`
}

// Run ends the window that lasts now.
func (c *MaintenanceEndCmd) Run(ctx context.Context, a *app) error {
	var m catalog.Maintenance
	if err := a.client.Post(ctx, at("/maintenances", c.Name, "end"), nil, &m); err != nil {
		return err
	}
	return a.print(m, func(w *tabwriter.Writer) { a.maintenance(w, &m) })
}

// MaintenanceDeleteCmd deletes a maintenance.
type MaintenanceDeleteCmd struct {
	Name string `arg:"" help:"Its name or id."`
	Yes  bool   `short:"y" help:"Do not ask."`
}

// Run deletes it.
func (c *MaintenanceDeleteCmd) Run(ctx context.Context, a *app) error {
	question := fmt.Sprintf("Delete maintenance %s?", c.Name)
	if err := a.confirm(c.Yes, question, fmt.Sprintf("perigee maintenance delete %s --yes", c.Name)); err != nil {
		return err
	}
	return a.client.Delete(ctx, at("/maintenances", c.Name), nil)
}
