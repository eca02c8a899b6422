package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// storm lets everybody connect at once, twice: the second time with a history.
func storm(ctx context.Context, s settings, c *core, f *fleet) ([]figure, error) {
	var figures []figure
	for _, round := range []string{"first connects", "reconnects"} {
		f.disconnect()
		if err := settled(ctx, c); err != nil {
			return figures, err
		}
		cpu, began := c.cpu(), time.Now()
		if err := f.connect(ctx, s); err != nil {
			return figures, err
		}
		took := time.Since(began)
		figures = append(figures, figure{
			what: "authenticated " + round + " with durable edges", reached: float64(s.satellites) / took.Seconds(),
			unit: "/s", bar: 2000, goal: 8000, note: fmt.Sprintf("%.0f µs of core CPU each", (c.cpu()-cpu).Seconds()*1e6/float64(s.satellites)),
		})
	}
	return figures, nil
}

// settled waits until every disconnect is recorded, so that recording them does
// not run beside what is measured.
func settled(ctx context.Context, c *core) error {
	for deadline := time.Now().Add(time.Minute); ; {
		var page struct {
			Items []struct{} `json:"items"`
		}
		if err := c.call(ctx, http.MethodGet, "/api/v1/satellites?status=online&limit=1", nil, &page); err != nil {
			return err
		}
		if len(page.Items) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("some satellites are still online a minute after they hung up")
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// connected connects everybody anew, once the past is recorded.
func (f *fleet) connected(ctx context.Context, s settings, c *core) error {
	f.disconnect()
	if err := settled(ctx, c); err != nil {
		return err
	}
	return f.connect(ctx, s)
}

// heartbeats sends heartbeats as fast as the core answers them. They are noted
// and flushed by the core each second.
func heartbeats(ctx context.Context, s settings, c *core, f *fleet) ([]figure, error) {
	if err := f.connected(ctx, s, c); err != nil {
		return nil, err
	}
	frame, err := protocol.Encode(&protocol.Heartbeat{Version: "bench", UptimeSeconds: 1, Perigee: &protocol.Pulse{SentAt: time.Now().UnixMilli()}})
	if err != nil {
		return nil, err
	}
	before, cpu, began := f.answered(), c.cpu(), time.Now()
	timed, cancel := context.WithTimeout(ctx, s.span)
	defer cancel()
	group, timed := errgroup.WithContext(timed)
	for _, sat := range f.satellites {
		group.Go(func() error {
			sent := sat.answers.Load()
			for timed.Err() == nil {
				if sent-sat.answers.Load() >= 8 { // a window, so that queues stay short
					time.Sleep(time.Millisecond)
					continue
				}
				if err := sat.conn.Write(frame); err != nil {
					return err
				}
				sent++
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	n, took := f.answered()-before, time.Since(began)
	return []figure{{
		what: "heartbeats, noted and flushed", reached: float64(n) / took.Seconds(), unit: "/s", bar: 30_000, goal: 100_000,
		note: fmt.Sprintf("%.1f µs of core CPU each", (c.cpu()-cpu).Seconds()*1e6/float64(max(n, 1))),
	}}, nil
}

func (f *fleet) answered() (n int64) {
	for _, s := range f.satellites {
		n += s.answers.Load()
	}
	return n
}

// ingest sends batches of results, pipelined, and counts what was acknowledged
// after its commit.
func ingest(ctx context.Context, s settings, c *core, f *fleet) ([]figure, error) {
	if err := f.connected(ctx, s, c); err != nil {
		return nil, err
	}
	cpu, database, began := c.cpu(), c.databaseCPU(), time.Now()
	timed, cancel := context.WithTimeout(ctx, s.span)
	defer cancel()
	group, sendCtx := errgroup.WithContext(timed)
	// A few dozen senders fill the core; more would only make the load compete with it.
	for _, sat := range f.satellites[:min(s.senders, len(f.satellites))] {
		group.Go(func() error { return sat.sendResults(sendCtx, s) })
	}
	if err := group.Wait(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	took := time.Since(began)
	var acked, refused int64
	for _, sat := range f.satellites {
		acked += sat.acked.Load()
		refused += sat.refused.Load()
	}
	if refused > 0 {
		return nil, fmt.Errorf("%d results were refused", refused)
	}
	each := func(used time.Duration) float64 { return used.Seconds() * 1e6 / float64(max(acked, 1)) }
	note := fmt.Sprintf("%d B each, %.0f µs of core CPU each", len(evidence), each(c.cpu()-cpu))
	if c.cluster != nil {
		note += fmt.Sprintf(" and %.0f µs of the database's", each(c.databaseCPU()-database))
	}
	return []figure{{
		what: "results acknowledged durable, with everything on", reached: float64(acked) / took.Seconds(), unit: "/s", bar: 10_000, goal: goal(c), note: note,
	}}, nil
}

func goal(c *core) float64 {
	if c.cluster != nil {
		return 25_000
	}
	return 30_000
}

// evidence is about what an HTTP check leaves after its body is dropped.
var evidence = json.RawMessage(`{"_collectorId":"healthcheck-http.request","statusCode":200,"statusText":"OK","responseTimeMs":41,"bodyLength":1256,"success":true,"_assertions":[{"field":"statusCode","operator":"equals","value":200,"passed":true},{"field":"responseTimeMs","operator":"lessThan","value":500,"passed":true}],"padding":"` + strings.Repeat("x", 320) + `"}`)

// sendResults keeps s.window batches in flight until ctx ends.
func (s *satellite) sendResults(ctx context.Context, set settings) error {
	latency, connection := 41.0, 3.0
	slot := time.Now().Add(-time.Hour).UnixMilli()
	for seq := int64(0); ; {
		select {
		case s.inFree <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		batch := protocol.Results{Records: make([]protocol.Record, set.batch)}
		for i := range batch.Records {
			seq++
			batch.Records[i] = protocol.Record{Seq: seq, Result: &protocol.Result{
				ConfigID: s.pair.ConfigID, SystemID: s.pair.SystemID, Status: check.Healthy, LatencyMs: &latency,
				ExecutedAt: time.UnixMilli(slot + seq).UTC().Format("2006-01-02T15:04:05.000Z"), Slot: slot + seq,
				Result: &check.Result{
					Status: check.Healthy, LatencyMs: latency, Message: "Completed in 41ms",
					Metadata: check.Metadata{Connected: true, ConnectionTimeMs: &connection, Collectors: map[string]json.RawMessage{"page": evidence}},
				},
			}}
		}
		frame, err := protocol.Encode(&batch)
		if err != nil {
			return err
		}
		s.batches.Store(seq, struct{}{})
		if err := s.conn.Write(frame); err != nil {
			return err
		}
	}
}
