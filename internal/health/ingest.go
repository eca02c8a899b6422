package health

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// TopicResults is rung when results are durable, whether they changed anything or not.
const TopicResults = "results"

const (
	// ingestBatch is about how many runs one transaction takes.
	ingestBatch = 1000
	// ingestQueue bounds the items that wait for a transaction; sessions beyond it
	// wait, and stop reading.
	ingestQueue = 1024
)

// Item is what one session hands in at once.
type Item struct {
	Runs  []Run
	Skips []Skip
}

// Counts are totals since the process began, for metrics.
type Counts struct {
	Runs       atomic.Int64 // made durable
	Duplicates atomic.Int64 // run ids that were there already
	Skips      atomic.Int64
	// Inconclusive are runs, among those made durable or repeated, that say nothing.
	Inconclusive atomic.Int64
	Batches      atomic.Int64
	Failures     atomic.Int64 // transactions that failed
}

// Ingest makes results durable and keeps the state of locations and systems.
type Ingest struct {
	Counts   Counts
	store    Store
	recorder *entity.Recorder
	log      *slog.Logger
	group    *entity.Group[Item]
	opinions *Opinions // nil: nobody is asked
	watches  func() []RunWatch
}

// Consult has others asked before verdicts become worse. It is called before Run.
func (i *Ingest) Consult(o *Opinions) { i.opinions = o }

// NewIngest makes an ingest; Run must be running for submissions to finish.
func NewIngest(store Store, recorder *entity.Recorder, log *slog.Logger) *Ingest {
	i := &Ingest{store: store, recorder: recorder, log: log}
	i.group = entity.NewGroup(ingestQueue, ingestBatch, func(item Item) int { return len(item.Runs) + len(item.Skips) }, i.commit)
	return i
}

// Submit queues item; the channel yields nil once it is durable. A fault of kind
// Unavailable means that the database is away and the item may be handed in again.
func (i *Ingest) Submit(ctx context.Context, item Item) (<-chan error, error) {
	return i.group.Submit(ctx, item)
}

// Run commits until ctx ends.
func (i *Ingest) Run(ctx context.Context) error { return i.group.Run(ctx) }

// commit makes one batch durable in one transaction.
func (i *Ingest) commit(ctx context.Context, items []Item) error {
	var runs []Run
	var skips []Skip
	for _, item := range items {
		runs = append(runs, item.Runs...)
		skips = append(skips, item.Skips...)
	}
	inserted := 0
	err := entity.Record(ctx, i.recorder, func(tx Tx) ([]entity.Change, error) {
		if len(skips) > 0 {
			if err := tx.InsertSkips(ctx, skips); err != nil {
				return nil, err
			}
		}
		if len(runs) == 0 {
			return nil, nil
		}
		fresh, err := tx.InsertRuns(ctx, runs)
		if err != nil {
			return nil, err
		}
		inserted = len(fresh)
		if err := noteBlind(ctx, tx, runs, fresh); err != nil {
			return nil, err
		}
		if err := leaveForRollups(ctx, tx, runs, fresh); err != nil {
			return nil, err
		}
		told, err := i.tellRuns(ctx, tx, runs, fresh)
		if err != nil {
			return nil, err
		}
		systems, err := stepLocations(ctx, tx, runs, fresh)
		if err != nil || len(systems) == 0 {
			return told, err
		}
		changes, err := judgeSystems(ctx, tx, systems, i.opinions)
		return append(told, changes...), err
	})
	if err != nil {
		i.Counts.Failures.Add(1)
		if !fault.Is(err, fault.Unavailable) && !errors.Is(err, context.Canceled) {
			i.log.Error("storing results failed", "runs", len(runs), "skips", len(skips), "error", err)
		}
		return err
	}
	if slices.ContainsFunc(runs, func(r Run) bool { return r.Asked != "" }) || slices.ContainsFunc(skips, func(s Skip) bool { return s.Asked != "" }) {
		i.recorder.Ring(fleet.TopicAnswer)
	}
	i.recorder.Ring(TopicResults)
	i.opinions.tell()
	i.Counts.Batches.Add(1)
	i.Counts.Runs.Add(int64(inserted))
	i.Counts.Duplicates.Add(int64(len(runs) - inserted))
	i.Counts.Skips.Add(int64(len(skips)))
	for _, r := range runs {
		if r.Inconclusive != "" {
			i.Counts.Inconclusive.Add(1)
		}
	}
	return nil
}

// stepLocations moves the locations of the runs that were new and returns the
// systems on which that may bear.
func stepLocations(ctx context.Context, tx Tx, runs []Run, fresh map[string]bool) ([]string, error) {
	byKey := map[LocationKey][]Run{}
	for _, r := range runs {
		if fresh[r.RunID] && !r.Guest && r.Inconclusive == "" {
			key := LocationKey{SystemID: r.SystemID, CheckID: r.CheckID, SatelliteID: r.SatelliteID, EnvironmentID: r.EnvironmentID}
			byKey[key] = append(byKey[key], r)
		}
	}
	if len(byKey) == 0 {
		return nil, nil
	}
	keys := make([]LocationKey, 0, len(byKey))
	for key := range byKey {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, compareKeys)
	known, err := tx.LockLocations(ctx, keys)
	if err != nil {
		return nil, err
	}
	policies, err := policiesOfNew(ctx, tx, keys, known)
	if err != nil {
		return nil, err
	}
	var moved []Location
	var keep []Run
	systems := map[string]bool{}
	for _, key := range keys {
		loc, existed := known[key]
		if !existed {
			loc = Location{LocationKey: key, Policy: policies[key]}
		}
		before, stepped := loc, false
		rs := byKey[key]
		slices.SortStableFunc(rs, func(a, b Run) int { return a.effective().Compare(b.effective()) })
		for _, r := range rs {
			status := loc.Status
			if !loc.step(r) {
				continue
			}
			stepped = true
			if r.Routine() && len(r.Result) > 0 && (loc.Status != status || !strings.HasSuffix(loc.Recent, "hh")) {
				keep = append(keep, r) // the first after a change
			}
		}
		if stepped {
			moved = append(moved, loc)
		}
		if stepped && (!existed || loc.Status != before.Status || loc.speaksAnew(&before)) {
			systems[key.SystemID] = true
		}
	}
	if len(moved) > 0 {
		if err := tx.PutLocations(ctx, moved); err != nil {
			return nil, err
		}
	}
	if len(keep) > 0 {
		if err := tx.KeepDetails(ctx, keep); err != nil {
			return nil, err
		}
	}
	return sortedKeys(systems), nil
}

// policiesOfNew reads the policies of the locations that have no row yet. (Those of
// the others came with their rows.)
func policiesOfNew(ctx context.Context, tx Tx, keys []LocationKey, known map[LocationKey]Location) (map[LocationKey]check.Policy, error) {
	if len(known) == len(keys) {
		return nil, nil
	}
	var unknown []LocationKey
	for _, key := range keys {
		if _, existed := known[key]; !existed {
			unknown = append(unknown, key)
		}
	}
	return tx.Policies(ctx, unknown)
}

// lockToJudge locks all systems whose verdicts may change with those of the given ones.
// Whoever locks less before judging would lock the rest out of order.
func lockToJudge(ctx context.Context, tx Tx, ids []string) (Dependencies, map[string]SystemHealth, error) {
	depend, err := tx.Dependencies(ctx)
	if err != nil {
		return nil, nil, err
	}
	before, err := tx.LockSystems(ctx, depend.withDependants(ids))
	return depend, before, err
}

// judgeSystems judges the systems under lock and returns what changed, with what it is
// called.
func judgeSystems(ctx context.Context, tx Tx, ids []string, opinions *Opinions) ([]entity.Change, error) {
	changes, err := judgeUnderLock(ctx, tx, ids, opinions)
	if err != nil || len(changes) == 0 {
		return changes, err
	}
	pair := func(c *entity.Change) Pair {
		if c.Kind == Kind {
			return Pair{SystemID: c.ID}
		}
		about := c.Next
		if about == nil {
			about = c.Prev
		}
		system, _ := about["systemId"].(string)
		checkID, _ := about["checkId"].(string)
		return Pair{SystemID: system, CheckID: checkID}
	}
	var pairs []Pair
	for i := range changes {
		pairs = append(pairs, pair(&changes[i]))
	}
	names, err := tx.PairNames(ctx, pairs)
	if err != nil {
		return nil, err
	}
	for i := range changes {
		name := names[pairs[i]]
		about := map[string]any{"systemName": name.System, "checkName": name.Check}
		maps.Copy(about, changes[i].About)
		changes[i].About = about
	}
	return changes, nil
}

func judgeUnderLock(ctx context.Context, tx Tx, ids []string, opinions *Opinions) ([]entity.Change, error) {
	depend, before, err := lockToJudge(ctx, tx, ids)
	if err != nil {
		return nil, err
	}
	now, err := tx.Now(ctx)
	if err != nil {
		return nil, err
	}
	existing := sortedKeys(before)
	seats, err := tx.Seats(ctx, existing)
	if err != nil {
		return nil, err
	}
	holding, err := tx.Verdicts(ctx, existing)
	if err != nil {
		return nil, err
	}
	if err := opinions.hold(ctx, tx, seats, judgementsOf(holding), now); err != nil {
		return nil, err
	}
	bySystem := map[string][]Seat{}
	for _, s := range seats {
		bySystem[s.SystemID] = append(bySystem[s.SystemID], s)
	}
	var put []SystemHealth
	var changes []entity.Change
	var checks []CheckVerdict
	judgements, unobserved := map[string]SystemHealth{}, map[string]bool{}
	for _, id := range existing {
		judged, verdicts := JudgeSystem(id, bySystem[id], now)
		unobserved[id] = Unobserved(verdicts)
		judgements[id], checks = judged, append(checks, verdicts...)
	}
	others, err := tx.SystemHealths(ctx, depend.below(existing))
	if err != nil {
		return nil, err
	}
	hold := settleAll(judgements, before, others, depend, now)
	for _, id := range existing {
		old, judged := before[id], judgements[id]
		if same(judged, old) {
			continue
		}
		put = append(put, judged)
		changes = append(changes, entity.Change{
			Kind: Kind, ID: id, Prev: old.state(), Next: judged.state(),
			About: map[string]any{"unobserved": unobserved[id]},
		})
	}
	if len(put) > 0 {
		if err := tx.PutSystemHealths(ctx, put); err != nil {
			return nil, err
		}
	}
	flips := compareVerdicts(checks, holding, hold)
	if flips.none() {
		return changes, nil
	}
	if err := dropOpinions(ctx, tx, flips.gone); err != nil {
		return nil, err
	}
	begin, more, err := flips.begin(now)
	if err != nil {
		return nil, err
	}
	if err := tx.TellVerdicts(ctx, flips.tell()); err != nil {
		return nil, err
	}
	return append(changes, more...), tx.PutVerdicts(ctx, now, flips.end, begin)
}

// same reports whether a verdict says what the stored one says.
func same(judged, stored SystemHealth) bool {
	judged.Since = stored.Since
	return judged == stored
}

func compareKeys(a, b LocationKey) int {
	return cmp.Or(cmp.Compare(a.SystemID, b.SystemID), cmp.Compare(a.CheckID, b.CheckID),
		cmp.Compare(a.SatelliteID, b.SatelliteID), cmp.Compare(a.EnvironmentID, b.EnvironmentID))
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
