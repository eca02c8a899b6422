package automation

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/strictjson"
)

// UnmarshalJSON reads what UnmarshalStrict reads, from what is kept.
func (c *Condition) UnmarshalJSON(raw []byte) error {
	if problems := c.UnmarshalStrict(raw, ""); len(problems) > 0 {
		return fmt.Errorf("condition%s: %s", problems[0].Path, problems[0].Message)
	}
	return nil
}

// UnmarshalStrict reads an expression, or an object.
func (c *Condition) UnmarshalStrict(raw json.RawMessage, path string) []fault.Field {
	if json.Unmarshal(raw, &c.Expression) == nil {
		return nil
	}
	if strings.HasPrefix(strings.TrimSpace(string(raw)), "{") {
		type plain Condition
		return strictjson.Decode(raw, (*plain)(c), path)
	}
	var b bool
	if json.Unmarshal(raw, &b) == nil { // YAML's true is an expression too
		c.Expression = strconv.FormatBool(b)
		return nil
	}
	return []fault.Field{{Path: path, Message: "must be an expression, or an object with and, or, not, numeric_state, time or state"}}
}

// MarshalJSON writes it as it was written.
func (c Condition) MarshalJSON() ([]byte, error) {
	if c.Expression != "" {
		return json.Marshal(c.Expression)
	}
	type plain Condition
	return json.Marshal(plain(c))
}

// condition is a compiled one: test is nil for and, or and not.
type condition struct {
	path string
	text string
	op   string // and, or, not, or "" for a test
	subs []*condition
	// test gives the answer and what it stands on.
	test func(s *scope) (bool, error)
	why  func(s *scope) string
}

// holds evaluates it, and explains each part that was evaluated. An error is for
// people, unless the scope failed.
func (c *condition) holds(s *scope, because *[]Explanation) (bool, error) {
	if c.op == "" {
		ok, err := c.test(s)
		if because != nil && s.failed == nil {
			*because = append(*because, explanation(c.path, c.text, ok, err, func() string { return c.why(s) }))
		}
		return ok, err
	}
	for _, sub := range c.subs {
		ok, err := sub.holds(s, because)
		switch {
		case err != nil:
			return false, err
		case c.op == "not":
			return !ok, nil
		case c.op == "and" && !ok:
			return false, nil
		case c.op == "or" && ok:
			return true, nil
		}
	}
	return c.op == "and", nil
}

func explanation(path, text string, ok bool, err error, why func() string) Explanation {
	e := Explanation{Path: path, Text: text, Result: strconv.FormatBool(ok)}
	if err != nil {
		e.Result, e.Why = "error", err.Error()
	} else {
		e.Why = why()
	}
	return e
}

func (c *compiler) condition(d Condition, path string, depth int) *condition {
	out := &condition{path: path, why: func(*scope) string { return "" }, test: func(*scope) (bool, error) { return false, errors.New("was not compiled") }}
	if depth > MaxNesting {
		c.add(path, "is nested more than %d deep", MaxNesting)
		return out
	}
	var kinds []string
	note := func(kind string, there bool) {
		if there {
			kinds = append(kinds, kind)
		}
	}
	note("an expression", d.Expression != "")
	note("and", d.And != nil)
	note("or", d.Or != nil)
	note("not", d.Not != nil)
	note("numeric_state", d.NumericState != nil)
	note("time", d.Time != nil)
	note("state", d.State != nil)
	if len(kinds) != 1 {
		if len(kinds) == 0 {
			c.add(path, "must be an expression, or have one of and, or, not, numeric_state, time and state")
		} else {
			c.add(path, "must have only one of %s", strings.Join(kinds, ", "))
		}
		return out
	}
	subs := func(op string, list []Condition) {
		out.op = op
		if len(list) == 0 || len(list) > MaxConditions {
			c.add(path+"."+op, "must be 1 to %d conditions", MaxConditions)
		}
		for i, sub := range list {
			out.subs = append(out.subs, c.condition(sub, fmt.Sprintf("%s.%s[%d]", path, op, i), depth+1))
		}
	}
	switch kinds[0] {
	case "an expression":
		out.text = d.Expression
		if e := c.predicate(d.Expression, path); e != nil {
			out.test, out.why = e.bool, e.why
		}
	case "and":
		subs("and", d.And)
	case "or":
		subs("or", d.Or)
	case "not":
		out.op = "not"
		out.subs = []*condition{c.condition(*d.Not, path+".not", depth+1)}
	case "numeric_state":
		c.numericState(out, *d.NumericState, path+".numeric_state")
	case "time":
		c.timeOfDay(out, *d.Time, path+".time")
	case "state":
		c.stateCondition(out, *d.State, path+".state")
	}
	return out
}

// predicate compiles an expression that is true or false. It may stand in ${{ }}.
func (c *compiler) predicate(text, path string) *expression {
	return c.expression(text, path, cel.BoolType)
}

func (c *compiler) expression(text, path string, want *cel.Type) *expression {
	inner := strings.TrimSpace(text)
	if after, ok := strings.CutPrefix(inner, "${{"); ok {
		end := holeEnd(after)
		if end < 0 || after[end+2:] != "" {
			c.add(path, "must be one expression, bare or in ${{ }}")
			return nil
		}
		text = after[:end]
	}
	e, err := compileExpression(text, want)
	if err != nil {
		c.add(path, "%s", err.Error())
		return nil
	}
	return e
}

func (c *compiler) numericState(out *condition, d NumericState, path string) {
	if d.Above == nil && d.Below == nil {
		c.add(path, "must have above or below")
	}
	var bounds []string
	if d.Above != nil {
		bounds = append(bounds, "above "+number(*d.Above))
	}
	if d.Below != nil {
		bounds = append(bounds, "below "+number(*d.Below))
	}
	out.text = fmt.Sprintf("%v %s", d.Value, strings.Join(bounds, " and "))
	within := func(v float64) bool { return (d.Above == nil || v > *d.Above) && (d.Below == nil || v < *d.Below) }
	switch v := d.Value.(type) {
	case float64:
		out.test = func(*scope) (bool, error) { return within(v), nil }
	case string:
		e := c.expression(v, path+".value", nil)
		if e == nil {
			return
		}
		out.why = e.why
		out.test = func(s *scope) (bool, error) {
			got, err := e.eval(s)
			if err != nil {
				return false, err
			}
			n, err := toNative(got)
			if err != nil || n == nil {
				return false, err
			}
			f, ok := asNumber(n)
			if !ok {
				return false, fmt.Errorf("%s is no number", shortJSON(n))
			}
			return within(f), nil
		}
	default:
		c.add(path+".value", "must be a number or an expression")
	}
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func asNumber(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	case string:
		f, err := strconv.ParseFloat(v, 64)
		return f, err == nil
	}
	return 0, false
}

func (c *compiler) timeOfDay(out *condition, d TimeOfDay, path string) {
	if d.After == "" && d.Before == "" && len(d.Weekday) == 0 {
		c.add(path, "must have after, before or weekday")
	}
	clock := func(text, field string, absent int) int {
		if text == "" {
			return absent
		}
		t, err := time.Parse("15:04", text)
		if err != nil || len(text) != 5 {
			c.add(path+"."+field, "must be a time of day such as 08:30")
		}
		return t.Hour()*60 + t.Minute()
	}
	after, before := clock(d.After, "after", 0), clock(d.Before, "before", 24*60)
	for i, day := range d.Weekday {
		if day < 0 || day > 6 {
			c.add(fmt.Sprintf("%s.weekday[%d]", path, i), "must be 0, Sunday, to 6, Saturday")
		}
	}
	zone, err := time.LoadLocation(d.Timezone) // "" is UTC
	if err != nil || d.Timezone == "Local" {
		c.add(path+".timezone", "must be a time zone such as Europe/Berlin")
		zone = time.UTC
	}
	var words []string
	if d.After != "" {
		words = append(words, "after "+d.After)
	}
	if d.Before != "" {
		words = append(words, "before "+d.Before)
	}
	if len(d.Weekday) > 0 {
		words = append(words, "on "+strings.Trim(fmt.Sprint(d.Weekday), "[]"))
	}
	out.text = "time " + strings.Join(words, " ")
	out.why = func(s *scope) string { return "it is " + s.now.In(zone).Format("Mon 15:04 MST") }
	out.test = func(s *scope) (bool, error) {
		s.clock = true
		now := s.now.In(zone)
		minute, day := now.Hour()*60+now.Minute(), int(now.Weekday())
		within := minute >= after && minute < before
		if after >= before { // over midnight
			within = minute >= after || minute < before
			if minute < before {
				day = (day + 6) % 7
			}
		}
		return within && (len(d.Weekday) == 0 || slices.Contains(d.Weekday, day)), nil
	}
}

func (c *compiler) stateCondition(out *condition, d StateCondition, path string) {
	kind, field := d.Kind, d.Field
	if kind == "" {
		kind = "health"
	}
	if field == "" {
		field = "status"
	}
	if d.Status == "" {
		c.add(path+".status", "must not be empty")
	}
	if d.Entity == "" {
		c.add(path+".entity", "must not be empty")
	}
	id := c.text(d.Entity, path+".entity")
	status := c.text(d.Status, path+".status")
	held := c.duration(d.For, path+".for", MaxWaitSeconds*time.Second)
	out.text = fmt.Sprintf("%s %s %s is %s", kind, d.Entity, field, d.Status)
	evaluate := func(s *scope) (bool, string, error) {
		s.begin()
		entity, err := id.string(s)
		if err != nil {
			return false, "", at(s, "entity", err)
		}
		want, err := status.string(s)
		if err != nil {
			return false, "", at(s, "status", err)
		}
		state, since, err := s.look(kind, entity)
		if err != nil {
			return false, "", err
		}
		if state == nil {
			return false, "", fmt.Errorf("there is no %s %q", kind, entity)
		}
		v, there := state[field]
		if !there {
			return false, "", fmt.Errorf("%s %q has no field %q", kind, entity, field)
		}
		is, isText := v.(string)
		if !isText {
			is = shortJSON(v)
		}
		why := fmt.Sprintf("%s is %s since %s", field, is, since.UTC().Format(time.RFC3339))
		if is != want {
			return false, why, nil
		}
		if held == nil {
			return true, why, nil
		}
		long, err := held.value(s)
		if err != nil {
			return false, "", at(s, "for", err)
		}
		s.clock = true
		return !s.now.Before(since.Add(long)), why, nil
	}
	out.test = func(s *scope) (bool, error) {
		ok, _, err := evaluate(s)
		return ok, err
	}
	out.why = func(s *scope) string {
		_, why, _ := evaluate(s)
		return why
	}
}

// duration is a compiled Duration.
type duration struct {
	fixed    time.Duration
	template *template
	longest  time.Duration
}

func (c *compiler) duration(d *Duration, path string, longest time.Duration) *duration {
	if d == nil {
		return nil
	}
	out := &duration{longest: longest}
	given := 0
	for _, f := range []struct {
		value float64
		unit  time.Duration
	}{{d.Seconds, time.Second}, {d.Minutes, time.Minute}, {d.Hours, time.Hour}} {
		if f.value != 0 {
			given++
			if f.value < 0 || f.value > float64(longest/f.unit) {
				c.add(path, "must be 0 to %s", longest)
				return out
			}
			out.fixed = time.Duration(f.value * float64(f.unit))
		}
	}
	if d.Template != "" {
		given++
		text := d.Template
		if !strings.Contains(text, "${{") {
			text = "${{" + text + "}}"
		}
		out.template = c.text(text, path+".template")
	}
	if given > 1 {
		c.add(path, "must have only one of seconds, minutes, hours and template")
	}
	return out
}

func (d *duration) value(s *scope) (time.Duration, error) {
	if d.template == nil {
		return d.fixed, nil
	}
	v, err := d.template.value(s)
	if err != nil {
		return 0, err
	}
	var out time.Duration
	if seconds, ok := asNumber(v); ok {
		if !(seconds >= 0 && seconds <= d.longest.Seconds()) {
			return 0, fmt.Errorf("%s is not 0 to %s", number(seconds), d.longest)
		}
		out = time.Duration(seconds * float64(time.Second))
	} else {
		text, _ := v.(string)
		if out, err = time.ParseDuration(text); err != nil {
			return 0, fmt.Errorf("%s is neither a number of seconds nor a duration such as 5m", shortJSON(v))
		}
	}
	if out < 0 || out > d.longest {
		return 0, fmt.Errorf("%s is not 0 to %s", out, d.longest)
	}
	return out, nil
}
