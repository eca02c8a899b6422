package catalog

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/perigee-monitoring/perigee/internal/diff"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/selector"
	"github.com/perigee-monitoring/perigee/protocol"
)

// placer answers where assignments belong. It remembers parsed selectors and
// what they pick, because many assignments share few selectors; it lives for one
// transaction.
type placer struct {
	log        *slog.Logger
	selectors  map[string]selector.Selector
	satellites map[string]fleet.Satellite
	ids        map[string]string   // of satellites, by name
	fleet      []candidate         // the satellites, from the first pick on
	picked     map[string][]string // satellite ids by selector text
}

// candidate is a satellite as selectors see it.
type candidate struct {
	id, name string
	labels   map[string]string
	// inventory is what it can run; nil is not known.
	inventory *protocol.Inventory
}

func newPlacer(log *slog.Logger) *placer {
	return &placer{log: log, selectors: map[string]selector.Selector{}, picked: map[string][]string{}}
}

// able leaves out of the satellites that a selector picks those that cannot run the check
// (spec M71).
func (p *placer) able(ids []string, spec check.Spec) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !able(p.satellites[id].Inventory, spec) })
}

// consider sets the satellites among which match chooses.
func (p *placer) consider(satellites map[string]fleet.Satellite) {
	p.satellites, p.ids, p.fleet = satellites, make(map[string]string, len(satellites)), nil
	for id, s := range satellites {
		p.ids[s.Name] = id
	}
}

// match gives the ids of all satellites on which the assignment of the check belongs,
// sorted.
func (p *placer) match(a *Assignment, spec check.Spec) []string {
	var ids []string
	if a.IncludeLocal {
		ids = p.appendNamed(ids, LocalSatellite)
	}
	for _, name := range a.Satellites.Names {
		ids = p.appendNamed(ids, name)
	}
	if a.Satellites.Count == 0 { // or its selector picks seats
		ids = append(ids, p.able(p.pick(a.Satellites.Selector), spec)...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func (p *placer) appendNamed(ids []string, name string) []string {
	if id, ok := p.ids[name]; ok {
		return append(ids, id)
	}
	return ids
}

func (p *placer) pick(text string) []string {
	if text == "" {
		return nil
	}
	ids, known := p.picked[text]
	if !known {
		if p.fleet == nil {
			for id, s := range p.satellites {
				p.fleet = append(p.fleet, candidate{id: id, name: s.Name, labels: s.Labels()})
			}
		}
		sel := p.parsed(text)
		for _, c := range p.fleet {
			if c.name != LocalSatellite && sel.Matches(c.labels) {
				ids = append(ids, c.id)
			}
		}
		p.picked[text] = ids
	}
	return ids
}

// on reports whether the assignment of the check belongs on the one satellite; it is
// match seen from the other side.
func (p *placer) on(a *Assignment, spec check.Spec, c candidate) bool {
	if _, named := slices.BinarySearch(a.Satellites.Names, c.name); named {
		return true
	}
	if c.name == LocalSatellite {
		return a.IncludeLocal
	}
	return a.Satellites.Selector != "" && a.Satellites.Count == 0 && p.parsed(a.Satellites.Selector).Matches(c.labels) && able(c.inventory, spec)
}

// parsed reads a stored selector. Only valid ones are stored; should a damaged
// row hold another, that assignment is placed nowhere by it and the rest goes on.
func (p *placer) parsed(text string) selector.Selector {
	sel, known := p.selectors[text]
	if !known {
		var err error
		if sel, err = selector.Parse(text); err != nil {
			p.log.Error("stored selector cannot be read", "selector", text, "error", err)
		}
		p.selectors[text] = sel
	}
	return sel
}

// plan is what placing anew comes to.
type plan struct {
	add, remove []Placement
	// Which satellites are affected: told are those to which something looks
	// different; loses and gains are what satellites have to stop and to start. What a
	// satellite loses by one assignment and gains by another is no difference to it.
	told         map[string]bool
	loses, gains map[work]bool
}

// work is what one satellite does for an assignment.
type work struct {
	satelliteID string
	pair        pair
	seat        int
}

func newPlan() *plan {
	return &plan{told: map[string]bool{}, loses: map[work]bool{}, gains: map[work]bool{}}
}

// affected are ids in order, so that row locks are taken in order.
func (p *plan) affected() []string {
	ids := maps.Clone(p.told)
	for w := range p.loses {
		if !p.gains[w] {
			ids[w.satelliteID] = true
		}
	}
	for w := range p.gains {
		if !p.loses[w] {
			ids[w.satelliteID] = true
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

// plan places the touched assignments anew over the whole fleet, and all others
// over the altered satellites only.
func (e *edit) plan(ctx context.Context, all altered) (*plan, error) {
	p := newPlan()
	touched := e.touched(all)
	if err := e.planAssignments(ctx, p, touched, len(all.satellites) > 0); err != nil {
		return nil, err
	}
	if err := e.planSeats(ctx, p, touched); err != nil {
		return nil, err
	}
	if len(all.satellites) == 0 {
		return p, nil
	}
	others := e.assignmentIDs(func(id string) bool { _, done := touched[id]; return !done })
	for _, s := range all.satellites {
		if s.before != nil && maps.Equal(s.before.Labels(), s.after.Labels()) {
			continue
		}
		if err := e.planSatellite(ctx, p, *s.after, others); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// touch says why an assignment is looked at.
type touch struct {
	alteration[Assignment]
	// told: what satellites are told of its check or its system has changed.
	told bool
	// environments: those of some satellites may have changed.
	environments bool
}

// touched gives, by id, the altered assignments and those whose check or system
// looks different to a satellite.
func (e *edit) touched(all altered) map[string]touch {
	checks, systems := map[string]bool{}, map[string]bool{}
	for _, c := range all.checks {
		if c.before != nil && c.after != nil && !sameWork(*c.before, *c.after) {
			checks[c.id] = true
		}
	}
	for _, s := range all.systems {
		if s.before != nil && s.after != nil && toldOfSystem(*s.before, *s.after) {
			systems[s.id] = true
		}
	}
	elsewhere := map[string]bool{} // systems that have other environments
	for _, s := range all.systems {
		if s.before != nil && s.after != nil && diff.Text(s.before.Environments) != diff.Text(s.after.Environments) {
			elsewhere[s.id] = true
		}
	}
	touched := map[string]touch{}
	for _, a := range all.assignments {
		t := touch{alteration: a}
		t.environments = e.environmentsAltered(t)
		touched[a.id] = t
	}
	for id, a := range e.assignments.after {
		told := checks[a.CheckID] || systems[a.SystemID]
		if !told && !elsewhere[a.SystemID] && e.pausedAlike(a.pair()) {
			continue
		}
		t, altered := touched[id]
		if !altered {
			t.alteration = alteration[Assignment]{id: id, before: &a, after: &a}
			t.environments = elsewhere[a.SystemID]
		}
		t.told = told
		touched[id] = t
	}
	return touched
}

// toldOfSystem reports whether satellites are told something else of the system,
// besides its environments.
func toldOfSystem(before, after System) bool {
	return before.Name != after.Name || diff.Text(fields(before.Fields)) != diff.Text(fields(after.Fields))
}

// sameWork reports whether two versions of a check look the same to a satellite.
func sameWork(a, b Check) bool {
	a.Spec.Description, b.Spec.Description = "", ""
	return a.Name == b.Name && diff.Text(a.Spec) == diff.Text(b.Spec)
}

func (e *edit) planAssignments(ctx context.Context, p *plan, touched map[string]touch, fleetChanged bool) error {
	ids := slices.Sorted(maps.Keys(touched))
	var existed []string
	anew := fleetChanged
	for _, id := range ids {
		t := touched[id]
		if t.before != nil {
			existed = append(existed, id)
		}
		anew = anew || t.after != nil && !e.placedAlike(t) || t.environments
	}
	placed := map[string][]string{}
	if len(existed) > 0 {
		var err error
		if placed, err = e.tx.PlacementsOf(ctx, existed); err != nil {
			return fmt.Errorf("reading placements: %w", err)
		}
	}
	if anew {
		if err := e.loadSatellites(ctx); err != nil {
			return err
		}
		e.placer.consider(e.satellites.after)
	}
	for _, id := range ids {
		t := touched[id]
		var want []string
		switch {
		case t.after == nil:
		case !fleetChanged && e.placedAlike(t):
			want = placed[id]
		default:
			want = e.placer.match(t.after, e.checks.after[t.after.CheckID].Spec)
		}
		e.planOne(p, t, placed[id], want)
	}
	return nil
}

// placedAlike: the alteration does not concern where the assignment runs.
func (e *edit) placedAlike(t touch) bool {
	return t.before != nil && t.after != nil && slices.Equal(needs(e.checks.before[t.before.CheckID].Spec), needs(e.checks.after[t.after.CheckID].Spec)) && t.before.IncludeLocal == t.after.IncludeLocal &&
		t.before.Satellites.Selector == t.after.Satellites.Selector && slices.Equal(t.before.Satellites.Names, t.after.Satellites.Names) &&
		(t.before.Satellites.Count == 0) == (t.after.Satellites.Count == 0)
}

// planOne takes one assignment from the satellites it has to those it should
// have. A satellite is told nothing of an assignment that is not at work.
func (e *edit) planOne(p *plan, t touch, have, want []string) {
	if t.before != nil && e.atWork(t.before, e.checks.before, e.wasPaused) {
		for _, id := range have {
			p.loses[work{id, t.before.pair(), 0}] = true
		}
	}
	if t.after != nil && e.atWork(t.after, e.checks.after, e.paused) {
		for _, id := range want {
			p.gains[work{id, t.after.pair(), 0}] = true
			if t.told || t.environments && e.toldOfEnvironments(t, id) {
				p.told[id] = true
			}
		}
	}
	switch moved := t.before != nil && t.after != nil && t.before.pair() != t.after.pair(); {
	case moved:
		p.remove = append(p.remove, t.before.on(have)...)
		p.add = append(p.add, t.after.on(want)...)
	case t.before == nil:
		p.add = append(p.add, t.after.on(want)...)
	case t.after == nil:
		p.remove = append(p.remove, t.before.on(have)...)
	default:
		p.remove = append(p.remove, t.before.on(minus(have, want))...)
		p.add = append(p.add, t.after.on(minus(want, have))...)
	}
}

func (e *edit) assignmentIDs(match func(id string) bool) []string {
	var ids []string
	for id := range e.assignments.after {
		if match(id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// planSatellite places the assignments anew on one satellite.
func (e *edit) planSatellite(ctx context.Context, p *plan, s fleet.Satellite, assignmentIDs []string) error {
	placed, err := e.tx.PlacementsOn(ctx, s.ID)
	if err != nil {
		return fmt.Errorf("reading placements of a satellite: %w", err)
	}
	has := make(map[string]bool, len(placed))
	for _, id := range placed {
		has[id] = true
	}
	if s.Inventory != nil { // one that says nothing can run whatever there is
		if err := e.loadChecks(ctx); err != nil {
			return err
		}
	}
	c := candidate{id: s.ID, name: s.Name, labels: s.Labels(), inventory: s.Inventory}
	for _, id := range assignmentIDs {
		a := e.assignments.after[id]
		var spec check.Spec
		if s.Inventory != nil {
			spec = e.checks.after[a.CheckID].Spec
		}
		want := e.placer.on(&a, spec, c)
		if want == has[id] {
			continue
		}
		if err := e.loadChecks(ctx); err != nil {
			return err
		}
		differ := p.gains
		if want {
			if err := e.planUnseat(ctx, p, &a, s.ID); err != nil {
				return err
			}
			p.add = append(p.add, a.on([]string{s.ID})...)
		} else {
			p.remove = append(p.remove, a.on([]string{s.ID})...)
			differ = p.loses
		}
		if e.atWork(&a, e.checks.after, e.paused) {
			differ[work{s.ID, a.pair(), 0}] = true
		}
	}
	return nil
}

// atWork reports whether satellites are told of the assignment at all.
func (e *edit) atWork(a *Assignment, checks map[string]Check, paused map[pair]bool) bool {
	return a.Enabled && !checks[a.CheckID].Spec.Paused && !a.pair().in(paused)
}

// pausedAlike: the edit begins and ends no maintenance that pauses the pair.
func (e *edit) pausedAlike(p pair) bool { return p.in(e.wasPaused) == p.in(e.paused) }

type pair struct{ checkID, systemID string }

// in reports whether the pair, or all of its system, is among those.
func (p pair) in(pairs map[pair]bool) bool { return pairs[p] || pairs[pair{systemID: p.systemID}] }

func (a *Assignment) pair() pair { return pair{a.CheckID, a.SystemID} }

// on is the assignment's placements on the satellites.
func (a *Assignment) on(satelliteIDs []string) []Placement {
	placements := make([]Placement, len(satelliteIDs))
	for i, id := range satelliteIDs {
		placements[i] = Placement{AssignmentID: a.ID, SatelliteID: id, CheckID: a.CheckID, SystemID: a.SystemID}
	}
	return placements
}

// minus gives what is in a and not in b.
func minus(a, b []string) []string {
	drop := make(map[string]bool, len(b))
	for _, id := range b {
		drop[id] = true
	}
	return slices.DeleteFunc(slices.Clone(a), func(id string) bool { return drop[id] })
}
