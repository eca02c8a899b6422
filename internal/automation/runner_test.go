package automation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/store"
)

// bell rings for one runner.
type bell chan struct{}

func (b bell) Ring(topic string) {
	if topic != entity.TopicEvents {
		return
	}
	select {
	case b <- struct{}{}:
	default:
	}
}

// outside is the world to which automations do something.
type outside struct {
	mu   sync.Mutex
	done map[string]int // times by key
	// hang, when there is one, is called before anything is done.
	hang    func(ctx context.Context, text string)
	refused atomic.Int64 // how often "refuse" was asked
}

func (o *outside) actions() *automation.Registry {
	type config struct {
		Text string `json:"text"`
	}
	tell := func(ctx context.Context, r automation.Request, c config) (any, error) {
		o.mu.Lock()
		hang := o.hang
		o.mu.Unlock()
		if hang != nil {
			hang(ctx, c.Text)
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.done[r.Key()+" "+c.Text]++
		return map[string]string{"said": c.Text}, nil
	}
	again := automation.NewAction("repeatable", "May be repeated.", tell)
	again.Repeatable = true
	refuse := automation.NewAction("refuse", "Never works.", func(_ context.Context, _ automation.Request, c config) (any, error) {
		o.refused.Add(1)
		return nil, fault.New(fault.NotFound, "there is no channel %s", c.Text)
	})
	return automation.NewRegistry(again, refuse, automation.NewAction("once", "May not.", tell))
}

var errDead = errors.New("this core is dead")

// mortal is a database as a core sees it that dies after so many transactions: what it
// does afterwards never happens.
type mortal struct {
	*store.DB
	left atomic.Int64
	dead chan struct{}
	once sync.Once
}

func (m *mortal) InTx(ctx context.Context, fn func(entity.Tx) error) error {
	if m.left.Add(-1) < 0 {
		m.once.Do(func() { close(m.dead) })
		return errDead
	}
	return m.DB.InTx(ctx, fn)
}

func (m *mortal) ClaimAutomationRuns(ctx context.Context, owner string, lease time.Duration, n int) ([]automation.Run, error) {
	if m.left.Load() < 0 {
		return nil, errDead
	}
	return m.DB.ClaimAutomationRuns(ctx, owner, lease, n)
}

func (m *mortal) RenewAutomationRuns(ctx context.Context, owner string, lease time.Duration, ids []string) ([]string, error) {
	if m.left.Load() <= 0 {
		return nil, errDead
	}
	return m.DB.RenewAutomationRuns(ctx, owner, lease, ids)
}

// core is a runner at work.
type core struct {
	store   *mortal
	service *automation.Service
	runner  *automation.Runner
	rings   bell
	end     func()
}

// begin starts a core that is alone.
func begin(t testing.TB, db *store.DB, o *outside, lives int64) *core {
	t.Helper()
	if err := db.FreeAutomationRuns(t.Context()); err != nil {
		t.Fatal(err)
	}
	return beside(t, db, o, lives)
}

// beside starts a core on a database that others have open.
func beside(t testing.TB, db *store.DB, o *outside, lives int64) *core {
	t.Helper()
	m := &mortal{DB: db, dead: make(chan struct{})}
	m.left.Store(lives)
	rings := make(bell, 1)
	recorder := entity.NewRecorder(m, rings)
	c := &core{store: m, rings: rings, service: automation.NewService(db, entity.NewRecorder(db, rings), o.actions())}
	c.runner = automation.NewRunner(m, recorder, o.actions(), slog.New(slog.DiscardHandler), rings)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.runner.Run(ctx) }()
	c.end = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(c.end)
	return c
}

func open(t testing.TB, url string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func create(t testing.TB, c *core, name, definition string) automation.Automation {
	t.Helper()
	a, err := c.service.Create(t.Context(), entity.System, automation.Input{Name: name, Definition: json.RawMessage(definition)})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// happen appends an event about a satellite, and gives its number.
func happen(t testing.TB, db *store.DB, typ, id, status string) int64 {
	t.Helper()
	return happenAll(t, db, typ, status, id)
}

// happenAll appends an event about each satellite, and gives the first one's number.
func happenAll(t testing.TB, db *store.DB, typ, status string, ids ...string) int64 {
	t.Helper()
	var events []entity.Event
	err := db.InTx(t.Context(), func(tx entity.Tx) error {
		now, err := tx.Now(t.Context())
		if err != nil {
			return err
		}
		events = nil
		for _, id := range ids {
			events = append(events, entity.Event{
				Type: typ, Kind: "satellite-connection", EntityID: id, ChangeID: uuid.NewString(), Changed: []string{"status"},
				Prev: json.RawMessage(`null`), Next: json.RawMessage(`{"status":"` + status + `"}`), Payload: json.RawMessage(`{"name":"` + id + `"}`), Actor: entity.System, At: now,
			})
		}
		return tx.AppendEvents(t.Context(), events)
	})
	if err != nil {
		t.Fatal(err)
	}
	return events[0].Seq
}

// ended waits until an automation has one run that has ended.
func ended(t *testing.T, db *store.DB, c *core, a automation.Automation) automation.Run {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		runs, _, err := db.AutomationRuns(t.Context(), automation.RunFilter{Automation: a.ID}, fleet.Page{})
		if err != nil {
			t.Fatal(err)
		}
		if len(runs) > 1 {
			t.Fatalf("there are %d runs: %+v", len(runs), runs)
		}
		if len(runs) == 1 && runs[0].Status.Ended() {
			return runs[0]
		}
		select {
		case <-ticker.C:
		case <-c.store.dead:
			return automation.Run{}
		case <-t.Context().Done():
			t.Fatal("the run did not end")
		}
	}
}

// A core dies after any of its transactions, another goes on: what may be repeated is
// done at least once under one key, what may not is done at most once, and where nobody
// can say, the run says so.
func TestCrashAtEveryJournalBoundary(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		db := open(t, url)
		for lives := int64(0); ; lives++ {
			o := &outside{done: map[string]int{}}
			first := begin(t, db, o, lives)
			a := create(t, first, fmt.Sprintf("of %d lives", lives), `{
				"triggers": [{"event": "satellite.disconnected"}],
				"actions": [
					{"action": "repeatable", "config": {"text": "first ${{ trigger.payload.name }}"}},
					{"delay": {"seconds": 0.01}},
					{"parallel": [{"action": "once", "config": {"text": "second"}}, {"action": "repeatable", "config": {"text": "third"}}]}
				]}`)
			happen(t, db, "satellite.disconnected", "s", "offline")
			run := ended(t, db, first, a)
			first.end()
			survived := run.Status == automation.RunSuccess
			if !survived {
				second := begin(t, db, o, 1_000_000)
				run = ended(t, db, second, a)
				second.end()
			}
			if run.Status != automation.RunSuccess && run.Status != automation.RunInDoubt {
				t.Fatalf("after %d lives the run ended as %s: %s", lives, run.Status, run.Reason)
			}
			for key, times := range o.done {
				if once := run.ID + "/actions[2].parallel[0] second"; key == once && times != 1 {
					t.Errorf("after %d lives %s happened %d times", lives, key, times)
				}
			}
			if len(o.done) < 3 && run.Status != automation.RunInDoubt {
				t.Errorf("after %d lives only %v happened", lives, o.done)
			}
			// Otherwise the events of the next round begin this one's automation as well.
			if err := first.service.Delete(t.Context(), entity.System, a.ID); err != nil {
				t.Fatal(err)
			}
			if survived {
				return
			}
			if lives > 100 {
				t.Fatal("the run needs more than 100 transactions")
			}
		}
	})
}

// A wait hears the events that come while it waits (M57), and of the state of entities.
func TestM57_WaitsAreWokenByEvents(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		db := open(t, url)
		o := &outside{done: map[string]int{}}
		c := begin(t, db, o, 1_000_000)
		a := create(t, c, "waits", `{
			"triggers": [{"event": "satellite.disconnected"}],
			"actions": [
				{"wait_for_trigger": {"event": "satellite.connected", "timeout_seconds": 600, "continue_on_timeout": false}},
				{"wait_until": {"condition": "state['satellite-connection']['t'].status == 'online'", "timeout_seconds": 600, "continue_on_timeout": false}},
				{"action": "once", "config": {"text": "back"}}
			]}`)
		happen(t, db, "satellite.disconnected", "s", "offline")
		waiting(t, db, a)
		happen(t, db, "satellite.connected", "s", "online")
		happen(t, db, "satellite.connected", "t", "online")
		run := ended(t, db, c, a)
		if diff := cmp.Diff([]any{automation.RunSuccess, map[string]int{run.ID + "/actions[2] back": 1}}, []any{run.Status, o.done}); diff != "" {
			t.Errorf("-want +got:\n%s\n%s", diff, run.Reason)
		}
	})
}

// waiting waits until an automation's run does.
func waiting(t *testing.T, db *store.DB, a automation.Automation) automation.Run {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		runs, _, err := db.AutomationRuns(t.Context(), automation.RunFilter{Automation: a.ID, Status: automation.RunWaiting}, fleet.Page{})
		if err != nil {
			t.Fatal(err)
		}
		if len(runs) == 1 {
			return runs[0]
		}
		select {
		case <-ticker.C:
		case <-t.Context().Done():
			t.Fatal("the run does not wait")
		}
	}
}

// A dwell with twenty restarts inside of it fires once, and not before its time.
func TestM56_DwellOutlivesRestarts(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		db := open(t, url)
		o := &outside{done: map[string]int{}}
		c := begin(t, db, o, 1_000_000)
		a := create(t, c, "dwells", `{
			"triggers": [{"event": "satellite.disconnected", "for": {"seconds": 2}}],
			"actions": [{"action": "once", "config": {"text": "gone"}}]}`)
		happen(t, db, "satellite.disconnected", "s", "offline")
		happen(t, db, "satellite.disconnected", "back", "offline")
		happen(t, db, "satellite.connected", "back", "online")
		for range 20 {
			c.end()
			c = begin(t, db, o, 1_000_000)
		}
		run := ended(t, db, c, a)
		if early := run.Event.At.Add(2 * time.Second).Sub(run.CreatedAt); early > 0 {
			t.Errorf("it fired %s before its time", early)
		}
		if diff := cmp.Diff(map[string]int{run.ID + "/actions[0] gone": 1}, o.done); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// An entity that became another in between ends the dwell, though no trigger names the
// event that said so: it is not the same spell when it goes away once more.
func TestM56_AnyEventOfTheEntityEndsADwell(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		db := open(t, url)
		o := &outside{done: map[string]int{}}
		c := begin(t, db, o, 1_000_000)
		a := create(t, c, "dwells", `{
			"triggers": [{"event": "satellite.disconnected", "for": {"seconds": 2}}],
			"actions": [{"action": "once", "config": {"text": "gone"}}]}`)
		happen(t, db, "satellite.disconnected", "s", "offline")
		happen(t, db, "satellite.connected", "s", "online")
		again := happen(t, db, "satellite.disconnected", "s", "offline")
		if run := ended(t, db, c, a); run.Event.Seq != again {
			t.Errorf("it fired for event %d, want %d, with which it went away for long", run.Event.Seq, again)
		}
	})
}

// What a trigger waits for outlives a change of something else, and not one of itself.
func TestDwellsOutliveChangesOfSomethingElse(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		db := open(t, url)
		o := &outside{done: map[string]int{}}
		c := begin(t, db, o, 1_000_000)
		const definition = `{"triggers": [{"event": "satellite.disconnected", "for": {"seconds": 3600}}, {"event": "automation.interval", "config": {"intervalSeconds": %d}}],
			"actions": [{"action": "once", "config": {"text": "%s"}}]}`
		a := create(t, c, "dwells", fmt.Sprintf(definition, 7200, "gone"))
		happen(t, db, "satellite.disconnected", "s", "offline")
		remembered := func() (out []string) {
			err := db.InTx(t.Context(), func(raw entity.Tx) error {
				tx := raw.(automation.Tx)
				if d, err := tx.AutomationDwell(t.Context(), a.ID, "satellite_disconnected", "s"); err != nil {
					return err
				} else if d != nil {
					out = append(out, "dwell")
				}
				timers, err := tx.AutomationTimers(t.Context())
				for _, timer := range timers {
					out = append(out, timer.Trigger+" "+timer.Due.Sub(timer.Due.Truncate(time.Hour)).String())
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		until(t, "dwell and timer are there", func() bool { return len(remembered()) == 2 })
		update := func(in automation.Input) {
			t.Helper()
			if _, err := c.service.Update(t.Context(), entity.System, a.ID, in); err != nil {
				t.Fatal(err)
			}
		}
		c.end() // so that nobody makes timers anew
		before := remembered()
		update(automation.Input{Name: "renamed", Labels: map[string]string{"team": "db"}, Definition: json.RawMessage(fmt.Sprintf(definition, 7200, "lost"))})
		if diff := cmp.Diff(before, remembered()); diff != "" {
			t.Errorf("after a change of name, labels and actions (-before +after):\n%s", diff)
		}
		update(automation.Input{Name: "renamed", Definition: json.RawMessage(fmt.Sprintf(definition, 60, "lost"))})
		if diff := cmp.Diff([]string{"dwell"}, remembered()); diff != "" {
			t.Errorf("after a change of the other trigger (-want +got):\n%s", diff)
		}
		if _, err := c.service.SetEnabled(t.Context(), entity.System, a.ID, false); err != nil {
			t.Fatal(err)
		}
		if got := remembered(); got != nil {
			t.Errorf("disabled, it remembers %v", got)
		}
	})
}

// A call of a hook that is repeated is no second event.
func TestRepeatedCallsOfHooksAreOneEvent(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		db := open(t, url)
		c := begin(t, db, &outside{done: map[string]int{}}, 1_000_000)
		create(t, c, "called", `{"triggers": [{"event": "automation.webhook", "config": {"hook": "deploy", "secret": "deploys"}}],
			"actions": [{"action": "once", "config": {"text": "deployed"}}]}`)
		secret := func(context.Context, string) (string, error) { return "key", nil }
		call := func(id, body string) {
			t.Helper()
			now, err := db.Now(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			stamp := fmt.Sprint(now.Unix())
			for range 2 {
				in := automation.Call{Hook: "deploy", ID: id, Timestamp: stamp, Signature: automation.Sign("key", stamp, []byte(body)), Body: []byte(body)}
				if err := c.service.Hook(t.Context(), secret, in); err != nil {
					t.Fatal(err)
				}
			}
		}
		call("", `{"n":1}`)         // the same signature
		call("delivery", `{"n":2}`) // the same key
		call("delivery", `{"n":3}`) // though it says something else
		var got []string
		now, err := db.Now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		events, err := db.EventsBetween(t.Context(), 0, now.Add(-time.Hour), now.Add(time.Hour), 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Type == automation.EventWebhook {
				got = append(got, string(e.Payload))
			}
		}
		if diff := cmp.Diff([]string{`{"n":1}`, `{"n":2}`}, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// until waits for what is so at some time.
func until(t testing.TB, what string, so func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !so() {
		select {
		case <-ticker.C:
		case <-t.Context().Done():
			t.Fatalf("it never came about that %s", what)
		}
	}
}
