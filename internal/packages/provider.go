package packages

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
	"github.com/perigee-monitoring/perigee/protocol"
)

// loadTimeout bounds reading a blob for all who wait for it.
const loadTimeout = time.Minute

// Manifest is what a tree that was made here holds. NotFound is one that was not
// (spec M82); that of no packages was not either.
func (s *Service) Manifest(ctx context.Context, lockfileHash string) ([]protocol.ManifestEntry, error) {
	tree, err := s.store.Lockfile(ctx, lockfileHash)
	if err != nil {
		return nil, err
	}
	entries := slices.Clone(tree.Entries)
	if err := s.describe(ctx, entries); err != nil {
		return nil, err
	}
	all := make([]protocol.ManifestEntry, len(entries))
	for i, e := range entries {
		if e.BlobSha256 == "" {
			return nil, fault.New(fault.NotFound, "the package %s@%s of this tree was collected", e.Name, e.Version)
		}
		all[i] = protocol.ManifestEntry{Name: e.Name, Version: e.Version, Integrity: e.Integrity, BlobSha256: e.BlobSha256, Paths: e.Paths}
	}
	return all, nil
}

// Blob is a package in base64 (spec N.2), as original agents get it.
func (s *Service) Blob(ctx context.Context, integrity string) (string, error) {
	l, err := s.blobs.get(ctx, integrity)
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(l.data), nil
}

// Piece is at most length bytes of a package's blob from offset.
func (s *Service) Piece(ctx context.Context, integrity string, offset, length int64) (scriptpkg.Piece, error) {
	if offset < 0 || length < 0 {
		return scriptpkg.Piece{}, fault.New(fault.Invalid, "a piece from %d of %d bytes cannot be", offset, length)
	}
	l, err := s.blobs.get(ctx, integrity)
	if err != nil {
		return scriptpkg.Piece{}, fmt.Errorf("reading a blob: %w", err)
	}
	from := min(offset, l.Size)
	to := from + min(length, l.Size-from)
	return scriptpkg.Piece{Data: l.data[from:to:to], Total: l.Size, Sha256: l.Sha256}, nil
}
