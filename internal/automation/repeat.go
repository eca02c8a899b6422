package automation

import (
	"encoding/json"
	"fmt"
)

// repetition is what a repeat's step says: how often, and of what.
type repetition struct {
	Count int   `json:"count,omitempty"`
	Items []any `json:"items,omitempty"`
}

// repeat goes through the iterations. Each has a scope of its own for repeat.index and
// repeat.item; what a while or an until said stands in a step of the iteration.
func (x *walker) repeat(a *action, path string) flow {
	step, known := x.have[path]
	if !known {
		r, err := x.repetition(a.repeat)
		if err != nil {
			return x.fail(a, path, err)
		}
		if f := x.succeed(a, path, r); f != goOn {
			return f
		}
		step = x.have[path]
	} else if f := x.finished(a, step); f != goOn {
		return f
	}
	var r repetition
	if step.Status != StepSuccess || json.Unmarshal(step.Output, &r) != nil {
		return goOn // it failed, and the run goes on all the same
	}
	outer := x.scope.repeat
	defer func() { x.scope.repeat = outer }()
	counted := a.repeat.while == nil && a.repeat.until == nil
	for i := 0; !counted || i < r.Count; i++ {
		at := fmt.Sprintf("%s.repeat#%d", path, i)
		x.scope.repeat = &iteration{index: i}
		if i < len(r.Items) {
			x.scope.repeat.item = r.Items[i]
		}
		if i >= a.repeat.limit {
			return x.fail(a, at, fmt.Errorf("it was repeated %d times and did not end; max_iterations is the limit", i))
		}
		if a.repeat.while != nil {
			if again, f := x.ask(a, a.repeat.while, at); f != goOn || !again {
				return f
			}
		}
		if f := x.sequence(a.repeat.sequence, at); f != goOn {
			return f
		}
		if a.repeat.until != nil {
			if done, f := x.ask(a, a.repeat.until, at+".until"); f != goOn || done {
				return f
			}
		}
	}
	return goOn
}

// ask evaluates the condition of an iteration once.
func (x *walker) ask(a *action, c *condition, path string) (bool, flow) {
	step, known := x.have[path]
	if !known {
		ok, err := c.holds(x.scope, nil)
		if err != nil {
			return false, x.fail(a, path, err)
		}
		// The iteration's answer is no artifact.
		inner := *a
		inner.id = ""
		return ok, x.succeed(&inner, path, map[string]bool{"result": ok})
	}
	var said struct{ Result bool }
	if step.Status != StepSuccess || json.Unmarshal(step.Output, &said) != nil {
		return false, x.finished(a, step)
	}
	return said.Result, goOn
}

func (x *walker) repetition(r *repeat) (repetition, error) {
	switch count := r.count.(type) {
	case float64:
		return repetition{Count: int(count)}, nil
	case *expression:
		v, err := count.eval(x.scope)
		if err != nil {
			return repetition{}, err
		}
		n, err := toNative(v)
		if err != nil {
			return repetition{}, err
		}
		f, ok := asNumber(n)
		if !ok || f < 0 || f > MaxIterations || f != float64(int(f)) {
			return repetition{}, fmt.Errorf("count is %s, and must be a whole number from 0 to %d", shortJSON(n), MaxIterations)
		}
		return repetition{Count: int(f)}, nil
	}
	var items any
	var err error
	switch list := r.forEach.(type) {
	case *tree:
		items, err = list.value(x.scope)
	case *expression:
		v, evalErr := list.eval(x.scope)
		if evalErr != nil {
			return repetition{}, evalErr
		}
		items, err = toNative(v)
	default: // while and until end by themselves
		return repetition{}, nil
	}
	if err != nil {
		return repetition{}, err
	}
	all, ok := items.([]any)
	if !ok {
		return repetition{}, fmt.Errorf("for_each is %s, and must be a list", shortJSON(items))
	}
	return repetition{Count: len(all), Items: all}, nil
}
