package health_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sync/errgroup"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
)

// counted is what history must say, counted run by run.
type counted struct {
	health.Tally
	latencies []int64
}

type countedKey struct {
	health.LocationKey
	at int64
}

// recount counts runs, each run id once, without any of the machinery.
func recount(runs map[string]health.Run, t health.Tier, from time.Time) map[countedKey]*counted {
	all := map[countedKey]*counted{}
	for _, r := range runs {
		at := t.Bucket(r.Slot)
		if at.Before(from) || r.Asked != "" {
			continue
		}
		k := countedKey{health.LocationKey{SystemID: r.SystemID, CheckID: r.CheckID, SatelliteID: r.SatelliteID, EnvironmentID: r.EnvironmentID}, at.Unix()}
		c := all[k]
		if c == nil {
			c = &counted{}
			all[k] = c
		}
		switch {
		case r.Inconclusive != "":
			c.Inconclusive++
		case r.Status == check.Healthy:
			c.Healthy++
		case r.Status == check.Degraded:
			c.Degraded++
		default:
			c.Unhealthy++
		}
		if r.ReceivedAt.Sub(r.Slot) > time.Minute {
			c.Late++
		}
		if r.Status != check.Unhealthy && r.Inconclusive == "" && r.LatencyMs != nil {
			c.latencies = append(c.latencies, *r.LatencyMs)
		}
	}
	for _, c := range all {
		slices.Sort(c.latencies)
		for _, ms := range c.latencies {
			c.Latencies++
			c.LatencySum += ms
		}
		if len(c.latencies) > 0 {
			c.LatencyMin, c.LatencyMax = c.latencies[0], c.latencies[len(c.latencies)-1]
		}
	}
	return all
}

func (w *world) state() (s health.RollupState) {
	w.t.Helper()
	err := w.db.ReadSnapshot(w.t.Context(), func(r health.HistoryReader) (err error) {
		s, err = r.RollupState(w.t.Context())
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// agrees compares every tier with the recount.
func (w *world) agrees(runs map[string]health.Run) {
	w.t.Helper()
	state := w.state()
	for tier, from := range map[health.Tier]time.Time{health.Minute: state.MinutesFrom, health.Hour: state.HoursFrom, health.Day: {}} {
		got := map[countedKey]*counted{}
		err := w.db.ReadSnapshot(w.t.Context(), func(r health.HistoryReader) error {
			// Runs are six days old at most; each minute that is asked for is looked up.
			rows, err := health.Rollups(w.t.Context(), r, tier, health.RollupFilter{SystemIDs: []string{systemID}, From: w.now.Add(-7 * 24 * time.Hour), To: w.now.Add(24 * time.Hour)})
			for _, row := range rows {
				k := countedKey{row.LocationKey, row.Bucket.Unix()}
				if row.Bucket.Before(from) {
					continue // not purged yet, and not whole
				}
				if got[k] == nil {
					got[k] = &counted{}
				}
				c := got[k]
				if row.Latencies > 0 && (c.Latencies == 0 || row.LatencyMin < c.LatencyMin) {
					c.LatencyMin = row.LatencyMin
				}
				c.LatencyMax = max(c.LatencyMax, row.LatencyMax)
				c.Healthy += row.Healthy
				c.Degraded += row.Degraded
				c.Unhealthy += row.Unhealthy
				c.Inconclusive += row.Inconclusive
				c.Late += row.Late
				c.Latencies += row.Latencies
				c.LatencySum += row.LatencySum
			}
			return err
		})
		if err != nil {
			w.t.Fatal(err)
		}
		want := recount(runs, tier, from)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(counted{}, countedKey{}), cmpopts.IgnoreFields(counted{}, "latencies")); diff != "" {
			w.t.Fatalf("%s: -want +got\n%.2000s", tier, diff)
		}
	}
}

// someRuns makes runs of several days: on time, late, and repeated.
func someRuns(r *rand.Rand, now time.Time, n int) []health.Run {
	runs := make([]health.Run, n)
	for i := range runs {
		key := check.Key{CheckID: checkID(r.IntN(2)), SystemID: systemID}
		if r.IntN(4) == 0 {
			key.EnvironmentID = "staging"
		}
		age := time.Duration(r.Int64N(int64(90 * time.Minute)))
		if r.IntN(3) == 0 {
			age = time.Duration(r.Int64N(int64(6 * 24 * time.Hour)))
		}
		slot := now.Add(-age).Truncate(time.Millisecond)
		run := health.Run{
			RunID: check.RunID(slot, satelliteID(r.IntN(2)), key), CheckID: key.CheckID, SystemID: systemID, EnvironmentID: key.EnvironmentID,
			Status: []check.Status{check.Healthy, check.Healthy, check.Degraded, check.Unhealthy}[r.IntN(4)], ExecutedAt: slot, Slot: slot, ReceivedAt: now, Source: "eu-0 (eu)",
		}
		run.SatelliteID = satelliteID(r.IntN(2))
		run.RunID = check.RunID(slot, run.SatelliteID, key)
		switch r.IntN(12) {
		case 0:
			run.Inconclusive = "resolver"
		case 1:
			run.Asked = fleet.AskedForOpinion
		}
		if r.IntN(5) > 0 {
			ms := r.Int64N(400)
			run.LatencyMs = &ms
		}
		runs[i] = run
	}
	return runs
}

// dying is a store whose transactions fail at a chosen call, as if the core was
// killed there.
type dying struct {
	entity.Store
	left *atomic.Int64
}

var errKilled = errors.New("killed")

func (d dying) InTx(ctx context.Context, fn func(entity.Tx) error) error {
	return d.Store.InTx(ctx, func(tx entity.Tx) error {
		if err := fn(dyingTx{tx.(health.RollupTx), tx, d.left}); err != nil {
			return err
		}
		return d.tick()
	})
}

func (d dying) tick() error {
	if d.left.Add(-1) <= 0 {
		return errKilled
	}
	return nil
}

type dyingTx struct {
	health.RollupTx
	entity entity.Tx
	left   *atomic.Int64
}

func (tx dyingTx) AppendTransitions(ctx context.Context, rows []entity.Transition) error {
	return tx.entity.AppendTransitions(ctx, rows)
}

func (tx dyingTx) AppendEvents(ctx context.Context, rows []entity.Event) error {
	return tx.entity.AppendEvents(ctx, rows)
}

func (tx dyingTx) AddRollups(ctx context.Context, t health.Tier, rows []health.Rollup) error {
	if tx.left.Add(-1) <= 0 {
		return errKilled
	}
	return tx.RollupTx.AddRollups(ctx, t, rows)
}

func (tx dyingTx) PutRollups(ctx context.Context, t health.Tier, rows []health.Rollup) error {
	if tx.left.Add(-1) <= 0 {
		return errKilled
	}
	return tx.RollupTx.PutRollups(ctx, t, rows)
}

// Whatever comes in late or twice, wherever the roller is killed, history says at any
// time what the runs say.
func TestHistorySaysWhatTheRunsSay(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url, 2)
		r := rand.New(rand.NewPCG(1, 2))
		roller := health.NewRoller(w.db, slog.New(slog.DiscardHandler))
		forget := func() {
			if _, err := roller.Forget(t.Context(), health.Retention{Minutes: 48 * time.Hour, Hours: 96 * time.Hour}); err != nil {
				t.Fatal(err)
			}
		}
		known := map[string]health.Run{}
		var past []health.Run
		for round := range 10 {
			batch := someRuns(r, w.now, 40)
			for range min(len(past), 10) { // what was not acknowledged comes again
				batch = append(batch, past[r.IntN(len(past))])
			}
			for _, run := range batch {
				if _, ok := known[run.RunID]; !ok {
					known[run.RunID] = run
					past = append(past, run)
				}
			}
			w.submit(batch...)
			w.agrees(known)
			switch round % 5 {
			case 1, 3:
				var left atomic.Int64
				left.Store(1 + r.Int64N(12))
				if err := health.NewRoller(dying{w.db, &left}, slog.New(slog.DiscardHandler)).Roll(t.Context()); err != nil && !errors.Is(err, errKilled) {
					t.Fatal(err)
				}
			case 2:
				if err := roller.Roll(t.Context()); err != nil {
					t.Fatal(err)
				}
			case 4:
				forget()
			}
			w.agrees(known)
		}
		// What a killed roller has left is kept until it is rolled up.
		if err := roller.Roll(t.Context()); err != nil {
			t.Fatal(err)
		}
		forget()
		w.agrees(known)
		if s := w.state(); !s.MinutesFrom.After(w.now.Add(-73*time.Hour)) || !s.HoursFrom.After(w.now.Add(-121*time.Hour)) {
			t.Errorf("nothing was forgotten: %+v", s)
		}
	})
}

// Transactions that become visible in another order than they began in, and several
// cores that roll up at once, change nothing.
func TestManyCoresRollUp(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url, 2)
		r := rand.New(rand.NewPCG(3, 4))
		known := map[string]health.Run{}
		var batches [][]health.Run
		for range 40 {
			batch := someRuns(r, w.now, 25)
			for _, run := range batch {
				if _, ok := known[run.RunID]; ok {
					run.ReceivedAt = known[run.RunID].ReceivedAt
				} else {
					known[run.RunID] = run
				}
			}
			batches = append(batches, batch)
		}
		var writers, rollers errgroup.Group
		for n := range 4 {
			ingest := health.NewIngest(w.db, w.rec, slog.New(slog.DiscardHandler))
			ctx, stop := context.WithCancel(t.Context())
			writers.Go(func() error { return ingest.Run(ctx) })
			writers.Go(func() error {
				defer stop()
				for i := n; i < len(batches); i += 4 {
					done, err := ingest.Submit(ctx, health.Item{Runs: batches[i]})
					if err == nil {
						err = <-done
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		}
		written := make(chan struct{})
		for range 3 {
			rollers.Go(func() error {
				roller := health.NewRoller(w.db, slog.New(slog.DiscardHandler))
				for {
					if err := roller.Roll(t.Context()); err != nil {
						return err
					}
					select {
					case <-written:
						return nil
					default:
					}
				}
			})
		}
		if err := writers.Wait(); err != nil {
			t.Fatal(err)
		}
		close(written)
		if err := rollers.Wait(); err != nil {
			t.Fatal(err)
		}
		w.agrees(known)
	})
}

// Percentiles are within 1 % of the true ones, however the runs were spread, whether they
// were rolled up as they came or are not yet.
func TestPercentilesAreWithinTheirBound(t *testing.T) {
	t.Parallel()
	for name, rolled := range map[string]bool{"rolled up": true, "not yet": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			percentiles(t, rolled)
		})
	}
}

func percentiles(t *testing.T, rolled bool) {
	w := newWorld(t, dbtest.SQLite(t), 2)
	r := rand.New(rand.NewPCG(5, 6))
	var latencies []int64
	var runs []health.Run
	day := health.Day.Bucket(w.now).Add(-24 * time.Hour)
	for i := range 5000 {
		ms := int64(math.Exp(r.NormFloat64()*1.5 + 4))
		key := check.Key{CheckID: checkID(i % 2), SystemID: systemID}
		slot := day.Add(time.Duration(i) * 17 * time.Second)
		runs = append(runs, health.Run{
			RunID: check.RunID(slot, satelliteID(0), key), SatelliteID: satelliteID(0), CheckID: key.CheckID, SystemID: systemID,
			Status: check.Healthy, LatencyMs: &ms, ExecutedAt: slot, Slot: slot, ReceivedAt: slot,
		})
		latencies = append(latencies, ms)
	}
	slices.Sort(latencies)
	for part := range slices.Chunk(runs, 700) {
		w.submit(part...)
		if !rolled {
			continue
		}
		if err := health.NewRoller(w.db, slog.New(slog.DiscardHandler)).Roll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	h, err := health.ReadHistory(t.Context(), w.db, health.HistoryQuery{SystemID: systemID, From: day, To: day.Add(24 * time.Hour), Step: health.Day})
	if err != nil {
		t.Fatal(err)
	}
	got := h.Series[0].Total.Latency
	for q, ms := range map[float64]float64{0.5: got.P50, 0.9: got.P90, 0.95: got.P95, 0.99: got.P99} {
		exact := float64(latencies[int(q*float64(len(latencies)-1))])
		if math.Abs(ms-exact) > 0.01*exact+0.01 {
			t.Errorf("p%v is %v, want %v", q*100, ms, exact)
		}
	}
	if got.Count != 5000 || got.Min != latencies[0] || got.Max != latencies[4999] {
		t.Errorf("%+v", got)
	}
}

// crowded is a store with so many locations that no history of theirs is made.
type crowded struct {
	health.HistoryReader
	locations int
	pending   int // locations whose runs were not rolled up yet, a batch for each
	read      *int
}

func (c crowded) ReadSnapshot(_ context.Context, fn func(health.HistoryReader) error) error {
	return fn(c)
}

func (crowded) Now(context.Context) (time.Time, error) { return time.Unix(1_800_000_000, 0), nil }

func (crowded) RollupState(context.Context) (s health.RollupState, err error) { return s, nil }

func (crowded) Marks(context.Context, health.Tier, []string, time.Time, time.Time) ([]health.Mark, error) {
	return nil, nil
}

func (c crowded) RunBatches(context.Context) iter.Seq2[health.RunBatch, error] {
	return func(yield func(health.RunBatch, error) bool) {
		for i := range c.pending {
			*c.read++
			text := fmt.Sprintf(`{"keys":[["%s","","%s",""]],"location":[0],"minute":[29999999],"class":[0],"latency":[-1]}`, systemID, satelliteID(i))
			if !yield(health.DecodeRunBatch([]byte(text))) {
				return
			}
		}
	}
}

func (c crowded) Rollups(_ context.Context, t health.Tier, f health.RollupFilter) (rows []health.Rollup, err error) {
	for at := f.From; at.Before(f.To); at = at.Add(t.Span()) {
		for i := range c.locations {
			if rows = append(rows, health.Rollup{LocationKey: health.LocationKey{SatelliteID: satelliteID(i)}, Bucket: at}); len(rows) == f.Limit {
				return rows, nil
			}
		}
	}
	return rows, nil
}

// A history is made of so many rollups at most; a longer step brings it within.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	from := time.Unix(1_800_000_000, 0).Add(-100 * 24 * time.Hour)
	_, err := health.ReadHistory(t.Context(), crowded{locations: 50}, health.HistoryQuery{SystemID: systemID, From: from, Step: health.Hour})
	var said *fault.Error
	if !errors.As(err, &said) || said.Kind != fault.Invalid || len(said.Fields) != 1 || said.Fields[0].Path != "query.step" || !strings.Contains(said.Fields[0].Message, "100000") {
		t.Errorf("%+v", err)
	}
	h, err := health.ReadHistory(t.Context(), crowded{locations: 50}, health.HistoryQuery{SystemID: systemID, From: from, Step: health.Day})
	if err != nil || len(h.Series) != 1 || len(h.Series[0].Buckets) != 101 {
		t.Errorf("%v, %d series", err, len(h.Series))
	}
	// So is what a roller that lags has left behind, and no more of it is read.
	read := 0
	_, err = health.ReadHistory(t.Context(), crowded{pending: 1_000_000, read: &read}, health.HistoryQuery{SystemID: systemID})
	if said = nil; !errors.As(err, &said) || said.Kind != fault.Invalid || read != 100_001 {
		t.Errorf("after %d batches: %v", read, err)
	}
}
