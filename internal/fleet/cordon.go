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
	err := entity.Record(ctx, f.recorder, func(tx Tx) ([]entity.Change, error) {
		if err := tx.LockDefinitions(ctx); err != nil {
			return nil, err
		}
		before, err := tx.SatelliteForUpdate(ctx, id)
		if err != nil {
			return nil, err
		}
		after := before
		after.Draining = c == Drained
		switch {
		case c == Uncordoned:
			after.CordonedAt = nil
		case before.CordonedAt == nil:
			now, err := tx.Now(ctx)
			if err != nil {
				return nil, err
			}
			after.CordonedAt = &now
		}
		if err := tx.UpdateSatellite(ctx, after); err != nil {
			return nil, err
		}
		return []entity.Change{RecordChange(&before, &after, actor)}, nil
	})
	if err != nil {
		return Satellite{}, err
	}
	f.bell.Ring(TopicConfig)
	return f.store.Satellite(ctx, id)
}
