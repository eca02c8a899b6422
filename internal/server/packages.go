package server

import (
	"context"

	"github.com/perigee-monitoring/perigee/internal/blob"
	"github.com/perigee-monitoring/perigee/internal/entity"
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
