package fleet

import (
	"testing"
	"time"
)

// A flaky network makes one process replace itself now and then; only many
// replacements in a short while are two processes, and they are told once.
func TestReplacementsWithinASpanMakeADuplicate(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var r Replacements
	for i, test := range []struct {
		after time.Duration
		told  bool
	}{
		{0, false},
		{6 * time.Minute, false},
		{11 * time.Minute, false}, // more than ten after the first: counted anew
		{12 * time.Minute, false},
		{13 * time.Minute, true},
		{14 * time.Minute, false},
		{15 * time.Minute, false},
		{16 * time.Minute, false}, // known already
		{24 * time.Minute, true},  // and still so after the hold
	} {
		if told := r.step("remote", start.Add(test.after)); told != test.told {
			t.Errorf("replacement %d, after %v: told %v, want %v", i, test.after, told, test.told)
		}
	}
}
