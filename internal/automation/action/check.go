package action

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
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
			return results(id, runs), nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fault.New(fault.Unavailable, "%d of %d runs were not over after %s", len(runs)-over, len(runs), runWait)
		}
	}
}

func results(id string, runs []fleet.RunRequest) any {
	all, worst := []map[string]any{}, ""
	for _, run := range runs {
		one := map[string]any{"satellite": run.Satellite, "state": string(run.State), "status": run.Status}
		if run.Reason != "" {
			one["reason"] = run.Reason
		}
		for _, a := range run.Answers {
			one["message"] = a.Message
			if a.LatencyMs != nil {
				one["latencyMs"] = *a.LatencyMs
			}
		}
		if rank(run.Status) > rank(worst) {
			worst = run.Status
		}
		all = append(all, one)
	}
	return map[string]any{"requestId": id, "status": worst, "runs": all, "summary": fmt.Sprintf("%d runs, %s", len(all), worst)}
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
