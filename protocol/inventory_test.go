package protocol

import "testing"

// Whatever decides where checks are placed is no news of the other kind; why something is
// missing decides nothing.
func TestSatellitesThatRunTheSameChecksAreTold(t *testing.T) {
	t.Parallel()
	known := Inventory{Version: "1", Strategies: []string{"a.a"}, Collectors: []string{"a.b"}, Runtimes: []string{"builtin"}}
	for name, change := range map[string]func(*Inventory){
		"a strategy":  func(in *Inventory) { in.Strategies = []string{"a.a", "c.c"} },
		"a collector": func(in *Inventory) { in.Collectors = nil },
		"a runtime":   func(in *Inventory) { in.Runtimes = []string{"builtin", "node"} },
		"expressions": func(in *Inventory) { in.Features = []string{FeatureExpression} },
	} {
		other := known
		if change(&other); known.RunsAlike(&other) {
			t.Errorf("%s more or less makes no difference", name)
		}
	}
	other := known
	other.Version, other.Missing = "2", map[string]string{"node": "no node is in its PATH"}
	if !known.RunsAlike(&other) || known.RunsAlike(nil) || !(*Inventory)(nil).RunsAlike(nil) {
		t.Error("what runs alike is not told")
	}
}
