package server

import (
	"context"
	"time"
)

const (
	// maintenancePoll is how often the table is looked at although nobody rang.
	maintenancePoll = 15 * time.Second
	// maintenanceRest is the least time between two looks.
	maintenanceRest = 500 * time.Millisecond
	// keepMaintained is how long it is known what was in maintenance, as long as uptime
	// is asked for.
	keepMaintained = 400 * 24 * time.Hour
)

// keepMaintenances begins and ends maintenances when it is time to.
func (s *Server) keepMaintenances(ctx context.Context) error {
	for {
		wait, err := s.Catalog.Maintain(ctx)
		if err != nil {
			if ctx.Err() == nil {
				s.log.Error("beginning and ending maintenances failed", "error", err)
			}
			wait = maintenancePoll
		}
		rest, next := time.NewTimer(maintenanceRest), time.NewTimer(min(max(wait, maintenanceRest), maintenancePoll))
		select {
		case <-ctx.Done():
			rest.Stop()
		case <-rest.C:
		}
		select {
		case <-ctx.Done():
			next.Stop()
			return nil
		case <-s.definitionsChanged:
			next.Stop()
		case <-next.C:
		}
	}
}
