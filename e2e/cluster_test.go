package e2e

import (
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/internal/npmtest"
	"github.com/perigee-monitoring/perigee/internal/pgtest"
	"github.com/perigee-monitoring/perigee/protocol"
)

var (
	clusterPeers = flag.Int("peers", 500, "how many satellites TestCluster simulates")
	clusterWhole = flag.Bool("whole", false, "everything with each bell")
	clusterEvery = flag.Duration("every", 4*time.Second, "how often each of them has a result")
)

// cluster is three cores on one database behind a balancer, with a simulated fleet.
type cluster struct {
	t        *testing.T
	database string
	cores    []*core
	// toDatabase is the cable of the last core, toBell that of all of them to each other.
	toDatabase, toBell *wire
	balancer           *balancer
	peers              []*peer
	real               []*satellite
	front              string          // id of the check that the peers run
	sentenced          map[string]bool // satellites that are rotated or deleted on purpose
}

const (
	// clusterThreshold is after what silence a satellite is lost. The peers' heartbeats
	// come each 5 s, so that it leaves them about the time that 45 s leave to 15 s.
	clusterThreshold = 30 * time.Second
	// outageThreshold is that of the last part.
	outageThreshold = 20 * time.Second
	// clusterReal is how many of the satellites are our real program.
	clusterReal = 3
)

// TestCluster: a fleet survives the loss of any core. Everything is recounted from
// outside, through the API alone: what satellites hold as acknowledged is there
// exactly once, and nobody is told of an outage that was ours.
func TestCluster(t *testing.T) {
	for _, bell := range []string{"postgres", "nats"} {
		// Losing a core is the same with either bell; what bells carry is not.
		whole := *clusterWhole || bell == "postgres"
		t.Run(bell, func(t *testing.T) {
			c := newCluster(t, bell)
			if whole {
				t.Run("rolling restart", c.rollingRestart)
				t.Run("a core is killed", c.killOne)
				t.Run("a core loses its database", c.partition)
			}
			t.Run("a core loses its bell", c.deaf)
			t.Run("what one core is told reaches satellites of all", c.control)
			t.Run("runs now, through each core", c.runNow)
			t.Run("packages reach satellites of all cores", c.packages)
			t.Run("recount", c.recount)
			if whole {
				t.Run("all cores away for ten minutes", c.outage)
			}
		})
	}
}

func newCluster(t *testing.T, bell string) *cluster {
	t.Helper()
	c := &cluster{t: t, database: pgtest.URL(t), sentenced: map[string]bool{}}
	c.toDatabase = newWire(t, "unix", socketOf(t, c.database))
	var bus string
	if bell == "nats" {
		c.toBell = newWire(t, "tcp", startNATS(t))
		bus = "nats://" + c.toBell.addr
	} else {
		c.toBell = newWire(t, "unix", socketOf(t, c.database))
		bus = overWire(t, c.database, c.toBell.addr)
	}
	registry := npmtest.New(t)
	key := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))
	var backends []string
	for i := range 3 {
		database := c.database
		if i == 2 {
			database = overWire(t, c.database, c.toDatabase.addr)
		}
		one := newCore(t, database)
		one.name = fmt.Sprintf("core-%d", i)
		one.args = append(one.args, "--bus", bus, "--drain-span", "3s", "--npm-registry", registry.URL)
		one.env = append(one.env, "PERIGEE_SECRET_KEY="+key)
		c.cores = append(c.cores, one)
		backends = append(backends, strings.TrimPrefix(one.url, "http://"))
		one.start()
		one.ready()
	}
	c.balancer = newBalancer(t, backends...)
	first := c.cores[0]
	first.call(http.MethodPost, "/api/v1/apply", map[string]any{"documents": simDocuments(false)}, nil)
	var front struct {
		ID string `json:"id"`
	}
	first.call(http.MethodGet, "/api/v1/checks/front", nil, &front)
	c.front = front.ID
	address, err := link.URL("http://" + c.balancer.addr)
	if err != nil {
		t.Fatal(err)
	}
	c.peers = enrol(first, "sim", *clusterPeers, address, *clusterEvery)
	for i, p := range c.peers {
		p.original = i%10 == 9
		p.start()
		t.Cleanup(p.halt)
	}
	c.settled("to be connected at first", c.peers)
	for i := range clusterReal {
		s := newSatellite(first, fmt.Sprintf("real-%d", i), "real")
		for j, arg := range s.args {
			if arg == first.url {
				s.args[j] = "http://" + c.balancer.addr
			}
		}
		c.real = append(c.real, s)
		s.start()
	}
	for _, s := range c.real {
		s.online(first)
	}
	return c
}

func simDocuments(more bool) []any {
	document := func(kind, name string, spec map[string]any) any {
		return map[string]any{"apiVersion": "perigee/v1", "kind": kind, "metadata": map[string]any{"name": name}, "spec": spec}
	}
	check := map[string]any{
		"strategy": "healthcheck-tcp.tcp", "interval": "24h", "config": map[string]any{"host": "127.0.0.1", "port": 9},
	}
	assignment := func(check string) map[string]any {
		return map[string]any{"check": check, "system": "web", "includeLocal": false, "satellites": map[string]any{"selector": "region=sim"}}
	}
	all := []any{document("System", "web", map[string]any{}), document("Check", "front", check), document("Assignment", "front", assignment("front"))}
	if more {
		all = append(all, document("Check", "zz-more", check), document("Assignment", "zz-more", assignment("zz-more")))
	}
	return all
}

func startNATS(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server is not ready")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s.Addr().String()
}

// socketOf is the socket of a throw-away cluster.
func socketOf(t *testing.T, database string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(u.Query().Get("host"), ".s.PGSQL.*[0-9]"))
	if err != nil || len(found) != 1 {
		t.Fatalf("sockets %v, %v", found, err)
	}
	return found[0]
}

// overWire is the database's URL by way of a cable.
func overWire(t *testing.T, database, addr string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.Host, u.RawQuery = addr, "sslmode=disable"
	return u.String()
}

// settled waits until all of the peers are connected, and shows the logs when not.
func (c *cluster) settled(what string, peers []*peer) {
	c.t.Helper()
	var logs []*process
	for _, one := range c.cores {
		logs = append(logs, one.process)
	}
	wait(c.t, what, func() error {
		away := 0
		for _, p := range peers {
			if connected, _, _ := p.state(); !connected {
				away++
			}
		}
		if away > 0 {
			return fmt.Errorf("%d of %d peers are not connected", away, len(peers))
		}
		return nil
	}, logs...)
}

func (c *cluster) rollingRestart(t *testing.T) {
	for _, one := range c.cores {
		one.stop()
		one.start()
		one.ready()
		c.settled("after the restart of "+one.name, c.peers)
	}
	c.noFalseEdges(t, "a rolling restart")
}

func (c *cluster) killOne(t *testing.T) {
	c.cores[0].kill()
	c.settled("after a kill", c.peers)
	c.cores[0].start()
	c.cores[0].ready()
	c.noFalseEdges(t, "a kill")
}

// partition cuts the last core off from the database: it lets go of its satellites,
// which come back through the others in time.
func (c *cluster) partition(t *testing.T) {
	c.toDatabase.sever(true)
	cut := c.cores[2]
	wait(t, "the core to let its satellites go", func() error {
		left, err := cut.gauge("perigee_hub_sessions")
		if err == nil && left > 0 {
			return fmt.Errorf("it still holds %.0f sessions", left)
		}
		return err
	}, cut.process)
	c.settled("while a core has no database", c.peers)
	before := c.deltas()
	c.cores[0].call(http.MethodPost, "/api/v1/apply", map[string]any{"documents": simDocuments(true)}, nil)
	c.told(t, before)
	c.toDatabase.sever(false)
	cut.ready()
	c.cores[0].call(http.MethodDelete, "/api/v1/checks/zz-more", nil, nil)
	c.told(t, before+len(c.peers))
	c.noFalseEdges(t, "a core without its database")
}

// deaf cuts all cores off from each other's bells: slow polls carry.
func (c *cluster) deaf(t *testing.T) {
	c.toBell.sever(true)
	c.hearing(t, 0)
	before := c.deltas()
	c.cores[1].call(http.MethodPost, "/api/v1/apply", map[string]any{"documents": simDocuments(true)}, nil)
	c.told(t, before)
	c.hearing(t, 0) // all the while
	c.toBell.sever(false)
	c.hearing(t, 1)
	c.cores[1].call(http.MethodDelete, "/api/v1/checks/zz-more", nil, nil)
	c.told(t, before+len(c.peers))
}

// hearing waits until every core hears the others' bells, or none does.
func (c *cluster) hearing(t *testing.T, want float64) {
	t.Helper()
	for _, one := range c.cores {
		wait(t, fmt.Sprintf("the bus of %s to be %.0f", one.name, want), func() error {
			got, err := one.gauge("perigee_bus_connected")
			if err == nil && got != want {
				return fmt.Errorf("it is %.0f", got)
			}
			return err
		}, one.process)
	}
}

func (c *cluster) isOriginal(id string) bool {
	return slices.ContainsFunc(c.peers, func(p *peer) bool { return p.id == id && p.original })
}

func (c *cluster) deltas() (n int) {
	for _, p := range c.peers {
		p.mu.Lock()
		n += p.deltas
		p.mu.Unlock()
	}
	return n
}

// told waits until every peer was told one change more.
func (c *cluster) told(t *testing.T, before int) {
	t.Helper()
	wait(t, "the change to reach every satellite", func() error {
		if n := c.deltas() - before; n < len(c.peers) {
			return fmt.Errorf("%d of %d satellites were told", n, len(c.peers))
		}
		return nil
	})
}

// control asks one core for what concerns satellites of all of them.
func (c *cluster) control(t *testing.T) {
	// Who has left a core stays where it is; each goes somewhere else once more.
	for _, one := range c.cores[:2] {
		one.stop()
		one.start()
		one.ready()
		c.settled("after the restart of "+one.name, c.peers)
	}
	before := c.deltas()
	c.cores[0].call(http.MethodPost, "/api/v1/apply", map[string]any{"documents": simDocuments(true)}, nil)
	c.told(t, before)
	c.cores[0].call(http.MethodDelete, "/api/v1/checks/zz-more", nil, nil)
	c.told(t, before+len(c.peers))
	// Which core holds how many is chance: the one that was away last may hold none.
	elsewhere := 0.0
	for _, one := range c.cores[1:] {
		held, err := one.gauge("perigee_hub_sessions")
		if err != nil {
			t.Error(err)
		}
		elsewhere += held
	}
	if elsewhere == 0 {
		t.Error("the others hold no satellites: what is told to one core would prove nothing")
	}
	// Enough of them that each core holds some.
	sentenced := enrol(c.cores[0], "gone", 12, c.peers[0].url, time.Hour)
	for i, p := range sentenced {
		p.original = i%4 >= 2
		p.start()
		t.Cleanup(p.halt)
	}
	c.settled("the sentenced", sentenced)
	for _, p := range sentenced {
		c.sentenced[p.id] = true
	}
	for i, p := range sentenced {
		if i%2 == 0 {
			c.cores[0].call(http.MethodPost, "/api/v1/satellites/"+p.id+"/rotate-token", nil, nil)
		} else {
			c.cores[0].call(http.MethodDelete, "/api/v1/satellites/"+p.id, nil, nil)
		}
	}
	for i, p := range sentenced {
		want := []int{protocol.CloseRotated, protocol.CloseRemoved}[i%2]
		wait(t, "the session of "+p.name+" to end", func() error {
			p.mu.Lock()
			defer p.mu.Unlock()
			if !slices.Contains(p.closes, want) {
				return fmt.Errorf("codes so far %v, want %d", p.closes, want)
			}
			if p.original && len(p.shutdowns) == 0 {
				return fmt.Errorf("it was told no reason")
			}
			return nil
		})
	}
}

// runNow asks every core for a run on every real satellite: most of them are held by
// another core.
func (c *cluster) runNow(t *testing.T) {
	c.cores[1].call(http.MethodPost, "/api/v1/apply", map[string]any{"documents": realDocuments(c.balancer.addr)}, nil)
	for _, s := range c.real {
		s.applied(c.cores[1])
	}
	for _, one := range c.cores {
		for _, s := range c.real {
			out := one.cli("", "assignment", "run", "now", "--satellite", s.name, "--wait", "-o", "json")
			if !strings.Contains(out, `"healthy"`) {
				t.Errorf("%s on %s: %s", one.name, s.name, out)
			}
		}
	}
	c.noFalseEdges(t, "runs now")
}

// packages tells one core to install some: every satellite gets them, whoever holds it.
func (c *cluster) packages(t *testing.T) {
	first := c.cores[0]
	first.cli("", "package", "add", "@sindresorhus/slugify@1.1.2")
	first.cli("", "package", "install", "--wait")
	for _, s := range c.real {
		first.synced(s)
	}
}

func realDocuments(target string) []any {
	host, port, _ := net.SplitHostPort(target)
	number, _ := strconv.Atoi(port)
	document := func(kind, name string, spec map[string]any) any {
		return map[string]any{"apiVersion": "perigee/v1", "kind": kind, "metadata": map[string]any{"name": name}, "spec": spec}
	}
	return []any{
		document("Check", "now", map[string]any{"strategy": "healthcheck-tcp.tcp", "interval": "1h", "config": map[string]any{"host": host, "port": number}}),
		document("Assignment", "now", map[string]any{"check": "now", "system": "web", "includeLocal": false, "satellites": map[string]any{"selector": "region=real"}}),
	}
}

type clusterEvent struct {
	Seq      int64          `json:"seq"`
	Type     string         `json:"type"`
	EntityID string         `json:"entityId"`
	Payload  map[string]any `json:"payload"`
}

// events reads all of the given types after a number, and the last number.
func (c *cluster) events(t *testing.T, after int64, types ...string) (found []clusterEvent, last int64) {
	t.Helper()
	for {
		var page struct {
			Items []clusterEvent `json:"items"`
		}
		c.cores[1].call(http.MethodGet, fmt.Sprintf("/api/v1/events?limit=1000&after=%d", after), nil, &page)
		if len(page.Items) == 0 {
			return found, after
		}
		for _, e := range page.Items {
			after = e.Seq
			if slices.Contains(types, e.Type) {
				found = append(found, e)
			}
		}
	}
}

// noFalseEdges: no satellite of the fleet was ever away.
func (c *cluster) noFalseEdges(t *testing.T, after string) {
	t.Helper()
	wrong, _ := c.events(t, 0, "satellite.disconnected", "satellite.heartbeat_lost", "core.blind")
	wrong = slices.DeleteFunc(wrong, func(e clusterEvent) bool { return c.sentenced[e.EntityID] })
	for i, e := range wrong {
		if i < 5 {
			t.Errorf("after %s: %s of %s", after, e.Type, e.EntityID)
		}
	}
	if len(wrong) > 0 {
		t.Errorf("after %s there are %d false edges", after, len(wrong))
	}
}

// recount compares what the satellites hold as acknowledged with what the API gives.
func (c *cluster) recount(t *testing.T) {
	wait(t, "everything to be acknowledged", func() error {
		// They go on measuring; nobody has more than a few unsent.
		for _, p := range c.peers {
			if _, waiting, acked := p.state(); waiting > 5 || acked == 0 && !p.original {
				return fmt.Errorf("%s: %d waiting, %d acknowledged", p.name, waiting, acked)
			}
		}
		return nil
	})
	// A result is one satellite's slot, whatever the core calls it: a second copy under
	// another run id would be a double too.
	type run struct {
		SatelliteID string    `json:"satelliteId"`
		CheckID     string    `json:"checkId"`
		Slot        time.Time `json:"slot"`
	}
	// Those of original agents are counted by nobody but the core; that they come at all
	// is what can be said.
	var originals, silent int
	came := map[string]int{}
	type key struct {
		satellite string
		slot      int64
	}
	var held []key
	for _, p := range c.peers {
		p.mu.Lock()
		for slot := range p.acked {
			held = append(held, key{p.id, slot})
		}
		if len(p.refused) > 0 {
			t.Errorf("%s: %d records were refused, the first because %s", p.name, len(p.refused), p.refused[0])
		}
		p.mu.Unlock()
	}
	stored := map[key]int{}
	for _, r := range all[run](c.cores[1], "/api/v1/results") {
		if c.isOriginal(r.SatelliteID) {
			came[r.SatelliteID]++
			continue
		}
		if r.CheckID == c.front {
			stored[key{r.SatelliteID, r.Slot.UnixMilli()}]++
		}
	}
	for _, p := range c.peers {
		if p.original {
			originals++
			if came[p.id] == 0 {
				silent++
			}
		}
	}
	if silent > 0 {
		t.Errorf("nothing came of %d of %d original agents", silent, originals)
	}
	total, lost, doubled := len(held), 0, 0
	for _, k := range held {
		if stored[k] == 0 {
			lost++
		}
	}
	for _, n := range stored {
		doubled += n - 1
	}
	t.Logf("%d satellites, %d results acknowledged: %d lost, %d doubled", len(c.peers), total, lost, doubled)
	if lost != 0 || doubled != 0 {
		t.Errorf("%d acknowledged results are lost, %d doubled", lost, doubled)
	}
	// Who was wrongly taken for silent is told of a threshold later.
	pause(int((clusterThreshold + 2*time.Second).Milliseconds()))
	c.noFalseEdges(t, "everything so far")
}

// outage: all cores are away for ten minutes, and meanwhile one in twenty satellites
// dies. Afterwards exactly those are lost.
//
// Ten minutes pass by moving every time of liveness in the database back by ten
// minutes while no core runs. All of it is judged by the database's clock against
// those times, so for the cores it is the same.
func (c *cluster) outage(t *testing.T) {
	_, last := c.events(t, 0)
	for _, one := range c.cores {
		one.stop()
	}
	dead := c.peers[:len(c.peers)/20]
	for _, p := range dead {
		p.halt()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	db, err := pgx.Connect(ctx, c.database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.Background())
	for _, statement := range []string{
		fmt.Sprintf(`UPDATE satellites SET last_heartbeat_at = last_heartbeat_at - 600000000, offline_threshold_ms = CASE WHEN region = 'sim' THEN %d ELSE offline_threshold_ms END`, outageThreshold.Milliseconds()),
		`UPDATE observer SET since = since - 600000000, at = at - 600000000`,
	} {
		if _, err := db.Exec(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	for _, one := range c.cores {
		one.start()
	}
	for _, one := range c.cores {
		one.ready()
	}
	c.settled("after all cores were away", c.peers[len(dead):])
	missed := func() (lost []string) {
		found, _ := c.events(t, last, "satellite.heartbeat_lost")
		for _, e := range found {
			lost = append(lost, e.EntityID)
		}
		slices.Sort(lost)
		return lost
	}
	wait(t, "the dead to be missed", func() error {
		if n := len(missed()); n < len(dead) {
			return fmt.Errorf("%d of %d", n, len(dead))
		}
		return nil
	}, c.cores[0].process)
	// And nobody else, a threshold later either.
	pause(int((outageThreshold + 2*time.Second).Milliseconds()))
	var want []string
	for _, p := range dead {
		want = append(want, p.id)
	}
	slices.Sort(want)
	lost := missed()
	if !slices.Equal(want, lost) {
		t.Errorf("%d were lost, want the %d dead", len(lost), len(want))
	}
	if wrong, _ := c.events(t, last, "satellite.disconnected"); len(wrong) > 0 {
		t.Errorf("%d satellites were disconnected", len(wrong))
	}
	blind, _ := c.events(t, last, "core.blind")
	if len(blind) != 1 {
		t.Fatalf("%d core.blind events, want one", len(blind))
	}
	if seconds, _ := blind[0].Payload["seconds"].(float64); seconds < 600 || seconds > 700 {
		t.Errorf("the cores were blind for %.0f s", seconds)
	}
	t.Logf("%d dead, %d lost, blind for %v s", len(dead), len(lost), blind[0].Payload["seconds"])
}
