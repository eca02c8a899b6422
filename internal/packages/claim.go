package packages

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

// Whoever installs or collects holds the one row for lease, and renews it in time.
const (
	lease = 30 * time.Second
	renew = time.Second
	// settle bounds writing down how something ended, also while the core stops.
	settle = 10 * time.Second
	// look is how often it is looked whether whoever held the row is gone.
	look = 10 * time.Second
)

// errLost ends the work of who does not hold the row any more.
var errLost = errors.New("another core has taken over")

// busy is the answer to who comes second.
func busy(i Installation) error {
	if i.Status == Installing {
		return fault.New(fault.Conflict, "packages are being installed; see how far that is with: perigee package status")
	}
	return fault.New(fault.Conflict, "packages that nobody needs are being deleted; try again in a moment")
}

// claim takes the row. change is what else is to be written of it.
func (s *Service) claim(ctx context.Context, actor entity.Actor, change func(*Installation)) (holder string, err error) {
	holder = uuid.NewString()
	err = entity.Record(ctx, s.recorder, func(tx Tx) ([]entity.Change, error) {
		i, err := tx.InstallationForUpdate(ctx)
		if err != nil {
			return nil, err
		}
		if i.taken() {
			return nil, busy(i)
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return nil, err
		}
		prev := i.state()
		if i.Status == Installing {
			i.Status, i.ErrorMessage = Failed, abandoned
		}
		i.Holder, i.LeaseUntil = holder, new(now.Add(lease))
		change(&i)
		return changes(prev, i, actor), tx.PutInstallation(ctx, i)
	})
	return holder, err
}

// Abandon records that an installation failed whose core has ended, so that who waits
// for it hears of it. Run does it from time to time.
func (s *Service) Abandon(ctx context.Context) error {
	left := func(i Installation) bool { return i.Status == Installing && !i.taken() }
	if i, err := s.store.Installation(ctx); err != nil || !left(i) { // spares the writer
		return err
	}
	return entity.Record(ctx, s.recorder, func(tx Tx) ([]entity.Change, error) {
		i, err := tx.InstallationForUpdate(ctx)
		if err != nil || !left(i) {
			return nil, err
		}
		prev := i.state()
		i.Status, i.ErrorMessage, i.Holder, i.LeaseUntil = Failed, abandoned, "", nil
		return changes(prev, i, entity.System), tx.PutInstallation(ctx, i)
	})
}

// hold renews the lease until done is closed, and ends the work when it is lost.
func (s *Service) hold(ctx context.Context, holder string, done <-chan struct{}, lost context.CancelCauseFunc, progress func() (done, total int)) {
	tick := time.NewTicker(renew)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		err := s.update(ctx, holder, entity.System, func(now time.Time, i *Installation) {
			i.LeaseUntil = new(now.Add(lease))
			i.Done, i.Total = progress()
		})
		switch {
		case errors.Is(err, errLost):
			lost(errLost)
			return
		case err != nil && ctx.Err() == nil:
			s.log.Warn("renewing the lease on the packages failed; trying again", "error", err)
		}
	}
}

// update changes the row that holder holds.
func (s *Service) update(ctx context.Context, holder string, actor entity.Actor, change func(now time.Time, i *Installation), lockfiles ...Lockfile) error {
	return entity.Record(ctx, s.recorder, func(tx Tx) ([]entity.Change, error) {
		i, err := tx.InstallationForUpdate(ctx)
		if err != nil {
			return nil, err
		}
		if i.Holder != holder {
			return nil, errLost
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return nil, err
		}
		for _, l := range lockfiles {
			l.RecordedAt = now
			if err := tx.PutLockfile(ctx, l); err != nil {
				return nil, err
			}
		}
		prev := i.state()
		change(now, &i)
		return changes(prev, i, actor), tx.PutInstallation(ctx, i)
	})
}

func changes(prev entity.State, i Installation, actor entity.Actor) []entity.Change {
	return []entity.Change{{Kind: KindTree, ID: TreeID, Prev: prev, Next: i.state(), Actor: actor}}
}

// release lets go of the row, also while the core stops.
func (s *Service) release(ctx context.Context, holder string, actor entity.Actor, change func(now time.Time, i *Installation), lockfiles ...Lockfile) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settle)
	defer cancel()
	return s.update(ctx, holder, actor, func(now time.Time, i *Installation) {
		change(now, i)
		i.Holder, i.LeaseUntil = "", nil
	}, lockfiles...)
}
