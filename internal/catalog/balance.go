package catalog

import (
	"cmp"
	"maps"
	"slices"
)

// Satellites that have less than lowShare of what is theirs get seats, from those that
// have most, until they have enough of it. In between nothing is moved: seats that stay
// where they are cost nothing.
const (
	lowShare = 0.9
	enough   = 0.95
)

// seated is a seat of a wish, found from its post.
type seated struct {
	wish *wish
	seat int
}

// balance moves at most so many seats. What is a satellite's share depends on the pool:
// its seats of all pools count, against the average of those that the pool can choose.
func (s *spreader) balance(wishes []*wish, most int) []move {
	var moves []move
	byPool := map[string][]*wish{}
	for _, w := range wishes {
		key := w.pool + "\x00" + w.spreadBy
		byPool[key] = append(byPool[key], w)
	}
	for _, key := range slices.Sorted(maps.Keys(byPool)) {
		moves = append(moves, s.balancePool(byPool[key], most-len(moves))...)
	}
	return moves
}

func (s *spreader) balancePool(wishes []*wish, most int) []move {
	var open []int
	var seats, weight float64
	for _, i := range s.poolOf(wishes[0]).members {
		if p := &s.posts[i]; p.open && p.away == "" {
			open = append(open, i)
			seats, weight = seats+float64(p.seats), weight+p.weight
		}
	}
	if len(open) < 2 {
		return nil
	}
	average := seats / weight
	low := slices.DeleteFunc(slices.Clone(open), func(i int) bool { return s.posts[i].load(0) >= lowShare*average })
	if len(low) == 0 {
		return nil
	}
	slices.SortFunc(low, s.compare)
	at := map[int][]seated{}
	for _, w := range wishes {
		for _, h := range w.held {
			at[h.post] = append(at[h.post], seated{w, h.seat})
		}
	}
	var moves []move
	for _, to := range low {
		for s.posts[to].load(0) < enough*average && len(moves) < most {
			m, ok := s.relieve(open, at, to)
			if !ok {
				break
			}
			moves = append(moves, m)
		}
	}
	return moves
}

// relieve takes a seat to the post from the one with most that has one to give: afterwards
// that has no less, and the seat's assignment is spread no worse.
func (s *spreader) relieve(open []int, at map[int][]seated, to int) (move, bool) {
	slices.SortFunc(open, func(a, b int) int { return s.compare(b, a) })
	for _, from := range open {
		if s.posts[from].load(-1) < s.posts[to].load(1) {
			return move{}, false // and so it is with all that follow, but for their weights
		}
		for i, seat := range at[from] {
			w := seat.wish
			if w.has(to) || !s.spreadsAsWell(w, from, to) {
				continue
			}
			at[from] = slices.Delete(at[from], i, i+1)
			for k := range w.held {
				if w.held[k].seat == seat.seat {
					w.held[k].post = to
				}
			}
			s.posts[from].seats--
			s.posts[to].seats++
			return move{wish: w, seat: seat.seat, from: from, to: to, why: ReasonBalanced}, true
		}
	}
	return move{}, false
}

func (s *spreader) spreadsAsWell(w *wish, from, to int) bool {
	if w.spreadBy == "" {
		return true
	}
	a, b := s.posts[from].labels[w.spreadBy], s.posts[to].labels[w.spreadBy]
	used := s.used(w)
	return a == b || used[b] < used[a]
}

// imbalance is how far the open post with most, or with least, is from the average of
// all, as a share of that: 0 is even.
func imbalance(posts []post) float64 {
	var seats, weight, least, most float64
	first := true
	for i := range posts {
		p := &posts[i]
		if !p.open {
			continue
		}
		seats, weight = seats+float64(p.seats), weight+p.weight
		if load := p.load(0); first {
			least, most, first = load, load, false
		} else {
			least, most = min(least, load), max(most, load)
		}
	}
	if seats == 0 {
		return 0
	}
	average := seats / weight
	return cmp.Or(max(most-average, average-least)/average, 0)
}
