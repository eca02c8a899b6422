package automation

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// Kind is the entity kind of automations: that one was changed is an event as well.
const Kind = "automation"

const (
	// MaxAutomations bounds how many there are.
	MaxAutomations = 1000
	maxName        = 200
	// maxPayload bounds what a person or a hook hands to a run, in bytes.
	maxPayload = 64 << 10
	// longestDryRun bounds the time that a dry run looks at.
	longestDryRun = 90 * 24 * time.Hour
)

// Input is all that people say of an automation.
type Input struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	// Enabled is true when absent.
	Enabled    *bool           `json:"enabled,omitempty"`
	Definition json.RawMessage `json:"definition"`
}

// Wanted tells whether it is to react: as it says itself, or else as its definition says;
// nil when it is left as it is.
func (in Input) Wanted() *bool {
	if in.Enabled != nil || len(in.Definition) > MaxDefinition {
		return in.Enabled
	}
	var said struct {
		Enabled *bool `json:"enabled"`
	}
	if json.Unmarshal(in.Definition, &said) != nil {
		return nil // Read says what is wrong
	}
	return said.Enabled
}

// Service is what people do with automations. The runner does the rest.
type Service struct {
	store    Store
	recorder *entity.Recorder
	actions  Actions
}

// NewService makes the service.
func NewService(store Store, recorder *entity.Recorder, actions Actions) *Service {
	return &Service{store: store, recorder: recorder, actions: actions}
}

// Actions are what automations can do.
func (s *Service) Actions() []Action { return s.actions.All() }

// Automation gets one by id or name. Fault: NotFound.
func (s *Service) Automation(ctx context.Context, ref string) (Automation, error) {
	if len(ref) == 36 && uuid.Validate(ref) == nil {
		return s.store.Automation(ctx, strings.ToLower(ref))
	}
	return s.store.AutomationByName(ctx, ref)
}

// Automations lists by name.
func (s *Service) Automations(ctx context.Context, p fleet.Page) ([]Automation, string, error) {
	return s.store.Automations(ctx, p)
}

// All are those that the transaction of somebody else sees, by name.
func (s *Service) All(ctx context.Context, other entity.Tx) ([]Automation, error) {
	tx, ok := other.(Tx)
	if !ok {
		return nil, fmt.Errorf("automation: the store's transaction %T is not an automation.Tx", other)
	}
	return tx.AllAutomations(ctx)
}

// Read judges what people say, without keeping it. Fault: Invalid, with every wrong place.
func (s *Service) Read(in Input, path string) (Automation, error) {
	wanted := in.Wanted()
	a := Automation{Name: in.Name, Labels: in.Labels, Enabled: wanted == nil || *wanted}
	if a.Labels == nil {
		a.Labels = map[string]string{}
	}
	var wrong []fault.Field
	if message := nameProblem(in.Name); message != "" {
		wrong = append(wrong, fault.Field{Path: "name", Message: message})
	}
	if len(a.Labels) > 64 {
		wrong = append(wrong, fault.Field{Path: "labels", Message: "must be at most 64 labels"})
	}
	for k, v := range a.Labels {
		if k == "" || len(k) > 128 || utf8.RuneCountInString(v) > 256 || !printable(k) || !printable(v) {
			wrong = append(wrong, fault.Field{Path: "labels." + k, Message: "must be printable text, the name at most 128 and the value at most 256 characters"})
		}
	}
	if len(in.Definition) > MaxDefinition {
		wrong = append(wrong, fault.Field{Path: path, Message: fmt.Sprintf("must be at most %d KiB", MaxDefinition>>10)})
		return a, refused(wrong)
	}
	d, err := ParseDefinition(in.Definition, path)
	if err == nil {
		d.Enabled = nil
		a.Definition = d
		_, err = Compile(a, s.actions, path)
	}
	if f, ok := err.(*fault.Error); ok && f.Kind == fault.Invalid { //nolint:errorlint // made a line above
		wrong = append(wrong, f.Fields...)
	} else if err != nil {
		return a, err
	}
	if len(wrong) > 0 {
		return a, refused(wrong)
	}
	return a, nil
}

func nameProblem(name string) string {
	switch n := utf8.RuneCountInString(name); {
	case n == 0:
		return "must not be empty"
	case n > maxName:
		return fmt.Sprintf("must be at most %d characters", maxName)
	case strings.TrimSpace(name) != name || !printable(name) || strings.Contains(name, "/"):
		return "must be printable text without a slash, and not begin or end with a space"
	case len(name) == 36 && uuid.Validate(name) == nil:
		return "must not look like an id"
	}
	return ""
}

func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Create makes an automation. Faults: Invalid, Conflict.
func (s *Service) Create(ctx context.Context, actor entity.Actor, in Input) (Automation, error) {
	a, err := s.Read(in, "definition")
	if err != nil {
		return a, err
	}
	err = entity.Record(ctx, s.recorder, func(tx Tx) (changes []entity.Change, err error) {
		a, changes, err = create(ctx, tx, actor, a)
		return changes, err
	})
	return a, err
}

func create(ctx context.Context, tx Tx, actor entity.Actor, a Automation) (Automation, []entity.Change, error) {
	n, err := tx.CountAutomations(ctx)
	if err != nil {
		return a, nil, err
	}
	if n >= MaxAutomations {
		return a, nil, fault.New(fault.Conflict, "there are %d automations, and cannot be more", n)
	}
	now, err := tx.Now(ctx)
	if err != nil {
		return a, nil, err
	}
	a.ID, a.Revision, a.CreatedAt, a.UpdatedAt = uuid.Must(uuid.NewV7()).String(), 1, now, now
	return a, []entity.Change{{Kind: Kind, ID: a.ID, Next: stateOf(a), Actor: actor}}, tx.PutAutomation(ctx, a)
}

// Update replaces an automation, named by id or name. Runs that go on do so under the
// revision that they began with. Faults: Invalid, NotFound, Conflict.
func (s *Service) Update(ctx context.Context, actor entity.Actor, ref string, in Input) (Automation, error) {
	next, err := s.Read(in, "definition")
	if err != nil {
		return next, err
	}
	return s.change(ctx, actor, ref, func(a *Automation) { a.become(next, in.Wanted()) })
}

// become takes over what people say; enabled is left as it is if they do not say it.
func (a *Automation) become(next Automation, enabled *bool) {
	a.Name, a.Labels, a.Definition = next.Name, next.Labels, next.Definition
	if enabled != nil {
		a.Enabled = *enabled
	}
}

// SetEnabled lets it react, or not. Runs go on. Fault: NotFound.
func (s *Service) SetEnabled(ctx context.Context, actor entity.Actor, ref string, enabled bool) (Automation, error) {
	return s.change(ctx, actor, ref, func(a *Automation) { a.Enabled = enabled })
}

func (s *Service) change(ctx context.Context, actor entity.Actor, ref string, alter func(*Automation)) (Automation, error) {
	found, err := s.Automation(ctx, ref)
	if err != nil {
		return found, err
	}
	var a Automation
	err = entity.Record(ctx, s.recorder, func(tx Tx) (changes []entity.Change, err error) {
		_, a, changes, err = change(ctx, tx, actor, found.ID, alter)
		return changes, err
	})
	return a, err
}

// change alters one, and gives it as it was and as it is. There is no change of what is the
// same.
func change(ctx context.Context, tx Tx, actor entity.Actor, id string, alter func(*Automation)) (before, a Automation, changes []entity.Change, err error) {
	// What is being decided is decided by what holds now.
	if _, err := tx.LockAutomations(ctx); err != nil {
		return before, a, nil, err
	}
	if before, err = tx.AutomationForUpdate(ctx, id); err != nil {
		return before, a, nil, err
	}
	a = before
	alter(&a)
	if same(before, a) {
		return before, a, nil, nil
	}
	now, err := tx.Now(ctx)
	if err != nil {
		return before, a, nil, err
	}
	a.Revision, a.UpdatedAt = before.Revision+1, now
	if err := tx.ForgetAutomationTriggers(ctx, a.ID, renewed(before, a)); err != nil {
		return before, a, nil, err
	}
	return before, a, []entity.Change{{Kind: Kind, ID: a.ID, Prev: stateOf(before), Next: stateOf(a), Actor: actor}}, tx.PutAutomation(ctx, a)
}

// renewed are the triggers of which nothing may be remembered: they have changed, or are
// gone. While it was disabled nobody looked, and so whatever was waited for is over.
func renewed(before, after Automation) (ids []string) {
	for _, was := range before.Definition.Triggers {
		kept := before.Enabled == after.Enabled && slices.ContainsFunc(after.Definition.Triggers, func(is Trigger) bool {
			x, err1 := json.Marshal(was)
			y, err2 := json.Marshal(is)
			return err1 == nil && err2 == nil && string(x) == string(y)
		})
		if !kept {
			ids = append(ids, cmp.Or(was.ID, defaultID(was.Event)))
		}
	}
	return ids
}

func same(a, b Automation) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}

// stateOf is an automation as an entity.
func stateOf(a Automation) entity.State {
	return entity.State{"name": a.Name, "enabled": a.Enabled, "revision": a.Revision}
}

// Delete removes an automation with its runs. Fault: NotFound.
func (s *Service) Delete(ctx context.Context, actor entity.Actor, ref string) error {
	found, err := s.Automation(ctx, ref)
	if err != nil {
		return err
	}
	return entity.Record(ctx, s.recorder, func(tx Tx) ([]entity.Change, error) {
		if _, err := tx.LockAutomations(ctx); err != nil {
			return nil, err
		}
		before, err := tx.AutomationForUpdate(ctx, found.ID)
		if err != nil {
			return nil, err
		}
		return []entity.Change{{Kind: Kind, ID: before.ID, Prev: stateOf(before), Actor: actor}}, tx.DeleteAutomation(ctx, before.ID)
	})
}

// Start starts a run that a person wants, of a disabled automation too. trigger may be
// "", and the payload absent. Faults: NotFound, Invalid, Conflict when the mode allows
// no further run.
func (s *Service) Start(ctx context.Context, actor entity.Actor, ref, trigger string, payload json.RawMessage) (Run, error) {
	event := entity.Event{Type: EventManual, Kind: Kind, ChangeID: uuid.NewString(), Payload: payload, Actor: actor}
	if len(payload) > maxPayload {
		return Run{}, fault.New(fault.Invalid, "the payload must be at most %d KiB", maxPayload>>10)
	}
	return s.start(ctx, ref, trigger, event)
}

// Rerun starts a run that reacts to what another reacted to, by what the automation says
// now. Faults: those of Start.
func (s *Service) Rerun(ctx context.Context, actor entity.Actor, runID string) (Run, error) {
	run, err := s.store.AutomationRun(ctx, runID)
	if err != nil {
		return run, err
	}
	run.Event.ChangeID, run.Event.Actor = uuid.NewString(), actor
	return s.start(ctx, run.Automation, run.Trigger, run.Event)
}

func (s *Service) start(ctx context.Context, ref, trigger string, event entity.Event) (Run, error) {
	a, err := s.Automation(ctx, ref)
	if err != nil {
		return Run{}, err
	}
	p, err := Compile(a, s.actions, "definition")
	if err != nil {
		return Run{}, err
	}
	if trigger != "" && trigger != "manual" && p.trigger(trigger) == nil {
		return Run{}, fault.New(fault.Invalid, "automation %q has no trigger %q", a.Name, trigger)
	}
	if event.EntityID == "" {
		event.EntityID = a.ID
	}
	for _, missing := range []*json.RawMessage{&event.Prev, &event.Next, &event.Payload} {
		if len(*missing) == 0 {
			*missing = json.RawMessage("null")
		}
	}
	var run Run
	err = entity.InTx(ctx, s.recorder, func(tx Tx) error {
		if _, err := tx.LockAutomations(ctx); err != nil {
			return err
		}
		w, err := world(ctx, tx)
		if err != nil {
			return err
		}
		if event.At.IsZero() {
			event.At = w.Now
		}
		d, err := DecideManual(w, p, trigger, event)
		if err != nil {
			return err
		}
		if d.Run == nil || d.Outcome == Skipped {
			return fault.New(fault.Conflict, "automation %q was not started: %s", a.Name, d.Reason)
		}
		for _, id := range d.Cancel {
			if err := cancelRun(ctx, tx, id, "the automation began anew"); err != nil {
				return err
			}
		}
		run = *d.Run
		_, err = tx.AddAutomationRun(ctx, run)
		return err
	})
	if err == nil {
		s.recorder.Ring(entity.TopicEvents) // the runner looks
		s.recorder.Ring(TopicRuns)
	}
	return run, err
}

// Runs are the newest first. automation, when given, is an id or name.
func (s *Service) Runs(ctx context.Context, automation string, status RunStatus, p fleet.Page) ([]Run, string, error) {
	f := RunFilter{Status: status}
	if automation != "" {
		a, err := s.Automation(ctx, automation)
		if err != nil {
			return nil, "", err
		}
		f.Automation = a.ID
	}
	return s.store.AutomationRuns(ctx, f, p)
}

// Run gives a run and its journal. Fault: NotFound.
func (s *Service) Run(ctx context.Context, id string) (Run, []Step, error) {
	run, err := s.store.AutomationRun(ctx, id)
	if err != nil {
		return run, nil, err
	}
	steps, err := s.store.AutomationSteps(ctx, id)
	return run, steps, err
}

// Cancel ends a run. One that has ended stays as it is. Fault: NotFound.
func (s *Service) Cancel(ctx context.Context, actor entity.Actor, id string) (Run, error) {
	run, err := s.store.AutomationRun(ctx, id)
	if err != nil {
		return run, err
	}
	a, err := s.store.AutomationAt(ctx, run.Automation, run.Revision)
	if err != nil {
		return run, err
	}
	p, compiled := Compile(a, s.actions, "")
	err = entity.InTx(ctx, s.recorder, func(tx Tx) error {
		if _, err := tx.LockAutomations(ctx); err != nil {
			return err
		}
		by := actor.Name
		if by == "" {
			by = actor.ID
		}
		if err := cancelRun(ctx, tx, id, "cancelled by "+by); err != nil {
			return err
		}
		if compiled != nil {
			return nil
		}
		return promote(ctx, tx, p, run.ContextKey)
	})
	if err != nil {
		return run, err
	}
	s.recorder.Ring(entity.TopicEvents)
	s.recorder.Ring(TopicRuns)
	return s.store.AutomationRun(ctx, id)
}

// DryRun says what an automation would have done in a time that has passed. Faults:
// Invalid, and what is wrong with the automation.
func (s *Service) DryRun(ctx context.Context, in Input, from, to time.Time) (Report, error) {
	if !from.Before(to) || to.Sub(from) > longestDryRun {
		return Report{}, fault.New(fault.Invalid, "to must be after from, by at most %d days", int(longestDryRun.Hours()/24))
	}
	a, err := s.Read(in, "definition")
	if err != nil {
		return Report{}, err
	}
	// The same text is the same automation, so that the same dry run gives the same report.
	a.ID, a.Revision, a.Enabled = uuid.NewSHA1(namespace, []byte("dry-run/"+a.Name)).String(), 1, true
	p, err := Compile(a, s.actions, "definition")
	if err != nil {
		return Report{}, err
	}
	return DryRun{
		Programs: []*Program{p}, Actions: s.actions, From: from.UTC(), To: to.UTC(),
		States: past{ctx, s.store, from}, Events: s.events(ctx, from, to),
	}.Run(ctx)
}

// events are those of a time, read in pieces.
func (s *Service) events(ctx context.Context, from, to time.Time) iter.Seq2[entity.Event, error] {
	return func(yield func(entity.Event, error) bool) {
		const piece = 1000
		var seq int64
		for {
			events, err := s.store.EventsBetween(ctx, seq, from, to, piece)
			if err != nil {
				yield(entity.Event{}, err)
				return
			}
			for _, e := range events {
				if seq = e.Seq; !yield(e, nil) {
					return
				}
			}
			if len(events) < piece {
				return
			}
		}
	}
}

// past are the states as they were at a moment.
type past struct {
	ctx   context.Context
	store Store
	at    time.Time
}

func (p past) State(kind, id string) (entity.State, time.Time, error) {
	return p.store.EntityAt(p.ctx, kind, id, p.at)
}
