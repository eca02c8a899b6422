package action_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/automation/action"
	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/incident"
	"github.com/perigee-monitoring/perigee/internal/notify"
	"github.com/perigee-monitoring/perigee/internal/redact"
	"github.com/perigee-monitoring/perigee/internal/store"
)

// vault fills in one value.
type vault struct{}

const token = "t0ken-of-the-vault"

func (vault) Fill(_ context.Context, texts ...string) ([]string, *redact.Redactor, error) {
	filled := make([]string, len(texts))
	for i, t := range texts {
		filled[i] = strings.ReplaceAll(t, "${{ secrets.token }}", token)
	}
	return filled, redact.New(token), nil
}

func do(t *testing.T, s action.Services, name, path, config string) (map[string]any, error) {
	t.Helper()
	a, ok := automation.NewRegistry(action.All(s)...).Action(name)
	if !ok {
		t.Fatalf("there is no action %s", name)
	}
	output, err := a.Do(t.Context(), automation.Request{
		Automation: "alarms", Run: automation.Run{ID: "run-1", Automation: "a-1", Event: entity.Event{Kind: "satellite", EntityID: "s1", Payload: json.RawMessage(`{"name":"${{ secrets.token }}"}`)}},
		Step: automation.Step{Path: path, Input: json.RawMessage(config)},
	})
	var object map[string]any
	if err == nil {
		if err := json.Unmarshal(output, &object); err != nil {
			t.Fatal(err)
		}
	}
	return object, err
}

// What has one cause is one incident, and a step that is repeated is one entry.
func TestIncidentOfOneCause(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		db, err := store.Open(t.Context(), url, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() }) // the test is over
		service := incident.New(db, entity.NewRecorder(db, &bus.Local{}, incident.Derivers()...))
		s := action.Services{Incidents: service}

		first, err := do(t, s, "incident.open", "actions[0]", `{"title":"edge-1 is lost","cause":"region/eu"}`)
		if err != nil || first["created"] != true {
			t.Fatalf("the first: %v, %v; want it created", first, err)
		}
		again, err := do(t, s, "incident.open", "actions[0]", `{"title":"edge-1 is lost","cause":"region/eu"}`)
		if diff := cmp.Diff(first, again); diff != "" || err != nil {
			t.Errorf("repeated: %v (-first +again):\n%s", err, diff)
		}
		second, err := do(t, s, "incident.open", "actions[1]", `{"title":"edge-2 is lost","cause":"region/eu","severity":"critical"}`)
		if err != nil || second["created"] != false || second["id"] != first["id"] {
			t.Errorf("another finding: %v, %v; want the incident that there is", second, err)
		}
		for range 2 {
			if _, err := do(t, s, "incident.resolve", "actions[2]", `{"cause":"region/eu","text":"back"}`); err != nil {
				t.Error(err)
			}
		}
		nothing, err := do(t, s, "incident.resolve", "actions[3]", `{"cause":"region/eu"}`)
		if err != nil || nothing["resolved"] != false {
			t.Errorf("resolved twice: %v, %v; want nothing done", nothing, err)
		}
		i, err := service.Get(t.Context(), first["id"].(string))
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, e := range i.Timeline {
			said = append(said, string(e.Status)+": "+e.Text)
		}
		if diff := cmp.Diff([]string{"open: edge-1 is lost", "open: edge-2 is lost", "resolved: back"}, said); diff != "" || i.Severity != incident.Critical {
			t.Errorf("severity %s, timeline (-want +got):\n%s", i.Severity, diff)
		}
		var told []string
		events, err := db.Events(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			told = append(told, e.Type)
		}
		if diff := cmp.Diff([]string{"incident.created", "incident.updated", "incident.resolved"}, told); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// A cause with parts is over when the last of them is well.
func TestIncidentOfParts(t *testing.T) {
	t.Parallel()
	db, err := store.Open(t.Context(), dbtest.SQLite(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // the test is over
	s := action.Services{Incidents: incident.New(db, entity.NewRecorder(db, &bus.Local{}, incident.Derivers()...))}
	var said []any
	for n, step := range [][2]string{
		{"incident.open", "satellite/1"},
		{"incident.open", "satellite/2"},
		{"incident.resolve", "satellite/1"},
		{"incident.resolve", "satellite/3"},
		{"incident.resolve", "satellite/2"},
		{"incident.resolve", "satellite/2"},
	} {
		config := `{"cause":"region/eu","part":"` + step[1] + `"}`
		if step[0] == "incident.open" {
			config = `{"title":"lost","cause":"region/eu","part":"` + step[1] + `"}`
		}
		output, err := do(t, s, step[0], fmt.Sprintf("actions[%d]", n), config)
		if err != nil {
			t.Fatal(err)
		}
		if step[0] == "incident.open" {
			said = append(said, output["created"])
		} else {
			said = append(said, output["resolved"])
		}
	}
	if diff := cmp.Diff([]any{true, false, false, false, true, false}, said); diff != "" {
		t.Errorf("created, then resolved (-want +got):\n%s", diff)
	}
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	var answer atomic.Int64
	var body atomic.Value
	answer.Store(http.StatusOK)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		body.Store(string(text))
		if r.Header.Get("Authorization") != "Bearer "+token || r.Header.Get("Idempotency-Key") != "run-1/actions[0]" {
			t.Errorf("headers %v, want token and key", r.Header)
		}
		is := int(answer.Load())
		if is == 0 {
			panic(http.ErrAbortHandler) // no answer, and who knows what was done
		}
		w.WriteHeader(is)
		if is != http.StatusNotFound {
			_, _ = io.WriteString(w, "I was told "+token)
		}
	}))
	t.Cleanup(receiver.Close)
	s := action.Services{Secrets: vault{}, HTTP: notify.NewClient()}
	config := `{"url":"` + receiver.URL + `","auth":{"type":"bearer","token":"${{ secrets.token }}"}}`

	output, err := do(t, s, "webhook.send", "actions[0]", config)
	if diff := cmp.Diff(map[string]any{"status": 200.0, "body": "I was told ****"}, output); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if sent := body.Load().(string); strings.Contains(sent, token) || !strings.Contains(sent, "${{ secrets.token }}") {
		t.Errorf("the body is %s: what an event says is sent as it came", sent)
	}
	answer.Store(http.StatusServiceUnavailable)
	if _, err := do(t, s, "webhook.send", "actions[0]", config); automation.Permanent(err) || strings.Contains(err.Error(), token) {
		t.Errorf("503: %v, want that another attempt may help, without the secret", err)
	}
	answer.Store(http.StatusBadRequest)
	if _, err := do(t, s, "webhook.send", "actions[0]", config); !automation.Permanent(err) {
		t.Errorf("400: %v, want it permanent", err)
	}
	answer.Store(http.StatusNotFound)
	if _, err := do(t, s, "webhook.send", "actions[0]", config); !strings.HasSuffix(err.Error(), "answered 404 Not Found") {
		t.Errorf("404 without a body: %v", err)
	}
	answer.Store(0)
	if _, err := do(t, s, "webhook.send", "actions[0]", config); !strings.Contains(err.Error(), automation.ErrInDoubt.Error()) {
		t.Errorf("no answer: %v, want it in doubt", err)
	}
	if _, err := do(t, s, "webhook.send", "actions[0]", `{"url":"`+receiver.URL+`","auth":{"type":"bearer","token":"written out"}}`); !fault.Is(err, fault.Invalid) {
		t.Errorf("a credential that is written out: %v, want it invalid", err)
	}
}

func TestConfigurationsAreJudgedBeforeTheyAreUsed(t *testing.T) {
	t.Parallel()
	for _, a := range action.All(action.Services{}) {
		if a.Summary == "" || len(a.Fields) == 0 {
			t.Errorf("%s says nothing of itself", a.Name)
		}
		if err := a.Check(json.RawMessage(`{"nonsense":1}`)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s takes nonsense: %v", a.Name, err)
		}
	}
	registry := automation.NewRegistry(action.All(action.Services{})...)
	send, _ := registry.Action("webhook.send")
	for _, body := range []string{`{"a":[1]}`, `[1]`, `"text"`, `7`} {
		if err := send.Check(json.RawMessage(`{"url":"http://example.com","body":` + body + `}`)); err != nil {
			t.Errorf("a webhook's body %s: %v", body, err)
		}
	}
	open, _ := registry.Action("incident.open")
	for config, want := range map[string]bool{
		`{"title":"a"}`: true,
		`{"title":"${{ trigger.payload.name }}"}`:         true,
		`{"title":"a","severity":"${{ variables.bad }}"}`: true,
		`{"title":"a","severity":"awful"}`:                false,
		`{"title":7}`:                                     false,
		`{}`:                                              false,
		`[]`:                                              false,
		`{"title":"a","systems":"shop"}`:                  false,
	} {
		if err := open.Check(json.RawMessage(config)); (err == nil) != want {
			t.Errorf("%s: %v, want it taken: %v", config, err, want)
		}
	}
}
