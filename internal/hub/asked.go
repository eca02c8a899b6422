package hub

import (
	"time"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/secret"
	"github.com/perigee-monitoring/perigee/protocol"
)

// askedSlot is what a satellite may answer for beside its schedule: in one environment,
// or "" for all that the assignment names.
type askedSlot struct {
	pair          protocol.Pair
	environmentID string
	slot          int64
}

// askedRun is a run that was asked for, and until when, by this process's clock, its
// satellite may answer for it and, as a guest's, get its secrets.
type askedRun struct {
	fleet.RunRequest
	until, leaseUntil time.Time
}

const (
	// maxAsked bounds the runs of one satellite that may still be answered.
	maxAsked = 4096
	// leaseAfter is how long after its deadline a guest may still be given secrets: the
	// order may have been on its way.
	leaseAfter = 15 * time.Second
)

// expect lets the satellite answer for exactly this run, for a bounded time; false
// when it may answer for very many already. age is how long ago it was asked for.
func (s *session) expect(r fleet.RunRequest, age time.Duration) bool {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked == nil {
		s.asked = map[askedSlot]*askedRun{}
	}
	if len(s.asked) >= maxAsked {
		for at, run := range s.asked {
			if now.After(run.until) {
				delete(s.asked, at)
			}
		}
		if len(s.asked) >= maxAsked {
			return false
		}
	}
	r.Assignment = s.hub.assignments.internOrNil(r.Assignment)
	s.asked[askedSlot{r.Pair, r.EnvironmentID, r.Slot}] = &askedRun{
		RunRequest: r, until: now.Add(fleet.RunGrant - age), leaseUntil: now.Add(r.Deadline + leaseAfter - age),
	}
	return true
}

// expectAgain is expect for what was asked for in a session before this one.
func (s *session) expectAgain(asked []fleet.RunRequest) {
	for _, r := range asked {
		s.expect(r, time.Since(r.RequestedAt))
	}
}

// askedFor is the run that was asked for, if the slot of the pair is one.
func (s *session) askedFor(pair protocol.Pair, environmentID string, slot int64, now time.Time) *askedRun {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, in := range []string{environmentID, ""} {
		if run := s.asked[askedSlot{pair, in, slot}]; run != nil && !now.After(run.until) {
			return run
		}
	}
	return nil
}

// guests are the assignments of which the satellite may have the secrets now, for a
// run each, although it does not hold them.
func (s *session) guests() []*protocol.Assignment {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*protocol.Assignment
	for _, run := range s.asked {
		if run.Guest && run.Assignment != nil && !now.After(run.leaseUntil) {
			all = append(all, run.Assignment)
		}
	}
	return all
}

// guest is the assignment that the satellite runs as a guest; nil for what it holds.
func (r *askedRun) guest() *protocol.Assignment {
	if r == nil || !r.Guest {
		return nil
	}
	return r.Assignment
}

// covers reports whether the answer may be for the environment.
func (r *askedRun) covers(environmentID string) bool {
	if r == nil || r.Guest && r.Assignment == nil {
		return false
	}
	return r.Guest && runsIn(r.Assignment, environmentID) && (r.EnvironmentID == "" || r.EnvironmentID == environmentID)
}

// kind is what it was asked for; "" for a run of the schedule.
func (r *askedRun) kind() fleet.Asked {
	if r == nil {
		return ""
	}
	return r.Asked
}

// secretive reports whether its result may hold a secret.
func (r *askedRun) secretive() bool {
	a := r.guest()
	return a != nil && secret.Declares(a)
}
