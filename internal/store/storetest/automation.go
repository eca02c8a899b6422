package storetest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/store"
)

func (s *suite) automation(name string) automation.Automation {
	s.t.Helper()
	now := s.now()
	a := automation.Automation{
		ID: newID(), Name: name, Labels: map[string]string{"team": "db"}, Enabled: true, Revision: 1, CreatedAt: now, UpdatedAt: now,
		Definition: automation.Definition{
			Triggers: []automation.Trigger{{Event: "satellite.disconnected"}},
			Actions:  []automation.ActionSpec{{Action: "log", Config: json.RawMessage(`{"message":"gone"}`)}},
		},
	}
	s.tx(func(tx *store.Tx) error { return tx.PutAutomation(s.ctx(), a) })
	return a
}

func (s *suite) event(id string, next entity.State) entity.Event {
	s.t.Helper()
	text, err := json.Marshal(next)
	s.ok(err)
	e := []entity.Event{{
		Type: "thing.changed", Kind: "thing", EntityID: id, ChangeID: newID(), Changed: []string{"status"}, Prev: json.RawMessage("null"),
		Next: text, Payload: json.RawMessage(`{}`), Actor: entity.System, At: s.now(),
	}}
	s.tx(func(tx *store.Tx) error { return tx.AppendEvents(s.ctx(), e) })
	return e[0]
}

func (s *suite) automationRun(a automation.Automation, key string, event entity.Event) automation.Run {
	s.t.Helper()
	now := s.now()
	r := automation.Run{
		ID: newID(), Automation: a.ID, Revision: a.Revision, Trigger: "t", ContextKey: event.EntityID, Status: automation.RunRunning,
		Event: event, Key: key, CreatedAt: now, StartedAt: &now,
	}
	s.tx(func(tx *store.Tx) error {
		added, err := tx.AddAutomationRun(s.ctx(), r)
		s.same(true, added)
		return err
	})
	return r
}

func testAutomations(_ *testing.T, s *suite) {
	b, a := s.automation("b"), s.automation("a")
	s.same(a, must(s.db.AutomationByName(s.ctx(), "a"))(s))
	listed, _, err := s.db.Automations(s.ctx(), fleet.Page{})
	s.ok(err)
	s.same([]automation.Automation{a, b}, listed)
	was := a
	a.Revision, a.Enabled, a.Definition.Description = 2, false, "Quiet"
	s.tx(func(tx *store.Tx) error {
		s.same(b, must(tx.AutomationForUpdate(s.ctx(), b.ID))(s))
		if err := tx.PutAutomation(s.ctx(), a); err != nil {
			return err
		}
		s.same([]automation.Head{{ID: a.ID, Revision: 2}, {ID: b.ID, Revision: 1, Enabled: true}}, must(tx.AutomationHeads(s.ctx()))(s))
		s.same(2, must(tx.CountAutomations(s.ctx()))(s))
		s.same([]automation.Automation{a, b}, must(tx.AllAutomations(s.ctx()))(s))
		return nil
	})
	was.Enabled = false
	s.same(was, must(s.db.AutomationAt(s.ctx(), a.ID, 1))(s))
	s.same(a, must(s.db.Automation(s.ctx(), a.ID))(s))
	s.fails(s.try(func(tx *store.Tx) error {
		return tx.PutAutomation(s.ctx(), automation.Automation{ID: newID(), Name: "b"})
	}), fault.Conflict, `"b"`, "automation")
	s.tx(func(tx *store.Tx) error { return tx.DeleteAutomation(s.ctx(), a.ID) })
	_, err = s.db.AutomationAt(s.ctx(), a.ID, 1)
	s.fails(err, fault.NotFound)
}

func testAutomationMemory(_ *testing.T, s *suite) {
	a := s.automation("a")
	first := s.event("x", entity.State{"status": "up"})
	second := s.event("x", entity.State{"status": "down"})
	s.tx(func(tx *store.Tx) error { // of another field, which is no news of the status
		later := second
		later.ChangeID, later.Type, later.Changed, later.At = newID(), "thing.other", []string{"note"}, second.At.Add(time.Second)
		s.ok(tx.AppendEvents(s.ctx(), []entity.Event{later}))
		state, since, err := tx.Entity(s.ctx(), "thing", "x")
		s.same(second.At, since)
		s.same(entity.State{"status": "down"}, state)
		return err
	})
	late := automation.Dwell{Automation: a.ID, Trigger: "t", ContextKey: "x", Due: first.At.Add(time.Hour), Event: first}
	due := automation.Dwell{Automation: a.ID, Trigger: "t", ContextKey: "y", Due: first.At, Event: first}
	s.tx(func(tx *store.Tx) error {
		before := must(tx.LockAutomations(s.ctx()))(s)
		events := must(tx.EventsAfter(s.ctx(), before, 10))(s)
		s.same([]int64{first.Seq, second.Seq}, []int64{events[0].Seq, events[1].Seq})
		s.ok(tx.MoveAutomationCursor(s.ctx(), second.Seq))
		s.same(second.Seq, must(tx.LockAutomations(s.ctx()))(s))
		state, since, err := tx.Entity(s.ctx(), "thing", "x")
		s.ok(err)
		s.same(entity.State{"status": "down"}, state)
		s.same(second.At, since)
		s.ok(tx.PutAutomationDwell(s.ctx(), late))
		s.ok(tx.PutAutomationDwell(s.ctx(), due))
		s.same(&late, must(tx.AutomationDwell(s.ctx(), a.ID, "t", "x"))(s))
		s.same(map[string][]string{"x": {a.ID}, "y": {a.ID}}, must(tx.DwellingAutomations(s.ctx(), []string{"x", "y", "z"}))(s))
		s.same([]automation.Dwell{due}, must(tx.DueAutomationDwells(s.ctx(), 10))(s))
		s.same([]automation.Dwell{}, must(tx.DueAutomationDwells(s.ctx(), 10))(s))
		s.ok(tx.AddAutomationOccurrence(s.ctx(), a.ID, "t", "x", first))
		s.same([]time.Time{first.At}, must(tx.AutomationOccurrences(s.ctx(), a.ID, "t", "x", first.At.Add(-time.Second)))(s))
		s.same([]time.Time{}, must(tx.AutomationOccurrences(s.ctx(), a.ID, "t", "x", first.At))(s))
		timer := automation.DueTimer{Automation: a.ID, Trigger: "t", Due: first.At}
		s.ok(tx.PutAutomationTimer(s.ctx(), timer))
		s.same([]automation.DueTimer{timer}, must(tx.DueAutomationTimers(s.ctx(), 10))(s))
		timer.Due = first.At.Add(time.Hour)
		s.ok(tx.PutAutomationTimer(s.ctx(), timer))
		s.same([]automation.DueTimer{}, must(tx.DueAutomationTimers(s.ctx(), 10))(s))
		s.same([]automation.DueTimer{timer}, must(tx.AutomationTimers(s.ctx()))(s))
		return nil
	})
	s.same(first.At.Add(time.Hour), must(s.db.NextAutomation(s.ctx()))(s))
	state, _, err := s.db.EntityAt(s.ctx(), "thing", "x", first.At)
	s.ok(err)
	s.same(entity.State{"status": "up"}, state)
	s.same(1, len(must(s.db.EventsBetween(s.ctx(), first.Seq, first.At, second.At.Add(time.Second), 10))(s)))
	s.tx(func(tx *store.Tx) error {
		s.ok(tx.DropAutomationTimer(s.ctx(), a.ID, "t"))
		return tx.DropAutomationDwell(s.ctx(), a.ID, "t", "x")
	})
	s.same(time.Time{}, must(s.db.NextAutomation(s.ctx()))(s))
	s.tx(func(tx *store.Tx) error {
		s.ok(tx.PutAutomationDwell(s.ctx(), late))
		s.ok(tx.PutAutomationTimer(s.ctx(), automation.DueTimer{Automation: a.ID, Trigger: "u", Due: first.At}))
		s.ok(tx.ForgetAutomationTriggers(s.ctx(), a.ID, []string{"u"}))
		s.same([]automation.DueTimer{}, must(tx.AutomationTimers(s.ctx()))(s))
		s.same(1, len(must(tx.AutomationOccurrences(s.ctx(), a.ID, "t", "x", first.At.Add(-time.Second)))(s)))
		s.ok(tx.ForgetAutomationTriggers(s.ctx(), a.ID, []string{"t"}))
		s.same(0, len(must(tx.AutomationOccurrences(s.ctx(), a.ID, "t", "x", first.At.Add(-time.Second)))(s)))
		s.same((*automation.Dwell)(nil), must(tx.AutomationDwell(s.ctx(), a.ID, "t", "x"))(s))
		s.same(true, must(tx.AddAutomationCall(s.ctx(), "deploy", "1"))(s))
		s.same(false, must(tx.AddAutomationCall(s.ctx(), "deploy", "1"))(s))
		s.same(true, must(tx.AddAutomationCall(s.ctx(), "other", "1"))(s))
		return nil
	})
}

func testAutomationRuns(_ *testing.T, s *suite) {
	a := s.automation("a")
	event := s.event("x", entity.State{"status": "up"})
	run := s.automationRun(a, "first", event)
	s.tx(func(tx *store.Tx) error {
		added, err := tx.AddAutomationRun(s.ctx(), automation.Run{ID: newID(), Automation: a.ID, Key: "first", CreatedAt: run.CreatedAt})
		s.same(false, added)
		return err
	})
	s.same([]automation.Run{run}, must(s.db.ClaimAutomationRuns(s.ctx(), "one", time.Minute, 10))(s))
	s.same([]automation.Run{}, must(s.db.ClaimAutomationRuns(s.ctx(), "two", time.Minute, 10))(s))
	s.same([]string{}, must(s.db.RenewAutomationRuns(s.ctx(), "two", time.Minute, []string{run.ID}))(s))
	// A lease that is over is anybody's.
	s.same([]string{run.ID}, must(s.db.RenewAutomationRuns(s.ctx(), "one", -time.Minute, []string{run.ID}))(s))
	s.same([]automation.Run{run}, must(s.db.ClaimAutomationRuns(s.ctx(), "two", time.Minute, 10))(s))

	step := automation.Step{
		Run: run.ID, Path: "actions[10]", ID: "said", Kind: "action", Action: "log", Status: automation.StepRunning, Attempt: 1,
		Input: json.RawMessage(`{"message":"gone"}`), StartedAt: run.CreatedAt,
	}
	wait := automation.Step{Run: run.ID, Path: "actions[2]", Kind: "delay", Status: automation.StepWaiting, Attempt: 1, Final: true, StartedAt: run.CreatedAt, Due: ptr(run.CreatedAt.Add(time.Hour))}
	s.tx(func(tx *store.Tx) error {
		got, owner, err := tx.AutomationRunForUpdate(s.ctx(), run.ID)
		s.ok(err)
		s.same(run, got)
		s.same("two", owner)
		s.ok(tx.PutAutomationSteps(s.ctx(), []automation.Step{step, wait}))
		step.Status, step.Output, step.EndedAt = automation.StepSuccess, json.RawMessage(`{}`), &run.CreatedAt
		s.ok(tx.PutAutomationSteps(s.ctx(), []automation.Step{step}))
		brief := run
		brief.Event = entity.Event{}
		s.same(map[string]automation.Standing{run.ID: {Run: brief, Owner: "two", Journal: []automation.Step{step, wait}}}, must(tx.AutomationStandings(s.ctx(), []string{run.ID, newID()}))(s))
		run.Status = automation.RunWaiting
		s.ok(tx.PutAutomationWaits(s.ctx(), run.ID, []string{"entity/thing/x", "event/thing.changed"}))
		return tx.PutAutomationRun(s.ctx(), run, wait.Due, false)
	})
	s.same([]automation.Step{step, wait}, must(s.db.AutomationSteps(s.ctx(), run.ID))(s))
	s.same([]automation.Run{}, must(s.db.ClaimAutomationRuns(s.ctx(), "one", time.Minute, 10))(s))
	s.same(*wait.Due, must(s.db.NextAutomation(s.ctx()))(s))
	s.tx(func(tx *store.Tx) error {
		s.same([]string{"entity/thing/x"}, must(tx.AwaitedAutomationTopics(s.ctx(), []string{"entity/thing/x", "entity/thing/y"}))(s))
		return tx.WakeAutomationRuns(s.ctx(), []string{"event/thing.changed", "entity/thing/x"}, event.Seq)
	})
	s.same([]automation.Run{run}, must(s.db.ClaimAutomationRuns(s.ctx(), "one", time.Minute, 10))(s))
	s.tx(func(tx *store.Tx) error {
		s.same([]entity.Event{event}, must(tx.AutomationStandings(s.ctx(), []string{run.ID}))(s)[run.ID].Wakes)
		s.ok(tx.DropAutomationWake(s.ctx(), run.ID, event.Seq))
		s.same(0, len(must(tx.AutomationStandings(s.ctx(), []string{run.ID}))(s)[run.ID].Wakes))
		active := run
		active.Event = entity.Event{}
		s.same([]automation.Run{active}, must(tx.ActiveAutomationRuns(s.ctx(), a.ID, ""))(s))
		s.same([]automation.Run{active}, must(tx.ActiveAutomationRuns(s.ctx(), a.ID, "x"))(s))
		s.same([]automation.Run{}, must(tx.ActiveAutomationRuns(s.ctx(), a.ID, "y"))(s))
		run.Status, run.EndedAt, run.Reason = automation.RunSuccess, &run.CreatedAt, "done"
		return tx.PutAutomationRun(s.ctx(), run, nil, false)
	})
	s.same(run, must(s.db.AutomationRun(s.ctx(), run.ID))(s))
	other := s.automationRun(a, "second", event)
	listed := pages(s, 1, func(int) {}, func(p fleet.Page) ([]automation.Run, string, error) {
		return s.db.AutomationRuns(s.ctx(), automation.RunFilter{Automation: a.ID}, p)
	})
	s.same([]automation.Run{other, run}, listed)
	s.same(int64(1), must(s.db.PurgeAutomationRuns(s.ctx(), s.now()))(s))
	found, _, err := s.db.AutomationRuns(s.ctx(), automation.RunFilter{Status: automation.RunRunning}, fleet.Page{})
	s.ok(err)
	s.same([]automation.Run{other}, found)
}
