package fleet_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// core is one running fleet service on a database that others may share.
type core struct {
	*fleet.Fleet
	db   *store.DB
	stop func()
	url  string
}

func start(t *testing.T, url string) *core {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	db, err := store.Open(t.Context(), url, log)
	if err != nil {
		t.Fatal(err)
	}
	bell := &bus.Local{}
	f := fleet.New(db, entity.NewRecorder(db, bell, fleet.Derivers()...), bell, log)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := f.Run(ctx); err != nil {
			t.Errorf("the fleet ended with %v", err)
		}
	})
	c := &core{Fleet: f, db: db, url: url, stop: sync.OnceFunc(func() {
		cancel()
		running.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})}
	t.Cleanup(c.stop)
	return c
}

// onBoth runs the test on both engines; url opens the same database again.
func onBoth(t *testing.T, test func(t *testing.T, url string)) {
	t.Parallel()
	dbtest.OnBoth(t, test)
}

func (c *core) create(t *testing.T, name string) (fleet.Satellite, string) {
	t.Helper()
	s, token, err := c.Create(t.Context(), entity.System, fleet.NewSatellite{Name: name, Region: "eu"})
	if err != nil {
		t.Fatal(err)
	}
	return s, token
}

func (c *core) open(t *testing.T, id string) int64 {
	t.Helper()
	epoch, err := c.Open(t.Context(), id, 1)
	if err != nil {
		t.Fatal(err)
	}
	return epoch
}

// edges are the values that lastEvent took, oldest first.
func (c *core) edges(t *testing.T, id string) []string {
	t.Helper()
	rows, _, err := c.db.Transitions(t.Context(), fleet.KindConnection, id, fleet.Page{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	var edges []string
	for _, r := range slices.Backward(rows) {
		if r.Field == "lastEvent" {
			edges = append(edges, r.To)
		}
	}
	return edges
}

// silence makes the satellite's last heartbeat, and the cores' looking, as old as
// said: the silence of an hour without waiting for it.
func (c *core) silence(t *testing.T, id string, age time.Duration) {
	t.Helper()
	err := c.db.InTx(t.Context(), func(tx entity.Tx) error {
		ftx := tx.(fleet.Tx)
		rows, err := ftx.LockConnections(t.Context(), []string{id})
		if err != nil {
			return err
		}
		now, err := ftx.Now(t.Context())
		if err != nil {
			return err
		}
		row := rows[id]
		old := now.Add(-age)
		row.LastHeartbeatAt = &old
		return ftx.WriteConnections(t.Context(), []fleet.Connection{row})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (c *core) event(t *testing.T, id string) fleet.Edge {
	t.Helper()
	s, err := c.db.Satellite(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if s.LastConnectionEvent == nil {
		return ""
	}
	return *s.LastConnectionEvent
}

// eventually waits for the watch, which looks once a second, to do its part.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestL45_L48_L50_L61_L62_ConnectAndDisconnectAreEdges(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		c := start(t, url)
		s, _ := c.create(t, "eu-1")
		if s.Status != fleet.Offline || s.LastConnectionEvent != nil || s.LastHeartbeatAt != nil {
			t.Errorf("a new satellite is %+v, want offline and never connected", s)
		}
		epoch := c.open(t, s.ID)
		s, _ = c.db.Satellite(t.Context(), s.ID)
		if s.Status != fleet.Online || c.event(t, s.ID) != fleet.Connected || s.LastHeartbeatAt == nil || s.Epoch != epoch {
			t.Errorf("after connecting: %+v", s)
		}
		if err := c.Close(t.Context(), s.ID, epoch); err != nil {
			t.Fatal(err)
		}
		s, _ = c.db.Satellite(t.Context(), s.ID)
		if s.Status != fleet.Offline || c.event(t, s.ID) != fleet.Disconnected || s.LastHeartbeatAt != nil {
			t.Errorf("after disconnecting: %+v", s)
		}
		if diff := cmp.Diff([]string{"connected", "disconnected"}, c.edges(t, s.ID)); diff != "" {
			t.Errorf("edges (-want +got):\n%s", diff)
		}
	})
}

func TestM14_M16_ALateCloseOfAnOlderSessionChangesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		c := start(t, url)
		s, _ := c.create(t, "eu-1")
		older := c.open(t, s.ID)
		newer := c.open(t, s.ID)
		if newer <= older {
			t.Fatalf("epochs %d, %d do not rise", older, newer)
		}
		if err := c.Close(t.Context(), s.ID, older); err != nil {
			t.Fatal(err)
		}
		if got := c.event(t, s.ID); got != fleet.Connected {
			t.Errorf("last event = %s, want connected", got)
		}
	})
}

func TestM44_ALateCloseDoesNotBlindTheMonitor(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		c := start(t, url)
		s, _ := c.create(t, "eu-1")
		older := c.open(t, s.ID)
		c.open(t, s.ID)
		if err := c.Close(t.Context(), s.ID, older); err != nil {
			t.Fatal(err)
		}
		c.lose(t, s.ID) // the next silent death is found all the same
	})
}

func TestL18_L19_M43_M47_SilenceIsOneEdgeAndSoIsRecovery(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		c := start(t, url)
		s, _ := c.create(t, "eu-1")
		epoch := c.open(t, s.ID)
		for range 2 { // a second loss on the same socket must be found as well
			c.lose(t, s.ID)
			c.Beat(fleet.Beat{SatelliteID: s.ID, Epoch: epoch, Version: "1.2.3"})
			eventually(t, "the recovery", func() bool { return c.event(t, s.ID) == fleet.Connected })
		}
		c.lose(t, s.ID)
		if err := c.Close(t.Context(), s.ID, epoch); err != nil {
			t.Fatal(err)
		}
		want := []string{"connected", "heartbeat_lost", "connected", "heartbeat_lost", "connected", "heartbeat_lost"}
		if diff := cmp.Diff(want, c.edges(t, s.ID)); diff != "" {
			t.Errorf("edges (-want +got):\n%s", diff)
		}
	})
}

// lose lets the watch find the satellite silent: its heartbeat is made old, and
// the cores are made to have looked all the while.
func (c *core) lose(t *testing.T, id string) {
	t.Helper()
	c.silence(t, id, time.Hour)
	c.backdate(t)
	eventually(t, "the loss", func() bool { return c.event(t, id) == fleet.HeartbeatLost })
}

func TestL16_L59_L60_ManyConnectionsInOneRead(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		c := start(t, url)
		never, _ := c.create(t, "never")
		here, _ := c.create(t, "here")
		c.open(t, here.ID)
		err := c.db.InTx(t.Context(), func(tx entity.Tx) error {
			rows, err := tx.(fleet.Tx).LockConnections(t.Context(), []string{here.ID, never.ID, "01890000-0000-7000-8000-000000000000"})
			if err != nil {
				return err
			}
			now, err := tx.Now(t.Context())
			if err != nil {
				return err
			}
			if len(rows) != 2 {
				t.Errorf("%d rows, want the two that exist", len(rows))
			}
			row := rows[never.ID]
			if state := row.State(now); state != nil {
				t.Errorf("the one that never connected has the state %v, want none", state)
			}
			none, err := tx.(fleet.Tx).LockConnections(t.Context(), nil)
			if len(none) > 0 {
				t.Errorf("nobody was asked for, %v came", none)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestL17_L20_L21_L22_WhoIsNotLost(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		c := start(t, url)
		never, _ := c.create(t, "never")
		left, _ := c.create(t, "left")
		if err := c.Close(t.Context(), left.ID, c.open(t, left.ID)); err != nil {
			t.Fatal(err)
		}
		recent, _ := c.create(t, "recent")
		c.open(t, recent.ID)
		silent, _ := c.create(t, "silent")
		c.open(t, silent.ID)
		c.lose(t, silent.ID) // by now the watch has looked at the others too
		if diff := cmp.Diff([]string{"connected"}, c.edges(t, recent.ID)); diff != "" {
			t.Errorf("edges of the one heard a moment ago (-want +got):\n%s", diff)
		}
		if got := c.event(t, never.ID); got != "" {
			t.Errorf("the one that never connected is %s", got)
		}
		if got := c.event(t, left.ID); got != fleet.Disconnected {
			t.Errorf("the one that left is %s", got)
		}
	})
}

func TestABeatFlushedAfterTheCloseChangesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		c := start(t, url)
		s, _ := c.create(t, "eu-1")
		epoch := c.open(t, s.ID)
		if err := c.Close(t.Context(), s.ID, epoch); err != nil {
			t.Fatal(err)
		}
		err := c.db.InTx(t.Context(), func(tx entity.Tx) error {
			recovered, _, err := tx.(fleet.Tx).FlushBeats(t.Context(), []fleet.Beat{{SatelliteID: s.ID, Epoch: epoch}})
			if len(recovered) > 0 {
				t.Errorf("%v came back from a clean close", recovered)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if s, _ := c.db.Satellite(t.Context(), s.ID); s.Status != fleet.Offline || s.LastHeartbeatAt != nil {
			t.Errorf("satellite = %+v, want offline", s)
		}
	})
}

func TestL25_L63_AnotherCoreFindsTheLossOnce(t *testing.T) {
	t.Parallel()
	url := dbtest.PostgreSQL(t)
	first := start(t, url)
	s, _ := first.create(t, "eu-1")
	first.open(t, s.ID)
	first.stop()

	second, third := start(t, url), start(t, url)
	second.silence(t, s.ID, time.Hour)
	second.backdate(t)
	before, _ := second.db.Satellite(t.Context(), s.ID)
	eventually(t, "the loss", func() bool { return second.event(t, s.ID) == fleet.HeartbeatLost })
	watchLooks(t, url, 4)
	if diff := cmp.Diff([]string{"connected", "heartbeat_lost"}, third.edges(t, s.ID)); diff != "" {
		t.Errorf("edges (-want +got):\n%s", diff)
	}
	after, _ := third.db.Satellite(t.Context(), s.ID)
	if !after.LastHeartbeatAt.Equal(*before.LastHeartbeatAt) {
		t.Errorf("the aged heartbeat moved from %s to %s", before.LastHeartbeatAt, after.LastHeartbeatAt)
	}
}

func TestADeadlineDoesNotRunWhileNoCoreLooks(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		c := start(t, url)
		s, _ := c.create(t, "eu-1")
		c.open(t, s.ID)
		watchLooks(t, url, 1)
		c.stop()

		// An hour later, as the database sees it, a core starts.
		age(t, url, s.ID)
		again := start(t, url)
		watchLooks(t, url, 3)
		if got := again.event(t, s.ID); got != fleet.Connected {
			t.Errorf("last event = %s: the core's own absence was held against the satellite", got)
		}
		events, err := again.db.Events(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		blind := 0
		for _, e := range events {
			var span struct{ Seconds float64 }
			if e.Type == fleet.TypeBlind && json.Unmarshal(e.Payload, &span) == nil && span.Seconds > time.Hour.Seconds()/2 { // this machine may look away itself
				blind++
			}
		}
		if blind != 1 {
			t.Errorf("%d core.blind events of an hour, want one", blind)
		}
	})
}

func TestM19_M32_RotationEndsTheOldToken(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		c := start(t, url)
		s, old := c.create(t, "eu-1")
		before, err := c.Verify(t.Context(), s.ID, old)
		if err != nil {
			t.Fatal(err)
		}
		_, token, err := c.Rotate(t.Context(), entity.System, s.ID, fleet.Rotation{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Verify(t.Context(), s.ID, old); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("the old token: %v, want unauthenticated", err)
		}
		after, err := c.Verify(t.Context(), s.ID, token)
		if err != nil || after.Credential == before.Credential {
			t.Errorf("the new token: %+v, %v; want a newer credential than %d", after, err, before.Credential)
		}
		if _, err := c.Verify(t.Context(), "not a UUID", token); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("an id that is no UUID: %v, want unauthenticated", err)
		}
	})
}

func TestM33_OverlapExpiryAndEarlyRevocation(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		c := start(t, url)
		s, old := c.create(t, "eu-1")
		valid := func(token string) bool {
			t.Helper()
			_, err := c.Verify(t.Context(), s.ID, token)
			if err != nil && !fault.Is(err, fault.Unauthenticated) {
				t.Fatal(err)
			}
			return err == nil
		}
		rotate := func(r fleet.Rotation) (fleet.Satellite, string) {
			t.Helper()
			s, token, err := c.Rotate(t.Context(), entity.System, s.ID, r)
			if err != nil {
				t.Fatal(err)
			}
			return s, token
		}
		shown, second := rotate(fleet.Rotation{Overlap: time.Hour, ExpiresIn: 24 * time.Hour})
		if !valid(old) || !valid(second) {
			t.Errorf("during the overlap the old token is valid: %v, the new one: %v; want both", valid(old), valid(second))
		}
		if shown.TokenExpiresAt == nil || shown.PreviousTokenValidUntil == nil {
			t.Errorf("shown: expires at %v, previous until %v", shown.TokenExpiresAt, shown.PreviousTokenValidUntil)
		}
		_, third := rotate(fleet.Rotation{Overlap: time.Hour})
		if valid(old) || !valid(second) || !valid(third) {
			t.Errorf("after a second rotation: %v, %v, %v; want the oldest dropped", valid(old), valid(second), valid(third))
		}
		if shown, err := c.RevokePrevious(t.Context(), entity.System, s.ID); err != nil || shown.PreviousTokenValidUntil != nil {
			t.Errorf("revoking the previous token: until %v, %v", shown.PreviousTokenValidUntil, err)
		}
		if valid(second) || !valid(third) {
			t.Errorf("after the revocation: %v, %v; want only the newest", valid(second), valid(third))
		}
		if _, err := c.RevokePrevious(t.Context(), entity.System, s.ID); !fault.Is(err, fault.Conflict) {
			t.Errorf("revoking what is not there: %v, want conflict", err)
		}
		if _, err := c.RevokePrevious(t.Context(), entity.System, "01890000-0000-7000-8000-000000000000"); !fault.Is(err, fault.NotFound) {
			t.Errorf("revoking for nobody: %v, want not found", err)
		}

		exec(t, url, `UPDATE satellites SET token_expires_at = $1`, time.Now().Add(-time.Minute).UnixMicro())
		if valid(third) {
			t.Error("an expired token is valid")
		}
	})
}

func TestM33_OneEventBeforeATokenExpires(t *testing.T) {
	t.Parallel()
	url := dbtest.PostgreSQL(t)
	first, second := start(t, url), start(t, url)
	s, _, err := first.Create(t.Context(), entity.System, fleet.NewSatellite{Name: "eu-1", Region: "eu", TokenExpiresIn: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	third := start(t, url) // each looks when it starts
	told := func() (n int) {
		events, err := second.db.Events(t.Context(), 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Type == "satellite.token_expiring" && e.EntityID == s.ID {
				n++
			}
		}
		return n
	}
	eventually(t, "the event", func() bool { return told() > 0 })
	third.stop()
	fourth := start(t, url)
	watchLooks(t, url, 3)
	fourth.stop()
	if n := told(); n != 1 {
		t.Errorf("told %d times, want once", n)
	}
}

func TestM93_TheRecordSaysWhoDidWhat(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		c := start(t, url)
		ada := entity.Actor{Type: "user", ID: "u1", Name: "Ada"}
		s, _, err := c.Create(t.Context(), ada, fleet.NewSatellite{Name: "eu-1", Region: "eu"})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Rotate(t.Context(), ada, s.ID, fleet.Rotation{Overlap: time.Hour}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.RevokePrevious(t.Context(), ada, s.ID); err != nil {
			t.Fatal(err)
		}
		region := "us"
		if _, err := c.Update(t.Context(), ada, s.ID, fleet.Patch{Region: &region}); err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(t.Context(), ada, s.ID); err != nil {
			t.Fatal(err)
		}
		rows, _, err := c.db.Transitions(t.Context(), fleet.KindSatellite, s.ID, fleet.Page{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		var fields []string
		for _, r := range slices.Backward(rows) {
			fields = append(fields, r.Field)
			if r.Actor != ada {
				t.Errorf("%s by %+v, want %+v", r.Field, r.Actor, ada)
			}
		}
		want := []string{
			"cordoned", "draining", "name", "offlineThresholdMs", "region", "tags", "weight",
			"previousTokenValidUntil", "tokenRotatedAt", "previousTokenRevokedAt", "region",
		}
		if diff := cmp.Diff(want, fields); diff != "" {
			t.Errorf("history (-want +got):\n%s", diff)
		}
		events, err := c.db.Events(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		var types []string
		for _, e := range events {
			if types = append(types, e.Type); e.Actor != ada {
				t.Errorf("%s by %+v, want %+v", e.Type, e.Actor, ada)
			}
		}
		wantEvents := []string{
			"satellite.created", "satellite.token_rotated", "satellite.previous_token_revoked", "satellite.updated", "satellite.removed",
		}
		if diff := cmp.Diff(wantEvents, types); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestBcryptRowsAreUpgradedOnFirstUse(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		c := start(t, url)
		s, _ := c.create(t, "eu-1")
		token, _ := fleet.NewToken()
		hash, err := bcrypt.GenerateFromPassword([]byte(token), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		err = c.db.InTx(t.Context(), func(tx entity.Tx) error {
			return tx.(fleet.Tx).SetTokens(t.Context(), s.ID, fleet.Tokens{Hash: string(hash), Version: 1})
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := c.Verify(t.Context(), s.ID, token); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := c.db.BcryptRows(t.Context()); n != 0 || err != nil {
			t.Errorf("%d bcrypt rows are left (%v), want none", n, err)
		}
	})
}

func TestM54_L64_DeletionLeavesATombstone(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		c := start(t, url)
		s, token := c.create(t, "eu-1")
		epoch := c.open(t, s.ID)
		if err := c.Delete(t.Context(), entity.System, s.ID); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(t.Context(), s.ID, epoch); err != nil {
			t.Errorf("the late close of a deleted satellite: %v, want nothing", err)
		}
		if _, err := c.Open(t.Context(), s.ID, 1); !fault.Is(err, fault.NotFound) {
			t.Errorf("opening a deleted satellite: %v, want not found", err)
		}
		if _, err := c.Verify(t.Context(), s.ID, token); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("its token: %v, want unauthenticated", err)
		}
		events, err := c.db.Events(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		var types []string
		for _, e := range events {
			types = append(types, e.Type)
		}
		want := []string{"satellite.created", "satellite.connected", "satellite.removed", entity.TypeChanged}
		if diff := cmp.Diff(want, types); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestM92_NamesAreUnique(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		c := start(t, url)
		c.create(t, "eu-1")
		other, _ := c.create(t, "eu-2")
		if _, _, err := c.Create(t.Context(), entity.System, fleet.NewSatellite{Name: "eu-1", Region: "us"}); !fault.Is(err, fault.Conflict) {
			t.Errorf("creating a second eu-1: %v, want conflict", err)
		}
		taken := "eu-1"
		if _, err := c.Update(t.Context(), entity.System, other.ID, fleet.Patch{Name: &taken}); !fault.Is(err, fault.Conflict) {
			t.Errorf("renaming to eu-1: %v, want conflict", err)
		}
	})
}

func TestManyEdgesAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		c := start(t, url)
		const n = 40
		var wg sync.WaitGroup
		ids := make([]string, n)
		for i := range n {
			s, _ := c.create(t, string(rune('a'+i%26))+string(rune('a'+i/26)))
			ids[i] = s.ID
		}
		for _, id := range ids {
			for range 3 {
				wg.Go(func() {
					epoch, err := c.Open(t.Context(), id, 1)
					if err == nil {
						err = c.Close(t.Context(), id, epoch)
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		for _, id := range ids {
			if s, _ := c.db.Satellite(t.Context(), id); s.Epoch != 3 || c.event(t, id) != fleet.Disconnected {
				t.Errorf("satellite %s ends at epoch %d, %s", s.Name, s.Epoch, c.event(t, id))
			}
		}
	})
}

// A loss is in the history of the status as well (M48), and each edge is an event that
// everybody who listens is told of (M49).
func TestL23_M48_M49_EdgesAreInTheHistoryAndAreTold(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		c := start(t, url)
		s, _ := c.create(t, "eu-1")
		epoch := c.open(t, s.ID)
		c.lose(t, s.ID)
		c.Beat(fleet.Beat{SatelliteID: s.ID, Epoch: epoch, Version: "1.2.3"})
		eventually(t, "the recovery", func() bool { return c.event(t, s.ID) == fleet.Connected })
		if err := c.Close(t.Context(), s.ID, epoch); err != nil {
			t.Fatal(err)
		}
		rows, _, err := c.db.Transitions(t.Context(), fleet.KindConnection, s.ID, fleet.Page{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		var statuses []string
		for _, r := range slices.Backward(rows) {
			if r.Field == "status" {
				statuses = append(statuses, r.To)
			}
		}
		if diff := cmp.Diff([]string{"online", "offline", "online", "offline"}, statuses); diff != "" {
			t.Errorf("history of the status (-want +got):\n%s", diff)
		}
		events, err := c.db.Events(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, e := range events {
			if e.Kind == fleet.KindConnection {
				told = append(told, e.Type)
			}
		}
		want := []string{"satellite.connected", "satellite.heartbeat_lost", "satellite.connected", "satellite.disconnected"}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}
