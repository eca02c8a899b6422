package store_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/store"
)

// Sizes of the benchmarks: so many satellites, and as many rows at once as a busy
// core writes.
const (
	benchSatellites = 10_000
	benchSystems    = 200
	benchChecks     = 20
)

func bench(b *testing.B, rows int, run func(b *testing.B, db *store.DB, ids []string, i int)) {
	for name, open := range engines {
		b.Run(name, func(b *testing.B) {
			db := open(b)
			ids := benchFleet(b, db)
			i := 0
			for b.Loop() {
				run(b, db, ids, i)
				i++
			}
			b.ReportMetric(float64(rows)*float64(i)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

func inTx(b *testing.B, db *store.DB, fn func(tx *store.Tx) error) {
	b.Helper()
	if err := db.InTx(b.Context(), func(tx entity.Tx) error { return fn(tx.(*store.Tx)) }); err != nil {
		b.Fatal(err)
	}
}

func benchFleet(b *testing.B, db *store.DB) []string {
	ids := make([]string, benchSatellites)
	var connections []fleet.Connection
	now := time.Now()
	inTx(b, db, func(tx *store.Tx) error {
		for i := range ids {
			ids[i] = fmt.Sprintf("0190f3e2-7c1a-7abc-8def-%012d", i)
			connections = append(connections, fleet.Connection{SatelliteID: ids[i], Epoch: 1, LastEvent: fleet.Connected, LastHeartbeatAt: &now})
			if err := tx.InsertSatellite(b.Context(), fleet.Satellite{ID: ids[i], Name: fmt.Sprint("satellite-", i), Region: "eu"}, "hash"); err != nil {
				return err
			}
		}
		return tx.WriteConnections(b.Context(), connections)
	})
	return ids
}

func BenchmarkInsertRuns(b *testing.B) {
	const rows = 500
	bench(b, rows, func(b *testing.B, db *store.DB, ids []string, i int) {
		insertRuns(b, db, benchRuns(ids, 1_700_000_000_000, i*rows, rows))
	})
}

// benchRuns are runs of ten in each millisecond from then on, of which first were before.
func benchRuns(ids []string, from int64, first, rows int) []health.Run {
	result := []byte(`{"status":"healthy","latencyMs":12,"metadata":{"connected":true,"text":"` + strings.Repeat("abcdef ", 80) + `"}}`)
	latency := int64(12)
	runs := make([]health.Run, rows)
	for k := range runs {
		n := first + k
		slot := time.UnixMilli(from + int64(n)/10)
		key := check.Key{CheckID: fmt.Sprintf("check-%032d", n%benchChecks), SystemID: fmt.Sprintf("system-%032d", n*7919%benchSystems)}
		sat := ids[n*104729%len(ids)]
		runs[k] = health.Run{
			RunID: check.RunID(slot, sat, key), SatelliteID: sat, CheckID: key.CheckID, SystemID: key.SystemID, Status: check.Healthy,
			LatencyMs: &latency, ExecutedAt: slot, ReceivedAt: slot, Slot: slot, Source: "eu-1 (eu)", Result: result,
		}
	}
	return runs
}

func insertRuns(b *testing.B, db *store.DB, runs []health.Run) {
	inTx(b, db, func(tx *store.Tx) error {
		_, err := tx.InsertRuns(b.Context(), runs)
		return err
	})
}

// BenchmarkPartitions inserts runs on PostgreSQL by turns into the table that is cut by
// days and into one that is not, and says by how much the one takes longer.
func BenchmarkPartitions(b *testing.B) {
	const rows = 500
	var dbs [2]*store.DB
	for i := range dbs {
		url := dbtest.PostgreSQL(b)
		dbs[i] = open(b, url)
		if i == 0 {
			if err := dbs[i].MakePartitions(b.Context(), time.Now(), health.DefaultRetention); err != nil {
				b.Fatal(err)
			}
			continue
		}
		raw, err := sql.Open("pgx", url)
		if err != nil {
			b.Fatal(err)
		}
		defer raw.Close()
		if _, err := raw.ExecContext(b.Context(), `CREATE TABLE whole (LIKE runs INCLUDING ALL); DROP TABLE runs; ALTER TABLE whole RENAME TO runs`); err != nil {
			b.Fatal(err)
		}
	}
	ids := benchFleet(b, dbs[0])
	var took [2]time.Duration
	from, n := time.Now().UnixMilli(), 0
	for b.Loop() {
		runs := benchRuns(ids, from, n, rows)
		for i := range dbs {
			at := (n/rows + i) % 2 // each goes first as often
			began := time.Now()
			insertRuns(b, dbs[at], runs)
			took[at] += time.Since(began)
		}
		n += rows
	}
	b.ReportMetric(float64(n)/took[0].Seconds(), "cut-rows/s")
	b.ReportMetric(float64(n)/took[1].Seconds(), "whole-rows/s")
	b.ReportMetric(took[0].Seconds()/took[1].Seconds(), "ratio")
}

func BenchmarkFlushBeats(b *testing.B) {
	const rows = 3334
	bench(b, rows, func(b *testing.B, db *store.DB, ids []string, i int) {
		beats := make([]fleet.Beat, rows)
		for k := range beats {
			beats[k] = fleet.Beat{SatelliteID: ids[(i*rows+k)%len(ids)], Epoch: 1, Age: time.Millisecond, Version: "1.0"}
		}
		inTx(b, db, func(tx *store.Tx) error {
			_, _, err := tx.FlushBeats(b.Context(), beats)
			return err
		})
	})
}

func BenchmarkConnections(b *testing.B) {
	const rows = 500
	bench(b, rows, func(b *testing.B, db *store.DB, ids []string, i int) {
		batch := make([]string, rows)
		for k := range batch {
			batch[k] = ids[(i*rows+k)*7919%len(ids)]
		}
		now := time.Now()
		inTx(b, db, func(tx *store.Tx) error {
			locked, err := tx.LockConnections(b.Context(), batch)
			if err != nil {
				return err
			}
			written := make([]fleet.Connection, 0, rows)
			for _, c := range locked {
				c.Epoch++
				c.LastHeartbeatAt = &now
				written = append(written, c)
			}
			return tx.WriteConnections(b.Context(), written)
		})
	})
}
