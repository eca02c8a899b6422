package action

import (
	"context"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

type satelliteConfig struct {
	Satellite string `json:"satellite" help:"The satellite, by id or name."`
}

type cordonConfig struct {
	Satellite string `json:"satellite" help:"The satellite, by id or name."`
	Drain     bool   `json:"drain,omitempty" help:"Move the seats that it has away as well."`
}

func satelliteCordon(s Services, to fleet.Cordon) automation.Action {
	if to == fleet.Uncordoned {
		return repeatable(automation.NewAction("satellite.uncordon", "Lets a satellite get seats again.", func(ctx context.Context, r automation.Request, c satelliteConfig) (any, error) {
			return s.cordon(ctx, r, c.Satellite, fleet.Uncordoned)
		}))
	}
	return repeatable(automation.NewAction("satellite.cordon", "Gives a satellite no new seats.", func(ctx context.Context, r automation.Request, c cordonConfig) (any, error) {
		if c.Drain {
			return s.cordon(ctx, r, c.Satellite, fleet.Drained)
		}
		return s.cordon(ctx, r, c.Satellite, fleet.Cordoned)
	}))
}

func (s Services) cordon(ctx context.Context, r automation.Request, ref string, to fleet.Cordon) (any, error) {
	id := ref
	if uuid.Validate(ref) != nil {
		found, err := s.Satellites.SatelliteByName(ctx, ref)
		if err != nil {
			return nil, err
		}
		id = found.ID
	}
	sat, err := s.Fleet.SetCordon(ctx, r.Actor(), id, to)
	if err != nil {
		return nil, err
	}
	return map[string]any{"id": sat.ID, "name": sat.Name, "cordoned": sat.CordonedAt != nil, "draining": sat.Draining}, nil
}
