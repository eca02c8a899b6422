package fleet_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/store"
)

// flushes notes how many heartbeats each flush has written.
type flushes struct {
	*store.DB
	mu      sync.Mutex
	written []int
}

func (f *flushes) InTx(ctx context.Context, fn func(entity.Tx) error) error {
	return f.DB.InTx(ctx, func(tx entity.Tx) error { return fn(flushing{tx.(fleet.Tx), f}) })
}

type flushing struct {
	fleet.Tx
	seen *flushes
}

func (f flushing) FlushBeats(ctx context.Context, beats []fleet.Beat) ([]string, []fleet.Lease, error) {
	f.seen.mu.Lock()
	defer f.seen.mu.Unlock()
	f.seen.written = append(f.seen.written, len(beats))
	return f.Tx.FlushBeats(ctx, beats)
}

// The heartbeats of many satellites, several of each, are written at once, with a row
// for each satellite.
func TestM50_HeartbeatsAreWrittenTogether(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		first := start(t, url)
		var beats []fleet.Beat
		for i := range 100 {
			s, _ := first.create(t, fmt.Sprintf("eu-%d", i))
			beats = append(beats, fleet.Beat{SatelliteID: s.ID, Epoch: first.open(t, s.ID), Version: "1.2.3"})
		}
		first.stop()

		log := slog.New(slog.DiscardHandler)
		db, err := store.Open(t.Context(), url, log)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		bell, seen := &bus.Local{}, &flushes{DB: db}
		f := fleet.New(db, entity.NewRecorder(seen, bell, fleet.Derivers()...), bell, log)
		for range 5 {
			for _, b := range beats {
				f.Beat(b)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = f.Run(ctx) })
		eventually(t, "the versions", func() bool {
			all, _, err := db.Satellites(t.Context(), fleet.Filter{}, fleet.Page{Limit: 100})
			if err != nil {
				t.Fatal(err)
			}
			return !slices.ContainsFunc(all, func(s fleet.Satellite) bool { return s.Version == nil })
		})
		cancel()
		running.Wait()
		if !slices.Equal([]int{100}, seen.written) {
			t.Errorf("flushes of %v rows, want one of 100", seen.written)
		}
	})
}

// A silent satellite is found when its time is over, by a core that looks once a second
// and waits for no queue. The original needs up to 15 s more.
func TestM51_LossIsFoundWhenTheTimeIsOver(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		c := start(t, url)
		s, _ := c.create(t, "eu-1")
		c.open(t, s.ID)
		c.backdate(t)
		c.silence(t, s.ID, 43*time.Second)
		s, _ = c.db.Satellite(t.Context(), s.ID)
		over := s.LastHeartbeatAt.Add(45 * time.Second)
		eventually(t, "the loss", func() bool { return c.event(t, s.ID) == fleet.HeartbeatLost })
		rows, _, err := c.db.Transitions(t.Context(), fleet.KindConnection, s.ID, fleet.Page{Limit: 1})
		if err != nil || len(rows) != 1 {
			t.Fatalf("%v, %v", rows, err)
		}
		if late := rows[0].At.Sub(over); late < 0 || late > 10*time.Second {
			t.Errorf("found %s after the time was over", late)
		}
	})
}

// Of several clocks the database's counts, on writing and on reading: a core that is an
// hour behind it takes nobody for lost, and finds who is.
func TestM52_TheDatabasesClockCounts(t *testing.T) {
	t.Parallel()
	url := dbtest.PostgreSQL(t)
	for _, statement := range []string{
		`CREATE SCHEMA ahead`,
		`CREATE FUNCTION ahead.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
			AS 'SELECT pg_catalog.statement_timestamp() + make_interval(hours => 1)'`,
		`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = ahead, pg_catalog', current_database()); END $$`,
	} {
		exec(t, url, statement)
	}
	c := start(t, url)
	s, _ := c.create(t, "eu-1")
	epoch := c.open(t, s.ID)
	c.Beat(fleet.Beat{SatelliteID: s.ID, Epoch: epoch, Version: "1.2.3"})
	eventually(t, "the heartbeat", func() bool {
		s, _ = c.db.Satellite(t.Context(), s.ID)
		return s.Version != nil
	})
	if ahead := time.Until(*s.LastHeartbeatAt); ahead < 59*time.Minute || s.Status != fleet.Online {
		t.Errorf("heard %s ahead of this process, and %s", ahead, s.Status)
	}
	watchLooks(t, url, 3)
	if got := c.event(t, s.ID); got != fleet.Connected {
		t.Errorf("the last event is %s", got)
	}
	exec(t, url, `UPDATE observer SET since = since - $1`, (2 * time.Hour).Microseconds())
	c.silence(t, s.ID, time.Hour)
	eventually(t, "the loss", func() bool { return c.event(t, s.ID) == fleet.HeartbeatLost })
}
