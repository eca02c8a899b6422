package automation

import (
	"context"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
)

// world is what the engine sees within a transaction.
func world(ctx context.Context, tx Tx) (World, error) {
	w, _, err := look(ctx, tx)
	return w, err
}

func look(ctx context.Context, tx Tx) (World, view, error) {
	now, err := tx.Now(ctx)
	v := view{ctx, tx, map[among][]Run{}}
	return World{Now: now, States: v, Memory: v}, v, err
}

// view is the world of a transaction.
type view struct {
	ctx context.Context
	tx  Tx
	// active are runs that were read once: a thousand events that are decided together do
	// not read a thousand runs each.
	active map[among][]Run
}

// among says among which runs a mode looks.
type among struct{ automation, contextKey string }

func (v view) State(kind, id string) (entity.State, time.Time, error) {
	return v.tx.Entity(v.ctx, kind, id)
}

func (v view) Dwell(automation, trigger, contextKey string) (*Dwell, error) {
	return v.tx.AutomationDwell(v.ctx, automation, trigger, contextKey)
}

func (v view) Occurrences(automation, trigger, partition string, since time.Time) ([]time.Time, bool, error) {
	times, err := v.tx.AutomationOccurrences(v.ctx, automation, trigger, partition, since)
	return times, false, err
}

func (v view) Active(automation, contextKey string) ([]Run, error) {
	key := among{automation, contextKey}
	if runs, read := v.active[key]; read {
		return runs, nil
	}
	runs, err := v.tx.ActiveAutomationRuns(v.ctx, automation, contextKey)
	if err == nil {
		v.active[key] = runs
	}
	return runs, err
}

// note keeps the runs up to date with a decision that was written down. started tells that
// its run is a new one.
func (v view) note(d Decision, started bool) {
	for _, key := range []among{{d.Automation, ""}, {d.Automation, d.ContextKey}} {
		runs, read := v.active[key]
		if !read {
			continue
		}
		if len(d.Cancel) > 0 {
			runs = slices.DeleteFunc(runs, func(r Run) bool { return slices.Contains(d.Cancel, r.ID) })
		}
		if started && !d.Run.Status.Ended() {
			runs = append(runs, *d.Run)
		}
		v.active[key] = runs
	}
}
