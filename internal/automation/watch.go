package automation

import "encoding/json"

// Watch is a wish of a trigger, or of a wait, to be told of single runs of checks, which
// are too many to be told of all (spec D.4).
type Watch struct {
	// Event is EventNumericState or EventCheckFailed.
	Event string
	// Field is EventNumericState's; System and Check are ids or names, "" any.
	Field, System, Check string
}

// EventCheckFailed is a run of a check that failed, whether or not that is news.
const EventCheckFailed = "healthcheck.check_failed"

// Watches are the wishes of a definition.
func (d *Definition) Watches() []Watch {
	var watches []Watch
	for _, t := range d.Triggers {
		switch t.Event {
		case EventNumericState:
			var c struct {
				Field  string `json:"field"`
				System string `json:"system"`
				Check  string `json:"check"`
			}
			if json.Unmarshal(t.Config, &c) == nil {
				watches = append(watches, Watch{Event: t.Event, Field: c.Field, System: c.System, Check: c.Check})
			}
		case EventCheckFailed:
			var c CheckFailedConfig
			if len(t.Config) == 0 || json.Unmarshal(t.Config, &c) == nil {
				watches = append(watches, Watch{Event: t.Event, System: c.System, Check: c.Check})
			}
		}
	}
	return append(watches, watchesOf(d.Actions)...)
}

// watchesOf are those of waits inside actions.
func watchesOf(actions []ActionSpec) []Watch {
	var watches []Watch
	for _, a := range actions {
		if a.WaitForTrigger != nil && a.WaitForTrigger.Event == EventCheckFailed {
			watches = append(watches, Watch{Event: EventCheckFailed})
		}
		for _, below := range [][]ActionSpec{a.Else, a.Parallel, a.Sequence} {
			watches = append(watches, watchesOf(below)...)
		}
		for _, c := range a.Choose {
			watches = append(watches, watchesOf(c.Sequence)...)
		}
		if a.Repeat != nil {
			watches = append(watches, watchesOf(a.Repeat.Sequence)...)
		}
	}
	return watches
}
