package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

const (
	// maxRedirects is how many redirects a request follows.
	maxRedirects = 10
	// maxCounted is how much of a body is read to learn its length.
	maxCounted = 16 << 20
	// maxHeader bounds the header of an answer.
	maxHeader = 256 << 10
	// maxStatusText bounds the words of a status line.
	maxStatusText = 256
)

// httpSession makes the requests of one run. Its connections are new: a run that
// reused one would not notice that new ones fail. Requests and redirects within
// the run share those with TLS.
type httpSession struct {
	run       run
	limit     time.Duration
	config    check.HTTPConfig
	userAgent string
	outlet    *outlet
	proxied   bool
	named     bool // somebody has named networks that are closed
	client    *http.Client
	transport transports

	mu    sync.Mutex
	first *phases // of the request that was finished first
}

func init() { offers[check.HTTP] = offer{connect: (*Prober).connectHTTP} }

func (p *Prober) connectHTTP(_ context.Context, r run, raw json.RawMessage) (session, error) {
	config, err := configure(r, raw, check.Decode[check.HTTPConfig])
	if err != nil {
		return nil, err
	}
	guard, err := newGuard(config.EgressDenyCIDRs)
	if err != nil {
		return nil, err
	}
	proxy, err := proxyOf(config)
	if err != nil {
		return nil, err
	}
	s := &httpSession{
		run: r, limit: timeout(config.Timeout), config: config, outlet: p.dialer(guard),
		proxied: proxy != nil, named: len(guard) > 0 || p.options.Egress != nil,
		userAgent: strings.TrimSuffix("Perigee/"+p.options.Version, "/"),
	}
	if proxy == nil {
		s.transport.direct = &direct{s.outlet.DialContext}
	}
	s.transport.fresh = func() *shortLived {
		t := &http.Transport{
			DialContext:            s.outlet.DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: p.options.Roots},
			MaxResponseHeaderBytes: maxHeader,
		}
		if proxy != nil {
			t.Proxy = http.ProxyURL(proxy)
		}
		return newShortLived(t)
	}
	s.client = &http.Client{Transport: &s.transport, CheckRedirect: s.redirect}
	return s, nil
}

func proxyOf(c check.HTTPConfig) (*url.URL, error) {
	if c.ProxyURL == "" {
		return nil, nil
	}
	proxy, err := url.Parse(c.ProxyURL)
	if err != nil || proxy.Hostname() == "" {
		return nil, errors.New("the config cannot be used: proxyUrl is not a URL")
	}
	if c.ProxyUsername != "" {
		proxy.User = url.UserPassword(c.ProxyUsername, c.ProxyPassword)
	}
	return proxy, nil
}

func (s *httpSession) redirect(next *http.Request, via []*http.Request) error {
	// What is left of the answer is read now, as far as it is short.
	phasesOf(next.Context()).at("reading an answer that redirects")
	if len(via) > maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	return s.admit(next)
}

// admit refuses a proxied request to where no connection may be made. Direct ones are
// refused when they connect; what a proxy connects to is out of sight, so where somebody has
// named networks the name is resolved here, and one that does not resolve here is the
// proxy's business.
func (s *httpSession) admit(r *http.Request) error {
	if !s.proxied {
		return nil
	}
	host, port := r.URL.Hostname(), r.URL.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[r.URL.Scheme]
	}
	at, _ := strconv.ParseUint(port, 10, 16)
	addrs := []netip.Addr{}
	if addr, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, addr)
	} else if s.named {
		if found, err := s.outlet.resolver.LookupNetIP(r.Context(), "ip", host); err == nil {
			addrs = found
		}
	}
	for _, addr := range addrs {
		if s.outlet.guard.denies(addr) {
			return denied{addr.String()}
		}
		if err := s.outlet.admit(host, netip.AddrPortFrom(addr, uint16(at))); err != nil {
			return err
		}
	}
	return nil
}

func (s *httpSession) collect(ctx context.Context, _ string, raw json.RawMessage) (any, error) {
	config, err := configure(s.run, raw, check.Decode[check.HTTPRequestConfig])
	if err != nil {
		return nil, err
	}
	ctx, cancel := within(ctx, min(s.limit, timeout(config.Timeout)))
	defer cancel()
	clock := &phases{}
	request, traceID, err := s.request(clock.in(ctx), config)
	if err != nil {
		return nil, err
	}
	result, err := s.exchange(request, clock)
	if err != nil {
		return nil, explain(ctx, err, clock.doing())
	}
	result.TraceID = traceID
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil {
		s.first = clock
	}
	return result, nil
}

// request builds the request; a header of the config wins over what we would send.
func (s *httpSession) request(ctx context.Context, c check.HTTPRequestConfig) (r *http.Request, traceID string, err error) {
	var body io.Reader
	if c.Body != "" {
		body = strings.NewReader(c.Body)
	}
	r, err = http.NewRequestWithContext(ctx, c.Method, c.URL, body) // the method is one of a few
	if err != nil || r.URL.Hostname() == "" || r.URL.Scheme != "http" && r.URL.Scheme != "https" {
		return nil, "", fmt.Errorf("%q is not a URL that can be requested", cut(withoutPassword(c.URL), 200))
	}
	r.Header.Set("User-Agent", s.userAgent)
	switch s.config.AuthType {
	case "basic":
		r.SetBasicAuth(s.config.AuthUsername, s.config.AuthPassword)
	case "token":
		r.Header.Set("Authorization", "Bearer "+s.config.AuthToken)
	}
	if c.EmitTraceparent {
		var id [24]byte
		rand.Read(id[:])
		traceID = hex.EncodeToString(id[:16])
		r.Header.Set("Traceparent", "00-"+traceID+"-"+hex.EncodeToString(id[16:])+"-01")
	}
	for _, h := range c.Headers {
		if strings.EqualFold(h.Name, "host") {
			r.Host = h.Value
			continue
		}
		if strings.EqualFold(h.Name, "traceparent") {
			traceID = ""
		}
		r.Header.Set(h.Name, h.Value)
	}
	return r, traceID, s.admit(r)
}

// withoutPassword takes the password out of what is nearly a URL.
func withoutPassword(text string) string {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return text
	}
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		rest = "…" + rest[at:]
	}
	return scheme + "://" + rest
}

// exchange sends the request and reads the answer to its end, or as far as is counted.
func (s *httpSession) exchange(r *http.Request, clock *phases) (*check.HTTPRequestResult, error) {
	start := time.Now()
	response, err := s.do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	clock.begin(&clock.receive, reading)
	body := bodies.Get().(*bytes.Buffer)
	defer keepBody(body)
	body.Grow(int(min(max(response.ContentLength, 0), int64(s.run.bodyCap))) + bytes.MinRead)
	if _, err := body.ReadFrom(io.LimitReader(response.Body, int64(s.run.bodyCap))); err != nil {
		return nil, err
	}
	kept := body.Bytes()
	var more int64
	if len(kept) == s.run.bodyCap { // else it has ended
		if more, err = io.Copy(io.Discard, io.LimitReader(response.Body, maxCounted-int64(len(kept)))); err != nil {
			return nil, err
		}
	}
	clock.end(&clock.receive)
	_, words, _ := strings.Cut(response.Status, " ")
	return &check.HTTPRequestResult{
		StatusCode:     response.StatusCode,
		StatusText:     cut(words, maxStatusText),
		ResponseTimeMs: precise(time.Since(start)),
		Body:           strings.ToValidUTF8(string(kept), "�"),
		BodyLength:     int64(len(kept)) + more,
		Success:        response.StatusCode >= 200 && response.StatusCode < 400,
	}, nil
}

// do sends a request and follows where it is sent to. The client of net/http gets ready to
// follow before it knows whether it has to; most answers send nobody on, and are asked for
// without it.
func (s *httpSession) do(r *http.Request) (*http.Response, error) {
	if s.transport.direct == nil || r.URL.User != nil || !s.transport.direct.carries(r) {
		return s.client.Do(r)
	}
	response, err := s.transport.direct.RoundTrip(r)
	if err != nil || response.StatusCode/100 != 3 {
		return response, err
	}
	client := *s.client
	client.Transport = &inHand{response: response, next: &s.transport}
	return client.Do(r)
}

// inHand has the answer to the first request, and sends those that come of it.
type inHand struct {
	response *http.Response // nil when it was given
	next     http.RoundTripper
}

func (h *inHand) RoundTrip(r *http.Request) (*http.Response, error) {
	if response := h.response; response != nil {
		h.response = nil
		return response, nil
	}
	return h.next.RoundTrip(r)
}

// bodies are buffers that bodies are read into.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// keepBody keeps a buffer for other bodies, unless it is larger than most need.
func keepBody(body *bytes.Buffer) {
	if body.Cap() <= maxText {
		body.Reset()
		bodies.Put(body)
	}
}

func (s *httpSession) verdict() (check.Status, string) { return check.Healthy, "" }

// timings are those of one request: the phases of several do not add up to anything.
func (s *httpSession) timings() *check.Timings {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil {
		return nil
	}
	return s.first.result()
}

func (s *httpSession) close() { s.transport.close() }

// transports carry the requests of one run: those without TLS apart, because to make a
// transport ready for HTTP/2 takes longer than a request on the same machine does.
type transports struct {
	direct *direct // nil where there is a proxy
	fresh  func() *shortLived

	mu            sync.Mutex
	plain, secure *shortLived // each when it is first needed
}

func (t *transports) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.direct != nil && t.direct.carries(r) {
		return t.direct.RoundTrip(r)
	}
	return t.of(r.URL.Scheme == "https").RoundTrip(r.WithContext(phasesOf(r.Context()).trace(r.Context())))
}

func (t *transports) of(tls bool) *shortLived {
	t.mu.Lock()
	defer t.mu.Unlock()
	which := &t.plain
	if tls {
		which = &t.secure
	}
	if *which == nil {
		*which = t.fresh()
		(*which).ForceAttemptHTTP2 = tls
	}
	return *which
}

func (t *transports) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, made := range []*shortLived{t.plain, t.secure} {
		if made != nil {
			made.close()
		}
	}
}
