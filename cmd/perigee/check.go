package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/manifest"
)

// CheckCmd is what can be done with checks.
type CheckCmd struct {
	Create     CheckCreateCmd     `cmd:"" help:"Make a check of a spec in YAML."`
	List       CheckListCmd       `cmd:"" help:"List checks."`
	Get        CheckGetCmd        `cmd:"" help:"Show a check and its spec."`
	Update     CheckUpdateCmd     `cmd:"" help:"Rename or label a check, or give it another spec."`
	Delete     CheckDeleteCmd     `cmd:"" help:"Delete a check and its assignments."`
	Run        CheckRunCmd        `cmd:"" help:"Run a check now, from satellites of your choice."`
	Try        CheckTryCmd        `cmd:"" help:"Run a check that is not saved, once, from a satellite of your choice."`
	Test       CheckTestCmd       `cmd:"" help:"Run a script here, as a satellite would."`
	Types      CheckTypesCmd      `cmd:"" help:"Print what scripts find, as TypeScript declares it, for your editor."`
	Validate   CheckValidateCmd   `cmd:"" help:"Say what is wrong with specs and documents, without asking a core."`
	Strategies CheckStrategiesCmd `cmd:"" help:"What checks can be made of."`
	Schema     CheckSchemaCmd     `cmd:"" help:"Print the JSON Schema of the config of a strategy or collector."`
}

// CheckCreateCmd makes a check.
type CheckCreateCmd struct {
	Name  string            `arg:"" help:"Its name, unique."`
	File  string            `short:"f" required:"" placeholder:"FILE" help:"YAML with the spec: strategy, config, interval, collectors. - is standard input."`
	Label map[string]string `mapsep:"none" placeholder:"KEY=VALUE" help:"A label; may be repeated."`
}

// Run makes it.
func (c *CheckCreateCmd) Run(ctx context.Context, a *app) error {
	spec, doc, err := a.readSpec(c.File)
	if err != nil {
		return err
	}
	var made catalog.Check
	body := catalog.CheckInput{Name: c.Name, Labels: c.Label, Spec: spec}
	if err := a.client.Post(ctx, "/checks", body, &made); err != nil {
		return inSpec(err, doc)
	}
	return a.print(made, func(w *tabwriter.Writer) { a.check(w, &made) })
}

// readSpec reads a file that holds the spec of one check, or its document. What
// is wrong with it is told before a core is asked.
func (a *app) readSpec(file string) (spec check.Spec, doc manifest.Doc, err error) {
	docs, err := a.readSpecs(file)
	if err != nil {
		return spec, doc, err
	}
	if len(docs) != 1 || docs[0].Kind != catalog.DocCheck {
		return spec, doc, fmt.Errorf("%s must hold the spec of one check", file)
	}
	if err := validate(docs); err != nil {
		return spec, doc, err
	}
	if err := json.Unmarshal(docs[0].Spec, &spec); err != nil {
		return spec, doc, fmt.Errorf("reading %s: %w", file, err)
	}
	return spec, docs[0], nil
}

// CheckListCmd lists checks.
type CheckListCmd struct {
	Limit int `placeholder:"N" help:"The most to show; all when left out."`
}

// Run lists them.
func (c *CheckListCmd) Run(ctx context.Context, a *app) error {
	all, err := fetch[catalog.Check](ctx, a, "/checks", nil, c.Limit)
	if err != nil {
		return err
	}
	return a.print(list[catalog.Check]{all}, func(w *tabwriter.Writer) {
		row(w, "NAME", "STRATEGY", "INTERVAL", "COLLECTORS", "LABELS", "DESCRIPTION")
		for _, one := range all {
			row(w, one.Name, one.Spec.Strategy, interval(&one.Spec), fmt.Sprint(len(one.Spec.Collectors)), dash(pairs(one.Labels)), one.Spec.Description)
		}
	})
}

func interval(s *check.Spec) string {
	if s.Paused {
		return "paused"
	}
	return s.Interval.String()
}

// CheckGetCmd shows a check.
type CheckGetCmd struct {
	Name string `arg:"" help:"Its name or id."`
}

// Run shows it.
func (c *CheckGetCmd) Run(ctx context.Context, a *app) error {
	var one catalog.Check
	if err := a.client.Get(ctx, at("/checks", c.Name), nil, &one); err != nil {
		return err
	}
	return a.print(one, func(w *tabwriter.Writer) { a.check(w, &one) })
}

// check shows one, its spec as a file would hold it.
func (a *app) check(w *tabwriter.Writer, c *catalog.Check) {
	row(w, "Name", c.Name)
	row(w, "Id", c.ID)
	row(w, "Labels", dash(pairs(c.Labels)))
	row(w, "Created", instant(c.CreatedAt))
	row(w, "Updated", instant(c.UpdatedAt))
	fmt.Fprintln(w, "Spec")
	text, err := encoded(c.Spec)
	if err == nil {
		var spec strings.Builder
		if err = manifest.WriteJSON(&spec, text); err == nil {
			for line := range strings.Lines(spec.String()) {
				fmt.Fprint(w, "  ", line)
			}
		}
	}
	if err != nil { // it came from JSON
		row(w, "  "+err.Error())
	}
}

// CheckUpdateCmd changes a check.
type CheckUpdateCmd struct {
	Check string  `arg:"" name:"name" help:"Its name or id."`
	Name  *string `placeholder:"NAME" help:"A new name."`
	File  string  `short:"f" placeholder:"FILE" help:"YAML with a new spec. - is standard input."`
	labelFlags
}

// Run changes what was given and leaves the rest.
func (c *CheckUpdateCmd) Run(ctx context.Context, a *app) error {
	if c.Name == nil && c.File == "" && !c.given() {
		return usage("perigee check update --help", "nothing to change was given")
	}
	var one catalog.Check
	if err := a.client.Get(ctx, at("/checks", c.Check), nil, &one); err != nil {
		return err
	}
	body := catalog.CheckInput{Name: *cmp.Or(c.Name, &one.Name), Labels: c.instead(one.Labels), Spec: one.Spec}
	var doc manifest.Doc
	if c.File != "" {
		var err error
		if body.Spec, doc, err = a.readSpec(c.File); err != nil {
			return err
		}
	}
	if err := a.client.Put(ctx, at("/checks", one.ID), body, &one); err != nil {
		return inSpec(err, doc)
	}
	return a.print(one, func(w *tabwriter.Writer) { a.check(w, &one) })
}

// CheckDeleteCmd deletes a check.
type CheckDeleteCmd struct {
	Name string `arg:"" help:"Its name or id."`
	Yes  bool   `short:"y" help:"Do not ask."`
}

// Run deletes it.
func (c *CheckDeleteCmd) Run(ctx context.Context, a *app) error {
	question := fmt.Sprintf("Delete check %s and its assignments?", c.Name)
	if err := a.confirm(c.Yes, question, fmt.Sprintf("perigee check delete %s --yes", c.Name)); err != nil {
		return err
	}
	return a.client.Delete(ctx, at("/checks", c.Name), nil)
}

// CheckValidateCmd judges files without a core.
type CheckValidateCmd struct {
	File []string `short:"f" required:"" sep:"none" placeholder:"FILE|DIR" help:"YAML with specs of checks, or documents; may be repeated. - is standard input."`
}

// Run judges them. What documents refer to is not looked up.
func (c *CheckValidateCmd) Run(a *app) error {
	docs, err := a.readSpecs(c.File...)
	if err != nil {
		return err
	}
	if err := validate(docs); err != nil {
		return err
	}
	type answer struct {
		Valid int `json:"valid"`
	}
	return a.print(answer{len(docs)}, func(w *tabwriter.Writer) { fmt.Fprintf(w, "valid: %d\n", len(docs)) })
}

// CheckStrategiesCmd lists what checks can be made of.
type CheckStrategiesCmd struct{}

// Run lists it as this program, which is the core too, knows it.
func (c *CheckStrategiesCmd) Run(a *app) error {
	type strategy struct {
		ID         string   `json:"id"`
		Title      string   `json:"title"`
		Collectors []string `json:"collectors"`
	}
	var all []strategy
	for _, id := range check.Strategies() {
		kind, _ := check.Strategy(id) // it was listed
		all = append(all, strategy{id, kind.Title, check.Collectors(id)})
	}
	return a.print(list[strategy]{all}, func(w *tabwriter.Writer) {
		row(w, "STRATEGY", "COLLECTOR", "TITLE")
		for _, s := range all {
			row(w, s.ID, "", s.Title)
			for _, c := range s.Collectors {
				kind, _ := check.CollectorKind(c) // it was listed
				row(w, "", c, kind.Title)
			}
		}
	})
}

// CheckSchemaCmd prints a JSON Schema.
type CheckSchemaCmd struct {
	ID string `arg:"" help:"Of a strategy or a collector, such as healthcheck-http.request."`
	Of string `enum:"strategy,collector," default:"" placeholder:"WHAT" help:"Say strategy or collector, for an id that both have."`
}

// Run prints it as JSON, or as YAML when asked to.
func (c *CheckSchemaCmd) Run(a *app) error {
	strategy, isStrategy := check.StrategySchema(c.ID)
	collector, isCollector := check.CollectorSchema(c.ID)
	isStrategy, isCollector = isStrategy && c.Of != "collector", isCollector && c.Of != "strategy"
	switch {
	case isStrategy && isCollector:
		return usage(fmt.Sprintf("perigee check schema %s --of collector", c.ID), "%s is a strategy and a collector", c.ID)
	case isStrategy:
		return a.printText(strategy)
	case isCollector:
		return a.printText(collector)
	}
	return usage("perigee check strategies", "there is no %s %s", cmp.Or(c.Of, "strategy or collector"), c.ID)
}

// printText prints JSON as it is, for a table too.
func (a *app) printText(text json.RawMessage) error {
	as := *a
	if as.format == "table" {
		as.format = "json"
	}
	return as.print(text, nil)
}
