package fleet_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// Two processes with one identity come to one core or to two: the count is the
// database's. The one that is connected stays, and whoever comes beside it waits.
func TestDuplicateIdentityIsToldAndTheNewcomerHeldOff(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		c := start(t, url)
		s, _ := c.create(t, "eu-1")
		for i, remote := range []string{"10.0.0.1:1", "10.0.0.2:1", "10.0.0.1:2"} {
			c.open(t, s.ID) // the newer session is taken in
			duplicate, err := c.Replaced(t.Context(), s.ID, remote)
			if err != nil || duplicate != (i == 2) {
				t.Fatalf("replacement %d: %v, %v", i, duplicate, err)
			}
		}
		if _, err := c.Open(t.Context(), s.ID, 1); !fault.Is(err, fault.Conflict) {
			t.Errorf("the newcomer was not held off: %v", err)
		}
		shown, err := c.db.Satellite(t.Context(), s.ID)
		if err != nil || shown.DuplicateUntil == nil || shown.Epoch != 3 {
			t.Errorf("%+v, %v", shown, err)
		}
		events, err := c.db.Events(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		told := 0
		for _, e := range events {
			if e.Type == "satellite.duplicate_identity" {
				told++
				var payload struct{ Remotes []string }
				if err := json.Unmarshal(e.Payload, &payload); err != nil || len(payload.Remotes) != 2 || payload.Remotes[0] != "10.0.0.2:1" || payload.Remotes[1] != "10.0.0.1:2" {
					t.Errorf("payload %s, %v", e.Payload, err)
				}
			}
		}
		if told != 1 {
			t.Errorf("told %d times", told)
		}
		// Whoever was there is silent now, or has gone: the other is welcome.
		c.silence(t, s.ID, time.Minute)
		epoch := c.open(t, s.ID)
		if err := c.Close(t.Context(), s.ID, epoch); err != nil {
			t.Fatal(err)
		}
		c.open(t, s.ID)
	})
}

func TestReplacementsOfADeletedSatelliteAreNobodysConcern(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		c := start(t, url)
		if duplicate, err := c.Replaced(t.Context(), "018f0000-0000-7000-8000-000000000000", "x"); duplicate || err != nil {
			t.Errorf("%v, %v", duplicate, err)
		}
	})
}
