package action

import (
	"context"
	"time"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

type maintenanceConfig struct {
	System  string `json:"system" help:"The system, by id or name."`
	Minutes int    `json:"minutes" help:"How long, at most 43200."`
	Pause   bool   `json:"pause,omitempty" help:"Do not run its checks meanwhile."`
	Text    string `json:"text,omitempty" help:"Why."`
}

const maxMaintenanceMinutes = 43_200

// maintenanceName is what a system's maintenance by automations is called: it has one.
func maintenanceName(system string) string {
	name := "auto-" + system
	return name[:min(len(name), catalog.MaxName)]
}

// maintenanceSet begins, or lengthens, the one maintenance of a system that automations
// set, so that twice is once.
func maintenanceSet(s Services) automation.Action {
	return repeatable(automation.NewAction("maintenance.set", "Puts a system into maintenance from now on, for some minutes.",
		func(ctx context.Context, r automation.Request, c maintenanceConfig) (any, error) {
			if c.Minutes < 1 || c.Minutes > maxMaintenanceMinutes {
				return nil, fault.New(fault.Invalid, "minutes of maintenance.set must be from 1 to %d", maxMaintenanceMinutes)
			}
			system, err := s.Catalog.System(ctx, c.System)
			if err != nil {
				return nil, err
			}
			start := r.Step.StartedAt
			if start.IsZero() {
				start = time.Now().UTC()
			}
			end := start.Add(time.Duration(c.Minutes) * time.Minute)
			in := catalog.MaintenanceInput{
				Name: maintenanceName(system.Name), Description: c.Text, Mode: catalog.Mute, Systems: catalog.Selector{Names: []string{system.Name}}, Start: &start, End: &end,
			}
			if c.Pause {
				in.Mode = catalog.Pause
			}
			m, err := s.Catalog.Maintenance(ctx, in.Name)
			switch {
			case err == nil:
				m, err = s.Catalog.UpdateMaintenance(ctx, r.Actor(), m.ID, in)
			case fault.Is(err, fault.NotFound):
				m, err = s.Catalog.CreateMaintenance(ctx, r.Actor(), in)
			}
			if err != nil {
				return nil, err
			}
			return map[string]any{"id": m.ID, "name": m.Name, "end": end}, nil
		}))
}

type maintenanceClearConfig struct {
	System string `json:"system" help:"The system, by id or name."`
}

func maintenanceClear(s Services) automation.Action {
	return repeatable(automation.NewAction("maintenance.clear", "Ends the maintenance that maintenance.set began; those that people planned stay.",
		func(ctx context.Context, r automation.Request, c maintenanceClearConfig) (any, error) {
			system, err := s.Catalog.System(ctx, c.System)
			if err != nil {
				return nil, err
			}
			m, err := s.Catalog.Maintenance(ctx, maintenanceName(system.Name))
			if err == nil {
				_, err = s.Catalog.EndMaintenance(ctx, r.Actor(), m.ID)
			}
			if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Conflict) {
				return map[string]any{"cleared": false}, nil // there is none that lasts
			}
			return map[string]any{"cleared": err == nil}, err
		}))
}
