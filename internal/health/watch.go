package health

import (
	"context"
	"log/slog"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
)

// watchInterval is how often verdicts are compared with the clock.
const watchInterval = 5 * time.Second

// Clock is the database's clock.
type Clock interface {
	Now(ctx context.Context) (time.Time, error)
}

// Watch keeps verdicts true that no result changes: a satellite falls silent, an
// assignment is taken away (spec M11). It reads everything and writes only what
// differs.
type Watch struct {
	store    Store
	clock    Clock
	recorder *entity.Recorder
	ring     <-chan struct{}
	log      *slog.Logger
	opinions *Opinions // nil: nobody is asked
}

// Consult has others asked before verdicts become worse. It is called before Run.
func (w *Watch) Consult(o *Opinions) { w.opinions = o }

// NewWatch makes a watch that looks when ring rings and every few seconds besides.
func NewWatch(store Store, clock Clock, recorder *entity.Recorder, log *slog.Logger, ring <-chan struct{}) *Watch {
	return &Watch{store: store, clock: clock, recorder: recorder, ring: ring, log: log}
}

// Run watches until ctx ends. After each look it rests for at least ten times as
// long as the look took, so that a large fleet does not make it the main load.
func (w *Watch) Run(ctx context.Context) error {
	for {
		began := time.Now()
		if err := w.look(ctx); err != nil && ctx.Err() == nil {
			w.log.Error("watching verdicts failed", "error", err)
		}
		took := time.Since(began)
		rest := time.NewTimer(max(10*took, 250*time.Millisecond))
		select {
		case <-ctx.Done():
			rest.Stop()
			return nil
		case <-rest.C:
		}
		next := time.NewTimer(max(watchInterval, 20*took))
		select {
		case <-ctx.Done():
			next.Stop()
			return nil
		case <-w.ring:
			next.Stop()
		case <-next.C:
		}
	}
}

// look finds the systems whose stored verdict is no longer what their seats say.
func (w *Watch) look(ctx context.Context) error {
	now, err := w.clock.Now(ctx)
	if err != nil {
		return err
	}
	stored, err := w.store.SystemHealths(ctx, nil)
	if err != nil {
		return err
	}
	seats, err := w.store.Seats(ctx, nil)
	if err != nil {
		return err
	}
	bySystem := map[string][]Seat{}
	for _, s := range seats {
		bySystem[s.SystemID] = append(bySystem[s.SystemID], s)
	}
	holding, err := w.store.Verdicts(ctx, nil)
	if err != nil {
		return err
	}
	depend, err := w.store.Dependencies(ctx)
	if err != nil {
		return err
	}
	var checks []CheckVerdict
	judgements := make(map[string]SystemHealth, len(stored))
	judge := func(id string) {
		judged, verdicts := JudgeSystem(id, bySystem[id], now)
		judgements[id], checks = judged, append(checks, verdicts...)
	}
	for id := range stored {
		judge(id)
	}
	for id := range bySystem {
		if _, judged := judgements[id]; !judged {
			judge(id)
		}
	}
	hold := settleAll(judgements, stored, nil, depend, now)
	suspects := map[string]bool{}
	for id, judged := range judgements {
		old, known := stored[id]
		if !known {
			old.SystemID = id
		}
		if !same(judged, old) {
			suspects[id] = true
		}
	}
	flipped := compareVerdicts(checks, holding, hold)
	for i := range flipped.judged {
		suspects[flipped.judged[i].SystemID] = true
	}
	for i := range flipped.late {
		suspects[flipped.late[i].SystemID] = true
	}
	for _, key := range flipped.gone {
		suspects[key.systemID] = true
	}
	if len(suspects) == 0 {
		return nil
	}
	err = entity.Record(ctx, w.recorder, func(tx Tx) ([]entity.Change, error) {
		return judgeSystems(ctx, tx, sortedKeys(suspects), w.opinions)
	})
	w.opinions.tell()
	return err
}
