package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/pgtest"
)

var (
	automationKills = flag.Int("automation-kills", 14, "how often TestAutomationCrash kills a core, in all")
	dwellSpan       = flag.Duration("dwell", 20*time.Second, "how long the triggers of TestAutomationDwell wait")
)

// The boundaries of a run's journal as they are seen from outside, and a moment that is none.
const (
	momentTaken       = "an event is durable"
	momentFirstAsked  = "the step that may not be repeated is begun, and what it does is not answered"
	momentFirstTold   = "what it does is answered"
	momentWaiting     = "a run waits"
	momentSecondAsked = "the step that may be repeated is begun, and what it does is not answered"
	momentSecondTold  = "what that does is answered"
	momentAny         = "anything"
)

// told is the world to which automations do something. It counts by path, call and
// idempotency key, and lets a test strike at a moment.
type told struct {
	*httptest.Server
	mu     sync.Mutex
	keys   map[string]map[string]int // guarded by mu; times by key, by path and call
	at     string                    // guarded by mu; the moment that is waited for
	struck chan struct{}             // guarded by mu; closed when it is reached
	mended chan struct{}             // guarded by mu; closed when the core has been killed
	// heard is told of each call.
	heard func(path string)
}

func listenTold(t *testing.T) *told {
	w := &told{keys: map[string]map[string]int{}, heard: func(string) {}}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	return w
}

func (w *told) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	var body struct{ N json.Number }
	if json.NewDecoder(r.Body).Decode(&body) != nil {
		out.WriteHeader(http.StatusBadRequest)
		return
	}
	w.mu.Lock()
	place := r.URL.Path + "/" + body.N.String()
	if w.keys[place] == nil {
		w.keys[place] = map[string]int{}
	}
	w.keys[place][r.Header.Get("Idempotency-Key")]++
	w.mu.Unlock()
	w.heard(r.URL.Path)
	asked, answered := momentFirstAsked, momentFirstTold
	if r.URL.Path == "/second" {
		asked, answered = momentSecondAsked, momentSecondTold
	}
	if mended := w.reach(asked); mended != nil {
		<-mended // whoever asked is dead by then
		return
	}
	out.WriteHeader(http.StatusNoContent)
	_ = http.NewResponseController(out).Flush()
	w.reach(answered)
}

// arm waits for a moment.
func (w *told) arm(moment string) (struck <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at, w.struck, w.mended = moment, make(chan struct{}), make(chan struct{})
	return w.struck
}

// reach says that a moment is there. When it is the one that is waited for, it gives what
// is closed when the core has been killed.
func (w *told) reach(moment string) (mended <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.at != moment {
		return nil
	}
	w.at = ""
	close(w.struck)
	return w.mended
}

func (w *told) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = ""
	close(w.mended)
}

// times are how often a call was heard at a path, and under how many keys.
func (w *told) times(path string, n int) (times, keys int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	of := w.keys[path+"/"+strconv.Itoa(n)]
	for n := range maps.Values(of) {
		times += n
	}
	return times, len(of)
}

const hookKey = "e2e-hook-key-0123456789"

// automate makes an automation of the calls of the hook "calls".
func (c *core) automate(definition map[string]any) {
	c.t.Helper()
	c.call(http.MethodPut, "/api/v1/secrets/calls", map[string]any{"value": hookKey}, nil)
	definition["triggers"] = []any{map[string]any{"event": "automation.webhook", "config": map[string]any{"hook": "calls", "secret": "calls"}}}
	c.call(http.MethodPost, "/api/v1/automations", map[string]any{"name": "calls", "definition": definition}, nil)
}

// hook makes one call of the hook.
func (c *core) hook(n int) error {
	body, stamp := fmt.Sprintf(`{"n":%d}`, n), strconv.FormatInt(time.Now().Unix(), 10)
	req, err := http.NewRequest(http.MethodPost, c.url+"/hooks/calls", bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	req.Header.Set("X-Perigee-Timestamp", stamp)
	req.Header.Set("X-Perigee-Signature", automation.Sign(hookKey, stamp, []byte(body)))
	req.Header.Set("Idempotency-Key", strconv.Itoa(n))
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusAccepted {
		err = fmt.Errorf("the hook answers %d %s", resp.StatusCode, answer)
	}
	return err
}

type automationRun struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Reason string `json:"reason"`
	Event  struct {
		Seq      int64           `json:"seq"`
		EntityID string          `json:"entityId"`
		At       time.Time       `json:"at"`
		Payload  json.RawMessage `json:"payload"`
	} `json:"event"`
	CreatedAt time.Time  `json:"createdAt"`
	EndedAt   *time.Time `json:"endedAt"`
}

// called is the number of the call that a run is of.
func (r automationRun) called() int {
	var payload struct{ N int }
	_ = json.Unmarshal(r.Event.Payload, &payload) // none of ours is 0
	return payload.N
}

// over waits until there are so many runs, and none goes on any more. It asks for all at once:
// one that is asked for by its status may go from one to another between two questions.
func (c *core) over(want int) {
	c.t.Helper()
	wait(c.t, "all runs to end", func() error {
		runs := all[automationRun](c, "/api/v1/automation-runs")
		for _, r := range runs {
			if r.EndedAt == nil {
				return fmt.Errorf("run %s is %s", r.ID, r.Status)
			}
		}
		if len(runs) < want {
			return fmt.Errorf("there are %d runs, and should be %d", len(runs), want)
		}
		return nil
	}, c.process)
}

// TestAutomationCrash kills a core at each boundary of the journal of runs while calls of a
// hook come in, again and again, and recounts from outside: each call that was taken is
// one run; what may not be repeated happened once, or at most once where the run is
// reported in doubt; what may be repeated happened, under one key.
func TestAutomationCrash(t *testing.T) {
	t.Parallel()
	onBothAtOnce(t, func(t *testing.T, database string) { automationCrash(t, database, (*automationKills+1)/2) })
}

// onBothAtOnce runs a test that mostly waits on both engines, beside each other.
func onBothAtOnce(t *testing.T, test func(t *testing.T, database string)) {
	t.Helper()
	var running sync.WaitGroup
	running.Go(func() { t.Run("SQLite", func(t *testing.T) { test(t, "") }) })
	running.Go(func() { t.Run("PostgreSQL", func(t *testing.T) { test(t, pgtest.URL(t)) }) })
	running.Wait()
}

func automationCrash(t *testing.T, database string, kills int) {
	chosen := cmp.Or(*seed, uint64(time.Now().UnixNano()))
	t.Logf("seed %d", chosen)
	random := rand.New(rand.NewPCG(chosen, chosen))
	w := listenTold(t)
	c := newCore(t, database)
	c.start()
	c.ready()
	step := func(path string, more map[string]any) any {
		s := map[string]any{"action": "webhook.send", "config": map[string]any{"url": w.URL + path, "body": `{"n":${{ trigger.payload.n }}}`}}
		maps.Copy(s, more)
		return s
	}
	c.automate(map[string]any{
		"mode": "queued", "max_runs": 20,
		"actions": []any{
			step("/first", nil),
			map[string]any{"delay": map[string]any{"seconds": 0.05}},
			step("/second", map[string]any{"in_doubt": "retry"}),
		},
	})

	var sent atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 1; ; n++ {
			for c.hook(n) != nil { // the core is away, or was before it could answer
				pause(20)
			}
			sent.Store(int64(n))
			w.reach(momentTaken)
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	moments := []string{momentFirstAsked, momentTaken, momentFirstTold, momentAny, momentSecondAsked, momentWaiting, momentSecondTold}
	reached := map[string]int{}
	for k := range kills {
		pause(random.IntN(150)) // others come and go
		moment := moments[k%len(moments)]
		struck := w.arm(moment)
		switch moment {
		case momentAny:
			pause(random.IntN(300))
			w.reach(momentAny)
		case momentWaiting:
			wait(t, "a run to wait", func() error {
				var page struct{ Items []automationRun }
				if err := c.try(http.MethodGet, "/api/v1/automation-runs?limit=1&status=waiting", nil, &page); err != nil || len(page.Items) == 0 {
					return fmt.Errorf("none waits; %w", err)
				}
				return nil
			}, c.process)
			w.reach(momentWaiting)
		}
		select {
		case <-struck:
			reached[moment]++
		case <-time.After(20 * time.Second): // all that could reach it is with a core that died
		}
		if moment != momentFirstAsked && moment != momentSecondAsked {
			pause(random.IntN(8)) // the journal may be written or not
		}
		c.kill()
		w.mend()
		c.start()
		c.ready()
	}
	close(stop)
	<-stopped
	c.over(int(sent.Load()))
	recountAutomations(t, c, w, int(sent.Load()))
	t.Logf("%d kills; reached: %v", kills, reached)
	c.stop()
}

func recountAutomations(t *testing.T, c *core, w *told, sent int) {
	t.Helper()
	byCall := map[int][]automationRun{}
	for _, r := range all[automationRun](c, "/api/v1/automation-runs") {
		byCall[r.called()] = append(byCall[r.called()], r)
	}
	doubtful := 0
	for n := 1; n <= sent; n++ {
		first, firstKeys := w.times("/first", n)
		second, secondKeys := w.times("/second", n)
		if len(byCall[n]) != 1 {
			t.Errorf("call %d is %d runs: %+v", n, len(byCall[n]), byCall[n])
			continue
		}
		if firstKeys > 1 || secondKeys > 1 {
			t.Errorf("call %d has %d and %d keys", n, firstKeys, secondKeys)
		}
		switch r := byCall[n][0]; {
		case r.Status == "success" && (first != 1 || second < 1):
			t.Errorf("call %d succeeded, and was told %d and %d times", n, first, second)
		case r.Status == "success":
		case r.Status == "in_doubt" && first <= 1 && second == 0:
			doubtful++
		default:
			t.Errorf("call %d is %s (%s), and was told %d and %d times", n, r.Status, r.Reason, first, second)
		}
	}
	if calls := slices.Sorted(maps.Keys(byCall)); len(calls) != sent {
		t.Errorf("%d calls were made, and there are runs of %d", sent, len(calls))
	}
	t.Logf("%d calls, each one run: %d succeeded, %d are in doubt", sent, sent-doubtful, doubtful)
}

// TestAutomationDwell kills a core twenty times while a trigger waits whether things stay as
// they are. It fires once for what stayed, not before its time nor long after it, and not
// for what became another; the times are those that were recorded.
func TestAutomationDwell(t *testing.T) {
	t.Parallel()
	onBothAtOnce(t, automationDwell)
}

func automationDwell(t *testing.T, database string) {
	const kills = 20
	w := listenTold(t)
	c := newCore(t, database)
	c.start()
	c.ready()
	c.call(http.MethodPost, "/api/v1/automations", map[string]any{"name": "cordoned", "definition": map[string]any{
		"mode":     "parallel",
		"triggers": []any{map[string]any{"event": "satellite.cordoned", "for": map[string]any{"seconds": dwellSpan.Seconds()}}},
		"actions": []any{map[string]any{
			"action": "webhook.send", "config": map[string]any{"url": w.URL + "/first", "body": `{"n":${{ trigger.payload.name.substring(1) }}}`},
		}},
	}}, nil)
	names := map[string]string{} // by id
	for _, name := range []string{"s1", "s2", "s3"} {
		names[newSatellite(c, name, "eu").id] = name
	}
	cordon := func(name, verb string) { c.call(http.MethodPost, "/api/v1/satellites/"+name+"/"+verb, nil, nil) }
	for _, name := range []string{"s1", "s2", "s3"} {
		cordon(name, "cordon")
	}
	for k := range kills {
		pause(int((*dwellSpan * 9 / 10 / kills).Milliseconds()))
		switch k { // in between two kills
		case kills / 4:
			cordon("s2", "uncordon") // and so it stays
			cordon("s3", "uncordon")
		case kills / 2:
			cordon("s3", "cordon") // its time begins anew
		}
		c.kill()
		c.start()
		c.ready()
	}
	alive := time.Now()
	waitFor(t, *dwellSpan+patience, "both to fire", func() error {
		if runs := all[automationRun](c, "/api/v1/automation-runs"); len(runs) < 2 {
			return fmt.Errorf("there are %d runs, and should be 2", len(runs))
		}
		return nil
	}, c.process)
	c.over(2)
	type event struct {
		Seq      int64
		Type     string
		EntityID string
		At       time.Time
	}
	last := map[string]event{} // by name
	var page struct{ Items []event }
	c.call(http.MethodGet, "/api/v1/events?limit=1000", nil, &page)
	for _, e := range page.Items {
		if e.Type == "satellite.cordoned" || e.Type == "satellite.uncordoned" {
			last[names[e.EntityID]] = e
		}
	}
	fired, doubtful := map[string]int{}, map[string]int{}
	for _, r := range all[automationRun](c, "/api/v1/automation-runs") {
		name := names[r.Event.EntityID]
		fired[name]++
		due := last[name].At.Add(*dwellSpan)
		late := r.CreatedAt.Sub(due)
		t.Logf("%s fired %s after it was due, in a run that is %s", name, late, r.Status)
		if r.Event.Seq != last[name].Seq {
			t.Errorf("%s fired for event %d, want %d", name, r.Event.Seq, last[name].Seq)
		}
		switch r.Status {
		case "success":
		case "in_doubt": // where a core is slow to start, the kills go on when it fires, and may strike then
			doubtful[name]++
		default:
			t.Errorf("%s fired in a run that is %s: %s", name, r.Status, r.Reason)
		}
		// Nobody decides while no core is there.
		if allowed := max(alive.Sub(due), 0) + time.Minute; late < 0 || late > allowed {
			t.Errorf("%s fired %s after it was due, at %s, want 0 to %s", name, late, due, allowed)
		}
	}
	for n, want := range map[int]int{1: 1, 2: 0, 3: 1} {
		name := fmt.Sprint("s", n)
		if fired[name] != want {
			t.Errorf("%s fired %d times, want %d", name, fired[name], want)
		}
		if times, _ := w.times("/first", n); times < want-doubtful[name] || times > want {
			t.Errorf("%s was told %d times, want %d; %d of its runs are in doubt", name, times, want, doubtful[name])
		}
	}
	c.stop()
}
