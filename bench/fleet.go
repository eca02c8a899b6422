package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/protocol"
)

// fleet is satellites that speak the protocol truly and measure nothing.
type fleet struct {
	url        string
	satellites []*satellite
}

type satellite struct {
	id, token string

	conn    link.Conn
	pair    protocol.Pair
	acked   atomic.Int64 // records
	answers atomic.Int64 // heartbeats answered
	refused atomic.Int64
	told    atomic.Pointer[chan arrival] // where changes of assignments are noted; nil for nowhere
	ended   atomic.Pointer[chan arrival] // where the end of the connection is noted; nil for nowhere
	inFree  chan struct{}                // one place for each batch that may be in flight
	readers sync.WaitGroup
	batches sync.Map // last seq of a batch → struct{}
}

// watchers is how many satellites watch one system.
const watchers = 10

// enroll creates the satellites, and a system with a check for every few of them.
func enroll(ctx context.Context, c *core, n int) (*fleet, error) {
	url, err := link.URL(c.url)
	if err != nil {
		return nil, err
	}
	f := &fleet{url: url, satellites: make([]*satellite, n)}
	documents := []any{document("Check", "front", checkSpec())}
	for group := range (n + watchers - 1) / watchers {
		documents = append(documents, document("System", systemName(group), map[string]any{}),
			document("Assignment", systemName(group), assignmentSpec(group)))
	}
	if err := c.call(ctx, http.MethodPost, "/api/v1/apply", map[string]any{"documents": documents}, nil); err != nil {
		return nil, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i := range n {
		group.Go(func() error {
			var created struct {
				Satellite struct {
					ID string `json:"id"`
				} `json:"satellite"`
				Token string `json:"token"`
			}
			err := c.call(ctx, http.MethodPost, "/api/v1/satellites", map[string]any{
				"name": fmt.Sprintf("bench-%05d", i), "region": fmt.Sprintf("region-%d", i%8),
				"tags": map[string]string{"group": fmt.Sprint(i / watchers)},
			}, &created)
			f.satellites[i] = &satellite{id: created.Satellite.ID, token: created.Token}
			return err
		})
	}
	return f, group.Wait()
}

func systemName(group int) string { return fmt.Sprintf("system-%04d", group) }

func checkSpec() map[string]any {
	return map[string]any{
		"strategy": "healthcheck-http.http", "interval": "24h", "config": map[string]any{},
		"collectors": []any{map[string]any{"id": "page", "collector": "healthcheck-http.request", "config": map[string]any{"url": "http://127.0.0.1:9/"}}},
	}
}

// assignmentSpec lets the satellites of one group watch its system.
func assignmentSpec(group int) map[string]any {
	return map[string]any{
		"check": "front", "system": systemName(group), "includeLocal": false,
		"satellites": map[string]any{"selector": fmt.Sprintf("group=%d", group)},
	}
}

func document(kind, name string, spec map[string]any) map[string]any {
	return map[string]any{"apiVersion": "perigee/v1", "kind": kind, "metadata": map[string]any{"name": name}, "spec": spec}
}

// connect brings every satellite through its handshake, at most s.dial at a time.
func (f *fleet) connect(ctx context.Context, s settings) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.dial)
	for _, sat := range f.satellites {
		group.Go(func() error { return sat.connect(ctx, f.url, s.window) })
	}
	return group.Wait()
}

func (s *satellite) connect(ctx context.Context, url string, window int) error {
	conn, err := link.Dial(ctx, url, link.Options{Silence: -1, HandshakeTimeout: time.Minute})
	if err != nil {
		return err
	}
	hello := &protocol.Hello{Protocol: protocol.Version, Features: protocol.Features(), BootID: s.id}
	frame, err := protocol.Encode(&protocol.Authenticate{ClientID: s.id, Token: s.token, Perigee: hello})
	if err != nil {
		return err
	}
	if err := conn.Write(frame); err != nil {
		return err
	}
	welcomed := make(chan error, 1)
	s.conn = conn
	s.inFree = make(chan struct{}, window)
	s.readers.Go(func() { s.read(conn, welcomed) })
	select {
	case err := <-welcomed:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// read takes in what the core says until the connection ends.
func (s *satellite) read(conn link.Conn, welcomed chan<- error) {
	for {
		frame, err := conn.Read()
		if err != nil {
			if ended := s.ended.Load(); ended != nil {
				*ended <- arrival{s, time.Now()}
			}
			select {
			case welcomed <- fmt.Errorf("during the handshake: %w", err):
			default:
			}
			return
		}
		message, err := protocol.DecodeFromCore(frame)
		if err != nil {
			continue
		}
		switch m := message.(type) {
		case *protocol.Authenticated:
			if len(m.Assignments) > 0 {
				s.pair = m.Assignments[0].Pair()
			}
			welcomed <- nil
		case *protocol.AuthFailed:
			welcomed <- fmt.Errorf("refused: %s", m.Reason)
		case *protocol.Clock:
			s.answers.Add(1)
		case *protocol.Delta:
			if told := s.told.Load(); told != nil {
				*told <- arrival{s, time.Now()}
			}
		case *protocol.Ack:
			s.refused.Add(int64(len(m.Refused)))
			s.takeAck(m.UpTo)
		}
	}
}

// takeAck frees the places of every batch up to and including seq.
func (s *satellite) takeAck(upTo int64) {
	s.acked.Store(upTo)
	s.batches.Range(func(last, _ any) bool {
		if last.(int64) <= upTo {
			if _, was := s.batches.LoadAndDelete(last); was {
				<-s.inFree
			}
		}
		return true
	})
}

// disconnect closes every connection and waits for the readers.
func (f *fleet) disconnect() {
	var group errgroup.Group
	group.SetLimit(64)
	for _, s := range f.satellites {
		if s == nil || s.conn == nil {
			continue
		}
		group.Go(func() error {
			err := s.conn.Close(protocol.CloseNormal, "done")
			s.readers.Wait()
			return err
		})
	}
	_ = group.Wait() // closing what the core has closed already is no failure
}
