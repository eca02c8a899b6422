package catalog_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/protocol"
)

// memory is a store in memory with one writer: a transaction works on a copy that
// takes the place of the original when it commits. Methods that neither catalog
// nor these tests call are the embedded nil interfaces'.
type memory struct {
	definitions
	satellites
	mu   sync.Mutex
	data data
	// calls counts the statements of committed and aborted transactions by name.
	calls map[string]int
}

type (
	definitions = catalog.Store
	satellites  = fleet.Store
)

type data struct {
	systems     map[string]catalog.System
	checks      map[string]catalog.Check
	assignments map[string]catalog.Assignment
	upkeep      map[string]catalog.Maintenance
	maintained  map[catalog.Maintained]bool
	satellites  map[string]fleet.Satellite
	tokens      map[string]string
	placements  map[catalog.Placement]bool
	grants      []catalog.Placement
	revisions   map[string]int64
	desired     map[string]string // real stores only: each satellite's assignments as JSON
	events      []entity.Event
}

func newMemory() *memory {
	return &memory{calls: map[string]int{}, data: data{
		upkeep: map[string]catalog.Maintenance{}, maintained: map[catalog.Maintained]bool{},
		systems: map[string]catalog.System{}, checks: map[string]catalog.Check{}, assignments: map[string]catalog.Assignment{},
		satellites: map[string]fleet.Satellite{}, tokens: map[string]string{}, placements: map[catalog.Placement]bool{}, revisions: map[string]int64{},
	}}
}

func (d data) clone() data {
	d.systems, d.checks, d.assignments = maps.Clone(d.systems), maps.Clone(d.checks), maps.Clone(d.assignments)
	d.upkeep, d.maintained = maps.Clone(d.upkeep), maps.Clone(d.maintained)
	d.satellites, d.tokens, d.placements = maps.Clone(d.satellites), maps.Clone(d.tokens), maps.Clone(d.placements)
	d.revisions, d.grants, d.events = maps.Clone(d.revisions), slices.Clone(d.grants), slices.Clone(d.events)
	return d
}

func (m *memory) InTx(ctx context.Context, fn func(entity.Tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	tx := &memoryTx{data: m.data.clone(), calls: m.calls}
	if err := fn(tx); err != nil {
		return err
	}
	m.data = tx.data
	return nil
}

func (m *memory) snapshot() data {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.data.clone()
}

func read[T any](m *memory, rows func(data) map[string]T, match func(T) bool) (T, error) {
	for _, row := range rows(m.snapshot()) {
		if match(row) {
			return row, nil
		}
	}
	var none T
	return none, fault.New(fault.NotFound, "not found")
}

func (m *memory) System(_ context.Context, id string) (catalog.System, error) {
	return read(m, func(d data) map[string]catalog.System { return d.systems }, func(s catalog.System) bool { return s.ID == id })
}

func (m *memory) SystemByName(_ context.Context, name string) (catalog.System, error) {
	return read(m, func(d data) map[string]catalog.System { return d.systems }, func(s catalog.System) bool { return s.Name == name })
}

func (m *memory) Check(_ context.Context, id string) (catalog.Check, error) {
	return read(m, func(d data) map[string]catalog.Check { return d.checks }, func(c catalog.Check) bool { return c.ID == id })
}

func (m *memory) CheckByName(_ context.Context, name string) (catalog.Check, error) {
	return read(m, func(d data) map[string]catalog.Check { return d.checks }, func(c catalog.Check) bool { return c.Name == name })
}

func (m *memory) Assignment(_ context.Context, id string) (catalog.Assignment, error) {
	d := m.snapshot()
	a, ok := d.assignments[id]
	if !ok {
		return a, fault.New(fault.NotFound, "not found")
	}
	a.CheckName, a.SystemName, a.Placed = d.checks[a.CheckID].Name, d.systems[a.SystemID].Name, d.placed(id)
	return a, nil
}

func (m *memory) AssignmentByName(ctx context.Context, name string) (catalog.Assignment, error) {
	for id, a := range m.snapshot().assignments {
		if a.Name == name {
			return m.Assignment(ctx, id)
		}
	}
	return catalog.Assignment{}, fault.New(fault.NotFound, "not found")
}

func (m *memory) Satellite(_ context.Context, id string) (fleet.Satellite, error) {
	return read(m, func(d data) map[string]fleet.Satellite { return d.satellites }, func(s fleet.Satellite) bool { return s.ID == id })
}

// placed are the names of the satellites that have the assignment.
func (d data) placed(assignmentID string) []string {
	names := []string{}
	for p := range d.placements {
		if p.AssignmentID == assignmentID {
			names = append(names, d.satellites[p.SatelliteID].Name)
		}
	}
	slices.Sort(names)
	return names
}

type memoryTx struct {
	fleet.Tx
	data  data
	calls map[string]int
}

var _ catalog.Tx = (*memoryTx)(nil)

var epoch = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

func (tx *memoryTx) Now(context.Context) (time.Time, error) {
	return epoch.Add(time.Duration(len(tx.data.events)) * time.Second), nil
}
func (tx *memoryTx) AppendTransitions(context.Context, []entity.Transition) error { return nil }
func (tx *memoryTx) AppendEvents(_ context.Context, events []entity.Event) error {
	tx.data.events = append(tx.data.events, events...)
	return nil
}

func (tx *memoryTx) LockDefinitions(context.Context) error { tx.calls["LockDefinitions"]++; return nil }

func sorted[T any](rows map[string]T) []T {
	var all []T
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		all = append(all, rows[id])
	}
	return all
}

func (tx *memoryTx) AllSystems(context.Context) ([]catalog.System, error) {
	tx.calls["AllSystems"]++
	return sorted(tx.data.systems), nil
}

func (tx *memoryTx) AllChecks(context.Context) ([]catalog.Check, error) {
	tx.calls["AllChecks"]++
	return sorted(tx.data.checks), nil
}

func (tx *memoryTx) AllAssignments(context.Context) ([]catalog.Assignment, error) {
	tx.calls["AllAssignments"]++
	return sorted(tx.data.assignments), nil
}

func (tx *memoryTx) AllSatellites(context.Context) ([]fleet.Satellite, error) {
	tx.calls["AllSatellites"]++
	return sorted(tx.data.satellites), nil
}

// put stores a row unless another has its name.
func put[T any](rows map[string]T, id string, row T, same func(T) bool) error {
	for other, r := range rows {
		if other != id && same(r) {
			return fault.New(fault.Conflict, "taken")
		}
	}
	rows[id] = row
	return nil
}

func (tx *memoryTx) PutSystems(_ context.Context, all ...catalog.System) error {
	tx.calls["PutSystems"]++
	for _, s := range all {
		if err := put(tx.data.systems, s.ID, s, func(o catalog.System) bool { return o.Name == s.Name }); err != nil {
			return err
		}
	}
	return nil
}

func (tx *memoryTx) PutChecks(_ context.Context, all ...catalog.Check) error {
	tx.calls["PutChecks"]++
	for _, c := range all {
		if err := put(tx.data.checks, c.ID, c, func(o catalog.Check) bool { return o.Name == c.Name }); err != nil {
			return err
		}
	}
	return nil
}

func (tx *memoryTx) PutAssignments(_ context.Context, all ...catalog.Assignment) error {
	tx.calls["PutAssignments"]++
	for _, a := range all {
		if _, ok := tx.data.checks[a.CheckID]; !ok {
			return fault.New(fault.Internal, "no such check")
		}
		if _, ok := tx.data.systems[a.SystemID]; !ok {
			return fault.New(fault.Internal, "no such system")
		}
		if err := put(tx.data.assignments, a.ID, a, func(o catalog.Assignment) bool {
			return o.Name == a.Name || o.CheckID == a.CheckID && o.SystemID == a.SystemID
		}); err != nil {
			return err
		}
	}
	return nil
}

func remove[T any](rows map[string]T, id string) error {
	if _, ok := rows[id]; !ok {
		return fault.New(fault.NotFound, "not found")
	}
	delete(rows, id)
	return nil
}

func (tx *memoryTx) PutDependencies(context.Context, string, []string) error { return nil }

func (tx *memoryTx) AllMaintenances(context.Context) ([]catalog.Maintenance, error) {
	return sorted(tx.data.upkeep), nil
}

func (tx *memoryTx) PutMaintenance(_ context.Context, m catalog.Maintenance) error {
	return put(tx.data.upkeep, m.ID, m, func(o catalog.Maintenance) bool { return o.Name == m.Name })
}

func (tx *memoryTx) DeleteMaintenance(_ context.Context, id string) error {
	return remove(tx.data.upkeep, id)
}

func (tx *memoryTx) Maintained(context.Context) ([]catalog.Maintained, error) {
	return slices.Collect(maps.Keys(tx.data.maintained)), nil
}

func (tx *memoryTx) Maintain(_ context.Context, begin, end []catalog.Maintained) error {
	for _, m := range end {
		delete(tx.data.maintained, m)
	}
	for _, m := range begin {
		tx.data.maintained[m] = true
	}
	return nil
}

func (tx *memoryTx) DeleteSystem(_ context.Context, id string) error {
	return remove(tx.data.systems, id)
}

func (tx *memoryTx) DeleteCheck(_ context.Context, id string) error {
	return remove(tx.data.checks, id)
}

func (tx *memoryTx) DeleteAssignment(_ context.Context, id string) error {
	maps.DeleteFunc(tx.data.placements, func(p catalog.Placement, _ bool) bool { return p.AssignmentID == id })
	return remove(tx.data.assignments, id)
}

func (tx *memoryTx) Watched(context.Context) (time.Time, error) { return epoch, nil }

func (tx *memoryTx) SeatsOf(_ context.Context, ids []string) ([]catalog.SeatAt, error) {
	var seats []catalog.SeatAt
	for p := range tx.data.placements {
		if p.Seat > 0 && (ids == nil || slices.Contains(ids, p.AssignmentID)) {
			seats = append(seats, catalog.SeatAt{AssignmentID: p.AssignmentID, SatelliteID: p.SatelliteID, Number: p.Seat})
		}
	}
	slices.SortFunc(seats, func(a, b catalog.SeatAt) int {
		return cmp.Or(strings.Compare(a.AssignmentID, b.AssignmentID), cmp.Compare(a.Number, b.Number))
	})
	return seats, nil
}

func (tx *memoryTx) Placements(context.Context) (map[string][]string, error) {
	tx.calls["Placements"]++
	return tx.placements(func(catalog.Placement) bool { return true }), nil
}

func (tx *memoryTx) PlacementsOf(_ context.Context, ids []string) (map[string][]string, error) {
	tx.calls["PlacementsOf"]++
	return tx.placements(func(p catalog.Placement) bool { return slices.Contains(ids, p.AssignmentID) }), nil
}

func (tx *memoryTx) placements(match func(catalog.Placement) bool) map[string][]string {
	found := map[string][]string{}
	for p := range tx.data.placements {
		if p.Seat == 0 && match(p) {
			found[p.AssignmentID] = append(found[p.AssignmentID], p.SatelliteID)
		}
	}
	return found
}

func (tx *memoryTx) PlacementsOn(_ context.Context, id string) ([]string, error) {
	tx.calls["PlacementsOn"]++
	var found []string
	for p := range tx.data.placements {
		if p.Seat == 0 && p.SatelliteID == id {
			found = append(found, p.AssignmentID)
		}
	}
	return found, nil
}

func (tx *memoryTx) Place(_ context.Context, add, remove []catalog.Placement) error {
	tx.calls["Place"]++
	for _, p := range remove {
		p.Reason, p.Handover = "", false
		if !tx.data.placements[p] {
			return fault.New(fault.Internal, "%v is not placed", p)
		}
		delete(tx.data.placements, p)
		tx.data.grants = append(tx.data.grants, p)
	}
	for _, p := range add {
		p.Reason = ""
		if _, ok := tx.data.assignments[p.AssignmentID]; !ok || tx.data.placements[p] {
			return fault.New(fault.Internal, "%v is placed already, or its assignment is missing", p)
		}
		if _, ok := tx.data.satellites[p.SatelliteID]; !ok {
			return fault.New(fault.Internal, "the satellite of %v is missing", p)
		}
		tx.data.placements[p] = true
	}
	return nil
}

func (tx *memoryTx) BumpRevisions(_ context.Context, ids []string) error {
	tx.calls["BumpRevisions"]++
	for _, id := range ids {
		tx.data.revisions[id]++
	}
	return nil
}

func (tx *memoryTx) InsertSatellite(_ context.Context, s fleet.Satellite, hash string) error {
	tx.data.tokens[s.ID] = hash
	return put(tx.data.satellites, s.ID, s, func(o fleet.Satellite) bool { return o.Name == s.Name })
}

func (tx *memoryTx) UpdateSatellite(_ context.Context, s fleet.Satellite) error {
	return put(tx.data.satellites, s.ID, s, func(o fleet.Satellite) bool { return o.Name == s.Name })
}

func (tx *memoryTx) SatelliteForUpdate(_ context.Context, id string) (fleet.Satellite, error) {
	if s, ok := tx.data.satellites[id]; ok {
		return s, nil
	}
	return fleet.Satellite{}, fault.New(fault.NotFound, "not found")
}

func (tx *memoryTx) LockConnections(context.Context, []string) (map[string]fleet.Connection, error) {
	return nil, nil
}

func (tx *memoryTx) DeleteSatellite(_ context.Context, id string) error {
	maps.DeleteFunc(tx.data.placements, func(p catalog.Placement, _ bool) bool { return p.SatelliteID == id })
	return remove(tx.data.satellites, id)
}

// bell counts rings by topic.
type bell struct {
	mu    sync.Mutex
	rings map[string]int
}

func (b *bell) Ring(topic string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rings == nil {
		b.rings = map[string]int{}
	}
	b.rings[topic]++
}

func (b *bell) count(topic string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rings[topic]
}

// world is a catalog and a fleet over one store.
type world struct {
	testing.TB
	*catalog.Catalog
	// fleet is made on first use, since that takes a bcrypt comparison.
	fleet    func() *fleet.Fleet
	recorder *entity.Recorder
	store    *memory // nil when look reads a real store
	look     func() data
	bell     *bell
}

// newWorld is over a store in memory.
func newWorld(t testing.TB) *world {
	m := newMemory()
	w := worldOf(t, m, m, m, validateSpec)
	w.store, w.look = m, m.snapshot
	return w
}

// worldOf joins catalog and fleet as the server does.
func worldOf(t testing.TB, transactions entity.Store, definitions catalog.Store, satellites fleet.Store, validate catalog.ValidateSpec) *world {
	w := &world{TB: t, bell: &bell{}}
	log := slog.New(slog.DiscardHandler)
	w.recorder = entity.NewRecorder(transactions, w.bell, append(catalog.Derivers(), fleet.Derivers()...)...)
	w.Catalog = catalog.New(definitions, w.recorder, w.bell, validate, log)
	w.fleet = sync.OnceValue(func() *fleet.Fleet {
		f := fleet.New(satellites, w.recorder, w.bell, log)
		f.SetReplan(w.SatelliteChanged)
		return f
	})
	return w
}

// validateSpec stands in for the schemas: a strategy must have a dot, an interval
// must be there, and a url must be one.
func validateSpec(spec check.Spec) []fault.Field {
	var wrong []fault.Field
	if !strings.Contains(spec.Strategy, ".") {
		wrong = append(wrong, fault.Field{Path: "strategy", Message: "is not known", Value: spec.Strategy})
	}
	if spec.Interval <= 0 {
		wrong = append(wrong, fault.Field{Path: "interval", Message: "must be at least 1s"})
	}
	for _, c := range spec.Collectors {
		if strings.Contains(string(c.Config), "nonsense") {
			wrong = append(wrong, fault.Field{Path: "collectors[0].config.url", Message: "must be a URL"})
		}
	}
	return wrong
}

var actor = entity.Actor{Type: "user", ID: "u1", Name: "Ada"}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// satellite creates a satellite with tags "key=value", as fleet does.
func (w *world) satellite(name string, tags ...string) fleet.Satellite {
	w.Helper()
	m := map[string]string{}
	for _, tag := range tags {
		k, v, _ := strings.Cut(tag, "=")
		m[k] = v
	}
	s := fleet.Satellite{ID: uuid.NewString(), Name: name, Region: cmp.Or(m["region"], "eu"), Tags: m}
	err := entity.Record(w.Context(), w.recorder, func(tx fleet.Tx) ([]entity.Change, error) {
		if err := tx.InsertSatellite(w.Context(), s, "sha256:of-"+name); err != nil {
			return nil, err
		}
		return w.SatelliteChanged(w.Context(), tx, nil, &s, entity.System)
	})
	if err != nil {
		w.Fatalf("creating satellite %s: %v", name, err)
	}
	w.bell.Ring(fleet.TopicConfig)
	return s
}

var spec = check.Spec{
	Strategy: "healthcheck-http.http", Interval: check.Duration(10 * time.Second), Config: []byte(`{"timeout":5000}`),
	Collectors: []check.Collector{{ID: "root", Collector: "healthcheck-http.request", Config: []byte(`{"url":"http://127.0.0.1/"}`)}},
}

// inventories lets satellites, which are made where there are none, tell what they can run.
func (w *world) inventories(all map[string]*protocol.Inventory) {
	w.Helper()
	for name, inventory := range all {
		s := w.satelliteNamed(name)
		s.Inventory = inventory
		w.store.mu.Lock()
		w.store.data.satellites[s.ID] = s
		w.store.mu.Unlock()
	}
}

func (w *world) satelliteNamed(name string) fleet.Satellite {
	w.Helper()
	w.store.mu.Lock()
	for _, s := range w.store.data.satellites {
		if s.Name == name {
			w.store.mu.Unlock()
			return s
		}
	}
	w.store.mu.Unlock()
	return w.satellite(name)
}

// assigned defines check NAME-check, system NAME-system and assignment NAME of both.
func (w *world) assigned(name string, satellites catalog.Selector) catalog.Assignment {
	w.Helper()
	if _, err := w.CreateCheck(w.Context(), actor, catalog.CheckInput{Name: name + "-check", Spec: spec}); err != nil {
		w.Fatal(err)
	}
	if _, err := w.CreateSystem(w.Context(), actor, catalog.SystemInput{Name: name + "-system"}); err != nil {
		w.Fatal(err)
	}
	no := false
	a, err := w.CreateAssignment(w.Context(), actor, catalog.AssignmentInput{
		Name: name, Check: name + "-check", System: name + "-system", IncludeLocal: &no, Satellites: satellites,
	})
	if err != nil {
		w.Fatal(err)
	}
	return a
}

// bumped runs fn and returns the names of the satellites whose revision it raised.
func (w *world) bumped(fn func()) []string {
	w.Helper()
	before := w.look()
	rings := w.bell.count(fleet.TopicConfig)
	fn()
	after := w.look()
	names := []string{}
	for id, revision := range after.revisions {
		if revision == before.revisions[id] {
			continue
		}
		if revision > before.revisions[id]+1 {
			w.Errorf("%s was bumped %d times", after.satellites[id].Name, revision-before.revisions[id])
		}
		names = append(names, after.satellites[id].Name)
	}
	if len(names) > 0 && w.bell.count(fleet.TopicConfig) == rings {
		w.Error("a satellite is affected and the bell was not rung")
	}
	slices.Sort(names)
	return names
}

// eventTypes are the types of the events that fn recorded.
func (w *world) eventTypes(fn func()) []string {
	from := len(w.look().events)
	fn()
	var types []string
	for _, e := range w.look().events[from:] {
		types = append(types, e.Type)
	}
	return types
}

type entityEvent = entity.Event

// fields are the messages of a fault by path.
func fields(err error) map[string]string {
	messages := map[string]string{}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		for _, field := range f.Fields {
			messages[field.Path] = field.Message
		}
	}
	return messages
}

// doc is a document without labels.
func doc(kind, name, spec string) catalog.Document {
	return catalog.Document{APIVersion: catalog.APIVersion, Kind: kind, Metadata: catalog.Metadata{Name: name}, Spec: []byte(spec)}
}

func jsonOf(v any) ([]byte, error) { return json.Marshal(v) }
