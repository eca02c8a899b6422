package server

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fence"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/internal/probe"
	"github.com/perigee-monitoring/perigee/internal/satellite"
)

// localRegion is where the built-in satellite stands.
const localRegion = "core"

// localRetry is how long the built-in satellite rests after it ended by itself.
const localRetry = 5 * time.Second

// localCheck is how often a core makes sure that it still is the one which runs the
// built-in satellite.
const localCheck = 5 * time.Second

// runLocal keeps the built-in satellite running: the same agent as everywhere,
// over a connection in memory. It takes a new token at every start, so that none
// is kept anywhere. Of several cores one runs it; another takes over when that ends.
func (s *Server) runLocal(ctx context.Context) error {
	for {
		err := s.localInTurn(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			s.log.Error("the built-in satellite ended", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(localRetry):
		}
	}
}

// localInTurn runs the built-in satellite for as long as this core holds the place of
// the one that does; nil when another has it.
func (s *Server) localInTurn(ctx context.Context) error {
	held, err := s.db.HoldLocal(ctx)
	if err != nil || held == nil {
		return err
	}
	defer held.Release()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.local(ctx) })
	group.Go(func() error {
		ticker := time.NewTicker(localCheck)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
			}
			if err := held.Check(ctx); err != nil && ctx.Err() == nil {
				return fmt.Errorf("another core may run it by now: %w", err)
			}
		}
	})
	return group.Wait()
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
	observer := satellite.ObserverConfig{Gateway: true}
	if satellite.HasNameserver() {
		observer.Resolver = net.DefaultResolver
	}
	var agent *satellite.Satellite // runs begin only once it is there
	prober := probe.New(probe.Options{
		Log: s.log, Version: s.config.Version, AllowScripts: s.config.LocalScripts,
		HowToAllow: "start the core with --local-scripts (or PERIGEE_LOCAL_SCRIPTS=true)",
		Fence:      func() fence.Rules { return agent.ScriptRules() },
		Closed:     []string{s.config.DataDir},
	})
	agent, err = satellite.New(satellite.Config{
		Observer: observer,
		ID:       id, Token: token, DataDir: filepath.Join(s.config.DataDir, "local-satellite", id), Version: s.config.Version,
	}, prober, []satellite.Core{{URL: s.URL(), Dial: dial}}, s.log)
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
