package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/store"
	"github.com/perigee-monitoring/perigee/protocol"
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

// What is expected of a run is a result for each environment in which the satellite runs
// the pair, or the one that was asked for; a guest is not narrowed.
func testRunRequestsInEnvironments(_ *testing.T, s *suite) {
	w, elsewhere := s.world("1"), s.world("2")
	w.system.Environments = []catalog.Environment{{ID: "p", Name: "prod"}, {ID: "d", Name: "dev"}}
	w.assignment.SatelliteEnvironments = map[string][]string{w.satellite.Name: {"dev"}}
	s.tx(func(tx *store.Tx) error {
		s.ok(tx.PutSystems(s.ctx(), w.system))
		return tx.PutAssignments(s.ctx(), w.assignment)
	})
	pair := protocol.Pair{ConfigID: w.check.ID, SystemID: w.system.ID}
	s.ok(s.db.PutRunRequests(s.ctx(), "r", "ada", []fleet.RunRequest{
		{Pair: pair, SatelliteID: w.satellite.ID, Asked: fleet.AskedManually, State: fleet.RunWaiting},
		{Pair: pair, SatelliteID: elsewhere.satellite.ID, Asked: fleet.AskedManually, State: fleet.RunWaiting, Guest: true},
	}, time.Hour))
	expected := func() (all [][]fleet.ExpectedRun) {
		for _, r := range must(s.db.RunRequests(s.ctx(), "r", time.Minute))(s) {
			all = append(all, r.Expected)
		}
		return all
	}
	prod, dev := fleet.ExpectedRun{EnvironmentID: "p", Environment: "prod"}, fleet.ExpectedRun{EnvironmentID: "d", Environment: "dev"}
	s.same([][]fleet.ExpectedRun{{dev}, {prod, dev}}, expected())
	var given []string
	for _, env := range must(s.db.PairAssignments(s.ctx(), []protocol.Pair{pair}))(s)[pair].Environments {
		given = append(given, env.ID)
	}
	s.same([]string{"p", "d"}, given)

	// What a maintenance pauses is not held.
	s.tx(func(tx *store.Tx) error {
		return tx.Maintain(s.ctx(), []catalog.Maintained{{MaintenanceID: "m", SystemID: w.system.ID, Mode: catalog.Pause}}, nil)
	})
	s.same(0, must(s.db.InsertRunRequests(s.ctx(), "r2", w.placement().AssignmentID, "ada", nil, time.Hour))(s))
	s.same(0, len(must(s.db.RunPlaces(s.ctx(), pair, nil))(s)))
}

// testGuestRuns: what a satellite does not hold is handed out with the assignment, may
// be answered for in its next session, and its answer is found by the slot.
func testGuestRuns(_ *testing.T, s *suite) {
	w, elsewhere := s.world("1"), s.world("2")
	pair := protocol.Pair{ConfigID: w.check.ID, SystemID: w.system.ID}
	holding := must(s.db.RunPlaces(s.ctx(), pair, nil))(s)
	s.same(1, len(holding))
	s.same(true, holding[0].Holds)
	places := must(s.db.RunPlaces(s.ctx(), pair, []string{elsewhere.satellite.Name, w.satellite.ID, "nobody"}))(s)
	s.same([]bool{true, false}, []bool{places[0].Holds, places[1].Holds})
	s.same(map[string]string{w.system.ID: w.system.Name}, must(s.db.SystemsOfCheck(s.ctx(), w.check.ID))(s))

	guest := fleet.RunRequest{Pair: pair, SatelliteID: elsewhere.satellite.ID, Asked: fleet.AskedForOpinion, State: fleet.RunWaiting, Guest: true, Deadline: 5 * time.Second}
	refused := fleet.RunRequest{Pair: pair, SatelliteID: w.satellite.ID, Asked: fleet.AskedForOpinion, State: fleet.RunRefused, Reason: "it is offline"}
	s.ok(s.db.PutRunRequests(s.ctx(), "g1", "core", []fleet.RunRequest{guest, refused}, time.Hour))
	claimed := must(s.db.ClaimRunRequests(s.ctx(), []string{elsewhere.satellite.ID, w.satellite.ID}, time.Minute))(s)
	s.same(1, len(claimed))
	s.same(w.check.Spec.Strategy, claimed[0].Assignment.StrategyID)
	s.same(5*time.Second, claimed[0].Deadline)
	sets := must(s.db.DesiredSets(s.ctx(), []string{elsewhere.satellite.ID}))(s)
	s.same(1, len(sets[elsewhere.satellite.ID].Asked))
	s.same(claimed[0].Assignment, sets[elsewhere.satellite.ID].Asked[0].Assignment)

	run := newRun(w, time.UnixMilli(claimed[0].Slot), check.Unhealthy)
	run.SatelliteID, run.Asked = elsewhere.satellite.ID, fleet.AskedForOpinion
	s.insertRuns(run, newRun(w, time.UnixMilli(claimed[0].Slot+1), check.Healthy))
	s.same([]health.Run{run}, s.runs(health.RunFilter{SatelliteID: elsewhere.satellite.ID}))
	rows := must(s.db.RunRequests(s.ctx(), "g1", time.Minute))(s)
	s.same([]fleet.RunState{fleet.RunRefused, fleet.RunSent}, []fleet.RunState{rows[0].State, rows[1].State})
	answers := must(s.db.RunAnswers(s.ctx(), rows))(s)
	s.same(1, len(answers))
	s.same(check.Unhealthy, answers[0].Status)

	s.ok(s.db.RefuseRunRequest(s.ctx(), claimed[0], "no room"))
	s.same("no room", must(s.db.RunRequests(s.ctx(), "g1", time.Minute))(s)[1].Reason)
}
