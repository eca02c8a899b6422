package satellite

import (
	"encoding/json"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/fence"
)

// What scripts may do is what the core says, within what this satellite's operator says;
// before the core has said anything, there is no network (spec G.8).
func TestG8_WhatHoldsForScripts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	reaches := func(p *policies, host string) bool {
		return p.rules().Admit(host, netip.MustParseAddrPort("192.0.2.1:443")) == nil
	}
	log := slog.New(slog.DiscardHandler)
	p := openPolicies(dir, nil, log)
	if reaches(p, "a.test") {
		t.Error("there is a network before the core has said so")
	}
	p.told(json.RawMessage(`{"enabled":true,"network":{"mode":"allowlist","allow":["a.test","b.test"]}}`))
	if !reaches(p, "a.test") || !reaches(p, "b.test") || reaches(p, "c.test") {
		t.Errorf("the core's policy does not hold: %+v", p.rules())
	}
	p.told(json.RawMessage(`{"enabled":true,"network":{"mode":"sideways"}}`))
	p.told(json.RawMessage(`{"surprise":1}`))
	if !reaches(p, "a.test") || reaches(p, "c.test") {
		t.Errorf("a policy that cannot be used holds: %+v", p.rules())
	}
	p = openPolicies(dir, nil, log) // a restart, with the core away
	if !reaches(p, "a.test") || reaches(p, "c.test") {
		t.Errorf("the policy was forgotten: %+v", p.rules())
	}
	own := &fence.Policy{Enabled: true, Network: fence.Network{Mode: fence.NetworkAllowlist, Allow: []string{"b.test"}}}
	p = openPolicies(dir, own, log)
	p.told(json.RawMessage(`{"enabled":false}`))
	if reaches(p, "a.test") || !reaches(p, "b.test") {
		t.Errorf("the core has widened the operator's policy: %+v", p.rules())
	}
	p = openPolicies(t.TempDir(), own, log)
	if !reaches(p, "b.test") || reaches(p, "a.test") {
		t.Errorf("with a core that tells none, the operator's own does not hold: %+v", p.rules())
	}
}
