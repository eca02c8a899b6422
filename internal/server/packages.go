package server

import (
	"context"
	"time"

	"github.com/perigee-monitoring/perigee/internal/blob"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/packages"
)

// newPackages makes the service of script packages. The database is read even where
// new blobs go elsewhere, so that changing the place loses nothing.
func (s *Server) newPackages(ctx context.Context, recorder *entity.Recorder) (*packages.Service, error) {
	stores := []packages.BlobStore{s.db.Blobs()}
	if address := s.config.Blobs; address != "" && address != "db" {
		outside, err := blob.Open(ctx, address, s.config.BlobKeys)
		if err != nil {
			return nil, err
		}
		stores = append([]packages.BlobStore{outside}, stores...)
	}
	return packages.New(packages.Config{
		Store: s.db, Recorder: recorder, Bell: s.bell, Blobs: stores,
		Registry: s.config.Registry, Token: s.config.RegistryToken, Log: s.log,
	})
}

// packagesCollectedEvery is how often blobs that nobody needs are deleted.
const packagesCollectedEvery = 24 * time.Hour

// collectPackages deletes unneeded blobs once a day. Of several cores that try at the
// same time one gets the claim; the others find nothing left to do.
func (s *Server) collectPackages(ctx context.Context) error {
	ticker := time.NewTicker(packagesCollectedEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if _, err := s.packages.Collect(ctx); err != nil && ctx.Err() == nil && !fault.Is(err, fault.Conflict) {
				s.log.Error("collecting packages failed", "error", err)
			}
		}
	}
}
