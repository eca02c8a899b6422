package automation

import (
	"context"
	"fmt"

	"github.com/perigee-monitoring/perigee/internal/entity"
)

// Applied is what became of an automation that was applied: as it was, nil when it is new,
// and as it is.
type Applied struct {
	Before *Automation
	After  Automation
}

// Wish is an automation as people want it, as Read gives it. Enabled is nil when they do
// not say whether it is.
type Wish struct {
	Automation
	Enabled *bool
}

// Apply makes automations be as people want them, each found by its name, within the
// transaction of somebody else, who records the changes. What somebody disabled stays so,
// unless they say that it is enabled. Fault: Conflict.
func (s *Service) Apply(ctx context.Context, other entity.Tx, actor entity.Actor, wishes []Wish) (applied []Applied, changes []entity.Change, err error) {
	tx, ok := other.(Tx)
	if !ok {
		return nil, nil, fmt.Errorf("automation: the store's transaction %T is not an automation.Tx", other)
	}
	all, err := tx.AllAutomations(ctx)
	if err != nil {
		return nil, nil, err
	}
	known := map[string]string{}
	for _, a := range all {
		known[a.Name] = a.ID
	}
	for _, w := range wishes {
		var one Applied
		var changed []entity.Change
		if id, ok := known[w.Name]; ok {
			one.Before = new(Automation)
			*one.Before, one.After, changed, err = change(ctx, tx, actor, id, func(a *Automation) { a.become(w.Automation, w.Enabled) })
		} else {
			one.After, changed, err = create(ctx, tx, actor, w.Automation)
		}
		if err != nil {
			return nil, nil, err
		}
		applied, changes = append(applied, one), append(changes, changed...)
	}
	return applied, changes, nil
}
