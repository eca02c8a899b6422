package fleet

import (
	"context"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

// Two processes with the credentials of one satellite replace each other for ever,
// and neither measures anything for long. One process that comes back replaces its own
// session too, but that one's peer is gone and does not answer when it is closed. So
// sessions are counted whose peer was alive when a newer one took over, by whichever
// core held them.
const (
	// duplicateTimes such replacements within duplicateSpan are a duplicate identity.
	duplicateTimes = 3
	duplicateSpan  = 10 * time.Minute
	// duplicateHold is how long newcomers are held off then, as long as the session that
	// is there was heard within heldWhile: somewhat more than the heartbeats of spec A.6.
	duplicateHold = 10 * time.Minute
	heldWhile     = 20 * time.Second
)

// Replacements is the count of one satellite.
type Replacements struct {
	Times  int
	Since  *time.Time
	Remote string // of the last one that was replaced
	// DuplicateUntil is until when newcomers are held off; nil, or in the past, for not.
	DuplicateUntil *time.Time
}

// step counts one more at now and reports whether that makes a duplicate identity
// which has not been told yet.
func (r *Replacements) step(remote string, now time.Time) (told bool) {
	if r.Since == nil || now.Sub(*r.Since) > duplicateSpan {
		r.Times, r.Since = 0, &now
	}
	r.Times++
	r.Remote = remote
	if r.Times < duplicateTimes || r.held(now) {
		return false
	}
	until := now.Add(duplicateHold)
	r.Times, r.Since, r.DuplicateUntil = 0, nil, &until
	return true
}

func (r *Replacements) held(now time.Time) bool {
	return r.DuplicateUntil != nil && now.Before(*r.DuplicateUntil)
}

// heldOff reports whether a new session would take the place of one that is alive
// while the satellite is known to have two processes.
func (c *Connection) heldOff(now time.Time) bool {
	return c.DuplicateUntil != nil && now.Before(*c.DuplicateUntil) &&
		c.LastEvent == Connected && c.LastHeartbeatAt != nil && now.Sub(*c.LastHeartbeatAt) < heldWhile
}

// errHeldOff is what a newcomer is told.
func errHeldOff() error {
	return fault.New(fault.Conflict, "another process is connected with the credentials of this satellite; give each process a satellite of its own")
}

// Replaced counts that a session from remote was replaced while its peer was alive. It
// reports whether that was found to be a duplicate identity, which is an event then.
func (f *Fleet) Replaced(ctx context.Context, satelliteID, remote string) (duplicate bool, err error) {
	err = entity.Record(ctx, f.recorder, func(tx Tx) ([]entity.Change, error) {
		duplicate = false
		r, err := tx.ReplacementsForUpdate(ctx, satelliteID)
		if fault.Is(err, fault.NotFound) {
			return nil, nil // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return nil, err
		}
		before := r.Remote
		duplicate = r.step(remote, now)
		if err := tx.PutReplacements(ctx, satelliteID, r); err != nil || !duplicate {
			return nil, err
		}
		s, err := tx.SatelliteForUpdate(ctx, satelliteID)
		if err != nil {
			return nil, err
		}
		said := entity.State{"duplicateUntil": timeText(*r.DuplicateUntil), "remotes": []string{before, remote}}
		return []entity.Change{saying(s, said, entity.System)}, nil
	})
	return duplicate, err
}
