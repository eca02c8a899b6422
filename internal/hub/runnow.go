package hub

import (
	"context"
	"fmt"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/protocol"
)

// RunRequests are the runs that people ask for; *fleet.RunRequests is one.
type RunRequests interface {
	// Claim takes the waiting runs of these satellites; each is given to one core only.
	Claim(ctx context.Context, satelliteIDs []string) ([]fleet.RunRequest, error)
	// Refuse says why a claimed run was not passed on.
	Refuse(ctx context.Context, r fleet.RunRequest, reason string) error
}

// runNow passes asked runs on to the satellites that are connected here. One whose
// session ends right now is lost, and shows as sent without a result.
func (h *Hub) runNow(ctx context.Context) error {
	if h.config.RunRequests == nil {
		return nil
	}
	sessions := map[string]*session{}
	for _, s := range h.snapshot() {
		sessions[s.id] = s
	}
	if len(sessions) == 0 {
		return nil
	}
	ids := make([]string, 0, len(sessions))
	for id := range sessions {
		ids = append(ids, id)
	}
	timed, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	asked, err := h.config.RunRequests.Claim(timed, ids)
	if err != nil {
		return fmt.Errorf("taking the runs that were asked for: %w", err)
	}
	for _, r := range asked {
		why := sessions[r.SatelliteID].runNow(r)
		if why == "" {
			continue
		}
		if err := h.config.RunRequests.Refuse(timed, r, why); err != nil {
			return fmt.Errorf("refusing a run that was asked for: %w", err)
		}
	}
	return nil
}

// runNow has the satellite run the pair beside its schedule, or says why it does not.
// An original agent runs what it is given anew at once, so the pair is taken away and
// given again.
func (s *session) runNow(r fleet.RunRequest) (refused string) {
	s.mu.Lock()
	now := s.set
	s.mu.Unlock()
	switch {
	case r.Guest && !s.features.has(protocol.FeatureOpinion):
		return "it does not know how to run what is not assigned to it; update it"
	case r.Guest && r.Assignment == nil:
		return "the check is not assigned to the system any more"
	case s.features.has(protocol.FeatureRun):
		if !s.expect(r, 0) {
			return "too many runs were asked of it"
		}
		m := &protocol.RunNow{Pair: r.Pair, EnvironmentID: r.EnvironmentID, Slot: r.Slot}
		if r.Guest {
			m.Assignment, m.DeadlineMs = r.Assignment, r.Deadline.Milliseconds()
		}
		s.send(m)
		return ""
	case s.isOurs() || now == nil || now.pairs[r.Pair] == nil:
		return "" // it keeps its schedule
	}
	s.send(&protocol.ConfigUpdated{Assignments: now.assignments(map[protocol.Pair]bool{r.Pair: true})})
	s.send(&protocol.ConfigUpdated{Assignments: now.assignments(nil)})
	return ""
}
