package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/protocol"
)

// peer is a satellite that speaks the protocol truly and measures nothing: hundreds
// of them fit where a few real ones would. Results are kept until they are
// acknowledged, and sent again on the next session.
type peer struct {
	name, id, token, url string
	every                time.Duration
	// original: it speaks as an original agent does, which acknowledges nothing and is
	// told nothing of a drain.
	original bool

	stop context.CancelFunc
	ends sync.WaitGroup

	mu        sync.Mutex
	pair      protocol.Pair
	spool     []protocol.Record  // not acknowledged
	seq       int64              // of the newest record
	acked     map[int64]struct{} // slots
	connected bool
	deltas    int
	closes    []int    // codes by which cores ended its sessions
	shutdowns []string // what an original agent was told before that
	refused   []string // records that a core would not take
	final     error    // why it came back no more
}

// enrol creates n peers through the API.
func enrol(c *core, prefix string, n int, url string, every time.Duration) []*peer {
	c.t.Helper()
	peers := make([]*peer, n)
	var group errgroup.Group
	group.SetLimit(8)
	for i := range n {
		group.Go(func() error {
			var made struct {
				Satellite struct {
					ID string `json:"id"`
				} `json:"satellite"`
				Token string `json:"token"`
			}
			name := fmt.Sprintf("%s-%04d", prefix, i)
			err := c.try(http.MethodPost, "/api/v1/satellites", map[string]any{"name": name, "region": "sim", "tags": map[string]string{}, "offlineThresholdMs": clusterThreshold.Milliseconds()}, &made)
			peers[i] = &peer{name: name, id: made.Satellite.ID, token: made.Token, url: url, every: every, acked: map[int64]struct{}{}}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		c.t.Fatal(err)
	}
	return peers
}

// start lets the peer work until halt.
func (p *peer) start() {
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	p.ends.Go(func() { p.measure(ctx) })
	p.ends.Go(func() { p.stay(ctx) })
}

// halt ends it as a power cut would.
func (p *peer) halt() {
	if p.stop == nil {
		return
	}
	p.stop()
	p.ends.Wait()
	p.stop = nil
}

// measure spools a result from time to time.
func (p *peer) measure(ctx context.Context) {
	latency := 1.0
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(p.every/2 + time.Duration(rand.Int64N(int64(p.every)))):
		}
		p.mu.Lock()
		if p.pair != (protocol.Pair{}) {
			p.seq++
			now := time.Now()
			p.spool = append(p.spool, protocol.Record{Seq: p.seq, Result: &protocol.Result{
				ConfigID: p.pair.ConfigID, SystemID: p.pair.SystemID, Status: check.Healthy, LatencyMs: &latency,
				ExecutedAt: now.UTC().Format("2006-01-02T15:04:05.000Z"), Slot: now.UnixMilli(),
			}})
		}
		p.mu.Unlock()
	}
}

// stay keeps a session, as our satellite does: back-off with jitter, none after a drain.
func (p *peer) stay(ctx context.Context) {
	for ctx.Err() == nil {
		err := p.session(ctx)
		p.mu.Lock()
		p.connected = false
		closed, ok := errors.AsType[*link.CloseError](err)
		if ok && !closed.Local {
			p.closes = append(p.closes, closed.Code)
			if !protocol.ComeBack(closed.Code) {
				p.final = err
				p.mu.Unlock()
				return
			}
		}
		p.mu.Unlock()
		if errors.Is(err, errDrained) {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(500*time.Millisecond + time.Duration(rand.Int64N(int64(time.Second)))):
		}
	}
}

var errDrained = errors.New("the core is about to stop")

// session is one connection from its first message to its end.
func (p *peer) session(ctx context.Context) error {
	conn, err := link.Dial(ctx, p.url, link.Options{Silence: protocol.OfflineThreshold})
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close(protocol.CloseNormal, "halted") })
	defer stop()
	var writers sync.WaitGroup
	defer writers.Wait()
	ended := make(chan struct{})
	defer close(ended)
	defer conn.Close(protocol.CloseGoingAway, "leaving")
	hello := &protocol.Hello{Protocol: protocol.Version, BootID: p.id, Features: []string{
		protocol.FeatureAck, protocol.FeatureSlots, protocol.FeatureDelta, protocol.FeatureDrain,
	}}
	if p.original {
		hello = nil
	}
	if err := write(conn, &protocol.Authenticate{ClientID: p.id, Token: p.token, Perigee: hello}); err != nil {
		return err
	}
	drained := make(chan struct{}, 1)
	for {
		frame, err := conn.Read()
		if err != nil {
			select {
			case <-drained:
				return errDrained
			default:
				return err
			}
		}
		m, err := protocol.DecodeFromCore(frame)
		if err != nil {
			continue
		}
		switch m := m.(type) {
		case *protocol.Authenticated:
			p.taken(m)
			writers.Go(func() { p.talk(conn, ended) })
		case *protocol.Ack:
			p.acknowledged(m)
		case *protocol.Delta:
			p.mu.Lock()
			p.deltas++
			p.mu.Unlock()
			if err := write(conn, &protocol.Applied{Revision: m.Revision}); err != nil {
				return err
			}
		case *protocol.ConfigUpdated:
			p.mu.Lock()
			p.deltas++
			p.mu.Unlock()
		case *protocol.Shutdown:
			p.mu.Lock()
			p.shutdowns = append(p.shutdowns, m.Reason)
			p.mu.Unlock()
		case *protocol.AuthFailed:
			return fmt.Errorf("refused: %s", m.Reason)
		case *protocol.Drain:
			leave := time.Duration(rand.Int64N(max(m.SpanMs, 1))) * time.Millisecond
			writers.Go(func() {
				select {
				case <-time.After(leave):
					drained <- struct{}{}
					conn.Close(protocol.CloseGoingAway, "drained")
				case <-ended:
				}
			})
		}
	}
}

func write(conn link.Conn, m protocol.FromAgent) error {
	frame, err := protocol.Encode(m)
	if err != nil {
		return err
	}
	return conn.Write(frame)
}

func (p *peer) taken(m *protocol.Authenticated) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connected = true
	if len(m.Assignments) > 0 {
		p.pair = m.Assignments[0].Pair()
	}
}

func (p *peer) acknowledged(m *protocol.Ack) {
	p.mu.Lock()
	defer p.mu.Unlock()
	refused := map[int64]bool{}
	for _, r := range m.Refused {
		refused[r.Seq] = true
		p.refused = append(p.refused, r.Reason)
	}
	for len(p.spool) > 0 && p.spool[0].Seq <= m.UpTo {
		if !refused[p.spool[0].Seq] {
			p.acked[p.spool[0].Result.Slot] = struct{}{}
		}
		p.spool = p.spool[1:]
	}
}

// talk sends heartbeats and what is spooled until the session ends.
func (p *peer) talk(conn link.Conn, ended <-chan struct{}) {
	sent := int64(0)
	beat := time.Now()
	for {
		if time.Now().After(beat) {
			beat = beat.Add(5 * time.Second)
			if write(conn, &protocol.Heartbeat{Version: "sim", UptimeSeconds: 1}) != nil {
				return
			}
		}
		if p.original {
			if p.sendAll(conn) != nil {
				return
			}
			select {
			case <-ended:
				return
			case <-time.After(200 * time.Millisecond):
			}
			continue
		}
		p.mu.Lock()
		var batch protocol.Results
		for _, r := range p.spool {
			if r.Seq > sent {
				batch.Records = append(batch.Records, r)
				sent = r.Seq
			}
		}
		p.mu.Unlock()
		if len(batch.Records) > 0 && write(conn, &batch) != nil {
			return
		}
		select {
		case <-ended:
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// sendAll sends what is spooled, one by one, and forgets it, as an original agent does.
func (p *peer) sendAll(conn link.Conn) error {
	p.mu.Lock()
	records := p.spool
	p.spool = nil
	p.mu.Unlock()
	for _, r := range records {
		result := *r.Result
		result.Slot = 0
		if err := write(conn, &result); err != nil {
			return err
		}
	}
	return nil
}

// state is what the test asks of a peer.
func (p *peer) state() (connected bool, waiting, acked int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.connected, len(p.spool), len(p.acked)
}
