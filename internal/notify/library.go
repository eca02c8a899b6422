package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/nicholas-fedor/shoutrrr"
	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/redact"
)

// sendByLibrary sends by a service that the notification library knows. Its own
// deadline bounds it: not every service of the library heeds a context.
func (s *Service) sendByLibrary(target string, m Message) error {
	client := *s.http
	seen := &witness{transport: cmp.Or(client.Transport, http.DefaultTransport)}
	client.Transport = seen
	sender, err := shoutrrr.CreateSenderWithOptions(types.SenderOptions{HTTPClient: &client, Timeout: sendTimeout}, target)
	if err != nil {
		return err
	}
	params := types.Params{}
	params.SetTitle(subject(m))
	err = errors.Join(sender.Send(clipped(plain(m)), &params)...)
	if err != nil && strings.Contains(err.Error(), noTitle) { // it is said before anything is sent
		err = errors.Join(sender.Send(clipped(subject(m)+"\n\n"+plain(m)), &types.Params{})...)
	}
	return cmp.Or(err, seen.failure())
}

// noTitle is what the library says of services whose messages have none.
const noTitle = "not a valid config key: title"

func clipped(text string) string {
	if len(text) <= maxLibraryText {
		return text
	}
	return strings.ToValidUTF8(text[:maxLibraryText], "") + "…"
}

// maxLibraryText bounds a message, in bytes: Telegram's bound, beyond which some services
// refuse it.
const maxLibraryText = 4000

// witness knows whether the last request of a sender was answered well. Not every
// service of the library says so when it was not.
type witness struct {
	transport http.RoundTripper

	mu   sync.Mutex
	last error // guarded by mu
}

// RoundTrip implements http.RoundTripper.
func (w *witness) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := w.transport.RoundTrip(r)
	failure := err
	if err == nil && response.StatusCode >= 300 {
		failure = fmt.Errorf("%s answered %s", r.URL.Host, response.Status)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = failure
	return response, err
}

func (w *witness) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// refusedServices are those of the library that reach nobody.
var refusedServices = []string{"logger"}

// talkative are services that the library connects to when it reads their URL: of
// theirs only the form is looked at before something is sent.
var talkative = []string{"matrix", "mqtt", "mqtts"}

// checkTarget judges the URL of a service of the library when the channel is saved,
// without sending anything. Fault: Invalid.
func (s *Service) checkTarget(ctx context.Context, in *Input) error {
	if in.Type != Shoutrrr {
		return nil
	}
	wrong := func(format string, args ...any) error {
		return &fault.Error{Kind: fault.Invalid, Message: "the channel is not valid", Fields: []fault.Field{{Path: "config.url", Message: fmt.Sprintf(format, args...)}}}
	}
	texts, _, err := s.secrets.Fill(ctx, in.Config.URL)
	switch {
	case fault.Is(err, fault.NotFound):
		return wrong("%s; make it with: perigee secret set NAME", fault.Message(err))
	case err != nil: // a vault that is away may be back when something is sent
		return nil //nolint:nilerr // it is seen then
	}
	target := strings.TrimSpace(texts[0])
	scheme, _, found := strings.Cut(target, "://")
	service, _, _ := strings.Cut(scheme, "+")
	if !found || slices.Contains(refusedServices, service) {
		return wrong("must be the URL of a service of the notification library, such as slack://hook:TOKEN@webhook")
	}
	quiet := log.New(io.Discard, "", 0)
	if slices.Contains(talkative, service) {
		_, err = url.Parse(target)
	} else if _, err = (&router.ServiceRouter{}).NewService(service); err == nil {
		_, err = shoutrrr.NewSenderWithOptions(quiet, types.SenderOptions{}, target)
	}
	if err != nil {
		return wrong("is no URL of that service: %s", redact.New(append(pieces(target), target)...).String(err.Error()))
	}
	return nil
}

// shortestPiece is the length from which a piece of a URL may be a credential.
const shortestPiece = 6

// pieces are the parts of a service's URL that may be credentials: the library puts them
// together anew, so that the URL as a whole is not what an error shows.
func pieces(target string) []string {
	u, err := url.Parse(target)
	if err != nil {
		return nil
	}
	parts := []string{u.User.Username(), u.Path, u.Opaque}
	if password, ok := u.User.Password(); ok {
		parts = append(parts, password)
	}
	if !strings.Contains(u.Host, ".") && !strings.Contains(u.Host, ":") {
		parts = append(parts, u.Host) // of many services it is no host
	}
	for _, values := range u.Query() {
		parts = append(parts, values...)
	}
	var all []string
	for _, p := range parts {
		words := strings.FieldsFunc(p, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '.' })
		for _, word := range append(words, strings.Trim(p, "/")) {
			if len(word) >= shortestPiece && word != u.Scheme && word != "webhook" {
				all = append(all, word)
			}
		}
	}
	return all
}
