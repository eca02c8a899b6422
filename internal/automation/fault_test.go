package automation_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
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

// A core that dies in the middle of an action has its run taken over by another when the
// lease is over, and not before; what may not be repeated is not.
func TestRunsOfADeadCoreAreTakenOverWhenItsLeaseIsOver(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		db := open(t, url)
		o := &outside{done: map[string]int{}}
		first := begin(t, db, o, 1_000_000)
		hung, release := make(chan string, 2), make(chan struct{})
		o.hang = func(ctx context.Context, text string) {
			hung <- text
			<-release // whatever its context says
		}
		t.Cleanup(sync.OnceFunc(func() { close(release) }))
		a := create(t, first, "taken over", `{
			"triggers": [{"event": "satellite.disconnected"}],
			"actions": [{"parallel": [
				{"action": "repeatable", "config": {"text": "again"}},
				{"action": "once", "config": {"text": "once"}, "in_doubt": "skip"}
			]}]}`)
		happen(t, db, "satellite.disconnected", "s", "offline")
		<-hung
		<-hung
		first.store.left.Store(0) // it can write nothing from here on
		run, owner := owned(t, db, a)

		second := beside(t, db, o, 1_000_000)
		// One event behind it has been decided by the second core: it was looking, and left
		// the run alone.
		b := create(t, second, "sentinel", `{"triggers": [{"event": "satellite.connected"}], "actions": [{"stop": {}}]}`)
		happen(t, db, "satellite.connected", "s", "online")
		ended(t, db, second, b)
		if _, still := owned(t, db, a); still != owner {
			t.Fatalf("the run went from %s to %s while the lease lasted", owner, still)
		}
		o.mu.Lock()
		o.hang = nil
		o.mu.Unlock()
		if _, err := db.RenewAutomationRuns(t.Context(), owner, -time.Minute, []string{run.ID}); err != nil {
			t.Fatal(err)
		}
		run = ended(t, db, second, a)
		steps := map[string]string{}
		journal, err := db.AutomationSteps(t.Context(), run.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range journal {
			steps[s.Path] = fmt.Sprint(s.Status, " ", s.Attempt)
		}
		want := map[string]string{"actions[0].parallel[0]": "success 2", "actions[0].parallel[1]": "skipped 1"}
		if diff := cmp.Diff(want, steps); diff != "" {
			t.Errorf("steps (-want +got):\n%s", diff)
		}
	})
}

func owned(t *testing.T, db *store.DB, a automation.Automation) (run automation.Run, owner string) {
	t.Helper()
	runs, _, err := db.AutomationRuns(t.Context(), automation.RunFilter{Automation: a.ID}, fleet.Page{})
	if err != nil || len(runs) != 1 {
		t.Fatal(runs, err)
	}
	err = db.InTx(t.Context(), func(tx entity.Tx) (err error) {
		run, owner, err = tx.(automation.Tx).AutomationRunForUpdate(t.Context(), runs[0].ID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return run, owner
}

// What a mode does not let begin is a run that says so, and no run in its place.
func TestWhatIsSkippedIsSaid(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		db := open(t, url)
		c := begin(t, db, &outside{done: map[string]int{}}, 1_000_000)
		defer c.end()
		a := create(t, c, "lost", `{"triggers": [{"event": "satellite.disconnected"}, {"event": "automation.manual"}], "actions": [{"delay": {"hours": 1}}]}`)
		happen(t, db, "satellite.disconnected", "s1", "offline")
		happen(t, db, "satellite.disconnected", "s2", "offline")
		c.rings.Ring("")
		var skipped []automation.Run
		until(t, "the second is skipped", func() bool {
			var err error
			skipped, _, err = db.AutomationRuns(t.Context(), automation.RunFilter{Status: automation.RunSkipped}, fleet.Page{Limit: 10})
			if err != nil {
				t.Fatal(err)
			}
			return len(skipped) > 0
		})
		if r := skipped[0]; len(skipped) != 1 || r.ContextKey != "s2" || r.Reason != "a run goes on, and the mode is single" || r.EndedAt == nil {
			t.Errorf("skipped: %+v", skipped)
		}
		if _, err := c.service.Start(t.Context(), entity.System, a.ID, "", nil); !fault.Is(err, fault.Conflict) {
			t.Errorf("by hand, while one goes on: %v, want a conflict", err)
		}
		all, _, err := db.AutomationRuns(t.Context(), automation.RunFilter{}, fleet.Page{Limit: 10})
		if err != nil || len(all) != 2 {
			t.Errorf("%v: the runs are %+v, want the one that goes on and the one that was skipped", err, all)
		}
	})
}

// Two cores on one database decide events: each once, and each step once.
func TestTwoCoresDoNothingTwice(t *testing.T) {
	t.Parallel()
	const events = 300
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		db := open(t, url)
		o := &outside{done: map[string]int{}}
		one := begin(t, db, o, 1_000_000)
		create(t, one, "each", `{
			"mode": "single", "concurrency_scope": "context",
			"triggers": [{"event": "satellite.disconnected"}],
			"actions": [{"action": "once", "config": {"text": "gone"}}, {"delay": {"seconds": 0.001}}, {"action": "repeatable", "config": {"text": "told"}}]}`)
		two := beside(t, db, o, 1_000_000)
		for range events / 50 {
			err := db.InTx(t.Context(), func(tx entity.Tx) error {
				now, err := tx.Now(t.Context())
				if err != nil {
					return err
				}
				some := make([]entity.Event, 50)
				for i := range some {
					some[i] = entity.Event{
						Type: "satellite.disconnected", Kind: "satellite-connection", EntityID: uuid.NewString(), ChangeID: uuid.NewString(), Changed: []string{"status"},
						Prev: json.RawMessage(`null`), Next: json.RawMessage(`{"status":"offline"}`), Payload: json.RawMessage(`{}`), Actor: entity.System, At: now,
					}
				}
				return tx.AppendEvents(t.Context(), some)
			})
			if err != nil {
				t.Fatal(err)
			}
			one.rings.Ring("")
			two.rings.Ring("")
		}
		var runs []automation.Run
		until(t, "all is done", func() bool {
			o.mu.Lock()
			defer o.mu.Unlock()
			return len(o.done) >= 2*events
		})
		until(t, "all runs have ended", func() bool {
			runs = nil
			for p := (fleet.Page{Limit: 1000}); ; {
				some, next, err := db.AutomationRuns(t.Context(), automation.RunFilter{Status: automation.RunSuccess}, p)
				if err != nil {
					t.Fatal(err)
				}
				if runs = append(runs, some...); next == "" {
					return len(runs) >= events
				}
				p.Cursor = next
			}
		})
		one.end()
		two.end()
		byEvent, want, got := map[string]int{}, map[string]int{}, map[string]string{}
		for _, r := range runs {
			byEvent[r.ContextKey]++
			want[r.ID+"/actions[0] gone"], want[r.ID+"/actions[2] told"] = 1, 1
		}
		if len(byEvent) != events || len(runs) != events {
			t.Errorf("%d events are %d runs of %d entities", events, len(runs), len(byEvent))
		}
		if diff := cmp.Diff(want, o.done); diff != "" {
			t.Errorf("done (-want +got):\n%s", diff)
		}
		for _, r := range runs[:10] { // the journal says the same
			steps, err := db.AutomationSteps(t.Context(), r.ID)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range steps {
				got[s.Path] = fmt.Sprint(s.Status, " ", s.Attempt)
			}
			if diff := cmp.Diff(map[string]string{"actions[0]": "success 1", "actions[1]": "success 1", "actions[2]": "success 1"}, got); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		}
	})
}

// A run that waits, for whatever, ends when it is cancelled, and nothing wakes it again.
func TestWaitingRunsAreCancelled(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		db := open(t, url)
		o := &outside{done: map[string]int{}}
		c := begin(t, db, o, 1_000_000)
		for name, wait := range map[string]string{
			"delay":            `{"delay": {"seconds": 0.5}}`,
			"wait_for_trigger": `{"wait_for_trigger": {"event": "satellite.connected", "context_key": "*", "timeout_seconds": 600}}`,
			"wait_until":       `{"wait_until": {"condition": "state['satellite-connection']['s'].status == 'online'", "timeout_seconds": 600}}`,
			"queued":           `{"wait_for_trigger": {"event": "satellite.removed", "timeout_seconds": 600}}`,
		} {
			a := create(t, c, name, `{"mode": "queued", "triggers": [{"event": "satellite.created"}], "actions": [`+wait+`, {"action": "once", "config": {"text": "went on"}}]}`)
			start := func() automation.Run {
				t.Helper()
				run, err := c.service.Start(t.Context(), entity.System, a.ID, "", nil)
				if err != nil {
					t.Fatal(err)
				}
				return run
			}
			run := start()
			if name == "queued" {
				waiting(t, db, a)
				run = start()
				if run.Status != automation.RunPending {
					t.Errorf("the second run is %s", run.Status)
				}
			} else if name != "delay" { // which may be over by the time that it is looked at
				waiting(t, db, a)
			}
			run, err := c.service.Cancel(t.Context(), entity.Actor{Type: "user", Name: "Ada"}, run.ID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]any{automation.RunCancelled, "cancelled by Ada"}, []any{run.Status, run.Reason}); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
		happen(t, db, "satellite.connected", "s", "online")
		// By the time that this one is over, the delay is, and the event has been decided.
		last := create(t, c, "last", `{"triggers": [{"event": "satellite.well"}], "actions": [{"delay": {"seconds": 1}}]}`)
		happen(t, db, "satellite.well", "s", "online")
		ended(t, db, c, last)
		if diff := cmp.Diff(map[string]int{}, o.done); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// What cannot work is refused when it is saved, or its run fails and says why.
func TestWhatCannotWorkSaysSo(t *testing.T) {
	t.Parallel()
	db := open(t, dbtest.SQLite(t))
	o := &outside{done: map[string]int{}}
	c := begin(t, db, o, 1_000_000)
	for name, test := range map[string]struct{ definition, refused, failed string }{
		"malformed template": {
			definition: `{"triggers": [{"event": "satellite.ill"}], "actions": [{"action": "once", "config": {"text": "gone: ${{ trigger.payload.name"}}]}`,
			refused:    "definition.actions[0].config.text: line 1, column 7: ${{ has no }}",
		},
		"unknown name": {
			definition: `{"triggers": [{"event": "satellite.ill"}], "actions": [{"action": "once", "config": {"text": "${{ tigger.payload.name }}"}}]}`,
			refused:    "definition.actions[0].config.text: in ${{ }} at line 1, column 1: line 1, column 15: undeclared reference to 'tigger.payload.name' (did you mean 'trigger.payload'?)",
		},
		"nothing to do": {
			definition: `{"triggers": [{"event": "satellite.ill"}], "actions": [{"sequence": []}]}`,
			refused:    "definition.actions[0].sequence: must be at least one action",
		},
		"endless repeat": {
			definition: `{"triggers": [{"event": "satellite.ill"}], "actions": [{"repeat": {"while": "true", "sequence": [{"variables": {"x": 1}}]}}]}`,
			failed:     "it was repeated 1000 times and did not end; max_iterations is the limit",
		},
		"repeats inside of repeats": {
			definition: `{"triggers": [{"event": "satellite.ill"}], "actions": [{"repeat": {"count": 10000, "sequence": [{"repeat": {"count": 10000, "sequence": [{"choose": [{"when": "false", "sequence": []}]}]}}]}}]}`,
			failed:     "the run has more than 20000 steps",
		},
		"condition on what is not there": {
			definition: `{"triggers": [{"event": "satellite.ill"}], "conditions": [{"state": {"kind": "satellite", "entity": "nowhere", "status": "online"}}], "actions": [{"stop": {}}]}`,
			failed:     `conditions[0] failed: there is no satellite "nowhere"`,
		},
		"expression on what is not there": {
			definition: `{"triggers": [{"event": "satellite.ill"}], "actions": [{"condition": "health.systems['nowhere'].status == 'healthy'"}]}`,
			failed:     `there is no health "nowhere"`,
		},
		"text that grows": {
			definition: `{"triggers": [{"event": "satellite.ill"}], "actions": [{"variables": {"x": "aaaaaaaaaa"}}, {"repeat": {"count": 40, "sequence": [{"variables": {"x": "${{ variables.x + variables.x }}"}}]}}]}`,
			failed:     "larger than 64 KiB",
		},
		"refused for good": {
			definition: `{"triggers": [{"event": "satellite.ill"}], "actions": [{"action": "refuse", "config": {"text": "x"}, "retry": {"attempts": 5, "backoff_seconds": 3600}}]}`,
			failed:     "there is no channel x",
		},
	} {
		in := automation.Input{Name: name, Definition: json.RawMessage(test.definition)}
		a, err := c.service.Create(t.Context(), entity.System, in)
		if test.refused != "" {
			f, ok := err.(*fault.Error)
			if !ok || len(f.Fields) != 1 || f.Fields[0].Path+": "+f.Fields[0].Message != test.refused {
				t.Errorf("%s was refused with %+v, want %s", name, err, test.refused)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		happen(t, db, "satellite.ill", "s", "ill")
		run := ended(t, db, c, a)
		if run.Status != automation.RunFailed || !strings.Contains(run.Reason, test.failed) {
			t.Errorf("%s ended as %s: %s, want %s", name, run.Status, run.Reason, test.failed)
		}
		if err := c.service.Delete(t.Context(), entity.System, a.ID); err != nil { // or the next event begins it as well
			t.Fatal(err)
		}
	}
	if n := o.refused.Load(); n != 1 {
		t.Errorf("what was refused for good was tried %d times", n)
	}
}

// between has something happen once while a core decides, after the first of the two reads
// by which it learns of events and of automations.
type between struct {
	*store.DB
	once sync.Once
	do   func()
}

func (b *between) InTx(ctx context.Context, fn func(entity.Tx) error) error {
	return b.DB.InTx(ctx, func(tx entity.Tx) error {
		return fn(&interrupted{Tx: tx.(automation.Tx), b: b}) //nolint:errcheck // the store's
	})
}

type interrupted struct {
	automation.Tx
	b *between
}

func (tx *interrupted) AutomationHeads(ctx context.Context) ([]automation.Head, error) {
	defer tx.b.once.Do(tx.b.do)
	return tx.Tx.AutomationHeads(ctx)
}

func (tx *interrupted) EventsAfter(ctx context.Context, seq int64, limit int) ([]entity.Event, error) {
	defer tx.b.once.Do(tx.b.do)
	return tx.Tx.EventsAfter(ctx, seq, limit)
}

// An automation reacts to what happens after it was made, also when both came about while
// a core was deciding. (With SQLite nothing does: one writes at a time.)
func TestAnEventBehindANewAutomationIsNotMissed(t *testing.T) {
	t.Parallel()
	db := open(t, dbtest.PostgreSQL(t))
	o := &outside{done: map[string]int{}}
	rings := make(bell, 1)
	service := automation.NewService(db, entity.NewRecorder(db, rings), o.actions())
	var made automation.Automation
	b := &between{DB: db, do: func() {
		var err error
		made, err = service.Create(context.Background(), entity.System, automation.Input{Name: "new", Definition: json.RawMessage(
			`{"triggers": [{"event": "satellite.disconnected"}], "actions": [{"action": "once", "config": {"text": "gone"}}]}`)})
		if err != nil {
			t.Error(err)
		}
		happen(t, db, "satellite.disconnected", "s", "offline")
	}}
	runner := automation.NewRunner(b, entity.NewRecorder(b, rings), o.actions(), slog.New(slog.DiscardHandler), rings)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- runner.Run(ctx) }()
	until(t, "all events are decided", func() bool {
		seq := int64(0)
		err := db.InTx(t.Context(), func(tx entity.Tx) (err error) {
			seq, err = tx.(automation.Tx).LockAutomations(t.Context()) //nolint:errcheck // the store's
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return seq >= 2 // of the automation and of the satellite
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	runs, _, err := db.AutomationRuns(t.Context(), automation.RunFilter{Automation: made.ID}, fleet.Page{Limit: 10})
	if err != nil || len(runs) != 1 {
		t.Errorf("%v: there are %d runs, want one", err, len(runs))
	}
}
