package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/internal/trial"
)

// CheckTryCmd runs a check that is not saved.
type CheckTryCmd struct {
	File        string `arg:"" help:"YAML with the spec of a check, or its document. - is standard input."`
	From        string `placeholder:"SATELLITE" help:"The satellite that runs it; the core's own when left out."`
	System      string `placeholder:"SYSTEM" help:"The system that templates and scripts see."`
	Environment string `placeholder:"ENV" help:"The environment of the system in which it runs; none when left out."`
	Check       string `placeholder:"NAME" help:"The saved check of which this is an edit: credentials that are kept for it are used where they stand."`
}

// Help says what the exit code means.
func (c *CheckTryCmd) Help() string {
	return `The check is run once and shown; nothing of it is kept. The exit code is 0 when it is
healthy, else 1.`
}

// Run tries it.
func (c *CheckTryCmd) Run(ctx context.Context, a *app) error {
	spec, doc, err := a.readSpec(c.File)
	if err != nil {
		return err
	}
	in := httpapi.TrialRequest{Name: doc.Metadata.Name, Spec: spec, From: c.From, System: c.System, Environment: c.Environment, Check: c.Check}
	var t trial.Trial
	if err := a.client.Post(ctx, "/checks/try", in, &t); err != nil {
		return inSpec(err, doc)
	}
	if err := a.print(t, func(w *tabwriter.Writer) { tried(w, &t) }); err != nil {
		return err
	}
	if t.Status != check.Healthy {
		return fmt.Errorf("the check is %s: %w", t.Status, errDifferent)
	}
	return nil
}

// tried shows what was found: the run, then each collector with what it found and what
// became of its assertions.
func tried(w *tabwriter.Writer, t *trial.Trial) {
	where := t.Satellite.Name
	if t.Satellite.Region != "" {
		where += " (" + t.Satellite.Region + ")"
	}
	row(w, "From", where)
	row(w, "Status", string(t.Status))
	if t.Message != "" {
		row(w, "Message", t.Message)
	}
	if t.Error != "" && t.Error != t.Message {
		row(w, "Error", t.Error)
	}
	if t.Inconclusive != "" {
		row(w, "Inconclusive", t.Inconclusive)
	}
	row(w, "Took", strings.TrimSpace(fmt.Sprintf("%.0f ms %s", t.LatencyMs, timings(t.Timings))))
	for _, c := range t.Collectors {
		said := string(c.Status)
		if c.TookMs != nil {
			said += fmt.Sprintf(", %.1f ms", *c.TookMs)
		}
		row(w, "Collector", fmt.Sprintf("%s (%s): %s", c.ID, c.Collector, said))
		if c.Error != "" {
			row(w, "  error", c.Error)
		}
		if c.Fence != "" {
			row(w, "  fence", c.Fence)
		}
		for _, name := range slices.Sorted(maps.Keys(c.Result)) {
			row(w, "  "+name, found(c.Result[name]))
		}
		for _, as := range c.Assertions {
			row(w, "  "+map[bool]string{true: "passed", false: "FAILED"}[as.Passed], asserted(&as))
		}
	}
}

// found is a value as people read it: texts without quotes, on one line.
func found(v any) string {
	if text, ok := v.(string); ok {
		return check.Truncate(strings.Join(strings.Fields(text), " "), 200)
	}
	text, err := json.Marshal(v)
	if err != nil { // it came from JSON
		return err.Error()
	}
	return check.Truncate(string(text), 200)
}

// asserted is what was demanded, and what was got.
func asserted(a *trial.Assertion) string {
	if !a.Passed {
		return a.Message
	}
	if a.Expression != "" {
		return found(a.Expression) + ", with " + a.Got
	}
	words := []string{a.Field}
	if a.JSONPath != "" {
		words = append(words, a.JSONPath)
	}
	words = append(words, a.Operator)
	if a.Value != nil {
		words = append(words, found(a.Value))
	}
	return strings.Join(words, " ") + ", got " + a.Got
}
