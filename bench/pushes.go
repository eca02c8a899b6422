package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// arrival is a change of assignments as a satellite got it.
type arrival struct {
	satellite *satellite
	at        time.Time
}

// rounds is how many changes are measured, each of which concerns a few satellites.
const rounds = 100

// pushes changes one assignment after the other while everybody is connected, and
// measures until the satellites that it concerns have been told. Nobody else may
// hear anything. Then it changes the check that all of them run.
func pushes(ctx context.Context, s settings, c *core, f *fleet) ([]figure, error) {
	if err := f.connected(ctx, s, c); err != nil {
		return nil, err
	}
	arrivals := make(chan arrival, 4*s.satellites)
	for _, sat := range f.satellites {
		sat.told.Store(&arrivals)
	}
	var took []time.Duration
	for round := range rounds {
		group := round % (len(f.satellites) / watchers)
		want := map[*satellite]bool{}
		for _, sat := range f.satellites[group*watchers : (group+1)*watchers] {
			want[sat] = true
		}
		spec := assignmentSpec(group)
		spec["enabled"] = round/(len(f.satellites)/watchers)%2 == 1
		began := time.Now()
		if err := c.call(ctx, http.MethodPost, "/api/v1/apply", map[string]any{"documents": []any{document("Assignment", systemName(group), spec)}}, nil); err != nil {
			return nil, err
		}
		for len(want) > 0 {
			got, err := next(ctx, arrivals)
			if err != nil {
				return nil, fmt.Errorf("change %d, %d of %d satellites told: %w", round, watchers-len(want), watchers, err)
			}
			if !want[got.satellite] {
				return nil, fmt.Errorf("satellite %s was told of a change that does not concern it", got.satellite.id)
			}
			delete(want, got.satellite)
			took = append(took, got.at.Sub(began))
		}
	}
	slices.Sort(took)
	figures := []figure{{
		what: "assignment change → on the satellites it concerns, p99", reached: ms(took[len(took)*99/100]), unit: "ms", bar: 2000, goal: 500, less: true,
		note: fmt.Sprintf("%d connected, %d changes of %d satellites each, p50 %.0f ms; nobody else was told", len(f.satellites), rounds, watchers, ms(took[len(took)/2])),
	}}
	all, err := pushToAll(ctx, c, f, arrivals)
	return append(figures, all...), err
}

// pushToAll changes the check that every satellite with an enabled assignment runs.
func pushToAll(ctx context.Context, c *core, f *fleet, arrivals chan arrival) ([]figure, error) {
	enabled := len(f.satellites) - min(rounds, len(f.satellites)/watchers)*watchers
	if enabled <= 0 {
		return nil, nil
	}
	spec := checkSpec()
	spec["interval"] = "23h"
	began := time.Now()
	if err := c.call(ctx, http.MethodPost, "/api/v1/apply", map[string]any{"documents": []any{document("Check", "front", spec)}}, nil); err != nil {
		return nil, err
	}
	var last time.Time
	for told := map[*satellite]bool{}; len(told) < enabled; {
		got, err := next(ctx, arrivals)
		if err != nil {
			return nil, fmt.Errorf("%d of %d satellites told of a check: %w", len(told), enabled, err)
		}
		told[got.satellite], last = true, got.at
	}
	return []figure{{
		what: "change of a check → on every satellite, the last of them", reached: ms(last.Sub(began)), unit: "ms", less: true,
		note: fmt.Sprintf("%d satellites", enabled),
	}}, nil
}

func next(ctx context.Context, arrivals <-chan arrival) (arrival, error) {
	select {
	case got := <-arrivals:
		return got, nil
	case <-time.After(30 * time.Second):
		return arrival{}, errors.New("nothing came for 30 s")
	case <-ctx.Done():
		return arrival{}, context.Cause(ctx)
	}
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }
