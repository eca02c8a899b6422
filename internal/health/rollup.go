package health

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

// Tier is how long the buckets of a series are.
type Tier string

// The tiers, finest first. Hours are made of minutes and days of hours.
const (
	Minute Tier = "minute"
	Hour   Tier = "hour"
	Day    Tier = "day"
)

// Tiers are all tiers, finest first.
var Tiers = []Tier{Minute, Hour, Day}

// Span is the length of the tier's buckets.
func (t Tier) Span() time.Duration {
	switch t {
	case Minute:
		return time.Minute
	case Hour:
		return time.Hour
	default:
		return 24 * time.Hour
	}
}

// Bucket is the start of the bucket that at lies in. Days are those of UTC.
func (t Tier) Bucket(at time.Time) time.Time { return at.UTC().Truncate(t.Span()) }

// Rollup is what the runs of one location in one bucket amount to.
type Rollup struct {
	LocationKey
	Bucket time.Time // its start
	Tally
}

// Tally is runs, counted. Runs that say nothing about what is watched, because the
// satellite itself was ill, are counted apart; latencies are of runs that reached
// what is watched, which are those that are healthy or degraded.
type Tally struct {
	Healthy, Degraded, Unhealthy int64
	Inconclusive                 int64
	Late                         int64 // of all of them: see lateAfter
	Latencies                    int64 // how many latencies there are
	LatencySum                   int64 // ms
	LatencyMin, LatencyMax       int64 // ms; 0 without latencies
	Sketch                       []byte
}

// Runs is how many runs there were.
func (t *Tally) Runs() int64 { return t.Healthy + t.Degraded + t.Unhealthy + t.Inconclusive }

// Availability is the share of the runs that say something in which what is watched
// could be used; nil when none did.
func (t *Tally) Availability() *float64 {
	all := t.Healthy + t.Degraded + t.Unhealthy
	if all == 0 {
		return nil
	}
	share := float64(t.Healthy+t.Degraded) / float64(all)
	return &share
}

// add counts o in. Sketches are merged when they are read: those of two tallies, one
// behind the other, are the sketch of both.
func (t *Tally) add(o *Tally) {
	t.Healthy += o.Healthy
	t.Degraded += o.Degraded
	t.Unhealthy += o.Unhealthy
	t.Inconclusive += o.Inconclusive
	t.Late += o.Late
	if o.Latencies > 0 {
		if t.Latencies == 0 || o.LatencyMin < t.LatencyMin {
			t.LatencyMin = o.LatencyMin
		}
		t.LatencyMax = max(t.LatencyMax, o.LatencyMax)
	}
	t.Latencies += o.Latencies
	t.LatencySum += o.LatencySum
	if t.Sketch == nil {
		t.Sketch = slices.Clip(o.Sketch) // to add to it is to copy it
		return
	}
	t.Sketch = append(t.Sketch, o.Sketch...)
}

// tallied is one run as it is counted: in the minute of its slot, or of its receipt
// when a clock that runs ahead puts the slot behind that.
type tallied struct {
	location int
	minute   int64 // since 1970
	class    class
	late     bool
	latency  int64 // ms, -1 for none
}

// class is what a run counts as. The numbers are stored.
type class int64

const (
	classHealthy      class = 0
	classDegraded     class = 1
	classUnhealthy    class = 2
	classInconclusive class = 3
)

// lateAfter is how long after its slot a run may come in without being called late:
// it was not on time for a verdict, and corrects history only.
const lateAfter = time.Minute

// counted is the run's class.
func counted(r *Run) class {
	switch {
	case r.Inconclusive != "":
		return classInconclusive
	case r.Status == check.Healthy:
		return classHealthy
	case r.Status == check.Degraded:
		return classDegraded
	case r.Status == check.Unhealthy:
		return classUnhealthy
	default:
		return classInconclusive
	}
}

// RunBatch is the runs of one transaction of ingest, as much of them as rollups
// need. Each column has an entry for each run; names are said once.
type RunBatch struct {
	Keys     [][4]string `json:"keys"`
	Location []int       `json:"location"`
	Minute   []int64     `json:"minute"`
	Class    []class     `json:"class"`
	Late     []int       `json:"late,omitempty"` // which of them
	Latency  []int64     `json:"latency"`
}

// Len is how many runs there are.
func (b *RunBatch) Len() int { return len(b.Location) }

// batchOf takes those runs that were new and that the schedule made: what somebody asked
// for, most likely while something was wrong, would weigh more than its time.
func batchOf(runs []Run, fresh map[string]bool) RunBatch {
	var b RunBatch
	known := map[LocationKey]int{}
	taken := make(map[string]bool, len(fresh))
	for i := range runs {
		r := &runs[i]
		if !fresh[r.RunID] || taken[r.RunID] || r.Asked != "" {
			continue
		}
		taken[r.RunID] = true
		key := LocationKey{SystemID: r.SystemID, CheckID: r.CheckID, SatelliteID: r.SatelliteID, EnvironmentID: r.EnvironmentID}
		n, ok := known[key]
		if !ok {
			n = len(b.Keys)
			known[key] = n
			b.Keys = append(b.Keys, [4]string{key.SystemID, key.CheckID, key.SatelliteID, key.EnvironmentID})
		}
		at := r.Slot
		if at.After(r.ReceivedAt) {
			at = r.ReceivedAt
		}
		if r.ReceivedAt.Sub(at) > lateAfter {
			b.Late = append(b.Late, len(b.Location))
		}
		latency := int64(-1)
		if r.LatencyMs != nil {
			latency = *r.LatencyMs
		}
		b.Location = append(b.Location, n)
		b.Minute = append(b.Minute, at.Unix()/60)
		b.Class = append(b.Class, counted(r))
		b.Latency = append(b.Latency, latency)
	}
	return b
}

// leaveForRollups leaves the runs that were new to the roller.
func leaveForRollups(ctx context.Context, tx Tx, runs []Run, fresh map[string]bool) error {
	b := batchOf(runs, fresh)
	if b.Len() == 0 {
		return nil
	}
	return tx.AppendRunBatch(ctx, b)
}

// DecodeRunBatch reads a batch from its JSON.
func DecodeRunBatch(text []byte) (RunBatch, error) {
	var b RunBatch
	if err := json.Unmarshal(text, &b); err != nil {
		return b, fmt.Errorf("reading a batch of runs: %w", err)
	}
	n := len(b.Location)
	if len(b.Minute) != n || len(b.Class) != n || len(b.Latency) != n {
		return b, fmt.Errorf("reading a batch of runs: its columns differ in length")
	}
	return b, nil
}

// runs yields each run of the batch.
func (b *RunBatch) runs(yield func(LocationKey, tallied) bool) {
	late := b.Late
	for i, location := range b.Location {
		if location < 0 || location >= len(b.Keys) {
			continue
		}
		k := b.Keys[location]
		t := tallied{location: location, minute: b.Minute[i], class: b.Class[i], latency: b.Latency[i]}
		if len(late) > 0 && late[0] == i {
			t.late, late = true, late[1:]
		}
		if !yield(LocationKey{SystemID: k[0], CheckID: k[1], SatelliteID: k[2], EnvironmentID: k[3]}, t) {
			return
		}
	}
}

// bucketKey names a rollup within its tier.
type bucketKey struct {
	LocationKey
	bucket int64 // start, Unix seconds
}

// fold gathers runs into buckets of one tier.
type fold struct {
	tier    Tier
	buckets map[bucketKey]*folding
}

type folding struct {
	Tally
	latencies []int64
}

func newFold(t Tier) *fold { return &fold{tier: t, buckets: map[bucketKey]*folding{}} }

// at is the bucket of a run's minute.
func (f *fold) at(key LocationKey, minute int64) *folding {
	span := int64(f.tier.Span() / time.Second)
	seconds := minute * 60
	k := bucketKey{LocationKey: key, bucket: seconds - seconds%span}
	b := f.buckets[k]
	if b == nil {
		b = &folding{}
		f.buckets[k] = b
	}
	return b
}

func (f *folding) count(t tallied) {
	switch t.class {
	case classHealthy:
		f.Healthy++
	case classDegraded:
		f.Degraded++
	case classUnhealthy:
		f.Unhealthy++
	default:
		f.Inconclusive++
	}
	if t.late {
		f.Late++
	}
	if t.latency < 0 || t.class > classDegraded {
		return
	}
	if f.Latencies == 0 || t.latency < f.LatencyMin {
		f.LatencyMin = t.latency
	}
	f.LatencyMax = max(f.LatencyMax, t.latency)
	f.Latencies++
	f.LatencySum += t.latency
	if f.latencies = append(f.latencies, t.latency); len(f.latencies) == sketchedAtOnce {
		f.sketch()
	}
}

// sketchedAtOnce is how many latencies of a bucket are kept as they are.
const sketchedAtOnce = 1024

// sketch puts what latencies there are behind the sketch.
func (f *folding) sketch() {
	f.Sketch = append(f.Sketch, sketchOf(f.latencies)...)
	f.latencies = f.latencies[:0]
}

// rollups are the buckets, with their sketches, in no order.
func (f *fold) rollups() []Rollup {
	all := make([]Rollup, 0, len(f.buckets))
	for k, b := range f.buckets {
		b.sketch()
		all = append(all, Rollup{LocationKey: k.LocationKey, Bucket: time.Unix(k.bucket, 0).UTC(), Tally: b.Tally})
	}
	return all
}

// merge makes rollups of a coarser tier out of finer ones; their sketches become one.
func merge(t Tier, finer []Rollup) []Rollup {
	sums := map[bucketKey]*Tally{}
	for i := range finer {
		k := bucketKey{LocationKey: finer[i].LocationKey, bucket: t.Bucket(finer[i].Bucket).Unix()}
		sum := sums[k]
		if sum == nil {
			sum = &Tally{}
			sums[k] = sum
		}
		sum.add(&finer[i].Tally)
	}
	all := make([]Rollup, 0, len(sums))
	for k, sum := range sums {
		sum.Sketch = compacted(sum.Sketch)
		all = append(all, Rollup{LocationKey: k.LocationKey, Bucket: time.Unix(k.bucket, 0).UTC(), Tally: *sum})
	}
	return all
}
