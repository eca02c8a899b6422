package checkschema

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/assertion"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

// Limits of a check. MaxCollectors and MaxID are what the wire can carry.
const (
	MinInterval   = time.Second
	MaxInterval   = 24 * time.Hour
	MaxCollectors = 256
	MaxAssertions = 100
	MaxID         = 256
)

// ValidateSpec says what is wrong with a check, nil for nothing. Paths are
// relative to the spec: "collectors[0].config.url".
func ValidateSpec(spec check.Spec) []fault.Field {
	var fields []fault.Field
	add := func(path string, value any, format string, args ...any) {
		fields = append(fields, fault.Field{Path: path, Message: fmt.Sprintf(format, args...), Value: value})
	}
	strategy, known := check.Strategy(spec.Strategy)
	switch {
	case spec.Strategy == "":
		add("strategy", nil, "is missing; there are %s", strings.Join(check.Strategies(), ", "))
	case !known:
		add("strategy", spec.Strategy, "is not known; there are %s", strings.Join(check.Strategies(), ", "))
	default:
		fields = append(fields, ValidateStrategy(spec.Strategy, spec.Config, "config")...)
	}
	switch interval := time.Duration(spec.Interval); {
	case interval == 0:
		add("interval", nil, "is missing; write it as 10s, 5m or 1h")
	case interval < MinInterval || interval > MaxInterval:
		add("interval", spec.Interval.String(), "must be between 1s and 24h")
	case interval%time.Second != 0:
		add("interval", spec.Interval.String(), "must be whole seconds")
	}
	if known && strategy.Lazy && len(spec.Collectors) == 0 {
		add("collectors", nil, "must not be empty: %s alone measures nothing; add %s", spec.Strategy, strings.Join(check.Collectors(spec.Strategy), " or "))
	}
	if len(spec.Collectors) > MaxCollectors {
		add("collectors", nil, "must be at most %d", MaxCollectors)
		return fields
	}
	ids, kinds := make(map[string]int), make(map[string]int)
	for i, c := range spec.Collectors {
		path := fmt.Sprintf("collectors[%d]", i)
		first, taken := ids[c.ID]
		switch {
		case c.ID == "":
			add(path+".id", nil, "is missing: a name of your choice, unique in this check")
		case len(c.ID) > MaxID:
			add(path+".id", nil, "must be at most %d bytes", MaxID)
		case taken:
			add(path+".id", c.ID, "is the id of collectors[%d] too", first)
		default:
			ids[c.ID] = i
		}
		if known {
			fields = append(fields, validateKind(strategy, c, path, i, kinds)...)
		}
		fields = append(fields, validateAssertions(c, path)...)
		for _, wrong := range c.Latency.Validate(path + ".latency") {
			add(wrong.Path, wrong.Value, "%s", wrong.Message)
		}
	}
	return fields
}

// validateKind checks that the collector works over the strategy. kinds remembers
// at which index a kind was first seen.
func validateKind(strategy check.Kind, c check.Collector, path string, i int, kinds map[string]int) []fault.Field {
	possible := check.Collectors(strategy.ID)
	if !slices.Contains(possible, c.Collector) {
		message := "is not a collector of " + strategy.ID + "; there is " + strings.Join(possible, ", ")
		return []fault.Field{{Path: path + ".collector", Message: message, Value: c.Collector}}
	}
	kind, _ := check.CollectorKind(c.Collector)
	if first, seen := kinds[c.Collector]; seen && !kind.Multiple {
		message := fmt.Sprintf("can be there once only, and is collectors[%d] already", first)
		return []fault.Field{{Path: path + ".collector", Message: message, Value: c.Collector}}
	}
	kinds[c.Collector] = i
	return ValidateCollector(c.Collector, c.Config, path+".config")
}

func validateAssertions(c check.Collector, path string) []fault.Field {
	if len(c.Assertions) > MaxAssertions {
		return []fault.Field{{Path: path + ".assertions", Message: fmt.Sprintf("must be at most %d", MaxAssertions)}}
	}
	var names []string
	for _, f := range check.ResultFields(c.Collector) {
		names = append(names, f.Name)
	}
	var fields []fault.Field
	for i, a := range c.Assertions {
		at := fmt.Sprintf("%s.assertions[%d]", path, i)
		if a.Expression != "" {
			if err := assertion.ValidateExpression(c.Collector, a); err != nil {
				fields = append(fields, fault.Field{Path: at + ".expression", Message: err.Error()})
			}
			continue
		}
		if err := assertion.Validate(a); err != nil {
			fields = append(fields, fault.Field{Path: at, Message: err.Error()})
			continue
		}
		if field := strings.TrimSuffix(a.Field, ".$"); names != nil && !slices.Contains(names, field) {
			message := "is not a field of what " + c.Collector + " finds; there are " + strings.Join(names, ", ")
			fields = append(fields, fault.Field{Path: at + ".field", Message: message, Value: a.Field})
		}
	}
	return fields
}
