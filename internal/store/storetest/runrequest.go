package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// testRunRequests: a run that was asked for is given to one core, once, in time.
func testRunRequests(t *testing.T, s *suite) {
	w := s.world("1")
	assignment := w.placement().AssignmentID
	s.same(1, must(s.db.InsertRunRequests(s.ctx(), "r1", assignment, "somebody", nil, time.Hour))(s))
	s.same(0, must(s.db.InsertRunRequests(s.ctx(), "r2", assignment, "somebody", []string{"nobody"}, time.Hour))(s))

	satellite := w.placement().SatelliteID
	var mu sync.Mutex
	var claimed []fleet.RunRequest
	var cores sync.WaitGroup
	for range 3 {
		cores.Go(func() {
			got, err := s.db.ClaimRunRequests(t.Context(), []string{satellite}, time.Minute)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			claimed = append(claimed, got...)
		})
	}
	cores.Wait()
	s.same(1, len(claimed))
	s.same(fleet.RunSent, must(s.db.RunRequests(s.ctx(), "r1", time.Minute))(s)[0].State)

	// Nobody claims what has waited for too long.
	s.same(1, must(s.db.InsertRunRequests(s.ctx(), "r3", assignment, "somebody", []string{satellite}, time.Hour))(s))
	s.same(0, len(must(s.db.ClaimRunRequests(s.ctx(), []string{satellite}, -time.Minute))(s)))
	s.same(fleet.RunExpired, must(s.db.RunRequests(s.ctx(), "r3", -time.Minute))(s)[0].State)
	// What is old is forgotten.
	s.same(1, must(s.db.InsertRunRequests(s.ctx(), "r4", assignment, "somebody", nil, -time.Minute))(s))
	s.same(0, len(must(s.db.RunRequests(s.ctx(), "r3", time.Minute))(s)))
}
