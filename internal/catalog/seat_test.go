package catalog

import (
	"encoding/json"
	"testing"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// So of the runtimes of scripts: of a satellite that does not tell which it has, nothing is known.
func TestASatelliteIsNotNamedForARuntimeThatItLacks(t *testing.T) {
	t.Parallel()
	script, needed := []string{check.Script}, check.Spec{Strategy: check.Script, Collectors: []check.Collector{
		{ID: "a", Collector: check.ScriptInline, Config: json.RawMessage(`{"script":"return 1"}`)},
		{ID: "b", Collector: check.ScriptInline, Config: json.RawMessage(`{"script":"return 1","runtime":"node"}`)},
	}}
	inline := []string{check.ScriptInline}
	for want, inventory := range map[string]*protocol.Inventory{
		"": {Strategies: script, Collectors: inline, Runtimes: []string{"builtin", "node"}},
		"has no healthcheck-script.inline-script in node: it is version 1.0; upgrade it": {
			Version: "1.0", Strategies: script, Collectors: inline, Runtimes: []string{"builtin"},
		},
		"has no healthcheck-script.inline-script in node: no node is in its PATH": {
			Strategies: script, Collectors: inline, Runtimes: []string{"builtin"}, Missing: map[string]string{"node": "no node is in its PATH"},
		},
	} {
		if got := Unable(inventory, needed); got != want {
			t.Errorf("it %q, want %q", got, want)
		}
	}
	if got := Unable(&protocol.Inventory{Strategies: script, Collectors: inline}, needed); got != "" {
		t.Errorf("who does not tell %q", got)
	}
}
