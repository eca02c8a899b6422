package catalog

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/internal/diff"

	"github.com/robfig/cron/v3"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/strictjson"
)

// Maintenance is a time in which systems may be unwell without an alarm: once, from
// Start to End, or by a Schedule.
type Maintenance struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Labels      map[string]string `json:"labels"`
	Mode        MaintenanceMode   `json:"mode"`
	// Systems are the systems that it covers, and Checks the names of those checks of
	// them; none is all.
	Systems  Selector   `json:"systems"`
	Checks   []string   `json:"checks"`
	Start    *time.Time `json:"start"`
	End      *time.Time `json:"end"`
	Schedule *Schedule  `json:"schedule"`
	// EndedBefore: windows that began before are over, because somebody ended one.
	EndedBefore *time.Time `json:"endedBefore"`
	// Active: it lasts now, as far as that was recorded.
	Active    bool      `json:"active"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

// MaintenanceMode is what happens to the checks of systems in maintenance.
type MaintenanceMode string

const (
	// Mute: they run, and nobody is alarmed.
	Mute MaintenanceMode = "mute"
	// Pause: satellites do not run them.
	Pause MaintenanceMode = "pause"
)

// Schedule is windows that come again: one begins whenever Cron (five fields, minute
// hour day month weekday) says so in the time zone, and lasts for Duration. A time
// that a change of the clock leaves out begins none.
type Schedule struct {
	Cron     string         `json:"cron"`
	Duration check.Duration `json:"duration"`
	// TimeZone is a name of the IANA database, "Europe/Berlin"; UTC when it is empty.
	TimeZone string `json:"timeZone,omitempty"`
}

// Limits of maintenances.
const (
	MaxMaintenances        = 1000
	MinMaintenance         = time.Minute
	MaxMaintenanceDuration = 7 * 24 * time.Hour
)

// cronFields reads Schedule.Cron. Of the library only the five fields are used: what
// it offers besides ("@every") has no fixed beginning.
var cronFields = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// next is when the first window begins after t; zero for never.
func (s *Schedule) next(t time.Time) (time.Time, error) {
	if strings.Contains(s.Cron, "=") || len(s.Cron) > MaxName {
		return time.Time{}, fmt.Errorf("must be five fields: minute, hour, day of the month, month, day of the week")
	}
	times, err := cronFields.Parse(s.Cron)
	if err != nil {
		return time.Time{}, err
	}
	zone, err := time.LoadLocation(cmp.Or(s.TimeZone, "UTC"))
	if err != nil {
		return time.Time{}, err
	}
	return times.Next(t.In(zone)), nil
}

// Window gives the window that t is in, else the next one; false when none comes.
func (m *Maintenance) Window(t time.Time) (from, to time.Time, ok bool) {
	switch {
	case m.Schedule != nil:
		after := t.Add(-time.Duration(m.Schedule.Duration))
		if m.EndedBefore != nil && m.EndedBefore.After(after) {
			after = m.EndedBefore.Add(-time.Microsecond)
		}
		from, err := m.Schedule.next(after)
		if err != nil || from.IsZero() {
			return from, to, false
		}
		return from.UTC(), from.Add(time.Duration(m.Schedule.Duration)).UTC(), true
	case m.Start == nil || m.End == nil || !t.Before(*m.End):
		return from, to, false
	case m.EndedBefore != nil && m.Start.Before(*m.EndedBefore):
		return from, to, false
	}
	return *m.Start, *m.End, true
}

// Lasts reports whether t is in one of its windows.
func (m *Maintenance) Lasts(t time.Time) bool {
	from, _, ok := m.Window(t)
	return ok && !t.Before(from)
}

// Maintained is a system, or one check of it, that is in maintenance now.
type Maintained struct {
	MaintenanceID string
	SystemID      string
	CheckID       string // "" is every check of the system
	Mode          MaintenanceMode
}

// MaintenanceInput is all that people say of a maintenance: Start and End, or a
// Schedule. Without a Start it begins at once.
type MaintenanceInput struct {
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	// Mode is mute when absent.
	Mode     MaintenanceMode `json:"mode,omitempty"`
	Systems  Selector        `json:"systems"`
	Checks   []string        `json:"checks,omitempty"`
	Start    *time.Time      `json:"start,omitempty"`
	End      *time.Time      `json:"end,omitempty"`
	Schedule *Schedule       `json:"schedule,omitempty"`
}

func (in MaintenanceInput) validate() problems {
	var p problems
	p.name("name", in.Name)
	p.description("description", in.Description)
	p.labels("labels", in.Labels)
	if in.Mode != "" && in.Mode != Mute && in.Mode != Pause {
		p.add("mode", in.Mode, "must be mute or pause")
	}
	if len(in.Systems.Names) == 0 && strings.TrimSpace(in.Systems.Selector) == "" {
		p.add("systems", nil, "names no system: give names or a selector")
	}
	p.selector("systems", in.Systems, true)
	if len(in.Checks) > MaxNamed {
		p.add("checks", nil, "must be at most %d names", MaxNamed)
	}
	switch {
	case in.Schedule != nil && (in.Start != nil || in.End != nil):
		p.add("schedule", nil, "must not be given with start and end")
	case in.Schedule != nil:
		p.schedule("schedule", *in.Schedule)
	case in.End == nil:
		p.add("end", nil, "must be given, or a schedule")
	case in.Start != nil && !in.End.After(*in.Start):
		p.add("end", *in.End, "must be after start")
	case in.Start != nil && (!storable(*in.Start) || !storable(*in.End)) || !storable(*in.End):
		p.add("end", nil, "must be a time from 1970 to 9999")
	}
	return p
}

func storable(t time.Time) bool { return t.Year() >= 1970 && t.Year() <= 9999 }

func (p *problems) schedule(path string, s Schedule) {
	if d := time.Duration(s.Duration); d < MinMaintenance || d > MaxMaintenanceDuration {
		p.add(path+".duration", s.Duration, "must be from %s to %s", check.Duration(MinMaintenance), check.Duration(MaxMaintenanceDuration))
	}
	if _, err := time.LoadLocation(cmp.Or(s.TimeZone, "UTC")); err != nil || s.TimeZone == "Local" {
		p.add(path+".timeZone", s.TimeZone, "must be the name of a time zone, such as Europe/Berlin")
		return
	}
	first, err := s.next(time.Now())
	switch {
	case err != nil:
		p.add(path+".cron", s.Cron, "cannot be read: %s", err.Error())
	case first.IsZero():
		p.add(path+".cron", s.Cron, "must come to pass within five years")
	}
}

// resolve gives the maintenance that in makes of m, and what in refers to in vain.
func (in MaintenanceInput) resolve(e *edit, m Maintenance) (Maintenance, problems) {
	var p problems
	for i, name := range in.Systems.Names {
		if s, ok := e.systems.get(name); ok {
			in.Systems.Names = slices.Clone(in.Systems.Names)
			in.Systems.Names[i] = s.Name
		} else {
			p.add(fmt.Sprintf("systems.names[%d]", i), name, "%s", strictjson.Missing("system", name, e.systems.names()))
		}
	}
	checks := []string{}
	for i, name := range in.Checks {
		if c, ok := e.checks.get(name); ok {
			checks = append(checks, c.Name)
		} else {
			p.add(fmt.Sprintf("checks[%d]", i), name, "%s", strictjson.Missing("check", name, e.checks.names()))
		}
	}
	if in.Schedule == nil && in.Start == nil && in.End != nil {
		in.Start = cmp.Or(m.Start, &e.now)
		if !in.End.After(*in.Start) {
			p.add("end", *in.End, "must be later than now")
		}
	}
	when := diff.Text([]any{m.Start, m.End, m.Schedule})
	m.Name, m.Description, m.Labels = in.Name, in.Description, labels(in.Labels)
	m.Mode, m.Systems, m.Checks = cmp.Or(in.Mode, Mute), in.Systems.canonical(), append([]string{}, sortedUnique(checks)...)
	m.Start, m.End, m.Schedule = micros(in.Start), micros(in.End), in.Schedule
	if when != diff.Text([]any{m.Start, m.End, m.Schedule}) {
		m.EndedBefore = nil
	}
	m.Active = m.Lasts(e.now)
	return m, p
}

// micros is a time as it is kept.
func micros(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	kept := t.UTC().Truncate(time.Microsecond)
	return &kept
}

// Maintenance gets a maintenance by id or name.
func (c *Catalog) Maintenance(ctx context.Context, ref string) (Maintenance, error) {
	return byRef(ctx, ref, c.store.Maintenance, c.store.MaintenanceByName)
}

// Maintenances lists by name.
func (c *Catalog) Maintenances(ctx context.Context, p fleet.Page) ([]Maintenance, string, error) {
	return c.store.Maintenances(ctx, p)
}

// CreateMaintenance makes a maintenance, which begins at once when its time is now.
// Faults: Invalid, Conflict.
func (c *Catalog) CreateMaintenance(ctx context.Context, actor entity.Actor, in MaintenanceInput) (Maintenance, error) {
	id := newID()
	return c.putMaintenance(ctx, actor, in, func(e *edit) (Maintenance, error) {
		if len(e.maintenances.after) >= MaxMaintenances {
			return Maintenance{}, fault.New(fault.Conflict, "there are %d maintenances, and cannot be more; delete those that are over", MaxMaintenances)
		}
		return Maintenance{ID: id}, nil
	})
}

// UpdateMaintenance replaces a maintenance, named by id or name. Faults: Invalid,
// NotFound, Conflict.
func (c *Catalog) UpdateMaintenance(ctx context.Context, actor entity.Actor, ref string, in MaintenanceInput) (Maintenance, error) {
	return c.putMaintenance(ctx, actor, in, func(e *edit) (Maintenance, error) { return e.maintenances.need(ref) })
}

func (c *Catalog) putMaintenance(ctx context.Context, actor entity.Actor, in MaintenanceInput, find func(*edit) (Maintenance, error)) (Maintenance, error) {
	wrong := in.validate()
	var id string
	err := c.change(ctx, actor, false, func(e *edit) error {
		m, err := find(e)
		if err != nil {
			return err
		}
		m, dangling := in.resolve(e, m)
		if err := slices.Concat(wrong, dangling).fault("the maintenance is not valid"); err != nil {
			return err
		}
		id = m.ID
		return e.maintenances.put(m)
	})
	if err != nil {
		return Maintenance{}, err
	}
	return c.store.Maintenance(ctx, id)
}

// EndMaintenance ends the window that lasts now; of a schedule the next one comes as
// planned. Faults: NotFound, Conflict when none lasts.
func (c *Catalog) EndMaintenance(ctx context.Context, actor entity.Actor, ref string) (Maintenance, error) {
	var id string
	err := c.change(ctx, actor, false, func(e *edit) error {
		m, err := e.maintenances.need(ref)
		if err != nil {
			return err
		}
		if id = m.ID; !m.Lasts(e.now) {
			return fault.New(fault.Conflict, "maintenance %q does not last now", m.Name)
		}
		m.EndedBefore, m.Active = new(e.now.Add(time.Microsecond)), false
		return e.maintenances.put(m)
	})
	if err != nil {
		return Maintenance{}, err
	}
	return c.store.Maintenance(ctx, id)
}

// DeleteMaintenance removes a maintenance, named by id or name, and ends it. Fault: NotFound.
func (c *Catalog) DeleteMaintenance(ctx context.Context, actor entity.Actor, ref string) error {
	return c.change(ctx, actor, false, func(e *edit) error {
		m, err := e.maintenances.need(ref)
		if err != nil {
			return err
		}
		e.maintenances.remove(m.ID)
		return nil
	})
}

// followNames lets maintenances follow the names of systems and checks, and forget
// what is gone. One that names nothing any more covers nothing.
func (e *edit) followNames(all altered) error {
	systems, checks := map[string]string{}, map[string]string{} // to "" when gone
	for _, a := range all.systems {
		follow(systems, a, func(s System) string { return s.Name })
	}
	for _, a := range all.checks {
		follow(checks, a, func(c Check) string { return c.Name })
	}
	if len(systems)+len(checks) == 0 {
		return nil
	}
	for _, m := range maps.Clone(e.maintenances.after) {
		names, named := followed(m.Systems.Names, systems)
		of, checked := followed(m.Checks, checks)
		if !named && !checked {
			continue
		}
		if m.Systems.Names = names; len(names) == 0 {
			m.Systems.Names = nil
		}
		if len(of) == 0 && len(m.Checks) > 0 {
			m.Systems = Selector{} // without its checks it would cover all
		}
		m.Checks = append([]string{}, of...)
		if err := e.maintenances.put(m); err != nil {
			return err
		}
	}
	return nil
}

func follow[T any](renamed map[string]string, a alteration[T], name func(T) string) {
	switch {
	case a.before == nil:
	case a.after == nil:
		renamed[name(*a.before)] = ""
	case name(*a.before) != name(*a.after):
		renamed[name(*a.before)] = name(*a.after)
	}
}

func followed(names []string, renamed map[string]string) (now []string, altered bool) {
	for _, name := range names {
		to, is := renamed[name]
		if !is {
			to = name
		}
		altered = altered || is
		if to != "" {
			now = append(now, to)
		}
	}
	return sortedUnique(now), altered
}

// maintain works out what is in maintenance after the edit.
func (e *edit) maintain() {
	e.covered = map[Maintained]bool{}
	for _, m := range e.maintenances.after {
		if !m.Active {
			continue
		}
		for _, systemID := range e.systemsIn(&m) {
			if len(m.Checks) == 0 {
				e.covered[Maintained{MaintenanceID: m.ID, SystemID: systemID, Mode: m.Mode}] = true
			}
			for _, name := range m.Checks {
				if c, ok := e.checks.named(name); ok {
					e.covered[Maintained{MaintenanceID: m.ID, SystemID: systemID, CheckID: c.ID, Mode: m.Mode}] = true
				}
			}
		}
	}
	e.paused = pausing(e.covered)
}

func (e *edit) systemsIn(m *Maintenance) []string {
	ids := map[string]bool{}
	for _, name := range m.Systems.Names {
		if s, ok := e.systems.named(name); ok {
			ids[s.ID] = true
		}
	}
	if m.Systems.Selector != "" {
		sel := e.placer.parsed(m.Systems.Selector)
		for id, s := range e.systems.after {
			if sel.Matches(s.Labels) {
				ids[id] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

// pausing gives the pairs that maintenance keeps satellites from running. One without a
// check is all of its system.
func pausing(covered map[Maintained]bool) map[pair]bool {
	paused := map[pair]bool{}
	for m := range covered {
		if m.Mode == Pause {
			paused[pair{m.CheckID, m.SystemID}] = true
		}
	}
	return paused
}

// writeMaintained stores what came into maintenance and what left it.
func (e *edit) writeMaintained(ctx context.Context) error {
	var begin, end []Maintained
	for m := range e.covered {
		if !e.wasCovered[m] {
			begin = append(begin, m)
		}
	}
	for m := range e.wasCovered {
		if !e.covered[m] {
			end = append(end, m)
		}
	}
	if len(begin)+len(end) == 0 {
		return nil
	}
	order := func(a, b Maintained) int {
		return cmp.Or(cmp.Compare(a.SystemID, b.SystemID), cmp.Compare(a.CheckID, b.CheckID), cmp.Compare(a.MaintenanceID, b.MaintenanceID))
	}
	slices.SortFunc(begin, order)
	slices.SortFunc(end, order)
	if err := e.tx.Maintain(ctx, begin, end); err != nil {
		return fmt.Errorf("writing what is in maintenance: %w", err)
	}
	return nil
}

// Maintain begins and ends the maintenances whose time it is, each once however many
// cores look, and gives the time until the next. Wait is at most an hour.
func (c *Catalog) Maintain(ctx context.Context) (wait time.Duration, err error) {
	all, now, err := c.store.DueMaintenances(ctx)
	if err != nil {
		return 0, err
	}
	wait, due := time.Hour, false
	for _, m := range all {
		if m.Lasts(now) != m.Active {
			due = true
		}
		from, to, ok := m.Window(now)
		if !ok {
			continue
		}
		if at := from.Sub(now); at > 0 {
			wait = min(wait, at)
		} else {
			wait = min(wait, to.Sub(now))
		}
	}
	if !due {
		return wait, nil
	}
	return 0, c.change(ctx, entity.System, false, func(e *edit) error {
		for _, m := range maps.Clone(e.maintenances.after) {
			if lasts := m.Lasts(e.now); lasts != m.Active {
				m.Active = lasts
				if err := e.maintenances.put(m); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
