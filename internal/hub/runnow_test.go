package hub_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/hub"
	"github.com/perigee-monitoring/perigee/protocol"
)

// askedRuns are given out once.
type askedRuns struct{ waiting chan []fleet.RunRequest }

func (r askedRuns) Claim(context.Context, []string) ([]fleet.RunRequest, error) {
	select {
	case runs := <-r.waiting:
		return runs, nil
	default:
		return nil, nil
	}
}

func TestAskedRunsReachSatellitesOfEitherKind(t *testing.T) {
	asked, rings := askedRuns{make(chan []fleet.RunRequest, 1)}, make(chan struct{}, 1)
	inBubble(t, func(w *world) {
		w.fleet.add("ours", pair("c"), pair("d"))
		w.fleet.add("original", pair("c"), pair("d"))
		ours, original := w.ours("ours", protocol.FeatureRun), w.original("original")
		c := pair("c")
		asked.waiting <- []fleet.RunRequest{
			{SatelliteID: "ours", Pair: c.Pair(), Slot: 1234}, {SatelliteID: "original", Pair: c.Pair(), Slot: 1235},
		}
		rings <- struct{}{}
		if diff := cmp.Diff(&protocol.RunNow{Pair: c.Pair(), Slot: 1234}, next[*protocol.RunNow](ours)); diff != "" {
			t.Errorf("ours was told (-want +got):\n%s", diff)
		}
		// An original agent runs at once what is new to it.
		var got [][]string
		for range 2 {
			var names []string
			for _, a := range next[*protocol.ConfigUpdated](original).Assignments {
				names = append(names, a.ConfigID)
			}
			got = append(got, names)
		}
		if diff := cmp.Diff([][]string{{"d"}, {"c", "d"}}, got); diff != "" {
			t.Errorf("the original was given (-want +got):\n%s", diff)
		}
	}, func(c *hub.Config) { c.RunRequests, c.Runs = asked, rings })
}
