package automation

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/internal/strictjson"
)

// action is a compiled ActionSpec.
type action struct {
	id       string
	kind     string
	disabled bool
	goesOn   bool // continue_on_error

	// Of kind action.
	name    string
	config  *tree
	retry   Retry
	inDoubt InDoubt

	choices   []choice
	otherwise []*action // else
	branches  []*action // parallel
	sequence  []*action
	delay     *duration
	repeat    *repeat
	variables map[string]*tree
	condition *condition
	stop      *Stop
	reason    *template // of stop
	wait      *wait
}

type choice struct {
	when     *condition
	sequence []*action
}

type repeat struct {
	count, forEach any // a number, a list, or an expression
	while, until   *condition
	limit          int
	sequence       []*action
}

// wait is both of the waits.
type wait struct {
	condition *condition
	event     string
	filter    *expression
	context   *template
	timeout   time.Duration
	poll      time.Duration
	fails     bool // on timeout
}

func (c *compiler) sequence(list []ActionSpec, path string, depth int) []*action {
	if depth > MaxNesting {
		c.add(path, "is nested more than %d deep", MaxNesting)
		return nil
	}
	var all []*action
	for i, spec := range list {
		if c.count++; c.count > MaxActions {
			c.add(path, "must be at most %d actions in all", MaxActions)
			return all
		}
		all = append(all, c.action(spec, fmt.Sprintf("%s[%d]", path, i), depth))
	}
	return all
}

func (c *compiler) action(d ActionSpec, path string, depth int) *action {
	a := &action{id: d.ID, disabled: d.Enabled != nil && !*d.Enabled, goesOn: d.ContinueOnError}
	if d.ID != "" {
		switch {
		case !identifier.MatchString(d.ID):
			c.add(path+".id", "must be letters, digits and _, not beginning with a digit, at most %d", MaxSlug)
		case c.ids[d.ID]:
			c.add(path+".id", "is the id of another action")
		}
		c.ids[d.ID] = true
	}
	if len(d.Description) > MaxText {
		c.add(path+".description", "must be at most %d characters", MaxText)
	}
	kinds := d.kinds()
	if len(kinds) != 1 {
		if len(kinds) == 0 {
			c.add(path, "must have one of action, choose, parallel, sequence, delay, repeat, variables, condition, stop, wait_for_trigger and wait_until")
		} else {
			c.add(path, "must have only one of %s", strings.Join(kinds, ", "))
		}
		return a
	}
	a.kind = kinds[0]
	c.misplaced(d, a.kind, path)
	switch a.kind {
	case "action":
		c.external(a, d, path)
	case "choose":
		if len(d.Choose) == 0 {
			c.add(path+".choose", "must be at least one choice")
		}
		for i, choiceSpec := range d.Choose {
			at := fmt.Sprintf("%s.choose[%d]", path, i)
			a.choices = append(a.choices, choice{
				when:     c.condition(choiceSpec.When, at+".when", 1),
				sequence: c.sequence(choiceSpec.Sequence, at+".sequence", depth+1),
			})
		}
		a.otherwise = c.sequence(d.Else, path+".else", depth+1)
	case "parallel":
		if len(d.Parallel) == 0 {
			c.add(path+".parallel", "must be at least one action")
		}
		a.branches = c.sequence(d.Parallel, path+".parallel", depth+1)
	case "sequence":
		if len(d.Sequence) == 0 { // which would be lost when it is written
			c.add(path+".sequence", "must be at least one action")
		}
		a.sequence = c.sequence(d.Sequence, path+".sequence", depth+1)
	case "delay":
		a.delay = c.duration(d.Delay, path+".delay", 24*time.Hour)
	case "repeat":
		a.repeat = c.repeat(*d.Repeat, path+".repeat", depth)
	case "variables":
		if len(d.Variables) == 0 {
			c.add(path+".variables", "must be at least one variable")
		}
		a.variables = map[string]*tree{}
		for _, name := range slices.Sorted(maps.Keys(d.Variables)) {
			if !identifier.MatchString(name) {
				c.add(path+".variables."+name, "must be named with letters, digits and _, not beginning with a digit")
			}
			a.variables[name] = c.tree(d.Variables[name], path+".variables."+name)
		}
	case "condition":
		a.condition = c.condition(*d.Condition, path+".condition", 1)
	case "stop":
		a.stop, a.reason = d.Stop, c.text(d.Stop.Reason, path+".stop.reason")
	case "wait_for_trigger":
		w := d.WaitForTrigger
		at := path + ".wait_for_trigger"
		c.event(w.Event, at+".event")
		a.wait = &wait{event: w.Event, timeout: c.timeout(w.TimeoutSeconds, at), fails: w.ContinueOnTimeout != nil && !*w.ContinueOnTimeout}
		if w.Filter != "" {
			a.wait.filter = c.predicate(w.Filter, at+".filter")
		}
		if w.ContextKey != "" {
			a.wait.context = c.text(w.ContextKey, at+".context_key")
		}
	case "wait_until":
		w := d.WaitUntil
		at := path + ".wait_until"
		a.wait = &wait{
			condition: c.condition(w.Condition, at+".condition", 1), timeout: c.timeout(w.TimeoutSeconds, at),
			fails: w.ContinueOnTimeout != nil && !*w.ContinueOnTimeout, poll: 30 * time.Second,
		}
		if w.PollSeconds != 0 {
			if w.PollSeconds < 1 || w.PollSeconds > 3600 {
				c.add(at+".poll_seconds", "must be 1 to 3600")
			}
			a.wait.poll = time.Duration(w.PollSeconds * float64(time.Second))
		}
	}
	return a
}

// kinds are the kinds of action whose fields are there.
func (d ActionSpec) kinds() []string {
	var all []string
	for _, k := range []struct {
		name  string
		there bool
	}{
		{"action", d.Action != ""},
		{"choose", d.Choose != nil},
		{"parallel", d.Parallel != nil},
		{"sequence", d.Sequence != nil},
		{"delay", d.Delay != nil},
		{"repeat", d.Repeat != nil},
		{"variables", d.Variables != nil},
		{"condition", d.Condition != nil},
		{"stop", d.Stop != nil},
		{"wait_for_trigger", d.WaitForTrigger != nil},
		{"wait_until", d.WaitUntil != nil},
	} {
		if k.there {
			all = append(all, k.name)
		}
	}
	return all
}

// misplaced tells fields that belong to another kind: without effect they would mislead.
func (c *compiler) misplaced(d ActionSpec, kind, path string) {
	for _, f := range []struct {
		name, of string
		there    bool
	}{
		{"config", "action", d.Config != nil},
		{"retry", "action", d.Retry != nil},
		{"in_doubt", "action", d.InDoubt != ""},
		{"else", "choose", d.Else != nil},
	} {
		if f.there && f.of != kind {
			c.add(path+"."+f.name, "belongs to %s, and this is %s", f.of, kind)
		}
	}
}

// external compiles what is done to the world.
func (c *compiler) external(a *action, d ActionSpec, path string) {
	a.name = d.Action
	known, ok := c.actions.Action(d.Action)
	if !ok {
		var names []string
		for _, k := range c.actions.All() {
			names = append(names, k.Name)
		}
		c.add(path+".action", "%s", strictjson.Missing("action", d.Action, names))
	}
	config := map[string]any{}
	if len(d.Config) > 0 && json.Unmarshal(d.Config, &config) != nil {
		c.add(path+".config", "must be an object")
		return
	}
	a.config = c.tree(config, path+".config")
	if ok {
		for _, f := range known.Fields {
			// What is to be a text is one, whatever the value of its hole is.
			if t := a.config.object[f.Name]; t != nil && f.Type == "string" {
				t.text = true
			}
		}
		for _, p := range known.Problems(config) {
			at := path + ".config"
			if _, there := config[p.Field]; there {
				at += "." + p.Field
				c.add(at, "%s", p.Message)
			} else {
				c.add(at, "%s %s", p.Field, p.Message)
			}
		}
	}
	switch d.InDoubt {
	case "":
		a.inDoubt = InDoubtFail
		if known.Repeatable {
			a.inDoubt = InDoubtRetry
		}
	case InDoubtRetry, InDoubtSkip, InDoubtFail:
		a.inDoubt = d.InDoubt
	default:
		c.add(path+".in_doubt", "must be retry, skip or fail")
	}
	a.retry = Retry{Attempts: 1, BackoffSeconds: 5}
	if r := d.Retry; r != nil {
		if r.Attempts < 1 || r.Attempts > 20 {
			c.add(path+".retry.attempts", "must be 1 to 20")
		}
		if r.BackoffSeconds < 0 || r.BackoffSeconds > 3600 {
			c.add(path+".retry.backoff_seconds", "must be 0 to 3600")
		}
		a.retry.Attempts = r.Attempts
		if r.BackoffSeconds != 0 {
			a.retry.BackoffSeconds = r.BackoffSeconds
		}
	}
}

func (c *compiler) timeout(seconds float64, path string) time.Duration {
	if !(seconds > 0 && seconds <= MaxWaitSeconds) {
		c.add(path+".timeout_seconds", "must be more than 0 and at most %d", MaxWaitSeconds)
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

func (c *compiler) repeat(d Repeat, path string, depth int) *repeat {
	r := &repeat{limit: d.MaxIterations, sequence: c.sequence(d.Sequence, path+".sequence", depth+1)}
	if len(d.Sequence) == 0 {
		c.add(path+".sequence", "must be at least one action")
	}
	given := 0
	if d.Count != nil {
		given++
		switch v := d.Count.(type) {
		case float64:
			if v < 0 || v > MaxIterations || v != float64(int(v)) {
				c.add(path+".count", "must be a whole number from 0 to %d", MaxIterations)
			}
			r.count = v
		case string:
			r.count = c.expression(v, path+".count", nil)
		default:
			c.add(path+".count", "must be a number or an expression")
		}
	}
	if d.ForEach != nil {
		given++
		switch v := d.ForEach.(type) {
		case []any:
			if len(v) > MaxIterations {
				c.add(path+".for_each", "must be at most %d", MaxIterations)
			}
			r.forEach = c.tree(v, path+".for_each")
		case string:
			r.forEach = c.expression(v, path+".for_each", nil)
		default:
			c.add(path+".for_each", "must be a list or an expression")
		}
	}
	if d.While != nil {
		given++
		r.while = c.condition(*d.While, path+".while", 1)
	}
	if d.Until != nil {
		given++
		r.until = c.condition(*d.Until, path+".until", 1)
	}
	if given != 1 {
		c.add(path, "must have one of count, for_each, while and until")
	}
	switch {
	case d.MaxIterations < 0 || d.MaxIterations > MaxIterations:
		c.add(path+".max_iterations", "must be 1 to %d", MaxIterations)
	case d.MaxIterations == 0 && (d.While != nil || d.Until != nil):
		r.limit = DefaultIterations
	case d.MaxIterations == 0:
		r.limit = MaxIterations
	}
	return r
}
