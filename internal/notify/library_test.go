package notify_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/notify"
	"github.com/perigee-monitoring/perigee/internal/secret"
)

// internet is a server that all of it leads to.
type internet struct {
	mu    sync.Mutex
	calls []string // guarded by mu
	shut  bool     // guarded by mu: it answers 503, repeating what it was asked
}

func (n *internet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls = append(n.calls, fmt.Sprintf("%s %s%s %s %s", r.Method, r.Host, r.URL.RequestURI(), r.Header.Get("Authorization"), body))
	switch {
	case n.shut && strings.Contains(r.Host, "discord"): // the library tries again by itself what may help
		http.Error(w, "not you: "+r.URL.RequestURI(), http.StatusForbidden)
		return
	case n.shut:
		http.Error(w, "not now: "+r.URL.RequestURI(), http.StatusServiceUnavailable)
		return
	}
	switch {
	case strings.Contains(r.Host, "discord"):
		w.WriteHeader(http.StatusNoContent)
	case strings.Contains(r.Host, "slack"), strings.Contains(r.Host, "mattermost"):
		fmt.Fprint(w, "ok")
	case strings.Contains(r.Host, "telegram"):
		fmt.Fprint(w, `{"ok":true,"result":{"message_id":7,"chat":{"id":1},"text":"x"}}`)
	case strings.Contains(r.Host, "logic.azure"):
		w.WriteHeader(http.StatusAccepted)
	case strings.Contains(r.URL.Path, "joined_rooms"):
		fmt.Fprint(w, `{"joined_rooms":["!ops:matrix.test"]}`)
	default:
		fmt.Fprint(w, `{"id":1,"status":1,"result":"success","success":true,"event_id":"e","code":200}`)
	}
}

// client is one for which every host is that server.
func (n *internet) client(t *testing.T) *http.Client {
	t.Helper()
	server := httptest.NewTLSServer(n)
	plain := httptest.NewServer(n)
	t.Cleanup(server.Close)
	t.Cleanup(plain.Close)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // it stands for hosts whose keys nobody has
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			to := server.Listener.Addr().String()
			if _, port, _ := net.SplitHostPort(address); port == "80" || port == "8080" {
				to = plain.Listener.Addr().String()
			}
			return (&net.Dialer{}).DialContext(ctx, network, to)
		},
	}}
}

// services are URLs of the library, what a call of theirs begins with, and the parts
// that are secret.
var services = map[string]struct {
	url, call string
	secrets   []string
}{
	"slack":      {"slack://hook:TAAAAAAAA-BBBBBBBBB-123456789123456789123456@webhook", "POST hooks.slack.com/services/TAAAAAAAA/BBBBBBBBB/123456789123456789123456", []string{"123456789123456789123456"}},
	"discord":    {"discord://dIsCoRdToKeN-0123456789@123456789012", "POST discord.com/api/webhooks/123456789012/dIsCoRdToKeN-0123456789", []string{"dIsCoRdToKeN-0123456789"}},
	"telegram":   {"telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1@telegram?chats=123456", "POST api.telegram.org/bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1/sendMessage", []string{"AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"}},
	"teams":      {"teams://?host=https%3A%2F%2Fprod-00.westus.logic.azure.com%3A443%2Fworkflows%2Fabcdef0123%2Ftriggers%2Fmanual%2Fpaths%2Finvoke%3Fapi-version%3D2016-06-00%26sp%3D%252Ftriggers%252Fmanual%252Frun%26sv%3D1.0%26sig%3DsIgNaTuRe0123456789", "POST prod-00.westus.logic.azure.com", []string{"sIgNaTuRe0123456789"}},
	"gotify":     {"gotify://gotify.test/AaaBbbCccDddEee", "POST gotify.test/message", []string{"AaaBbbCccDddEee"}},
	"ntfy":       {"ntfy://ops:nTfYpAsSwOrD@ntfy.test/alarms", "POST ntfy.test/", []string{"nTfYpAsSwOrD"}},
	"mattermost": {"mattermost://perigee@mattermost.test/mAtTeRmOsTtOkEn", "POST mattermost.test/hooks/mAtTeRmOsTtOkEn", []string{"mAtTeRmOsTtOkEn"}},
	"rocketchat": {"rocketchat://perigee@rocket.test/rOcKeTtOkEnA/rOcKeTtOkEnB", "POST rocket.test/hooks/rOcKeTtOkEnA/rOcKeTtOkEnB", []string{"rOcKeTtOkEnA", "rOcKeTtOkEnB"}},
	"matrix":     {"matrix://:mAtRiXtOkEn0123@matrix.test", "PUT matrix.test/_matrix/client/v3/rooms/", []string{"mAtRiXtOkEn0123"}},
	"generic":    {"generic://hooks.test/alarm/gEnErIcToKeN?template=json", "POST hooks.test/alarm/gEnErIcToKeN", []string{"gEnErIcToKeN"}},
	"pushover":   {"pushover://shoutrrr:pUsHoVeRtOkEn0123456789abcdefg@uSeRkEy0123456789abcdefghijkl", "POST api.pushover.net/1/messages.json", []string{"pUsHoVeRtOkEn0123456789abcdefg"}},
	"googlechat": {"googlechat://chat.googleapis.com/v1/spaces/FOO/messages?key=gOoGlEkEy&token=gOoGlEtOkEn", "POST chat.googleapis.com/v1/spaces/FOO/messages", []string{"gOoGlEkEy", "gOoGlEtOkEn"}},
	"pagerduty":  {"pagerduty://events.pagerduty.test/0123456789abcdef0123456789abcdef", "POST events.pagerduty.test", []string{"0123456789abcdef0123456789abcdef"}},
	"opsgenie":   {"opsgenie://api.opsgenie.test/oPsGeNiEkEy0123", "POST api.opsgenie.test", []string{"oPsGeNiEkEy0123"}},
	"zulip":      {"zulip://bot%40zulip.test:zUlIpKeY01234567890123456789@zulip.test?stream=ops&topic=alarms", "POST zulip.test/api/v1/messages", []string{"zUlIpKeY01234567890123456789"}},
	"bark":       {"bark://:bArKdEvIcEkEy@bark.test/", "POST bark.test/", []string{"bArKdEvIcEkEy"}},
}

// Services of the library get the message; one that does not take it makes the channel
// fail, with the reason and without its credentials, and take it when it is tried again.
func TestServicesOfTheLibrary(t *testing.T) {
	t.Parallel()
	w := newWorld(t, dbtest.SQLite(t))
	web := &internet{}
	w.SendBy(web.client(t))
	for name, s := range services {
		t.Run(name, func(t *testing.T) {
			if _, err := w.secrets.Set(t.Context(), entity.System, name, secret.Input{Value: s.url}); err != nil {
				t.Fatal(err)
			}
			w.make(t, notify.Input{Name: name, Type: notify.Shoutrrr, Config: notify.Config{URL: "${{ secrets." + name + " }}"}})
			turn := func(shut bool) {
				web.mu.Lock()
				defer web.mu.Unlock()
				web.shut, web.calls = shut, nil
			}
			turn(true)
			m := notify.Message{Key: "run/" + name, Title: "The shop is shut", Body: "Since noon.", Severity: "critical"}
			_, err := w.Send(t.Context(), name, m)
			c, _ := w.Get(t.Context(), name)
			if !fault.Is(err, fault.Unavailable) || c.FailingSince == nil || c.LastError == "" {
				t.Fatalf("a service that is away gave %v, and the channel is %+v", err, c)
			}
			for _, s := range s.secrets {
				if strings.Contains(err.Error()+c.LastError, s) {
					t.Errorf("the error tells the secret: %v; %s", err, c.LastError)
				}
			}
			turn(false)
			if _, err := w.Send(t.Context(), name, m); err != nil {
				t.Fatal(err)
			}
			web.mu.Lock()
			defer web.mu.Unlock()
			for _, call := range web.calls {
				if strings.HasPrefix(call, s.call) && strings.Contains(strings.ReplaceAll(call, "+", " "), "Since noon.") {
					return
				}
			}
			t.Errorf("%q came, want one that begins with %s", web.calls, s.call)
		})
	}
}

// A URL that the library cannot use is refused when the channel is saved, in words that
// do not tell it.
func TestURLsOfServicesAreJudgedWhenTheyAreSaved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, dbtest.SQLite(t))
	for name, value := range map[string]string{
		"no-url":          "hunter2hunter2",
		"no-service":      "pigeon://hunter2hunter2@loft",
		"slack-token":     "slack://hunter2hunter2@channel",
		"telegram-token":  "telegram://hunter2hunter2@telegram?chats=1",
		"discord-without": "discord://hunter2hunter2",
		"to-nobody":       "logger://hunter2hunter2",
		"zulip-stream":    "zulip://hunter2hunter2@zulip.test",
	} {
		if _, err := w.secrets.Set(t.Context(), entity.System, name, secret.Input{Value: value}); err != nil {
			t.Fatal(err)
		}
		_, err := w.Create(t.Context(), entity.System, notify.Input{Name: name, Type: notify.Shoutrrr, Config: notify.Config{URL: "${{ secrets." + name + " }}"}})
		if problem := fmt.Sprintf("%+v", err); !fault.Is(err, fault.Invalid) || strings.Contains(problem, "hunter2hunter2") {
			t.Errorf("%s: %s; want it invalid, without the secret", name, problem)
		}
	}
	if _, err := w.Create(t.Context(), entity.System, notify.Input{Name: "a", Type: notify.Shoutrrr, Config: notify.Config{URL: "${{ secrets.nothing }}"}}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a secret that there is not: %v, want it invalid", err)
	}
}
