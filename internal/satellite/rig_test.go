package satellite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/internal/probe"
	"github.com/perigee-monitoring/perigee/protocol"
)

// rig is a satellite with a core of its own, both in this process, on a pipe.
// Inside a synctest bubble days pass in milliseconds.
type rig struct {
	t      *testing.T
	config Config
	core   *core
	others []*core
	prober *prober
	offset time.Duration // what the satellite's clock is ahead by
	mu     sync.Mutex

	satellite *Satellite
	stop      context.CancelFunc
	ended     chan error
}

const satelliteID = "3f0c9a52-6f0e-4d0b-9b57-0d9c2a7f1e11"

func newRig(t *testing.T, c *core) *rig {
	t.Helper()
	return &rig{
		t: t, core: c, prober: &prober{},
		config: Config{
			ID: satelliteID, Token: "csat_secret", DataDir: t.TempDir(), Version: "1.2.3",
		},
	}
}

// start runs the satellite; its end arrives at r.ended.
func (r *rig) start() {
	r.t.Helper()
	r.config.Now = func() time.Time {
		r.mu.Lock()
		defer r.mu.Unlock()
		return time.Now().Add(r.offset)
	}
	s, err := New(r.config, r.prober, r.cores(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		r.t.Fatal(err)
	}
	s.spool.sync = func(*os.File) error { return nil } // virtual days are many syncs
	ctx, stop := context.WithCancel(context.Background())
	r.satellite, r.stop, r.ended = s, stop, make(chan error, 1)
	go func() { r.ended <- s.Run(ctx) }()
}

// cores are those that the satellite knows.
func (r *rig) cores() []Core {
	cores := []Core{{"http://core.test", r.core.dial}}
	for i, c := range r.others {
		cores = append(cores, Core{fmt.Sprintf("http://core%d.test", i+2), c.dial})
	}
	return cores
}

// end stops the satellite cleanly.
func (r *rig) end() {
	r.t.Helper()
	r.stop()
	if err := <-r.ended; err != nil {
		r.t.Errorf("stopping: %v", err)
	}
}

// kill ends the satellite as kill -9 would: the next start finds the data
// directory as it is at this instant.
func (r *rig) kill() {
	r.t.Helper()
	synctest.Wait()
	left := r.t.TempDir()
	if err := os.CopyFS(left, os.DirFS(r.config.DataDir)); err != nil {
		r.t.Fatal(err)
	}
	r.core.setDown(true)
	r.stop()
	<-r.ended
	r.core.setDown(false)
	r.config.DataDir = left
}

// setClock moves the satellite's clock.
func (r *rig) setClock(ahead time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.offset = ahead
}

// sleep lets virtual time pass and everything come to rest.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// assignment is a check of a system with the interval.
func assignment(check, system string, interval time.Duration) protocol.Assignment {
	return protocol.Assignment{
		ConfigID: check, SystemID: system, StrategyID: "healthcheck-http.http",
		Config: json.RawMessage(`{}`), IntervalSeconds: interval.Seconds(),
	}
}

// prober is a fake that takes as long as it is told.
type prober struct {
	mu      sync.Mutex
	takes   time.Duration
	execute func(ctx context.Context, a *protocol.Assignment, env *check.Environment) check.Result
	lease   func(context.Context, probe.Lease)
	refuse  map[string]error // by strategy
	now     int
	most    int
	runs    []time.Time
	busy    map[check.Key]bool
	overlap bool
}

func (p *prober) Execute(ctx context.Context, a *protocol.Assignment, env *check.Environment, lease probe.Lease) check.Result {
	key := check.Key{CheckID: a.ConfigID, SystemID: a.SystemID}
	if env != nil {
		key.EnvironmentID = env.ID
	}
	p.mu.Lock()
	p.now++
	p.most = max(p.most, p.now)
	p.runs = append(p.runs, time.Now())
	if p.busy == nil {
		p.busy = make(map[check.Key]bool)
	}
	p.overlap = p.overlap || p.busy[key]
	p.busy[key] = true
	takes, execute, borrow := p.takes, p.execute, p.lease
	p.mu.Unlock()
	if borrow != nil {
		borrow(ctx, lease)
	}
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.now--
		p.busy[key] = false
	}()
	if execute != nil {
		return execute(ctx, a, env)
	}
	timer := time.NewTimer(takes)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return healthy(takes)
}

func healthy(took time.Duration) check.Result {
	return check.Result{
		Status: check.Healthy, LatencyMs: float64(took.Microseconds()) / 1000, Message: "Completed",
		Metadata: check.Metadata{Connected: true},
	}
}

func (p *prober) Check(a *protocol.Assignment) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refuse[a.StrategyID]
}

func (p *prober) Inventory() protocol.Inventory {
	return protocol.Inventory{Strategies: []string{"healthcheck-http.http"}, Collectors: []string{"healthcheck-http.request"}}
}

func (p *prober) set(change func(*prober)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

// core is a fake that speaks the protocol: as ours, or as an original one, which
// names no features and acknowledges nothing.
type core struct {
	mu          sync.Mutex
	original    bool
	features    []string // nil: all
	down        bool     // nobody answers the door
	mute        bool     // accepts connections and says nothing
	silent      bool     // reads nothing and answers nothing from now on
	holdAcks    bool
	credit      int64
	refuse      *protocol.AuthFailed
	closeWith   int               // sent after authenticate instead of an answer
	farewell    protocol.FromCore // sent after an answer, and before closeWith
	revision    int64
	assignments []protocol.Assignment
	hash        protocol.Nullable[string]
	early       protocol.FromCore                          // sent before authenticated
	answer      func(protocol.FromAgent) protocol.FromCore // to what is not a result or a heartbeat; nil for nothing
	wrap        func(agent, core link.Conn) (link.Conn, link.Conn)

	sightings
	acked   int64
	waiting chan struct{} // closed when a slot after awaited has arrived
	awaited int64
	serving sync.WaitGroup
}

// sightings is what a core has seen of its satellite.
type sightings struct {
	dials    []time.Time
	conns    []link.Conn
	hellos   []protocol.Authenticate
	heard    []protocol.FromAgent // all but results and heartbeats
	beats    []protocol.Heartbeat
	beatAt   []time.Time       // when each came
	results  []protocol.Result // an original's view: one by one
	records  []protocol.Record // as they arrived, repeats included
	closings []link.CloseError
}

// seen is what was seen so far.
func (c *core) seen() sightings {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sightings
}

func (c *core) set(change func(*core)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

// slotAfter is closed when a slot after t has arrived.
func (c *core) slotAfter(t time.Time) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting, c.awaited = make(chan struct{}), t.UnixMilli()
	return c.waiting
}

func (c *core) setDown(down bool) {
	c.mu.Lock()
	c.down = down
	conns := c.conns
	if down {
		c.conns = nil
	}
	c.mu.Unlock()
	if down {
		for _, conn := range conns {
			conn.Close(link.Lost, "")
		}
		c.serving.Wait()
	}
}

var errDown = errors.New("connection refused")

func (c *core) dial(context.Context) (link.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dials = append(c.dials, time.Now())
	if c.down {
		return nil, errDown
	}
	agent, mine := link.PipeWith(link.Options{Silence: protocol.OfflineThreshold}, link.Options{})
	if c.wrap != nil {
		agent, mine = c.wrap(agent, mine)
	}
	c.conns = append(c.conns, mine)
	c.serving.Go(func() { c.serve(mine) })
	return agent, nil
}

func (c *core) serve(conn link.Conn) {
	for {
		c.mu.Lock()
		silent := c.silent
		c.mu.Unlock()
		if silent {
			return // the pipe fills up, as a dead path does
		}
		frame, err := conn.Read()
		if err != nil {
			closed, _ := errors.AsType[*link.CloseError](err)
			c.set(func(c *core) { c.closings = append(c.closings, *closed) })
			return
		}
		m, err := protocol.DecodeFromAgent(frame)
		if err != nil {
			panic(err) // the satellite must not send what a core cannot read
		}
		c.take(conn, m)
	}
}

func (c *core) take(conn link.Conn, m protocol.FromAgent) {
	c.mu.Lock()
	var answers []protocol.FromCore
	var closeWith int
	switch m := m.(type) {
	case *protocol.Authenticate:
		c.hellos = append(c.hellos, *m)
		answers, closeWith = c.welcome()
	case *protocol.Heartbeat:
		c.beats, c.beatAt = append(c.beats, *m), append(c.beatAt, time.Now())
		if m.Perigee != nil {
			now := time.Now().UnixMilli()
			answers = append(answers, &protocol.Clock{Echo: m.Perigee.SentAt, ReceivedAt: now, SentAt: now})
		}
	case *protocol.Result:
		c.results = append(c.results, *m)
	case *protocol.Results:
		c.records = append(c.records, m.Records...)
		_, _, slot := span(&m.Records[len(m.Records)-1])
		if c.waiting != nil && slot > c.awaited {
			close(c.waiting)
			c.waiting = nil
		}
		c.acked = m.Records[len(m.Records)-1].Seq
		if !c.holdAcks {
			answers = append(answers, &protocol.Ack{UpTo: c.acked})
		}
	default:
		c.heard = append(c.heard, m)
		if c.answer != nil {
			if answer := c.answer(m); answer != nil {
				answers = append(answers, answer)
			}
		}
	}
	c.mu.Unlock()
	for _, a := range answers {
		say(conn, a)
	}
	if closeWith != 0 {
		conn.Close(closeWith, "test")
	}
}

// welcome is the answer to authenticate; mu is held.
func (c *core) welcome() (answers []protocol.FromCore, closeWith int) {
	switch {
	case c.mute:
		return nil, 0
	case c.refuse != nil:
		return []protocol.FromCore{c.refuse}, c.closeWith
	case c.closeWith != 0 && c.farewell == nil:
		return nil, c.closeWith
	}
	if c.early != nil {
		answers = append(answers, c.early)
	}
	welcome := &protocol.Authenticated{SatelliteID: satelliteID, Assignments: c.assignments, ScriptPackagesLockfileHash: c.hash}
	if !c.original {
		features := c.features
		if features == nil {
			features = protocol.Features()
		}
		credit := c.credit
		if credit == 0 {
			credit = protocol.MaxCredit
		}
		welcome.Perigee = &protocol.Welcome{Protocol: 1, Features: features, Epoch: int64(len(c.hellos)), Revision: c.revision, Credit: credit}
	}
	if answers = append(answers, welcome); c.farewell != nil {
		answers = append(answers, c.farewell)
	}
	return answers, c.closeWith
}

func say(conn link.Conn, m protocol.FromCore) {
	frame, err := protocol.Encode(m)
	if err != nil {
		panic(err)
	}
	conn.Write(frame) // a connection that is gone shows in Read
}

// push sends to the connected satellite.
func (c *core) push(m protocol.FromCore) {
	c.mu.Lock()
	conn := c.conns[len(c.conns)-1]
	c.mu.Unlock()
	say(conn, m)
}

// account is every result by key and slot, skips by key; repeats collapse, as they
// do on a core.
func (c *core) account() (results map[check.Key]map[int64]protocol.Result, skips map[check.Key]map[int64]protocol.Skip) {
	c.mu.Lock()
	defer c.mu.Unlock()
	results, skips = make(map[check.Key]map[int64]protocol.Result), make(map[check.Key]map[int64]protocol.Skip)
	for i := range c.records {
		r := &c.records[i]
		key, from, _ := span(r)
		if r.Result != nil {
			if results[key] == nil {
				results[key] = make(map[int64]protocol.Result)
			}
			results[key][from] = *r.Result
			continue
		}
		if skips[key] == nil {
			skips[key] = make(map[int64]protocol.Skip)
		}
		skips[key][from] = *r.Skip
	}
	return results, skips
}

// audit recounts: every slot of the key in (after, until] is in exactly one
// record, and no record is about another slot.
func audit(t *testing.T, c *core, key check.Key, interval time.Duration, after, until time.Time) (ran, skipped map[int64]protocol.SkipReason) {
	t.Helper()
	schedule := check.NewSchedule(satelliteID, key, interval)
	results, skips := c.account()
	times := make(map[int64]int)
	ran, skipped = make(map[int64]protocol.SkipReason), make(map[int64]protocol.SkipReason)
	for slot := range results[key] {
		times[slot]++
		ran[slot] = ""
	}
	for _, skip := range skips[key] {
		var count int64
		for slot := skip.From; slot <= skip.To; slot = schedule.Next(time.UnixMilli(slot)).UnixMilli() {
			times[slot]++
			skipped[slot] = skip.Reason
			count++
		}
		if count != skip.Count {
			t.Errorf("a skip from %d to %d counts %d slots; there are %d", skip.From, skip.To, skip.Count, count)
		}
	}
	c.mu.Lock()
	seqs := make(map[int64]int64)
	for i := range c.records {
		if k, slot, _ := span(&c.records[i]); k == key {
			if seq, ok := seqs[slot]; ok && seq != c.records[i].Seq {
				t.Errorf("slot %d is in records %d and %d", slot, seq, c.records[i].Seq)
			}
			seqs[slot] = c.records[i].Seq
		}
	}
	c.mu.Unlock()
	due := 0
	for slot := schedule.Next(after); !slot.After(until); slot = schedule.Next(slot) {
		due++
		switch n := times[slot.UnixMilli()]; n {
		case 1:
			delete(times, slot.UnixMilli())
		case 0:
			t.Errorf("slot %s is accounted for nowhere", slot)
		}
	}
	for slot, n := range times {
		t.Errorf("slot %s: %d records, and it was not due or is recorded twice", time.UnixMilli(slot).UTC(), n)
	}
	if t.Failed() {
		t.Logf("%d slots due, %d results, skips %v", due, len(results[key]), slices.Collect(maps.Values(skips[key])))
	}
	return ran, skipped
}

// heardOf returns the messages of one type that the core heard.
func heardOf[M protocol.FromAgent](c *core) []M {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []M
	for _, m := range c.heard {
		if m, ok := m.(M); ok {
			all = append(all, m)
		}
	}
	return all
}
