package hub

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/protocol"
)

// What this core says to requests for what it does not offer (spec H.2, H.3, H.4).
const (
	noRunSecrets    = "Secret delivery is not available on this core instance."
	noConfigSecrets = "Config-secret delivery is not available on this core instance."
)

// answer replies to requests. Every request is answered, if with a no (spec A.11,
// M19), but for one: an unknown manifest (see manifest).
func (s *session) answer(m protocol.FromAgent) {
	switch m := m.(type) {
	case *protocol.RequestScriptPackageManifest:
		s.aside(func() { s.manifest(m.LockfileHash) })
	case *protocol.RequestScriptPackageBlob:
		s.aside(func() { s.blob(m.Integrity) })
	case *protocol.BlobRequest:
		if s.features.has(protocol.FeatureChunk) {
			s.aside(func() { s.piece(m) })
		}
	case *protocol.RequestRunSecrets:
		s.runSecrets(m)
	case *protocol.RequestConfigSecrets:
		s.configSecrets(m)
	case *protocol.TelemetryBatch:
		// No handler for any kind: refused for good, nothing to send again (A.8).
		s.send(&protocol.TelemetryAck{BatchID: m.BatchID})
	case *protocol.CapabilitySecretRequest:
		s.send(&protocol.CapabilitySecretResponse{
			RequestID: m.RequestID,
			Error:     fmt.Sprintf(`No secret resolver for capability "%s" on this core instance.`, m.Kind),
		})
	}
}

// asideAtOnce is how many requests of one session are answered at once. Who asks for
// more is not read from until there is room; our satellites do not.
const asideAtOnce = 4

// aside does what may take a while outside of the reading goroutine, which is the
// only caller, so that heartbeats and results do not wait for it (spec M85).
func (s *session) aside(answer func()) {
	if s.asides == nil {
		s.asides = make(chan struct{}, asideAtOnce)
	}
	if !s.waitAside() {
		return
	}
	s.work.Go(func() {
		defer func() { <-s.asides }()
		answer()
	})
}

// waitAside waits for a place; false when the session has ended.
func (s *session) waitAside() bool {
	select {
	case s.asides <- struct{}{}:
		return true
	default:
	}
	s.stalled.Store(true)
	defer s.stalled.Store(false)
	select {
	case s.asides <- struct{}{}:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// manifest answers what a hash holds. Without a provider that is nothing, as with
// the original (A.5). A hash that the provider does not know is an error to our own
// satellites and not answered to others: an original agent takes an empty list for an
// empty tree and believes that it has converged (spec M82). It is told instead which
// hash it should ask for.
func (s *session) manifest(hash string) {
	chunk := s.features.has(protocol.FeatureChunk)
	if s.hub.config.Packages == nil {
		reply := &protocol.ScriptPackageManifest{LockfileHash: hash}
		if chunk {
			reply.Error = "This core has no script packages."
		}
		s.send(reply)
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
	defer cancel()
	entries, err := s.hub.config.Packages.Manifest(ctx, hash)
	if err != nil {
		s.logger().Warn("a manifest was asked for that cannot be given", "lockfile_hash", hash, "error", err)
		if chunk {
			s.send(&protocol.ScriptPackageManifest{LockfileHash: hash, Error: packageWords(err)})
			return
		}
		s.redirect(ctx, hash)
		return
	}
	if !chunk { // what an original agent does not know it does not need
		entries = withoutPaths(entries)
	}
	s.send(&protocol.ScriptPackageManifest{LockfileHash: hash, Entries: entries})
}

func withoutPaths(entries []protocol.ManifestEntry) []protocol.ManifestEntry {
	plain := slices.Clone(entries)
	for i := range plain {
		plain[i].Paths = nil
	}
	return plain
}

// redirect tells an agent that asked for an unknown hash which one is wanted.
func (s *session) redirect(ctx context.Context, asked string) {
	wanted, err := s.hub.config.Packages.LockfileHash(ctx)
	if err == nil && wanted != nil && *wanted != asked {
		s.send(&protocol.RefreshScriptPackages{LockfileHash: *wanted})
	}
}

// blob answers with a whole package, or with null for whatever reason (A.5). One after
// the other: each may be megabytes, several times over in memory.
func (s *session) blob(integrity string) {
	s.blobs.Lock()
	defer s.blobs.Unlock()
	reply := &protocol.ScriptPackageBlob{Integrity: integrity}
	if s.hub.config.Packages == nil {
		s.send(reply)
		return
	}
	if !s.outbox.hasRoom(s) || s.hub.serving.Acquire(s.ctx, wholeBlob) != nil {
		return // the session has ended
	}
	defer s.hub.serving.Release(wholeBlob)
	ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
	defer cancel()
	data, err := s.hub.config.Packages.Blob(ctx, integrity)
	if err != nil {
		s.logger().Warn("a package was asked for that cannot be given", "integrity", integrity, "error", err)
	} else {
		reply.Data = &data
	}
	s.sendBulk(reply)
}

// piece answers with a part of a package.
func (s *session) piece(m *protocol.BlobRequest) {
	reply := &protocol.BlobChunk{RequestID: m.RequestID, Offset: m.Offset}
	if s.hub.config.Packages == nil {
		reply.Error = "This core has no script packages."
		s.send(reply)
		return
	}
	if !s.outbox.hasRoom(s) || s.hub.serving.Acquire(s.ctx, 1) != nil {
		return // the session has ended
	}
	defer s.hub.serving.Release(1)
	ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
	defer cancel()
	piece, err := s.hub.config.Packages.Piece(ctx, m.Integrity, m.Offset, m.Length)
	if err != nil {
		s.logger().Warn("a package was asked for that cannot be given", "integrity", m.Integrity, "offset", m.Offset, "error", err)
		reply.Error = packageWords(err)
	} else {
		reply.Total, reply.Sha256 = piece.Total, piece.Sha256
		reply.Data = base64.StdEncoding.EncodeToString(piece.Data)
	}
	s.sendBulk(reply)
}

// sendBulk is send for packages.
func (s *session) sendBulk(m protocol.FromCore) {
	frame, err := protocol.Encode(m)
	if err != nil {
		s.logger().Error("a message cannot be encoded", "type", m.Type(), "error", err)
		return
	}
	s.outbox.putBulk(s, frame)
}

// packageWords say why a package cannot be given.
func packageWords(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Message
	}
	return "The core cannot get at its script packages."
}

// Packages are read for so many at once in the whole process: a piece counts one, a
// blob as a whole, which may be 16 MiB and is held several times over, wholeBlob.
const (
	servedAtOnce = 64
	wholeBlob    = 16
)
