package assertion

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/expression"
)

// An expression sees the fields of what one collector found as result.NAME, each with
// its type, so that a misspelt one is refused when the check is saved, and how long the
// collector took as tookMs. Numbers are compared with whole ones and others alike.

// maxCompiled bounds the expressions that are kept compiled. Beyond it all are forgotten.
const maxCompiled = 1000

// compiled is an expression on the result of one kind of collector.
type compiled struct {
	program cel.Program
	names   []string // that it stands on, sorted
}

type compiledKey struct{ collectorID, text string }

// memory keeps what was compiled: runs come again and again.
var memory = struct {
	sync.Mutex
	environments map[string]*cel.Env
	compiled     map[compiledKey]*compiled
}{environments: map[string]*cel.Env{}, compiled: map[compiledKey]*compiled{}}

// environmentOf declares what expressions on the collector's result may name.
func environmentOf(collectorID string) (*cel.Env, error) {
	if env := memory.environments[collectorID]; env != nil {
		return env, nil
	}
	fields := check.ResultFields(collectorID)
	if fields == nil {
		return nil, fmt.Errorf("nothing is known of what %s finds", cut(collectorID))
	}
	options := append(expression.Language(), cel.Variable("tookMs", cel.DoubleType))
	for _, f := range fields {
		options = append(options, cel.Variable("result."+f.Name, typeOf(f.Type)))
	}
	env, err := cel.NewEnv(options...)
	if err == nil {
		memory.environments[collectorID] = env // as many as there are kinds
	}
	return env, err
}

func typeOf(jsonType string) *cel.Type {
	switch jsonType {
	case "string":
		return cel.StringType
	case "boolean":
		return cel.BoolType
	case "array":
		return cel.ListType(cel.DynType)
	case "object":
		return cel.MapType(cel.StringType, cel.DynType)
	}
	return cel.DynType // 200 is to equal 200.0
}

// compileExpression reads an expression. The error is for people, with line and column.
func compileExpression(collectorID, text string) (*compiled, error) {
	memory.Lock()
	defer memory.Unlock()
	key := compiledKey{collectorID, text}
	if c := memory.compiled[key]; c != nil {
		return c, nil
	}
	env, err := environmentOf(collectorID)
	if err != nil {
		return nil, err
	}
	checked, err := expression.Check(env, text, cel.BoolType)
	if err != nil {
		return nil, err
	}
	c := &compiled{}
	if c.program, err = env.Program(checked, cel.CostLimit(expression.CostLimit), cel.EvalOptions(cel.OptOptimize)); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, ref := range checked.NativeRep().ReferenceMap() {
		if ref.Name == "tookMs" || strings.HasPrefix(ref.Name, "result.") {
			names[ref.Name] = true
		}
	}
	c.names = slices.Sorted(maps.Keys(names))
	if len(memory.compiled) >= maxCompiled {
		clear(memory.compiled)
	}
	memory.compiled[key] = c
	return c, nil
}

// ValidateExpression says what is wrong with an assertion that is an expression on the
// collector's result, with line and column; nil for nothing.
func ValidateExpression(collectorID string, a check.Assertion) error {
	if a.Field != "" || a.Operator != "" || a.JSONPath != "" || a.Value != nil {
		return fmt.Errorf("an assertion is an expression, or a field with an operator, not both")
	}
	if _, err := compileExpression(collectorID, a.Expression); err != nil {
		return fmt.Errorf("the expression: %w", err)
	}
	return nil
}

// express evaluates an assertion that is an expression: "" if it holds, else the failure's
// text; and the values that it stands on, where they are asked for, or it fails.
func (d *document) express(text string, explain bool) (failure, got string) {
	var collectorID string
	_ = json.Unmarshal(d.raw.get("_collectorId"), &collectorID) // one that is none is not known
	c, err := compileExpression(collectorID, text)
	if err != nil {
		return fmt.Sprintf("%s: cannot be evaluated (%s)", cut(text), cut(err.Error())), ""
	}
	values := map[string]any{"tookMs": d.tookMs}
	for _, name := range c.names {
		if field, ok := strings.CutPrefix(name, "result."); ok {
			value := numbers(d.field(field), rounded)
			if n, ok := value.(json.Number); ok {
				return fmt.Sprintf("%s: cannot be evaluated (%s is too large for an expression: %s)", cut(text), name, show(n)), ""
			}
			if !missing(value) {
				values[name] = value
			}
		}
	}
	value, _, err := c.program.Eval(values)
	holds := err == nil && value == types.True
	if !holds || explain {
		got = shown(c.names, values)
	}
	switch {
	case holds:
		return "", got
	case err != nil:
		return fmt.Sprintf("%s: cannot be evaluated (%s), got %s", cut(text), cut(err.Error()), got), got
	}
	return fmt.Sprintf("%s: does not hold, got %s", cut(text), got), got
}

// rounded is a number as expressions calculate with it. One that is too large for that stays
// what it is, which no expression can use.
func rounded(n json.Number) any {
	if rounded := number(n); !math.IsInf(rounded, 0) {
		return rounded
	}
	return n
}

// shown are the values of the names as people read them.
func shown(names []string, values map[string]any) string {
	var all []string
	for _, name := range names {
		value, ok := values[name]
		if !ok {
			value = undefined{}
		}
		all = append(all, name+" = "+show(value))
	}
	return cut(strings.Join(all, ", "))
}
