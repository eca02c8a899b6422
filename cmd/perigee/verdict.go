package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/verdict"
)

// VerdictCmd is what was judged of checks, and why.
type VerdictCmd struct {
	List   VerdictListCmd   `cmd:"" help:"List the verdicts on a check, newest first."`
	Get    VerdictGetCmd    `cmd:"" help:"Show a verdict and everything that it rests on."`
	Verify VerdictVerifyCmd `cmd:"" help:"Reach a verdict again from its evidence in a file, without asking a core."`
}

// VerdictListCmd lists verdicts.
type VerdictListCmd struct {
	Check  string `arg:"" help:"The check (name or id)."`
	System string `placeholder:"NAME" help:"Only on this system (name or id)."`
	Limit  int    `default:"50" placeholder:"N" help:"The most to show (${default}); 0 is all."`
}

// Run lists them.
func (c *VerdictListCmd) Run(ctx context.Context, a *app) error {
	all, err := fetch[verdict.Verdict](ctx, a, at("/checks", c.Check, "verdicts"), filters("system", c.System), c.Limit)
	if err != nil {
		return err
	}
	return a.print(list[verdict.Verdict]{all}, func(w *tabwriter.Writer) {
		row(w, "VERDICT", "STATUS", "AT", "UNTIL", "REASON")
		for _, v := range all {
			until := "now"
			if v.Until != nil {
				until = instant(*v.Until)
			}
			row(w, v.ID, string(v.Status), instant(v.At), until, v.Reason)
		}
	})
}

// VerdictGetCmd shows a verdict with its evidence.
type VerdictGetCmd struct {
	Check   string `arg:"" help:"The check (name or id)."`
	Verdict string `arg:"" optional:"" help:"The verdict's id; the newest when left out."`
	System  string `placeholder:"NAME" help:"The newest on this system (name or id)."`
	Verify  bool   `help:"Reach the verdict again from its evidence, here, and fail if it differs."`
}

// Run shows it.
func (c *VerdictGetCmd) Run(ctx context.Context, a *app) error {
	if c.Verdict == "" {
		newest, err := fetch[verdict.Verdict](ctx, a, at("/checks", c.Check, "verdicts"), filters("system", c.System), 1)
		if err != nil {
			return err
		}
		if len(newest) == 0 {
			return fmt.Errorf("there is no verdict on %s yet: it has not been measured", c.Check)
		}
		c.Verdict = newest[0].ID
	}
	var found verdict.Judged
	if err := a.client.Get(ctx, at("/checks", c.Check, "evidence", c.Verdict), nil, &found); err != nil {
		return err
	}
	if err := a.print(found, func(w *tabwriter.Writer) { a.evidence(w, &found) }); err != nil || !c.Verify {
		return err
	}
	return a.verify(&found)
}

// maxEvidence bounds evidence that is read from a file.
const maxEvidence = 64 << 20

// VerdictVerifyCmd judges evidence that was saved.
type VerdictVerifyCmd struct {
	File string `arg:"" help:"What 'perigee verdict get CHECK -o json' printed; - is standard input."`
}

// Run judges it.
func (c *VerdictVerifyCmd) Run(a *app) error {
	text, err := a.readInput(c.File, "the evidence", maxEvidence)
	if err != nil {
		return err
	}
	var found verdict.Judged
	if err := json.Unmarshal(text, &found); err != nil {
		return fmt.Errorf("%s is not evidence as JSON: %w", c.File, err)
	}
	return a.verify(&found)
}

// verify says on standard error whether a verdict follows from its evidence.
func (a *app) verify(found *verdict.Judged) error {
	if err := verdict.Verify(*found); err != nil {
		return fmt.Errorf("the verdict does not follow from its evidence: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	_, err := fmt.Fprintf(a.errw, "verified: %s follows from %d places and %d runs\n",
		found.Verdict.Status, len(found.Evidence.Seats), len(found.Evidence.Runs))
	return err
}

func (a *app) evidence(w *tabwriter.Writer, found *verdict.Judged) {
	v, e := &found.Verdict, &found.Evidence
	row(w, "Verdict", v.ID)
	row(w, "Status", string(v.Status))
	row(w, "Reason", v.Reason)
	row(w, "Fault lies in", string(v.Class)+parenthesis(v.Word))
	row(w, "Check", e.Check.Name)
	row(w, "System", e.System.Name)
	row(w, "Environment", dash(e.Environment.Name))
	changed := ""
	if e.Assignment.Changed != nil {
		changed = "as of " + instant(*e.Assignment.Changed)
	}
	row(w, "Assignment", e.Assignment.Name+parenthesis(changed))
	row(w, "Policy", policyText(e.Policy))
	row(w, "At", instant(v.At))
	until := "now"
	if v.Until != nil {
		until = instant(*v.Until)
	}
	row(w, "Until", until)
	row(w, "")
	row(w, "PLACE", "STATUS", "COUNTED", "RECENT", "EXECUTED", "RECEIVED", "MESSAGE")
	for i := range e.Seats {
		s := &e.Seats[i]
		status, recent, executed, received := check.Unknown, "-", "-", "-"
		if s.State != nil {
			status, recent = s.State.Status, s.State.Recent
			executed, received = instant(s.State.ExecutedAt), instant(s.State.ReceivedAt)
		}
		row(w, s.Satellite+parenthesis(s.Region), string(status), counted(s, e), recent, executed, received, s.Message)
	}
	if len(e.Runs) == 0 {
		return
	}
	row(w, "")
	row(w, "RUN", "PLACE", "STATUS", "LATENCY", "EXECUTED", "RECEIVED", "MESSAGE")
	names := map[string]string{}
	for i := range e.Seats {
		names[e.Seats[i].SatelliteID] = e.Seats[i].Satellite
	}
	for i := range e.Runs {
		r := &e.Runs[i]
		row(w, r.RunID, names[r.SatelliteID], string(r.Status), milliseconds(r.LatencyMs), instant(r.ExecutedAt), instant(r.ReceivedAt), cmp.Or(r.Inconclusive, r.Message))
	}
}

// counted says whether a place had a voice, and why not.
func counted(s *verdict.Seat, e *verdict.Evidence) string {
	switch {
	case s.Fresh(e.At):
		return "yes"
	case !s.Online:
		return "no: offline"
	case s.State == nil:
		return "no: no result"
	case s.CatchesUp():
		return "no: old results"
	default:
		return "no: no recent result"
	}
}

func parenthesis(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}
