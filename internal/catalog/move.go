package catalog

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// DefaultHoldOff is how long a satellite may be lost before its seats move.
const DefaultHoldOff = time.Minute

const (
	// moveInterval is how often is looked whether seats have to move, moveAnyway how often
	// it is gone through them all the same: what a look does not show, such as satellites
	// that have too little.
	moveInterval = 2 * time.Second
	moveAnyway   = 30 * time.Second
	// DrainPace is how many seats leave drained satellites, or are evened out, in each
	// moveInterval; movesAtOnce how many move in all.
	DrainPace   = 50
	movesAtOnce = 5000
	// movesTold is from how many on the moves of a satellite are told in one event.
	movesTold = 20
)

// KindSeat is the entity kind of a seat that moves; its id is the assignment's, or the
// satellite's when many move. TypeMoved is its event.
const (
	KindSeat  = "seat"
	TypeMoved = "assignment.moved"
)

// MoverStore is what the mover looks at outside of transactions.
type MoverStore interface {
	// SeatsAstray counts the seats that are nowhere, and those whose satellite is drained
	// or has been lost for longer than the hold-off.
	SeatsAstray(ctx context.Context, holdOff time.Duration) (empty, astray int, err error)
}

// Mover moves the seats of counted assignments away from satellites that are lost,
// drained or not picked any more. Several cores may run one: what one has moved, the
// others find moved.
type Mover struct {
	catalog *Catalog
	store   MoverStore
	holdOff time.Duration
	changes <-chan struct{}
	log     *slog.Logger

	last                time.Time // of the last pass
	lastEmpty, lastLost int       // what was left then
}

// NewMover makes a mover. Changes rings when definitions or satellites have changed
// (fleet.TopicConfig); nil leaves it to the slow look.
func NewMover(c *Catalog, store MoverStore, holdOff time.Duration, changes <-chan struct{}) *Mover {
	return &Mover{catalog: c, store: store, holdOff: cmp.Or(holdOff, DefaultHoldOff), changes: changes, log: c.log}
}

// Run looks until ctx ends.
func (m *Mover) Run(ctx context.Context) error {
	ticker := time.NewTicker(moveInterval)
	defer ticker.Stop()
	changed := true
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.changes:
			changed = true
			continue
		case <-ticker.C:
		}
		empty, astray, err := m.store.SeatsAstray(ctx, m.holdOff)
		if err == nil && (changed || empty+astray > 0 && (empty != m.lastEmpty || astray != m.lastLost) || time.Since(m.last) >= moveAnyway) {
			var moved int
			if moved, err = m.Move(ctx); err == nil {
				m.last, changed = time.Now(), moved > 0 // there may be more
				m.lastEmpty, m.lastLost = empty, astray
			}
		}
		if err != nil && ctx.Err() == nil {
			m.log.Error("moving seats failed; trying again", "error", err)
		}
	}
}

// Move is one pass, and says how many seats it moved.
func (m *Mover) Move(ctx context.Context) (int, error) {
	var moves []move
	err := entity.Record(ctx, m.catalog.recorder, func(tx Tx) ([]entity.Change, error) {
		e, err := m.catalog.open(ctx, tx)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(e.assignments.names(), func(name string) bool {
			a, _ := e.assignments.named(name)
			return a.Satellites.Count > 0
		}) {
			return nil, nil
		}
		var s *seating
		if s, moves, err = m.plan(ctx, e); err != nil || len(moves) == 0 {
			return nil, err
		}
		p := newPlan()
		for _, mv := range moves {
			e.planMove(p, s, mv)
		}
		if _, err := e.carryOut(ctx, altered{}, p); err != nil {
			return nil, err
		}
		return e.movements(s, moves), nil
	})
	if err == nil && len(moves) > 0 {
		m.log.Info("seats moved", "seats", len(moves))
		m.catalog.bell.Ring(fleet.TopicConfig)
	}
	return len(moves), err
}

// plan is what has to move.
func (m *Mover) plan(ctx context.Context, e *edit) (*seating, []move, error) {
	watched, err := e.tx.Watched(ctx)
	if err != nil {
		return nil, nil, err
	}
	s, err := e.seating(ctx, func(sat *fleet.Satellite) Reason { return m.away(sat, watched, e.now) })
	if err != nil {
		return nil, nil, err
	}
	seats, err := e.tx.SeatsOf(ctx, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("reading seats: %w", err)
	}
	for i := range s.posts {
		s.posts[i].seats = 0
	}
	by := map[string]*wish{}
	var wishes []*wish
	for _, name := range e.assignments.names() {
		a, _ := e.assignments.named(name)
		if a.Satellites.Count > 0 && e.atWork(&a, e.checks.after, e.paused) {
			by[a.ID] = s.wish(&a)
			wishes = append(wishes, by[a.ID])
		}
	}
	for _, at := range seats {
		post, known := s.at[at.SatelliteID]
		w := by[at.AssignmentID]
		switch {
		case !known:
		case at.Until != nil:
			if w != nil {
				w.except = append(w.except, post)
			}
		default:
			s.posts[post].seats++
			if w != nil {
				w.held = append(w.held, held{at.Number, post})
			}
		}
	}
	return s, newSpreader(s.posts).rearrange(wishes, limits{living: DrainPace, all: movesAtOnce}), nil
}

// away is why a satellite must not keep its seats. It is lost when its lease has ended
// and its threshold has passed, by the hold-off; time in which no core was looking does
// not count.
func (m *Mover) away(s *fleet.Satellite, watched, now time.Time) Reason {
	threshold := fleet.Threshold(s.OfflineThresholdMs)
	until := watched.Add(threshold)
	if s.LeasedUntil != nil {
		if leased := s.LeasedUntil.Add(max(0, threshold-fleet.LeaseSpan)); leased.After(until) {
			until = leased
		}
	}
	switch {
	case now.After(until.Add(m.holdOff)):
		return ReasonLost
	case s.Draining:
		return ReasonDrained
	case clockAhead(s):
		return ReasonClock
	}
	return ""
}

// planMove hands a seat over: the satellite that has it keeps it to the end of its lease,
// and what gets it begins behind that, so that no slot is run twice or by nobody.
func (e *edit) planMove(p *plan, s *seating, m move) {
	a := e.assignments.after[m.wish.id]
	if m.from >= 0 {
		from := a.seat(m.seat, s.posts[m.from].id)
		from.Reason, from.Handover = m.why, true
		p.remove = append(p.remove, from)
		p.told[from.SatelliteID] = true
	}
	if m.to >= 0 {
		to := a.seat(m.seat, s.posts[m.to].id)
		to.Reason = m.why
		p.add = append(p.add, to)
		p.told[to.SatelliteID] = true
	}
}

// movements are the changes to be recorded: one for each seat that was somewhere, or one
// for each satellite that loses many.
func (e *edit) movements(s *seating, moves []move) []entity.Change {
	type source struct {
		post int
		why  Reason
	}
	counts := map[source]int{}
	for _, m := range moves {
		counts[source{m.from, m.why}]++
	}
	var changes []entity.Change
	told := map[source]bool{}
	for _, m := range moves {
		from := source{m.from, m.why}
		if m.from < 0 || told[from] {
			continue
		}
		moved := map[string]any{"from": s.posts[m.from].name, "reason": m.why}
		id := m.wish.id
		if n := counts[from]; n > movesTold {
			told[from] = true
			id = s.posts[m.from].id
			moved["seats"] = n
		} else {
			moved["id"], moved["name"], moved["seat"], moved["to"] = id, e.assignments.after[id].Name, m.seat, nil
			if m.to >= 0 {
				moved["to"] = s.posts[m.to].name
			}
		}
		changes = append(changes, entity.Change{Kind: KindSeat, ID: id, Prev: entity.State{}, Next: entity.State{"moved": moved}})
	}
	return changes
}
