package hub

import (
	"context"
	"fmt"

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
		s.manifest(m.LockfileHash)
	case *protocol.RequestScriptPackageBlob:
		s.blob(m.Integrity)
	case *protocol.RequestRunSecrets:
		s.send(&protocol.RunSecrets{RequestID: m.RequestID, Error: noRunSecrets})
	case *protocol.RequestConfigSecrets:
		s.send(&protocol.ConfigSecrets{RequestID: m.RequestID, Error: noConfigSecrets})
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

// manifest answers what a hash holds. Without a provider that is nothing, as with
// the original (A.5). A hash that the provider does not know is not answered: an
// agent takes an empty list for an empty tree and believes that it has converged
// (spec M82), while without an answer it reports an error and asks again later.
func (s *session) manifest(hash string) {
	if s.hub.config.Packages == nil {
		s.send(&protocol.ScriptPackageManifest{LockfileHash: hash})
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
	defer cancel()
	entries, err := s.hub.config.Packages.Manifest(ctx, hash)
	if err != nil {
		s.logger().Warn("a manifest was asked for that cannot be given", "lockfile_hash", hash, "error", err)
		return
	}
	s.send(&protocol.ScriptPackageManifest{LockfileHash: hash, Entries: entries})
}

// blob answers with a package, or with null for whatever reason (A.5).
func (s *session) blob(integrity string) {
	reply := &protocol.ScriptPackageBlob{Integrity: integrity}
	if s.hub.config.Packages != nil {
		ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
		defer cancel()
		data, err := s.hub.config.Packages.Blob(ctx, integrity)
		if err != nil {
			s.logger().Warn("a package was asked for that cannot be given", "integrity", integrity, "error", err)
		} else {
			reply.Data = &data
		}
	}
	s.send(reply)
}
