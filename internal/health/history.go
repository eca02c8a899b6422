package health

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/DataDog/sketches-go/ddsketch"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// HistoryReader reads rollups, as of one instant.
type HistoryReader interface {
	Now(ctx context.Context) (time.Time, error)
	RollupState(ctx context.Context) (RollupState, error)
	Rollups(ctx context.Context, t Tier, f RollupFilter) ([]Rollup, error)
	Marks(ctx context.Context, t Tier, systemIDs []string, from, to time.Time) ([]Mark, error)
	// RunBatches yields the runs that no rollup holds yet, batch by batch: behind a roller
	// that lags there may be more than fits in memory. The last may be an error.
	RunBatches(ctx context.Context) iter.Seq2[RunBatch, error]
	// Regions are those of the satellites that there still are, by id.
	Regions(ctx context.Context, satelliteIDs []string) (map[string]string, error)
	// SystemsOf lists the systems that the check was heard from.
	SystemsOf(ctx context.Context, checkID string) ([]string, error)
}

// HistoryStore gives a look at one instant.
type HistoryStore interface {
	ReadSnapshot(ctx context.Context, fn func(HistoryReader) error) error
}

// Rollups gives the rollups of a tier as they would be if everything that is durable
// were rolled up: what lags is made while it is read, and what ingest left is counted in,
// which f.Limit bounds; 0 is no bound.
func Rollups(ctx context.Context, r HistoryReader, t Tier, f RollupFilter) ([]Rollup, error) {
	f.From = t.Bucket(f.From)
	state, err := r.RollupState(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := upToDate(ctx, r, t, f)
	if err != nil {
		return nil, err
	}
	pending := newFold(t)
	from, to := f.From.Unix(), f.To.Unix()
	if f.To.Nanosecond() > 0 {
		to++
	}
	gone := int64(math.MinInt64)
	if whole := state.wholeFrom(t); !whole.IsZero() {
		gone = whole.Unix()
	}
	for batch, err := range r.RunBatches(ctx) {
		if err != nil {
			return nil, err
		}
		for key, run := range batch.runs {
			bucket := t.Bucket(time.Unix(run.minute*60, 0)).Unix()
			if bucket >= from && bucket < to && bucket >= gone && f.takes(key) {
				pending.at(key, run.minute).count(run)
			}
		}
		if f.Limit > 0 && len(pending.buckets) > f.Limit {
			return nil, errTooManyRollups()
		}
	}
	return append(rows, pending.rollups()...), nil
}

func (f *RollupFilter) takes(k LocationKey) bool {
	return slices.Contains(f.SystemIDs, k.SystemID) && (f.CheckID == "" || f.CheckID == k.CheckID) &&
		(f.SatelliteID == "" || f.SatelliteID == k.SatelliteID) && (f.EnvironmentID == nil || *f.EnvironmentID == k.EnvironmentID)
}

// upToDate reads rollups, and makes those that lag behind the finer tier.
func upToDate(ctx context.Context, r HistoryReader, t Tier, f RollupFilter) ([]Rollup, error) {
	rows, err := r.Rollups(ctx, t, f)
	if err != nil || t == Minute {
		return rows, err
	}
	lagging := map[Mark]bool{}
	end := t.Bucket(f.To.Add(t.Span() - 1)) // of the last bucket
	for _, of := range Tiers[slices.Index(Tiers, Hour) : slices.Index(Tiers, t)+1] {
		marks, err := r.Marks(ctx, of, f.SystemIDs, f.From, end)
		if err != nil {
			return nil, err
		}
		for _, m := range marks {
			lagging[Mark{t, t.Bucket(m.Bucket), m.SystemID}] = true
		}
	}
	if len(lagging) == 0 {
		return rows, nil
	}
	rows = slices.DeleteFunc(rows, func(row Rollup) bool { return lagging[Mark{t, row.Bucket, row.SystemID}] })
	finer := Tiers[slices.Index(Tiers, t)-1]
	for at, systems := range byBucket(lagging) {
		part := f
		part.SystemIDs, part.From, part.To = systems, at, at.Add(t.Span())
		made, err := upToDate(ctx, r, finer, part)
		if err != nil {
			return nil, err
		}
		rows = append(rows, merge(t, made)...)
	}
	return rows, nil
}

func byBucket(marks map[Mark]bool) map[time.Time][]string {
	all := map[time.Time][]string{}
	for m := range marks {
		all[m.Bucket] = append(all[m.Bucket], m.SystemID)
	}
	return all
}

// HistoryQuery asks for the history of a system, or of a check on all systems.
type HistoryQuery struct {
	// SystemID or CheckID is needed; the others narrow.
	SystemID, CheckID, SatelliteID string
	EnvironmentID                  *string
	// From and To are widened to whole buckets. Zero: the 24 hours until now.
	From, To time.Time
	// Step is the tier; "" takes the finest that is kept for so long and gives no more
	// than about 500 points.
	Step Tier
	By   HistoryBy
}

// HistoryBy is what has a series of its own.
type HistoryBy string

// What a history can be split by.
const (
	ByNothing   HistoryBy = ""
	ByCheck     HistoryBy = "check"
	BySystem    HistoryBy = "system"
	BySatellite HistoryBy = "satellite"
	ByRegion    HistoryBy = "region"
	ByLocation  HistoryBy = "location"
)

// History is series of buckets, oldest first. Buckets without a run are left out.
type History struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	Step Tier      `json:"step"`
	// KeptFrom is since when buckets of this step are kept; null while none was forgotten.
	KeptFrom *time.Time `json:"keptFrom"`
	Series   []Series   `json:"series"`
}

// Series is the history of what its fields name.
type Series struct {
	SystemID      string  `json:"systemId,omitempty"`
	CheckID       string  `json:"checkId,omitempty"`
	SatelliteID   string  `json:"satelliteId,omitempty"`
	EnvironmentID string  `json:"environmentId,omitempty"`
	Region        string  `json:"region,omitempty"`
	Total         Summary `json:"total"`
	Buckets       []Point `json:"buckets"`
}

// Point is one bucket.
type Point struct {
	At time.Time `json:"at"` // its start
	Summary
}

// Summary is what runs amount to.
type Summary struct {
	Runs         int64 `json:"runs"`
	Healthy      int64 `json:"healthy"`
	Degraded     int64 `json:"degraded"`
	Unhealthy    int64 `json:"unhealthy"`
	Inconclusive int64 `json:"inconclusive"`
	// Late are those of all that came in more than a minute after their slot.
	Late int64 `json:"late"`
	// Availability is the share of healthy and degraded runs in all that are not
	// inconclusive; null when there are none.
	Availability *float64 `json:"availability"`
	// Latency is of healthy and degraded runs; null when none was measured.
	Latency *LatencySummary `json:"latency"`
}

// LatencySummary is how long runs took, in milliseconds. Percentiles are within 1 % of the
// true ones.
type LatencySummary struct {
	Count int64   `json:"count"`
	Avg   float64 `json:"avgMs"`
	Min   int64   `json:"minMs"`
	Max   int64   `json:"maxMs"`
	P50   float64 `json:"p50Ms"`
	P90   float64 `json:"p90Ms"`
	P95   float64 `json:"p95Ms"`
	P99   float64 `json:"p99Ms"`
}

const (
	// autoPoints is how many points are enough for a picture, and maxPoints how many
	// may be asked for.
	autoPoints = 500
	maxPoints  = 3000
	// maxRollups is how many rollups one history is made of at most: locations times
	// buckets, about half a kilobyte each.
	maxRollups = 100_000
)

// boundedReader reads no more than so many rollups in all.
type boundedReader struct {
	HistoryReader
	left int
}

func (r *boundedReader) Rollups(ctx context.Context, t Tier, f RollupFilter) ([]Rollup, error) {
	f.Limit = r.left + 1
	rows, err := r.HistoryReader.Rollups(ctx, t, f)
	if err == nil && len(rows) > r.left {
		return nil, errTooManyRollups()
	}
	r.left -= len(rows)
	return rows, err
}

func errTooManyRollups() error {
	return badHistory("query.step", fmt.Sprintf("the places and checks in question have more than %d buckets in this span: take a longer step or a shorter span, or name a check, a satellite or an environment", maxRollups))
}

// ReadHistory answers q. Faults are Invalid, and name the field of the query.
func ReadHistory(ctx context.Context, store HistoryStore, q HistoryQuery) (History, error) {
	var h History
	err := store.ReadSnapshot(ctx, func(r HistoryReader) error {
		state, err := r.RollupState(ctx)
		if err != nil {
			return err
		}
		if err := q.settle(ctx, r, state); err != nil {
			return err
		}
		f := RollupFilter{SystemIDs: []string{q.SystemID}, CheckID: q.CheckID, SatelliteID: q.SatelliteID, EnvironmentID: q.EnvironmentID, From: q.From, To: q.To, Limit: maxRollups}
		if q.SystemID == "" {
			if f.SystemIDs, err = r.SystemsOf(ctx, q.CheckID); err != nil {
				return err
			}
		}
		rows, err := Rollups(ctx, &boundedReader{r, maxRollups}, q.Step, f)
		if err != nil {
			return err
		}
		regions, err := regionsOf(ctx, r, q.By, rows)
		if err != nil {
			return err
		}
		h = History{From: q.From, To: q.To, Step: q.Step}
		if kept := state.wholeFrom(q.Step); kept.Unix() > 0 {
			h.KeptFrom = &kept
		}
		h.Series, err = series(q.By, regions, rows)
		return err
	})
	return h, err
}

// wholeFrom is since when a tier is whole. Days are never counted anywhere else.
func (s RollupState) wholeFrom(t Tier) time.Time {
	switch t {
	case Minute:
		return s.MinutesFrom
	case Hour:
		return s.HoursFrom
	default:
		return time.Time{}
	}
}

// settle fills in what was left open, and widens the span to whole buckets.
func (q *HistoryQuery) settle(ctx context.Context, r HistoryReader, state RollupState) error {
	now, err := r.Now(ctx)
	if err != nil {
		return err
	}
	if q.To.IsZero() || q.To.After(now) {
		q.To = now
	}
	if q.From.IsZero() {
		q.From = q.To.Add(-24 * time.Hour)
	}
	if !q.From.Before(q.To) {
		return badHistory("query.from", "must be before to, and not in the future")
	}
	if q.Step == "" {
		q.Step = Day
		for _, t := range []Tier{Hour, Minute} {
			if q.To.Sub(q.From) <= autoPoints*t.Span() && !q.From.Before(state.wholeFrom(t)) {
				q.Step = t
			}
		}
	}
	if !slices.Contains(Tiers, q.Step) {
		return badHistory("query.step", "must be minute, hour or day")
	}
	q.From, q.To = q.Step.Bucket(q.From), q.Step.Bucket(q.To.Add(q.Step.Span()-1))
	if points := q.To.Sub(q.From) / q.Step.Span(); points > maxPoints {
		return badHistory("query.step", fmt.Sprintf("these are %d buckets and %d may be asked for: take a longer step or a shorter span", points, maxPoints))
	}
	return nil
}

func badHistory(path, message string) error {
	return &fault.Error{Kind: fault.Invalid, Message: "the history cannot be asked for so", Fields: []fault.Field{{Path: path, Message: message}}}
}

func regionsOf(ctx context.Context, r HistoryReader, by HistoryBy, rows []Rollup) (map[string]string, error) {
	if by != ByRegion {
		return nil, nil
	}
	ids := map[string]bool{}
	for i := range rows {
		ids[rows[i].SatelliteID] = true
	}
	return r.Regions(ctx, sortedKeys(ids))
}

// line is what a series is of.
type line struct {
	LocationKey
	region string
}

func (by HistoryBy) line(k LocationKey, regions map[string]string) line {
	switch by {
	case ByCheck:
		return line{LocationKey: LocationKey{CheckID: k.CheckID}}
	case BySystem:
		return line{LocationKey: LocationKey{SystemID: k.SystemID}}
	case BySatellite:
		return line{LocationKey: LocationKey{SatelliteID: k.SatelliteID}}
	case ByRegion:
		return line{region: regions[k.SatelliteID]}
	case ByLocation:
		return line{LocationKey: k}
	default:
		return line{}
	}
}

// series sorts rollups into series and buckets.
func series(by HistoryBy, regions map[string]string, rows []Rollup) ([]Series, error) {
	type point struct {
		line
		at int64
	}
	sums := map[point]*Tally{}
	for i := range rows {
		p := point{by.line(rows[i].LocationKey, regions), rows[i].Bucket.Unix()}
		if sums[p] == nil {
			sums[p] = &Tally{}
		}
		sums[p].add(&rows[i].Tally)
	}
	points := slices.SortedFunc(maps.Keys(sums), func(a, b point) int {
		return cmp.Or(cmp.Compare(a.region, b.region), compareKeys(a.LocationKey, b.LocationKey), cmp.Compare(a.at, b.at))
	})
	all := []Series{}
	// Each sketch is read once, into the same memory: that is most of the time taken.
	bucket := newSketch()
	var total Tally
	var whole *ddsketch.DDSketch
	for i, p := range points {
		if i == 0 || points[i-1].line != p.line {
			total, whole = Tally{}, newSketch()
			all = append(all, Series{
				SystemID: p.SystemID, CheckID: p.CheckID, SatelliteID: p.SatelliteID, EnvironmentID: p.EnvironmentID, Region: p.region, Buckets: []Point{},
			})
		}
		sum := sums[p]
		if err := readSketch(bucket, sum.Sketch); err != nil {
			return nil, err
		}
		if err := whole.MergeWith(bucket); err != nil {
			return nil, fmt.Errorf("merging sketches of latencies: %w", err)
		}
		summary, err := sum.summary(bucket)
		if err != nil {
			return nil, err
		}
		sum.Sketch = nil
		total.add(sum)
		s := &all[len(all)-1]
		s.Buckets = append(s.Buckets, Point{At: time.Unix(p.at, 0).UTC(), Summary: summary})
		if i+1 == len(points) || points[i+1].line != p.line {
			if s.Total, err = total.summary(whole); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// summary takes the percentiles from sketch, which is that of all latencies.
func (t *Tally) summary(sketch *ddsketch.DDSketch) (Summary, error) {
	s := Summary{
		Runs: t.Runs(), Healthy: t.Healthy, Degraded: t.Degraded, Unhealthy: t.Unhealthy, Inconclusive: t.Inconclusive,
		Late: t.Late, Availability: t.Availability(),
	}
	if t.Latencies == 0 {
		return s, nil
	}
	p, err := sketch.GetValuesAtQuantiles([]float64{0.50, 0.90, 0.95, 0.99})
	if err != nil {
		return s, fmt.Errorf("reading a sketch of latencies: %w", err)
	}
	for i := range p { // what is between the least and the greatest is known exactly
		p[i] = math.Round(min(max(p[i], float64(t.LatencyMin)), float64(t.LatencyMax))*100) / 100
	}
	s.Latency = &LatencySummary{
		Count: t.Latencies, Avg: math.Round(float64(t.LatencySum)/float64(t.Latencies)*100) / 100, Min: t.LatencyMin, Max: t.LatencyMax,
		P50: p[0], P90: p[1], P95: p[2], P99: p[3],
	}
	return s, nil
}
