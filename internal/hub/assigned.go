package hub

import (
	"crypto/sha256"
	"encoding/json"
	"runtime"
	"sync"
	"time"
	"weak"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/protocol"
)

// set is what a satellite should run and may report for, as one session holds it.
// It is replaced as a whole and never changed.
type set struct {
	revision int64
	// order is as the core gave it; pairs finds one. Equal assignments of all sessions
	// are the same object, so that comparing is comparing pointers, and a check that
	// runs on ten thousand satellites is held once.
	order []*protocol.Assignment
	pairs map[protocol.Pair]*protocol.Assignment
	// others are pairs that are not to be run now but may be reported for: what was due
	// until that time, or anything for the zero time (paused, not taken away).
	others map[protocol.Pair]time.Time
	// former are assignments as they were before the last change: of pairs in
	// others, whose late results are still to be judged, and of changed ones.
	former map[protocol.Pair]*protocol.Assignment
	// secrets are the pairs whose assignments may refer to secrets.
	secrets map[protocol.Pair]bool
}

// setOf makes a set of what is desired; before is the one it follows, nil for none.
func (h *Hub) setOf(d *fleet.Desired, before *set) *set {
	s := &set{revision: d.Revision}
	if n := len(d.Assignments); n > 0 {
		s.order = make([]*protocol.Assignment, n)
		s.pairs = make(map[protocol.Pair]*protocol.Assignment, n)
	}
	for i := range d.Assignments {
		a := h.assignments.intern(&d.Assignments[i])
		s.order[i], s.pairs[a.Pair()] = a, a
	}
	for _, g := range d.Grants {
		if s.pairs[g.Pair] == nil {
			s.grant(g)
		}
	}
	if before != nil {
		s.remember(before)
	}
	if h.config.Secrets != nil {
		s.markSecrets()
	}
	return s
}

// grant notes a pair that is not to be run; of several grants the widest counts.
func (s *set) grant(g fleet.Grant) {
	if s.others == nil {
		s.others = map[protocol.Pair]time.Time{}
	}
	until, known := s.others[g.Pair]
	switch {
	case g.RemovedAt == nil:
		s.others[g.Pair] = time.Time{}
	case !known || !until.IsZero() && g.RemovedAt.After(until):
		s.others[g.Pair] = *g.RemovedAt
	}
}

// remember keeps what before knew of pairs that are changed or going.
func (s *set) remember(before *set) {
	keep := func(pair protocol.Pair, was *protocol.Assignment) {
		now, has := s.pairs[pair]
		_, going := s.others[pair]
		if !(has && now != was) && !going {
			return
		}
		if s.former == nil {
			s.former = map[protocol.Pair]*protocol.Assignment{}
		}
		s.former[pair] = was
	}
	for pair, was := range before.former {
		keep(pair, was)
	}
	for pair, was := range before.pairs {
		keep(pair, was)
	}
}

// granted reports whether the satellite may report for the pair at all.
func (s *set) granted(pair protocol.Pair) bool {
	if s.pairs[pair] != nil {
		return true
	}
	_, other := s.others[pair]
	return other
}

// grantedFor reports whether it may for a run that was due then.
func (s *set) grantedFor(pair protocol.Pair, due time.Time) bool {
	if s.pairs[pair] != nil {
		return true
	}
	until, other := s.others[pair]
	return other && (until.IsZero() || !due.After(until.Add(grace)))
}

// assignment is the pair's, by which a result is judged; nil when it was removed
// before this session began.
func (s *set) assignment(pair protocol.Pair) *protocol.Assignment {
	if a := s.pairs[pair]; a != nil {
		return a
	}
	return s.former[pair]
}

// environment reports whether the pair is, or was a change ago, to be run in the
// environment; "" is the run without one (spec E.1, M29).
func (s *set) environment(pair protocol.Pair, id string) bool {
	now, was := s.pairs[pair], s.former[pair]
	if now == nil && was == nil {
		return true // not known any more
	}
	return runsIn(now, id) || runsIn(was, id)
}

func runsIn(a *protocol.Assignment, id string) bool {
	if a == nil {
		return false
	}
	if len(a.Environments) == 0 {
		return id == ""
	}
	for i := range a.Environments {
		if a.Environments[i].ID == id {
			return true
		}
	}
	return false
}

// difference from before to s: what is new or changed, what of it was there in
// another form, and what is gone.
func (s *set) difference(before *set) (upserts []protocol.Assignment, changed map[protocol.Pair]bool, removals []protocol.Pair) {
	for _, a := range s.order {
		was := before.pairs[a.Pair()]
		if was == a {
			continue
		}
		upserts = append(upserts, *a)
		if was != nil {
			if changed == nil {
				changed = map[protocol.Pair]bool{}
			}
			changed[a.Pair()] = true
		}
	}
	for _, a := range before.order {
		if s.pairs[a.Pair()] == nil {
			removals = append(removals, a.Pair())
		}
	}
	return upserts, changed, removals
}

// assignments is the set as it is sent, without the pairs in but.
func (s *set) assignments(but map[protocol.Pair]bool) []protocol.Assignment {
	all := make([]protocol.Assignment, 0, len(s.order))
	for _, a := range s.order {
		if !but[a.Pair()] {
			all = append(all, *a)
		}
	}
	return all
}

// pool holds each assignment once, for as long as some session does.
type pool struct {
	mu    sync.Mutex
	items map[digest]weak.Pointer[protocol.Assignment] // guarded by mu
}

type digest [sha256.Size]byte

// intern returns the one object that is equal to a. Nobody may change it.
func (p *pool) intern(a *protocol.Assignment) *protocol.Assignment {
	text, err := json.Marshal(a)
	if err != nil {
		// A config that is not JSON; encoding it for the wire will fail as well, and say so.
		own := *a
		return &own
	}
	key := digest(sha256.Sum256(text))
	p.mu.Lock()
	defer p.mu.Unlock()
	if held := p.items[key].Value(); held != nil {
		return held
	}
	own := new(protocol.Assignment)
	*own = *a
	if p.items == nil {
		p.items = map[digest]weak.Pointer[protocol.Assignment]{}
	}
	p.items[key] = weak.Make(own)
	runtime.AddCleanup(own, p.forget, key)
	return own
}

func (p *pool) internOrNil(a *protocol.Assignment) *protocol.Assignment {
	if a == nil {
		return nil
	}
	return p.intern(a)
}

// forget takes out what nobody holds any more, unless it was made anew meanwhile.
func (p *pool) forget(key digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.items[key].Value() == nil {
		delete(p.items, key)
	}
}
