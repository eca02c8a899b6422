package fleet

import (
	"context"

	"github.com/perigee-monitoring/perigee/internal/entity"
)

// Cordon is whether a satellite gets seats of counted assignments.
type Cordon byte

const (
	Uncordoned Cordon = iota // it gets seats
	Cordoned                 // it keeps those that it has and gets no new ones
	Drained                  // those that it has move away as well
)

// SetCordon alters that. What is placed on it by name, or by a selector without a count,
// stays. Fault: NotFound.
func (f *Fleet) SetCordon(ctx context.Context, actor entity.Actor, id string, c Cordon) (Satellite, error) {
	return f.alter(ctx, actor, id, func(tx Tx, s *Satellite) error {
		s.Draining = c == Drained
		switch {
		case c == Uncordoned:
			s.CordonedAt = nil
		case s.CordonedAt == nil:
			now, err := tx.Now(ctx)
			if err != nil {
				return err
			}
			s.CordonedAt = &now
		}
		return nil
	})
}
