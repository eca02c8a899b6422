package catalog

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/protocol"
)

// maxAhead is how far a satellite's clock may be ahead: with more it would come to its
// slots before its lease reaches them. A lease reaches no less far than it lasts after the
// heartbeat that it answers, less the time to the next one and to write that down.
const maxAhead = 20 * time.Second

// clockAhead reports whether its last heartbeats say that its clock is too far ahead.
func clockAhead(s *fleet.Satellite) bool {
	return s.Pulse != nil && s.Pulse.OffsetMs != nil && *s.Pulse.OffsetMs < -float64(maxAhead.Milliseconds())
}

// open reports whether a satellite may get seats: it is there, it knows of leases, and
// nothing speaks against it.
func open(s *fleet.Satellite, now time.Time) bool {
	return s.CordonedAt == nil && s.LeasedUntil != nil && s.LeasedUntil.After(now) && s.DuplicateUntil == nil && !clockAhead(s)
}

// seating is the counted assignments of an edit with their seats, for the spreader.
type seating struct {
	e     *edit
	posts []post
	at    map[string]int // posts by id of the satellite
}

// seating loads what it needs of the fleet. Away may be nil: all may keep their seats.
func (e *edit) seating(ctx context.Context, away func(*fleet.Satellite) Reason) (*seating, error) {
	if err := e.loadSatellites(ctx); err != nil {
		return nil, err
	}
	if err := e.loadChecks(ctx); err != nil {
		return nil, err
	}
	s := &seating{e: e, at: make(map[string]int, len(e.satellites.after))}
	for _, name := range e.satellites.names() {
		sat, _ := e.satellites.named(name)
		p := newPost(sat.ID, sat.Name, sat.Labels(), sat.Weighs())
		p.open, p.seats = open(&sat, e.now), int(sat.Seats)
		if sat.Inventory != nil {
			p.inventory = sat.Inventory
		}
		if away != nil {
			p.away = away(&sat)
		}
		s.at[sat.ID] = len(s.posts)
		s.posts = append(s.posts, p)
	}
	return s, nil
}

// wish is a counted assignment with nothing in its seats.
func (s *seating) wish(a *Assignment) *wish { return s.wishFor(a, s.e.checks.after[a.CheckID].Spec) }

func (s *seating) wishFor(a *Assignment, spec check.Spec) *wish {
	selects := s.e.placer.parsed(a.Satellites.Selector)
	w := &wish{
		id: a.ID, count: a.Satellites.Count, spreadBy: a.Satellites.SpreadBy,
		pool: a.Satellites.Selector + "\x00" + strings.Join(needs(spec), "\x00"),
		fits: func(p *post) bool {
			return p.name != LocalSatellite && selects.Matches(p.labels) && able(p.inventory, spec)
		},
	}
	for _, name := range a.Satellites.Names {
		if i, ok := s.at[s.e.satellites.ids[name]]; ok {
			w.except = append(w.except, i)
		}
	}
	return w
}

// judgesMore stands for assertions that are expressions, and bounds of how long single
// collectors take. Satellites that judge without knowing them would be wrong.
const judgesMore = "support for expressions in assertions and latency of collectors"

// needs are the ids of what a check is made of: its strategy, then its collectors.
func needs(spec check.Spec) []string {
	ids := []string{spec.Strategy}
	for _, c := range spec.Collectors {
		ids = append(ids, c.Collector)
		if c.Latency != (check.Latency{}) || slices.ContainsFunc(c.Assertions, func(a check.Assertion) bool { return a.Expression != "" }) {
			ids = append(ids, judgesMore)
		}
	}
	slices.Sort(ids[1:])
	return slices.Compact(ids)
}

// Unable says why the satellite cannot run a check, and what to do about it: "has no …: …".
// It is "" when it can (spec M71).
func Unable(inventory *protocol.Inventory, spec check.Spec) string {
	what, id := lacks(inventory, spec)
	if what == "" {
		return ""
	}
	return "has no " + what + ": " + cmp.Or(inventory.Missing[id], fmt.Sprintf("it is version %s; upgrade it", cmp.Or(inventory.Version, "unknown")))
}

// able reports whether the satellite can run the check. One that has never told can run
// anything, as far as we know.
func able(inventory *protocol.Inventory, spec check.Spec) bool {
	what, _ := lacks(inventory, spec)
	return what == ""
}

// lacks names the first thing that a check is made of and that the satellite cannot run, ""
// when it can run all; and its id, by which the satellite says why.
func lacks(inventory *protocol.Inventory, spec check.Spec) (what, id string) {
	if inventory == nil || len(inventory.Strategies) == 0 {
		return "", ""
	}
	ids := needs(spec)
	if !slices.Contains(inventory.Strategies, ids[0]) {
		return ids[0], ids[0]
	}
	if len(inventory.Collectors) == 0 {
		return "", ""
	}
	for _, id := range ids[1:] {
		if id == judgesMore {
			if slices.Contains(inventory.Features, protocol.FeatureAssert) && !slices.Contains(inventory.Features, protocol.FeatureExpression) {
				return id, id
			}
			continue
		}
		if !slices.Contains(inventory.Collectors, id) {
			return id, id
		}
	}
	if len(inventory.Runtimes) == 0 {
		return "", ""
	}
	for _, c := range spec.Collectors {
		if runtime := runtimeOf(c); runtime != "" && !slices.Contains(inventory.Runtimes, runtime) {
			return c.Collector + " in " + runtime, runtime
		}
	}
	return "", ""
}

// runtimeOf is what an inline script is to run in, "" for other collectors.
func runtimeOf(c check.Collector) string {
	if c.Collector != check.ScriptInline {
		return ""
	}
	config, err := check.Decode[check.ScriptInlineConfig](c.Config)
	if err != nil { // of which others tell
		return ""
	}
	return config.Runtime
}

// planSeats gives the touched assignments the seats that they should have: those that it
// may keep stay where they are.
func (e *edit) planSeats(ctx context.Context, p *plan, touched map[string]touch) error {
	var ids []string
	for id, t := range touched {
		if t.before != nil && t.before.Satellites.Count > 0 || t.after != nil && t.after.Satellites.Count > 0 {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	seats, err := e.tx.SeatsOf(ctx, ids)
	if err != nil {
		return fmt.Errorf("reading seats: %w", err)
	}
	by := map[string][]SeatAt{}
	for _, at := range seats {
		by[at.AssignmentID] = append(by[at.AssignmentID], at)
	}
	s, err := e.seating(ctx, nil)
	if err != nil {
		return err
	}
	spreader := newSpreader(s.posts)
	for _, id := range ids {
		e.planSeatsOf(p, s, spreader, touched[id], by[id])
	}
	return nil
}

func (e *edit) planSeatsOf(p *plan, s *seating, spreader *spreader, t touch, seats []SeatAt) {
	var w *wish
	if t.after != nil && t.after.Satellites.Count > 0 {
		w = s.wish(t.after)
	}
	for _, at := range seats {
		post, known := s.at[at.SatelliteID]
		switch {
		case at.Until != nil:
			if w != nil && known {
				w.except = append(w.except, post)
			}
		case w != nil && known && t.before.pair() == t.after.pair() && at.Number <= w.count && !slices.Contains(w.except, post) && w.fits(&s.posts[post]):
			w.held = append(w.held, held{at.Number, post})
			e.planKept(p, t, at)
		default:
			p.remove = append(p.remove, t.before.seat(at.Number, at.SatelliteID))
			if e.atWork(t.before, e.checks.before, e.wasPaused) {
				p.loses[work{at.SatelliteID, t.before.pair(), at.Number}] = true
			}
		}
	}
	if w == nil {
		return
	}
	for _, m := range spreader.fill(w) {
		to := s.posts[m.to].id
		placement := t.after.seat(m.seat, to)
		placement.Reason = m.why
		p.add = append(p.add, placement)
		if e.atWork(t.after, e.checks.after, e.paused) {
			p.gains[work{to, t.after.pair(), m.seat}] = true
		}
	}
}

// planKept tells of a seat that stays what is new about it.
func (e *edit) planKept(p *plan, t touch, at SeatAt) {
	before, after := e.atWork(t.before, e.checks.before, e.wasPaused), e.atWork(t.after, e.checks.after, e.paused)
	w := work{at.SatelliteID, t.after.pair(), at.Number}
	if before {
		p.loses[w] = true
	}
	if after {
		p.gains[w] = true
		if t.told || t.environments && e.toldOfEnvironments(t, at.SatelliteID) {
			p.told[at.SatelliteID] = true
		}
	}
}

// planUnseat takes the assignment's seat off a satellite that comes to run it otherwise.
func (e *edit) planUnseat(ctx context.Context, p *plan, a *Assignment, satelliteID string) error {
	if a.Satellites.Count == 0 {
		return nil
	}
	seats, err := e.tx.SeatsOf(ctx, []string{a.ID})
	if err != nil {
		return fmt.Errorf("reading seats: %w", err)
	}
	for _, at := range seats {
		if at.SatelliteID == satelliteID && at.Until == nil {
			p.remove = append(p.remove, a.seat(at.Number, satelliteID))
		}
	}
	return nil
}

// seat is the placement of one of the assignment's seats.
func (a *Assignment) seat(number int, satelliteID string) Placement {
	return Placement{AssignmentID: a.ID, SatelliteID: satelliteID, CheckID: a.CheckID, SystemID: a.SystemID, Seat: number}
}
