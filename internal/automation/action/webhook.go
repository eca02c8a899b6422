package action

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/notify"
	"github.com/perigee-monitoring/perigee/internal/secret"
)

type webhookConfig struct {
	URL     string            `json:"url" help:"Where it is sent, http or https."`
	Method  string            `json:"method,omitempty" enum:"POST,PUT,PATCH" help:"POST when left out."`
	Headers map[string]string `json:"headers,omitempty" help:"Headers; values may refer to secrets."`
	Auth    webhookAuth       `json:"auth,omitzero,omitempty" help:"How it shows who it is: type none, bearer (token), basic (username, password) or header (name, value); token, password and value refer to secrets."`
	Body    any               `json:"body,omitempty" help:"The body: a text as it is, anything else as JSON. The event when left out."`
	Secret  string            `json:"secret,omitempty" help:"A reference to the secret by which the body is signed, in X-Perigee-Signature."`
}

type webhookAuth struct {
	Type     string `json:"type"`
	Token    string `json:"token,omitempty"`
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	Name     string `json:"name,omitempty"`
	Value    string `json:"value,omitempty"`
}

// maxResponse bounds what is kept of an answer.
const maxResponse = 8 << 10

func webhookAction(s Services) automation.Action {
	return automation.NewAction("webhook.send", "Sends an HTTP request. It carries an Idempotency-Key, the same for each attempt.",
		func(ctx context.Context, r automation.Request, c webhookConfig) (any, error) {
			for _, held := range []string{c.Auth.Token, c.Auth.Password, c.Auth.Value, c.Secret} {
				if held != "" && !secret.Refers(held) {
					return nil, fault.New(fault.Invalid, "credentials of webhook.send must be references to secrets, ${{ secrets.NAME }}")
				}
			}
			return s.sendWebhook(ctx, r, c)
		})
}

func (s Services) sendWebhook(ctx context.Context, r automation.Request, c webhookConfig) (any, error) {
	body, isText := c.Body.(string)
	if !isText {
		content := c.Body
		if content == nil {
			content = r.Run.Event
		}
		text, err := json.Marshal(content)
		if err != nil {
			return nil, fmt.Errorf("writing the body: %w", err)
		}
		body = string(text)
	}
	own := body
	if c.Body == nil {
		own = "" // the event is sent as it came: what it says asks for no secrets
	}
	names := slices.Sorted(maps.Keys(c.Headers))
	texts := []string{c.URL, own, c.Auth.Token, c.Auth.Password, c.Auth.Value, c.Secret}
	for _, name := range names {
		texts = append(texts, c.Headers[name])
	}
	texts, redactor, err := s.Secrets.Fill(ctx, texts...)
	if err != nil {
		return nil, err
	}
	if c.Body == nil {
		texts = slices.Clone(texts)
		texts[1] = body
	}
	target, err := url.Parse(texts[0])
	if err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" {
		return nil, fault.New(fault.Invalid, "the url of webhook.send must be http or https")
	}
	request, err := http.NewRequestWithContext(ctx, cmp.Or(c.Method, http.MethodPost), texts[0], bytes.NewReader([]byte(texts[1])))
	if err != nil {
		return nil, fault.New(fault.Invalid, "the request of webhook.send cannot be made: %s", redactor.String(err.Error()))
	}
	if !isText {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("User-Agent", "perigee")
	for i, name := range names {
		request.Header.Set(name, texts[6+i])
	}
	request.Header.Set("Idempotency-Key", r.Key())
	switch c.Auth.Type {
	case "bearer":
		request.Header.Set("Authorization", "Bearer "+texts[2])
	case "basic":
		request.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(c.Auth.Username+":"+texts[3])))
	case "header":
		request.Header.Set(c.Auth.Name, texts[4])
	case "", "none":
	default:
		return nil, fault.New(fault.Invalid, "auth.type of webhook.send must be none, bearer, basic or header")
	}
	if texts[5] != "" {
		request.Header.Set(notify.SignatureHeader, notify.Sign(texts[5], []byte(texts[1])))
	}
	response, err := s.HTTP.Do(request)
	if err != nil {
		failure := errors.New(redactor.String(err.Error()))
		if dialing(err) { // nothing went out
			return nil, fault.Wrap(fault.Unavailable, failure, "%s could not be reached", target.Host)
		}
		return nil, errors.Join(automation.ErrInDoubt, failure)
	}
	defer func() { _ = response.Body.Close() }() // it was read as far as it matters
	answer, _ := io.ReadAll(io.LimitReader(response.Body, maxResponse))
	text := redactor.String(strings.ToValidUTF8(string(answer), "\uFFFD"))
	refusal := target.Host + " answered " + response.Status
	if why := strings.TrimSpace(text); why != "" {
		refusal += fmt.Sprintf(": %.300s", why)
	}
	switch {
	case response.StatusCode < 300:
		return map[string]any{"status": response.StatusCode, "body": text}, nil
	case response.StatusCode == http.StatusTooManyRequests || response.StatusCode >= 500:
		return nil, fault.New(fault.Unavailable, "%s", refusal)
	}
	return nil, fault.New(fault.Invalid, "%s", refusal)
}

// dialing reports whether it failed before a connection stood, so that nothing went out.
func dialing(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}
