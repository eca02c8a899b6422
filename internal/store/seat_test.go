package store_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/store"
)

// A seat that is handed over ends where the lease ends, and begins there elsewhere.
func TestSeatsAreHandedOverAtTheEndOfTheLease(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		db, err := store.Open(t.Context(), url, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		var seats []catalog.SeatAt
		var leases []fleet.Lease
		err = db.InTx(t.Context(), func(etx entity.Tx) error {
			tx := etx.(*store.Tx)
			now, err := tx.Now(t.Context())
			if err != nil {
				return err
			}
			for _, id := range []string{"a", "b"} {
				if err := tx.InsertSatellite(t.Context(), fleet.Satellite{ID: id, Name: id, Region: id}, "h"); err != nil {
					return err
				}
			}
			if err := tx.WriteConnections(t.Context(), []fleet.Connection{{SatelliteID: "a", Epoch: 1, LastEvent: fleet.Connected, LastHeartbeatAt: &now}}); err != nil {
				return err
			}
			if _, leases, err = tx.FlushBeats(t.Context(), []fleet.Beat{{SatelliteID: "a", Epoch: 1, Leases: true}}); err != nil {
				return err
			}
			seat := catalog.Placement{AssignmentID: "x", SatelliteID: "a", CheckID: "c", SystemID: "s", Seat: 1}
			if err := tx.Place(t.Context(), []catalog.Placement{seat}, nil); err != nil {
				return err
			}
			to := seat
			seat.Handover, to.SatelliteID = true, "b"
			if err := tx.Place(t.Context(), []catalog.Placement{to}, []catalog.Placement{seat}); err != nil {
				return err
			}
			seats, err = tx.SeatsOf(t.Context(), []string{"x"})
			return err
		})
		if err != nil || len(leases) != 1 || len(seats) != 2 {
			t.Fatalf("leases are %+v, seats %+v, error %v", leases, seats, err)
		}
		from, to := seats[0], seats[1]
		if from.Until == nil || from.Until.Before(leases[0].Until) || to.Since.Before(*from.Until) || to.Until != nil {
			t.Errorf("a lease until %s; seats are %+v", leases[0].Until.Format(time.RFC3339Nano), seats)
		}
	})
}
