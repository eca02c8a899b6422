package checkstack_test

import (
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/bcrypt"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/checkstack"
	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/internal/link"
	"github.com/perigee-monitoring/perigee/internal/pgtest"
	"github.com/perigee-monitoring/perigee/internal/server"
	"github.com/perigee-monitoring/perigee/protocol"
)

var update = flag.Bool("update", false, "write the golden file")

const (
	edge  = "7f4d1c52-0001-4000-8000-000000000001"
	token = "csat_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
	admin = "perigee_test-administrator"
)

// original makes the original's database, whose satellites have the token.
func original(t *testing.T) string {
	t.Helper()
	url := pgtest.URL(t)
	text, err := os.ReadFile(filepath.Join("testdata", "original.sql"))
	if err != nil {
		t.Fatal(err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(token), bcrypt.DefaultCost)
	if err != nil {
		t.Fatal(err)
	}
	execute(t, url, strings.ReplaceAll(string(text), "HASH", string(hash)))
	return url
}

func execute(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// core runs a core until the test ends.
func core(t *testing.T) (*server.Server, *client.Client) {
	t.Helper()
	s, err := server.New(t.Context(), server.Config{
		Listen: "127.0.0.1:0", AdminToken: admin, Version: "test", DataDir: t.TempDir(),
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
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
	api, err := client.New(client.Options{URL: s.URL(), Token: admin})
	if err != nil {
		t.Fatal(err)
	}
	return s, api
}

// signIn is an original agent's handshake over the real socket: no word of ours.
func signIn(t *testing.T, url, id string) protocol.FromCore {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	conn, err := link.Dial(ctx, "ws"+strings.TrimPrefix(url, "http")+protocol.Path, link.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(protocol.CloseNormal, "")
	conn.SetReadLimit(protocol.MaxFrame)
	frame, err := json.Marshal(map[string]any{"type": "authenticate", "clientId": id, "token": token})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Write(frame); err != nil {
		t.Fatal(err)
	}
	answer, err := conn.Read()
	if err != nil {
		t.Fatal(err)
	}
	m, err := protocol.DecodeFromCore(answer)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestImportOfAnOriginalCore(t *testing.T) {
	t.Parallel()
	url := original(t)
	found, err := checkstack.Read(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	var policies []check.Policy
	for _, a := range found.Import.Assignments {
		policies = append(policies, a.Policy)
	}
	ofTheOriginal := check.Policy{Thresholds: check.Thresholds{Unhealthy: 5, Degraded: 2, Recovery: 1}}
	if diff := cmp.Diff([]check.Policy{
		{Window: check.Window{Failures: 4, Of: 8}}, ofTheOriginal, {}, {Thresholds: check.Thresholds{Unhealthy: 3, Degraded: 1, Recovery: 2}},
	}, policies); diff != "" {
		t.Errorf("thresholds (-want +got):\n%s", diff)
	}
	s, api := core(t)
	carry := func(dryRun bool) (plan catalog.ImportPlan) {
		t.Helper()
		if err := api.Post(t.Context(), "/import", httpapi.ImportRequest{Import: found.Import, DryRun: dryRun}, &plan); err != nil {
			t.Fatal(err)
		}
		return plan
	}
	satellites := func() []fleet.Satellite {
		t.Helper()
		all, err := client.All[fleet.Satellite](t.Context(), api, "/satellites", nil, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}

	dry := carry(true)
	if left := satellites(); len(left) > 0 {
		t.Fatalf("a dry run made %d satellites", len(left))
	}
	plan := carry(false)
	for _, p := range []*catalog.ImportPlan{&dry, &plan} { // ids of assignments are new each time
		for i := range p.Changes {
			if p.Changes[i].Kind == catalog.DocAssignment {
				p.Changes[i].ID = ""
			}
		}
	}
	if diff := cmp.Diff(dry, plan); diff != "" {
		t.Errorf("the dry run said something else (-dry +done):\n%s", diff)
	}
	golden(t, struct {
		Plan     catalog.ImportPlan   `json:"plan"`
		Findings []checkstack.Finding `json:"findings"`
	}{plan, found.Findings})

	assignments, err := client.All[catalog.Assignment](t.Context(), api, "/assignments", nil, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range assignments {
		if a.Name == "front on Shop" && a.Policy != policies[0] {
			t.Errorf("%s has the policy %+v", a.Name, a.Policy)
		}
	}

	// The old agent with its old token, and what it is to run under the old ids.
	for range 2 { // the second time the token is stored as a digest
		welcome, ok := signIn(t, s.URL(), edge).(*protocol.Authenticated)
		if !ok || len(welcome.Assignments) != 1 {
			t.Fatalf("an original agent was answered %+v, want its one assignment", welcome)
		}
		got := welcome.Assignments[0]
		want := protocol.Pair{ConfigID: "0190bbbb-0001-7000-8000-000000000001", SystemID: "0190aaaa-0001-7000-8000-000000000001"}
		environments := []check.Environment{{ID: "env-1", Name: "production", Fields: map[string]any{"baseUrl": "http://127.0.0.1:1/"}}}
		if diff := cmp.Diff(environments, got.Environments); diff != "" {
			t.Errorf("its environments (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]any{"owner": "web"}, got.SystemMetadata); diff != "" {
			t.Errorf("its metadata (-want +got):\n%s", diff)
		}
		if got.Pair() != want || got.StrategyID != "healthcheck-http.http" || got.IntervalSeconds != 30 || len(got.Collectors) != 1 || got.SystemName != "Shop" {
			t.Errorf("it is to run %+v", got)
		}
	}
	// Those whose stored token is none, or costs too much to look at, are refused.
	for _, id := range []string{"7f4d1c52-0003-4000-8000-000000000003", "7f4d1c52-0004-4000-8000-000000000004"} {
		if _, refused := signIn(t, s.URL(), id).(*protocol.AuthFailed); !refused {
			t.Errorf("%s was let in", id)
		}
	}

	// What was edited and rotated here is not undone by importing again.
	var edited fleet.Satellite
	if err := api.Patch(t.Context(), "/satellites/"+edge, map[string]any{"name": "edge-eu"}, &edited); err != nil {
		t.Fatal(err)
	}
	if err := api.Post(t.Context(), "/satellites/"+edge+"/rotate-token", nil, nil); err != nil {
		t.Fatal(err)
	}
	before := satellites()
	for _, change := range carry(false).Changes {
		if change.Action == catalog.Imported {
			t.Errorf("imported again: %+v", change)
		}
	}
	if diff := cmp.Diff(names(before), names(satellites())); diff != "" {
		t.Errorf("a second import changed the satellites (-before +after):\n%s", diff)
	}
	if _, refused := signIn(t, s.URL(), edge).(*protocol.AuthFailed); !refused {
		t.Error("a second import brought the replaced token back")
	}
}

func names(all []fleet.Satellite) (names []string) {
	for _, s := range all {
		names = append(names, s.ID+" "+s.Name)
	}
	return names
}

func golden(t *testing.T, got any) {
	t.Helper()
	text, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "imported.json")
	if *update {
		if err := os.WriteFile(file, append(text, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(want)), string(text)); diff != "" {
		t.Errorf("the import (-want +got; run with -update when that is meant):\n%s", diff)
	}
}

func TestTheBaselineWithoutLaterColumns(t *testing.T) {
	t.Parallel()
	url := original(t)
	execute(t, url, `ALTER TABLE plugin_satellite.satellites DROP COLUMN capabilities, DROP COLUMN offline_threshold_ms;
		ALTER TABLE plugin_healthcheck.health_check_configurations DROP COLUMN collectors, DROP COLUMN paused, DROP COLUMN is_template;
		ALTER TABLE plugin_healthcheck.system_health_checks DROP COLUMN satellite_ids, DROP COLUMN environment_ids, DROP COLUMN satellite_environment_ids,
			DROP COLUMN include_local, DROP COLUMN notification_policy, DROP COLUMN retention_config;
		DROP SCHEMA plugin_catalog CASCADE`)
	found, err := checkstack.Read(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	in := found.Import
	got := []int{len(in.Satellites), len(in.Systems), len(in.Checks), len(in.Assignments)}
	if diff := cmp.Diff([]int{4, 3, 5, 4}, got); diff != "" {
		t.Errorf("satellites, systems, checks, assignments (-want +got):\n%s", diff)
	}
	if first := in.Systems[0]; first.Name != first.ID {
		t.Errorf("a system is %+v, want it named by its id", first)
	}
}

func TestWhatIsNoOriginalIsRefused(t *testing.T) {
	t.Parallel()
	empty, twice := pgtest.URL(t), original(t)
	execute(t, twice, `CREATE SCHEMA copy; CREATE TABLE copy.satellites (LIKE plugin_satellite.satellites)`)
	for _, tc := range []struct{ url, says string }{
		{empty, "does not look like a Checkstack core's"},
		{twice, "two tables named satellites, in the schemas copy and plugin_satellite"},
		{"postgres://user:hunter2@127.0.0.1:1/x?sslmode=disable", "connecting to the original's database"},
		{"postgres://user:hunter2@host:no/x", "not of the form"},
	} {
		_, err := checkstack.Read(t.Context(), tc.url)
		if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error = %v, want one that says %q and no password", err, tc.says)
		}
	}
}
