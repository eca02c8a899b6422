package satellite

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fence"
)

// policies are what holds for scripts here (spec G.8): what the core has told, and what
// this satellite's own operator has, which no core can widen. The core's is kept on disk,
// because a satellite that is cut off goes on with what it knows.
type policies struct {
	path  string
	local *fence.Policy
	sync  func(*os.File) error
	log   *slog.Logger

	mu   sync.Mutex
	core *fence.Policy // nil before the first that could be read
}

func openPolicies(dir string, local *fence.Policy, log *slog.Logger) *policies {
	p := &policies{path: filepath.Join(dir, "sandbox-policy.json"), local: local, sync: (*os.File).Sync, log: log}
	text, err := os.ReadFile(p.path)
	if err == nil {
		var known fence.Policy
		if err = json.Unmarshal(text, &known); err == nil {
			p.core = &known
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("the policy for scripts could not be read; until the core tells it again scripts have no network", "error", err)
	}
	return p
}

// told takes in the core's policy. One that cannot be read changes nothing.
func (p *policies) told(text json.RawMessage) {
	var policy fence.Policy
	err := json.Unmarshal(text, &policy)
	if err == nil {
		err = policy.Validate()
	}
	if err != nil {
		p.log.Warn("the core's policy for scripts cannot be used; the one before goes on", "error", check.Truncate(err.Error(), 300))
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.core = &policy
	if err := writeDurably(p.path, text, p.sync); err != nil {
		p.log.Warn("the core's policy for scripts could not be kept; after a restart scripts have no network until the core tells it again", "error", err)
	}
}

// rules are what holds right now.
func (p *policies) rules() fence.Rules {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all fence.Rules
	switch {
	case p.core != nil:
		all = append(all, *p.core)
	case p.local == nil:
		all = append(all, fence.FailClosed())
	}
	if p.local != nil {
		all = append(all, *p.local)
	}
	return all
}

// ScriptRules are what holds for scripts right now (probe.Options.Fence).
func (s *Satellite) ScriptRules() fence.Rules { return s.policies.rules() }
