package server_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	_ "modernc.org/sqlite" // to set back what the store will not

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/internal/probe"
	"github.com/perigee-monitoring/perigee/internal/satellite"
	"github.com/perigee-monitoring/perigee/internal/server"
)

// payloads are what triggers say (spec C.4, D.4), by the event: whole, with ids, times
// and what is measured put aside. Of each there is an automation in TestTriggers.
var payloads = map[string]string{
	"automation.cron":                   `{"firedAt":"TIME"}`,
	"automation.interval":               `{"firedAt":"TIME"}`,
	"automation.manual":                 `{"why":"a look"}`,
	"automation.numeric_state":          `{"checkName":"shop","configurationId":"ID","environmentId":"","field":"page.statusCode","latencyMs":"N","runId":"ID","satelliteId":"ID","status":"unhealthy","systemId":"ID","systemName":"shop","timestamp":"TIME","value":503}`,
	"automation.webhook":                `{"version":"1.2.3"}`,
	"core.blind":                        `{"from":"TIME","seconds":"N","to":"TIME"}`,
	"entity.changed":                    `{"changedFields":["enabled","revision"],"delta":{"enabled":false,"revision":"N"},"enabled":false,"id":"ID","kind":"automation","name":"core.blind","next":{"enabled":false,"name":"core.blind","revision":"N"},"prev":{"enabled":true,"name":"core.blind","revision":"N"},"revision":"N"}`,
	"healthcheck.check_degraded":        `{"checkName":"shop","class":"target","configurationId":"ID","environmentId":"","previousStatus":"healthy","status":"unhealthy","systemId":"ID","systemName":"shop","timestamp":"TIME","verdictId":"ID"}`,
	"healthcheck.check_failed":          `{"checkName":"shop","configurationId":"ID","environmentId":"","latencyMs":"N","message":"Check failed: Assertion failed: statusCode: expected to equal 200, got 503","result":"RESULT","runId":"ID","satelliteId":"ID","status":"unhealthy","systemId":"ID","systemName":"shop","timestamp":"TIME"}`,
	"healthcheck.system_degraded":       `{"healthyChecks":0,"maintenance":false,"newStatus":"unhealthy","previousStatus":"healthy","suppressedBy":[],"systemId":"ID","systemName":"shop","timestamp":"TIME","totalChecks":1,"unobserved":false}`,
	"healthcheck.system_health_changed": `{"healthyChecks":1,"maintenance":false,"newStatus":"healthy","previousStatus":"unknown","suppressedBy":[],"systemId":"ID","systemName":"shop","timestamp":"TIME","totalChecks":1,"unobserved":false}`,
	"healthcheck.system_healthy":        `{"healthyChecks":1,"maintenance":false,"newStatus":"healthy","previousStatus":"unknown","suppressedBy":[],"systemId":"ID","systemName":"shop","timestamp":"TIME","totalChecks":1,"unobserved":false}`,
	"incident.created":                  `{"cause":"system/shop","incidentId":"ID","severity":"major","status":"open","systemIds":["ID"],"title":"The shop is shut"}`,
	"incident.resolved":                 `{"cause":"system/shop","incidentId":"ID","severity":"major","status":"resolved","systemIds":["ID"],"title":"The shop is shut"}`,
	"incident.updated":                  `{"cause":"system/shop","incidentId":"ID","severity":"major","status":"identified","systemIds":["ID"],"title":"The shop is shut"}`,
	"maintenance.created":               `{"checks":[],"endAt":"TIME","id":"ID","maintenanceId":"ID","mode":"mute","name":"upgrade","startAt":"TIME","status":"active","systemIds":["ID"],"systems":{"names":["shop"]}}`,
	"maintenance.deleted":               `{"checks":[],"endAt":"TIME","id":"ID","maintenanceId":"ID","mode":"mute","name":"upgrade","startAt":"TIME","status":"over","systemIds":["ID"],"systems":{"names":["shop"]}}`,
	"maintenance.ended":                 `{"checks":[],"endAt":"TIME","id":"ID","maintenanceId":"ID","mode":"mute","name":"upgrade","startAt":"TIME","status":"over","systemIds":["ID"],"systems":{"names":["shop"]}}`,
	"maintenance.started":               `{"checks":[],"endAt":"TIME","id":"ID","maintenanceId":"ID","mode":"mute","name":"upgrade","startAt":"TIME","status":"active","systemIds":["ID"],"systems":{"names":["shop"]}}`,
	"maintenance.updated":               `{"checks":[],"endAt":"TIME","id":"ID","maintenanceId":"ID","mode":"mute","name":"upgrade","startAt":"TIME","status":"active","systemIds":["ID"],"systems":{"names":["shop"]}}`,
	"region.ill":                        `{"kinds":["resolver"],"observers":2,"region":"eu","satellites":["eu-1","eu-2"]}`,
	"region.well":                       `{"region":"eu"}`,
	"satellite.clock_skew":              `{"clockOffsetMs":"N","name":"us-1","region":"us","satelliteId":"ID"}`,
	"satellite.connected":               `{"lastSeenAt":"TIME","name":"us-1","region":"us","satelliteId":"ID","status":"online"}`,
	"satellite.disconnected":            `{"lastSeenAt":null,"name":"us-1","region":"us","satelliteId":"ID","status":"offline"}`,
	"satellite.heartbeat_lost":          `{"lastSeenAt":"TIME","name":"eu-1","region":"eu","satelliteId":"ID","status":"offline"}`,
	"satellite.ill":                     `{"ill":[{"detail":"names are not resolved: no nameserver answers","kind":"resolver","since":"N"}],"name":"us-1","region":"us","satelliteId":"ID"}`,
	"satellite.removed":                 `{"name":"us-1","region":"us","satelliteId":"ID"}`,
	"satellite.well":                    `{"name":"us-1","region":"us","satelliteId":"ID"}`,
}

// reactions are the configs and filters of those triggers that need one.
var reactions = map[string]map[string]any{
	"automation.cron":          {"config": map[string]any{"cronPattern": "0 0 29 2 *", "timezone": "Europe/Berlin"}},
	"automation.interval":      {"config": map[string]any{"intervalSeconds": 1}},
	"automation.webhook":       {"config": map[string]any{"hook": "deploys", "secret": "hook"}},
	"automation.numeric_state": {"config": map[string]any{"field": "page.statusCode", "above": 500, "system": "shop"}},
	"healthcheck.check_failed": {"config": map[string]any{"system": "shop", "check": "shop"}},
	"entity.changed":           {"config": map[string]any{"kind": "automation"}, "filter": "trigger.payload.changedFields == ['enabled', 'revision']"},
	"satellite.connected":      {"filter": "trigger.payload.name == 'us-1'"},
	"satellite.ill":            {"filter": "trigger.payload.name == 'us-1'"},
	"satellite.well":           {"filter": "trigger.payload.name == 'us-1'"},
}

// Each trigger fires by what really happens, and its run has the payload of the
// specification.
func TestTriggers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	core, api := start(t, server.Config{Local: true, DataDir: dir})
	w := &reacting{t: t, core: core, api: api, database: filepath.Join(dir, "perigee.db")}
	online(t, api, "local")
	if err := api.Put(t.Context(), "/secrets/hook", httpapi.SecretInput{Value: "shared-with-the-builder"}, nil); err != nil {
		t.Fatal(err)
	}
	for event := range payloads {
		trigger := map[string]any{"event": event}
		maps.Copy(trigger, reactions[event])
		w.automate(event, map[string]any{
			"mode": "queued", "triggers": []any{trigger},
			"actions": []any{map[string]any{"action": "log", "config": map[string]any{"message": "${{ json(trigger.payload) }}"}}},
		})
	}

	// By the clock, by hand and from outside.
	w.fired("automation.interval")
	w.sql(`UPDATE automation_timers SET due_at = 0 WHERE trigger_id = 'automation_cron'`)
	if err := api.Post(t.Context(), "/automations/automation.manual/run", httpapi.RunStart{Payload: json.RawMessage(`{"why":"a look"}`)}, nil); err != nil {
		t.Fatal(err)
	}
	if got := w.hook("deploys", "a guess"); got != http.StatusUnauthorized {
		t.Errorf("a call that is signed with a guess is answered %d", got)
	}
	if got := w.hook("deploys", "shared-with-the-builder"); got != http.StatusAccepted {
		t.Errorf("a signed call is answered %d", got)
	}

	// Satellites come, fall ill, one alone and a region together, and go.
	var deaf atomic.Bool
	deaf.Store(true)
	leave := map[string]func(){}
	for _, name := range []string{"eu-1", "eu-2", "us-1"} {
		observer := satellite.ObserverConfig{Resolver: resolver(func() error {
			if deaf.Load() {
				return errors.New("no nameserver answers")
			}
			return nil
		}), Names: []string{"shop.test"}}
		clock := time.Now
		if name == "us-1" {
			clock = func() time.Time { return time.Now().Add(time.Hour) }
		}
		leave[name] = w.join(name, observer, clock)
	}
	online(t, api, "eu-1", "eu-2", "us-1")
	w.fired("satellite.clock_skew")
	eventually(t, "three satellites to be ill", func() error { return w.enough(`SELECT count(*) FROM satellites WHERE ill_since IS NOT NULL`, 3) })
	w.sql(`UPDATE satellites SET ill_since = ill_since - 60000000 WHERE ill_since IS NOT NULL`)
	w.fired("satellite.ill")
	w.fired("region.ill")
	deaf.Store(false)
	w.fired("satellite.well")
	w.fired("region.well")
	w.sql(`UPDATE observer SET since = since - 60000000, at = at - 60000000`)
	w.fired("core.blind")
	w.post("/automations/core.blind/disable", nil)
	eventually(t, "a satellite to count as silent", func() error {
		w.sql(`UPDATE observer SET since = since - 600000000`)
		w.sql(`UPDATE satellites SET last_heartbeat_at = last_heartbeat_at - 300000000 WHERE name = 'eu-1'`)
		return w.ran("satellite.heartbeat_lost")
	})
	leave["us-1"]()
	w.fired("satellite.disconnected")
	if err := api.Delete(t.Context(), "/satellites/us-1", nil); err != nil {
		t.Fatal(err)
	}

	// A system fails and recovers.
	shut := &atomic.Bool{}
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if shut.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(shop.Close)
	documents := watchedAs("shop", shop.URL, nil)
	// Whoever is asked may take long: that the shop itself is down is a part of the payload.
	documents[2].(map[string]any)["spec"].(map[string]any)["policy"] = map[string]any{"secondOpinion": map[string]any{"wait": "25s"}}
	if err := api.Post(t.Context(), "/apply", map[string]any{"documents": documents}, nil); err != nil {
		t.Fatal(err)
	}
	w.fired("healthcheck.system_healthy")
	shut.Store(true)
	for _, event := range []string{"healthcheck.check_failed", "automation.numeric_state", "healthcheck.check_degraded", "healthcheck.system_degraded"} {
		w.fired(event)
	}

	// Maintenances and incidents.
	end := time.Now().Add(time.Hour)
	plan := map[string]any{"name": "upgrade", "systems": map[string]any{"names": []string{"shop"}}, "end": end}
	w.post("/maintenances", plan)
	plan["description"] = "it takes longer"
	if err := api.Put(t.Context(), "/maintenances/upgrade", plan, nil); err != nil {
		t.Fatal(err)
	}
	w.post("/maintenances/upgrade/end", nil)
	if err := api.Delete(t.Context(), "/maintenances/upgrade", nil); err != nil {
		t.Fatal(err)
	}
	var incident struct{ ID string }
	if err := api.Post(t.Context(), "/incidents", map[string]any{"title": "The shop is shut", "severity": "major", "cause": "system/shop", "systems": []string{"shop"}}, &incident); err != nil {
		t.Fatal(err)
	}
	w.post("/incidents/"+incident.ID+"/updates", map[string]any{"status": "identified", "text": "somebody forgot the key"})
	w.post("/incidents/"+incident.ID+"/updates", map[string]any{"status": "resolved", "text": "it is open"})

	for _, event := range slices.Sorted(maps.Keys(payloads)) {
		w.fired(event)
		run := w.runs(event)[0]
		if run.Status != automation.RunSuccess || run.Event.Type != event {
			t.Errorf("%s: the run of %s is %s: %s", event, run.Event.Type, run.Status, run.Reason)
		}
		got := plainly(t, run.Event.Payload)
		if strings.Contains(payloads[event], `"newStatus":"healthy"`) { // the first result may come before anybody has judged that there is none
			got = strings.Replace(got, `"previousStatus":null`, `"previousStatus":"unknown"`, 1)
		}
		if diff := cmp.Diff(payloads[event], got); diff != "" {
			t.Errorf("%s says (-want +got):\n%s", event, diff)
		}
	}
}

// reacting is a core with automations.
type reacting struct {
	t        *testing.T
	core     *server.Server
	api      *client.Client
	database string
}

func (w *reacting) post(path string, in any) {
	w.t.Helper()
	if err := w.api.Post(w.t.Context(), path, in, nil); err != nil {
		w.t.Fatal(err)
	}
}

func (w *reacting) automate(name string, definition map[string]any) {
	w.t.Helper()
	w.post("/automations", map[string]any{"name": name, "definition": definition})
}

// runs are those of an automation that have ended, oldest first.
func (w *reacting) runs(name string) []automation.Run {
	w.t.Helper()
	all, err := client.All[automation.Run](w.t.Context(), w.api, "/automation-runs", url.Values{"automation": {name}}, 0, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Reverse(all)
	return slices.DeleteFunc(all, func(r automation.Run) bool { return !r.Status.Ended() })
}

func (w *reacting) ran(name string) error {
	w.t.Helper()
	if len(w.runs(name)) == 0 {
		return errors.New("it has not run")
	}
	return nil
}

func (w *reacting) fired(name string) {
	w.t.Helper()
	eventually(w.t, "automation "+name, func() error { return w.ran(name) })
}

// hook calls a hook as whoever has the key, and gives the answer's status.
func (w *reacting) hook(name, key string) int {
	w.t.Helper()
	body, stamp := []byte(`{"version":"1.2.3"}`), strconv.FormatInt(time.Now().Unix(), 10)
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.core.URL()+"/hooks/"+name, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("X-Perigee-Timestamp", stamp)
	r.Header.Set("X-Perigee-Signature", automation.Sign(key, stamp, body))
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // its status is all there is to it
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// sql alters the database beside the core, as the passing of time would.
func (w *reacting) sql(statement string, into ...any) {
	w.t.Helper()
	db, err := sql.Open("sqlite", "file:"+w.database+"?_pragma=busy_timeout(10000)")
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // nothing is left in it
	if len(into) > 0 {
		err = db.QueryRowContext(w.t.Context(), statement).Scan(into...)
	} else {
		_, err = db.ExecContext(w.t.Context(), statement)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *reacting) enough(count string, want int) error {
	w.t.Helper()
	var n int
	if w.sql(count, &n); n < want {
		return fmt.Errorf("%d of %d", n, want)
	}
	return nil
}

// resolver is one that answers, or fails.
type resolver func() error

func (r resolver) LookupHost(context.Context, string) ([]string, error) {
	return []string{"127.0.0.1"}, r()
}

// join runs a satellite of the region that its name begins with, until it is to leave.
func (w *reacting) join(name string, observer satellite.ObserverConfig, clock func() time.Time) (leave func()) {
	w.t.Helper()
	return w.joinAt(name, "", observer, clock)
}

// joinAt has it ask a nameserver of its own.
func (w *reacting) joinAt(name, nameserver string, observer satellite.ObserverConfig, clock func() time.Time) (leave func()) {
	w.t.Helper()
	options := probe.Options{Log: slog.New(slog.DiscardHandler), Version: "test"}
	if nameserver != "" {
		options.Nameservers = []string{nameserver}
	}
	var made httpapi.SatelliteToken
	if err := w.api.Post(w.t.Context(), "/satellites", httpapi.NewSatellite{Name: name, Region: name[:2]}, &made); err != nil {
		w.t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	agent, err := satellite.New(satellite.Config{ID: made.Satellite.ID, Token: made.Token, DataDir: w.t.TempDir(), Version: "test", Observer: observer, Now: clock},
		probe.New(options), []satellite.Core{{URL: w.core.URL(), Dial: dialTo(w.core)}}, log)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = agent.Run(ctx) // it is told to leave
	}()
	leave = func() { cancel(); <-done }
	w.t.Cleanup(leave)
	return leave
}

// watchedAs are a system of one check of a page, each second from the core itself when
// no satellites are named.
func watchedAs(name, page string, satellites []string) []any {
	meta := map[string]any{"name": name}
	assignment := map[string]any{"check": name, "system": name, "includeLocal": len(satellites) == 0}
	if len(satellites) > 0 {
		assignment["satellites"] = map[string]any{"names": satellites}
	}
	return []any{
		map[string]any{"apiVersion": "perigee/v1", "kind": "System", "metadata": meta, "spec": map[string]any{}},
		map[string]any{"apiVersion": "perigee/v1", "kind": "Check", "metadata": meta, "spec": map[string]any{
			"strategy": "healthcheck-http.http", "config": map[string]any{}, "interval": "1s",
			"collectors": []any{map[string]any{
				"id": "page", "collector": "healthcheck-http.request", "config": map[string]any{"url": page},
				"assertions": []any{map[string]any{"field": "statusCode", "operator": "equals", "value": 200}},
			}},
		}},
		map[string]any{"apiVersion": "perigee/v1", "kind": "Assignment", "metadata": meta, "spec": assignment},
	}
}

var (
	anID   = regexp.MustCompile(`^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32})$`)
	aTime  = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$`)
	aValue = []string{"latencyMs", "seconds", "clockOffsetMs", "since", "revision"}
)

// plainly is a payload with what differs from run to run put aside.
func plainly(t *testing.T, payload json.RawMessage) string {
	t.Helper()
	var tree any
	if err := json.Unmarshal(payload, &tree); err != nil {
		t.Fatal(err)
	}
	var plain func(name string, v any) any
	plain = func(name string, v any) any {
		switch v := v.(type) {
		case string:
			switch {
			case anID.MatchString(v):
				return "ID"
			case aTime.MatchString(v):
				return "TIME"
			}
		case float64:
			if slices.Contains(aValue, name) {
				return "N"
			}
		case []any:
			for i := range v {
				v[i] = plain(name, v[i])
			}
		case map[string]any:
			if name == "result" {
				return "RESULT"
			}
			for field := range v {
				v[field] = plain(field, v[field])
			}
		}
		return v
	}
	text, err := json.Marshal(plain("", tree))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
