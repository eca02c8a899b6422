package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"
)

// maxDocument bounds a document that is read whole to understand it.
const maxDocument = 8 << 20

// web asks servers whose API is spoken over HTTP. Its connections are new in each run.
type web struct {
	plain
	limit     time.Duration
	client    *http.Client
	transport *shortLived
	// sign adds what the server wants to see of us.
	sign func(*http.Request)
}

func (p *Prober) web(limit time.Duration, sign func(*http.Request)) web {
	transport := newShortLived(&http.Transport{
		DialContext:            p.dialer(nil).DialContext,
		TLSClientConfig:        p.trust("", true),
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: maxHeader,
	})
	userAgent := strings.TrimSuffix("Perigee/"+p.options.Version, "/")
	return web{
		plain: plain{&phases{}}, limit: limit, transport: transport, client: &http.Client{Transport: transport},
		sign: func(r *http.Request) {
			r.Header.Set("User-Agent", userAgent)
			if sign != nil {
				sign(r)
			}
		},
	}
}

// statusError is an answer that is none of those that were wanted.
type statusError struct {
	code int
	text string
}

func (e statusError) Error() string {
	words := fmt.Sprintf("the server answered %d %s", e.code, http.StatusText(e.code))
	if e.text != "" {
		words += ": " + e.text
	}
	return words
}

// get asks for a document and decodes it into the value, which may be nil. It gives the
// header of the answer.
func (w *web) get(ctx context.Context, address string, into any) (http.Header, error) {
	request, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("the request cannot be made: %w", describe(err))
	}
	return w.send(ctx, request, into)
}

// post is get, with a form.
func (w *web) post(ctx context.Context, address string, form url.Values, into any) (http.Header, error) {
	request, err := http.NewRequest(http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("the request cannot be made: %w", describe(err))
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return w.send(ctx, request, into)
}

func (w *web) send(ctx context.Context, request *http.Request, into any) (http.Header, error) {
	ctx, cancel := within(ctx, w.limit)
	defer cancel()
	w.sign(request)
	clock := w.phases
	if httptrace.ContextClientTrace(ctx) == nil {
		ctx = clock.trace(ctx)
	}
	response, err := w.client.Do(request.WithContext(ctx))
	if err != nil {
		return nil, explain(ctx, err, clock.doing())
	}
	defer response.Body.Close()
	clock.begin(&clock.receive, reading)
	text, err := io.ReadAll(io.LimitReader(response.Body, maxDocument+1))
	if err != nil {
		return nil, explain(ctx, err, clock.doing())
	}
	clock.end(&clock.receive)
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return response.Header, statusError{response.StatusCode, remark(text)}
	}
	if len(text) > maxDocument {
		return nil, fmt.Errorf("the answer is larger than %d MiB", maxDocument>>20)
	}
	if into == nil {
		return response.Header, nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return nil, fmt.Errorf("the answer is not the JSON that was expected: %q", cut(string(text), 100))
	}
	return response.Header, nil
}

// remark is what a JSON answer says of an error, "" when it says nothing.
func remark(text []byte) string {
	var said struct {
		Message string `json:"message"`
		Error   string `json:"error"`
	}
	if json.Unmarshal(text, &said) != nil {
		return ""
	}
	if said.Message == "" {
		said.Message = said.Error
	}
	return cut(said.Message, 300)
}

// answered is the code of an answer that was not wanted, 0 for other errors.
func answered(err error) int {
	status, _ := errors.AsType[statusError](err)
	return status.code
}

func (w *web) close() { w.transport.close() }

// below joins a path to the URL of a server, which may have a path of its own.
func below(base, path string) string { return strings.TrimRight(base, "/") + path }
