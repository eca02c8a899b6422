package resident

import (
	"runtime/debug"
	"testing"
)

func TestRestrain(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	for given, want := range map[string]int{"": growth, "200": 100} { // which Go itself has read when the program began
		t.Setenv("GOGC", given)
		debug.SetGCPercent(100)
		Restrain()
		if got := debug.SetGCPercent(100); got != want {
			t.Errorf("with GOGC=%q garbage is collected at %d %% of growth, want %d", given, got, want)
		}
	}
}
