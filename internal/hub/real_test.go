package hub_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/hub"
	"github.com/perigee-monitoring/perigee/internal/store"
	"github.com/perigee-monitoring/perigee/protocol"
)

// core is a hub over real records, behind a real HTTP server.
type core struct {
	*site
	db       *store.DB
	recorder *entity.Recorder
	fleet    *fleet.Fleet
	catalog  *catalog.Catalog
}

// onBoth runs a test over a core on each engine.
func onBoth(t *testing.T, test func(t *testing.T, c *core)) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) { test(t, newCore(t, url)) })
}

func newCore(t *testing.T, url string, limits ...hub.Limits) *core {
	t.Helper()
	return newCoreWith(t, url, new(bus.Local), slog.New(slog.DiscardHandler), limits...)
}

// newCoreWith is newCore with bells that other cores on the database may share.
func newCoreWith(t *testing.T, url string, bell *bus.Local, log *slog.Logger, limits ...hub.Limits) *core {
	t.Helper()
	db, err := store.Open(t.Context(), url, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	derivers := append(append(fleet.Derivers(), health.Derivers()...), catalog.Derivers()...)
	c := &core{db: db, recorder: entity.NewRecorder(db, bell, derivers...)}
	c.fleet = fleet.New(db, c.recorder, bell, log)
	c.catalog = catalog.New(db, c.recorder, bell, func(check.Spec) []fault.Field { return nil }, log)
	c.fleet.SetReplan(c.catalog.SatelliteChanged)
	ingest := health.NewIngest(db, c.recorder, log)

	// Below the hub, and so for longer.
	ctx, cancel := context.WithCancel(context.Background())
	var below sync.WaitGroup
	below.Go(func() { _ = c.fleet.Run(ctx) })
	below.Go(func() { _ = ingest.Run(ctx) })
	changes, end := bell.Subscribe(fleet.TopicConfig)
	t.Cleanup(func() { end(); cancel(); below.Wait() })

	config := hub.Config{Fleet: c.fleet, Ingest: ingest, Changes: changes, Log: log}
	if len(limits) > 0 {
		config.Limits = limits[0]
	}
	c.site = newSite(t, config)
	return c
}

// satellite makes one and gives its credentials.
func (c *core) satellite(name string) *protocol.Authenticate {
	c.t.Helper()
	s, token, err := c.fleet.Create(c.t.Context(), entity.System, fleet.NewSatellite{Name: name, Region: "eu"})
	if err != nil {
		c.t.Fatal(err)
	}
	return &protocol.Authenticate{ClientID: s.ID, Token: token}
}

// assign makes a check of that name, placed on the satellite, and gives its pair.
func (c *core) assign(checkName, satellite string) protocol.Pair {
	c.t.Helper()
	ctx := c.t.Context()
	system, err := c.catalog.System(ctx, "web")
	if fault.Is(err, fault.NotFound) {
		system, err = c.catalog.CreateSystem(ctx, entity.System, catalog.SystemInput{Name: "web"})
	}
	if err != nil {
		c.t.Fatal(err)
	}
	made, err := c.catalog.CreateCheck(ctx, entity.System, catalog.CheckInput{Name: checkName, Spec: spec(10 * time.Second)})
	if err != nil {
		c.t.Fatal(err)
	}
	no := false
	if _, err := c.catalog.CreateAssignment(ctx, entity.System, catalog.AssignmentInput{
		Name: checkName + "-web", Check: checkName,
		System: "web", IncludeLocal: &no, Satellites: catalog.Selector{Names: []string{satellite}},
	}); err != nil {
		c.t.Fatal(err)
	}
	return protocol.Pair{ConfigID: made.ID, SystemID: system.ID}
}

func spec(interval time.Duration) check.Spec {
	return check.Spec{Strategy: "healthcheck-tcp.tcp", Config: []byte(`{"host":"127.0.0.1","port":1}`), Interval: check.Duration(interval)}
}

// enter authenticates and gives the connection and what it was told.
func (c *core) enter(m *protocol.Authenticate) (socket, *protocol.Authenticated) {
	c.t.Helper()
	conn := c.dial()
	conn.send(m)
	return conn, receive[*protocol.Authenticated](conn)
}

func (c *core) row(id string) fleet.Satellite {
	c.t.Helper()
	s, err := c.db.Satellite(c.t.Context(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

func (c *core) edge(id string) fleet.Edge {
	if last := c.row(id).LastConnectionEvent; last != nil {
		return *last
	}
	return ""
}

func (c *core) runs() []health.Run {
	c.t.Helper()
	runs, _, err := c.db.Runs(c.t.Context(), health.RunFilter{}, fleet.Page{Limit: 100})
	if err != nil {
		c.t.Fatal(err)
	}
	return runs
}

func asOurs(m *protocol.Authenticate) *protocol.Authenticate {
	ours := *m
	ours.Perigee = &protocol.Hello{Protocol: protocol.Version, Features: protocol.Features(), BootID: "boot"}
	return &ours
}

func resultOf(p protocol.Pair) *protocol.Result {
	latency := 41.6
	return &protocol.Result{
		ConfigID: p.ConfigID, SystemID: p.SystemID, Status: check.Healthy, LatencyMs: &latency,
		ExecutedAt: time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
		Result:     &check.Result{Status: check.Healthy, LatencyMs: latency, Metadata: check.Metadata{Connected: true}},
	}
}

func TestReal_L45_L48_M14_EdgesOfSessions(t *testing.T) {
	onBoth(t, func(t *testing.T, c *core) {
		m := c.satellite("eu-1")
		older, _ := c.enter(m)
		if s := c.row(m.ClientID); s.Epoch != 1 || s.Status != fleet.Online || c.edge(m.ClientID) != fleet.Connected {
			t.Errorf("after connecting: %+v", s)
		}
		newer, _ := c.enter(m)
		older.wantEnd(protocol.CloseSuperseded)
		if s := c.row(m.ClientID); s.Epoch != 2 || s.Status != fleet.Online || c.edge(m.ClientID) != fleet.Connected {
			t.Errorf("after the newer session: %+v", s)
		}
		if err := newer.Close(protocol.CloseNormal, "Client shutdown"); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool { return c.edge(m.ClientID) == fleet.Disconnected })
		if s := c.row(m.ClientID); s.LastHeartbeatAt != nil || s.Status != fleet.Offline {
			t.Errorf("after the end: %+v", s)
		}
	})
}

func TestReal_M26_StoppingCoreWritesNoEdges(t *testing.T) {
	onBoth(t, func(t *testing.T, c *core) {
		m := c.satellite("eu-1")
		conn, _ := c.enter(m)
		c.stop()
		conn.wantEnd(protocol.CloseGoingAway)
		if got := c.edge(m.ClientID); got != fleet.Connected {
			t.Errorf("the last edge is %q", got)
		}
	})
}

// M1, M2, M5, M6: what was acknowledged is stored, once, with both times and a
// latency that fits.
func TestReal_M1_M2_ResultsAreStoredOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, c *core) {
		m := c.satellite("eu-1")
		front := c.assign("front", "eu-1")
		r := resultOf(front)
		for range 2 { // an original agent that sends it again after a reconnect
			conn, welcome := c.enter(m)
			if len(welcome.Assignments) != 1 || welcome.Assignments[0].Pair() != front {
				t.Fatalf("assignments are %+v", welcome.Assignments)
			}
			conn.send(r)
			conn.send(&protocol.RequestScriptPackageBlob{Integrity: "x"})
			receive[*protocol.ScriptPackageBlob](conn) // the result has been taken in
			if err := conn.Close(protocol.CloseNormal, ""); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, func() bool { return len(c.runs()) > 0 })

		ours, _ := c.enter(asOurs(m))
		slotted := resultOf(front)
		slotted.Slot = time.Now().UnixMilli() - 5000
		records := batch(protocol.Record{Seq: 1, Result: slotted}, protocol.Record{Seq: 2, Result: resultOf(protocol.Pair{ConfigID: "forged", SystemID: "forged"})})
		for range 2 {
			ours.send(records)
			if ack := receive[*protocol.Ack](ours); ack.UpTo != 2 || len(ack.Refused) != 1 {
				t.Errorf("ack is %+v", ack)
			}
		}
		runs := c.runs()
		if len(runs) != 2 {
			t.Fatalf("%d runs are stored", len(runs))
		}
		for _, run := range runs {
			if run.Source != "eu-1 (eu)" || run.LatencyMs == nil || *run.LatencyMs != 42 || run.ReceivedAt.Before(run.ExecutedAt.Add(-time.Second)) {
				t.Errorf("a run is %+v", run)
			}
		}
	})
}

// M32: within a second on whichever core holds the session.
func TestReal_M32_RotationAndDeletionEndTheSession(t *testing.T) {
	onBoth(t, func(t *testing.T, c *core) {
		m := c.satellite("eu-1")
		conn, _ := c.enter(asOurs(m))
		if _, _, err := c.fleet.Rotate(t.Context(), entity.System, m.ClientID, fleet.Rotation{}); err != nil {
			t.Fatal(err)
		}
		conn.wantEnd(protocol.CloseRotated)
		refused := c.dial()
		refused.send(asOurs(m))
		receive[*protocol.AuthFailed](refused)
		refused.wantEnd(protocol.CloseRefused)

		other := c.satellite("eu-2")
		original, _ := c.enter(other)
		if err := c.fleet.Delete(t.Context(), entity.System, other.ClientID); err != nil {
			t.Fatal(err)
		}
		receive[*protocol.Shutdown](original)
		original.wantEnd(protocol.CloseRemoved)
	})
}

// M62, M63: an edit of a check reaches who runs it, and nobody else.
func TestReal_M62_M63_EditOfACheckIsPushed(t *testing.T) {
	onBoth(t, func(t *testing.T, c *core) {
		a, b, unaffected := c.satellite("eu-1"), c.satellite("eu-2"), c.satellite("eu-3")
		c.assign("front", "eu-1")
		c.assign("back", "eu-2")
		original, _ := c.enter(a)
		ours, _ := c.enter(asOurs(b))
		bystander, _ := c.enter(unaffected)

		for _, name := range []string{"front", "back"} {
			_, err := c.catalog.UpdateCheck(t.Context(), entity.System, name, catalog.CheckInput{Name: name, Spec: spec(time.Minute)})
			if err != nil {
				t.Fatal(err)
			}
		}
		first, second := receive[*protocol.ConfigUpdated](original), receive[*protocol.ConfigUpdated](original)
		if len(first.Assignments) != 0 || len(second.Assignments) != 1 || second.Assignments[0].IntervalSeconds != 60 {
			t.Errorf("the original got %+v and then %+v", first, second)
		}
		delta := receive[*protocol.Delta](ours)
		if len(delta.Upserts) != 1 || delta.Upserts[0].IntervalSeconds != 60 || len(delta.Removals) != 0 {
			t.Errorf("ours got %+v", delta)
		}
		ours.send(&protocol.Applied{Revision: delta.Revision})
		eventually(t, func() bool { r := c.row(b.ClientID).AppliedRevision; return r != nil && *r == delta.Revision })

		bystander.send(&protocol.RequestScriptPackageBlob{Integrity: "x"})
		receive[*protocol.ScriptPackageBlob](bystander) // and nothing before
	})
}

// M43: heartbeats on the same socket restore what was given up.
func TestReal_M43_HeartbeatsRestoreALostSatellite(t *testing.T) {
	onBoth(t, func(t *testing.T, c *core) {
		m := c.satellite("eu-1")
		conn, _ := c.enter(m)
		err := entity.InTx(t.Context(), c.recorder, func(tx fleet.Tx) error {
			rows, err := tx.LockConnections(t.Context(), []string{m.ClientID})
			if err != nil {
				return err
			}
			row := rows[m.ClientID]
			row.LastEvent = fleet.HeartbeatLost
			return tx.WriteConnections(t.Context(), []fleet.Connection{row})
		})
		if err != nil {
			t.Fatal(err)
		}
		conn.send(&protocol.Heartbeat{Version: "0.5.0", UptimeSeconds: 15})
		eventually(t, func() bool { return c.edge(m.ClientID) == fleet.Connected })
		if v := c.row(m.ClientID).Version; v == nil || *v != "0.5.0" {
			t.Errorf("the version is %v", v)
		}
	})
}

// M15: two cores with one database. Nothing rings from one to the other here, so
// the older session is found by the slow poll, which the test makes less slow.
func TestReal_M15_NewerSessionAtAnotherCoreWins(t *testing.T) {
	t.Parallel()
	url := dbtest.PostgreSQL(t)
	one, two := newCore(t, url, hub.Limits{Poll: 100 * time.Millisecond}), newCore(t, url)
	m := one.satellite("eu-1")
	older, _ := one.enter(asOurs(m))
	two.enter(asOurs(m))
	older.wantEnd(protocol.CloseSuperseded)
	if s := one.row(m.ClientID); s.Epoch != 2 || one.edge(m.ClientID) != fleet.Connected {
		t.Errorf("after the newer session: %+v", s)
	}
}

// A storm: many satellites behind one address connect at once, and each gets its
// own epoch and answer.
func TestReal_M27_StormOfReconnectsBehindOneAddress(t *testing.T) {
	onBoth(t, func(t *testing.T, c *core) {
		const satellites = 60
		all := make([]*protocol.Authenticate, satellites)
		for i := range all {
			all[i] = asOurs(c.satellite(fmt.Sprintf("s-%d", i)))
		}
		var storm sync.WaitGroup
		failures := make(chan error, satellites)
		for _, m := range all {
			conn := c.dial()
			storm.Go(func() {
				frame, err := protocol.Encode(m)
				if err == nil {
					err = conn.Write(frame)
				}
				if err == nil {
					frame, err = conn.Read()
				}
				if err == nil {
					var answer protocol.FromCore
					answer, err = protocol.DecodeFromCore(frame)
					if welcome, ok := answer.(*protocol.Authenticated); err == nil && (!ok || welcome.Perigee.Epoch != 1) {
						err = errors.New(string(frame))
					}
				}
				failures <- err
			})
		}
		storm.Wait()
		for range all {
			if err := <-failures; err != nil {
				t.Error(err)
			}
		}
		got := len(c.hub.Sessions())
		if diff := cmp.Diff(satellites, got); diff != "" {
			t.Errorf("sessions (-want +got):\n%s", diff)
		}
	})
}
