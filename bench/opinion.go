package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	api "github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/internal/probe"
	agent "github.com/perigee-monitoring/perigee/internal/satellite"
	"github.com/perigee-monitoring/perigee/protocol"
)

// doubted is how many checks fail at one place, one after the other.
const doubted = 200

// opinion measures from the failed result of one place until the verdict that a place of
// another region has confirmed is an event. Who is asked are real satellites, which
// really ask the failing target.
func opinion(ctx context.Context, s settings, binary, engine string) (figures []figure, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := startCoreOn(ctx, binary, engine, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	closed := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "closed", http.StatusServiceUnavailable) })}
	var work sync.WaitGroup
	work.Go(func() { _ = closed.Serve(target) })
	defer work.Wait()
	defer closed.Close()

	accuser, err := opinionFleet(ctx, c, "http://"+target.Addr().String()+"/", &work)
	defer cancel() // before the satellites are waited for
	if err != nil {
		return nil, err
	}
	if err := accuser.connect(ctx, s); err != nil {
		return nil, err
	}
	defer accuser.disconnect()
	confirmed := make(chan string, doubted)
	calls, err := api.New(api.Options{URL: c.url, Token: adminToken})
	if err != nil {
		return nil, err
	}
	work.Go(func() {
		_ = calls.Watch(ctx, 0, func(e entity.Event) error {
			var next struct {
				Class    string `json:"class"`
				SystemID string `json:"systemId"`
			}
			if e.Type == "healthcheck.check_degraded" && json.Unmarshal(e.Next, &next) == nil && next.Class == "target" {
				confirmed <- next.SystemID
			}
			return nil
		}, nil)
	})
	took, err := accuser.satellites[0].accuse(ctx, calls, confirmed)
	if err != nil {
		return nil, err
	}
	slices.Sort(took)
	return []figure{{
		what: "failed result at the core → verdict confirmed from another region, p99", reached: ms(took[len(took)*99/100]), unit: "ms", bar: 2000, less: true,
		note: fmt.Sprintf("%d checks, two real satellites are asked, p50 %.0f ms", len(took), ms(took[len(took)/2])),
	}}, nil
}

// opinionFleet makes one satellite of ours at which all fails, and two real ones in
// other regions. They end with ctx.
func opinionFleet(ctx context.Context, c *core, target string, work *sync.WaitGroup) (*fleet, error) {
	url, err := link.URL(c.url)
	if err != nil {
		return nil, err
	}
	f := &fleet{url: url}
	for _, name := range []string{"eu", "us", "ap"} {
		var created struct {
			Satellite struct {
				ID string `json:"id"`
			} `json:"satellite"`
			Token string `json:"token"`
		}
		if err := c.call(ctx, http.MethodPost, "/api/v1/satellites", map[string]any{"name": name, "region": name}, &created); err != nil {
			return nil, err
		}
		if name == "eu" {
			f.satellites = []*satellite{{id: created.Satellite.ID, token: created.Token}}
			continue
		}
		if err := realSatellite(ctx, url, created.Satellite.ID, created.Token, work); err != nil {
			return nil, err
		}
	}
	spec := checkSpec()
	spec["collectors"] = []any{map[string]any{
		"id": "page", "collector": "healthcheck-http.request", "config": map[string]any{"url": target},
		"assertions": []any{map[string]any{"field": "statusCode", "operator": "equals", "value": 200}},
	}}
	documents := []any{document("Check", "front", spec)}
	for i := range doubted {
		documents = append(documents, document("System", systemName(i), map[string]any{}), document("Assignment", systemName(i), map[string]any{
			"check": "front", "system": systemName(i), "includeLocal": false, "satellites": map[string]any{"names": []string{"eu"}},
		}))
	}
	return f, c.call(ctx, http.MethodPost, "/api/v1/apply", map[string]any{"documents": documents}, nil)
}

func realSatellite(ctx context.Context, url, id, token string, work *sync.WaitGroup) error {
	dir, err := os.MkdirTemp("", "perigee-bench-satellite-")
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	program, err := agent.New(agent.Config{ID: id, Token: token, DataDir: dir, Version: "bench"}, probe.New(probe.Options{Log: log, Version: "bench"}),
		[]agent.Core{{URL: url, Dial: func(ctx context.Context) (link.Conn, error) {
			return link.Dial(ctx, url, link.Options{Silence: protocol.OfflineThreshold})
		}}}, log)
	if err != nil {
		return err
	}
	work.Go(func() {
		defer os.RemoveAll(dir)
		_ = program.Run(ctx)
	})
	return nil
}

// accuse reports every check healthy, and then one after the other as failed, and
// gives how long each took to be confirmed.
func (s *satellite) accuse(ctx context.Context, calls *api.Client, confirmed <-chan string) ([]time.Duration, error) {
	assignments, err := api.All[struct {
		CheckID  string `json:"checkId"`
		SystemID string `json:"systemId"`
	}](ctx, calls, "/assignments", nil, 0, nil)
	if err != nil {
		return nil, err
	}
	seq := int64(0)
	report := func(status check.Status, of ...int) error {
		var batch protocol.Results
		for _, i := range of {
			seq++
			now, latency := time.Now(), 2.0
			batch.Records = append(batch.Records, protocol.Record{Seq: seq, Result: &protocol.Result{
				ConfigID: assignments[i].CheckID, SystemID: assignments[i].SystemID, Status: status, LatencyMs: &latency,
				ExecutedAt: now.UTC().Format("2006-01-02T15:04:05.000Z"), Slot: now.UnixMilli(),
				Result: &check.Result{Status: status, LatencyMs: latency, Message: "closed", Metadata: check.Metadata{Connected: true}},
			}})
		}
		frame, err := protocol.Encode(&batch)
		if err != nil {
			return err
		}
		s.inFree <- struct{}{}
		s.batches.Store(seq, struct{}{})
		return s.conn.Write(frame)
	}
	all := make([]int, len(assignments))
	for i := range all {
		all[i] = i
	}
	if err := report(check.Healthy, all...); err != nil {
		return nil, err
	}
	time.Sleep(5 * time.Second) // the core learns who can be asked
	var took []time.Duration
	for i := range assignments {
		began := time.Now()
		if err := report(check.Unhealthy, i); err != nil {
			return nil, err
		}
		select {
		case system := <-confirmed:
			if system != assignments[i].SystemID {
				return nil, fmt.Errorf("system %s was confirmed, want %s", system, assignments[i].SystemID)
			}
		case <-time.After(30 * time.Second):
			return nil, fmt.Errorf("the verdict on system %d was not confirmed in 30 s", i)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}
