package server_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/internal/notify"
	"github.com/perigee-monitoring/perigee/internal/secret"
	"github.com/perigee-monitoring/perigee/internal/server"
)

// comments hears what the stream of a core says beside events.
type comments struct {
	mu   sync.Mutex
	said map[string]int // guarded by mu
}

func listen(t *testing.T, s *server.Server) *comments {
	t.Helper()
	c := &comments{said: map[string]int{}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+"/api/v1/events/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	t.Cleanup(func() { _ = resp.Body.Close(); reading.Wait() })
	reading.Go(func() {
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if text, ok := strings.CutPrefix(lines.Text(), ": "); ok {
				c.mu.Lock()
				c.said[text]++
				c.mu.Unlock()
			}
		}
	})
	return c
}

// heard wants each of the topics said, since it was called last.
func (c *comments) heard(t *testing.T, topics ...string) {
	t.Helper()
	eventually(t, fmt.Sprint(topics), func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, topic := range topics {
			if c.said[topic] == 0 {
				return fmt.Errorf("nothing was said of %s; said was %v", topic, c.said)
			}
		}
		clear(c.said)
		return nil
	})
}

// What goes on at one core without being an event is told by the stream of the other, so
// that nobody has to ask again and again.
func TestTheStreamSaysWhatMovedAtAnotherCore(t *testing.T) {
	t.Parallel()
	hook := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(hook.Close)
	database := dbtest.PostgreSQL(t)
	there, _ := start(t, server.Config{Database: database})
	said := listen(t, there)
	said.heard(t, "welcome")
	_, api := start(t, server.Config{Database: database, Local: true})
	said.heard(t, fleet.TopicCores, fleet.TopicHeard) // one more core, and its satellite

	ctx := t.Context()
	post := func(path string, in any) {
		t.Helper()
		if err := api.Post(ctx, path, in, nil); err != nil {
			t.Fatal(err)
		}
	}
	post("/channels", map[string]any{"name": "hook", "type": "webhook", "config": map[string]any{"url": hook.URL}})
	post("/automations", map[string]any{"name": "tells", "definition": map[string]any{
		"triggers": []any{map[string]any{"event": "system.created"}},
		"actions":  []any{map[string]any{"action": "notify", "config": map[string]any{"title": "one more system"}}},
	}})
	meta := map[string]any{"name": "shop"}
	page := pageCheck(hook.URL, "hunter2", "shop")
	page["interval"] = "1s"
	post("/apply", map[string]any{"documents": []any{
		map[string]any{"apiVersion": "perigee/v1", "kind": "System", "metadata": meta, "spec": map[string]any{}},
		map[string]any{"apiVersion": "perigee/v1", "kind": "Check", "metadata": meta, "spec": page},
		map[string]any{"apiVersion": "perigee/v1", "kind": "Assignment", "metadata": meta, "spec": map[string]any{"check": "shop", "system": "shop"}},
	}})
	said.heard(t, secret.TopicLeases, health.TopicResults, automation.TopicRuns, notify.TopicDeliveries)
	said.heard(t, health.TopicResults) // also of results that change nothing
}

// While a core does not hear the others, its stream says so, and says now and then that
// anything may have moved; when it hears them again, it says at once that all may have.
func TestTheStreamOfACoreThatDoesNotHearTheOthersSaysThatAllMayHaveMoved(t *testing.T) {
	t.Parallel()
	database := dbtest.PostgreSQL(t)
	db, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close(context.Background()) }) // nothing is left in it
	exec := func(ctx context.Context, statement string) {
		t.Helper()
		if _, err := db.Exec(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	// The bells come over connections of a role of their own, which can be locked out.
	role := "bells_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	exec(t.Context(), `CREATE ROLE `+role+` LOGIN`)
	t.Cleanup(func() { exec(context.Background(), `DROP ROLE `+role) })
	bells, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	bells.User = url.User(role)

	deaf, api := start(t, server.Config{Database: database, Bus: bells.String()})
	hears := func(want bool) {
		t.Helper()
		eventually(t, fmt.Sprintf("a core that hears the others: %t", want), func() error {
			var about httpapi.About
			if err := api.Get(t.Context(), "/about", nil, &about); err != nil {
				return err
			}
			if about.Bus.Connected != want {
				return fmt.Errorf("its bus is %+v", about.Bus)
			}
			return nil
		})
	}
	hears(true)
	said := listen(t, deaf)
	said.heard(t, "welcome")
	all := []string{
		automation.TopicRuns, bus.Topic, fleet.TopicCores, fleet.TopicHeard, fleet.TopicSync, health.TopicResults, notify.TopicDeliveries, secret.TopicLeases,
	}

	exec(t.Context(), `ALTER ROLE `+role+` NOLOGIN`)
	exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '`+role+`'`)
	said.heard(t, bus.Topic)
	hears(false)
	said.heard(t, append(all, "still here")...)

	exec(t.Context(), `ALTER ROLE `+role+` LOGIN`)
	said.heard(t, all...)
	hears(true)
}
