package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

// AutomationRunCmd starts a run.
type AutomationRunCmd struct {
	Name    string        `arg:"" help:"Its name or id; it may be disabled."`
	Trigger string        `placeholder:"ID" help:"The trigger that it is to look like."`
	Payload string        `placeholder:"JSON" help:"What trigger.payload is."`
	Wait    time.Duration `placeholder:"TIME" help:"Wait for so long until it has ended, and show its steps; the exit code is 0 when it succeeded."`
}

// Run starts it.
func (c *AutomationRunCmd) Run(ctx context.Context, a *app) error {
	in := httpapi.RunStart{Trigger: c.Trigger}
	if c.Payload != "" {
		if in.Payload = json.RawMessage(c.Payload); !json.Valid(in.Payload) {
			return usage("", `--payload is not JSON, such as '{"region": "eu"}'`)
		}
	}
	var run automation.Run
	if err := a.client.Post(ctx, at("/automations", c.Name, "run"), in, &run); err != nil {
		return err
	}
	if c.Wait <= 0 {
		return a.print(run, func(w *tabwriter.Writer) { begun(w, &run) })
	}
	trace, err := a.awaitRun(ctx, run.ID, c.Wait)
	if err != nil {
		return err
	}
	if err := a.printTrace(ctx, &trace); err != nil {
		return err
	}
	switch {
	case !trace.Status.Ended():
		return fmt.Errorf("the run has not ended within %s", c.Wait)
	case trace.Status != automation.RunSuccess:
		return fmt.Errorf("the run ended as %s", strings.ReplaceAll(string(trace.Status), "_", " "))
	}
	return nil
}

func begun(w *tabwriter.Writer, run *automation.Run) {
	row(w, fmt.Sprintf("Run %s is %s. See it with: perigee automation trace %s", run.ID, run.Status, run.ID))
}

// automationPoll is how often a run that is waited for is looked at.
const automationPoll = 250 * time.Millisecond

// awaitRun looks at a run until it has ended, or the time is over.
func (a *app) awaitRun(ctx context.Context, id string, wait time.Duration) (trace httpapi.AutomationTrace, err error) {
	over := time.After(wait)
	again := time.NewTicker(automationPoll)
	defer again.Stop()
	for {
		trace = httpapi.AutomationTrace{}
		if err := a.client.Get(ctx, at("/automation-runs", id), nil, &trace); err != nil || trace.Status.Ended() {
			return trace, err
		}
		select {
		case <-ctx.Done():
			return trace, ctx.Err()
		case <-over:
			return trace, nil
		case <-again.C:
		}
	}
}

// AutomationRunsCmd lists runs.
type AutomationRunsCmd struct {
	Name   string `arg:"" optional:"" help:"Only of this automation (name or id)."`
	Status string `enum:"pending,running,waiting,success,failed,cancelled,skipped,in_doubt," default:"" placeholder:"STATUS" help:"Only pending, running, waiting, success, failed, cancelled, skipped or in_doubt ones."`
	Limit  int    `default:"50" placeholder:"N" help:"The most to show (${default}); 0 is all."`
}

// Run lists them.
func (c *AutomationRunsCmd) Run(ctx context.Context, a *app) error {
	runs, err := a.automationRuns(ctx, c.Name, c.Status, c.Limit)
	if err != nil {
		return err
	}
	automations, err := a.names(ctx, "/automations", len(runs))
	if err != nil {
		return err
	}
	return a.print(list[automation.Run]{runs}, func(w *tabwriter.Writer) { a.runRows(w, runs, automations) })
}

func (a *app) automationRuns(ctx context.Context, of, status string, limit int) ([]automation.Run, error) {
	query := url.Values{}
	if of != "" {
		query.Set("automation", of)
	}
	if status != "" {
		query.Set("status", status)
	}
	return fetch[automation.Run](ctx, a, "/automation-runs", query, limit)
}

func (a *app) runRows(w *tabwriter.Writer, runs []automation.Run, automations names) {
	row(w, "RUN", "AUTOMATION", "STATUS", "BEGUN", "TOOK", "TRIGGER", "EVENT", "REASON")
	for _, r := range runs {
		row(w, r.ID, automations.of(r.Automation), string(r.Status), a.ago(r.CreatedAt), took(r.StartedAt, r.EndedAt), dash(r.Trigger), r.Event.Type, dash(r.Reason))
	}
}

// took is how long something lasted that has ended.
func took(from, to *time.Time) string {
	if from == nil || to == nil {
		return "-"
	}
	return max(to.Sub(*from), 0).Round(time.Millisecond).String()
}

// AutomationTraceCmd shows a run and its steps.
type AutomationTraceCmd struct {
	ID string `arg:"" name:"run" help:"Its id."`
}

// Run shows it.
func (c *AutomationTraceCmd) Run(ctx context.Context, a *app) error {
	var trace httpapi.AutomationTrace
	if err := a.client.Get(ctx, at("/automation-runs", c.ID), nil, &trace); err != nil {
		return err
	}
	return a.printTrace(ctx, &trace)
}

func (a *app) printTrace(ctx context.Context, r *httpapi.AutomationTrace) error {
	automations, err := a.names(ctx, "/automations", 1)
	if err != nil {
		return err
	}
	return a.print(r, func(w *tabwriter.Writer) {
		row(w, "Run", r.ID)
		row(w, "Automation", fmt.Sprintf("%s, revision %d", automations.of(r.Automation), r.Revision))
		row(w, "Trigger", fmt.Sprintf("%s: %s of %s", dash(r.Trigger), r.Event.Type, r.ContextKey))
		if by := cmp.Or(r.Event.Actor.Name, r.Event.Actor.ID); by != "" {
			row(w, "By", by)
		}
		row(w, "Status", string(r.Status))
		row(w, "Reason", dash(r.Reason))
		row(w, "Created", instant(r.CreatedAt))
		if r.EndedAt != nil {
			row(w, "Ended", instant(*r.EndedAt))
		}
		if len(r.Steps) == 0 {
			return
		}
		row(w, "")
		row(w, "AT", "STATUS", "TOOK", "ATTEMPT", "PATH", "WHAT", "RESULT")
		for _, s := range r.Steps {
			row(w, instant(s.StartedAt), string(s.Status), took(&s.StartedAt, s.EndedAt), fmt.Sprint(s.Attempt), s.Path, cmp.Or(s.Action, s.Kind), stepResult(&s))
		}
	})
}

// longestResult is how much of a step's result a table shows, in characters.
const longestResult = 120

// stepResult is what became of a step; all of it is in the other formats.
func stepResult(s *automation.Step) string {
	text := cmp.Or(s.Error, string(s.Output))
	if text == "" && s.Due != nil && s.EndedAt == nil {
		text = "until " + instant(*s.Due)
	}
	if short := []rune(text); len(short) > longestResult {
		text = string(short[:longestResult]) + "…"
	}
	return dash(text)
}

// AutomationCancelCmd ends a run.
type AutomationCancelCmd struct {
	ID string `arg:"" name:"run" help:"Its id."`
}

// Run ends it.
func (c *AutomationCancelCmd) Run(ctx context.Context, a *app) error {
	var run automation.Run
	if err := a.client.Post(ctx, at("/automation-runs", c.ID, "cancel"), nil, &run); err != nil {
		return err
	}
	return a.print(run, func(w *tabwriter.Writer) { row(w, fmt.Sprintf("Run %s: %s", run.ID, run.Status)) })
}

// AutomationRerunCmd runs again.
type AutomationRerunCmd struct {
	ID string `arg:"" name:"run" help:"Its id."`
}

// Run starts another run.
func (c *AutomationRerunCmd) Run(ctx context.Context, a *app) error {
	var run automation.Run
	if err := a.client.Post(ctx, at("/automation-runs", c.ID, "rerun"), nil, &run); err != nil {
		return err
	}
	return a.print(run, func(w *tabwriter.Writer) { begun(w, &run) })
}
