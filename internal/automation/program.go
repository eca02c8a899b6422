package automation

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/strictjson"
)

// Program is an automation that was compiled. It is safe for concurrent use.
type Program struct {
	automation Automation
	triggers   []*trigger
	conditions []*condition
	actions    []*action
	maxRuns    int
}

// trigger is a compiled Trigger.
type trigger struct {
	id     string
	index  int
	event  string
	filter *expression
	// matches is the predicate of the event's config.
	matches     func(*scope) (bool, string)
	held        *duration // for
	window      *Window
	partitionBy *expression
	// numeric is the config of automation.numeric_state.
	numeric *NumericTrigger
	timer   func(after time.Time) time.Time
}

// ParseDefinition reads a definition strictly. Everything that is wrong is told at once,
// in a fault.Error whose paths begin with path ("" or "spec").
func ParseDefinition(raw json.RawMessage, path string) (Definition, error) {
	var d Definition
	if len(raw) > MaxDefinition {
		return d, fault.New(fault.Invalid, "a definition must be at most %d KiB", MaxDefinition>>10)
	}
	if problems := strictjson.Decode(raw, &d, path); len(problems) > 0 {
		return d, refused(problems)
	}
	return d, nil
}

func refused(problems []fault.Field) error {
	err := fault.New(fault.Invalid, "the automation cannot be taken as it is")
	err.Fields = problems
	return err
}

// compiler gathers what is wrong.
type compiler struct {
	problems []fault.Field
	actions  Actions
	count    int
	ids      map[string]bool
}

func (c *compiler) add(path, format string, args ...any) {
	if len(c.problems) < 100 {
		c.problems = append(c.problems, fault.Field{Path: path, Message: fmt.Sprintf(format, args...)})
	}
}

// text compiles a text with holes.
func (c *compiler) text(text, path string) *template {
	t, err := compileTemplate(text)
	if err != nil {
		c.add(path, "%s", err.Error())
		return &template{parts: []part{{text: text}}}
	}
	return t
}

// Compile checks the automation and its expressions. What is wrong is a fault.Error
// of kind Invalid, whose paths begin with path ("" or "spec") and whose messages say
// line and column inside an expression.
func Compile(a Automation, actions Actions, path string) (*Program, error) {
	c := &compiler{actions: actions, ids: map[string]bool{}}
	d := a.Definition
	p := &Program{automation: a, maxRuns: d.MaxRuns}
	if len(d.Description) > MaxText {
		c.add("description", "must be at most %d characters", MaxText)
	}
	if n := len(d.Triggers); n == 0 || n > MaxTriggers {
		c.add("triggers", "must be 1 to %d triggers", MaxTriggers)
	}
	names := map[string]bool{}
	for i, t := range d.Triggers[:min(len(d.Triggers), MaxTriggers)] {
		at := fmt.Sprintf("triggers[%d]", i)
		compiled := c.trigger(t, at)
		compiled.index = i
		if names[compiled.id] {
			c.add(at, "has the id %q of another trigger; give it one of its own", compiled.id)
		}
		names[compiled.id] = true
		p.triggers = append(p.triggers, compiled)
	}
	if len(d.Conditions) > MaxConditions {
		c.add("conditions", "must be at most %d conditions", MaxConditions)
	}
	for i, condition := range d.Conditions[:min(len(d.Conditions), MaxConditions)] {
		p.conditions = append(p.conditions, c.condition(condition, fmt.Sprintf("conditions[%d]", i), 1))
	}
	p.actions = c.sequence(d.Actions, "actions", 1)
	if len(d.Actions) == 0 {
		c.add("actions", "must be at least one action")
	}
	switch d.Mode {
	case "", ModeSingle, ModeRestart, ModeParallel, ModeQueued:
	default:
		c.add("mode", "must be single, parallel, queued or restart")
	}
	if d.Scope != "" && d.Scope != ScopeAutomation && d.Scope != ScopeContext {
		c.add("concurrency_scope", "must be automation or context")
	}
	switch {
	case d.MaxRuns < 0 || d.MaxRuns > MaxRunsLimit:
		c.add("max_runs", "must be 1 to %d", MaxRunsLimit)
	case d.MaxRuns == 0 && d.Mode == ModeParallel:
		p.maxRuns = 10
	case d.MaxRuns == 0:
		p.maxRuns = 1
	}
	if len(d.UsesState) > MaxUsesState {
		c.add("uses_state", "must be at most %d", MaxUsesState)
	}
	if len(c.problems) > 0 {
		for i := range c.problems {
			c.problems[i].Path = strictjson.Join(path, c.problems[i].Path)
		}
		return nil, refused(c.problems)
	}
	return p, nil
}

// Automation is what the program was made of.
func (p *Program) Automation() Automation { return p.automation }

var (
	slug         = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
	identifier   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)
	nonAlphanums = regexp.MustCompile(`[^a-z0-9]+`)
)

// defaultID is what a trigger without an id is called (spec D.3).
func defaultID(event string) string {
	return nonAlphanums.ReplaceAllString(strings.ToLower(event), "_")
}

func (c *compiler) event(event, path string) {
	if event == "" {
		c.add(path, "must be the type of an event, such as satellite.disconnected")
		return
	}
	names := make([]string, len(eventTypes))
	for i, t := range eventTypes {
		names[i] = t.Type
	}
	if !slices.Contains(names, event) {
		c.add(path, "%s", strictjson.Missing("event", event, names))
	}
}

func (c *compiler) trigger(d Trigger, path string) *trigger {
	t := &trigger{id: d.ID, event: d.Event, window: d.Window}
	c.event(d.Event, path+".event")
	if t.id == "" {
		t.id = defaultID(d.Event)
	} else if !slug.MatchString(t.id) {
		c.add(path+".id", "must be lower-case letters, digits, - and _, at most %d", MaxSlug)
	}
	if d.Filter != "" {
		t.filter = c.predicate(d.Filter, path+".filter")
	}
	t.held = c.duration(d.For, path+".for", MaxWaitSeconds*time.Second)
	if d.For != nil && *d.For == (Duration{}) {
		c.add(path+".for", "must have seconds, minutes, hours or template")
	}
	if w := d.Window; w != nil {
		if w.Count < 1 || w.Count > 1000 {
			c.add(path+".window.count", "must be 1 to 1000")
		}
		if w.Minutes < 1 || w.Minutes > 1440 {
			c.add(path+".window.minutes", "must be 1 to 1440")
		}
		if w.Refire != "" && w.Refire != "every" && w.Refire != "once" {
			c.add(path+".window.refire", "must be every or once")
		}
		if w.PartitionBy != "" {
			t.partitionBy = c.expression(w.PartitionBy, path+".window.partitionBy", nil)
		}
	}
	c.config(t, d.Config, path+".config")
	if d.For != nil && d.Event == EventCheckFailed {
		c.add(path+".for", "cannot be asked of a single run, which does not last; use window, or healthcheck.check_degraded")
	}
	return t
}

// CronConfig is the config of automation.cron.
type CronConfig struct {
	// Pattern has five fields: minute, hour, day of month, month, day of week.
	Pattern  string `json:"cronPattern" help:"Five fields: minute, hour, day of the month, month, day of the week."`
	Timezone string `json:"timezone,omitempty" help:"Such as Europe/Berlin; UTC when left out."`
}

// IntervalConfig is the config of automation.interval.
type IntervalConfig struct {
	Seconds int `json:"intervalSeconds" help:"How often, 1 to 31536000."`
}

// WebhookConfig is the config of automation.webhook: calls of /hooks/{name} that are
// signed with the secret.
type WebhookConfig struct {
	Hook   string `json:"hook" help:"The name of the hook: calls come to /hooks/NAME."`
	Secret string `json:"secret,omitempty" help:"The name of the secret by which calls are signed."`
}

// NumericTrigger is the config of automation.numeric_state: it fires when a field of a
// check's result lies strictly between the bounds. System and Check are ids or names;
// absent, all.
type NumericTrigger struct {
	Field  string   `json:"field" help:"latencyMs, or a path into the result or into what collectors found, such as page.statusCode."`
	Above  *float64 `json:"above,omitempty" help:"It lies strictly above."`
	Below  *float64 `json:"below,omitempty" help:"It lies strictly below."`
	System string   `json:"system,omitempty" help:"Only of this system, by id or name."`
	Check  string   `json:"check,omitempty" help:"Only of this check, by id or name."`
}

// CheckFailedConfig is the config of healthcheck.check_failed: of which system and check,
// by id or name; absent, all.
type CheckFailedConfig struct {
	System string `json:"system,omitempty" help:"Only of this system, by id or name."`
	Check  string `json:"check,omitempty" help:"Only of this check, by id or name."`
}

// ChangeConfig is the config of entity.changed.
type ChangeConfig struct {
	Kind string `json:"kind,omitempty" help:"Only of entities of this kind; any when left out."`
}

// config reads the config that belongs to the event.
func (c *compiler) config(t *trigger, raw json.RawMessage, path string) {
	if len(raw) == 0 {
		raw = json.RawMessage("{}")
	}
	read := func(into any) { c.problems = append(c.problems, strictjson.Decode(raw, into, path)...) }
	switch t.event {
	case EventCron:
		var d CronConfig
		read(&d)
		zone, err := time.LoadLocation(d.Timezone)
		if err != nil || d.Timezone == "Local" {
			c.add(path+".timezone", "must be a time zone such as Europe/Berlin")
			return
		}
		schedule, err := cron.ParseStandard(d.Pattern)
		if err != nil || strings.HasPrefix(d.Pattern, "@") || strings.Contains(d.Pattern, "TZ=") {
			c.add(path+".cronPattern", "must be five fields, such as \"0 8 * * 1-5\"")
			return
		}
		t.timer = func(after time.Time) time.Time { return schedule.Next(after.In(zone)).UTC() }
	case EventInterval:
		var d IntervalConfig
		read(&d)
		if d.Seconds < 1 || d.Seconds > 31_536_000 {
			c.add(path+".intervalSeconds", "must be 1 to 31536000")
			return
		}
		every := time.Duration(d.Seconds) * time.Second
		// Pinned to absolute time, so that a restart moves nothing.
		t.timer = func(after time.Time) time.Time { return after.UTC().Truncate(every).Add(every) }
	case EventWebhook:
		var d WebhookConfig
		read(&d)
		if !slug.MatchString(d.Hook) {
			c.add(path+".hook", "must be lower-case letters, digits, - and _, at most %d", MaxSlug)
		}
		t.matches = func(s *scope) (bool, string) {
			return s.event.EntityID == d.Hook, fmt.Sprintf("the hook is %q", s.event.EntityID)
		}
	case EventNumericState:
		var d NumericTrigger
		read(&d)
		if d.Field == "" {
			c.add(path+".field", "must be the name of a field of the result, such as latencyMs")
		}
		if d.Above == nil && d.Below == nil {
			c.add(path, "must have above or below")
		}
		t.matches, t.numeric = d.matches, &d
	case EventCheckFailed:
		var d CheckFailedConfig
		read(&d)
		t.matches = func(s *scope) (bool, string) { return isOf(s, d.System, d.Check) }
	case entity.TypeChanged:
		var d ChangeConfig
		read(&d)
		if d.Kind != "" {
			t.matches = func(s *scope) (bool, string) {
				return s.event.Kind == d.Kind, fmt.Sprintf("the kind is %q", s.event.Kind)
			}
		}
	default:
		var none struct{}
		read(&none)
	}
}

// about tells whether an event is of the number that is meant.
func (d NumericTrigger) about(s *scope) (bool, string) {
	if field := s.part("trigger.payload", s.event.Payload)["field"]; field != d.Field {
		return false, fmt.Sprintf("the field is %s", shortJSON(field))
	}
	return isOf(s, d.System, d.Check)
}

// isOf tells whether an event is of a run of the system and the check, by id or name, ""
// for any.
func isOf(s *scope, system, check string) (bool, string) {
	payload := s.part("trigger.payload", s.event.Payload)
	is := func(want string, fields ...string) bool {
		return want == "" || slices.ContainsFunc(fields, func(f string) bool { return payload[f] == want })
	}
	switch {
	case !is(system, "systemId", "systemName"):
		return false, fmt.Sprintf("the system is %s", shortJSON(payload["systemName"]))
	case !is(check, "configurationId", "checkName"):
		return false, fmt.Sprintf("the check is %s", shortJSON(payload["checkName"]))
	}
	return true, ""
}

// matches tells whether an event's value lies within the bounds.
func (d NumericTrigger) matches(s *scope) (bool, string) {
	if ok, why := d.about(s); !ok {
		return false, why
	}
	v, ok := s.part("trigger.payload", s.event.Payload)["value"].(float64)
	if !ok {
		return false, "the value is no number"
	}
	return (d.Above == nil || v > *d.Above) && (d.Below == nil || v < *d.Below), "the value is " + number(v)
}

// Timer is a trigger that fires by the clock.
type Timer struct {
	Trigger string
	// Next is when it fires first after that moment; zero for never.
	Next func(after time.Time) time.Time
}

// Timers are the program's cron and interval triggers.
func (p *Program) Timers() []Timer {
	var all []Timer
	for _, t := range p.triggers {
		if t.timer != nil {
			all = append(all, Timer{Trigger: t.id, Next: t.timer})
		}
	}
	return all
}

// TimerEvent is the event of a cron or interval trigger that is due at a moment.
func (p *Program) TimerEvent(trigger string, at time.Time) entity.Event {
	typ := EventInterval
	if t := p.trigger(trigger); t != nil {
		typ = t.event
	}
	payload, _ := json.Marshal(map[string]any{"firedAt": at.UTC()}) // a time can be written
	return entity.Event{
		Type: typ, Kind: "automation", EntityID: p.automation.ID, ChangeID: at.UTC().Format(time.RFC3339Nano),
		Prev: json.RawMessage("null"), Next: json.RawMessage("null"), Payload: payload, Actor: entity.System, At: at,
	}
}

func (p *Program) trigger(id string) *trigger {
	for _, t := range p.triggers {
		if t.id == id {
			return t
		}
	}
	return nil
}

// Events are the types of events that start something. Of others the program need only be
// asked when they may end a dwell: when one waits for the event's entity.
func (p *Program) Events() []string {
	var all []string
	for _, t := range p.triggers {
		all = append(all, t.event)
	}
	return all
}
