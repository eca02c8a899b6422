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
		sessions[r.SatelliteID].runNow(r)
	}
	return nil
}

// runNow has the satellite run the pair beside its schedule. An original agent runs
// what it is given anew at once, so the pair is taken away and given again.
func (s *session) runNow(r fleet.RunRequest) {
	if s.features.has(protocol.FeatureRun) {
		s.send(&protocol.RunNow{Pair: r.Pair, Slot: r.Slot})
		return
	}
	s.mu.Lock()
	now := s.set
	s.mu.Unlock()
	if s.isOurs() || now == nil || now.pairs[r.Pair] == nil {
		return // it keeps its schedule
	}
	s.send(&protocol.ConfigUpdated{Assignments: now.assignments(map[protocol.Pair]bool{r.Pair: true})})
	s.send(&protocol.ConfigUpdated{Assignments: now.assignments(nil)})
}
