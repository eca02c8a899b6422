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

// forgetSecrets drops values from memory when one was replaced on another core.
func (s *Server) forgetSecrets(ctx context.Context) error {
	if err := s.secrets.Check(ctx); err != nil {
		s.log.Error("secrets cannot be used", "error", err)
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
