package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/checkstack"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

// ImportCmd is from where can be imported.
type ImportCmd struct {
	Checkstack ImportCheckstackCmd `cmd:"" help:"Take over satellites, systems, checks and assignments of a Checkstack core."`
}

// ImportCheckstackCmd reads the original's database and hands what it found to the
// core. Unless told --yes it is a dry run.
type ImportCheckstackCmd struct {
	From   string `required:"" aliases:"database" env:"PERIGEE_IMPORT_FROM" placeholder:"POSTGRES-URL" help:"The original's database, which is only read. On the command line others on this machine can read a password; prefer PERIGEE_IMPORT_FROM."`
	DryRun bool   `xor:"mode" help:"Say what would happen and change nothing; so it is without --yes."`
	Yes    bool   `short:"y" xor:"mode" help:"Do it."`
}

// imported is what the command prints: what the core did, and what the source had
// that could not be carried over.
type imported struct {
	catalog.ImportPlan
	Findings []checkstack.Finding `json:"findings"`
	DryRun   bool                 `json:"dryRun"`
}

// Run imports.
func (c *ImportCheckstackCmd) Run(ctx context.Context, a *app) error {
	found, err := checkstack.Read(ctx, c.From)
	if err != nil {
		return err
	}
	did := imported{Findings: found.Findings, DryRun: !c.Yes}
	request := httpapi.ImportRequest{Import: found.Import, DryRun: did.DryRun}
	if err := a.client.Post(ctx, "/import", request, &did.ImportPlan); err != nil {
		return err
	}
	return a.print(did, func(w *tabwriter.Writer) { a.imported(w, &did) })
}

// imported shows what becomes of each thing; of what is here already, how much.
func (a *app) imported(w *tabwriter.Writer, did *imported) {
	exists := 0
	for _, change := range did.Changes {
		switch change.Action {
		case catalog.Exists:
			exists++
			continue
		case catalog.Skipped:
			fmt.Fprintf(w, "- skipped %s %s\n", change.Kind, plain(change.Name))
		default:
			fmt.Fprintf(w, "+ imported %s %s\n", change.Kind, plain(change.Name))
		}
		for _, note := range change.Notes {
			fmt.Fprintf(w, "    %s\n", plain(note))
		}
	}
	if exists > 0 {
		fmt.Fprintf(w, "= here already %d\n", exists)
	}
	for _, f := range did.Findings {
		if f.Kind == "" {
			fmt.Fprintf(w, "! %s\n", plain(f.Message))
			continue
		}
		fmt.Fprintf(w, "! %s %s: %s\n", f.Kind, plain(f.Name), plain(f.Message))
	}
	if did.DryRun {
		fmt.Fprintln(w, "This was a dry run: nothing was changed. Add --yes to import.")
	}
}
