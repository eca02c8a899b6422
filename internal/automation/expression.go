package automation

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/parser"

	language "github.com/perigee-monitoring/perigee/internal/expression"
)

const (
	// costBudget bounds all evaluations of one step of the engine.
	costBudget = 20_000_000
	// maxItems bounds what becomes of a value outside of expressions.
	maxItems = 10_000
	// maxRendered is the largest rendered text or configuration, in bytes.
	maxRendered = 64 << 10
	// maxWhy bounds one value of an explanation, in bytes.
	maxWhy = 120
)

// environment declares what expressions may say. The parts of trigger are names of
// their own, so that a misspelt one is refused when the definition is saved.
var environment = sync.OnceValue(func() *cel.Env {
	object := cel.MapType(cel.StringType, cel.DynType)
	env, err := cel.NewEnv(append(language.Language(),
		cel.Function("json", cel.Overload("json_dyn", []*cel.Type{cel.DynType}, cel.StringType, cel.UnaryBinding(jsonOf))),
		cel.Variable("trigger.id", cel.StringType),
		cel.Variable("trigger.event", cel.StringType),
		cel.Variable("trigger.kind", cel.StringType),
		cel.Variable("trigger.entity", cel.StringType),
		cel.Variable("trigger.changed", cel.ListType(cel.StringType)),
		cel.Variable("trigger.payload", object),
		cel.Variable("trigger.prev", object),
		cel.Variable("trigger.next", object),
		cel.Variable("trigger.actor", object),
		cel.Variable("trigger.at", cel.TimestampType),
		cel.Variable("variables", object),
		cel.Variable("artifacts", object),
		cel.Variable("repeat.index", cel.IntType),
		cel.Variable("repeat.item", cel.DynType),
		cel.Variable("now", cel.TimestampType),
		cel.Variable("state", cel.MapType(cel.StringType, object)),
		cel.Variable("since", cel.MapType(cel.StringType, cel.MapType(cel.StringType, cel.TimestampType))),
		cel.Variable("health.systems", object),
	)...)
	if err != nil { // it depends on nothing but this file
		panic(err)
	}
	return env
})

// expression is a compiled one.
type expression struct {
	text    string
	program cel.Program
	// traced keeps the values of its parts, for explanations.
	traced cel.Program
	ast    *ast.AST
}

// compileExpression checks an expression. want is the type that it must have, nil for
// any. The error is for people, with line and column inside of the text.
func compileExpression(text string, want *cel.Type) (*expression, error) {
	env := environment()
	checked, err := language.Check(env, text, want)
	if err != nil {
		return nil, err
	}
	program, err := env.Program(checked, cel.CostLimit(language.CostLimit), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, err
	}
	traced, err := env.Program(checked, cel.CostLimit(language.CostLimit), cel.EvalOptions(cel.OptTrackState))
	if err != nil {
		return nil, err
	}
	return &expression{text: text, program: program, traced: traced, ast: checked.NativeRep()}, nil
}

// eval gives the value. Its error is for people; one of the states themselves is left in
// the scope.
func (e *expression) eval(s *scope) (ref.Val, error) {
	if s.spent > costBudget {
		return nil, errors.New("the expressions take too much work altogether")
	}
	s.begin()
	value, details, err := e.program.Eval(s)
	if details != nil && details.ActualCost() != nil {
		s.spent += *details.ActualCost()
	}
	if s.failed != nil {
		return nil, s.failed
	}
	if err != nil {
		return nil, s.explain(err)
	}
	return value, nil
}

// bool gives the value of an expression that must be true or false.
func (e *expression) bool(s *scope) (bool, error) {
	value, err := e.eval(s)
	if err != nil {
		return false, err
	}
	b, ok := value.(types.Bool)
	if !ok {
		return false, fmt.Errorf("gives %s, not true or false", value.Type().TypeName())
	}
	return bool(b), nil
}

// why gives the values of the names that the expression stands on.
func (e *expression) why(s *scope) string {
	_, details, _ := e.traced.Eval(s)
	if details == nil {
		return ""
	}
	var parts []string
	seen := map[string]bool{}
	var visit func(ast.Expr)
	visit = func(x ast.Expr) {
		if text, ok := chain(x); ok {
			value, found := details.State().Value(x.ID())
			name, err := parser.Unparse(x, e.ast.SourceInfo())
			_, isType := value.(*types.Type)
			_, isLazy := value.(*lazy)
			if !found || isType || isLazy || types.IsError(value) || err != nil || seen[name] || text == "" || len(parts) == 10 {
				return
			}
			seen[name] = true
			parts = append(parts, name+" = "+short(value))
			return
		}
		for _, child := range children(x) {
			visit(child)
		}
	}
	visit(e.ast.Expr())
	return strings.Join(parts, ", ")
}

// chain tells an identifier with fields and constant indexes behind it.
func chain(x ast.Expr) (string, bool) {
	switch x.Kind() {
	case ast.IdentKind:
		return x.AsIdent(), true
	case ast.SelectKind:
		if x.AsSelect().IsTestOnly() {
			return "", false
		}
		return chain(x.AsSelect().Operand())
	case ast.CallKind:
		call := x.AsCall()
		if call.FunctionName() == "_[_]" && len(call.Args()) == 2 && call.Args()[1].Kind() == ast.LiteralKind {
			return chain(call.Args()[0])
		}
	}
	return "", false
}

func children(x ast.Expr) []ast.Expr {
	switch x.Kind() {
	case ast.CallKind:
		all := x.AsCall().Args()
		if x.AsCall().IsMemberFunction() {
			all = append([]ast.Expr{x.AsCall().Target()}, all...)
		}
		return all
	case ast.SelectKind:
		return []ast.Expr{x.AsSelect().Operand()}
	case ast.ListKind:
		return x.AsList().Elements()
	case ast.ComprehensionKind:
		return []ast.Expr{x.AsComprehension().IterRange()}
	}
	return nil
}

func short(v ref.Val) string {
	native, err := toNative(v)
	if err != nil {
		return v.Type().TypeName()
	}
	return shortJSON(native)
}

func shortJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	if len(text) > maxWhy {
		return strings.ToValidUTF8(string(text[:maxWhy]), "") + "…"
	}
	return string(text)
}

// toNative turns a value into what JSON knows: times and durations become text.
func toNative(v ref.Val) (any, error) {
	left := maxItems
	return native(v, &left)
}

func native(v ref.Val, left *int) (any, error) {
	if *left--; *left < 0 {
		return nil, fmt.Errorf("has more than %d parts", maxItems)
	}
	switch v := v.(type) {
	case types.Null:
		return nil, nil
	case types.Bool, types.Int, types.Uint, types.Double, types.String:
		return v.Value(), nil
	case types.Bytes:
		return string(v), nil
	case types.Timestamp:
		return v.Time.UTC().Format("2006-01-02T15:04:05.999999999Z07:00"), nil
	case types.Duration:
		return v.Duration.String(), nil
	case *types.Optional:
		if !v.HasValue() {
			return nil, nil
		}
		return native(v.GetValue(), left)
	case *lazy:
		return nil, errors.New("gives all states there are; name one")
	case traits.Lister:
		list := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			item, err := native(it.Next(), left)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		return list, nil
	case traits.Mapper:
		object := map[string]any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			item, err := native(v.Get(key), left)
			if err != nil {
				return nil, err
			}
			object[fmt.Sprint(key.Value())] = item
		}
		return object, nil
	}
	return nil, fmt.Errorf("gives %s, which is no value", v.Type().TypeName())
}

// jsonOf is the function json of expressions.
func jsonOf(v ref.Val) ref.Val {
	value, err := toNative(v)
	if err != nil {
		return types.NewErr("%s", err.Error())
	}
	text, err := json.Marshal(value)
	if err != nil {
		return types.NewErr("%s", err.Error())
	}
	return types.String(text)
}

// lazy is a map whose members are looked up when they are asked for: kinds, then ids.
type lazy struct {
	find func(key string) (ref.Val, bool)
}

func (m *lazy) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return types.NewErr("kinds and ids are text"), false
	}
	return m.find(string(name))
}

func (m *lazy) Get(key ref.Val) ref.Val {
	if v, ok := m.Find(key); ok || types.IsError(v) {
		return v
	}
	return types.NewErr("no such key: %v", key.Value())
}

func (m *lazy) Contains(key ref.Val) ref.Val {
	_, ok := m.Find(key)
	return types.Bool(ok)
}

func (m *lazy) Iterator() traits.Iterator { return nothing{} }
func (m *lazy) Size() ref.Val             { return types.NewErr("states cannot be counted; name one") }
func (m *lazy) Equal(ref.Val) ref.Val     { return types.False }
func (m *lazy) Type() ref.Type            { return types.MapType }
func (m *lazy) Value() any                { return m }

func (m *lazy) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("states are no %s", t)
}

func (m *lazy) ConvertToType(t ref.Type) ref.Val {
	return types.NewErr("states are no %s", t.TypeName())
}

// nothing is gone through where there is no end.
type nothing struct{}

func (nothing) HasNext() ref.Val { return types.False }
func (nothing) Next() ref.Val    { return types.NewErr("states cannot be listed; name one") }

func (nothing) ConvertToNative(reflect.Type) (any, error) { return nil, errors.New("no value") }
func (nothing) ConvertToType(ref.Type) ref.Val            { return types.NewErr("no value") }
func (nothing) Equal(ref.Val) ref.Val                     { return types.False }
func (nothing) Type() ref.Type                            { return types.IteratorType }
func (nothing) Value() any                                { return nil }
