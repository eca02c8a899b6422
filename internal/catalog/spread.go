package catalog

import (
	"cmp"
	"container/heap"
	"hash/fnv"
	"slices"

	"github.com/perigee-monitoring/perigee/protocol"
)

// post is a satellite as seats are given to it.
type post struct {
	id     string
	name   string
	labels map[string]string
	weight float64
	// inventory is what it can run; nil is not known.
	inventory *protocol.Inventory
	// open: it may get seats. away is why it must not keep those it has, "" if it may.
	open bool
	away Reason
	// seats is how many it has; kept up to date by whoever moves one.
	seats int
	// rank decides between equals: a hash, so that it is not the names that do.
	rank uint64
}

func newPost(id, name string, labels map[string]string, weight int64) post {
	sum := fnv.New64a()
	sum.Write([]byte(id))
	return post{id: id, name: name, labels: labels, weight: float64(max(1, weight)), rank: sum.Sum64()}
}

// load is what it has in proportion to its weight, with so many seats more.
func (p *post) load(more int) float64 { return float64(p.seats+more) / p.weight }

// wish is a counted assignment: seats 1 to count, each on another satellite.
type wish struct {
	id    string
	count int
	// pool names the satellites among which it chooses: wishes of one pool choose among
	// the same. fits says which those are.
	pool     string
	fits     func(*post) bool
	spreadBy string
	// except are satellites that it must not choose: they run the assignment otherwise,
	// or are handing a seat of it over.
	except []int
	held   []held
}

// held is a seat where it is: the number, and the index of the post.
type held struct{ seat, post int }

// move takes a seat from one post to another; from is -1 for a seat that was nowhere, to
// for one that is to be nowhere.
type move struct {
	wish     *wish
	seat     int
	from, to int
	why      Reason
}

// spreader gives seats to satellites. It is a function of what it is given: nothing in it
// looks at a clock or draws lots, so that cores which look at the same rows agree.
type spreader struct {
	posts []post
	pools map[string]*pool
}

// pool is the posts that fit, by the value of the label over which seats are spread.
type pool struct {
	members []int
	groups  []*group
	at      map[string]*group
}

// group is the posts of one value. Those that are open stand in a heap by load. Loads
// rise while seats are given out, which the heap learns when a post comes to its top.
type group struct {
	value  string
	posts  []post // of the spreader
	queue  []queued
	passed []queued
}

type queued struct {
	post int
	load float64 // as it was
}

func newSpreader(posts []post) *spreader { return &spreader{posts: posts, pools: map[string]*pool{}} }

func (s *spreader) poolOf(w *wish) *pool {
	key := w.pool + "\x00" + w.spreadBy
	if p := s.pools[key]; p != nil {
		return p
	}
	p := &pool{at: map[string]*group{}}
	for i := range s.posts {
		post := &s.posts[i]
		if !w.fits(post) {
			continue
		}
		p.members = append(p.members, i)
		g := p.at[post.labels[w.spreadBy]]
		if g == nil {
			g = &group{value: post.labels[w.spreadBy], posts: s.posts}
			p.at[g.value] = g
			p.groups = append(p.groups, g)
		}
		if post.open {
			g.queue = append(g.queue, queued{i, post.load(0)})
		}
	}
	slices.SortFunc(p.groups, func(a, b *group) int { return cmp.Compare(a.value, b.value) })
	for _, g := range p.groups {
		heap.Init(g)
	}
	s.pools[key] = p
	return p
}

// choose gives the post for one more seat of the wish: of those of the least used value
// that have a post left, the one with the least load. False when there is none.
func (s *spreader) choose(w *wish, used map[string]int) (int, bool) {
	p := s.poolOf(w)
	best, found := -1, (*group)(nil)
	for _, g := range p.groups {
		i, ok := g.least(w)
		if !ok {
			continue
		}
		if found == nil || cmp.Or(cmp.Compare(used[g.value], used[found.value]), s.compare(i, best)) < 0 {
			best, found = i, g
		}
	}
	return best, found != nil
}

// compare orders posts by load, equals by rank.
func (s *spreader) compare(a, b int) int {
	return cmp.Or(cmp.Compare(s.posts[a].load(0), s.posts[b].load(0)), cmp.Compare(s.posts[a].rank, s.posts[b].rank))
}

// least is the open post with the least load on which the wish has nothing.
func (g *group) least(w *wish) (best int, ok bool) {
	best = -1
	for len(g.queue) > 0 {
		top := &g.queue[0]
		if now := g.posts[top.post].load(0); now != top.load {
			top.load = now
			heap.Fix(g, 0)
			continue
		}
		if !w.has(top.post) {
			best = top.post
			break
		}
		g.passed = append(g.passed, heap.Pop(g).(queued))
	}
	for _, q := range g.passed {
		heap.Push(g, q)
	}
	g.passed = g.passed[:0]
	return best, best >= 0
}

// has reports whether the wish has something on the post.
func (w *wish) has(post int) bool {
	return slices.Contains(w.except, post) || slices.ContainsFunc(w.held, func(h held) bool { return h.post == post })
}

func (g *group) Len() int { return len(g.queue) }
func (g *group) Less(i, j int) bool {
	a, b := g.queue[i], g.queue[j]
	return cmp.Or(cmp.Compare(a.load, b.load), cmp.Compare(g.posts[a.post].rank, g.posts[b.post].rank)) < 0
}
func (g *group) Swap(i, j int) { g.queue[i], g.queue[j] = g.queue[j], g.queue[i] }
func (g *group) Push(x any)    { g.queue = append(g.queue, x.(queued)) }
func (g *group) Pop() any {
	last := g.queue[len(g.queue)-1]
	g.queue = g.queue[:len(g.queue)-1]
	return last
}

// used counts the wish's seats by value.
func (s *spreader) used(w *wish) map[string]int {
	used := make(map[string]int, len(w.held))
	for _, h := range w.held {
		used[s.posts[h.post].labels[w.spreadBy]]++
	}
	return used
}

// fill gives the wish the seats that it lacks, as far as there are satellites.
func (s *spreader) fill(w *wish) []move {
	if len(w.held) >= w.count {
		return nil
	}
	var moves []move
	used := s.used(w)
	taken := make(map[int]bool, len(w.held))
	for _, h := range w.held {
		taken[h.seat] = true
	}
	for seat := 1; seat <= w.count; seat++ {
		if taken[seat] {
			continue
		}
		to, ok := s.choose(w, used)
		if !ok {
			break
		}
		s.give(w, seat, to, used)
		moves = append(moves, move{wish: w, seat: seat, from: -1, to: to, why: ReasonPlaced})
	}
	return moves
}

func (s *spreader) give(w *wish, seat, to int, used map[string]int) {
	w.held = append(w.held, held{seat, to})
	s.posts[to].seats++
	used[s.posts[to].labels[w.spreadBy]]++
}

// limits are how many seats one pass moves at most: of satellites that live, which
// nothing presses, and in all.
type limits struct{ living, all int }

// rearrange moves the seats that cannot stay where they are, and only those, and fills
// the ones that are nowhere. A seat for which there is no other place stays, for what has
// it may come back, unless it must not be there at all (ReasonMatch). Only when nothing
// presses, satellites that have too little get some of those that have too much.
func (s *spreader) rearrange(wishes []*wish, most limits) []move {
	var moves []move
	var astray []move
	for _, w := range wishes {
		w.held = slices.DeleteFunc(w.held, func(h held) bool {
			why := s.posts[h.post].away
			if !w.fits(&s.posts[h.post]) {
				why = ReasonMatch
			}
			switch {
			case why == "":
				return false
			case len(astray) >= most.all:
				return false
			case why == ReasonDrained:
				if most.living == 0 {
					return false
				}
				most.living--
			}
			astray = append(astray, move{wish: w, seat: h.seat, from: h.post, to: -1, why: why})
			s.posts[h.post].seats--
			return true
		})
	}
	// All are taken before the first is given: loads only rise from here on.
	for _, m := range astray {
		m.wish.except = append(m.wish.except, m.from)
		used := s.used(m.wish)
		if to, ok := s.choose(m.wish, used); ok {
			s.give(m.wish, m.seat, to, used)
			m.to = to
			moves = append(moves, m)
			continue
		}
		if m.why == ReasonMatch {
			moves = append(moves, m)
			continue
		}
		m.wish.held = append(m.wish.held, held{m.seat, m.from})
		s.posts[m.from].seats++
	}
	for _, w := range wishes {
		if len(moves) >= most.all {
			return moves
		}
		moves = append(moves, s.fill(w)...)
	}
	if len(moves) == 0 {
		moves = s.balance(wishes, most.living)
	}
	return moves
}
