package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/store"
	"github.com/perigee-monitoring/perigee/protocol"
)

func (s *suite) locked(ids ...string) map[string]fleet.Connection {
	s.t.Helper()
	var rows map[string]fleet.Connection
	s.tx(func(tx *store.Tx) (err error) {
		rows, err = tx.LockConnections(s.ctx(), ids)
		return err
	})
	return rows
}

func (s *suite) markLost() []fleet.Connection {
	s.t.Helper()
	overdue := must(s.db.Overdue(s.ctx()))(s)
	var lost []fleet.Connection
	s.tx(func(tx *store.Tx) (err error) {
		lost, err = tx.MarkLost(s.ctx())
		return err
	})
	if overdue != (len(lost) > 0) {
		s.t.Errorf("overdue said %t and %d rows were lost", overdue, len(lost))
	}
	return lost
}

func (s *suite) flush(beats ...fleet.Beat) []string {
	s.t.Helper()
	var recovered []string
	s.tx(func(tx *store.Tx) (err error) {
		recovered, _, err = tx.FlushBeats(s.ctx(), beats)
		return err
	})
	return recovered
}

func testNeverConnected(_ *testing.T, s *suite) {
	sat := s.satellite("eu-1")
	s.same(map[string]fleet.Connection{sat.ID: {SatelliteID: sat.ID, Name: "eu-1", Region: "eu"}}, s.locked(sat.ID, "unknown"))
	if got := must(s.db.Satellite(s.ctx(), sat.ID))(s); got.LastConnectionEvent != nil || got.Epoch != 0 {
		s.t.Errorf("a satellite that never connected has %v, epoch %d", got.LastConnectionEvent, got.Epoch)
	}
}

func testConnections(_ *testing.T, s *suite) {
	sat := s.satellite("eu-1")
	now := s.now()
	connected := fleet.Connection{SatelliteID: sat.ID, Name: "eu-1", Region: "eu", Epoch: 3, LastHeartbeatAt: &now, LastEvent: fleet.Connected}
	s.tx(func(tx *store.Tx) error { return tx.WriteConnections(s.ctx(), []fleet.Connection{connected}) })
	s.same(connected, s.locked(sat.ID)[sat.ID])
	got := must(s.db.Satellite(s.ctx(), sat.ID))(s)
	s.same([]any{fleet.Online, &now, ptr(fleet.Connected), int64(3)}, []any{got.Status, got.LastHeartbeatAt, got.LastConnectionEvent, got.Epoch})

	lost := connected
	lost.LastEvent = fleet.HeartbeatLost
	s.tx(func(tx *store.Tx) error { return tx.WriteConnections(s.ctx(), []fleet.Connection{lost}) })
	got = must(s.db.Satellite(s.ctx(), sat.ID))(s)
	s.same([]any{&now, ptr(fleet.HeartbeatLost)}, []any{got.LastHeartbeatAt, got.LastConnectionEvent})

	gone := connected
	gone.LastEvent, gone.LastHeartbeatAt = fleet.Disconnected, nil
	s.tx(func(tx *store.Tx) error { return tx.WriteConnections(s.ctx(), []fleet.Connection{gone}) })
	got = must(s.db.Satellite(s.ctx(), sat.ID))(s)
	s.same([]any{fleet.Offline, (*time.Time)(nil), ptr(fleet.Disconnected)}, []any{got.Status, got.LastHeartbeatAt, got.LastConnectionEvent})

	// L64: what was deleted cannot connect any more, and takes its batch with it.
	other := s.satellite("eu-2")
	s.tx(func(tx *store.Tx) error { return tx.DeleteSatellite(s.ctx(), sat.ID) })
	connected2 := connected
	connected2.SatelliteID = other.ID
	if err := s.try(func(tx *store.Tx) error {
		return tx.WriteConnections(s.ctx(), []fleet.Connection{connected2, connected})
	}); err == nil {
		s.t.Error("a deleted satellite connected")
	}
	s.same(int64(0), s.locked(other.ID)[other.ID].Epoch)
}

func testEmptyLists(_ *testing.T, s *suite) {
	s.same(0, len(s.locked()))
	s.same(0, len(s.flush()))
	s.same(0, len(must(s.db.Revisions(s.ctx(), nil))(s)))
	s.same(0, len(must(s.db.Seats(s.ctx(), []string{}))(s)))
	s.same(0, len(must(s.db.SystemHealths(s.ctx(), []string{}))(s)))
	s.tx(func(tx *store.Tx) error {
		s.ok(tx.WriteConnections(s.ctx(), nil))
		s.ok(tx.BumpRevisions(s.ctx(), nil))
		s.ok(tx.Place(s.ctx(), nil, nil))
		s.ok(tx.InsertSkips(s.ctx(), nil))
		s.ok(tx.PutLocations(s.ctx(), nil))
		s.ok(tx.PutSystemHealths(s.ctx(), nil))
		s.ok(tx.AppendTransitions(s.ctx(), nil))
		s.ok(tx.AppendEvents(s.ctx(), nil))
		s.same(0, len(must(tx.InsertRuns(s.ctx(), nil))(s)))
		s.same(0, len(must(tx.LockLocations(s.ctx(), nil))(s)))
		s.same(0, len(must(tx.LockSystems(s.ctx(), nil))(s)))
		s.same(0, len(must(tx.PlacementsOf(s.ctx(), nil))(s)))
		return nil
	})
}

func testManyConnections(_ *testing.T, s *suite) {
	var ids []string
	s.tx(func(tx *store.Tx) error {
		for i := range 2500 {
			sat := fleet.Satellite{ID: newID(), Name: name(i), Region: "eu"}
			ids = append(ids, sat.ID)
			if err := tx.InsertSatellite(s.ctx(), sat, "h"); err != nil {
				return err
			}
		}
		return nil
	})
	want := map[string]fleet.Connection{}
	now := s.now()
	s.tx(func(tx *store.Tx) error {
		rows := must(tx.LockConnections(s.ctx(), ids))(s)
		var changed []fleet.Connection
		for id, c := range rows {
			c.Epoch++
			c.LastEvent, c.LastHeartbeatAt = fleet.Connected, &now
			want[id] = c
			changed = append(changed, c)
		}
		return tx.WriteConnections(s.ctx(), changed)
	})
	s.same(2500, len(want))
	s.same(want, s.locked(ids...))
}

func testFlushBeats(_ *testing.T, s *suite) {
	sat := s.satellite("eu-1")
	s.connect(sat.ID, 2, fleet.Connected, ptr(time.Minute))

	before := s.now()
	offset := 12.5
	pulse := &protocol.Pulse{SentAt: 1, OffsetMs: &offset, SpoolRecords: 3}
	s.same([]string{}, s.flush(fleet.Beat{SatelliteID: sat.ID, Epoch: 2, Age: time.Second, Version: "1.0", Capabilities: []string{"a"}, Pulse: pulse},
		fleet.Beat{SatelliteID: "unknown", Epoch: 2}), cmpopts.EquateEmpty())
	got := must(s.db.Satellite(s.ctx(), sat.ID))(s)
	heard := *got.LastHeartbeatAt
	if heard.Before(before.Add(-time.Second)) || heard.After(s.now().Add(-time.Second)) {
		s.t.Errorf("heard at %v, a second before a flush after %v", heard, before)
	}
	s.same([]any{ptr("1.0"), []string{"a"}, pulse, fleet.Online}, []any{got.Version, got.Capabilities, got.Pulse, got.Status})

	// Older than what is known: the time stays, what it tells is taken.
	s.flush(fleet.Beat{SatelliteID: sat.ID, Epoch: 2, Age: time.Hour, Version: "1.1"})
	got = must(s.db.Satellite(s.ctx(), sat.ID))(s)
	s.same([]any{&heard, ptr("1.1"), []string{"a"}, pulse}, []any{got.LastHeartbeatAt, got.Version, got.Capabilities, got.Pulse})

	// Another epoch's: nothing.
	s.flush(fleet.Beat{SatelliteID: sat.ID, Epoch: 1, Version: "0.1"}, fleet.Beat{SatelliteID: sat.ID, Epoch: 3, Version: "3.1"})
	s.same(got, must(s.db.Satellite(s.ctx(), sat.ID))(s))
}

func testRecovered(_ *testing.T, s *suite) {
	rows := map[string]fleet.Satellite{}
	var beats []fleet.Beat
	for name, c := range map[string]struct {
		epoch int64
		event fleet.Edge
	}{"connected": {1, fleet.Connected}, "lost": {1, fleet.HeartbeatLost}, "ended": {1, fleet.Disconnected}, "lost in a newer session": {2, fleet.HeartbeatLost}} {
		rows[name] = s.satellite(name)
		s.connect(rows[name].ID, c.epoch, c.event, ptr(time.Hour))
		beats = append(beats, fleet.Beat{SatelliteID: rows[name].ID, Epoch: 1})
	}
	s.same([]string{rows["lost"].ID}, s.flush(beats...))
	for name, want := range map[string]fleet.Status{"connected": fleet.Online, "lost": fleet.Online, "ended": fleet.Offline, "lost in a newer session": fleet.Offline} {
		if got := must(s.db.Satellite(s.ctx(), rows[name].ID))(s).Status; got != want {
			s.t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func testMarkLost(_ *testing.T, s *suite) {
	long, short := ptr(time.Hour), ptr(time.Second)
	rows := map[string]fleet.Satellite{}
	for name, c := range map[string]struct {
		event fleet.Edge
		age   *time.Duration
	}{
		"fresh": {fleet.Connected, short}, "stale": {fleet.Connected, long}, "future": {fleet.Connected, ptr(-time.Hour)},
		"gone": {fleet.Disconnected, nil}, "already": {fleet.HeartbeatLost, long},
	} {
		rows[name] = s.satellite(name)
		s.connect(rows[name].ID, 5, c.event, c.age)
	}
	rows["never"] = s.satellite("never")
	patient := s.satellite("patient")
	patient.OfflineThresholdMs = ptr(int64(2 * 60 * 60 * 1000))
	s.tx(func(tx *store.Tx) error { return tx.UpdateSatellite(s.ctx(), patient) })
	s.connect(patient.ID, 5, fleet.Connected, long)

	before := s.locked(rows["stale"].ID)[rows["stale"].ID]
	want := before
	want.LastEvent = fleet.HeartbeatLost // and the aged heartbeat stays, L25
	s.same([]fleet.Connection{want}, s.markLost())
	s.same(want, s.locked(want.SatelliteID)[want.SatelliteID])
	s.same(0, len(s.markLost())) // L19
}

func testMarkLostConditional(_ *testing.T, s *suite) {
	beating, back, silent := s.satellite("beating"), s.satellite("back"), s.satellite("silent")
	for _, sat := range []fleet.Satellite{beating, back, silent} {
		s.connect(sat.ID, 1, fleet.Connected, ptr(time.Hour))
	}
	if !must(s.db.Overdue(s.ctx()))(s) {
		s.t.Fatal("nobody is overdue")
	}
	// After the monitor looked and before it writes, one beats and one reconnects.
	s.flush(fleet.Beat{SatelliteID: beating.ID, Epoch: 1})
	s.connect(back.ID, 2, fleet.Connected, ptr(time.Duration(0)))
	lost := s.markLost()
	if len(lost) != 1 || lost[0].SatelliteID != silent.ID {
		s.t.Errorf("lost are %v, want only the silent one", lost)
	}
}

func testBlind(_ *testing.T, s *suite) {
	sat := s.satellite("eu-1")
	s.connect(sat.ID, 1, fleet.Connected, ptr(time.Hour))
	observe := func() {
		s.tx(func(tx *store.Tx) error { _, _, err := tx.Observe(s.ctx(), "core", time.Minute); return err })
	}
	observe() // the cores have just come back
	s.same(0, len(s.markLost()))
	s.same(fleet.Offline, must(s.db.Satellite(s.ctx(), sat.ID))(s).Status)
}

func testObserve(t *testing.T, s *suite) {
	observe := func(blindAfter time.Duration) (before fleet.Observation) {
		s.tx(func(tx *store.Tx) (err error) {
			before, _, err = tx.Observe(s.ctx(), "core", blindAfter)
			return err
		})
		return before
	}
	s.same(fleet.Observation{}, observe(time.Hour))
	first := observe(time.Hour)
	s.same(first.Since, first.At)
	second := observe(time.Hour)
	s.same(first.Since, second.Since)
	if !second.At.After(first.At) {
		t.Errorf("looked at %v, then at %v", first.At, second.At)
	}
	observe(-1) // any gap is too long
	third := observe(time.Hour)
	if !third.Since.After(second.At) {
		t.Errorf("after a gap the cores look since %v, want after %v", third.Since, second.At)
	}
}

// testCores: who looks learns that it is not the same cores any more.
func testCores(_ *testing.T, s *suite) {
	others := func(core string) (others bool) {
		s.tx(func(tx *store.Tx) (err error) {
			_, others, err = tx.Observe(s.ctx(), core, time.Hour)
			return err
		})
		return others
	}
	s.same(true, others("first"))
	s.same(false, others("first"))
	s.same(true, others("second"))
	s.same(false, others("second"))
	s.tx(func(tx *store.Tx) error { return tx.LeaveCore(s.ctx(), "second") })
	s.same(true, others("second"))
}

// testConnected: whoever is online is connected only while the core that holds its
// session runs.
func testConnected(_ *testing.T, s *suite) {
	sat := s.satellite("eu-1")
	connect := func(core string) {
		now := s.now()
		s.tx(func(tx *store.Tx) error {
			rows, err := tx.LockConnections(s.ctx(), []string{sat.ID})
			s.ok(err)
			row := rows[sat.ID]
			row.LastEvent, row.LastHeartbeatAt, row.Core = fleet.Connected, &now, core
			s.ok(tx.WriteConnections(s.ctx(), []fleet.Connection{row}))
			rows, err = tx.LockConnections(s.ctx(), []string{sat.ID})
			s.same(core, rows[sat.ID].Core)
			return err
		})
	}
	look := func(core string) {
		s.tx(func(tx *store.Tx) error { _, _, err := tx.Observe(s.ctx(), core, time.Hour); return err })
	}
	is := func(online, connected bool) {
		s.t.Helper()
		p := must(s.db.OpinionPlaces(s.ctx()))(s)[0]
		s.same([]bool{online, connected}, []bool{p.Online, p.Connected})
	}
	is(false, false) // never seen
	connect("")      // by a core that did not say which it is
	is(true, true)
	connect("first")
	is(true, false)
	look("first")
	is(true, true)
	look("first")
	s.tx(func(tx *store.Tx) error { return tx.LeaveCore(s.ctx(), "first") })
	is(true, false)
	look("second")
	connect("second")
	is(true, true)
}
