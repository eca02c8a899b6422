package server_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/secret"
	"github.com/perigee-monitoring/perigee/internal/server"
	"github.com/perigee-monitoring/perigee/internal/trial"
)

// shop is a page that wants a password and shows what it was told.
func shop(t *testing.T) *httptest.Server {
	t.Helper()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"ok": true, "articles": 3, "told": r.Header.Get("Authorization"), "host": r.Header.Get("X-Host")})
	}))
	t.Cleanup(page.Close)
	return page
}

func pageCheck(url, credential, host string) map[string]any {
	return map[string]any{
		"strategy": "healthcheck-http.http", "interval": "1m", "config": map[string]any{"authType": "token", "authToken": credential},
		"collectors": []any{map[string]any{
			"id": "page", "collector": "healthcheck-http.request",
			"config": map[string]any{"url": url, "headers": []any{
				map[string]any{"name": "X-Host", "value": host},
			}},
			"assertions": []any{
				map[string]any{"field": "statusCode", "operator": "equals", "value": 200},
				map[string]any{"field": "body", "jsonPath": "$.articles", "operator": "greaterThan", "value": 5},
			},
		}},
	}
}

// markerOf is what stands in place of the check's credential.
func markerOf(t *testing.T, c catalog.Check) string {
	t.Helper()
	var config struct{ AuthToken string }
	if err := json.Unmarshal(c.Spec.Config, &config); err != nil || !strings.HasPrefix(config.AuthToken, check.SecretMarker) {
		t.Fatalf("the check's config is %s, %v", c.Spec.Config, err)
	}
	return config.AuthToken
}

// wantProblem wants a refusal that names the place.
func wantProblem(t *testing.T, what string, err error, status int, at string) {
	t.Helper()
	p, ok := errors.AsType[*client.Problem](err)
	if !ok || p.Status != status || len(p.Errors) == 0 || p.Errors[0].Location != at {
		t.Errorf("%s: got %v, want a problem %d at %s", what, err, status, at)
	}
}

// A check that is not saved is run from a satellite of another core, and shows all that
// was found; nothing of it is left.
func TestACheckIsTriedBeforeItIsSaved(t *testing.T) {
	onBothEngines(t, func(t *testing.T, c server.Config) {
		page := shop(t)
		c.Local, c.SecretKey = true, base64.StdEncoding.EncodeToString(make([]byte, secret.RootSize))
		holder, api := start(t, c)
		asked := api
		if c.Database != "" { // SQLite is for one core
			_, asked = start(t, server.Config{Database: c.Database, SecretKey: c.SecretKey})
		}
		run(t, holder, create(t, api, "eu-1"))
		online(t, asked, "local", "eu-1")
		if err := api.Post(t.Context(), "/systems", map[string]any{
			"name": "web", "environments": []any{map[string]any{"name": "prod", "fields": map[string]any{"host": "prod.example"}}},
		}, nil); err != nil {
			t.Fatal(err)
		}
		for from, in := range map[string]map[string]any{
			"eu-1":  {"spec": pageCheck(page.URL, "hunter-2222", "{{ environment.host }}"), "from": "eu-1", "system": "web", "environment": "prod"},
			"local": {"spec": pageCheck(page.URL, "hunter-2222", "{{ environment.host }}"), "system": "web", "environment": "prod"},
		} {
			var got trial.Trial
			if err := asked.Post(t.Context(), "/checks/try", in, &got); err != nil {
				t.Fatal(err)
			}
			if got.Satellite.Name != from || got.Status != check.Unhealthy || got.ExecutedAt == nil || got.Timings == nil || got.Timings.ConnectMs == nil || len(got.Collectors) != 1 {
				t.Fatalf("tried from %s: %+v", from, got)
			}
			c := got.Collectors[0]
			if c.TookMs == nil || c.Status != check.Unhealthy || c.Result["statusCode"] != 200.0 {
				t.Errorf("the collector: %+v", c)
			}
			body, _ := c.Result["body"].(string)
			if strings.Contains(body, "hunter-2222") || !strings.Contains(body, `"told":"Bearer ****"`) || !strings.Contains(body, "prod.example") {
				t.Errorf("the body: %s", body)
			}
			want := []trial.Assertion{
				{Field: "statusCode", Operator: "equals", Value: 200.0, Passed: true, Got: "200"},
				{
					Field: "body", JSONPath: "$.articles", Operator: "greaterThan", Value: 5.0, Got: "3",
					Message: "body $.articles: expected to be greater than 5, got 3",
				},
			}
			if diff := cmp.Diff(want, c.Assertions); diff != "" {
				t.Errorf("assertions (-want +got):\n%s", diff)
			}
		}
		runs, err := client.All[health.Run](t.Context(), api, "/results", nil, 0, nil)
		if err != nil || len(runs) != 0 {
			t.Errorf("runs that were kept: %+v, %v", runs, err)
		}
		checks, err := client.All[catalog.Check](t.Context(), api, "/checks", nil, 0, nil)
		if err != nil || len(checks) != 0 {
			t.Errorf("checks that were kept: %+v, %v", checks, err)
		}
		events, err := client.All[entity.Event](t.Context(), api, "/events", nil, 0, nil)
		for _, e := range events {
			if strings.Contains(e.Type, "check") || strings.Contains(e.Type, "run") || strings.Contains(e.Type, "verdict") {
				t.Errorf("an event tells of it: %+v", e)
			}
		}
		if err != nil {
			t.Error(err)
		}
	})
}

// A trial has the secrets that the check would have if it were saved, and those of no
// other check.
func TestATrialHasItsOwnSecretsOnly(t *testing.T) {
	t.Parallel()
	page := shop(t)
	_, api := start(t, server.Config{Local: true, Database: dbtest.PostgreSQL(t)})
	online(t, api, "local")
	if err := api.Put(t.Context(), "/secrets/SHOP", map[string]any{"value": "kept-by-name"}, nil); err != nil {
		t.Fatal(err)
	}
	var saved catalog.Check
	if err := api.Post(t.Context(), "/checks", map[string]any{"name": "shop", "spec": pageCheck(page.URL, "of-the-shop", "here")}, &saved); err != nil {
		t.Fatal(err)
	}
	marker := markerOf(t, saved)
	tried := func(in map[string]any) (trial.Trial, error) {
		var got trial.Trial
		return got, api.Post(t.Context(), "/checks/try", in, &got)
	}
	for name, in := range map[string]map[string]any{
		"a secret by its name":       {"spec": pageCheck(page.URL, "${{ secrets.SHOP }}", "here")},
		"a credential written out":   {"spec": pageCheck(page.URL, "just-typed-in", "here")},
		"what the saved check keeps": {"spec": pageCheck(page.URL, marker, "here"), "check": "shop"},
	} {
		got, err := tried(in)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if body, _ := got.Collectors[0].Result["body"].(string); !strings.Contains(body, `"told":"Bearer ****"`) {
			t.Errorf("%s did not reach the target, or came back: %s", name, body)
		}
	}
	var other catalog.Check
	if err := api.Post(t.Context(), "/checks", map[string]any{"name": "other", "spec": pageCheck(page.URL, "", "here")}, &other); err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]map[string]any{
		"a marker of another check": {"spec": pageCheck(page.URL, marker, "here"), "check": "other"},
		"a marker of no check":      {"spec": pageCheck(page.URL, marker, "here")},
	} {
		_, err := tried(in)
		wantProblem(t, name, err, http.StatusUnprocessableEntity, "spec.config.authToken")
	}
	for name, c := range map[string]struct {
		in map[string]any
		at string
	}{
		"a check that could not be saved": {map[string]any{"spec": pageCheck("nowhere", "x", "here")}, "spec.collectors[0].config.url"},
		"an unknown satellite":            {map[string]any{"spec": pageCheck(page.URL, "x", "here"), "from": "nobody"}, "from"},
		"an unknown system":               {map[string]any{"spec": pageCheck(page.URL, "x", "here"), "system": "nothing"}, "system"},
		"an environment of no system":     {map[string]any{"spec": pageCheck(page.URL, "x", "here"), "environment": "prod"}, "system"},
	} {
		_, err := tried(c.in)
		wantProblem(t, name, err, http.StatusUnprocessableEntity, c.at)
	}
	create(t, api, "away")
	_, err := tried(map[string]any{"spec": pageCheck(page.URL, "x", "here"), "from": "away"})
	wantProblem(t, "a satellite that is offline", err, http.StatusUnprocessableEntity, "from")
}

// Cores that do not share their root key cannot hand a trial over, and say so at once.
func TestATrialThatCannotBeOpenedIsRefused(t *testing.T) {
	t.Parallel()
	database := dbtest.PostgreSQL(t)
	_, asked := start(t, server.Config{Database: database})
	if err := asked.Put(t.Context(), "/secrets/ANY", map[string]any{"value": "makes the keys"}, nil); err != nil {
		t.Fatal(err)
	}
	holder, _ := start(t, server.Config{Database: database})
	run(t, holder, create(t, asked, "eu-1"))
	online(t, asked, "eu-1")
	err := asked.Post(t.Context(), "/checks/try", map[string]any{"spec": pageCheck("http://127.0.0.1:1/", "x", "here"), "from": "eu-1"}, nil)
	wantProblem(t, "a trial that is sealed with another key", err, http.StatusUnprocessableEntity, "from")
}

// Who tries a shell script where none is allowed reads how it would be, of a satellite and of
// the core's own.
func TestATrialOfAScriptThatIsNotAllowedSaysHowToAllowIt(t *testing.T) {
	t.Parallel()
	core, api := start(t, server.Config{Local: true})
	run(t, core, create(t, api, "eu-1"))
	online(t, api, "local", "eu-1")
	spec := map[string]any{"strategy": check.Script, "interval": "1m", "collectors": []any{map[string]any{
		"id": "script", "collector": check.ScriptExecute, "config": map[string]any{"script": "true"},
	}}}
	const why = "the satellite cannot try it: it has no healthcheck-script.execute: its operator has not allowed shell scripts and programs; to allow them, "
	for from, how := range map[string]string{
		"local": "start the core with --local-scripts (or PERIGEE_LOCAL_SCRIPTS=true)",
		"eu-1":  "start it with --allow-scripts (or PERIGEE_ALLOW_SCRIPTS=true)",
	} {
		err := api.Post(t.Context(), "/checks/try", map[string]any{"spec": spec, "from": from}, nil)
		wantProblem(t, from, err, http.StatusUnprocessableEntity, "from")
		if p, ok := errors.AsType[*client.Problem](err); ok && p.Errors[0].Message != why+how {
			t.Errorf("%s: %s", from, p.Errors[0].Message)
		}
	}
}
