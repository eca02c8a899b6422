package server

import (
	"context"
	"runtime"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

// about is what this core says of itself. What the database cannot tell, or not in
// time, is an error: a page that says less than it should would pass for the truth.
func (s *Server) about(ctx context.Context) (httpapi.About, error) {
	began := time.Now()
	if err := s.db.Ping(ctx); err != nil {
		return httpapi.About{}, err
	}
	latency := time.Since(began)
	facts, err := s.db.Facts(ctx)
	if err != nil {
		return httpapi.About{}, err
	}
	about := httpapi.About{
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, StartedAt: s.startedAt,
		Core: s.fleet.Core(), Cores: []httpapi.RunningCore{}, Bus: s.bell.Status(), Sessions: len(s.hub.Sessions()), Settings: slices.Clone(s.config.Settings),
		Database: httpapi.AboutDatabase{
			Engine: s.db.Engine(), Version: facts.Version, Schema: facts.Schema, SizeBytes: facts.SizeBytes,
			LatencyMs: float64(latency.Microseconds()) / 1000,
		},
	}
	for _, c := range facts.Cores {
		about.Cores = append(about.Cores, httpapi.RunningCore{ID: c.ID, SeenAt: c.SeenAt})
	}
	return about, nil
}
