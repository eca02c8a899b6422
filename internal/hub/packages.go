package hub

import (
	"context"

	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
	"github.com/perigee-monitoring/perigee/protocol"
)

// Packages provides script packages (spec G). A NotFound fault is a hash or an
// integrity that it does not know.
type Packages interface {
	// LockfileHash is the tree that satellites should have; nil for no packages.
	LockfileHash(ctx context.Context) (*string, error)
	Manifest(ctx context.Context, lockfileHash string) ([]protocol.ManifestEntry, error)
	// Blob is a package in base64 (spec N.2).
	Blob(ctx context.Context, integrity string) (string, error)
	// Piece is at most length bytes of a package's blob from offset; beyond its end
	// there are none.
	Piece(ctx context.Context, integrity string, offset, length int64) (scriptpkg.Piece, error)
}

// wantedTree is what a satellite that comes is told.
func (h *Hub) wantedTree(ctx context.Context) (protocol.Nullable[string], error) {
	return h.tree.recent(func() (protocol.Nullable[string], error) { return h.lockfileHash(ctx) })
}

// lockfileHash is what satellites should have: absent when nobody here knows of
// packages or the provider fails (spec A.6).
func (h *Hub) lockfileHash(ctx context.Context) (protocol.Nullable[string], error) {
	var absent protocol.Nullable[string]
	if h.config.Packages == nil {
		return absent, nil
	}
	hash, err := h.config.Packages.LockfileHash(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return absent, err
	case err != nil:
		h.log.Warn("the wanted script packages are not known", "error", err)
		return absent, nil
	case hash == nil:
		return protocol.Null[string](), nil
	}
	return protocol.Of(*hash), nil
}

// relayPackages tells the tree of packages to every satellite that was told another
// one (spec E.3). The others hear nothing: a refresh makes an original agent look
// again, and one that has no news need not. It runs where relay runs, so that what a
// satellite is told is in order.
func (h *Hub) relayPackages(ctx context.Context) {
	if h.config.Packages == nil {
		return
	}
	timed, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	hash, err := h.tree.anew(func() (protocol.Nullable[string], error) { return h.lockfileHash(timed) })
	if err != nil || !hash.Present {
		return // the next poll asks again
	}
	for _, s := range h.snapshot() {
		if m := s.treeNews(hash); m != nil {
			s.send(m)
		}
	}
}

// treeNews is the message that tells the tree; nil when it was told already. No
// packages cannot be said in a refresh, so that comes with the assignments as they
// are (spec M88).
func (s *session) treeNews(hash protocol.Nullable[string]) protocol.FromCore {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tree.Present && (s.tree.Value == nil) == (hash.Value == nil) && s.tree.OrZero() == hash.OrZero() {
		return nil
	}
	s.tree = hash
	if hash.Value != nil {
		return &protocol.RefreshScriptPackages{LockfileHash: *hash.Value}
	}
	m := &protocol.ConfigUpdated{Assignments: s.set.assignments(nil), ScriptPackagesLockfileHash: hash}
	if s.features.has(protocol.FeatureDelta) {
		m.Revision = s.set.revision
	}
	return m
}
