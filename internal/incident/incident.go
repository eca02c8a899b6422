// Package incident keeps what is wrong, who knows it, and what was done about it: a
// record with a timeline, and notes on anything else.
//
// While an incident is open no other has its cause, so that what has one cause is one
// incident and one alarm, whoever finds it and however often.
package incident

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// Kind is the entity kind of an incident (spec D.1).
const Kind = "incident"

// Status is how far it is understood.
type Status string

const (
	Open       Status = "open"
	Identified Status = "identified" // the cause is known
	Monitoring Status = "monitoring" // mended, and watched
	Resolved   Status = "resolved"
)

// Statuses are all of them, in the order in which they come.
var Statuses = []Status{Open, Identified, Monitoring, Resolved}

// Severity is how bad it is.
type Severity string

const (
	Minor    Severity = "minor"
	Major    Severity = "major"
	Critical Severity = "critical"
)

// Severities are all of them, from the least.
var Severities = []Severity{Minor, Major, Critical}

// Limits of what is written.
const (
	MaxTitle   = 200
	MaxText    = 10_000
	MaxCause   = 200
	MaxSystems = 100
	MaxParts   = 500
	// MaxEntries bounds a timeline; what comes after is refused.
	MaxEntries = 1000
)

// Incident is one.
type Incident struct {
	ID       string   `json:"id"`
	Title    string   `json:"title"`
	Severity Severity `json:"severity" enum:"minor,major,critical"`
	Status   Status   `json:"status" enum:"open,identified,monitoring,resolved"`
	// Cause names what brought it about, "satellite/ID" or "region/eu"; "" for not known.
	Cause      string     `json:"cause" doc:"What brought it about. While it is open no other has this cause."`
	Systems    []string   `json:"systems" doc:"Ids of the systems that it is about."`
	Parts      []string   `json:"parts" doc:"What of the cause is not well yet: when one after the other is, and none is left, it is resolved."`
	OpenedAt   time.Time  `json:"openedAt"`
	UpdatedAt  time.Time  `json:"updatedAt"`
	ResolvedAt *time.Time `json:"resolvedAt"`
	// Timeline is there when one incident is asked for, oldest first.
	Timeline []Entry `json:"timeline,omitempty"`
}

// Entry is one thing that was said or done.
type Entry struct {
	ID         string       `json:"id"`
	IncidentID string       `json:"-"`
	Status     Status       `json:"status" doc:"The incident's from then on."`
	Text       string       `json:"text"`
	Actor      entity.Actor `json:"actor"`
	At         time.Time    `json:"at"`
	// Key makes it one however often it is written; "" for a person's.
	Key string `json:"-"`
}

// Note is what somebody wrote about an entity.
type Note struct {
	ID       string       `json:"id"`
	Kind     string       `json:"kind"`
	EntityID string       `json:"entityId"`
	Text     string       `json:"text"`
	Actor    entity.Actor `json:"actor"`
	At       time.Time    `json:"at"`
	Key      string       `json:"-"`
}

// Input opens an incident.
type Input struct {
	Title    string   `json:"title" maxLength:"200"`
	Severity Severity `json:"severity" enum:"minor,major,critical"`
	Cause    string   `json:"cause,omitempty" maxLength:"200"`
	Systems  []string `json:"systems,omitempty" maxItems:"100" doc:"Ids or names."`
	Part     string   `json:"part,omitempty" maxLength:"200" doc:"What of the cause is not well, when several things may be: a satellite of a region."`
	Text     string   `json:"text,omitempty" maxLength:"10000" doc:"The first entry of its timeline."`
}

// Update adds to an incident.
type Update struct {
	Status   Status   `json:"status,omitempty" enum:"open,identified,monitoring,resolved"`
	Severity Severity `json:"severity,omitempty" enum:"minor,major,critical"`
	Text     string   `json:"text,omitempty" maxLength:"10000"`

	part string // of the cause, which is well again
}

// Store is what the service reads outside of transactions.
type Store interface {
	Incident(ctx context.Context, id string) (Incident, error)
	IncidentEntries(ctx context.Context, id string) ([]Entry, error)
	// Incidents lists newest first.
	Incidents(ctx context.Context, open bool, p fleet.Page) ([]Incident, string, error)
	Notes(ctx context.Context, kind, id string, p fleet.Page) ([]Note, string, error)
	// SystemIDs turns ids and names into ids; what does not exist is left out.
	SystemIDs(ctx context.Context, refs []string) (map[string]string, error)
}

// Tx is what the service does inside a transaction.
type Tx interface {
	entity.Tx
	// LockIncidents makes transactions that alter incidents wait for each other.
	LockIncidents(ctx context.Context) error
	IncidentForUpdate(ctx context.Context, id string) (Incident, error)
	// OpenIncident is the one of this cause; NotFound for none.
	OpenIncident(ctx context.Context, cause string) (Incident, error)
	// EntryOfKey is the entry that was written under the key; NotFound for none.
	EntryOfKey(ctx context.Context, key string) (Entry, error)
	CountEntries(ctx context.Context, id string) (int, error)
	PutIncident(ctx context.Context, i Incident) error
	InsertEntry(ctx context.Context, e Entry) error
	// InsertNote ignores a note whose key is there already.
	InsertNote(ctx context.Context, n Note) error
}

// Service keeps incidents.
type Service struct {
	store    Store
	recorder *entity.Recorder
}

// New makes the service.
func New(store Store, recorder *entity.Recorder) *Service {
	return &Service{store: store, recorder: recorder}
}

// Get gives an incident with its timeline. Fault: NotFound.
func (s *Service) Get(ctx context.Context, id string) (Incident, error) {
	i, err := s.store.Incident(ctx, id)
	if err != nil {
		return i, err
	}
	i.Timeline, err = s.store.IncidentEntries(ctx, id)
	return i, err
}

// List lists newest first, without timelines; open leaves out those that are resolved.
func (s *Service) List(ctx context.Context, open bool, p fleet.Page) ([]Incident, string, error) {
	return s.store.Incidents(ctx, open, p)
}

// Open opens an incident. When one of the same cause is open already, that is the
// answer and opened is false: it gets the text as an entry, the systems that it had
// not, and the severity if that is worse. The same key does nothing again. Fault: Invalid.
func (s *Service) Open(ctx context.Context, actor entity.Actor, key string, in Input) (i Incident, opened bool, err error) {
	if err := in.validate(); err != nil {
		return i, false, err
	}
	if in.Systems, err = s.systems(ctx, in.Systems); err != nil {
		return i, false, err
	}
	err = entity.Record(ctx, s.recorder, func(tx Tx) ([]entity.Change, error) {
		if err := tx.LockIncidents(ctx); err != nil {
			return nil, err
		}
		if before, again, err := ofKey(ctx, tx, key); err != nil || again {
			i, opened = before, before.OpenedAt.Equal(before.UpdatedAt)
			return nil, err
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return nil, err
		}
		i = Incident{ID: newID(), Title: in.Title, Severity: in.Severity, Status: Open, Cause: in.Cause, Systems: in.Systems, Parts: []string{}, OpenedAt: now}
		if in.Part != "" {
			i.Parts = []string{in.Part}
		}
		var prev entity.State
		opened = true
		if in.Cause != "" {
			switch known, err := tx.OpenIncident(ctx, in.Cause); {
			case err == nil:
				prev, opened = known.State(), false
				i = known.joined(in)
			case !fault.Is(err, fault.NotFound):
				return nil, err
			}
		}
		text := in.Text
		if text == "" {
			text = in.Title
		}
		return write(ctx, tx, prev, &i, Entry{Text: text, Actor: actor, Key: key}, now)
	})
	return i, opened, err
}

// joined is an incident to which another finding of its cause was added.
func (i Incident) joined(in Input) Incident {
	for _, id := range in.Systems {
		if !slices.Contains(i.Systems, id) && len(i.Systems) < MaxSystems {
			i.Systems = append(i.Systems, id)
		}
	}
	if in.Part != "" && !slices.Contains(i.Parts, in.Part) && len(i.Parts) < MaxParts {
		i.Parts = append(i.Parts, in.Part)
	}
	if slices.Index(Severities, in.Severity) > slices.Index(Severities, i.Severity) {
		i.Severity = in.Severity
	}
	return i
}

// Update adds to an incident, or resolves it; a resolved one stays so. The same key
// does nothing again. Faults: Invalid, NotFound, Conflict.
func (s *Service) Update(ctx context.Context, actor entity.Actor, key, id string, u Update) (i Incident, err error) {
	return s.update(ctx, actor, key, u, func(tx Tx) (Incident, error) { return tx.IncidentForUpdate(ctx, id) })
}

// UpdateCause does the same to the open incident of a cause. Fault: NotFound when none
// is open.
func (s *Service) UpdateCause(ctx context.Context, actor entity.Actor, key, cause string, u Update) (i Incident, err error) {
	return s.update(ctx, actor, key, u, func(tx Tx) (Incident, error) { return tx.OpenIncident(ctx, cause) })
}

// ResolvePart says that a part of a cause is well again: its incident is resolved when
// that was the last one. Fault: NotFound when none is open.
func (s *Service) ResolvePart(ctx context.Context, actor entity.Actor, key, cause, part, text string) (i Incident, err error) {
	return s.update(ctx, actor, key, Update{Text: text, part: part}, func(tx Tx) (Incident, error) {
		known, err := tx.OpenIncident(ctx, cause)
		if err == nil && part != "" && !slices.Contains(known.Parts, part) {
			return known, fault.New(fault.NotFound, "%q is no part of incident %q", part, known.Title)
		}
		return known, err
	})
}

func (s *Service) update(ctx context.Context, actor entity.Actor, key string, u Update, find func(Tx) (Incident, error)) (i Incident, err error) {
	if err := u.validate(); err != nil {
		return i, err
	}
	err = entity.Record(ctx, s.recorder, func(tx Tx) ([]entity.Change, error) {
		if err := tx.LockIncidents(ctx); err != nil {
			return nil, err
		}
		if before, again, err := ofKey(ctx, tx, key); err != nil || again {
			i = before
			return nil, err
		}
		if i, err = find(tx); err != nil {
			return nil, err
		}
		if i.Status == Resolved {
			return nil, fault.New(fault.Conflict, "incident %q is resolved; open another", i.Title)
		}
		if n, err := tx.CountEntries(ctx, i.ID); err != nil || n >= MaxEntries && u.Status != Resolved {
			return nil, orFault(err, fault.New(fault.Conflict, "the timeline of incident %q has %d entries and cannot have more; resolve it", i.Title, n))
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return nil, err
		}
		prev := i.State()
		if u.Status != "" {
			i.Status = u.Status
		}
		if u.Severity != "" {
			i.Severity = u.Severity
		}
		if u.part != "" {
			i.Parts = slices.DeleteFunc(i.Parts, func(p string) bool { return p == u.part })
			if len(i.Parts) == 0 {
				i.Status = Resolved
			}
		}
		if i.Status == Resolved {
			i.ResolvedAt = &now
		}
		return write(ctx, tx, prev, &i, Entry{Text: u.Text, Actor: actor, Key: key}, now)
	})
	return i, err
}

func orFault(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// ofKey is the incident that was written under the key before.
func ofKey(ctx context.Context, tx Tx, key string) (i Incident, again bool, err error) {
	if key == "" {
		return i, false, nil
	}
	e, err := tx.EntryOfKey(ctx, key)
	if fault.Is(err, fault.NotFound) {
		return i, false, nil
	}
	if err != nil {
		return i, false, err
	}
	i, err = tx.IncidentForUpdate(ctx, e.IncidentID)
	return i, true, err
}

func write(ctx context.Context, tx Tx, prev entity.State, i *Incident, e Entry, now time.Time) ([]entity.Change, error) {
	i.UpdatedAt = now
	if err := tx.PutIncident(ctx, *i); err != nil {
		return nil, err
	}
	e.ID, e.IncidentID, e.Status, e.At = newID(), i.ID, i.Status, now
	if err := tx.InsertEntry(ctx, e); err != nil {
		return nil, err
	}
	return []entity.Change{{Kind: Kind, ID: i.ID, Prev: prev, Next: i.State(), Actor: e.Actor}}, nil
}

// State is the incident as an entity (spec D.1).
func (i Incident) State() entity.State {
	return entity.State{
		"title": i.Title, "status": string(i.Status), "severity": string(i.Severity), "cause": i.Cause, "systemIds": append([]string{}, i.Systems...), "parts": append([]string{}, i.Parts...),
		"openedAt": i.OpenedAt, "updatedAt": i.UpdatedAt,
	}
}

// Derivers say what changes of incidents mean (spec D.4).
func Derivers() []entity.Deriver {
	return []entity.Deriver{{
		Kind: Kind,
		Types: func(c entity.Change) []string {
			switch {
			case c.Prev == nil:
				return []string{"incident.created"}
			case c.Next["status"] == string(Resolved):
				return []string{"incident.resolved"}
			}
			return []string{"incident.updated"}
		},
		Payload: func(c entity.Change) any {
			payload := map[string]any{"incidentId": c.ID}
			for _, field := range []string{"systemIds", "title", "severity", "status", "cause"} {
				payload[field] = c.Next[field]
			}
			return payload
		},
	}}
}

// AddNote writes a note. Fault: Invalid.
func (s *Service) AddNote(ctx context.Context, actor entity.Actor, key string, n Note) (Note, error) {
	var p problems
	p.text("kind", n.Kind, 1, 100)
	p.text("entityId", n.EntityID, 1, 200)
	p.text("text", n.Text, 1, MaxText)
	if err := p.fault("the note is not valid"); err != nil {
		return n, err
	}
	n.ID, n.Actor, n.Key = newID(), actor, key
	err := entity.InTx(ctx, s.recorder, func(tx Tx) (err error) {
		if n.At, err = tx.Now(ctx); err != nil {
			return err
		}
		return tx.InsertNote(ctx, n)
	})
	return n, err
}

// Notes lists the notes on an entity, newest first.
func (s *Service) Notes(ctx context.Context, kind, id string, p fleet.Page) ([]Note, string, error) {
	return s.store.Notes(ctx, kind, id, p)
}

// systems turns names into ids.
func (s *Service) systems(ctx context.Context, refs []string) ([]string, error) {
	if len(refs) == 0 {
		return []string{}, nil
	}
	known, err := s.store.SystemIDs(ctx, refs)
	if err != nil {
		return nil, err
	}
	ids := []string{}
	var p problems
	for n, ref := range refs {
		id, ok := known[ref]
		if !ok {
			p = append(p, fault.Field{Path: fmt.Sprintf("systems[%d]", n), Value: ref, Message: "there is no such system"})
		} else if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, p.fault("the incident is not valid")
}

func (in Input) validate() error {
	var p problems
	p.text("title", in.Title, 1, MaxTitle)
	p.text("text", in.Text, 0, MaxText)
	p.text("cause", in.Cause, 0, MaxCause)
	p.text("part", in.Part, 0, MaxCause)
	if in.Part != "" && in.Cause == "" {
		p = append(p, fault.Field{Path: "cause", Message: "must be given with a part"})
	}
	if !slices.Contains(Severities, in.Severity) {
		p = append(p, fault.Field{Path: "severity", Value: in.Severity, Message: "must be minor, major or critical"})
	}
	if len(in.Systems) > MaxSystems {
		p = append(p, fault.Field{Path: "systems", Message: fmt.Sprintf("must be at most %d", MaxSystems)})
	}
	return p.fault("the incident is not valid")
}

func (u Update) validate() error {
	var p problems
	p.text("text", u.Text, 0, MaxText)
	if u.Status != "" && !slices.Contains(Statuses, u.Status) {
		p = append(p, fault.Field{Path: "status", Value: u.Status, Message: "must be open, identified, monitoring or resolved"})
	}
	if u.Severity != "" && !slices.Contains(Severities, u.Severity) {
		p = append(p, fault.Field{Path: "severity", Value: u.Severity, Message: "must be minor, major or critical"})
	}
	if u == (Update{}) {
		p = append(p, fault.Field{Path: "text", Message: "nothing is said: give text, status or severity"})
	}
	return p.fault("the update is not valid")
}

type problems []fault.Field

func (p *problems) text(path, text string, least, most int) {
	switch n := utf8.RuneCountInString(text); {
	case least > 0 && strings.TrimSpace(text) == "":
		*p = append(*p, fault.Field{Path: path, Message: "must not be empty"})
	case n > most:
		*p = append(*p, fault.Field{Path: path, Message: fmt.Sprintf("must be at most %d characters", most)})
	}
}

func (p problems) fault(message string) error {
	if len(p) == 0 {
		return nil
	}
	return &fault.Error{Kind: fault.Invalid, Message: message, Fields: p}
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }
