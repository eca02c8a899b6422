package server_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/internal/server"
	"github.com/perigee-monitoring/perigee/internal/targets"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"))
}

const token = "perigee_test-administrator"

// schema spares a core on SQLite that starts for the first time its migrations.
func schema(t *testing.T, c server.Config) {
	t.Helper()
	if c.Database == "" {
		if err := dbtest.File(filepath.Join(c.DataDir, "perigee.db")); err != nil {
			t.Fatal(err)
		}
	}
}

// start runs a core until the test ends, and fails it when the stop is not clean.
func start(t *testing.T, c server.Config) (*server.Server, *client.Client) {
	t.Helper()
	c.Listen, c.AdminToken, c.Version = "127.0.0.1:0", token, "test"
	c.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	if c.DataDir == "" {
		c.DataDir = t.TempDir()
	}
	schema(t, c)
	s, err := server.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the core ended with %v", err)
		}
	})
	api, err := client.New(client.Options{URL: s.URL(), Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return s, api
}

func eventually(t *testing.T, what string, holds func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		err := holds()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s: %v", what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// The main job: a fresh core, its built-in satellite, real checks of real
// targets, verdicts with their evidence, events as they happen.
func TestTheMainJob(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"SQLite", "PostgreSQL"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			var c server.Config
			c.Local = true
			if engine == "PostgreSQL" {
				c.Database = dbtest.PostgreSQL(t)
			}
			mainJob(t, c)
		})
	}
}

func mainJob(t *testing.T, c server.Config) {
	watched, err := targets.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- watched.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })

	_, api := start(t, c)
	seen := make(chan entity.Event, 100)
	watching := make(chan error, 1)
	go func() {
		watching <- api.Watch(ctx, 0, func(e entity.Event) error { seen <- e; return nil }, nil)
	}()
	t.Cleanup(func() { cancel(); <-watching })

	eventually(t, "the built-in satellite", func() error {
		var local fleet.Satellite
		if err := api.Get(ctx, "/satellites/local", nil, &local); err != nil {
			return err
		}
		if local.Status != fleet.Online {
			return fmt.Errorf("it is %s", local.Status)
		}
		return nil
	})
	var plan struct {
		Changes []struct{ Action string }
	}
	if err := api.Post(ctx, "/apply", map[string]any{"documents": documents(watched)}, &plan); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"good": "healthy", "bad": "unhealthy"} {
		eventually(t, "system "+name+" to be "+want, func() error {
			var view httpapi.SystemStatus
			if err := api.Get(ctx, "/systems/"+name+"/status", nil, &view); err != nil {
				return err
			}
			if string(view.Status) != want {
				return fmt.Errorf("it is %s: %s", view.Status, view.Reason)
			}
			if at := view.Checks[0].Locations[0]; at.RunID == "" || at.Satellite != "local" || at.ExecutedAt == nil {
				t.Errorf("the verdict names no evidence: %+v", at)
			}
			return nil
		})
	}
	runs, err := client.All[health.Run](ctx, api, "/results", url.Values{"system": {"good"}, "detail": {"true"}}, 0, nil)
	if err != nil || len(runs) == 0 || !strings.Contains(string(runs[0].Result), "_assertions") {
		t.Errorf("results = %+v, %v", runs, err)
	}
	wanted := map[string]bool{"satellite.created": true, "satellite.connected": true, "system.created": true, "healthcheck.system_degraded": true, "healthcheck.system_healthy": true}
	for len(wanted) > 0 {
		select {
		case e := <-seen:
			delete(wanted, e.Type)
		case <-time.After(30 * time.Second):
			t.Fatalf("the stream did not tell of %v", wanted)
		}
	}
}

func documents(watched *targets.Targets) []any {
	var all []any
	for name, url := range map[string]string{"good": watched.Good, "bad": watched.Failing} {
		meta := map[string]any{"name": name}
		all = append(all,
			map[string]any{"apiVersion": "perigee/v1", "kind": "System", "metadata": meta, "spec": map[string]any{}},
			map[string]any{"apiVersion": "perigee/v1", "kind": "Check", "metadata": meta, "spec": map[string]any{
				"strategy": "healthcheck-http.http", "config": map[string]any{}, "interval": "1s",
				"collectors": []any{map[string]any{
					"id": "page", "collector": "healthcheck-http.request", "config": map[string]any{"url": url},
					"assertions": []any{map[string]any{"field": "statusCode", "operator": "equals", "value": 200}},
				}},
			}},
			map[string]any{"apiVersion": "perigee/v1", "kind": "Assignment", "metadata": meta, "spec": map[string]any{"check": name, "system": name}})
	}
	return all
}

func TestTheFirstStartMakesATokenAndLaterOnesDoNot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func() string {
		s, err := server.New(t.Context(), server.Config{Listen: "127.0.0.1:0", DataDir: dir, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		return s.FirstToken
	}
	if first := open(); !strings.HasPrefix(first, "perigee_") {
		t.Errorf("first token = %q", first)
	}
	if again := open(); again != "" {
		t.Errorf("the second start printed another token")
	}
}

func TestTwoCoresOnOneSQLiteFileAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start(t, server.Config{DataDir: dir})
	_, err := server.New(t.Context(), server.Config{Listen: "127.0.0.1:0", DataDir: dir, AdminToken: token, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		t.Fatal("a second core opened the file of the first")
	}
}

func TestPagesForMachines(t *testing.T) {
	t.Parallel()
	s, _ := start(t, server.Config{})
	for path, want := range map[string]string{
		"/healthz": `"ok"`, "/readyz": `"ready"`, "/metrics": "perigee_hub_sessions", "/api/v1/openapi.json": `"openapi":"3.1.0"`,
	} {
		resp, err := http.Get(s.URL() + path) //nolint:noctx // a test
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %v; no %s in %.300s", path, resp.StatusCode, err, want, body)
		}
	}
}
