package satellite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/hub"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/internal/store"
)

// seatWorld is satellites, two cores and their database, all of them the real ones, in
// one synctest bubble. What is a fake is what goes wrong: links, disks, clocks, kills.
type seatWorld struct {
	t     *testing.T
	db    *store.DB
	bell  bus.Local
	cores []*seatCore
	posts []*seatPost
	fleet *fleet.Fleet // of who administers it
	// catalog likewise
	catalog *catalog.Catalog

	mu    sync.Mutex
	began map[seatSlot][]string // runs, by who began them
}

// seatSlot is what may be run once.
type seatSlot struct {
	key  check.Key
	seat int
	slot int64
}

const (
	seatInterval = 5 * time.Second
	seatHoldOff  = 5 * time.Second
)

func newSeatWorld(t *testing.T, satellites int) *seatWorld {
	w := &seatWorld{t: t, began: map[seatSlot][]string{}}
	quiet := slog.New(slog.DiscardHandler)
	var err error
	if w.db, err = store.Open(t.Context(), dbtest.SQLite(t), quiet); err != nil {
		t.Fatal(err)
	}
	recorder := entity.NewRecorder(w.db, &w.bell, seatDerivers()...)
	w.fleet = fleet.New(w.db, recorder, &w.bell, quiet)
	w.catalog = catalog.New(w.db, recorder, &w.bell, func(check.Spec) []fault.Field { return nil }, quiet)
	for range 2 {
		c := &seatCore{world: w}
		c.start()
		w.cores = append(w.cores, c)
	}
	for i := range satellites {
		w.posts = append(w.posts, w.newPost(i))
	}
	sleep(5 * time.Second) // they are there, with leases
	return w
}

func seatDerivers() []entity.Deriver {
	return append(append(fleet.Derivers(), health.Derivers()...), catalog.Derivers()...)
}

// assign makes counted assignments.
func (w *seatWorld) assign(assignments, count int) {
	w.t.Helper()
	ctx := w.t.Context()
	if _, err := w.catalog.CreateSystem(ctx, entity.System, catalog.SystemInput{
		Name: "web", Environments: []catalog.EnvironmentInput{{Name: "live"}, {Name: "test"}},
	}); err != nil {
		w.t.Fatal(err)
	}
	for i := range assignments {
		name := fmt.Sprintf("check-%d", i)
		spec := check.Spec{Strategy: "healthcheck-http.http", Config: []byte(`{"url":"http://web.test"}`), Interval: check.Duration(seatInterval)}
		if _, err := w.catalog.CreateCheck(ctx, entity.System, catalog.CheckInput{Name: name, Spec: spec}); err != nil {
			w.t.Fatal(err)
		}
		w.put(i, count, true)
	}
}

// put makes or alters one assignment.
func (w *seatWorld) put(i, count int, enabled bool) {
	w.t.Helper()
	no, name := false, fmt.Sprintf("check-%d", i)
	in := catalog.AssignmentInput{
		Name: name, Check: name, System: "web", IncludeLocal: &no, Enabled: &enabled,
		Satellites: catalog.Selector{Selector: "pool = a", Count: count, SpreadBy: "region"},
	}
	_, err := w.catalog.CreateAssignment(w.t.Context(), entity.System, in)
	if fault.Is(err, fault.Conflict) {
		_, err = w.catalog.UpdateAssignment(w.t.Context(), entity.System, name, in)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *seatWorld) end() {
	for _, p := range w.posts {
		p.thaw()
		if p.running {
			p.stop(true)
		}
	}
	for _, c := range w.cores {
		c.crash()
	}
	if err := w.db.Close(); err != nil {
		w.t.Error(err)
	}
}

// doubles fails for each slot that was begun more than once.
func (w *seatWorld) doubles() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for at, who := range w.began {
		if len(who) > 1 {
			w.t.Errorf("slot %s of seat %d of %s was run by %v", time.UnixMilli(at.slot).UTC().Format("15:04:05.000"), at.seat, at.key.CheckID, who)
		}
	}
	if len(w.began) == 0 {
		w.t.Error("nothing was run")
	}
}

// missing fails for each slot of the seats, due in (after, until], that nobody ran.
func (w *seatWorld) missing(count int, after, until time.Time) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	keys := map[check.Key]bool{}
	for at := range w.began {
		keys[at.key] = true
	}
	for key := range keys {
		for seat := 1; seat <= count; seat++ {
			schedule := check.SeatSchedule("", seat, key, seatInterval)
			for slot := schedule.Next(after); !slot.After(until); slot = schedule.Next(slot) {
				if len(w.began[seatSlot{key, seat, slot.UnixMilli()}]) == 0 {
					w.t.Errorf("slot %s of seat %d of %s was run by nobody", slot.UTC().Format("15:04:05.000"), seat, key.CheckID)
				}
			}
		}
	}
}

// seatCore is a core that can die at any point.
type seatCore struct {
	world *seatWorld
	up    bool
	store *mortalStore
	hub   *hub.Hub
	halt  func()
	conns []link.Conn
	mu    sync.Mutex
	// serving is what satellites reach, nil while it is down.
	serving atomic.Pointer[seatServing]
}

// seatServing is one life of a core.
type seatServing struct {
	store *mortalStore
	hub   *hub.Hub
}

// mortalStore is a core's way to the database, which ends where the core dies: before or
// after a transaction has been committed.
type mortalStore struct {
	*store.DB
	dead atomic.Bool
	last atomic.Bool // the next transaction is committed, and the core dies of it
}

var errDied = errors.New("this core has died")

func (s *mortalStore) InTx(ctx context.Context, fn func(entity.Tx) error) error {
	if s.dead.Load() {
		return errDied
	}
	err := s.DB.InTx(ctx, fn)
	if s.last.Load() {
		s.dead.Store(true)
		return errDied
	}
	return err
}

// acceptAll is an ingest that keeps nothing.
type acceptAll struct{}

func (acceptAll) Submit(context.Context, health.Item) (<-chan error, error) {
	kept := make(chan error, 1)
	kept <- nil
	return kept, nil
}

func (c *seatCore) start() {
	w, quiet := c.world, slog.New(slog.DiscardHandler)
	c.store = &mortalStore{DB: w.db}
	recorder := entity.NewRecorder(c.store, &w.bell, seatDerivers()...)
	f := fleet.New(w.db, recorder, &w.bell, quiet)
	cat := catalog.New(w.db, recorder, &w.bell, func(check.Spec) []fault.Field { return nil }, quiet)
	f.SetReplan(cat.SatelliteChanged)
	changes, end := w.bell.Subscribe(fleet.TopicConfig)
	moves, endMoves := w.bell.Subscribe(fleet.TopicConfig)
	c.hub = hub.New(hub.Config{Fleet: f, Ingest: acceptAll{}, Changes: changes, Log: quiet, Unreachable: f.Unreachable})
	life := &seatServing{c.store, c.hub}
	f.SetLeased(func(leases []fleet.Lease) {
		if !life.store.dead.Load() {
			life.hub.Leased(leases)
		}
	})
	mover := catalog.NewMover(cat, w.db, seatHoldOff, moves)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, run := range []func(context.Context) error{f.Run, life.hub.Run, mover.Run} {
		all.Go(func() { _ = run(ctx) })
	}
	c.halt = func() { cancel(); all.Wait(); end(); endMoves() }
	c.up = true
	c.serving.Store(life)
}

// crash ends the core: nothing of it reaches the database or a satellite any more.
func (c *seatCore) crash() {
	if !c.up {
		return
	}
	c.store.dead.Store(true)
	c.serving.Store(nil)
	c.cut()
	c.halt()
	c.up = false
}

func (c *seatCore) cut() {
	c.mu.Lock()
	conns := c.conns
	c.conns = nil
	c.mu.Unlock()
	for _, conn := range conns {
		conn.Close(link.Lost, "")
	}
}

func (c *seatCore) dial(p *seatProcess) (link.Conn, error) {
	life := c.serving.Load()
	if life == nil || life.store.dead.Load() || p.post.unplugged.Load() {
		return nil, errDown
	}
	agent, core := link.Pipe()
	c.mu.Lock()
	c.conns = append(c.conns, core)
	c.mu.Unlock()
	go life.hub.Serve(core)
	conn := &seatConn{Conn: agent, process: p}
	p.conns.Store(conn)
	return conn, nil
}

// seatPost is the place of a satellite: its disk and its clock. Processes come and go.
type seatPost struct {
	world     *seatWorld
	id, name  string
	config    Config
	offset    atomic.Int64 // of its clock
	unplugged atomic.Bool
	running   bool
	process   *seatProcess
}

// seatProcess is one process of it, which may be stopped (as by a signal), slow to hear,
// or killed.
type seatProcess struct {
	post         *seatPost
	satellite    *Satellite
	frozen, deaf gateway
	killed       atomic.Bool
	conns        atomic.Pointer[seatConn]
	cancel       context.CancelFunc
	ended        chan error
}

// gateway is a place where one has to wait while it is shut.
type gateway struct {
	mu   sync.Mutex
	open chan struct{} // nil while nobody has to wait
}

func (g *gateway) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open == nil {
		g.open = make(chan struct{})
	}
}

func (g *gateway) unlock() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open != nil {
		close(g.open)
		g.open = nil
	}
}

func (g *gateway) pass() {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	if open != nil {
		<-open
	}
}

// seatConn is the satellite's end of its connection.
type seatConn struct {
	link.Conn
	process *seatProcess
}

func (c *seatConn) Read() ([]byte, error) {
	frame, err := c.Conn.Read()
	c.process.deaf.pass()
	c.process.frozen.pass()
	return frame, err
}

func (w *seatWorld) newPost(i int) *seatPost {
	name := fmt.Sprintf("sat-%d", i)
	s, token, err := w.fleet.Create(w.t.Context(), entity.System, fleet.NewSatellite{
		Name: name, Region: []string{"east", "west"}[i%2], Tags: map[string]string{"pool": "a"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	p := &seatPost{world: w, id: s.ID, name: name, config: Config{ID: s.ID, Token: token, DataDir: w.t.TempDir(), Version: "1.2.3"}}
	p.config.Now = func() time.Time { return time.Now().Add(time.Duration(p.offset.Load())) }
	p.start()
	return p
}

func (p *seatPost) start() {
	p.world.t.Helper()
	process := &seatProcess{post: p, ended: make(chan error, 1)}
	var cores []Core
	for i, c := range p.world.cores {
		cores = append(cores, Core{fmt.Sprintf("http://core%d.test", i), func(context.Context) (link.Conn, error) { return c.dial(process) }})
	}
	s, err := New(p.config, &prober{takes: 300 * time.Millisecond}, cores, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		p.world.t.Fatal(err)
	}
	s.spool.sync = func(*os.File) error { return nil }
	wall, run := s.scheduler.now, s.scheduler.run
	s.scheduler.now = func() time.Time { process.frozen.pass(); return wall() }
	s.scheduler.run = func(ctx context.Context, key check.Key, work *work, slot int64) {
		process.frozen.pass()
		if process.killed.Load() {
			return
		}
		p.world.ran(seatSlot{key, work.seat().Number, slot}, p.name)
		run(ctx, key, work, slot)
	}
	ctx, cancel := context.WithCancel(context.Background())
	process.satellite, process.cancel = s, cancel
	p.process, p.running = process, true
	go func() { process.ended <- s.Run(ctx) }()
}

func (w *seatWorld) ran(at seatSlot, who string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.began[at] = append(w.began[at], fmt.Sprintf("%s at %s", who, time.Now().UTC().Format("15:04:05.000")))
}

func (p *seatPost) thaw() {
	p.process.frozen.unlock()
	p.process.deaf.unlock()
}

// stop ends the process, with a kill or cleanly. After a kill the disk is as it was then.
func (p *seatPost) stop(kill bool) {
	p.world.t.Helper()
	synctest.Wait()
	process := p.process
	if kill {
		left := p.world.t.TempDir()
		if err := os.CopyFS(left, os.DirFS(p.config.DataDir)); err != nil {
			p.world.t.Fatal(err)
		}
		process.killed.Store(true)
		p.config.DataDir = left
		p.cut()
	}
	process.cancel()
	p.thaw()
	<-process.ended
	p.running = false
}

func (p *seatPost) cut() {
	if conn := p.process.conns.Load(); conn != nil {
		conn.Close(link.Lost, "")
	}
}

// runs is how many were begun.
func (w *seatWorld) runs() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.began)
}
