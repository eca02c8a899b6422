package storetest

import (
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/store"
	"github.com/perigee-monitoring/perigee/protocol"
)

func testSatellite(t *testing.T, s *suite) {
	created := s.now().Add(-time.Hour)
	want := fleet.Satellite{
		ID: newID(), Name: "eu-1", Region: "eu", Tags: map[string]string{"a.b": "c", "tier": "x"},
		CreatedAt: created, OfflineThresholdMs: ptr(int64(15000)), Weight: 1,
	}
	s.tx(func(tx *store.Tx) error { return tx.InsertSatellite(s.ctx(), want, "h") })

	want.Status, want.Capabilities, want.AppliedErrors, want.DesiredRevision = fleet.Offline, []string{}, []protocol.AppliedError{}, 1
	s.same(want, must(s.db.Satellite(s.ctx(), want.ID))(s))
	s.same(want, must(s.db.SatelliteByName(s.ctx(), "eu-1"))(s))

	want.Name, want.Region, want.Tags, want.OfflineThresholdMs = "us-1", "us", map[string]string{}, nil
	s.tx(func(tx *store.Tx) error {
		changed := want
		changed.Tags, changed.CreatedAt = nil, time.Time{} // neither nil tags nor the time of creation matter
		if err := tx.UpdateSatellite(s.ctx(), changed); err != nil {
			return err
		}
		s.same(want, must(tx.SatelliteForUpdate(s.ctx(), want.ID))(s))
		s.same([]fleet.Satellite{want}, must(tx.AllSatellites(s.ctx()))(s))
		return nil
	})
	s.same(want, must(s.db.Satellite(s.ctx(), want.ID))(s))

	before := s.now()
	fresh := must(s.db.Satellite(s.ctx(), s.satellite("new").ID))(s)
	if fresh.CreatedAt.Before(before) {
		t.Errorf("created at %v by the database's clock, which said %v before", fresh.CreatedAt, before)
	}
}

func testSatelliteNameTaken(_ *testing.T, s *suite) {
	s.satellite("eu-1")
	second := s.satellite("eu-2")
	err := s.try(func(tx *store.Tx) error {
		return tx.InsertSatellite(s.ctx(), fleet.Satellite{ID: newID(), Name: "eu-1"}, "h")
	})
	s.fails(err, fault.Conflict, `"eu-1"`, "satellite")
	second.Name = "eu-1"
	s.fails(s.try(func(tx *store.Tx) error { return tx.UpdateSatellite(s.ctx(), second) }), fault.Conflict, `"eu-1"`)
}

func testMissingSatellite(_ *testing.T, s *suite) {
	const id = "not even a UUID"
	_, err := s.db.Satellite(s.ctx(), id)
	s.fails(err, fault.NotFound, id)
	_, err = s.db.SatelliteByName(s.ctx(), "nobody")
	s.fails(err, fault.NotFound, "nobody")
	s.same(0, len(must(s.db.Credentials(s.ctx(), []string{id}))(s)))
	s.same(0, len(must(s.db.DesiredSets(s.ctx(), []string{id}))(s)))
	for _, write := range []func(tx *store.Tx) error{
		func(tx *store.Tx) error { return tx.UpdateSatellite(s.ctx(), fleet.Satellite{ID: id, Name: "n"}) },
		func(tx *store.Tx) error { return tx.SetTokens(s.ctx(), id, fleet.Tokens{Hash: "h", Version: 2}) },
		func(tx *store.Tx) error { return tx.DeleteSatellite(s.ctx(), id) },
		func(tx *store.Tx) error { _, err := tx.SatelliteForUpdate(s.ctx(), id); return err },
		func(tx *store.Tx) error { return tx.SetInventory(s.ctx(), id, protocol.Inventory{}) },
		func(tx *store.Tx) error { return tx.SetApplied(s.ctx(), id, protocol.Applied{}) },
		func(tx *store.Tx) error { return tx.SetSyncState(s.ctx(), id, protocol.ScriptPackageSyncState{}) },
		func(tx *store.Tx) error {
			return tx.WriteConnections(s.ctx(), []fleet.Connection{{SatelliteID: id}})
		},
	} {
		s.fails(s.try(write), fault.NotFound)
	}
}

func testStatus(t *testing.T, s *suite) {
	for name, test := range map[string]struct {
		age       *time.Duration
		threshold *int64
		want      fleet.Status
	}{
		"never heard":               {nil, nil, fleet.Offline},
		"fresh":                     {ptr(time.Second), nil, fleet.Online},
		"within the default":        {ptr(40 * time.Second), nil, fleet.Online},
		"stale, L13":                {ptr(50 * time.Second), nil, fleet.Offline},
		"in the future":             {ptr(-time.Hour), nil, fleet.Online},
		"own threshold, fresh":      {ptr(50 * time.Second), ptr(int64(90_000)), fleet.Online},
		"own threshold, stale":      {ptr(20 * time.Second), ptr(int64(15_000)), fleet.Offline},
		"no threshold, fresh":       {ptr(40 * time.Second), ptr(int64(0)), fleet.Online},
		"no threshold, stale":       {ptr(50 * time.Second), ptr(int64(0)), fleet.Offline},
		"negative threshold, stale": {ptr(50 * time.Second), ptr(int64(-1)), fleet.Offline},
		"negative threshold, fresh": {ptr(40 * time.Second), ptr(int64(-1)), fleet.Online},
	} {
		sat := s.satellite(name)
		sat.OfflineThresholdMs = test.threshold
		s.tx(func(tx *store.Tx) error { return tx.UpdateSatellite(s.ctx(), sat) })
		s.connect(sat.ID, 1, fleet.Connected, test.age)
		got := must(s.db.Satellite(s.ctx(), sat.ID))(s)
		if got.Status != test.want {
			t.Errorf("%s: %s, want %s", name, got.Status, test.want)
		}
		listed, _, err := s.db.Satellites(s.ctx(), fleet.Filter{Name: name, Status: test.want}, fleet.Page{})
		s.ok(err)
		if len(listed) != 1 || listed[0].Status != test.want {
			t.Errorf("%s: listed as %v", name, listed)
		}
	}
}

func testSatelliteFilter(t *testing.T, s *suite) {
	for _, sat := range []fleet.Satellite{
		{Name: "a", Region: "eu", Tags: map[string]string{"tier": "gold", "a.b": "1"}},
		{Name: "b", Region: "eu", Tags: map[string]string{"tier": "gold"}},
		{Name: "c", Region: "us", Tags: map[string]string{"tier": "silver", `quo"te`: "2"}},
		{Name: "d", Region: "us"},
	} {
		sat.ID = newID()
		s.tx(func(tx *store.Tx) error { return tx.InsertSatellite(s.ctx(), sat, "h") })
	}
	for want, f := range map[string]fleet.Filter{
		"abcd": {},
		"ab":   {Region: "eu"},
		"c":    {Name: "c"},
		"ab ":  {Tag: map[string]string{"tier": "gold"}},
		"a":    {Tag: map[string]string{"tier": "gold", "a.b": "1"}},
		"c ":   {Tag: map[string]string{`quo"te`: "2"}},
		"":     {Region: "us", Tag: map[string]string{"tier": "gold"}},
		" ":    {Tag: map[string]string{"nothing": ""}},
	} {
		items, next, err := s.db.Satellites(s.ctx(), f, fleet.Page{})
		s.ok(err)
		got := ""
		for _, sat := range items {
			got += sat.Name
		}
		if trimmed := len(want) > 0 && want[len(want)-1] == ' '; trimmed {
			want = want[:len(want)-1]
		}
		if got != want || next != "" {
			t.Errorf("%+v gave %q and next %q, want %q", f, got, next, want)
		}
	}
}

func testSatellitePages(_ *testing.T, s *suite) {
	var want []string
	for i := range 25 {
		want = append(want, s.satellite(name(2*i)).Name)
	}
	// What is inserted behind the cursor is not seen, what is inserted ahead of it is.
	items := pages(s, 10, func(page int) {
		s.satellite(name(2*page) + "-behind")
		s.satellite("z-ahead-" + name(page))
	}, func(p fleet.Page) ([]fleet.Satellite, string, error) {
		return s.db.Satellites(s.ctx(), fleet.Filter{}, p)
	})
	var got []string
	for _, sat := range items {
		got = append(got, sat.Name)
	}
	s.same(append(want, "z-ahead-"+name(0), "z-ahead-"+name(1)), got)
}

func testBadCursor(_ *testing.T, s *suite) {
	_, _, err := s.db.Satellites(s.ctx(), fleet.Filter{}, fleet.Page{Cursor: "!"})
	s.fails(err, fault.Invalid, "cursor")
	_, _, err = s.db.Transitions(s.ctx(), "k", "i", fleet.Page{Cursor: "bm90IGEgbnVtYmVy"})
	s.fails(err, fault.Invalid, "cursor")
}

func testCredential(_ *testing.T, s *suite) {
	sat := s.satellite("eu-1")
	s.credential(sat.ID, "hash of eu-1", 1)

	s.tx(func(tx *store.Tx) error {
		return tx.SetTokens(s.ctx(), sat.ID, fleet.Tokens{Hash: "$2a$10$old", Version: 1})
	})
	s.credential(sat.ID, "$2a$10$old", 1)
	s.same(1, must(s.db.BcryptRows(s.ctx()))(s))

	s.tx(func(tx *store.Tx) error { return tx.SetTokens(s.ctx(), sat.ID, fleet.Tokens{Hash: "new", Version: 2}) })
	s.credential(sat.ID, "new", 2)
	s.same(0, must(s.db.BcryptRows(s.ctx()))(s))
}

func testReports(_ *testing.T, s *suite) {
	sat := s.satellite("eu-1")
	inventory := protocol.Inventory{Version: "1.2.3", OS: "linux", Strategies: []string{"healthcheck-http.http"}}
	failed := []protocol.AppliedError{{Pair: protocol.Pair{ConfigID: "c", SystemID: "s"}, Message: "unknown strategy"}}
	s.tx(func(tx *store.Tx) error { return tx.SetInventory(s.ctx(), sat.ID, inventory) })
	s.tx(func(tx *store.Tx) error {
		return tx.SetApplied(s.ctx(), sat.ID, protocol.Applied{Revision: 7, Errors: failed})
	})
	s.tx(func(tx *store.Tx) error {
		return tx.SetSyncState(s.ctx(), sat.ID, protocol.ScriptPackageSyncState{Status: protocol.SyncReady})
	})
	got := must(s.db.Satellite(s.ctx(), sat.ID))(s)
	s.same(&inventory, got.Inventory)
	s.same(ptr(int64(7)), got.AppliedRevision)
	s.same(failed, got.AppliedErrors)

	s.tx(func(tx *store.Tx) error { return tx.SetApplied(s.ctx(), sat.ID, protocol.Applied{Revision: 8}) })
	got = must(s.db.Satellite(s.ctx(), sat.ID))(s)
	s.same(ptr(int64(8)), got.AppliedRevision)
	s.same(0, len(got.AppliedErrors))
}

// testUpgrade: what was verified may be replaced before its better form is stored.
func testUpgrade(_ *testing.T, s *suite) {
	sat := s.satellite("eu-1")
	s.tx(func(tx *store.Tx) error {
		return tx.SetTokens(s.ctx(), sat.ID, fleet.Tokens{Hash: "$2a$10$old", Version: 1})
	})
	s.tx(func(tx *store.Tx) error { return tx.UpgradeTokenHash(s.ctx(), sat.ID, "$2a$10$old", "sha256:old") })
	s.credential(sat.ID, "sha256:old", 1)
	s.tx(func(tx *store.Tx) error {
		return tx.SetTokens(s.ctx(), sat.ID, fleet.Tokens{Hash: "sha256:rotated", Version: 2})
	})
	s.tx(func(tx *store.Tx) error { return tx.UpgradeTokenHash(s.ctx(), sat.ID, "$2a$10$old", "sha256:old") })
	s.credential(sat.ID, "sha256:rotated", 2)
}

// credential checks how the satellite's token is stored.
func (s *suite) credential(id, hash string, version int64) {
	s.t.Helper()
	got := must(s.db.Credentials(s.ctx(), []string{id}))(s)[id]
	s.same(hash, got.Hash)
	s.same(version, got.Version)
	s.same(id, got.Satellite.ID)
}

// desired is what one satellite should run.
func (s *suite) desired(id string) fleet.Desired {
	s.t.Helper()
	return must(s.db.DesiredSets(s.ctx(), []string{id}))(s)[id]
}
