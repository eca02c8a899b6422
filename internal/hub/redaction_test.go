package hub_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/hub"
	"github.com/perigee-monitoring/perigee/internal/redact"
	"github.com/perigee-monitoring/perigee/internal/secret"
	"github.com/perigee-monitoring/perigee/internal/store"
	"github.com/perigee-monitoring/perigee/protocol"
)

const masked = "masked-7f3a"

// secretive is the pair with a script that gets a secret.
func secretive(check string) protocol.Assignment {
	a := pair(check)
	a.Collectors = []protocol.Collector{{
		ID: "script", CollectorID: "healthcheck-script.execute", Config: json.RawMessage(`{"script":"true","secretEnv":{"TOKEN":"${{ secrets.token }}"}}`),
	}}
	return a
}

// telling is a record with evidence, as a script that prints its environment leaves it.
func telling(seq int64, of string) protocol.Record {
	r := slotted(seq, of)
	r.Result.Result = &check.Result{
		Status: check.Healthy, LatencyMs: 12, Message: "exit code 0",
		Metadata: check.Metadata{Connected: true, Collectors: map[string]json.RawMessage{
			"script": json.RawMessage(`{"exitCode":0,"stdout":"TOKEN=` + masked + `","stderr":"","durationMs":12}`),
		}},
	}
	return r
}

// looks counts for which checks the values were asked for to be taken out.
type looks struct {
	hub.Secrets
	mu  sync.Mutex
	got map[string]int // guarded by mu: by check
}

func (l *looks) Redactor(ctx context.Context, a *protocol.Assignment) (*redact.Redactor, error) {
	l.mu.Lock()
	l.got[a.ConfigID]++
	l.mu.Unlock()
	return l.Secrets.Redactor(ctx, a)
}

// hubWithSecrets is a running hub of one satellite, "s0", with the real service of
// secrets and the secret that secretive pairs want.
func hubWithSecrets(tb testing.TB, assignments ...protocol.Assignment) (*hub.Hub, *looks) {
	tb.Helper()
	log := slog.New(slog.DiscardHandler)
	db, err := store.Open(tb.Context(), dbtest.SQLite(tb), log)
	if err != nil {
		tb.Fatal(err)
	}
	service, err := secret.New(secret.Config{
		Store: db, Recorder: entity.NewRecorder(db, &bus.Local{}, secret.Derivers()...), Bell: &bus.Local{}, Root: bytes.Repeat([]byte{1}, secret.RootSize), Log: log,
	})
	if err != nil {
		tb.Fatal(err)
	}
	records := newFakeFleet()
	records.add("s0", assignments...)
	l := &looks{Secrets: service, got: map[string]int{}}
	h := hub.New(hub.Config{Fleet: records, Ingest: durable{}, Secrets: l})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = h.Run(ctx) })
	running.Go(func() { _ = service.Run(ctx) })
	tb.Cleanup(func() {
		cancel()
		running.Wait()
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	if _, err := service.Set(tb.Context(), entity.System, "token", secret.Input{Value: masked}); err != nil {
		tb.Fatal(err)
	}
	return h, l
}

// Of a batch only the results of pairs that declare secrets are looked at.
func TestResultsOfPairsWithoutSecretsAreNotLookedAt(t *testing.T) {
	t.Parallel()
	h, looks := hubWithSecrets(t, pair("plain"), secretive("script"), pair("other"))
	agent := enter(t, h, "s0")
	send := func(records ...protocol.Record) {
		t.Helper()
		if err := agent.Write(must(protocol.Encode(batch(records...)))); err != nil {
			t.Fatal(err)
		}
		must(agent.Read())
	}
	send(telling(1, "plain"), telling(2, "other"), telling(3, "plain"))
	if diff := cmp.Diff(map[string]int{}, looks.got); diff != "" {
		t.Errorf("without a secret: -want +got\n%s", diff)
	}
	send(telling(4, "plain"), telling(5, "script"), telling(6, "other"), telling(7, "script"))
	if diff := cmp.Diff(map[string]int{"script": 2}, looks.got); diff != "" {
		t.Errorf("beside one: -want +got\n%s", diff)
	}
}
