package server

import (
	"context"
	"fmt"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/automation/action"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/notify"
)

// newActions makes what automations can do.
func (s *Server) newActions() *automation.Registry {
	return automation.NewRegistry(action.All(action.Services{
		Channels: s.channels, Incidents: s.incidents, Catalog: s.Catalog, Fleet: s.fleet, Satellites: s.db, RunRequests: s.runs, Results: s.db, Secrets: s.secrets,
		HTTP: notify.NewClient(), Log: s.log,
	})...)
}

// hookSecret gives what the calls of a hook are signed with, by the secret's name.
func (s *Server) hookSecret(ctx context.Context, name string) (string, error) {
	reference := "${{ secrets." + name + " }}"
	texts, _, err := s.secrets.Fill(ctx, reference)
	switch {
	case err != nil:
		return "", err
	case texts[0] == reference: // no name of a secret, and known to everybody
		return "", fault.New(fault.NotFound, "there is no secret %q", name)
	}
	return texts[0], nil
}

// InstallAutomations makes those that are not there yet. One of the same name stays as
// people made it.
func (s *Server) InstallAutomations(ctx context.Context, all []automation.Input) error {
	for _, in := range all {
		if _, err := s.automations.Create(ctx, entity.System, in); err != nil && !fault.Is(err, fault.Conflict) {
			return fmt.Errorf("installing automation %q: %w", in.Name, err)
		}
	}
	return nil
}
