package storetest

import (
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/incident"
	"github.com/perigee-monitoring/perigee/internal/notify"
	"github.com/perigee-monitoring/perigee/internal/store"
)

func testIncidents(_ *testing.T, s *suite) {
	at := s.now()
	put := func(i incident.Incident) error {
		return s.try(func(tx *store.Tx) error { return tx.PutIncident(s.ctx(), i) })
	}
	first := incident.Incident{ID: newID(), Title: "edge-1 is lost", Severity: incident.Major, Status: incident.Open, Cause: "satellite/1", Systems: []string{"a"}, Parts: []string{"satellite/1"}, OpenedAt: at, UpdatedAt: at}
	s.ok(put(first))
	// While it is open no other has its cause.
	s.fails(put(incident.Incident{ID: newID(), Cause: first.Cause, OpenedAt: at, UpdatedAt: at}), fault.Conflict)
	second := incident.Incident{ID: newID(), Title: "b", Severity: incident.Minor, Status: incident.Open, Systems: []string{}, Parts: []string{}, OpenedAt: at, UpdatedAt: at}
	third := second
	third.ID = newID()
	s.ok(put(second))
	s.ok(put(third)) // without a cause there is nothing to be one of
	s.tx(func(tx *store.Tx) error {
		s.same(first, must(tx.OpenIncident(s.ctx(), first.Cause))(s))
		_, err := tx.OpenIncident(s.ctx(), "")
		s.fails(err, fault.NotFound)
		return nil
	})
	entry := incident.Entry{ID: newID(), IncidentID: first.ID, Status: incident.Open, Text: "lost", Actor: entity.System, At: at, Key: "run/actions[0]"}
	s.tx(func(tx *store.Tx) error { return tx.InsertEntry(s.ctx(), entry) })
	again := entry
	again.ID = newID()
	s.fails(s.try(func(tx *store.Tx) error { return tx.InsertEntry(s.ctx(), again) }), fault.Conflict)
	s.same([]incident.Entry{entry}, must(s.db.IncidentEntries(s.ctx(), first.ID))(s))

	first.Status, first.ResolvedAt = incident.Resolved, ptr(at)
	s.ok(put(first))
	s.ok(put(incident.Incident{ID: newID(), Title: "again", Severity: incident.Major, Status: incident.Open, Cause: first.Cause, Systems: []string{}, Parts: []string{}, OpenedAt: at, UpdatedAt: at}))
	s.same(first, must(s.db.Incident(s.ctx(), first.ID))(s))
	open, next, err := s.db.Incidents(s.ctx(), true, fleet.Page{Limit: 2})
	s.ok(err)
	s.same([]string{"again", "b"}, []string{open[0].Title, open[1].Title})
	rest, _, err := s.db.Incidents(s.ctx(), true, fleet.Page{Limit: 2, Cursor: next})
	s.ok(err)
	s.same([]incident.Incident{second}, rest)
}

func testNotes(_ *testing.T, s *suite) {
	n := incident.Note{ID: newID(), Kind: "satellite", EntityID: "1", Text: "moved", Actor: entity.System, At: s.now(), Key: "k"}
	s.tx(func(tx *store.Tx) error { return tx.InsertNote(s.ctx(), n) })
	again := n
	again.ID = newID()
	s.tx(func(tx *store.Tx) error { return tx.InsertNote(s.ctx(), again) })
	n.Key = ""
	found, _, err := s.db.Notes(s.ctx(), "satellite", "1", fleet.Page{})
	s.ok(err)
	s.same([]incident.Note{n}, found)
}

func testChannels(_ *testing.T, s *suite) {
	c := notify.Channel{ID: newID(), Name: "ops", Enabled: true, Type: notify.Webhook, Config: notify.Config{URL: "http://x", Headers: map[string]string{"A": "b"}}, CreatedAt: s.now(), UpdatedAt: s.now()}
	put := func(c notify.Channel) error {
		return s.try(func(tx *store.Tx) error { return tx.PutChannel(s.ctx(), c) })
	}
	s.ok(put(c))
	s.fails(put(notify.Channel{ID: newID(), Name: "ops", CreatedAt: s.now(), UpdatedAt: s.now()}), fault.Conflict, `"ops"`, "channel")
	c.FailingSince, c.LastError, c.Enabled = ptr(s.now()), "away", false
	s.ok(put(c))
	s.same(c, must(s.db.ChannelByName(s.ctx(), "ops"))(s))
	s.same([]notify.Channel{c}, must(s.db.Channels(s.ctx()))(s))
	s.tx(func(tx *store.Tx) error { return tx.DeleteChannel(s.ctx(), c.ID) })
	_, err := s.db.Channel(s.ctx(), c.ID)
	s.fails(err, fault.NotFound)
}

func testDeliveries(_ *testing.T, s *suite) {
	c := notify.Channel{ID: newID(), Name: "ops", Type: notify.Webhook, CreatedAt: s.now(), UpdatedAt: s.now()}
	d := notify.Delivery{Key: "run/1", ChannelID: c.ID, State: notify.Sending, Title: "lost", Attempts: 1, At: s.now()}
	s.tx(func(tx *store.Tx) error {
		s.ok(tx.PutChannel(s.ctx(), c))
		_, err := tx.DeliveryForUpdate(s.ctx(), c.ID, d.Key)
		s.fails(err, fault.NotFound)
		return tx.PutDelivery(s.ctx(), d)
	})
	d.State, d.Attempts = notify.Delivered, 2
	s.tx(func(tx *store.Tx) error {
		s.ok(tx.PutDelivery(s.ctx(), d))
		s.same(d, must(tx.DeliveryForUpdate(s.ctx(), c.ID, d.Key))(s))
		return nil
	})
	s.same([]notify.Delivery{d}, must(s.db.Deliveries(s.ctx(), c.ID, 10))(s))
	s.ok(s.db.PurgeDeliveries(s.ctx(), d.At.Add(time.Second)))
	s.same([]notify.Delivery{}, must(s.db.Deliveries(s.ctx(), c.ID, 10))(s))
}
