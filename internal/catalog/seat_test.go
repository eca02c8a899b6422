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
	for want, inventory := range map[string]*protocol.Inventory{
		"": {Strategies: script, Collectors: []string{check.ScriptInline}, Runtimes: []string{"builtin", "node"}},
		"healthcheck-script.inline-script in node": {Strategies: script, Collectors: []string{check.ScriptInline}, Runtimes: []string{"builtin"}},
	} {
		if got := Lacks(inventory, needed); got != want {
			t.Errorf("it lacks %q, want %q", got, want)
		}
	}
	if got := Lacks(&protocol.Inventory{Strategies: script, Collectors: []string{check.ScriptInline}}, needed); got != "" {
		t.Errorf("who does not tell lacks %q", got)
	}
}
