package server

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
)

// runWatches are what enabled automations wish to be told of single runs.
type runWatches struct {
	now atomic.Pointer[[]health.RunWatch]
}

func (w *runWatches) get() []health.RunWatch {
	if all := w.now.Load(); all != nil {
		return *all
	}
	return nil
}

const (
	// watchPoll is how often automations are looked through without a bell, and watchRest
	// how often at most with one.
	watchPoll = 5 * time.Second
	watchRest = time.Second
)

// keepWatches lets ingest know which runs automations wish to be told of.
func (s *Server) keepWatches(ctx context.Context) error {
	poll := time.NewTicker(watchPoll)
	defer poll.Stop()
	for {
		if err := s.readWatches(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("what automations wish to be told of could not be read", "error", err)
		}
		rest := time.NewTimer(watchRest)
		select {
		case <-ctx.Done():
			rest.Stop()
			return nil
		case <-rest.C:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.watchesChanged:
		case <-poll.C:
		}
	}
}

func (s *Server) readWatches(ctx context.Context) error {
	watches := []health.RunWatch{}
	for cursor := ""; ; {
		page, next, err := s.db.Automations(ctx, fleet.Page{Cursor: cursor, Limit: 1000})
		if err != nil {
			return err
		}
		for _, a := range page {
			if !a.Enabled {
				continue
			}
			for _, w := range a.Definition.Watches() {
				watches = append(watches, health.RunWatch{Type: w.Event, Field: w.Field, System: w.System, Check: w.Check})
			}
		}
		if next == "" {
			s.watches.now.Store(&watches)
			return nil
		}
		cursor = next
	}
}
