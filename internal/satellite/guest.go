package satellite

import (
	"context"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

const (
	// maxGuests bounds the runs of guests that go on at once. They stand beside the
	// places for the satellite's own runs, which must not be late because of them.
	maxGuests = 32
	// guestTime bounds the run of a guest of which the core says nothing.
	guestTime = 30 * time.Second
)

// runGuest runs what the core gives along with its order, once and under its
// deadline, and answers for what is not run. It is in no schedule and in no ledger, and
// a restart forgets it.
func (s *scheduler) runGuest(ctx context.Context, m *protocol.RunNow) {
	guest := desired{Revision: s.desired.Revision, Assert: s.desired.Assert, Assignments: []protocol.Assignment{*m.Assignment}}
	works, refused := guest.works(s.prober.Check)
	begun := 0
	for _, key := range keysIn(works, m.EnvironmentID) {
		begun++
		if !s.answered.add(key, m.Slot) {
			continue
		}
		if s.guests.Load() >= maxGuests {
			s.refuse(key, m.Slot, protocol.SkipLimit)
			continue
		}
		w := works[key]
		w.asked, w.within = true, guestTime
		if m.DeadlineMs > 0 {
			w.within = min(time.Duration(m.DeadlineMs)*time.Millisecond, maxRunTime)
		}
		s.guests.Add(1)
		s.runs.Go(func() {
			defer s.guests.Add(-1)
			s.run(ctx, key, w, m.Slot)
		})
	}
	if begun > 0 {
		return
	}
	reason := protocol.SkipUnassigned // not in that environment
	for _, r := range refused {
		reason = protocol.SkipUnsupported
		s.log.Warn("what the core asks to be run once cannot be carried out here", "check", r.ConfigID, "system", r.SystemID, "reason", r.Message)
	}
	key := check.Key{CheckID: m.ConfigID, SystemID: m.SystemID, EnvironmentID: m.EnvironmentID}
	if s.answered.add(key, m.Slot) {
		s.refuse(key, m.Slot, reason)
	}
}
