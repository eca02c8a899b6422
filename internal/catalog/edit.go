package catalog

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/strictjson"
)

// table is all rows of one kind as the transaction found them and as they will
// be; both by id.
type table[T any] struct {
	kind   string
	keyOf  func(T) (id, name string)
	before map[string]T
	after  map[string]T
	ids    map[string]string // by name, of after
	dirty  map[string]bool   // ids that were put or removed
}

func newTable[T any](kind string, rows []T, keyOf func(T) (id, name string)) *table[T] {
	t := &table[T]{kind: kind, keyOf: keyOf, before: make(map[string]T, len(rows)), ids: make(map[string]string, len(rows)), dirty: map[string]bool{}}
	for _, row := range rows {
		id, name := keyOf(row)
		t.before[id], t.ids[name] = row, id
	}
	t.after = maps.Clone(t.before)
	return t
}

// get finds a row by id or name.
func (t *table[T]) get(ref string) (T, bool) {
	if isID(ref) {
		row, ok := t.after[strings.ToLower(ref)]
		return row, ok
	}
	return t.named(ref)
}

func (t *table[T]) named(name string) (T, bool) {
	row, ok := t.after[t.ids[name]]
	return row, ok
}

// need is get that faults with NotFound.
func (t *table[T]) need(ref string) (T, error) {
	row, ok := t.get(ref)
	if !ok {
		return row, fault.New(fault.NotFound, "%s", strictjson.Missing(t.kind, ref, t.names()))
	}
	return row, nil
}

// put adds or replaces a row. Fault: Conflict when another row has the name.
func (t *table[T]) put(row T) error {
	id, name := t.keyOf(row)
	if holder, held := t.ids[name]; held && holder != id {
		return taken("name", name, "there is already a %s named %q", t.kind, name)
	}
	t.remove(id)
	t.after[id], t.ids[name] = row, id
	return nil
}

func (t *table[T]) remove(id string) {
	if row, ok := t.after[id]; ok {
		_, name := t.keyOf(row)
		delete(t.ids, name)
		delete(t.after, id)
	}
	t.dirty[id] = true
}

func (t *table[T]) names() []string { return slices.Sorted(maps.Keys(t.ids)) }

// altered yields, in id order, the rows that differ from what was found: before
// is nil for a new row, after for a removed one.
func (t *table[T]) altered(state func(T) entity.State) ([]alteration[T], error) {
	var all []alteration[T]
	for _, id := range slices.Sorted(maps.Keys(t.dirty)) {
		a := alteration[T]{id: id}
		var prev, next entity.State
		if row, ok := t.before[id]; ok {
			a.before, prev = &row, state(row)
		}
		if row, ok := t.after[id]; ok {
			a.after, next = &row, state(row)
		}
		changed, err := entity.Diff(prev, next)
		if err != nil {
			return nil, fmt.Errorf("comparing %s %s: %w", t.kind, id, err)
		}
		if len(changed) > 0 {
			all = append(all, a)
		}
	}
	return all, nil
}

// alteration is one row before and after; one of them may be nil.
type alteration[T any] struct {
	id            string
	before, after *T
}

// edit is one transaction's view of all definitions. Callers put and remove rows
// in memory; commit works out the consequences and writes.
type edit struct {
	tx          Tx
	now         time.Time
	placer      *placer
	assignments *table[Assignment]
	// wasCovered and covered are what is in maintenance before and after, and wasPaused and
	// paused the pairs that it keeps from running (see pausing).
	wasCovered, covered map[Maintained]bool
	wasPaused, paused   map[pair]bool
	// coming are the ids of systems that are about to be made, by name.
	coming map[string]string
	// nil until they are loaded
	systems      *table[System]
	checks       *table[Check]
	satellites   *table[fleet.Satellite]
	maintenances *table[Maintenance]
	// concealer may be nil; concealed: it was given something to keep, by the actor.
	concealer Concealer
	actor     entity.Actor
	concealed bool
	// hashes are the tokens of new satellites that have one already, by id.
	hashes map[string]string
}

// begin opens an edit with all definitions in it.
func (c *Catalog) begin(ctx context.Context, tx Tx) (*edit, error) {
	e, err := c.open(ctx, tx)
	if err != nil {
		return nil, err
	}
	systems, err := tx.AllSystems(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading systems: %w", err)
	}
	e.systems = newTable("system", systems, func(s System) (id, name string) { return s.ID, s.Name })
	maintenances, err := tx.AllMaintenances(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading maintenances: %w", err)
	}
	e.maintenances = newTable("maintenance", maintenances, func(m Maintenance) (id, name string) { return m.ID, m.Name })
	return e, e.loadChecks(ctx)
}

// open opens an edit with the assignments only.
func (c *Catalog) open(ctx context.Context, tx Tx) (*edit, error) {
	if err := tx.LockDefinitions(ctx); err != nil {
		return nil, fmt.Errorf("locking definitions: %w", err)
	}
	now, err := tx.Now(ctx)
	if err != nil {
		return nil, err
	}
	assignments, err := tx.AllAssignments(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading assignments: %w", err)
	}
	table := newTable("assignment", assignments, func(a Assignment) (id, name string) { return a.ID, a.Name })
	maintained, err := tx.Maintained(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading what is in maintenance: %w", err)
	}
	covered := make(map[Maintained]bool, len(maintained))
	for _, m := range maintained {
		covered[m] = true
	}
	paused := pausing(covered)
	return &edit{
		wasCovered: covered, covered: covered, wasPaused: paused, paused: paused,
		tx: tx, now: now, placer: newPlacer(c.log), assignments: table, concealer: c.concealer, hashes: map[string]string{},
	}, nil
}

// conceal gives a check's spec as it is to be stored, and what is wrong with its
// credentials, with paths that begin with "spec".
func (e *edit) conceal(ctx context.Context, checkID string, before, after check.Spec) (check.Spec, problems, error) {
	if e.concealer == nil {
		return after, nil, nil
	}
	spec, fields, err := e.concealer.Conceal(ctx, e.tx, e.actor, checkID, before, after)
	if err != nil {
		return after, nil, fmt.Errorf("keeping the credentials of a check: %w", err)
	}
	e.concealed = e.concealed || e.concealer.Exposed(after)
	var wrong problems
	for _, f := range fields {
		f.Path = strictjson.Join("spec", f.Path)
		wrong = append(wrong, f)
	}
	return spec, wrong, nil
}

// hidden is the check as history and plans show it: one of before there was a
// Concealer may still have credentials in its spec.
func (e *edit) hidden(c Check) Check {
	if e.concealer != nil {
		c.Spec = e.concealer.Hidden(c.Spec)
	}
	return c
}

func (e *edit) loadChecks(ctx context.Context) error {
	if e.checks != nil {
		return nil
	}
	checks, err := e.tx.AllChecks(ctx)
	if err != nil {
		return fmt.Errorf("reading checks: %w", err)
	}
	e.checks = newTable("check", checks, func(c Check) (id, name string) { return c.ID, c.Name })
	return nil
}

// loadSatellites reads the fleet, which most edits do not need.
func (e *edit) loadSatellites(ctx context.Context) error {
	if e.satellites != nil {
		return nil
	}
	all, err := e.tx.AllSatellites(ctx)
	if err != nil {
		return fmt.Errorf("reading satellites: %w", err)
	}
	e.satellites = newTable("satellite", all, func(s fleet.Satellite) (id, name string) { return s.ID, s.Name })
	return nil
}

// altered is everything that an edit altered.
type altered struct {
	systems      []alteration[System]
	checks       []alteration[Check]
	assignments  []alteration[Assignment]
	satellites   []alteration[fleet.Satellite]
	maintenances []alteration[Maintenance]
}

func (e *edit) altered() (all altered, err error) {
	if all.systems, err = e.systems.altered(systemState); err != nil {
		return all, err
	}
	if all.checks, err = e.checks.altered(checkState); err != nil {
		return all, err
	}
	if all.assignments, err = e.assignments.altered(assignmentState); err != nil {
		return all, err
	}
	if e.maintenances != nil {
		if err = e.followNames(all); err != nil {
			return all, err
		}
		if all.maintenances, err = e.maintenances.altered(maintenanceState); err != nil {
			return all, err
		}
		e.maintain()
	}
	if e.satellites != nil {
		all.satellites, err = e.satellites.altered(satelliteState)
	}
	return all, err
}

// commit writes what was altered, places assignments anew where needed, and
// raises the revision of the affected satellites, which it returns with the
// changes to be recorded.
func (e *edit) commit(ctx context.Context, actor entity.Actor) (changes []entity.Change, affected []string, err error) {
	all, err := e.altered()
	if err != nil {
		return nil, nil, err
	}
	for _, a := range all.satellites {
		if err := e.writeSatellite(ctx, a); err != nil {
			return nil, nil, err
		}
	}
	plan, err := e.plan(ctx, all)
	if err != nil {
		return nil, nil, err
	}
	if affected, err = e.carryOut(ctx, all, plan); err != nil {
		return nil, nil, err
	}
	return all.changes(actor, e), affected, nil
}

// carryOut writes what was altered and planned, and gives the affected satellites. Their
// revisions rise first: that locks them in the order in which everybody does, and no
// lease that names an older revision is given out any more.
func (e *edit) carryOut(ctx context.Context, all altered, plan *plan) (affected []string, err error) {
	if affected = plan.affected(); len(affected) > 0 {
		if err := e.tx.BumpRevisions(ctx, affected); err != nil {
			return nil, fmt.Errorf("raising revisions: %w", err)
		}
	}
	return affected, e.write(ctx, all, plan)
}

// write orders the statements so that no constraint is hurt on the way: old
// placements go before their assignments and new ones come after; assignments
// that move to another pair are taken out first, so that two may swap theirs.
func (e *edit) write(ctx context.Context, all altered, plan *plan) error {
	if err := putAll(ctx, e.tx.PutSystems, all.systems, e.now, func(s *System) (created, updated *time.Time) { return &s.CreatedAt, &s.UpdatedAt }); err != nil {
		return err
	}
	for _, a := range all.systems { // now that all are there
		if dependenciesAltered(a) {
			if err := e.tx.PutDependencies(ctx, a.id, a.after.DependsOnIDs); err != nil {
				return err
			}
		}
	}
	if err := putAll(ctx, e.tx.PutChecks, all.checks, e.now, func(c *Check) (created, updated *time.Time) { return &c.CreatedAt, &c.UpdatedAt }); err != nil {
		return err
	}
	if len(plan.remove) > 0 {
		if err := e.tx.Place(ctx, nil, plan.remove); err != nil {
			return fmt.Errorf("removing placements: %w", err)
		}
	}
	for _, a := range all.assignments {
		if a.before != nil && (a.after == nil || a.before.pair() != a.after.pair()) {
			if err := e.tx.DeleteAssignment(ctx, a.id); err != nil {
				return err
			}
		}
	}
	if err := putAll(ctx, e.tx.PutAssignments, all.assignments, e.now, func(a *Assignment) (created, updated *time.Time) { return &a.CreatedAt, &a.UpdatedAt }); err != nil {
		return err
	}
	if len(plan.add) > 0 {
		if err := e.tx.Place(ctx, plan.add, nil); err != nil {
			return fmt.Errorf("adding placements: %w", err)
		}
	}
	if err := e.writeMaintenances(ctx, all); err != nil {
		return err
	}
	return e.deleteParents(ctx, all)
}

// writeMaintenances stores maintenances, and what is in maintenance by them.
func (e *edit) writeMaintenances(ctx context.Context, all altered) error {
	for _, a := range all.maintenances {
		if a.after == nil {
			if err := e.tx.DeleteMaintenance(ctx, a.id); err != nil {
				return err
			}
			continue
		}
		if err := e.tx.PutMaintenance(ctx, stamp(a, e.now, func(m *Maintenance) (created, updated *time.Time) { return &m.CreatedAt, &m.UpdatedAt })); err != nil {
			return err
		}
	}
	return e.writeMaintained(ctx)
}

// deleteParents removes systems and checks, whose assignments are gone by now.
func (e *edit) deleteParents(ctx context.Context, all altered) error {
	for _, a := range all.systems {
		if a.after == nil {
			if err := e.tx.DeleteSystem(ctx, a.id); err != nil {
				return err
			}
		}
	}
	for _, a := range all.checks {
		if a.after == nil {
			if err := e.tx.DeleteCheck(ctx, a.id); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeSatellite creates or alters a satellite that a document describes. The
// token of a new one, unless it has one already, is thrown away: somebody rotates
// it when the machine is there (spec I.5, L 66).
func (e *edit) writeSatellite(ctx context.Context, a alteration[fleet.Satellite]) error {
	if a.before != nil {
		return e.tx.UpdateSatellite(ctx, *a.after)
	}
	hash, had := e.hashes[a.id]
	if !had {
		_, hash = fleet.NewToken()
	}
	return e.tx.InsertSatellite(ctx, *a.after, hash)
}

// putAll writes what there is after the alterations, with its times, at once.
func putAll[T any](ctx context.Context, put func(context.Context, ...T) error, all []alteration[T], now time.Time, times func(*T) (created, updated *time.Time)) error {
	var rows []T
	for _, a := range all {
		if a.after != nil {
			rows = append(rows, stamp(a, now, times))
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return put(ctx, rows...)
}

// stamp is the row after the alteration with its times.
func stamp[T any](a alteration[T], now time.Time, times func(*T) (created, updated *time.Time)) T {
	row := *a.after
	created, updated := times(&row)
	*created, *updated = now, now
	if a.before != nil {
		was, _ := times(a.before)
		*created = *was
	}
	return row
}
