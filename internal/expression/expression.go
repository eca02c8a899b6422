// Package expression is the language of expressions (CEL), as automations and
// assertions share it: its functions, its limits, and how mistakes are told. What names
// mean is for who uses it to declare.
package expression

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
)

const (
	// MaxText bounds an expression, in bytes.
	MaxText = 8 << 10
	// CostLimit bounds an evaluation in CEL's own units, about one for each operation;
	// the clock does not, so that the same input always gives the same answer.
	CostLimit = 200_000
)

// Language is what all expressions may say, without names.
func Language() []cel.EnvOption {
	return []cel.EnvOption{
		cel.OptionalTypes(),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserExpressionSizeLimit(MaxText),
		cel.ParserRecursionLimit(100),
		ext.Strings(), ext.Math(), ext.Lists(), ext.Sets(), ext.TwoVarComprehensions(),
	}
}

// Check reads an expression. want is the type that it must have, nil for any. The error is
// for people, with line and column inside of the text.
func Check(env *cel.Env, text string, want *cel.Type) (*cel.Ast, error) {
	if strings.TrimSpace(text) == "" {
		return nil, errors.New("must not be empty")
	}
	if len(text) > MaxText {
		return nil, fmt.Errorf("must be at most %d KiB", MaxText>>10)
	}
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		var all []string
		for _, e := range issues.Errors()[:min(3, len(issues.Errors()))] {
			all = append(all, fmt.Sprintf("line %d, column %d: %s", e.Location.Line(), e.Location.Column()+1, words(e.Message)))
		}
		return nil, errors.New(strings.Join(all, "; "))
	}
	if got := checked.OutputType(); want != nil && got != cel.DynType && !got.IsExactType(want) {
		return nil, fmt.Errorf("gives %s where %s is needed", typeName(got), typeName(want))
	}
	return checked, nil
}

// words leaves out what is of use to the parser's author.
func words(text string) string {
	text = strings.TrimSuffix(text, " (in container '')")
	text, _, _ = strings.Cut(text, " expecting {")
	return strings.Replace(text, "input '<EOF>'", "end", 1)
}

func typeName(t *cel.Type) string {
	switch t.Kind() {
	case types.BoolKind:
		return "true or false"
	case types.StringKind:
		return "text"
	case types.IntKind, types.DoubleKind, types.UintKind:
		return "a number"
	}
	return t.String()
}
