package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/npmtest"
	"github.com/perigee-monitoring/perigee/internal/targets"
)

// hushed is a secret that must be found nowhere.
const hushed = "hushed-8d1f0c7e52"

// calls keeps what was posted to it, by path, and answers with what it was sent, as a
// careless receiver does.
type calls struct {
	mu   sync.Mutex
	came map[string][]string // guarded by mu
}

func (c *calls) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.came[r.URL.Path] = append(c.came[r.URL.Path], strings.Join([]string{r.Method, r.Header.Get("Authorization"), string(body)}, " | "))
	if r.URL.Path == "/refuses" {
		w.WriteHeader(http.StatusTeapot)
	}
	fmt.Fprintf(w, "you said %s %s", r.Header.Get("Authorization"), body)
}

func (c *calls) to(path string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.came[path]
}

// step of an automation.
func step(id, action string, config map[string]any) map[string]any {
	return map[string]any{"id": id, "action": action, "config": config}
}

// traced is a run with its steps.
type traced struct {
	ID, Status, Reason string
	Steps              []struct {
		ID, Status, Error string
		Input, Output     json.RawMessage
	}
}

// react makes an automation, runs it and gives its trace when it has ended.
func (c *core) react(name string, payload any, steps ...map[string]any) traced {
	c.t.Helper()
	c.call(http.MethodPost, "/api/v1/automations", map[string]any{"name": name, "definition": map[string]any{
		"triggers": []any{map[string]any{"event": "automation.manual"}}, "actions": steps,
	}}, nil)
	var run traced
	c.call(http.MethodPost, "/api/v1/automations/"+name+"/run", map[string]any{"payload": payload}, &run)
	wait(c.t, "automation "+name, func() error {
		c.call(http.MethodGet, "/api/v1/automation-runs/"+run.ID, nil, &run)
		if run.Status == "running" || run.Status == "waiting" || run.Status == "pending" {
			return fmt.Errorf("it is %s", run.Status)
		}
		return nil
	}, c.process)
	return run
}

// Every action does what it says to real things, and what is secret is nowhere.
func TestActions(t *testing.T) {
	t.Parallel()
	mails, err := targets.ListenMail()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mails.Close() }) // the test is over
	receiver := &calls{came: map[string][]string{}}
	outside := httptest.NewServer(receiver)
	t.Cleanup(outside.Close)

	c := newCore(t, "")
	c.args = append(c.args, "--npm-registry", npmtest.New(t).URL)
	c.start()
	c.ready()
	s := newSatellite(c, "runner", "eu")
	s.args = append(s.args, "--allow-scripts")
	s.start()
	newSatellite(c, "spare", "eu")
	c.cli("", "package", "add", "is-even@1.0.0")
	c.cli("", "package", "install", "--wait")
	c.synced(s)
	c.cli(hushed, "secret", "set", "canary")
	documents := scriptDocuments("mend", `node -e "console.log('mended', require('is-even')(4))"`, nil, "mended true")
	documents[1].(map[string]any)["spec"].(map[string]any)["interval"] = "1h"
	page := map[string]any{"name": "page"}
	documents = append(documents,
		map[string]any{"apiVersion": "perigee/v1", "kind": "Check", "metadata": page, "spec": map[string]any{
			"strategy": "healthcheck-http.http", "config": map[string]any{}, "interval": "1h",
			"collectors": []any{map[string]any{"id": "page", "collector": "healthcheck-http.request", "config": map[string]any{"url": outside.URL + "/page"}}},
		}},
		map[string]any{"apiVersion": "perigee/v1", "kind": "Assignment", "metadata": page, "spec": map[string]any{
			"check": "page", "system": "web", "includeLocal": false, "satellites": map[string]any{"names": []string{"runner"}},
		}},
		map[string]any{"apiVersion": "perigee/v1", "kind": "System", "metadata": map[string]any{"name": "quiet"}, "spec": map[string]any{}},
		map[string]any{"apiVersion": "perigee/v1", "kind": "Assignment", "metadata": map[string]any{"name": "page-of-quiet"}, "spec": map[string]any{
			"check": "page", "system": "quiet", "includeLocal": false, "enabled": false, "satellites": map[string]any{"names": []string{"runner"}},
		}},
	)
	c.call(http.MethodPost, "/api/v1/apply", map[string]any{"documents": documents}, nil)
	c.cli("", "satellite", "cordon", "spare")
	c.call(http.MethodPost, "/api/v1/channels", map[string]any{"name": "mail", "type": "email", "config": map[string]any{
		"server": mails.Addr(), "tls": "none", "from": "perigee@example.com", "to": []string{"ops@example.com"},
	}}, nil)
	c.call(http.MethodPost, "/api/v1/channels", map[string]any{"name": "hook", "type": "webhook", "config": map[string]any{
		"url": outside.URL + "/channel", "headers": map[string]string{"Authorization": "Token ${{ secrets.canary }}"},
	}}, nil)

	run := c.react("everything", map[string]any{"version": "1.2.3", "says": "${{ secrets.canary }}"},
		step("said", "log", map[string]any{"message": "version ${{ trigger.payload.version }} is out", "level": "warn"}),
		step("script", "script.run", map[string]any{"check": "mend", "satellite": "runner"}),
		step("checked", "check.run", map[string]any{"check": "page", "system": "web", "wait": true}),
		step("off", "assignment.disable", map[string]any{"assignment": "page"}),
		step("on", "assignment.enable", map[string]any{"assignment": "page-of-quiet"}),
		step("set", "maintenance.set", map[string]any{"system": "web", "minutes": 10, "text": "a new version"}),
		step("other", "maintenance.set", map[string]any{"system": "quiet", "minutes": 10}),
		step("cleared", "maintenance.clear", map[string]any{"system": "quiet"}),
		step("noted", "note.add", map[string]any{"kind": "system", "entity": "${{ artifacts.set.id }}", "text": "version ${{ trigger.payload.version }}"}),
		step("opened", "incident.open", map[string]any{"title": "Version ${{ trigger.payload.version }} is bad", "cause": "version", "systems": []string{"web"}}),
		step("updated", "incident.update", map[string]any{"status": "identified", "text": "it is the colour"}),
		step("resolved", "incident.resolve", map[string]any{"cause": "version", "text": "painted"}),
		step("cordoned", "satellite.cordon", map[string]any{"satellite": "runner"}),
		step("uncordoned", "satellite.uncordon", map[string]any{"satellite": "spare"}),
		step("hook", "webhook.send", map[string]any{
			"url": outside.URL + "/deployed", "method": "PUT", "auth": map[string]any{"type": "bearer", "token": "${{ secrets.canary }}"},
			"body": map[string]any{"version": "${{ trigger.payload.version }}", "found": "${{ artifacts.script.runs[0].found.run.stdout }}", "says": "${{ trigger.payload.says }}"},
		}),
		step("told", "notify", map[string]any{"title": "Version ${{ trigger.payload.version }} was looked at", "body": "It is ${{ artifacts.checked.status }}.", "severity": "critical"}),
	)
	if run.Status != "success" {
		t.Fatalf("the run is %s: %s\n%s", run.Status, run.Reason, c.cli("", "automation", "trace", run.ID))
	}
	gave := map[string]map[string]any{}
	for _, s := range run.Steps {
		var output map[string]any
		if err := json.Unmarshal(s.Output, &output); err != nil {
			t.Errorf("%s gave %s: %v", s.ID, s.Output, err)
		}
		gave[s.ID] = output
	}
	for id, want := range map[string]map[string]any{
		"script": {"status": "healthy"}, "checked": {"status": "healthy"}, "off": {"enabled": false}, "on": {"enabled": true}, "cleared": {"cleared": true},
		"opened": {"created": true}, "resolved": {"resolved": true}, "cordoned": {"cordoned": true}, "uncordoned": {"cordoned": false},
		"hook": {"status": 200.0}, "told": {"delivered": []any{"hook", "mail"}},
	} {
		for field, value := range want {
			if diff := cmp.Diff(value, gave[id][field]); diff != "" {
				t.Errorf("%s gave %s (-want +got):\n%s", id, field, diff)
			}
		}
	}

	// What has become of the world.
	if !strings.Contains(c.tail(), "version 1.2.3 is out") {
		t.Error("the log says nothing")
	}
	if diff := cmp.Diff([]string{`PUT | Bearer ` + hushed + ` | {"found":"mended true\n","says":"$ {{ secrets.canary }}","version":"1.2.3"}`}, receiver.to("/deployed")); diff != "" {
		t.Errorf("the webhook was sent (-want +got):\n%s", diff)
	}
	if sent := receiver.to("/channel"); len(sent) != 1 || !strings.Contains(sent[0], "Token "+hushed) || !strings.Contains(sent[0], "Version 1.2.3 was looked at") {
		t.Errorf("the channel was sent %q", sent)
	}
	if all := mails.Mails(); len(all) != 1 || !strings.Contains(all[0].Data, "It is healthy.") {
		t.Errorf("mails are %+v", all)
	}
	var (
		assignment struct{ Enabled bool }
		upkeep     struct{ Active bool }
		over       struct{ Active bool }
		cordoned   struct{ CordonedAt *time.Time }
		incidents  struct {
			Items []struct{ Status, Title string }
		}
		notes struct{ Items []struct{ Text string } }
	)
	c.call(http.MethodGet, "/api/v1/assignments/page", nil, &assignment)
	c.call(http.MethodGet, "/api/v1/maintenances/auto-web", nil, &upkeep)
	c.call(http.MethodGet, "/api/v1/maintenances/auto-quiet", nil, &over)
	c.call(http.MethodGet, "/api/v1/satellites/runner", nil, &cordoned)
	c.call(http.MethodGet, "/api/v1/incidents", nil, &incidents)
	c.call(http.MethodGet, "/api/v1/notes?kind=system", nil, &notes)
	got := fmt.Sprint(assignment.Enabled, upkeep.Active, over.Active, cordoned.CordonedAt != nil, incidents.Items, notes.Items)
	if want := "false true false true [{resolved Version 1.2.3 is bad}] [{version 1.2.3}]"; got != want {
		t.Errorf("the world is %s, want %s", got, want)
	}

	// A receiver that repeats what it was sent in an error gives nothing away either.
	failed := c.react("refused", nil, step("hook", "webhook.send", map[string]any{
		"url": outside.URL + "/refuses", "headers": map[string]string{"Authorization": "Key ${{ secrets.canary }}"}, "body": "psst: ${{ secrets.canary }}",
	}))
	if failed.Status != "failed" || !strings.Contains(failed.Steps[0].Error, "418") || len(receiver.to("/refuses")) != 1 || !strings.Contains(receiver.to("/refuses")[0], "psst: "+hushed) {
		t.Errorf("the refusal is %+v, and came as %q", failed, receiver.to("/refuses"))
	}
	shown := map[string]string{}
	for _, id := range []string{run.ID, failed.ID} {
		shown["the trace of "+id] = c.raw("/api/v1/automation-runs/"+id) + c.cli("", "automation", "trace", id)
	}
	c.stop()
	s.stop()
	for path, text := range files(t, filepath.Dir(c.log)) {
		shown[path] = text
	}
	shown["the satellite's log"] = s.tail()
	if len(shown) < 5 {
		t.Errorf("only %d places were searched", len(shown))
	}
	for where, text := range shown {
		if strings.Contains(text, hushed) {
			t.Errorf("the secret is in %s", where)
		}
	}
}
