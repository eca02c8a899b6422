package catalog

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rows is where the seats of a fleet are, as the table has it.
type rows map[string]map[int]string // by assignment and seat

// round gives the rows to a spreader, as a pass of the mover does.
func (r rows) round(fleet []post, wishes []wish, most limits) []move {
	posts := slices.Clone(fleet)
	at := map[string]int{}
	for i := range posts {
		posts[i].seats, at[posts[i].id] = 0, i
	}
	all := make([]*wish, len(wishes))
	for i := range wishes {
		w := wishes[i]
		for _, seat := range slices.Sorted(maps.Keys(r[w.id])) {
			p := at[r[w.id][seat]]
			w.held = append(w.held, held{seat, p})
			posts[p].seats++
		}
		all[i] = &w
	}
	moves := newSpreader(posts).rearrange(all, most)
	for _, m := range moves {
		if r[m.wish.id] == nil {
			r[m.wish.id] = map[int]string{}
		}
		if delete(r[m.wish.id], m.seat); m.to >= 0 {
			r[m.wish.id][m.seat] = posts[m.to].id
		}
	}
	return moves
}

// check fails on a seat that is twice on one satellite, or nowhere, and gives how uneven
// the open ones are.
func (r rows) check(t *testing.T, fleet []post, wishes []wish) float64 {
	t.Helper()
	count := map[string]int{}
	for _, w := range wishes {
		on := map[string]bool{}
		for _, id := range r[w.id] {
			if on[id] {
				t.Fatalf("%s has two seats on %s", w.id, id)
			}
			on[id] = true
			count[id]++
		}
		if len(on) != w.count {
			t.Fatalf("%s has %d of %d seats", w.id, len(on), w.count)
		}
	}
	posts := slices.Clone(fleet)
	for i := range posts {
		posts[i].seats = count[posts[i].id]
	}
	return imbalance(posts)
}

const unlimited = 1 << 30

func fleetOf(n, regions int) []post {
	fleet := make([]post, n)
	for i := range fleet {
		labels := map[string]string{"region": fmt.Sprintf("r%d", i%regions)}
		fleet[i] = newPost(fmt.Sprintf("satellite-%04d", i), fmt.Sprintf("s%d", i), labels, 1)
		fleet[i].open = true
	}
	return fleet
}

func wishesOf(n int, count func(i int) int, spreadBy string) []wish {
	wishes := make([]wish, n)
	for i := range wishes {
		wishes[i] = wish{id: fmt.Sprintf("assignment-%05d", i), count: count(i), pool: "all", fits: func(*post) bool { return true }, spreadBy: spreadBy}
	}
	return wishes
}

// A thousand satellites hold the seats of fifty thousand assignments while some are lost
// at random and come back: only what was lost moves, everybody has the same within a
// tenth, and the seats of an assignment are in different regions.
func TestSeatsOfALargeFleet(t *testing.T) {
	t.Parallel()
	fleet := fleetOf(1000, 10)
	wishes := wishesOf(50_000, func(i int) int { return 1 + i%3 }, "region")
	random := rand.New(rand.NewPCG(1, 2))
	placed := rows{}
	if first := placed.round(fleet, wishes, limits{unlimited, unlimited}); len(first) < 50_000 {
		t.Fatalf("%d seats were placed", len(first))
	}
	if uneven := placed.check(t, fleet, wishes); uneven > 0.02 {
		t.Errorf("after the first placement satellites are uneven by %.1f %%", 100*uneven)
	}
	for round := range 3 {
		lost := map[string]bool{}
		for range 1 + random.IntN(60) {
			p := &fleet[random.IntN(len(fleet))]
			p.open, p.away = false, ReasonLost
			lost[p.id] = true
		}
		share := 0
		for _, seats := range placed {
			for _, id := range seats {
				if lost[id] {
					share++
				}
			}
		}
		moves := placed.round(fleet, wishes, limits{unlimited, unlimited})
		for _, m := range moves {
			if !lost[fleet[m.from].id] || m.why != ReasonLost {
				t.Fatalf("round %d: seat %d of %s moved from %s, which was not lost", round, m.seat, m.wish.id, fleet[m.from].id)
			}
		}
		if len(moves) != share {
			t.Errorf("round %d: %d seats moved, %d were lost", round, len(moves), share)
		}
		if uneven := placed.check(t, fleet, wishes); uneven >= 0.1 {
			t.Errorf("round %d: satellites are uneven by %.1f %%", round, 100*uneven)
		}
		regions(t, placed, fleet, wishes)

		for i := range fleet {
			if fleet[i].away == ReasonLost {
				fleet[i].open, fleet[i].away = true, ""
			}
		}
		passes := 0
		for len(placed.round(fleet, wishes, limits{500, unlimited})) > 0 {
			if passes++; passes > 100 {
				t.Fatal("balancing does not end")
			}
		}
		if uneven := placed.check(t, fleet, wishes); uneven >= 0.1 {
			t.Errorf("round %d: after they came back, satellites are uneven by %.1f %%", round, 100*uneven)
		}
		regions(t, placed, fleet, wishes)
	}
}

// regions fails on an assignment with two seats in one region while another has none.
func regions(t *testing.T, placed rows, fleet []post, wishes []wish) {
	t.Helper()
	of := map[string]string{}
	for i := range fleet {
		of[fleet[i].id] = fleet[i].labels["region"]
	}
	for _, w := range wishes {
		in := map[string]bool{}
		for _, id := range placed[w.id] {
			if in[of[id]] {
				t.Fatalf("%s has two seats in %s", w.id, of[id])
			}
			in[of[id]] = true
		}
	}
}

// A satellite of twice the weight has twice the seats.
func TestSeatsFollowWeights(t *testing.T) {
	t.Parallel()
	fleet := fleetOf(30, 3)
	for i := range fleet {
		fleet[i].weight = float64(1 + i%2)
	}
	placed := rows{}
	wishes := wishesOf(3000, func(int) int { return 1 }, "")
	placed.round(fleet, wishes, limits{unlimited, unlimited})
	if uneven := placed.check(t, fleet, wishes); uneven > 0.02 {
		t.Errorf("in proportion to their weights satellites are uneven by %.1f %%", 100*uneven)
	}
}

// What must leave but has nowhere to go stays; a drain goes at its pace, and only away
// from what is drained.
func TestSeatsLeaveADrainedSatellite(t *testing.T) {
	t.Parallel()
	fleet := fleetOf(2, 2)
	placed := rows{}
	wishes := wishesOf(10, func(int) int { return 1 }, "region")
	placed.round(fleet, wishes, limits{unlimited, unlimited})
	fleet[0].open, fleet[0].away = false, ReasonDrained
	var paces []int
	for {
		moves := placed.round(fleet, wishes, limits{2, unlimited})
		if len(moves) == 0 {
			break
		}
		paces = append(paces, len(moves))
		for _, m := range moves {
			if fleet[m.from].id != fleet[0].id {
				t.Errorf("a seat moved from %s", fleet[m.from].id)
			}
		}
	}
	if diff := cmp.Diff([]int{2, 2, 1}, paces); diff != "" {
		t.Errorf("moves of each pass (-want +got):\n%s", diff)
	}
	fleet[1].open, fleet[1].away = false, ReasonLost
	if moves := placed.round(fleet, wishes, limits{unlimited, unlimited}); len(moves) > 0 {
		t.Errorf("%d seats moved to nowhere", len(moves))
	}
}

// What does not fit any more leaves even if nothing else does fit.
func TestSeatsLeaveWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	fleet := fleetOf(2, 1)
	wishes := wishesOf(1, func(int) int { return 2 }, "")
	placed := rows{}
	placed.round(fleet, wishes, limits{unlimited, unlimited})
	wishes[0].fits = func(p *post) bool { return p.id == fleet[1].id }
	moves := placed.round(fleet, wishes, limits{unlimited, unlimited})
	if len(moves) != 1 || moves[0].to != -1 || moves[0].why != ReasonMatch {
		t.Errorf("moves are %+v", moves)
	}
	if moves := placed.round(fleet, wishes, limits{unlimited, unlimited}); len(moves) > 0 {
		t.Errorf("then %d seats moved", len(moves))
	}
}
