package hub

import (
	"context"
	"encoding/json"

	"github.com/perigee-monitoring/perigee/protocol"
)

// Sandbox knows what scripts may do on satellites (spec G.8); *sandbox.Service is one.
type Sandbox interface {
	Policy(ctx context.Context) (json.RawMessage, error)
}

// policy is what a satellite that comes is told; nil for nothing. One that cannot be
// read is told later: until then an agent of the original keeps its scripts in.
func (h *Hub) policy(ctx context.Context) (json.RawMessage, error) {
	if h.config.Sandbox == nil {
		return nil, nil
	}
	policy, err := h.sandbox.recent(func() (json.RawMessage, error) { return h.config.Sandbox.Policy(ctx) })
	if err != nil && ctx.Err() == nil {
		h.log.Warn("the sandbox policy is not known", "error", err)
		return nil, nil
	}
	return policy, err
}

// relaySandbox tells the policy to every satellite that was told another one (L158). It
// runs where relay runs, so that what a satellite is told is in order.
func (h *Hub) relaySandbox(ctx context.Context) {
	if h.config.Sandbox == nil {
		return
	}
	timed, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	policy, err := h.sandbox.anew(func() (json.RawMessage, error) { return h.config.Sandbox.Policy(timed) })
	if err != nil {
		h.log.Warn("the sandbox policy is not known", "error", err)
		return // the next poll asks again
	}
	for _, s := range h.snapshot() {
		if s.policyNews(policy) {
			s.send(&protocol.SandboxPolicy{Policy: policy})
		}
	}
}

// policyNews notes that the satellite is told the policy; false when it was told already.
func (s *session) policyNews(policy json.RawMessage) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.policy == string(policy) {
		return false
	}
	s.policy = string(policy)
	return true
}
