package server

import (
	"context"
	"path/filepath"

	"github.com/perigee-monitoring/perigee/internal/secret"
)

// rootKey reads the root key of secrets. One is made only in the data directory: a
// file that an operator names is one that other cores have too.
func (s *Server) rootKey() ([]byte, error) {
	if s.config.SecretKey != "" {
		return secret.ParseRoot(s.config.SecretKey)
	}
	if s.config.SecretKeyFile != "" {
		return secret.LoadRoot(s.config.SecretKeyFile, false)
	}
	return secret.LoadRoot(filepath.Join(s.config.DataDir, "secret.key"), true)
}

// oldRootKey reads the root key before the present one; nil for none.
func (s *Server) oldRootKey() ([]byte, error) {
	if s.config.SecretKeyOldFile == "" {
		return nil, nil
	}
	return secret.LoadRoot(s.config.SecretKeyOldFile, false)
}

// keepSecrets takes credentials out of the checks of an older version, and drops
// values from memory when one was replaced on another core. With a root key that opens
// nothing the core runs on, and says so.
func (s *Server) keepSecrets(ctx context.Context) error {
	if err := s.secrets.Check(ctx); err != nil {
		s.log.Error("secrets cannot be used", "error", err)
	} else if err := s.Catalog.ConcealAll(ctx); err != nil && ctx.Err() == nil {
		s.log.Error("credentials that are written out in checks stay where they are", "error", err)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.secretsChanged:
			s.secrets.Forget()
		}
	}
}
