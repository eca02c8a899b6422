package main

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

// CheckRunCmd runs a check now, at satellites of one's choice.
type CheckRunCmd struct {
	Name        string        `arg:"" help:"Its name or id."`
	System      string        `placeholder:"SYSTEM" help:"Of this system; may be left out when the check is assigned to one only."`
	Environment string        `placeholder:"ENV" help:"Only in this environment."`
	From        []string      `sep:"," placeholder:"SAT,…" help:"At these satellites, whether it is assigned there or not; where it is assigned when left out."`
	Wait        time.Duration `default:"1m" placeholder:"TIME" help:"How long to wait for results."`
}

// Help says what the exit code means.
func (c *CheckRunCmd) Help() string {
	return `Results are shown as they come. The exit code is 0 when every satellite that was
asked says healthy, else 1. A run that is asked for stands beside the schedule: it
counts in no availability.`
}

// errUnwell ends a run whose results have been shown and are not all healthy.
var errUnwell = fmt.Errorf("not every result is healthy: %w", errDifferent)

// Run asks, and shows each result as it comes.
func (c *CheckRunCmd) Run(ctx context.Context, a *app) error {
	var view httpapi.RunRequestView
	body := map[string]any{"system": c.System, "environment": c.Environment}
	if c.From != nil {
		body["satellites"] = c.From
	}
	if err := a.client.Post(ctx, at("/checks", c.Name)+"/run", body, &view); err != nil {
		return err
	}
	t := ticker{app: a, told: map[string]bool{}}
	if err := t.asked(&view); err != nil {
		return err
	}
	deadline := time.Now().Add(c.Wait)
	for {
		if err := t.tell(ctx, &view); err != nil {
			return err
		}
		left := time.Until(deadline)
		if view.Over() == len(view.Runs) || left <= 0 {
			break
		}
		query := url.Values{"wait": {fmt.Sprintf("%dms", min(left, 10*time.Second).Milliseconds())}, "over": {fmt.Sprint(view.Over())}}
		if err := a.client.Get(ctx, at("/run-requests", view.ID), query, &view); err != nil {
			return err
		}
	}
	if a.format != "table" {
		if err := a.print(view, nil); err != nil {
			return err
		}
	}
	return verdictOf(&view, c.Wait)
}

// verdictOf is the error that a person, or a script, should see of the results.
func verdictOf(view *httpapi.RunRequestView, waited time.Duration) error {
	worst := check.Healthy
	for _, r := range view.Runs {
		switch {
		case !r.State.Over():
			return fmt.Errorf("%s gave no result within %s", r.Satellite, waited)
		case r.State != fleet.RunDone:
			return fmt.Errorf("%s did not run it: %s", r.Satellite, cmp.Or(r.Reason, "it was not connected"))
		}
		worst = check.Worst(worst, check.Status(r.Status))
	}
	if worst != check.Healthy {
		return errUnwell
	}
	return nil
}

// ticker shows what there is of a request and has not been shown.
type ticker struct {
	app  *app
	told map[string]bool
	// environments are read once they are heard of.
	environments names
}

// asked says who was asked.
func (t *ticker) asked(view *httpapi.RunRequestView) error {
	if t.app.format != "table" {
		return nil
	}
	var names []string
	for _, r := range view.Runs {
		if r.State == fleet.RunRefused {
			continue
		}
		name := whereRun(&r)
		if r.Guest {
			name += " [not assigned there]"
		}
		names = append(names, name)
	}
	_, err := fmt.Fprintf(t.app.out, "asked: %s\n", cmp.Or(plain(strings.Join(names, ", ")), "nobody"))
	return err
}

// whereRun is a satellite and where it is.
func whereRun(r *fleet.RunRequest) string {
	if r.Region == "" {
		return r.Satellite
	}
	return r.Satellite + " (" + r.Region + ")"
}

// tell shows the answers that are new, each in lines that stand for themselves.
func (t *ticker) tell(ctx context.Context, view *httpapi.RunRequestView) error {
	if t.app.format != "table" {
		return nil
	}
	width := 0
	for _, r := range view.Runs {
		width = max(width, len([]rune(whereRun(&r))))
	}
	for _, r := range view.Runs {
		where := fmt.Sprintf("%-*s", width, whereRun(&r))
		for _, answer := range r.Answers {
			if answer.Skipped != "" || t.told[answer.RunID] {
				continue
			}
			t.told[answer.RunID] = true
			line := []string{where, fmt.Sprintf("%-9s", answer.Status), fmt.Sprintf("%8s", milliseconds(answer.LatencyMs))}
			if answer.EnvironmentID != "" {
				if _, known := t.environments[answer.EnvironmentID]; !known {
					var err error
					if t.environments, err = t.app.environmentNames(ctx, answer.EnvironmentID); err != nil {
						return err
					}
				}
				line = append(line, "in "+t.environments.of(answer.EnvironmentID))
			}
			line = append(line, answer.Message, timings(answer.Timings))
			if _, err := fmt.Fprintln(t.app.out, plain(strings.TrimRight(strings.Join(line, "  "), " "))); err != nil {
				return err
			}
		}
		if r.State.Over() && r.State != fleet.RunDone && !t.told[r.SatelliteID] {
			t.told[r.SatelliteID] = true
			if _, err := fmt.Fprintln(t.app.out, plain(fmt.Sprintf("%s  not run: %s", where, cmp.Or(r.Reason, "it was not connected")))); err != nil {
				return err
			}
		}
	}
	return nil
}

// timings are the phases that were measured: "dns 2 ms, connect 5 ms".
func timings(t *check.Timings) string {
	if t == nil {
		return ""
	}
	var all []string
	for _, phase := range []struct {
		name string
		ms   *float64
	}{{"dns", t.DNSMs}, {"connect", t.ConnectMs}, {"tls", t.TLSMs}, {"wait", t.WaitMs}, {"transfer", t.TransferMs}, {"processing", t.ProcessingMs}} {
		if phase.ms != nil {
			all = append(all, fmt.Sprintf("%s %.1f ms", phase.name, *phase.ms))
		}
	}
	if all == nil {
		return ""
	}
	return "[" + strings.Join(all, ", ") + "]"
}
