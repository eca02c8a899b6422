// Package client calls a core's REST API: what the CLI and tests speak through.
//
// Every call has a deadline. What the core refuses comes back as *Problem with
// the fields that are wrong; a core that cannot be reached as *Unreachable. A
// token is sent to the core and appears nowhere else.
package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Base is where the REST API begins.
const Base = "/api/v1"

// Options of a Client.
type Options struct {
	// URL of the core, with any path prefix of a proxy in front of it.
	URL   string
	Token string
	// CAFile names PEM certificates to trust besides the system's.
	CAFile string
	// Timeout of one call, the answer included; see patience for what it is by itself.
	Timeout   time.Duration
	UserAgent string
}

// Client calls one core.
type Client struct {
	base    string
	token   string
	agent   string
	timeout time.Duration
	http    *http.Client
}

// New makes a client; it calls nobody yet.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is not the URL of a core, such as http://127.0.0.1:8420", o.URL)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if o.CAFile != "" {
		roots, err := trust(o.CAFile)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &Client{
		base: strings.TrimSuffix(o.URL, "/"), token: o.Token, agent: cmp.Or(o.UserAgent, "perigee"),
		timeout: o.Timeout, http: &http.Client{Transport: transport, CheckRedirect: stay},
	}, nil
}

// patience is how long a call may take when nobody says: a little longer than the core
// takes, which is a minute for all definitions at once, and half of it for the rest.
func patience(path string) time.Duration {
	switch path {
	case "/apply", "/import", "/export":
		return 2 * time.Minute
	}
	return 30 * time.Second
}

// stay follows no redirect: a followed POST turns into a GET, whose answer would
// pass for the core's.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func trust(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading certificates: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return roots, nil
}

// URL of the core.
func (c *Client) URL() string { return c.base }

// Problem is the core's refusal (RFC 9457).
type Problem struct {
	Status int            `json:"status"`
	Title  string         `json:"title"`
	Detail string         `json:"detail"`
	Errors []ProblemField `json:"errors"`
	// RequestID finds the request in the core's log.
	RequestID string `json:"-"`
}

// ProblemField is one wrong place in what was sent ("body.spec.interval").
type ProblemField struct {
	Location string `json:"location"`
	Message  string `json:"message"`
	Value    any    `json:"value,omitempty"`
}

func (p *Problem) Error() string {
	text := cmp.Or(p.Detail, p.Title, http.StatusText(p.Status), fmt.Sprintf("the core answered %d", p.Status))
	for _, f := range p.Errors {
		text += "\n  " + f.Location + ": " + f.Message
	}
	return text
}

// Unreachable is a core that gives no answer.
type Unreachable struct {
	URL string
	Err error
	// Unsure: it was asked to change something, and may have.
	Unsure bool
}

func (u *Unreachable) Error() string {
	err := u.Err
	if request, ok := errors.AsType[*url.Error](err); ok { // it repeats the URL
		err = request.Err
	}
	return fmt.Sprintf("no core answers at %s: %v", u.URL, err)
}

func (u *Unreachable) Unwrap() error { return u.Err }

// Get reads path ("/satellites") into out.
func (c *Client) Get(ctx context.Context, path string, query url.Values, out any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.call(ctx, http.MethodGet, path, nil, out)
}

// Post sends in, and reads the answer into out if that is not nil.
func (c *Client) Post(ctx context.Context, path string, in, out any) error {
	return c.call(ctx, http.MethodPost, path, in, out)
}

// Put replaces what is at path.
func (c *Client) Put(ctx context.Context, path string, in, out any) error {
	return c.call(ctx, http.MethodPut, path, in, out)
}

// Patch changes what is at path.
func (c *Client) Patch(ctx context.Context, path string, in, out any) error {
	return c.call(ctx, http.MethodPatch, path, in, out)
}

// Delete removes what is at path.
func (c *Client) Delete(ctx context.Context, path string, out any) error {
	return c.call(ctx, http.MethodDelete, path, nil, out)
}

// pageSize is the most items that the core gives at once.
const pageSize = "1000"

// All reads every page of a list. limit above zero ends it early. seen, if not
// nil, is told how many items there are so far, for showing progress.
func All[T any](ctx context.Context, c *Client, path string, query url.Values, limit int, seen func(int)) ([]T, error) {
	items := []T{}
	q := url.Values{}
	for k, v := range query {
		q[k] = v
	}
	q.Set("limit", pageSize)
	if limit > 0 && limit < 1000 {
		q.Set("limit", fmt.Sprint(limit))
	}
	for {
		var page struct {
			Items      []T     `json:"items"`
			NextCursor *string `json:"nextCursor"`
		}
		if err := c.Get(ctx, path, q, &page); err != nil {
			return nil, err
		}
		items = append(items, page.Items...)
		if seen != nil {
			seen(len(items))
		}
		if limit > 0 && len(items) >= limit {
			return items[:limit], nil
		}
		if page.NextCursor == nil || *page.NextCursor == "" {
			return items, nil
		}
		if *page.NextCursor == q.Get("cursor") {
			return nil, errors.New("the core gives the same page of a list again and again")
		}
		q.Set("cursor", *page.NextCursor)
	}
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.timeout, patience(path)))
	defer cancel()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encoding the request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	resp, err := c.send(ctx, method, path, body, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("reading the core's answer: %w", err)
	}
	return nil
}

// send makes the request; an answer that is no success is an error.
func (c *Client) send(ctx context.Context, method, path string, body io.Reader, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+Base+path, body)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", c.agent)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, context.Canceled) {
			return nil, cause
		}
		dialing, ok := errors.AsType[*net.OpError](err)
		return nil, &Unreachable{URL: c.base, Err: err, Unsure: method != http.MethodGet && !(ok && dialing.Op == "dial")}
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	if to, err := resp.Location(); err == nil && resp.StatusCode < 400 {
		return nil, &Unreachable{URL: c.base, Err: fmt.Errorf("it redirects to %s", elsewhere(to))}
	}
	return nil, problem(resp)
}

// elsewhere is where a core may be instead: to without the part that was asked for.
func elsewhere(to *url.URL) string {
	prefix, _, _ := strings.Cut(to.Path, Base+"/")
	return (&url.URL{Scheme: to.Scheme, Host: to.Host, Path: prefix}).String()
}

func problem(resp *http.Response) *Problem {
	p := &Problem{}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // what can be read of it is shown
	if json.Unmarshal(text, p) != nil {
		p.Detail = strings.TrimSpace(string(text[:min(len(text), 300)]))
	}
	p.Status, p.RequestID = resp.StatusCode, resp.Header.Get("X-Request-Id")
	return p
}
