package e2e

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/pgtest"
)

var (
	kills = flag.Int("kills", 200, "how often TestCrash kills a core or a satellite, in all")
	seed  = flag.Uint64("seed", 0, "seed of the kills; 0 takes one from the clock")
)

// TestCrash kills core and satellites at random instants while results flow, and
// then recounts through the API alone: every slot that was due at every satellite
// is there exactly once, as a result or as not executed. Acknowledged results
// that were lost would be holes; results delivered again, slots counted twice. What is
// changed all the while has its line in the audit log, and each line its change.
func TestCrash(t *testing.T) {
	for _, engine := range []struct {
		name     string
		database func(t *testing.T) string
	}{
		{"SQLite", func(*testing.T) string { return "" }},
		{"PostgreSQL", func(t *testing.T) string { return pgtest.URL(t) }},
	} {
		t.Run(engine.name, func(t *testing.T) {
			t.Parallel()
			crash(t, engine.database(t), (*kills+1)/2)
		})
	}
}

const (
	crashSatellites = 4
	crashChecks     = 10
	crashInterval   = time.Second
)

func crash(t *testing.T, database string, kills int) {
	chosen := cmp.Or(*seed, uint64(time.Now().UnixNano()))
	t.Logf("seed %d", chosen)
	random := rand.New(rand.NewPCG(chosen, chosen))

	target := newTarget(t)
	c := newCore(t, database)
	c.start()
	c.ready()
	var satellites []*satellite
	for i := range crashSatellites {
		s := newSatellite(c, fmt.Sprintf("sat-%d", i), "eu")
		s.start()
		satellites = append(satellites, s)
	}
	c.call(http.MethodPost, "/api/v1/apply", map[string]any{"documents": crashDocuments(target.server.URL)}, nil)
	for _, s := range satellites {
		s.applied(c)
	}
	// From here on every slot must be accounted for, whatever happens.
	from := time.Now()

	changes := newChanges(c)
	for k := range kills {
		pause(random.IntN(400))
		victim, name := c.process, "core"
		if n := random.IntN(2 * crashSatellites); n < crashSatellites {
			victim, name = satellites[n].process, satellites[n].name
		}
		t.Logf("kill %d: %s", k+1, name)
		victim.kill()
		pause(random.IntN(300))
		victim.start()
	}
	c.ready()
	changes.end()
	for _, s := range satellites {
		s.online(c)
	}
	until := time.Now()
	// Everything that was due up to here has to arrive: wait for the newest slots,
	// then end the satellites, which flush what they hold.
	for _, s := range satellites {
		s.reported(c, until, crashChecks)
		s.stop()
	}
	recount(t, c, satellites, target, from, until)
	changes.recount()
	c.stop()
}

// changes are what a person changes all the while: the description of a system and that
// of a channel, each to the next number, one after the other. They ask again whatever the
// answer is, so that a core may die anywhere in it.
type changes struct {
	core   *core
	things []thing
	end    func()
}

type thing struct {
	object, path string
	body         map[string]any
}

func newChanges(c *core) *changes {
	ch := &changes{core: c, things: []thing{
		{"systems/changed", "/api/v1/systems", map[string]any{"name": "changed", "description": "0"}},
		{"channels/changed", "/api/v1/channels", map[string]any{"name": "changed", "description": "0", "type": "webhook", "config": map[string]any{"url": "http://127.0.0.1:1/"}}},
	}}
	for _, th := range ch.things {
		c.call(http.MethodPost, th.path, th.body, nil)
	}
	stop := make(chan struct{})
	var working sync.WaitGroup
	ch.end = sync.OnceFunc(func() { close(stop); working.Wait() })
	c.t.Cleanup(ch.end)
	working.Go(func() {
		for n := 1; ; n++ {
			rest := 10 * time.Millisecond
			for _, th := range ch.things {
				th.body["description"] = strconv.Itoa(n)
				if c.try(http.MethodPut, th.path+"/changed", th.body, nil) != nil { // whether it was done is found out in the end
					rest = 50 * time.Millisecond
				}
			}
			select {
			case <-stop:
				return
			case <-time.After(rest):
			}
		}
	})
	return ch
}

// recount follows the lines of the audit log from what each thing began as to what it is:
// a change without a line is a gap in that, and so is a line without its change.
func (ch *changes) recount() {
	ch.core.t.Helper()
	for _, th := range ch.things {
		entries := all[struct {
			Outcome string
			Changes []struct{ Path, From, To any }
		}](ch.core, "/api/v1/audit?object="+url.QueryEscape(th.object))
		slices.Reverse(entries) // they come newest first
		var is any
		lines := 0
		for _, e := range entries {
			for _, f := range e.Changes {
				if f.Path != "description" {
					continue
				}
				if lines++; f.From != is {
					ch.core.t.Errorf("%s: a line of the audit log says %v → %v, and the one before says %v", th.object, f.From, f.To, is)
				}
				is = f.To
			}
		}
		var now struct{ Description string }
		ch.core.call(http.MethodGet, th.path+"/changed", nil, &now)
		if now.Description != is {
			ch.core.t.Errorf("%s: it is %q, and the last line of the audit log says %v", th.object, now.Description, is)
		}
		ch.core.t.Logf("%s: %s asked for, %d changes, each with its line", th.object, th.body["description"], lines)
	}
}

func pause(ms int) { <-time.After(time.Duration(ms) * time.Millisecond) }

func crashDocuments(url string) []any {
	documents := []any{map[string]any{"apiVersion": "perigee/v1", "kind": "System", "metadata": map[string]any{"name": "shop"}, "spec": map[string]any{}}}
	for i := range crashChecks {
		name := fmt.Sprintf("check-%d", i)
		documents = append(documents,
			map[string]any{"apiVersion": "perigee/v1", "kind": "Check", "metadata": map[string]any{"name": name}, "spec": map[string]any{
				"strategy": "healthcheck-http.http", "config": map[string]any{"timeout": 10_000}, "interval": crashInterval.String(),
				"collectors": []any{map[string]any{
					"id": "page", "collector": "healthcheck-http.request",
					"config":     map[string]any{"url": url + "/" + name},
					"assertions": []any{map[string]any{"field": "statusCode", "operator": "equals", "value": 200}},
				}},
			}},
			map[string]any{"apiVersion": "perigee/v1", "kind": "Assignment", "metadata": map[string]any{"name": name + "-shop"}, "spec": map[string]any{
				"check": name, "system": "shop", "includeLocal": false, "satellites": map[string]any{"selector": "region in (eu, us)"},
			}})
	}
	return documents
}

// target counts what really reached it, which is the other side's word on how
// many runs there were.
type target struct {
	server *httptest.Server
	mu     sync.Mutex
	hits   map[string]int
	// sick are the paths that fail; nil for none. It is set before anybody asks.
	sick func(path string) bool
}

func newTarget(t *testing.T) *target {
	tg := &target{hits: map[string]int{}}
	tg.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tg.mu.Lock()
		defer tg.mu.Unlock()
		tg.hits[r.URL.Path]++
		if tg.sick != nil && tg.sick(r.URL.Path) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(tg.server.Close)
	return tg
}

type satelliteView struct {
	ID              string `json:"id"`
	Status          string `json:"status"`
	DesiredRevision int64  `json:"desiredRevision"`
	AppliedRevision *int64 `json:"appliedRevision"`
}

func (s *satellite) view(c *core) (v satelliteView, err error) {
	err = c.try(http.MethodGet, "/api/v1/satellites/"+s.id, nil, &v)
	return v, err
}

func (s *satellite) applied(c *core) {
	c.t.Helper()
	wait(c.t, s.name+" to apply its assignments", func() error {
		v, err := s.view(c)
		if err == nil && (v.AppliedRevision == nil || *v.AppliedRevision != v.DesiredRevision || v.DesiredRevision == 0) {
			err = fmt.Errorf("it has %+v", v)
		}
		return err
	}, c.process, s.process)
}

func (s *satellite) online(c *core) {
	c.t.Helper()
	wait(c.t, s.name+" to be online", func() error {
		v, err := s.view(c)
		if err == nil && v.Status != "online" {
			err = fmt.Errorf("it is %s", v.Status)
		}
		return err
	}, c.process, s.process)
}

// reported waits until the satellite has accounted for slots after the instant
// for so many checks.
func (s *satellite) reported(c *core, after time.Time, checks int) {
	c.t.Helper()
	wait(c.t, s.name+" to catch up", func() error {
		seen := map[string]bool{}
		var page struct {
			Items []run `json:"items"`
		}
		if err := c.try(http.MethodGet, "/api/v1/results?limit=1000&satellite="+s.id, nil, &page); err != nil {
			return err
		}
		for _, r := range page.Items {
			if r.Slot.After(after) {
				seen[r.CheckID] = true
			}
		}
		if len(seen) < checks {
			return fmt.Errorf("%d of %d checks have", len(seen), checks)
		}
		return nil
	}, c.process, s.process)
}

type run struct {
	RunID       string    `json:"runId"`
	SatelliteID string    `json:"satelliteId"`
	CheckID     string    `json:"checkId"`
	Status      string    `json:"status"`
	Slot        time.Time `json:"slot"`
}

type skip struct {
	SatelliteID string    `json:"satelliteId"`
	CheckID     string    `json:"checkId"`
	From        time.Time `json:"from"`
	To          time.Time `json:"to"`
	Count       int64     `json:"count"`
	Reason      string    `json:"reason"`
}

// recount adds up from outside. The slots of one check at one satellite are one
// arithmetic series; which one is read off the results, not computed by our code.
func recount(t *testing.T, c *core, satellites []*satellite, target *target, from, until time.Time) {
	t.Helper()
	runs, skips := all[run](c, "/api/v1/results"), all[skip](c, "/api/v1/skips")
	type key struct{ satellite, check string }
	times := map[key][]int64{} // slot in ms, once for every mention
	notExecuted := 0
	for _, r := range runs {
		k := key{r.SatelliteID, r.CheckID}
		times[k] = append(times[k], r.Slot.UnixMilli())
		if r.Status != "healthy" {
			t.Errorf("a run of a healthy target is %s: a failure of ours was reported as one of theirs: %+v", r.Status, r)
		}
	}
	for _, s := range skips {
		k := key{s.SatelliteID, s.CheckID}
		step := crashInterval.Milliseconds()
		if n := (s.To.UnixMilli()-s.From.UnixMilli())/step + 1; n != s.Count {
			t.Errorf("a skip from %s to %s counts %d slots, want %d", s.From, s.To, s.Count, n)
		}
		for at := s.From.UnixMilli(); at <= s.To.UnixMilli(); at += step {
			times[k] = append(times[k], at)
			notExecuted++
		}
	}
	if want := crashSatellites * crashChecks; len(times) != want {
		t.Errorf("%d series of slots, want %d", len(times), want)
	}
	lost, doubled, slots := 0, 0, 0
	for k, at := range times {
		slices.Sort(at)
		mentions := map[int64]int{}
		for _, ms := range at {
			mentions[ms]++
			if (ms-at[0])%crashInterval.Milliseconds() != 0 {
				t.Errorf("%v: slot %d is not in the series of %d", k, ms, at[0])
			}
		}
		for ms := at[0]; ms <= until.UnixMilli(); ms += crashInterval.Milliseconds() {
			if ms < from.UnixMilli() {
				continue
			}
			slots++
			switch n := mentions[ms]; {
			case n == 0:
				lost++
				t.Errorf("%v: slot %s is accounted for nowhere", k, time.UnixMilli(ms).UTC())
			case n > 1:
				doubled++
				t.Errorf("%v: slot %s is accounted for %d times", k, time.UnixMilli(ms).UTC(), n)
			}
		}
		if first := at[0]; first > from.Add(2*crashInterval).UnixMilli() {
			t.Errorf("%v: the first slot %s is long after %s", k, time.UnixMilli(first).UTC(), from.UTC())
		}
	}
	target.mu.Lock()
	defer target.mu.Unlock()
	hits := 0
	for _, n := range target.hits {
		hits += n
	}
	if len(runs) > hits {
		t.Errorf("%d results of %d requests that reached the target: some were made up", len(runs), hits)
	}
	t.Logf("%d satellites, %d slots due: %d lost, %d doubled; %d results of %d requests, %d slots not executed",
		len(satellites), slots, lost, doubled, len(runs), hits, notExecuted)
}
