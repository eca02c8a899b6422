package hub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/hub"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/protocol"
)

// world is a hub between satellites on pipes and records in memory. It lives in a
// synctest bubble, so its time is the test's.
type world struct {
	t       *testing.T
	hub     *hub.Hub
	fleet   *fakeFleet
	ingest  *fakeIngest
	changes chan struct{}
	log     *logText
	metrics *prometheus.Registry
	stop    func() // ends Run and waits for it
	served  sync.WaitGroup
}

// inBubble runs the test with a world. The options change its configuration.
func inBubble(t *testing.T, test func(w *world), options ...func(*hub.Config)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { test(newWorld(t, options...)) })
}

func newWorld(t *testing.T, options ...func(*hub.Config)) *world {
	w := &world{
		t: t, fleet: newFakeFleet(), ingest: &fakeIngest{}, changes: make(chan struct{}, 1),
		log: new(logText), metrics: prometheus.NewRegistry(),
	}
	metrics := hub.NewMetrics()
	w.metrics.MustRegister(metrics)
	config := hub.Config{
		Fleet: w.fleet, Ingest: w.ingest, Changes: w.changes, Metrics: metrics,
		Log: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, option := range options {
		option(&config)
	}
	w.hub = hub.New(config)
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() {
		if err := w.hub.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	w.stop = func() { cancel(); run.Wait(); w.served.Wait() }
	t.Cleanup(w.stop)
	return w
}

// logText is a log that can be read while it is written.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// ring tells the hub that something of the desired sets has changed.
func (w *world) ring() { w.changes <- struct{}{} }

// metric is the value of a counter or gauge, of the one label value if given, when all that
// is under way has been counted.
func (w *world) metric(name string, label ...string) float64 {
	w.t.Helper()
	synctest.Wait()
	families, err := w.metrics.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "perigee_hub_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			if len(label) == 0 || m.GetLabel()[0].GetValue() == label[0] {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	w.t.Fatalf("no metric %s %v", name, label)
	return 0
}

func (w *world) wantLog(text string) {
	w.t.Helper()
	synctest.Wait()
	if !strings.Contains(w.log.String(), text) {
		w.t.Errorf("the log lacks %q:\n%s", text, w.log)
	}
}

// agent is the satellite's end of a connection.
type agent struct {
	w    *world
	conn link.Conn
	in   chan []byte
	end  chan *link.CloseError
}

// connect opens a socket that has said nothing yet.
func (w *world) connect() *agent {
	a := w.connectUnread()
	w.served.Go(func() {
		for {
			frame, err := a.conn.Read()
			if err != nil {
				closed, _ := errors.AsType[*link.CloseError](err)
				a.end <- closed
				close(a.in)
				return
			}
			a.in <- bytes.Clone(frame)
		}
	})
	return a
}

// connectUnread is a socket from which the satellite never reads.
func (w *world) connectUnread() *agent {
	mine, core := link.Pipe()
	a := &agent{w: w, conn: mine, in: make(chan []byte, 4096), end: make(chan *link.CloseError, 1)}
	w.served.Go(func() { w.hub.Serve(core) })
	w.t.Cleanup(func() { mine.Close(link.Lost, "") })
	return a
}

func (a *agent) send(m protocol.FromAgent) {
	a.w.t.Helper()
	frame, err := protocol.Encode(m)
	if err != nil {
		a.w.t.Fatal(err)
	}
	a.sendText(string(frame))
}

func (a *agent) sendText(frame string) {
	a.w.t.Helper()
	if err := a.conn.Write([]byte(frame)); err != nil {
		a.w.t.Fatalf("the satellite cannot send: %v", err)
	}
}

// patience is in the bubble's time, which costs nothing.
const patience = 10 * time.Minute

func (a *agent) nextText() string {
	a.w.t.Helper()
	select {
	case frame, ok := <-a.in:
		if !ok {
			a.w.t.Fatalf("the connection ended instead of a message: %v", <-a.end)
		}
		return string(frame)
	case <-time.After(patience):
		a.w.t.Fatal("the core sent nothing")
	}
	return ""
}

// next is the next message, which must be an M.
func next[M protocol.FromCore](a *agent) M {
	a.w.t.Helper()
	text := a.nextText()
	m, err := protocol.DecodeFromCore([]byte(text))
	if err != nil {
		a.w.t.Fatalf("the core sent what cannot be read: %v\n%s", err, text)
	}
	wanted, ok := m.(M)
	if !ok {
		a.w.t.Fatalf("the core sent %s instead of a %T", text, wanted)
	}
	return wanted
}

// quiet fails when the core has sent something.
func (a *agent) quiet() {
	a.w.t.Helper()
	synctest.Wait()
	select {
	case frame := <-a.in:
		a.w.t.Fatalf("the core sent %s", frame)
	default:
	}
}

// closed is how the connection ended.
func (a *agent) closed() *link.CloseError {
	a.w.t.Helper()
	select {
	case closed := <-a.end:
		return closed
	case <-time.After(patience):
		a.w.t.Fatal("the connection did not end")
	}
	return nil
}

func (a *agent) wantClosed(code int) {
	a.w.t.Helper()
	if got := a.closed(); got.Code != code {
		a.w.t.Errorf("closed with %v; want code %d", got, code)
	}
}

// authenticate is what an original agent says of the satellite.
func authenticate(id string) *protocol.Authenticate {
	return &protocol.Authenticate{ClientID: id, Token: "csat_" + id}
}

// hello is what our satellite says.
func hello(id string, features ...string) *protocol.Authenticate {
	if features == nil {
		features = protocol.Features()
	}
	m := authenticate(id)
	m.Perigee = &protocol.Hello{Protocol: protocol.Version, Features: features, BootID: "boot"}
	return m
}

// original is an authenticated original agent, ours one of our own.
func (w *world) original(id string) *agent {
	w.t.Helper()
	a := w.connect()
	a.send(authenticate(id))
	next[*protocol.Authenticated](a)
	return a
}

func (w *world) ours(id string, features ...string) *agent {
	w.t.Helper()
	a := w.connect()
	a.send(hello(id, features...))
	next[*protocol.Authenticated](a)
	return a
}

// fakeFleet is records in memory.
type fakeFleet struct {
	mu         sync.Mutex
	satellites map[string]*record
	calls      []string // what was asked to be written, in order
	beats      []fleet.Beat
	revisions  int // calls of Revisions
	desired    int // calls of Desired
	// before is called, without the lock, at the beginning of each call.
	before func(ctx context.Context, call, id string) error
}

type record struct {
	fleet.Satellite
	credential int64
	replaced   int // sessions whose peers were alive
	want       fleet.Desired
}

func newFakeFleet() *fakeFleet {
	return &fakeFleet{satellites: map[string]*record{}, before: func(context.Context, string, string) error { return nil }}
}

// add makes a satellite with the id as its name and "csat_"+id as its token.
func (f *fakeFleet) add(id string, assignments ...protocol.Assignment) {
	f.mu.Lock()
	f.satellites[id] = &record{Satellite: fleet.Satellite{ID: id, Name: id, Region: "eu"}, credential: 1}
	f.mu.Unlock()
	f.assign(id, assignments...)
}

// assign makes the assignments what the satellite should run, one revision later.
// Pairs that go stay as grants, removed now.
func (f *fakeFleet) assign(id string, assignments ...protocol.Assignment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.satellites[id]
	now := time.Now()
	grants := []fleet.Grant{}
	for _, a := range assignments {
		grants = append(grants, fleet.Grant{Pair: a.Pair()})
	}
	for _, g := range r.want.Grants {
		stays := slices.ContainsFunc(assignments, func(a protocol.Assignment) bool { return a.Pair() == g.Pair })
		if !stays {
			if g.RemovedAt == nil {
				g.RemovedAt = &now
			}
			grants = append(grants, g)
		}
	}
	r.want = fleet.Desired{SatelliteID: id, Revision: r.want.Revision + 1, Assignments: assignments, Grants: grants}
}

func (f *fakeFleet) change(id string, how func(*record)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how(f.satellites[id])
}

func (f *fakeFleet) remove(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.satellites, id)
}

// hook sets before.
func (f *fakeFleet) hook(before func(ctx context.Context, call, id string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = before
}

func (f *fakeFleet) begin(ctx context.Context, call, id string) error {
	f.mu.Lock()
	before := f.before
	f.mu.Unlock()
	return before(ctx, call, id)
}

// edges is what was asked to be written.
func (f *fakeFleet) edges() []string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func (f *fakeFleet) wantEdges(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, f.edges()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func (f *fakeFleet) Verify(ctx context.Context, clientID, token string) (fleet.Verified, error) {
	if err := f.begin(ctx, "verify", clientID); err != nil {
		return fleet.Verified{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.satellites[clientID]
	if !ok || token != "csat_"+clientID {
		return fleet.Verified{}, fault.New(fault.Unauthenticated, "invalid client ID or token")
	}
	return fleet.Verified{Satellite: r.Satellite, Credential: r.credential}, nil
}

func (f *fakeFleet) Open(ctx context.Context, id string, _ int64) (int64, error) {
	if err := f.begin(ctx, "open", id); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.satellites[id]
	if !ok {
		return 0, fault.New(fault.NotFound, "satellite %s does not exist", id)
	}
	r.Epoch++
	f.calls = append(f.calls, fmt.Sprintf("open %s %d", id, r.Epoch))
	return r.Epoch, nil
}

func (f *fakeFleet) Close(ctx context.Context, id string, epoch int64) error {
	if err := f.begin(ctx, "close", id); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf("close %s %d", id, epoch))
	return nil
}

func (f *fakeFleet) Replaced(_ context.Context, id, _ string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.satellites[id].replaced++
	return f.satellites[id].replaced == 3, nil
}

func (f *fakeFleet) Beat(b fleet.Beat) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.beats = append(f.beats, b)
}

func (f *fakeFleet) heard() []fleet.Beat {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.beats)
}

func (f *fakeFleet) Desired(ctx context.Context, id string) (fleet.Desired, error) {
	if err := f.begin(ctx, "desired", id); err != nil {
		return fleet.Desired{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.desired++
	r, ok := f.satellites[id]
	if !ok {
		return fleet.Desired{}, fault.New(fault.NotFound, "satellite %s does not exist", id)
	}
	return r.want, nil
}

func (f *fakeFleet) Revisions(ctx context.Context, ids []string) (map[string]fleet.Revision, error) {
	if err := f.begin(ctx, "revisions", ""); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revisions++
	all := map[string]fleet.Revision{}
	for _, id := range ids {
		if r, ok := f.satellites[id]; ok {
			all[id] = fleet.Revision{Desired: r.want.Revision, Credential: r.credential, Epoch: r.Epoch}
		}
	}
	return all, nil
}

func (f *fakeFleet) wrote(ctx context.Context, call, id, what string) error {
	if err := f.begin(ctx, call, id); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call+" "+id+" "+what)
	return nil
}

func (f *fakeFleet) SetInventory(ctx context.Context, id string, inv protocol.Inventory) error {
	return f.wrote(ctx, "inventory", id, inv.Version)
}

func (f *fakeFleet) SetApplied(ctx context.Context, id string, applied protocol.Applied) error {
	return f.wrote(ctx, "applied", id, fmt.Sprint(applied.Revision))
}

func (f *fakeFleet) SetSyncState(ctx context.Context, id string, state protocol.ScriptPackageSyncState) error {
	return f.wrote(ctx, "sync", id, string(state.Status))
}

func (f *fakeFleet) Observed(known fleet.ObserverHealth, p *protocol.Pulse) fleet.ObserverHealth {
	if p.Observer != nil {
		known.Ill = p.Observer.Ill
	}
	return known
}

func (f *fakeFleet) Observe(ctx context.Context, id string, epoch int64, p *protocol.Pulse) (fleet.ObserverHealth, error) {
	known := f.Observed(fleet.ObserverHealth{}, p)
	return known, f.wrote(ctx, "observer", id, fmt.Sprintf("epoch %d: %s", epoch, known.Illness()))
}

// fakeIngest makes everything durable at once, unless told otherwise.
type fakeIngest struct {
	mu    sync.Mutex
	items []health.Item // durable ones, in the order of their submission
	held  []heldItem
	// hold leaves the outcome to release.
	hold bool
	// fail says how a submission ends; nil is well.
	fail func(health.Item) error
}

type heldItem struct {
	item health.Item
	done chan error
}

func (f *fakeIngest) Submit(_ context.Context, item health.Item) (<-chan error, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	done := make(chan error, 1)
	if f.hold {
		f.held = append(f.held, heldItem{item, done})
		return done, nil
	}
	f.finish(heldItem{item, done}, nil)
	return done, nil
}

func (f *fakeIngest) finish(h heldItem, err error) {
	if err == nil && f.fail != nil {
		err = f.fail(h.item)
	}
	if err == nil {
		f.items = append(f.items, h.item)
	}
	h.done <- err
}

// release ends the held submission at index i.
func (f *fakeIngest) release(i int, err error) {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.finish(f.held[i], err)
	f.held = slices.Delete(f.held, i, i+1)
}

func (f *fakeIngest) set(hold bool, fail func(health.Item) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold, f.fail = hold, fail
}

func (f *fakeIngest) waiting() int {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.held)
}

// runs is every durable run, by check id.
func (f *fakeIngest) runs() []string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := []string{}
	for _, item := range f.items {
		for _, r := range item.Runs {
			ids = append(ids, r.CheckID)
		}
	}
	return ids
}

func (f *fakeIngest) wantRuns(t *testing.T, want ...string) {
	t.Helper()
	if want == nil {
		want = []string{}
	}
	if diff := cmp.Diff(want, f.runs()); diff != "" {
		t.Errorf("durable runs (-want +got):\n%s", diff)
	}
}

// pair is an assignment of the check to system "web".
func pair(check string) protocol.Assignment {
	return protocol.Assignment{
		ConfigID: check, SystemID: "web", StrategyID: "healthcheck-http.http",
		Config: []byte(`{"timeout":5000}`), IntervalSeconds: 10,
	}
}

// every is the pair with another interval: the same pair, changed in place.
func every(check string, seconds float64) protocol.Assignment {
	a := pair(check)
	a.IntervalSeconds = seconds
	return a
}

// result is a healthy result of the check for system "web", executed now.
func result(check string) *protocol.Result {
	return &protocol.Result{ConfigID: check, SystemID: "web", Status: "healthy", ExecutedAt: time.Now().UTC().Format(time.RFC3339Nano)}
}

// slotted is a record of our satellite, due now.
func slotted(seq int64, check string) protocol.Record {
	r := result(check)
	r.Slot = time.Now().UnixMilli()
	return protocol.Record{Seq: seq, Result: r}
}

func batch(records ...protocol.Record) *protocol.Results { return &protocol.Results{Records: records} }

func away() error { return fault.New(fault.Unavailable, "the database is away") }
