package satellite

import (
	"cmp"
	"context"
	"slices"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// runNow starts the runs that the core asks for, and answers for those that it does
// not start: each key gets a result or a skip of exactly the slot that the core chose.
// They stand beside the schedule: such a slot is not due, so the ledger hears nothing
// of it, and slots that fall due while the run goes on are skipped as overlap, as
// they would be during any other run. One that is asked for while its key runs begins
// when that run has ended: what was found before somebody asked is no answer.
func (s *scheduler) runNow(ctx context.Context, m *protocol.RunNow) {
	if m.Assignment != nil {
		s.runGuest(ctx, m)
		return
	}
	keys := s.keysOf(m)
	if len(keys) == 0 {
		key := check.Key{CheckID: m.ConfigID, SystemID: m.SystemID, EnvironmentID: m.EnvironmentID}
		s.refuse(key, m.Slot, protocol.SkipUnassigned)
		return
	}
	for _, key := range keys {
		if !s.answered.add(key, m.Slot) {
			continue // asked twice: bells may ring twice
		}
		switch t := s.entries[key]; {
		case t.state == running && t.held == 0:
			t.held = m.Slot
		case t.state == running:
			s.refuse(key, m.Slot, protocol.SkipOverlap)
		case t.state == waiting || s.running >= s.limit:
			s.refuse(key, m.Slot, protocol.SkipLimit)
		default:
			s.startAsked(ctx, t, m.Slot)
		}
	}
}

// keysOf are the keys that the message is about, in a stable order.
func (s *scheduler) keysOf(m *protocol.RunNow) []check.Key {
	var keys []check.Key
	for key, t := range s.entries {
		if key.CheckID == m.ConfigID && key.SystemID == m.SystemID && t.work != nil &&
			(m.EnvironmentID == "" || key.EnvironmentID == m.EnvironmentID) {
			keys = append(keys, key)
		}
	}
	sortByEnvironment(keys)
	return keys
}

// keysIn are those of works, in the environment or, for "", in all.
func keysIn(works map[check.Key]*work, environmentID string) []check.Key {
	var keys []check.Key
	for key := range works {
		if environmentID == "" || key.EnvironmentID == environmentID {
			keys = append(keys, key)
		}
	}
	sortByEnvironment(keys)
	return keys
}

func sortByEnvironment(keys []check.Key) {
	slices.SortFunc(keys, func(a, b check.Key) int { return cmp.Compare(a.EnvironmentID, b.EnvironmentID) })
}

func (s *scheduler) startAsked(ctx context.Context, t *timetable, slot int64) {
	t.state = running
	s.running++
	w := *t.work
	w.asked = true
	s.runs.Go(func() {
		s.run(ctx, t.key, &w, slot)
		s.finished <- t // has room for every run
	})
}

// startHeld starts what was asked for while the key ran.
func (s *scheduler) startHeld(ctx context.Context, t *timetable) {
	if t.work == nil {
		s.refuseHeld(t, protocol.SkipUnassigned)
	} else if slot := t.held; slot != 0 {
		t.held = 0
		s.startAsked(ctx, t, slot)
	}
}

func (s *scheduler) refuseHeld(t *timetable, reason protocol.SkipReason) {
	if slot := t.held; slot != 0 {
		t.held = 0
		s.refuse(t.key, slot, reason)
	}
}

func (s *scheduler) refuse(key check.Key, slot int64, reason protocol.SkipReason) {
	s.spool.AppendAsked(protocol.Record{Skip: newSkip(key, slot, slot, 1, reason)})
	s.status.skipped(reason, 1)
}

// answered remembers the last runs that were asked for.
type answered struct {
	last []askedRun // oldest first
}

type askedRun struct {
	key  check.Key
	slot int64
}

// rememberAsked is how many; a repeat comes soon or not at all.
const rememberAsked = 256

// add reports whether the run was not asked for before.
func (a *answered) add(key check.Key, slot int64) bool {
	run := askedRun{key, slot}
	if slices.Contains(a.last, run) {
		return false
	}
	if len(a.last) == rememberAsked {
		a.last = slices.Delete(a.last, 0, 1)
	}
	a.last = append(a.last, run)
	return true
}
