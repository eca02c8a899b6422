package automation

import (
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
)

// World is all that the engine sees.
type World struct {
	Now    time.Time
	States States
	Memory Memory
}

// Decide says what an event means to the programs: one decision for each trigger that
// it concerns, in order. Errors are only those of States and Memory. The decisions are
// to be written down before the next event is decided.
func Decide(w World, programs []*Program, event entity.Event) ([]Decision, error) { return nil, nil }

// DecideTimer says what a due cron or interval trigger means; event is TimerEvent's.
func DecideTimer(w World, p *Program, trigger string, event entity.Event) (Decision, error) {
	return Decision{}, nil
}

// DecideDwell says what becomes of a dwell that is due: it fires, unless the entity has
// become another meanwhile or a condition is false. The dwell is over in any case.
func DecideDwell(w World, p *Program, d Dwell) (Decision, error) { return Decision{}, nil }

// DecideManual starts a run that a person wants: filter, window, for and conditions are
// not asked, the mode is. trigger may be "".
func DecideManual(w World, p *Program, trigger string, event entity.Event) (Decision, error) {
	return Decision{}, nil
}

// Promote gives the pending runs (mode queued) that may begin now, of those that have
// not ended, oldest first.
func (p *Program) Promote(active []Run) []Run { return nil }
