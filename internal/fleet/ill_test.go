package fleet_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/protocol"
)

// ofObservers are the types of the events about observers, oldest first.
func (c *core) ofObservers(t *testing.T) []string {
	t.Helper()
	events, err := c.db.Events(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	types := []string{}
	for _, e := range events {
		if (e.Kind == fleet.KindObserver || e.Kind == fleet.KindRegion) && e.Type != entity.TypeChanged {
			types = append(types, e.Type)
		}
	}
	return types
}

// longIll makes the satellite ill for a minute already.
func (c *core) longIll(t *testing.T, id string) {
	t.Helper()
	err := c.db.InTx(t.Context(), func(tx entity.Tx) error {
		ftx := tx.(fleet.Tx)
		row, err := ftx.SelfObservationForUpdate(t.Context(), id)
		if err != nil {
			return err
		}
		at := row.IllSince.Add(-time.Minute)
		row.IllSince = &at
		return ftx.PutSelfObservations(t.Context(), []fleet.SelfObservation{row})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func says(kinds ...protocol.IllnessKind) *protocol.Pulse {
	p := &protocol.Pulse{Observer: &protocol.Observer{}}
	for _, k := range kinds {
		p.Observer.Ill = append(p.Observer.Ill, protocol.Illness{Kind: k, Since: 1, Detail: "broken"})
	}
	return p
}

// Illness is one event of the satellite, or one of the region when most of it is ill,
// whichever of two cores looks; and the clock is told of once, while it is off.
func TestIllnessIsTold(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		first := start(t, url)
		second := first
		if first.db.Engine() == "postgres" {
			second = start(t, url)
		}
		ids, epochs := map[string]string{}, map[string]int64{}
		for _, name := range []string{"eu-1", "eu-2", "eu-3"} {
			s, _ := first.create(t, name)
			ids[name], epochs[name] = s.ID, first.open(t, s.ID)
		}
		observe := func(c *core, name string, p *protocol.Pulse) {
			t.Helper()
			if _, err := c.Observe(t.Context(), ids[name], epochs[name], p); err != nil {
				t.Fatal(err)
			}
		}
		told := func(want ...string) {
			t.Helper()
			eventually(t, "the events", func() bool { return len(first.ofObservers(t)) >= len(want) })
			if diff := cmp.Diff(want, first.ofObservers(t)); diff != "" {
				t.Fatalf("events (-want +got):\n%s", diff)
			}
		}
		for name := range ids {
			observe(first, name, says())
		}
		observe(second, "eu-1", says(protocol.IllResolver))
		first.longIll(t, ids["eu-1"])
		told("satellite.ill")

		observe(first, "eu-2", says(protocol.IllGateway))
		observe(second, "eu-3", says(protocol.IllGateway))
		first.longIll(t, ids["eu-2"])
		told("satellite.ill", "region.ill")
		s, err := first.db.Satellite(t.Context(), ids["eu-3"])
		if err != nil || s.Observer.Illness() != "gateway" || s.IllSince == nil {
			t.Errorf("eu-3 is %+v, %v", s.Observer, err)
		}

		// What an older session says does not count.
		if _, err := first.Observe(t.Context(), ids["eu-2"], epochs["eu-2"]-1, says()); err != nil {
			t.Fatal(err)
		}
		observe(first, "eu-1", says())
		told("satellite.ill", "region.ill", "satellite.well")
		observe(first, "eu-2", says())
		observe(first, "eu-3", says())
		told("satellite.ill", "region.ill", "satellite.well", "region.well")

		skewed := says()
		skewed.OffsetMs, skewed.UncertaintyMs = new(300000.0), new(1.0)
		observe(first, "eu-1", skewed)
		observe(second, "eu-1", skewed)
		right := says()
		right.OffsetMs, right.UncertaintyMs = new(3.0), new(1.0)
		observe(first, "eu-1", right)
		told("satellite.ill", "region.ill", "satellite.well", "region.well", "satellite.clock_skew", "satellite.clock_right")
		if _, err := first.Observe(context.Background(), "00000000-0000-7000-8000-000000000000", 1, skewed); err != nil {
			t.Errorf("one that was deleted: %v", err)
		}
	})
}
