package packages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
)

// DefaultRegistry is npm's public one.
const DefaultRegistry = "https://registry.npmjs.org"

// Bounds of what a registry is asked and believed.
const (
	maxDocument     = 64 << 20
	maxTarball      = 64 << 20
	maxRedirects    = 5
	documentTimeout = time.Minute
	tarballTimeout  = 5 * time.Minute
	headerTimeout   = 30 * time.Second
	registryTries   = 3
	registryPause   = time.Second
)

// registry is an npm registry as it is asked.
type registry struct {
	base   *url.URL
	token  string
	client *http.Client
}

// newRegistry takes the address of a registry, "" for DefaultRegistry, and the
// token to show it, "" for none.
func newRegistry(address, token string) (*registry, error) {
	if address == "" {
		address = DefaultRegistry
	}
	base, err := url.Parse(strings.TrimRight(address, "/"))
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.RawQuery != "" || base.Fragment != "" {
		return nil, errors.New("the registry's address is not of the form https://host/path")
	}
	if base.User != nil {
		return nil, errors.New("the registry's address holds a password; give a token instead")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = headerTimeout
	return &registry{base: base, token: token, client: &http.Client{Transport: transport, CheckRedirect: follow}}, nil
}

// follow follows a registry's redirects, which are the only way to another host. The
// token stays with the host that it is for.
func follow(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) > maxRedirects:
		return errors.New("too many redirects")
	case first.Scheme == "https" && req.URL.Scheme != "https":
		return errors.New("redirected from https to " + req.URL.Scheme)
	case req.URL.Host != first.Host:
		req.Header.Del("Authorization")
	}
	return nil
}

// document is what the registry says of a package, versions not yet read: those of
// long ago may hold anything.
type document struct {
	name     string
	tags     map[string]string
	versions map[string]json.RawMessage
	order    []ordered // filled in on first use
}

func (r *registry) document(ctx context.Context, name string) (*document, error) {
	var body struct {
		Tags     map[string]string          `json:"dist-tags"`
		Versions map[string]json.RawMessage `json:"versions"`
	}
	// A scope's slash is escaped: the name is one part of the path.
	place := r.base.JoinPath(strings.Replace(name, "/", "%2f", 1))
	err := r.get(ctx, place, "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8", documentTimeout, maxDocument, func(text []byte) error {
		return json.Unmarshal(text, &body)
	})
	if fault.Is(err, fault.NotFound) {
		return nil, fault.New(fault.NotFound, "the registry %s has no package %s", r.base.Host, name)
	}
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", name, err)
	}
	return &document{name: name, tags: body.Tags, versions: body.Versions}, nil
}

// tarball is the bytes of a version, which are those of the integrity.
func (r *registry) tarball(ctx context.Context, name, version, announced, integrity string) ([]byte, error) {
	want, err := scriptpkg.ParseIntegrity(integrity)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "%s@%s has no sha512 at the registry %s", name, version, r.base.Host)
	}
	var data []byte
	err = r.get(ctx, r.tarballURL(name, version, announced), "application/octet-stream, */*", tarballTimeout, maxTarball, func(body []byte) error {
		data = body
		return want.Verify(body)
	})
	switch {
	case errors.Is(err, scriptpkg.ErrMismatch):
		return nil, fault.Wrap(fault.Invalid, err, "the tarball of %s@%s is not what the registry %s announced; nothing was taken in", name, version, r.base.Host)
	case fault.Is(err, fault.NotFound):
		return nil, fault.New(fault.NotFound, "the registry %s has no tarball of %s@%s", r.base.Host, name, version)
	case err != nil:
		return nil, fmt.Errorf("downloading %s@%s: %w", name, version, err)
	}
	return data, nil
}

// tarballURL is where the registry says the tarball is, if that is at the registry:
// a document does not send us elsewhere. Else it is where registries have it.
func (r *registry) tarballURL(name, version, announced string) *url.URL {
	place, err := url.Parse(announced)
	if err == nil && place.Scheme == r.base.Scheme && place.Host == r.base.Host && place.User == nil {
		return place
	}
	return r.base.JoinPath(name, "-", path.Base(name)+"-"+version+".tgz")
}

// get asks, once more when the registry or the way to it stumbles, and hands the
// whole body on.
func (r *registry) get(ctx context.Context, place *url.URL, accept string, timeout time.Duration, most int64, use func(body []byte) error) error {
	for try := 1; ; try++ {
		body, err := r.once(ctx, place, accept, timeout, most)
		if err == nil {
			return use(body)
		}
		if try == registryTries || !fault.Is(err, fault.Unavailable) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Duration(try) * registryPause):
		}
	}
}

func (r *registry) once(ctx context.Context, place *url.URL, accept string, timeout time.Duration, most int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, place.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "perigee")
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	res, err := r.client.Do(req)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the registry %s does not answer", r.base.Host)
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusOK:
	case res.StatusCode == http.StatusNotFound:
		return nil, fault.New(fault.NotFound, "the registry %s does not have it", r.base.Host)
	case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
		return nil, fault.New(fault.Forbidden, "the registry %s refuses us (%d); start the core with a token that may read: PERIGEE_NPM_TOKEN", r.base.Host, res.StatusCode)
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= http.StatusInternalServerError:
		return nil, fault.New(fault.Unavailable, "the registry %s answers %d", r.base.Host, res.StatusCode)
	default:
		return nil, fault.New(fault.Invalid, "the registry %s answers %d", r.base.Host, res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, most+1))
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the registry %s broke off its answer", r.base.Host)
	}
	if int64(len(body)) > most {
		return nil, fault.New(fault.Invalid, "the registry %s answers with more than %d MiB", r.base.Host, most>>20)
	}
	return body, nil
}
