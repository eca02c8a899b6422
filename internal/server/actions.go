package server

import (
	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/automation/action"
	"github.com/perigee-monitoring/perigee/internal/notify"
)

// newActions makes what automations can do.
func (s *Server) newActions() *automation.Registry {
	return automation.NewRegistry(action.All(action.Services{
		Channels: s.channels, Incidents: s.incidents, Catalog: s.Catalog, Fleet: s.fleet, Satellites: s.db, RunRequests: s.runs, Secrets: s.secrets,
		HTTP: notify.NewClient(), Log: s.log,
	})...)
}
