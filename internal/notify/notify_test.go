package notify_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/notify"
	"github.com/perigee-monitoring/perigee/internal/secret"
	"github.com/perigee-monitoring/perigee/internal/store"
	"github.com/perigee-monitoring/perigee/internal/targets"
)

const password = "correct-horse-battery"

type world struct {
	*notify.Service
	db      *store.DB
	secrets *secret.Service
}

// newWorld has a secret named hook.
func newWorld(t *testing.T, url string) world {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	db, err := store.Open(t.Context(), url, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // the test is over
	bell := &bus.Local{}
	recorder := entity.NewRecorder(db, bell, append(notify.Derivers(), secret.Derivers()...)...)
	root := make([]byte, 32)
	if _, err := rand.Read(root); err != nil {
		t.Fatal(err)
	}
	secrets, err := secret.New(secret.Config{Store: db, Recorder: recorder, Bell: bell, Root: root, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.Set(t.Context(), entity.System, "hook", secret.Input{Value: password}); err != nil {
		t.Fatal(err)
	}
	return world{notify.New(db, recorder, secrets, log), db, secrets}
}

func (w world) make(t *testing.T, in notify.Input) {
	t.Helper()
	if _, err := w.Create(t.Context(), entity.System, in); err != nil {
		t.Fatal(err)
	}
}

func TestMailReachesAServerOnce(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		server, err := targets.ListenMail()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Close() }) // the test is over
		w := newWorld(t, url)
		w.make(t, notify.Input{Name: "ops", Type: notify.Email, Config: notify.Config{Server: server.Addr(), TLS: "none", From: "Perigee <perigee@example.com>", To: []string{"ops@example.com"}}})
		m := notify.Message{Key: "run-1/actions[0]", Title: "edge-1 is\nlost", Body: "Since noon.", Severity: "critical"}

		server.Refuse("451 later")
		if _, err := w.Send(t.Context(), "ops", m); !fault.Is(err, fault.Unavailable) {
			t.Fatalf("a refused message gave %v, want unavailable", err)
		}
		c, err := w.Get(t.Context(), "ops")
		if err != nil || c.FailingSince == nil || !strings.Contains(c.LastError, "451") {
			t.Errorf("the channel is %+v, %v, want it failing for 451", c, err)
		}
		server.Refuse("")
		for range 2 { // the second finds it delivered
			if _, err := w.Send(t.Context(), "ops", m); err != nil {
				t.Fatal(err)
			}
		}
		mails := server.Mails()
		if len(mails) != 1 || !strings.Contains(mails[0].Data, "Subject: edge-1 is lost\n") || !strings.Contains(mails[0].Data, "Since noon.") {
			t.Fatalf("the server has %+v, want the message once", mails)
		}
		if diff := cmp.Diff([]string{"ops@example.com"}, mails[0].To); diff != "" {
			t.Errorf("to (-want +got):\n%s", diff)
		}
		sent, err := w.Deliveries(t.Context(), "ops", 10)
		if err != nil {
			t.Fatal(err)
		}
		want := []notify.Delivery{{Key: m.Key, ChannelID: c.ID, State: notify.Delivered, Title: m.Title, Attempts: 2}}
		if diff := cmp.Diff(want, sent, cmpopts.IgnoreFields(notify.Delivery{}, "At")); diff != "" {
			t.Errorf("deliveries (-want +got):\n%s", diff)
		}
		var told []string
		events, err := w.db.Events(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Kind == notify.Kind {
				told = append(told, e.Type)
			}
		}
		if diff := cmp.Diff([]string{"channel.created", "channel.failing", "channel.recovered"}, told); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestWebhookIsSignedAndItsSecretStaysInside(t *testing.T) {
	t.Parallel()
	w := newWorld(t, dbtest.SQLite(t))
	answer := http.StatusOK
	var got notify.Message
	receiver := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get(notify.SignatureHeader) != notify.Sign(password, body) || r.Header.Get("Idempotency-Key") != "k" {
			t.Errorf("the request is %v, %v: want it signed, with the key", r.Header, err)
		}
		if err := json.Unmarshal(body, &got); err != nil {
			t.Error(err)
		}
		rw.WriteHeader(answer)
		_, _ = io.WriteString(rw, r.Header.Get("X-Token")) // an answer that tells what it was told
	}))
	t.Cleanup(receiver.Close)
	w.make(t, notify.Input{Name: "hook", Type: notify.Webhook, Config: notify.Config{
		URL: receiver.URL, Secret: "${{ secrets.hook }}", Headers: map[string]string{"X-Token": "${{ secrets.hook }}"},
	}})
	m := notify.Message{Key: "k", Title: "shop is down", Severity: "critical"}
	answer = http.StatusTeapot
	_, err := w.Send(t.Context(), "hook", m)
	c, _ := w.Get(t.Context(), "hook")
	if err == nil || strings.Contains(err.Error()+c.LastError, password) || !strings.Contains(c.LastError, "418") {
		t.Errorf("refused: %v, %q; want 418 without the secret", err, c.LastError)
	}
	answer = http.StatusOK
	if _, err := w.Send(t.Context(), "hook", m); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(notify.Message{Title: m.Title, Severity: m.Severity}, got); diff != "" {
		t.Errorf("the body (-want +got):\n%s", diff)
	}
}

func TestChannelsHoldReferencesOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, dbtest.SQLite(t))
	for name, in := range map[string]notify.Input{
		"password": {Name: "a", Type: notify.Email, Config: notify.Config{Server: "h:25", From: "a@b", To: []string{"a@b"}, Password: "hunter2"}},
		"url":      {Name: "a", Type: notify.Shoutrrr, Config: notify.Config{URL: "slack://token@channel"}},
		"user":     {Name: "a", Type: notify.Webhook, Config: notify.Config{URL: "http://me:hunter2@example.com"}},
		"foreign":  {Name: "a", Type: notify.Webhook, Config: notify.Config{URL: "http://example.com", Server: "h:25"}},
		"nobody":   {Name: "a", Type: notify.Email, Config: notify.Config{Server: "h:25", From: "a@b"}},
		"name":     {Name: "A b", Type: notify.Webhook, Config: notify.Config{URL: "http://example.com"}},
		"type":     {Name: "a", Type: "pigeon"},
	} {
		if _, err := w.Create(context.Background(), entity.System, in); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want it invalid", name, err)
		}
	}
}
