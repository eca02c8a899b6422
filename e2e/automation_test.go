package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/targets"
)

// hook keeps the titles of the messages that it was sent.
type hook struct {
	mu     sync.Mutex
	titles []string // guarded by mu
}

func (h *hook) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var m struct {
		Title string `json:"title"`
	}
	if json.NewDecoder(r.Body).Decode(&m) != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.titles = append(h.titles, m.Title)
}

func (h *hook) got() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.titles, "; ")
}

// A satellite is unplugged and plugged in again: a mail server and a webhook are told of
// each once, though the core is killed meanwhile. (docs/automations.md shows it.)
func TestUnpluggedSatelliteIsTold(t *testing.T) {
	t.Parallel()
	mails, err := targets.ListenMail()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mails.Close() }) // the test is over
	told := &hook{}
	receiver := httptest.NewServer(told)
	t.Cleanup(receiver.Close)

	c := newCore(t, "")
	c.start()
	c.ready()
	c.call(http.MethodPost, "/api/v1/channels", map[string]any{"name": "mail", "type": "email", "config": map[string]any{
		"server": mails.Addr(), "tls": "none", "from": "perigee@example.com", "to": []string{"ops@example.com"},
	}}, nil)
	c.call(http.MethodPost, "/api/v1/channels", map[string]any{"name": "hook", "type": "webhook", "config": map[string]any{"url": receiver.URL}}, nil)
	cause := "satellite/${{ trigger.entity }}"
	tell := func(condition, title string) any {
		return map[string]any{"choose": []any{map[string]any{"when": condition, "sequence": []any{
			map[string]any{"action": "notify", "retry": map[string]any{"attempts": 5, "backoff_seconds": 1}, "config": map[string]any{"title": title}},
		}}}}
	}
	c.call(http.MethodPost, "/api/v1/automations", map[string]any{"name": "satellites-lost", "enabled": true, "definition": map[string]any{
		"mode": "queued", "concurrency_scope": "context",
		"triggers": []any{
			map[string]any{"id": "gone", "event": "satellite.disconnected", "for": map[string]any{"seconds": 2}},
			map[string]any{"id": "back", "event": "satellite.connected"},
		},
		"actions": []any{map[string]any{
			"choose": []any{map[string]any{"when": "trigger.id == 'back'", "sequence": []any{
				map[string]any{"id": "over", "action": "incident.resolve", "config": map[string]any{"cause": cause}},
				tell("artifacts.over.resolved", "${{ trigger.payload.name }} is back"),
			}}},
			"else": []any{
				map[string]any{"id": "incident", "action": "incident.open", "config": map[string]any{"title": "${{ trigger.payload.name }} is lost", "cause": cause}},
				tell("artifacts.incident.created", "${{ trigger.payload.name }} is lost"),
			},
		}},
	}}, nil)

	s := newSatellite(c, "eu-1", "eu")
	s.start()
	online := func() error {
		var satellite struct{ Status string }
		if err := c.try(http.MethodGet, "/api/v1/satellites/eu-1", nil, &satellite); err != nil {
			return err
		}
		if satellite.Status != "online" {
			return fmt.Errorf("it is %s", satellite.Status)
		}
		return nil
	}
	wait(t, "the satellite to be online", online, c.process, s.process)
	s.kill()
	wait(t, "the core to see that", func() error {
		if online() == nil {
			return fmt.Errorf("it is online")
		}
		return nil
	}, c.process)
	c.kill() // while the automation waits whether it comes back
	c.start()
	c.ready()

	both := func(want string) func() error {
		return func() error {
			var subjects []string
			for _, m := range mails.Mails() {
				for line := range strings.Lines(m.Data) {
					if subject, ok := strings.CutPrefix(line, "Subject: "); ok {
						subjects = append(subjects, strings.TrimSpace(subject))
					}
				}
			}
			if byMail, byHook := strings.Join(subjects, "; "), told.got(); byMail != want || byHook != want {
				return fmt.Errorf("mail says %q and the webhook %q, want %q", byMail, byHook, want)
			}
			return nil
		}
	}
	wait(t, "the loss to be told", both("eu-1 is lost"), c.process)
	s.start()
	wait(t, "the return to be told", both("eu-1 is lost; eu-1 is back"), c.process, s.process)

	var incidents struct {
		Items []struct{ ID, Title, Status string }
	}
	c.call(http.MethodGet, "/api/v1/incidents", nil, &incidents)
	if len(incidents.Items) != 1 || incidents.Items[0].Title != "eu-1 is lost" || incidents.Items[0].Status != "resolved" {
		t.Errorf("incidents are %+v, want the one, resolved", incidents.Items)
	}
	if shown := c.cli("", "incident", "get", incidents.Items[0].ID); !strings.Contains(shown, "resolved") || !strings.Contains(shown, "eu-1 is lost") {
		t.Errorf("the incident is shown as\n%s", shown)
	}
	if shown := c.cli("", "channel", "list"); !strings.Contains(shown, "mail  email    ok") {
		t.Errorf("channels are shown as\n%s", shown)
	}
}
