package health_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/store"
)

// BenchmarkYear reads a year of one system on SQLite, with so many raw rows behind it as
// PERIGEE_BENCH_RUNS says: make bench-year takes ten million.
func BenchmarkYear(b *testing.B) {
	raw, err := strconv.Atoi(os.Getenv("PERIGEE_BENCH_RUNS"))
	if err != nil {
		raw = 100_000
	}
	const systems, checks, satellites = 100, 2, 3
	path := b.TempDir() + "/perigee.db"
	log := slog.New(slog.DiscardHandler)
	db, err := store.Open(b.Context(), "sqlite:"+path, log)
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now().UTC()
	system := func(i int) string { return fmt.Sprintf("00000000-0000-7000-8000-0000000004%02d", i) }
	r := rand.New(rand.NewPCG(7, 8))
	made := func(s int, t health.Tier, buckets, runs int) (rows []health.Rollup) {
		latencies := make([]int64, runs)
		for i := range latencies {
			latencies[i] = 20 + r.Int64N(400)
		}
		sketch := health.SketchOf(latencies)
		for n := range buckets {
			for c := range checks {
				for at := range satellites {
					rows = append(rows, health.Rollup{
						LocationKey: health.LocationKey{SystemID: system(s), CheckID: checkID(c), SatelliteID: satelliteID(at)},
						Bucket:      t.Bucket(now.Add(-time.Duration(n+1) * t.Span())),
						Tally:       health.Tally{Healthy: int64(runs), Latencies: int64(runs), LatencySum: 220 * int64(runs), LatencyMin: 20, LatencyMax: 420, Sketch: sketch},
					})
				}
			}
		}
		return rows
	}
	for s := range systems {
		err := db.InTx(b.Context(), func(tx entity.Tx) error {
			if s%10 == 2 { // the one that is read, and some beside it
				if err := tx.(*store.Tx).PutRollups(b.Context(), health.Hour, made(s, health.Hour, 90*24, 60)); err != nil {
					return err
				}
			}
			return tx.(*store.Tx).PutRollups(b.Context(), health.Day, made(s, health.Day, 400, 1440))
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	fill(b, path, raw, systems, now)
	if db, err = store.Open(b.Context(), "sqlite:"+path, log); err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	for name, q := range map[string]health.HistoryQuery{
		"year":            {From: now.Add(-365 * 24 * time.Hour)},
		"year/byLocation": {From: now.Add(-365 * 24 * time.Hour), By: health.ByLocation},
		"90d/byHour":      {From: now.Add(-90 * 24 * time.Hour), Step: health.Hour},
	} {
		b.Run(name, func(b *testing.B) {
			q.SystemID = system(42)
			points := 0
			used := processorTime(b)
			for b.Loop() {
				h, err := health.ReadHistory(b.Context(), db, q)
				if err != nil {
					b.Fatal(err)
				}
				points = len(h.Series[0].Buckets)
			}
			// What it takes of a machine that nobody else uses.
			b.ReportMetric((processorTime(b)-used).Seconds()*1000/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(points), "points")
			b.ReportMetric(float64(raw), "raw")
		})
	}
}

// processorTime is what this process has used, user and system.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fill writes raw rows by SQL alone, ten million within minutes: without a journal, in the
// order of their key, and with the other indexes made when the rows are there.
func fill(b *testing.B, path string, rows, systems int, now time.Time) {
	began := time.Now()
	raw, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(OFF)&_pragma=synchronous(OFF)&_pragma=cache_size(-262144)")
	if err != nil {
		b.Fatal(err)
	}
	defer raw.Close()
	raw.SetMaxOpenConns(1)
	exec := func(q string, args ...any) {
		if _, err := raw.ExecContext(b.Context(), q, args...); err != nil {
			b.Fatal(err)
		}
	}
	indexes := map[string]string{}
	found, err := raw.QueryContext(b.Context(), `SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'runs' AND sql IS NOT NULL`)
	if err != nil {
		b.Fatal(err)
	}
	for found.Next() {
		var name, text string
		if err := found.Scan(&name, &text); err != nil {
			b.Fatal(err)
		}
		indexes[name] = text
	}
	if err := found.Err(); err != nil {
		b.Fatal(err)
	}
	for name := range indexes {
		exec(`DROP INDEX ` + name)
	}
	const piece = 500_000
	first := now.UnixMilli() - int64(rows)*60
	for from := 0; from < rows; from += piece {
		exec(`WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)
			INSERT INTO runs (run_id, satellite_id, check_id, system_id, environment_id, status, latency_ms, executed_at, received_at, slot, revision, source, message)
			SELECT printf('%012x%020x', ?3 + i * 60, i), '00000000-0000-7000-8000-0000000001' || printf('%02d', i % 3), '00000000-0000-7000-8000-0000000002' || printf('%02d', i % 2),
				'00000000-0000-7000-8000-0000000004' || printf('%02d', i % ?4), '', 'healthy', i % 400, (?3 + i * 60) * 1000, (?3 + i * 60) * 1000, (?3 + i * 60) * 1000, 1, 'eu-1 (eu)', '' FROM n`,
			from, min(from+piece, rows), first, systems)
	}
	for _, text := range indexes {
		exec(text)
	}
	b.Logf("%d raw rows were written in %v", rows, time.Since(began).Round(time.Second))
}

// without is a store that leaves nothing for rollups.
type without struct{ *store.DB }

type withoutTx struct{ *store.Tx }

func (withoutTx) AppendRunBatch(context.Context, health.RunBatch) error { return nil }

func (w without) InTx(ctx context.Context, fn func(entity.Tx) error) error {
	return w.DB.InTx(ctx, func(tx entity.Tx) error { return fn(withoutTx{tx.(*store.Tx)}) })
}

// BenchmarkIngest makes results durable with rollups and without them, each with a
// roller that folds what there is after every ten thousand runs, as at the rate of
// design.
func BenchmarkIngest(b *testing.B) {
	log := slog.New(slog.DiscardHandler)
	for engine, url := range map[string]func() string{
		"sqlite":   func() string { return "sqlite:" + b.TempDir() + "/perigee.db" },
		"postgres": func() string { return dbtest.PostgreSQL(b) },
	} {
		for _, mode := range []string{"without", "with"} {
			b.Run(engine+"/"+mode, func(b *testing.B) {
				db, err := store.Open(b.Context(), url(), log)
				if err != nil {
					b.Fatal(err)
				}
				defer db.Close()
				if err := db.MakePartitions(b.Context(), time.Now(), health.DefaultRetention); err != nil {
					b.Fatal(err)
				}
				var from entity.Store = db
				if mode == "without" {
					from = without{db}
				}
				ingest := health.NewIngest(db, entity.NewRecorder(from, nil, health.Derivers()...), log)
				ctx, stop := context.WithCancel(b.Context())
				ended := make(chan error, 1)
				go func() { ended <- ingest.Run(ctx) }()
				roller := health.NewRoller(db, log)
				detail := fmt.Appendf(nil, `{"status":"healthy","latencyMs":12,"text":"%0500d"}`, 0)
				n := 0
				for b.Loop() {
					var done []<-chan error
					for range 10 {
						now := time.Now().UTC()
						runs := make([]health.Run, 1000)
						for i := range runs {
							key := check.Key{CheckID: checkID(n % 10), SystemID: fmt.Sprintf("00000000-0000-7000-8000-00000005%04d", n%500)}
							satellite := fmt.Sprintf("00000000-0000-7000-8000-00000006%04d", n%1000)
							slot, ms := now.Add(time.Duration(i)*time.Millisecond), int64(n%400)
							runs[i] = health.Run{
								RunID: check.RunID(slot, satellite, key), SatelliteID: satellite, CheckID: key.CheckID, SystemID: key.SystemID, Status: check.Healthy,
								LatencyMs: &ms, ExecutedAt: slot, ReceivedAt: slot, Slot: slot, Source: "eu-1 (eu)", Result: detail,
							}
							n++
						}
						wait, err := ingest.Submit(ctx, health.Item{Runs: runs})
						if err != nil {
							b.Fatal(err)
						}
						done = append(done, wait)
					}
					for _, wait := range done {
						if err := <-wait; err != nil {
							b.Fatal(err)
						}
					}
					if mode == "with" {
						if err := roller.Roll(ctx); err != nil {
							b.Fatal(err)
						}
					}
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "runs/s")
				stop()
				<-ended
			})
		}
	}
}
