package automation

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

// Limits of what a dry run tells. What is beyond them is counted and not shown.
const (
	maxReportedDecisions = 5000
	maxReportedRuns      = 1000
)

var errTooMuch = fault.New(fault.Invalid, "the dry run has more than %d events, timers and steps; choose a shorter time", maxSimulated)

// DryRun says what programs would have done in the past: recorded events go through the
// same engine, under a clock of its own. Actions are noted and not done; what they would
// have given, nobody knows, and so it is what they suppose. The same input gives the
// same report.
type DryRun struct {
	Programs []*Program
	// Actions say what to suppose; nil for empty objects.
	Actions  Actions
	From, To time.Time
	// States are the entities as they were at From.
	States States
	// Events are those after From and not after To, in their order.
	Events iter.Seq2[entity.Event, error]
}

// Report is what a dry run found.
type Report struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Events int       `json:"events"`
	// Counts are all decisions by automation's name and outcome.
	Counts map[string]map[Outcome]int `json:"counts"`
	// Decisions and Runs are in the order of time; Truncated tells that there were more.
	Decisions []Decision    `json:"decisions"`
	Runs      []ReportedRun `json:"runs"`
	Truncated bool          `json:"truncated"`
}

// ReportedRun is a run as it would have been. One that had not ended at To says how it
// stood then.
type ReportedRun struct {
	Name string `json:"name"` // of its automation
	Run  Run    `json:"run"`
	// Steps are its trace: what would have been done has its input.
	Steps []Step `json:"steps"`
}

// Run goes through the events. Fault: Invalid when it is too much; errors are those of
// Events and States.
func (d DryRun) Run(ctx context.Context) (Report, error) {
	report := Report{From: d.From, To: d.To, Counts: map[string]map[Outcome]int{}, Decisions: []Decision{}, Runs: []ReportedRun{}}
	names := map[string]string{}
	for _, p := range d.Programs {
		names[p.automation.ID] = p.automation.Name
		report.Counts[p.automation.Name] = map[Outcome]int{}
	}
	m := newSimulation(d.Programs, d.From, d.States)
	m.do = func(_ Run, step Step) Step {
		step.Status, step.Output = StepSuccess, json.RawMessage(`{}`)
		if d.Actions == nil {
			return step
		}
		if a, ok := d.Actions.Action(step.Action); ok && a.Supposed != nil {
			step.Output = a.Supposed
		}
		return step
	}
	m.decided = func(o Decision) {
		report.Counts[names[o.Automation]][o.Outcome]++
		if len(report.Decisions) == maxReportedDecisions {
			report.Truncated = true
			return
		}
		report.Decisions = append(report.Decisions, o)
	}
	m.ended = func(r Run, steps []Step) {
		if len(report.Runs) == maxReportedRuns {
			report.Truncated = true
			return
		}
		report.Runs = append(report.Runs, ReportedRun{Name: names[r.Automation], Run: r, Steps: steps})
	}
	for e, err := range d.Events {
		if err != nil {
			return report, err
		}
		if err := ctx.Err(); err != nil {
			return report, fmt.Errorf("dry run: %w", err)
		}
		report.Events++
		if err := m.event(e); err != nil {
			return report, err
		}
	}
	if err := m.until(d.To); err != nil {
		return report, err
	}
	for _, r := range m.runs {
		m.ended(r.Run, r.journal.steps)
	}
	return report, nil
}

// WriteText writes the report for people: each decision with its reasons, and what its
// run would have done.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s to %s, %d events\n", r.From.UTC().Format(time.RFC3339), r.To.UTC().Format(time.RFC3339), r.Events)
	for _, name := range slices.Sorted(maps.Keys(r.Counts)) {
		fmt.Fprintf(&b, "%s: %s\n", name, r.outcomes(name))
	}
	runs := map[string]ReportedRun{}
	for _, run := range r.Runs {
		runs[run.Run.ID] = run
	}
	for _, d := range r.Decisions {
		fmt.Fprintf(&b, "\n%s  %-9s %s of %s: %s\n", d.At.UTC().Format(time.RFC3339), d.Outcome, d.Trigger, d.ContextKey, d.Reason)
		for _, e := range d.Because {
			fmt.Fprintf(&b, "    %-5s  %s  %s", e.Result, e.Path, e.Text)
			if e.Why != "" {
				fmt.Fprintf(&b, "  (%s)", e.Why)
			}
			b.WriteByte('\n')
		}
		if d.Run == nil {
			continue
		}
		run, ok := runs[d.Run.ID]
		if !ok {
			continue
		}
		for _, s := range run.Steps {
			name := s.Kind
			if s.Action != "" {
				name = s.Action
			}
			fmt.Fprintf(&b, "    %s  %-8s %s  %s %s", s.StartedAt.UTC().Format(time.RFC3339), s.Status, s.Path, name, strings.TrimSpace(string(s.Input)))
			if s.Error != "" {
				fmt.Fprintf(&b, "  %s", s.Error)
			}
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "    %s  run %s", run.Run.CreatedAt.UTC().Format(time.RFC3339), run.Run.Status)
		if run.Run.EndedAt != nil {
			fmt.Fprintf(&b, " at %s", run.Run.EndedAt.UTC().Format(time.RFC3339))
		}
		if run.Run.Reason != "" {
			fmt.Fprintf(&b, ": %s", run.Run.Reason)
		}
		b.WriteByte('\n')
	}
	if r.Truncated {
		b.WriteString("\nThere was more; choose a shorter time to see it.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// outcomes counts what became of what an automation waits for.
func (r Report) outcomes(name string) string {
	var counts []string
	for _, outcome := range slices.Sorted(maps.Keys(r.Counts[name])) {
		counts = append(counts, fmt.Sprintf("%d %s", r.Counts[name][outcome], outcome))
	}
	return cmp.Or(strings.Join(counts, ", "), "nothing of this is what it waits for")
}
