package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/internal/manifest"
)

// documentFlags say where documents are.
type documentFlags struct {
	File []string `short:"f" required:"" sep:"none" placeholder:"FILE|DIR" help:"YAML documents; of a directory every .yaml and .yml file in it and below; may be repeated. - is standard input."`
}

// send lets the core apply the documents, or say what that would change.
func (f *documentFlags) send(ctx context.Context, a *app, dryRun bool) (plan catalog.Plan, err error) {
	docs, err := a.readDocuments(f.File...)
	if err != nil {
		return plan, err
	}
	body := httpapi.ApplyRequest{Documents: manifest.Documents(docs), DryRun: dryRun}
	err = a.client.Post(ctx, "/apply", body, &plan)
	if u, ok := errors.AsType[*client.Unreachable](err); ok && dryRun {
		u.Unsure = false
	}
	return plan, inFiles(err, docs)
}

// ApplyCmd makes definitions be as files say.
type ApplyCmd struct {
	documentFlags
	DryRun bool `help:"Say what would happen and change nothing."`
}

// Run applies all documents or, when anything is wrong with one, none.
func (c *ApplyCmd) Run(ctx context.Context, a *app) error {
	plan, err := c.send(ctx, a, c.DryRun)
	if err != nil {
		return err
	}
	return a.print(plan, func(w *tabwriter.Writer) {
		a.plan(w, plan)
		if c.DryRun {
			fmt.Fprintln(w, "This was a dry run: nothing was changed.")
		}
	})
}

// DiffCmd compares files with what is defined.
type DiffCmd struct{ documentFlags }

// Run shows what applying would change; if anything, that is an exit code of 1.
func (c *DiffCmd) Run(ctx context.Context, a *app) error {
	plan, err := c.send(ctx, a, true)
	if wrong, ok := errors.AsType[manifest.Errors](err); ok {
		return &failure{code: exitUsage, err: wrong} // no comparison, which is not a difference
	}
	if err != nil {
		return err
	}
	if err := a.print(plan, func(w *tabwriter.Writer) { a.plan(w, plan) }); err != nil {
		return err
	}
	for _, change := range plan.Changes {
		if change.Action != catalog.Unchanged {
			return errDifferent
		}
	}
	return nil
}

// plan shows what becomes of each document; of those that stay, how many.
func (a *app) plan(w *tabwriter.Writer, plan catalog.Plan) {
	unchanged := 0
	for _, change := range plan.Changes {
		switch change.Action {
		case catalog.Created:
			fmt.Fprintf(w, "+ created %s %s\n", change.Kind, plain(change.Name))
		case catalog.Updated:
			fmt.Fprintf(w, "~ updated %s %s\n", change.Kind, plain(change.Name))
			for _, d := range change.Diff {
				fmt.Fprintf(w, "    %s: %s → %s\n", plain(d.Path), compact(d.From), compact(d.To))
			}
		default:
			unchanged++
		}
	}
	if unchanged > 0 {
		fmt.Fprintf(w, "= unchanged %d\n", unchanged)
	}
}

// compact is a value on one line, as JSON; "nothing" for what is not there.
func compact(v any) string {
	if v == nil {
		return "nothing"
	}
	text, err := encoded(v)
	if err != nil { // it came from JSON
		return err.Error()
	}
	return plain(string(text[:len(text)-1]))
}

// ExportCmd writes all definitions as documents.
type ExportCmd struct{}

// Run writes YAML, which apply reads, unless JSON is asked for.
func (c *ExportCmd) Run(ctx context.Context, a *app) error {
	var all httpapi.Documents
	if err := a.client.Get(ctx, "/export", nil, &all); err != nil {
		return err
	}
	if a.format == "json" {
		return a.print(all, nil)
	}
	return manifest.Write(a.out, all.Documents)
}
