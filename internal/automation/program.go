package automation

import (
	"encoding/json"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
)

// Program is an automation that was compiled. It is safe for concurrent use.
type Program struct {
	automation Automation
}

// ParseDefinition reads a definition strictly. Everything that is wrong is told at once,
// in a fault.Error whose paths begin with path ("" or "spec").
func ParseDefinition(raw json.RawMessage, path string) (Definition, error) {
	var d Definition
	return d, json.Unmarshal(raw, &d)
}

// Compile checks the automation and its expressions. What is wrong is a fault.Error
// of kind Invalid, whose paths begin with path ("" or "spec") and whose messages say
// line and column inside an expression.
func Compile(a Automation, actions Actions, path string) (*Program, error) {
	return &Program{automation: a}, nil
}

// Automation is what the program was made of.
func (p *Program) Automation() Automation { return p.automation }

// Timer is a trigger that fires by the clock.
type Timer struct {
	Trigger string
	// Next is when it fires first after that moment; zero for never.
	Next func(after time.Time) time.Time
}

// Timers are the program's cron and interval triggers.
func (p *Program) Timers() []Timer { return nil }

// Events are the types of events that start something or end a dwell: of others the
// program need not be asked. "*" is all of them.
func (p *Program) Events() []string { return nil }

// The events that are made by the automations themselves (spec D.4).
const (
	EventCron     = "automation.cron"
	EventInterval = "automation.interval"
	// EventWebhook is a call from outside; its entity is the name of the hook.
	EventWebhook = "automation.webhook"
	// EventManual is a person's. It needs no trigger that names it.
	EventManual = "automation.manual"
	// EventNumericState is a number that a check found (D.4).
	EventNumericState = "automation.numeric_state"
)

// TimerEvent is the event of a cron or interval trigger that is due at a moment.
func (p *Program) TimerEvent(trigger string, at time.Time) entity.Event { return entity.Event{} }
