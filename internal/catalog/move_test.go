package catalog_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/store"
)

// movable is a core with a mover, as one of several on a database.
type movable struct {
	*world
	db *store.DB
}

// onCores runs a test with two cores: on PostgreSQL each has the database by itself, on
// SQLite, which is for one process, they share it.
func onCores(t *testing.T, run func(t *testing.T, a, b movable)) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		open := func() *store.DB {
			db := must(store.Open(t.Context(), url, slog.New(slog.DiscardHandler)))
			t.Cleanup(func() {
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			})
			return db
		}
		first := open()
		second := first
		if strings.HasPrefix(url, "postgres") {
			second = open()
		}
		run(t, movable{newStoredWorld(t, first, validateSpec), first}, movable{newStoredWorld(t, second, validateSpec), second})
	})
}

func (m movable) mover(holdOff time.Duration) *catalog.Mover {
	return catalog.NewMover(m.Catalog, m.db, holdOff, nil)
}

// moves is one pass, which is to move so many seats.
func (m movable) moves(holdOff time.Duration, want int) {
	m.Helper()
	n, err := m.mover(holdOff).Move(m.Context())
	if err != nil || n != want {
		m.Errorf("%d seats moved, want %d; error %v", n, want, err)
	}
}

// leased makes a satellite that is there and has a lease.
func (m movable) leased(name string) fleet.Satellite {
	m.Helper()
	s := m.satellite(name, "pool=a")
	m.beat(s)
	return s
}

func (m movable) beat(s fleet.Satellite) {
	m.Helper()
	err := m.db.InTx(m.Context(), func(etx entity.Tx) error {
		tx := etx.(*store.Tx)
		now, err := tx.Now(m.Context())
		if err != nil {
			return err
		}
		if err := tx.WriteConnections(m.Context(), []fleet.Connection{{SatelliteID: s.ID, Epoch: 1, LastEvent: fleet.Connected, LastHeartbeatAt: &now}}); err != nil {
			return err
		}
		_, leases, err := tx.FlushBeats(m.Context(), []fleet.Beat{{SatelliteID: s.ID, Epoch: 1, Leases: true}})
		if err == nil && len(leases) != 1 {
			err = fmt.Errorf("leases are %+v", leases)
		}
		return err
	})
	if err != nil {
		m.Fatal(err)
	}
}

// stays is a satellite that is not lost for hours.
func (m movable) stays(s fleet.Satellite) {
	m.Helper()
	if _, err := m.fleet().Update(m.Context(), actor, s.ID, fleet.Patch{OfflineThresholdMs: new(int64(time.Hour / time.Millisecond))}); err != nil {
		m.Fatal(err)
	}
}

func (m movable) cordon(s fleet.Satellite, c fleet.Cordon) {
	m.Helper()
	if _, err := m.fleet().SetCordon(m.Context(), actor, s.ID, c); err != nil {
		m.Fatal(err)
	}
}

// at are the names of the satellites that have the seats for good, by how many.
func (m movable) at() map[string]int {
	m.Helper()
	counts := map[string]int{}
	err := entity.InTx(m.Context(), m.recorder, func(tx catalog.Tx) error {
		seats, err := tx.SeatsOf(m.Context(), nil)
		since := map[string]time.Time{}
		for _, at := range seats {
			key := fmt.Sprint(at.AssignmentID, at.Number)
			if at.Since.Before(since[key]) {
				m.Errorf("seat %s begins at %s before the one before ends, at %s", key, at.Since, since[key])
			}
			if at.Until != nil {
				since[key] = *at.Until
				continue
			}
			counts[at.Satellite]++
		}
		return err
	})
	if err != nil {
		m.Fatal(err)
	}
	return counts
}

func (m movable) want(seats string) {
	m.Helper()
	if got := fmt.Sprint(m.at()); got != "map["+seats+"]" {
		m.Errorf("seats are at %s, want %s", got, seats)
	}
}

var onePlace = catalog.Selector{Selector: "pool = a", Count: 1}

// afterwards is a hold-off that has passed although the lease goes on: the clock is the
// database's, which a test does not set.
const afterwards = -2 * fleet.LeaseSpan

// Two cores see the same satellite lost: each of its seats moves once.
func TestSeatsMoveOnceWhenTwoCoresLook(t *testing.T) {
	onCores(t, func(t *testing.T, a, b movable) {
		const seats = 12
		a.leased("lost")
		for i := range seats {
			a.assigned(fmt.Sprintf("job-%d", i), onePlace)
		}
		a.want(fmt.Sprintf("lost:%d", seats))
		stays := a.leased("stays")
		a.stays(stays)
		a.cordon(stays, fleet.Cordoned)
		a.moves(afterwards, 0) // there is nowhere to go
		a.cordon(stays, fleet.Uncordoned)
		var moved [2]int
		var both sync.WaitGroup
		types := a.eventTypes(func() {
			for i, core := range []movable{a, b} {
				both.Go(func() { moved[i] = must(core.mover(afterwards).Move(t.Context())) })
			}
			both.Wait()
		})
		if moved[0]+moved[1] != seats {
			t.Errorf("the cores moved %v seats of %d", moved, seats)
		}
		if n := len(types); n != seats || types[0] != catalog.TypeMoved {
			t.Errorf("%d events: %v", n, types)
		}
		a.want(fmt.Sprintf("stays:%d", seats))
	})
}

// Who comes back before the hold-off has passed keeps its seats.
func TestASatelliteThatIsBackInTimeKeepsItsSeats(t *testing.T) {
	onCores(t, func(_ *testing.T, a, b movable) {
		back := a.leased("back")
		a.assigned("job", onePlace)
		a.stays(a.leased("other"))
		a.beat(back)
		b.moves(time.Second, 0)
		a.want("back:1")
	})
}

// A cordoned satellite gets nothing and keeps what it has; a drained one loses that, at a
// pace; and with nowhere to go seats stay.
func TestCordonAndDrain(t *testing.T) {
	onCores(t, func(_ *testing.T, a, b movable) {
		const seats = catalog.DrainPace + 3
		first := a.leased("first")
		for i := range seats {
			a.assigned(fmt.Sprintf("job-%d", i), onePlace)
		}
		a.cordon(first, fleet.Drained)
		b.moves(time.Hour, 0) // there is no other
		second := a.leased("second")
		a.cordon(second, fleet.Cordoned)
		b.moves(time.Hour, 0)
		a.want(fmt.Sprintf("first:%d", seats))
		a.cordon(second, fleet.Uncordoned)
		b.moves(time.Hour, catalog.DrainPace)
		a.want(fmt.Sprintf("first:3 second:%d", catalog.DrainPace))
		a.moves(time.Hour, 3)
		a.want(fmt.Sprintf("second:%d", seats))
		a.cordon(second, fleet.Cordoned)
		b.moves(time.Hour, 0)
		a.want(fmt.Sprintf("second:%d", seats))
	})
}

// While a maintenance pauses a counted assignment nobody is told of its seats, whatever
// becomes of the satellites meanwhile; afterwards each seat is told to one satellite.
func TestSeatsPauseAndComeBack(t *testing.T) {
	onCores(t, func(t *testing.T, a, b movable) {
		// told are the slots' owners: the satellites that are told of each seat for good.
		told := func() map[int][]string {
			seats := map[int][]string{}
			ids, names := []string{}, map[string]string{}
			for id, s := range a.look().satellites {
				ids, names[id] = append(ids, id), s.Name
			}
			for id, set := range must(a.db.DesiredSets(t.Context(), ids)) {
				for _, has := range set.Assignments {
					if has.Seat == nil {
						t.Errorf("%s runs %s without a seat", names[id], has.ConfigName)
					} else if has.Seat.Until == 0 {
						seats[has.Seat.Number] = append(seats[has.Seat.Number], names[id])
					}
				}
			}
			return seats
		}
		all := []fleet.Satellite{a.leased("one"), a.leased("three"), a.leased("two")}
		for _, s := range all {
			a.stays(s)
		}
		a.assigned("job", catalog.Selector{Selector: "pool = a", Count: 2})
		before := told()
		if len(before) != 2 || len(before[1]) != 1 || len(before[2]) != 1 || before[1][0] == before[2][0] {
			t.Fatalf("the seats are told so: %v", before)
		}
		holders := []string{before[1][0], before[2][0]}
		slices.Sort(holders)

		end := must(a.db.Now(t.Context())).Add(time.Hour)
		pause := catalog.MaintenanceInput{Name: "pause", Mode: catalog.Pause, Systems: catalog.Selector{Names: []string{"job-system"}}, End: &end}
		began := a.bumped(func() { must(a.CreateMaintenance(t.Context(), actor, pause)) })
		if diff := cmp.Diff(holders, began); diff != "" {
			t.Errorf("who was told of the pause (-want +got):\n%s", diff)
		}
		if during := told(); len(during) > 0 {
			t.Errorf("while it is paused %v are told", during)
		}
		a.want(holders[0] + ":1 " + holders[1] + ":1")
		b.moves(time.Hour, 0)
		ended := a.bumped(func() { must(a.EndMaintenance(t.Context(), actor, "pause")) })
		if diff := cmp.Diff([]any{holders, before}, []any{ended, told()}); diff != "" {
			t.Errorf("who was told of its end, and of which seats (-want +got):\n%s", diff)
		}

		// One of them is drained meanwhile: the seat moves when it is at work again, once.
		must(a.CreateMaintenance(t.Context(), actor, catalog.MaintenanceInput{Name: "again", Mode: catalog.Pause, Systems: pause.Systems, End: &end}))
		for _, s := range all {
			if s.Name == before[1][0] {
				a.cordon(s, fleet.Drained)
			}
		}
		b.moves(time.Hour, 0)
		must(b.EndMaintenance(t.Context(), actor, "again"))
		b.moves(time.Hour, 1)
		a.moves(time.Hour, 0)
		after := told()
		if len(after) != 2 || len(after[1]) != 1 || after[1][0] == before[1][0] || after[1][0] == before[2][0] {
			t.Errorf("one was drained while it was paused, of %v: %v", before, after)
		}
		if diff := cmp.Diff(before[2], after[2]); diff != "" {
			t.Errorf("the other seat (-want +got):\n%s", diff)
		}
		holders = []string{after[1][0], after[2][0]}
		slices.Sort(holders)
		a.want(holders[0] + ":1 " + holders[1] + ":1")
	})
}
