package assertion

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/perigee-monitoring/perigee/check"
)

// maxField bounds the name of a field.
const maxField = 256

// Operators are the names of all operators, sorted.
func Operators() []string { return slices.Sorted(maps.Keys(operators)) }

// Validate reports why an assertion can never hold, or hold only by accident:
// unknown operator, no value or one that cannot be compared with, an invalid
// pattern or path. The error is for people.
func Validate(a check.Assertion) error {
	field, dynamic := strings.CutSuffix(a.Field, ".$")
	switch {
	case field == "":
		return fmt.Errorf("an assertion needs a field")
	case len(a.Field) > maxField:
		return fmt.Errorf("the field is longer than %d bytes", maxField)
	case dynamic && a.JSONPath == "":
		return fmt.Errorf("the field %s needs a jsonPath", a.Field)
	}
	if a.JSONPath != "" {
		if _, err := parsePath(a.JSONPath); err != nil {
			return err
		}
	}
	op, ok := operators[a.Operator]
	if !ok {
		return fmt.Errorf("unknown operator %q; there are %s", a.Operator, strings.Join(Operators(), ", "))
	}
	if !op.value {
		return nil
	}
	value := normal(a.Value)
	if value == nil {
		return fmt.Errorf("the operator %s needs a value", a.Operator)
	}
	return validateValue(a.Operator, value)
}

func validateValue(operator string, value any) error {
	switch operator {
	case "equals", "notEquals", "includes", "notIncludes":
		if n, ok := value.(float64); ok && math.Abs(n) >= maxWhole {
			return fmt.Errorf("%s is one of several whole numbers that are read alike; write it as a text, in quotes, and it is compared digit by digit", show(value))
		}
	case "lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual":
		if _, truth := value.(bool); truth || math.IsNaN(number(value)) {
			return fmt.Errorf("the operator %s needs a number", operator)
		}
	case "lengthEquals", "lengthGreaterThan", "lengthLessThan":
		if n := number(value); math.IsNaN(n) || n < 0 || n != math.Trunc(n) {
			return fmt.Errorf("the operator %s needs a whole number", operator)
		}
	case "contains", "startsWith", "endsWith":
		if t, ok := value.(string); ok && t == "" {
			return fmt.Errorf("the operator %s needs a text that is not empty", operator)
		}
	case "matches":
		if _, err := compile(text(value)); err != nil {
			return err
		}
	}
	return nil
}
