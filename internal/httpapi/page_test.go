package httpapi_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/web"
)

// interfaceFiles stand for what vite makes.
var interfaceFiles = fstest.MapFS{
	".gitkeep":               {},
	"index.html":             {Data: []byte(`<!doctype html><meta property="csp-nonce" nonce="__CSP_NONCE__">`)},
	"favicon.svg":            {Data: []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`)},
	"assets/index-1a2b.js":   {Data: []byte(strings.Repeat("console.log('perigee');\n", 5000))},
	"assets/index-3c4d.css":  {Data: []byte(`:root{}`)},
	"assets/font-5e6f.woff2": {Data: []byte(`wOF2`)},
}

func (c *core) browse(method, path string, header http.Header) *httptest.ResponseRecorder {
	c.t.Helper()
	r := httptest.NewRequestWithContext(c.t.Context(), method, path, nil)
	r.Header = header
	w := httptest.NewRecorder()
	c.api.ServeHTTP(w, r)
	return w
}

func TestPageFiles(t *testing.T) {
	t.Parallel()
	c := setup(t)
	html := http.Header{"Accept": {"text/html,application/xhtml+xml,*/*;q=0.8"}}
	type served struct {
		Status                    int
		ContentType, CacheControl string
	}
	got := map[string]served{}
	for _, path := range []string{
		"/", "/favicon.svg", "/assets/index-1a2b.js", "/assets/index-3c4d.css", "/assets/font-5e6f.woff2",
		"/systems/shop", "/index.html", "/.gitkeep", "/assets/old.js", "/api/v1/nothing",
	} {
		w := c.browse(http.MethodGet, path, html)
		got[path] = served{w.Code, w.Header().Get("Content-Type"), w.Header().Get("Cache-Control")}
	}
	page := served{200, "text/html; charset=utf-8", "no-store"}
	nothing := served{404, "application/problem+json", "no-store"}
	want := map[string]served{
		"/": page, "/systems/shop": page, "/index.html": page, "/.gitkeep": page,
		"/favicon.svg":            {200, "image/svg+xml", "public, max-age=3600"},
		"/assets/index-1a2b.js":   {200, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"},
		"/assets/index-3c4d.css":  {200, "text/css; charset=utf-8", "public, max-age=31536000, immutable"},
		"/assets/font-5e6f.woff2": {200, "font/woff2", "public, max-age=31536000, immutable"},
		"/assets/old.js":          nothing,
		"/api/v1/nothing":         nothing,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is served (-want +got):\n%s", diff)
	}
	for what, w := range map[string]*httptest.ResponseRecorder{
		"a program": c.browse(http.MethodGet, "/systems/shop", http.Header{"Accept": {"application/json"}}),
		"a POST":    c.browse(http.MethodPost, "/systems/shop", html),
	} {
		if w.Code != http.StatusNotFound {
			t.Errorf("%s is answered %d where only the page has something", what, w.Code)
		}
	}
}

// Each answer has a nonce of its own, and nothing else is let in.
func TestPageKeepsItsPolicy(t *testing.T) {
	t.Parallel()
	c := setup(t)
	seen := map[string]bool{}
	for range 2 {
		w := c.browse(http.MethodGet, "/", nil)
		_, nonce, _ := strings.Cut(w.Body.String(), `nonce="`)
		nonce = strings.TrimSuffix(nonce, `">`)
		want := "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'; style-src 'self' 'nonce-" + nonce + "'"
		if diff := cmp.Diff(want, w.Header().Get("Content-Security-Policy")); diff != "" {
			t.Errorf("policy (-want +got):\n%s", diff)
		}
		if len(nonce) < 20 || seen[nonce] {
			t.Errorf("nonce %q is short, or was there before", nonce)
		}
		seen[nonce] = true
	}
}

func TestPageFilesAreCompressed(t *testing.T) {
	t.Parallel()
	c := setup(t)
	gzipped := http.Header{"Accept-Encoding": {"gzip, deflate, br"}}
	w := c.browse(http.MethodGet, "/assets/index-1a2b.js", gzipped)
	in, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(interfaceFiles["assets/index-1a2b.js"].Data), string(got)); diff != "" || w.Header().Get("Content-Encoding") != "gzip" {
		t.Errorf("encoding %q (-want +got):\n%s", w.Header().Get("Content-Encoding"), diff)
	}
	for what, w := range map[string]*httptest.ResponseRecorder{
		"who cannot read it":   c.browse(http.MethodGet, "/assets/index-1a2b.js", nil),
		"what does not shrink": c.browse(http.MethodGet, "/assets/index-3c4d.css", gzipped),
	} {
		if got := w.Header().Get("Content-Encoding"); got != "" {
			t.Errorf("%s is compressed as %s", what, got)
		}
	}
}

// The files that are in the program are whole, built or not, and load nothing from
// elsewhere.
func TestPageOfThisProgram(t *testing.T) {
	t.Parallel()
	c := setup(t, func(o *httpapi.Options) { o.Page = web.Files() })
	body := c.browse(http.MethodGet, "/", nil).Body.String()
	if !strings.Contains(body, "<title>Perigee</title>") || strings.Contains(body, "http://") || strings.Contains(body, "https://") {
		t.Errorf("page:\n%s", body)
	}
}
