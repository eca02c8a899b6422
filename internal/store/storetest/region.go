package storetest

import (
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/store"
)

func testRegions(_ *testing.T, s *suite) {
	s.same(0, len(must(s.db.Regions(s.ctx()))(s)))
	since := s.now()
	ids := map[string]string{}
	for _, sat := range []fleet.Satellite{
		{Name: "a", Region: "us"}, {Name: "b", Region: "eu"}, {Name: "c", Region: "eu"}, {Name: "d", Region: "eu"}, {Name: "e"},
	} {
		sat.ID = newID()
		ids[sat.Name] = sat.ID
		s.tx(func(tx *store.Tx) error {
			if err := tx.InsertSatellite(s.ctx(), sat, "h"); err != nil || sat.Name != "c" {
				return err
			}
			sat.CordonedAt = &since
			if err := tx.UpdateSatellite(s.ctx(), sat); err != nil {
				return err
			}
			return tx.PutSelfObservations(s.ctx(), []fleet.SelfObservation{{SatelliteID: sat.ID, IllSince: &since}})
		})
	}
	s.connect(ids["b"], 1, fleet.Connected, ptr(time.Second))
	s.connect(ids["c"], 1, fleet.Connected, ptr(time.Second))
	s.connect(ids["d"], 1, fleet.HeartbeatLost, ptr(time.Hour))
	s.same([]fleet.Region{
		{Region: "", Satellites: 1, NeverConnected: 1},
		{Region: "eu", Satellites: 3, Online: 2, Ill: 1, Cordoned: 1},
		{Region: "us", Satellites: 1, NeverConnected: 1},
	}, must(s.db.Regions(s.ctx()))(s))
}
