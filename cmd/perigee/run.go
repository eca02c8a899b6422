package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

// runPoll is how often is looked how far asked runs are.
const runPoll = 500 * time.Millisecond

// runWait is how long results are waited for.
const runWait = time.Minute

// AssignmentRunCmd runs an assignment now.
type AssignmentRunCmd struct {
	Name      string   `arg:"" help:"Its name or id."`
	Satellite []string `sep:"none" placeholder:"NAME" help:"Only at this satellite; may be repeated."`
	Wait      bool     `help:"Wait for the results, for at most a minute."`
}

// Run asks for the runs and shows how far they are.
func (c *AssignmentRunCmd) Run(ctx context.Context, a *app) error {
	var view httpapi.RunRequestView
	body := map[string]any{}
	if c.Satellite != nil {
		body["satellites"] = c.Satellite
	}
	if err := a.client.Post(ctx, at("/assignments", c.Name)+"/run", body, &view); err != nil {
		return err
	}
	deadline := time.Now().Add(runWait)
	for c.Wait && unfinished(view.Runs) > 0 && time.Now().Before(deadline) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(runPoll):
		}
		if err := a.client.Get(ctx, at("/run-requests", view.ID), nil, &view); err != nil {
			return err
		}
	}
	if err := a.print(view, func(w *tabwriter.Writer) {
		row(w, "SATELLITE", "ENVIRONMENT", "STATE", "STATUS", "RUN")
		for _, r := range view.Runs {
			for _, run := range r.Expected {
				row(w, r.Satellite, dash(run.Environment), string(r.State), dash(r.Status), run.RunID)
			}
		}
	}); err != nil {
		return err
	}
	if n := unfinished(view.Runs); c.Wait && n > 0 {
		return fmt.Errorf("%d of %d runs have no result after %s", n, len(view.Runs), runWait)
	}
	return nil
}

// unfinished counts the runs of which a result may still come.
func unfinished(runs []fleet.RunRequest) int {
	n := 0
	for _, r := range runs {
		if r.State == fleet.RunWaiting || r.State == fleet.RunSent {
			n++
		}
	}
	return n
}
