package server

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/internal/probe"
	"github.com/perigee-monitoring/perigee/internal/satellite"
)

// localRegion is where the built-in satellite stands.
const localRegion = "core"

// localRetry is how long the built-in satellite rests after it ended by itself.
const localRetry = 5 * time.Second

// runLocal keeps the built-in satellite running: the same agent as everywhere,
// over a connection in memory. It takes a new token at every start, so that none
// is kept anywhere.
func (s *Server) runLocal(ctx context.Context) error {
	for {
		err := s.local(ctx)
		if ctx.Err() != nil {
			return nil
		}
		s.log.Error("the built-in satellite ended", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(localRetry):
		}
	}
}

func (s *Server) local(ctx context.Context) error {
	id, token, err := s.localCredentials(ctx)
	if err != nil {
		return err
	}
	var sessions sync.WaitGroup
	defer sessions.Wait()
	dial := func(context.Context) (link.Conn, error) {
		agent, core := link.Pipe()
		sessions.Go(func() { s.hub.Serve(core) })
		return agent, nil
	}
	agent, err := satellite.New(satellite.Config{
		ID: id, Token: token, DataDir: filepath.Join(s.config.DataDir, "local-satellite", id), Version: s.config.Version,
	}, probe.New(probe.Options{Log: s.log, Version: s.config.Version, AllowScripts: s.config.LocalScripts}), []satellite.Core{{URL: s.URL(), Dial: dial}}, s.log)
	if err != nil {
		return fmt.Errorf("making the built-in satellite: %w", err)
	}
	return agent.Run(ctx)
}

func (s *Server) localCredentials(ctx context.Context) (id, token string, err error) {
	known, err := s.db.SatelliteByName(ctx, catalog.LocalSatellite)
	if fault.Is(err, fault.NotFound) {
		made, token, err := s.fleet.Create(ctx, entity.System, fleet.NewSatellite{Name: catalog.LocalSatellite, Region: localRegion})
		return made.ID, token, err
	}
	if err != nil {
		return "", "", err
	}
	_, token, err = s.fleet.Rotate(ctx, entity.System, known.ID, fleet.Rotation{})
	return known.ID, token, err
}
