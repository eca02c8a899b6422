package fleet_test

import (
	"slices"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// M46: a blip was two edges. With a grace the end of the old session is told late, and
// the beginning of the next one then is no news.
func TestM46_ABlipWithinTheGraceIsNoEdge(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		c := start(t, url)
		s, _ := c.create(t, "eu-1")
		connected := func() (n int) {
			events, err := c.db.Events(t.Context(), 0, 100)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				if e.Type == "satellite.connected" {
					n++
				}
			}
			return n
		}
		c.open(t, s.ID)
		c.open(t, s.ID) // exactly as the original: told again
		if n := connected(); n != 2 {
			t.Errorf("without a grace %d are told", n)
		}
		c.SetGrace(time.Minute)
		before := c.open(t, s.ID)
		epoch := c.open(t, s.ID)
		if err := c.Close(t.Context(), s.ID, before); err != nil { // when the grace is over
			t.Fatal(err)
		}
		if n, edges := connected(), c.edges(t, s.ID); n != 2 || !slices.Equal(edges, []string{"connected"}) {
			t.Errorf("after a blip %d are told, edges %v", n, edges)
		}
		if err := c.Close(t.Context(), s.ID, epoch); err != nil {
			t.Fatal(err)
		}
		c.open(t, s.ID)
		if n, edges := connected(), c.edges(t, s.ID); n != 3 || !slices.Equal(edges, []string{string(fleet.Connected), string(fleet.Disconnected), string(fleet.Connected)}) {
			t.Errorf("after an absence %d are told, edges %v", n, edges)
		}
	})
}
