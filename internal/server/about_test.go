package server

import (
	"testing"
	"time"
)

func TestSettingsAreDurationsInShort(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		168 * time.Hour: "168h", 30 * time.Minute: "30m", 10 * time.Second: "10s", 90 * time.Second: "1m30s", 90 * time.Minute: "1h30m", 0: "0s",
		time.Hour + 10*time.Second: "1h0m10s",
	} {
		if got := inShort(d); got != want {
			t.Errorf("%v is shown as %s, want %s", d, got, want)
		}
	}
}
