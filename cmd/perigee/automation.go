package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/internal/manifest"
)

// AutomationCmd is what can be done with automations. They are made by apply.
type AutomationCmd struct {
	List     AutomationListCmd     `cmd:"" help:"List automations."`
	Get      AutomationGetCmd      `cmd:"" help:"Show an automation and its newest runs."`
	Enable   AutomationEnableCmd   `cmd:"" help:"Let an automation react."`
	Disable  AutomationDisableCmd  `cmd:"" help:"Let an automation react no more; its runs go on."`
	Delete   AutomationDeleteCmd   `cmd:"" help:"Delete an automation with its runs."`
	DryRun   AutomationDryRunCmd   `cmd:"" help:"Say what an automation would have done in the past; nothing is done."`
	Actions  AutomationActionsCmd  `cmd:"" help:"List what automations can do."`
	Triggers AutomationTriggersCmd `cmd:"" help:"List what automations can react to."`
	Schema   AutomationSchemaCmd   `cmd:"" help:"Print the JSON Schema of what an automation says, for editors."`

	Run    AutomationRunCmd    `cmd:"" help:"Run an automation now."`
	Runs   AutomationRunsCmd   `cmd:"" help:"List runs, newest first."`
	Trace  AutomationTraceCmd  `cmd:"" help:"Show a run, step by step."`
	Cancel AutomationCancelCmd `cmd:"" help:"End a run that goes on."`
	Rerun  AutomationRerunCmd  `cmd:"" help:"Run again, on what a run reacted to."`
}

// AutomationListCmd lists automations.
type AutomationListCmd struct {
	Limit int `placeholder:"N" help:"The most to show; all when left out."`
}

// Run lists them.
func (c *AutomationListCmd) Run(ctx context.Context, a *app) error {
	all, err := fetch[automation.Automation](ctx, a, "/automations", nil, c.Limit)
	if err != nil {
		return err
	}
	return a.print(list[automation.Automation]{all}, func(w *tabwriter.Writer) {
		row(w, "NAME", "STATE", "MODE", "REVISION", "UPDATED", "TRIGGERS")
		for _, m := range all {
			var events []string
			for _, t := range m.Definition.Triggers {
				events = append(events, t.Event)
			}
			row(w, m.Name, automationState(&m), automationMode(&m), fmt.Sprint(m.Revision), a.ago(m.UpdatedAt), strings.Join(events, ", "))
		}
	})
}

func automationState(m *automation.Automation) string {
	if m.Enabled {
		return "enabled"
	}
	return "disabled"
}

func automationMode(m *automation.Automation) string {
	return string(cmp.Or(m.Definition.Mode, automation.ModeSingle))
}

// AutomationGetCmd shows an automation.
type AutomationGetCmd struct {
	Name string `arg:"" help:"Its name or id."`
}

// Help says where the definition is.
func (c *AutomationGetCmd) Help() string {
	return "Its whole definition is seen with -o yaml and -o json."
}

// recentRuns is how many runs are shown with an automation.
const recentRuns = 10

// Run shows it.
func (c *AutomationGetCmd) Run(ctx context.Context, a *app) error {
	var m automation.Automation
	if err := a.client.Get(ctx, at("/automations", c.Name), nil, &m); err != nil {
		return err
	}
	if a.format != "table" {
		return a.print(m, nil)
	}
	runs, err := a.automationRuns(ctx, m.ID, "", recentRuns)
	if err != nil {
		return err
	}
	return a.print(m, func(w *tabwriter.Writer) {
		row(w, "Name", m.Name)
		row(w, "Id", m.ID)
		row(w, "State", automationState(&m))
		row(w, "Revision", fmt.Sprint(m.Revision))
		row(w, "Mode", automationMode(&m))
		row(w, "Labels", dash(pairs(m.Labels)))
		row(w, "Description", dash(m.Definition.Description))
		row(w, "Created", instant(m.CreatedAt))
		row(w, "Updated", instant(m.UpdatedAt))
		row(w, "")
		row(w, "TRIGGER", "EVENT", "FILTER")
		for _, t := range m.Definition.Triggers {
			row(w, dash(t.ID), t.Event, dash(t.Filter))
		}
		if len(runs) > 0 {
			row(w, "")
			a.runRows(w, runs, names{m.ID: m.Name})
		}
	})
}

// AutomationEnableCmd lets an automation react.
type AutomationEnableCmd struct {
	Name string `arg:"" help:"Its name or id."`
}

// Run enables it.
func (c *AutomationEnableCmd) Run(ctx context.Context, a *app) error {
	return a.switchAutomation(ctx, c.Name, "enable")
}

// AutomationDisableCmd lets an automation react no more.
type AutomationDisableCmd struct {
	Name string `arg:"" help:"Its name or id."`
}

// Run disables it.
func (c *AutomationDisableCmd) Run(ctx context.Context, a *app) error {
	return a.switchAutomation(ctx, c.Name, "disable")
}

func (a *app) switchAutomation(ctx context.Context, name, how string) error {
	var m automation.Automation
	if err := a.client.Post(ctx, at("/automations", name, how), nil, &m); err != nil {
		return err
	}
	return a.print(m, func(w *tabwriter.Writer) { row(w, fmt.Sprintf("Automation %s: %s", m.Name, automationState(&m))) })
}

// AutomationDeleteCmd deletes an automation.
type AutomationDeleteCmd struct {
	Name string `arg:"" help:"Its name or id."`
	Yes  bool   `short:"y" help:"Do not ask."`
}

// Run deletes it.
func (c *AutomationDeleteCmd) Run(ctx context.Context, a *app) error {
	question := fmt.Sprintf("Delete automation %s and its runs?", c.Name)
	if err := a.confirm(c.Yes, question, fmt.Sprintf("perigee automation delete %s --yes", c.Name)); err != nil {
		return err
	}
	return a.client.Delete(ctx, at("/automations", c.Name), nil)
}

// AutomationDryRunCmd says what an automation would have done.
type AutomationDryRunCmd struct {
	File string `arg:"" placeholder:"FILE" help:"A YAML file with the automation, which need not be applied; - is standard input."`
	Name string `placeholder:"NAME" help:"Which of the file's automations; may be left out when there is one."`
	From string `default:"24h" placeholder:"TIME" help:"From when, 2026-01-31T08:00:00Z, or how long ago (${default})."`
	To   string `default:"0s" placeholder:"TIME" help:"Until when; now when left out."`
}

// Help says what to make of it.
func (c *AutomationDryRunCmd) Help() string {
	return `Recorded events go through the same engine, under a clock of its own. Actions are shown and
not done. The same file, --from and --to give the same report.`
}

// Run asks the core, and shows its report.
func (c *AutomationDryRunCmd) Run(ctx context.Context, a *app) error {
	docs, err := a.readDocuments(c.File)
	if err != nil {
		return err
	}
	doc, err := c.choose(docs)
	if err != nil {
		return err
	}
	in := httpapi.DryRunRequest{Name: doc.Metadata.Name, Definition: doc.Spec}
	for _, bound := range []struct {
		flag, text string
		at         *time.Time
	}{{"--from", c.From, &in.From}, {"--to", c.To, &in.To}} {
		text, err := moment(bound.flag, bound.text, a.now())
		if err != nil {
			return err
		}
		if *bound.at, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return usage("", "%s: %w", bound.flag, err)
		}
	}
	var report automation.Report
	if err := a.client.Post(ctx, "/automations/dry-run", in, &report); err != nil {
		return placed(err, func(f fault.Field) (*manifest.Error, bool) {
			inside, ok := strings.CutPrefix(f.Path, "definition")
			return doc.Fault("spec"+inside, f.Message), ok
		})
	}
	if a.format != "table" {
		return a.print(report, nil)
	}
	var text strings.Builder
	if err := report.WriteText(&text); err != nil {
		return err
	}
	for line := range strings.Lines(text.String()) {
		if _, err := fmt.Fprintln(a.out, plain(strings.TrimRight(line, "\n"))); err != nil {
			return err
		}
	}
	return nil
}

// choose finds the automation that is meant.
func (c *AutomationDryRunCmd) choose(docs []manifest.Doc) (manifest.Doc, error) {
	var found []manifest.Doc
	var all []string
	for _, doc := range docs {
		if doc.Kind != catalog.DocAutomation {
			continue
		}
		all = append(all, doc.Metadata.Name)
		if c.Name == "" || c.Name == doc.Metadata.Name {
			found = append(found, doc)
		}
	}
	switch {
	case len(all) == 0:
		return manifest.Doc{}, usage("", "there is no automation in %s", c.File)
	case len(found) != 1:
		return manifest.Doc{}, usage("", "%s has the automations %s: choose one by --name", c.File, strings.Join(all, ", "))
	}
	return found[0], nil
}

// AutomationActionsCmd lists actions.
type AutomationActionsCmd struct {
	Name string `arg:"" optional:"" help:"Only this one, with its fields."`
}

// Help says what the table means.
func (c *AutomationActionsCmd) Help() string {
	return "Fields with a star must be given. Of an action that is no harm to repeat, twice is the same as once."
}

// Run lists them.
func (c *AutomationActionsCmd) Run(ctx context.Context, a *app) error {
	var all httpapi.ActionList
	if err := a.client.Get(ctx, "/automations/actions", nil, &all); err != nil {
		return err
	}
	if c.Name != "" {
		i := slices.IndexFunc(all.Items, func(m automation.Action) bool { return m.Name == c.Name })
		if i < 0 {
			return usage("", "there is no action %q; list them with: perigee automation actions", c.Name)
		}
		m := all.Items[i]
		return a.print(m, func(w *tabwriter.Writer) {
			row(w, "Name", m.Name)
			row(w, "Summary", m.Summary)
			row(w, "Repeatable", yesNo(m.Repeatable))
			fieldRows(w, m.Fields)
		})
	}
	return a.print(list[automation.Action]{all.Items}, func(w *tabwriter.Writer) {
		row(w, "ACTION", "REPEATABLE", "FIELDS", "SUMMARY")
		for _, m := range all.Items {
			row(w, m.Name, yesNo(m.Repeatable), fieldNames(m.Fields), m.Summary)
		}
	})
}

// AutomationTriggersCmd lists events.
type AutomationTriggersCmd struct {
	Name string `arg:"" optional:"" help:"Only this one, with the fields of its config."`
}

// Help says what the table means.
func (c *AutomationTriggersCmd) Help() string {
	return "Config fields with a star must be given. The entity of an event is of its kind; for asks whether that stays as it is."
}

// Run lists them.
func (c *AutomationTriggersCmd) Run(ctx context.Context, a *app) error {
	var all httpapi.TriggerList
	if err := a.client.Get(ctx, "/automations/triggers", nil, &all); err != nil {
		return err
	}
	if c.Name != "" {
		i := slices.IndexFunc(all.Items, func(e automation.EventType) bool { return e.Type == c.Name })
		if i < 0 {
			return usage("", "there is no event %q; list them with: perigee automation triggers", c.Name)
		}
		e := all.Items[i]
		return a.print(e, func(w *tabwriter.Writer) {
			row(w, "Event", e.Type)
			row(w, "Summary", e.Summary)
			row(w, "Kind", dash(e.Kind))
			fieldRows(w, e.Fields)
		})
	}
	return a.print(list[automation.EventType]{all.Items}, func(w *tabwriter.Writer) {
		row(w, "EVENT", "KIND", "CONFIG", "SUMMARY")
		for _, e := range all.Items {
			row(w, e.Type, dash(e.Kind), fieldNames(e.Fields), e.Summary)
		}
	})
}

func fieldNames(fields []automation.Field) string {
	var names []string
	for _, f := range fields {
		if f.Required {
			f.Name += "*"
		}
		names = append(names, f.Name)
	}
	return dash(strings.Join(names, ", "))
}

func fieldRows(w *tabwriter.Writer, fields []automation.Field) {
	if len(fields) == 0 {
		return
	}
	row(w, "")
	row(w, "FIELD", "TYPE", "MAY BE", "WHAT")
	for _, f := range fields {
		row(w, fieldNames([]automation.Field{f}), f.Type, dash(strings.Join(f.Enum, ", ")), f.Help)
	}
}

// AutomationSchemaCmd prints the schema of definitions.
type AutomationSchemaCmd struct{}

// Run prints JSON, unless YAML is asked for: there is no table of it.
func (c *AutomationSchemaCmd) Run(ctx context.Context, a *app) error {
	var schema json.RawMessage
	if err := a.client.Get(ctx, "/automations/schema", nil, &schema); err != nil {
		return err
	}
	if a.format == "table" {
		a.format = "json"
	}
	return a.print(schema, nil)
}
