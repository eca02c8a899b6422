package action

import (
	"context"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/catalog"
)

type assignmentConfig struct {
	Assignment string `json:"assignment" help:"The assignment, by id or name."`
}

func assignmentEnable(s Services, enabled bool) automation.Action {
	name, summary := "assignment.enable", "Lets an assignment run."
	if !enabled {
		name, summary = "assignment.disable", "Lets an assignment run no more."
	}
	return repeatable(automation.NewAction(name, summary, func(ctx context.Context, r automation.Request, c assignmentConfig) (any, error) {
		a, err := s.Catalog.Assignment(ctx, c.Assignment)
		if err != nil {
			return nil, err
		}
		if a.Enabled != enabled {
			a, err = s.Catalog.UpdateAssignment(ctx, r.Actor(), a.ID, catalog.AssignmentInput{
				Name: a.Name, Labels: a.Labels, Check: a.CheckID, System: a.SystemID, IncludeLocal: &a.IncludeLocal, Satellites: a.Satellites,
				Enabled: &enabled, Policy: a.Policy, Environments: a.Environments, SatelliteEnvironments: a.SatelliteEnvironments,
			})
			if err != nil {
				return nil, err
			}
		}
		return map[string]any{"id": a.ID, "name": a.Name, "enabled": a.Enabled}, nil
	}))
}
