package action

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/protocol"
)

type checkRunConfig struct {
	Check       string   `json:"check" help:"The check, by id or name."`
	System      string   `json:"system,omitempty" help:"The system, by id or name; may be left out when the check is assigned to one."`
	Environment string   `json:"environment,omitempty" help:"Only in this environment."`
	Satellites  []string `json:"satellites,omitempty" help:"Where; where it is assigned when left out."`
	Wait        bool     `json:"wait,omitempty" help:"Wait for the results, up to 90 seconds; false when left out."`
}

const (
	// runWait is how long a run is waited for: longer than a guest's may take.
	runWait = 90 * time.Second
	// runPoll is how often is looked.
	runPoll = time.Second
)

func checkRun(s Services) automation.Action {
	a := repeatable(automation.NewAction("check.run", "Runs a check now, beside its schedule.", func(ctx context.Context, r automation.Request, c checkRunConfig) (any, error) {
		found, err := s.Catalog.Check(ctx, c.Check)
		if err != nil {
			return nil, err
		}
		return s.run(ctx, r, &found, c)
	}))
	a.Timeout = runWait + 10*time.Second
	return a
}

type scriptRunConfig struct {
	Check     string `json:"check" help:"A check of strategy script, by id or name: the script and the packages that it imports."`
	System    string `json:"system,omitempty" help:"The system, by id or name; may be left out when the check is assigned to one."`
	Satellite string `json:"satellite" help:"Where it runs, by id or name, whether it is assigned there or not."`
}

func scriptRun(s Services) automation.Action {
	a := repeatable(automation.NewAction("script.run", "Runs a script on a satellite and waits for its result.", func(ctx context.Context, r automation.Request, c scriptRunConfig) (any, error) {
		found, err := s.Catalog.Check(ctx, c.Check)
		if err != nil {
			return nil, err
		}
		if !isScript(&found) {
			return nil, fault.New(fault.Invalid, "check %q runs no script: its strategy is %s", found.Name, found.Spec.Strategy)
		}
		return s.run(ctx, r, &found, checkRunConfig{System: c.System, Satellites: []string{c.Satellite}, Wait: true})
	}))
	a.Timeout = runWait + 10*time.Second
	return a
}

// isScript tells a check that is a script, or has one beside its strategy.
func isScript(c *catalog.Check) bool {
	return strings.HasPrefix(c.Spec.Strategy, scriptStrategies) || slices.ContainsFunc(c.Spec.Collectors, func(part check.Collector) bool {
		return strings.Contains(part.Collector, "script")
	})
}

// scriptStrategies begins the ids of those that run scripts.
const scriptStrategies = "healthcheck-script."

// run asks for the run under an id made of the key, so that a repeat finds it asked for.
func (s Services) run(ctx context.Context, r automation.Request, found *catalog.Check, c checkRunConfig) (any, error) {
	id := idOf(r.Key())
	_, err := s.RunRequests.Get(ctx, id)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	if err != nil {
		order := fleet.RunOrder{
			ID: id, Pair: protocol.Pair{ConfigID: found.ID}, Environment: c.Environment, Satellites: c.Satellites,
			By: r.Actor().ID, Asked: fleet.AskedManually,
		}
		if c.System != "" {
			system, err := s.Catalog.System(ctx, c.System)
			if err != nil {
				return nil, err
			}
			order.SystemID = system.ID
		}
		if _, err := s.RunRequests.Order(ctx, order); err != nil {
			return nil, err
		}
	}
	if !c.Wait {
		return map[string]any{"requestId": id}, nil
	}
	return s.awaitRuns(ctx, id)
}

// awaitRuns waits until all runs are over; those that are not by then say so.
func (s Services) awaitRuns(ctx context.Context, id string) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, runWait)
	defer cancel()
	tick := time.NewTicker(runPoll)
	defer tick.Stop()
	for {
		runs, err := s.RunRequests.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		over := 0
		for _, run := range runs {
			if run.State.Over() {
				over++
			}
		}
		if over == len(runs) {
			return s.results(ctx, id, runs)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fault.New(fault.Unavailable, "%d of %d runs were not over after %s", len(runs)-over, len(runs), runWait)
		}
	}
}

// maxFound bounds what a step keeps of what the collectors of all of its runs found, in
// bytes; beyond it, it is read by the run ids.
const maxFound = 48 << 10

func (s Services) results(ctx context.Context, id string, runs []fleet.RunRequest) (any, error) {
	all, worst, room := []map[string]any{}, "", maxFound
	for _, run := range runs {
		one := map[string]any{"satellite": run.Satellite, "state": string(run.State), "status": run.Status}
		if run.Reason != "" {
			one["reason"] = run.Reason
		}
		for _, a := range run.Answers {
			one["message"], one["runId"] = a.Message, a.RunID
			found, err := s.found(ctx, &run, a.RunID)
			if err != nil {
				return nil, err
			}
			if room -= len(found); len(found) > 0 && room >= 0 {
				one["found"] = found
			}
			if a.LatencyMs != nil {
				one["latencyMs"] = *a.LatencyMs
			}
		}
		if rank(run.Status) > rank(worst) {
			worst = run.Status
		}
		all = append(all, one)
	}
	return map[string]any{"requestId": id, "status": worst, "runs": all, "summary": fmt.Sprintf("%d runs, %s", len(all), worst)}, nil
}

// found is what the collectors of a run found, by their ids; nil when there is nothing.
func (s Services) found(ctx context.Context, r *fleet.RunRequest, runID string) (json.RawMessage, error) {
	slot := time.UnixMilli(r.Slot)
	runs, _, err := s.Results.Runs(ctx, health.RunFilter{SatelliteID: r.SatelliteID, CheckID: r.ConfigID, SystemID: r.SystemID, From: slot, To: slot.Add(time.Millisecond)}, fleet.Page{Limit: 100})
	if err != nil {
		return nil, fmt.Errorf("reading what a run found: %w", err)
	}
	for _, run := range runs {
		var result struct {
			Metadata struct {
				Collectors json.RawMessage `json:"collectors"`
			} `json:"metadata"`
		}
		if run.RunID == runID && json.Unmarshal(run.Result, &result) == nil {
			return result.Metadata.Collectors, nil
		}
	}
	return nil, nil
}

func rank(status string) int {
	switch check.Status(status) {
	case check.Healthy:
		return 1
	case check.Degraded:
		return 2
	case check.Unhealthy:
		return 3
	}
	return 0
}
