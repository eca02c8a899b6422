package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/web"
)

// script is a file that shrinks.
var script = strings.Repeat("console.log('perigee');\n", 5000)

// interfaceFiles stand for what vite makes, packed.
var interfaceFiles = fstest.MapFS{
	".gitkeep":                {},
	"index.html":              {Data: []byte(`<!doctype html><meta property="csp-nonce" nonce="__CSP_NONCE__">`)},
	"favicon.svg":             {Data: []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`)},
	"assets/index-1a2b.js.gz": {Data: gzipped(script)},
	"assets/index-3c4d.css":   {Data: []byte(`:root{}`)},
	"assets/font-5e6f.woff2":  {Data: []byte(`wOF2`)},
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

func gzipped(text string) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := io.WriteString(w, text); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// What is packed is sent as it lies there to who takes gzip, and plain to who does not.
func TestPageFilesAreSentPacked(t *testing.T) {
	t.Parallel()
	c := setup(t)
	for _, x := range []struct {
		path, accepts string
		encoding      string
	}{
		{"/assets/index-1a2b.js", "gzip, deflate, br", "gzip"},
		{"/assets/index-1a2b.js", "br;q=1.0, GZIP ; q=0.2", "gzip"},
		{"/assets/index-1a2b.js", "x-gzip", "gzip"},
		{"/assets/index-1a2b.js", "*", "gzip"},
		{"/assets/index-1a2b.js", "*;q=0, gzip", "gzip"},
		{"/assets/index-1a2b.js", "", ""},
		{"/assets/index-1a2b.js", "br", ""},
		{"/assets/index-1a2b.js", "gzip;q=0", ""},
		{"/assets/index-1a2b.js", "gzip;q=0.000, *", ""},
		{"/assets/index-1a2b.js", "gzip;q=0, identity", ""},
		{"/assets/index-1a2b.js", "gzip;q=much", ""},
		{"/assets/index-1a2b.js", "gzippy", ""},
		{"/assets/index-3c4d.css", "gzip", ""}, // it does not shrink
	} {
		w := c.browse(http.MethodGet, x.path, http.Header{"Accept-Encoding": {x.accepts}})
		if got := w.Header().Get("Content-Encoding"); got != x.encoding || w.Code != http.StatusOK {
			t.Errorf("%s for %q is answered %d, encoded as %q, want %q", x.path, x.accepts, w.Code, got, x.encoding)
			continue
		}
		want, vary := script, "Accept-Encoding"
		if x.encoding == "gzip" {
			want = string(gzipped(script))
		}
		if strings.HasSuffix(x.path, ".css") {
			want, vary = ":root{}", ""
		}
		if w.Body.String() != want || w.Header().Get("Vary") != vary || w.Header().Get("Content-Length") != strconv.Itoa(len(want)) {
			t.Errorf("%s for %q is something else: %v", x.path, x.accepts, w.Header())
		}
	}
}

// Who has a file already is told so, whatever way they have it; each way has its tag.
func TestPageFilesAreNotSentTwice(t *testing.T) {
	t.Parallel()
	c := setup(t)
	tags := map[string]string{}
	for _, accepts := range []string{"gzip", "identity"} {
		for _, path := range []string{"/assets/index-1a2b.js", "/favicon.svg"} {
			ask := func(method, tag string) *httptest.ResponseRecorder {
				return c.browse(method, path, http.Header{"Accept-Encoding": {accepts}, "If-None-Match": {tag}})
			}
			first := ask(http.MethodGet, `"other"`)
			tag := first.Header().Get("Etag")
			if first.Code != http.StatusOK || len(tag) < 10 || strings.HasPrefix(tag, "W/") {
				t.Errorf("%s is answered %d with the tag %s", path, first.Code, tag)
			}
			tags[path+" "+accepts] = tag
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				again := ask(method, `"older", `+tag)
				if again.Code != http.StatusNotModified || again.Body.Len() > 0 || again.Header().Get("Etag") != tag || again.Header().Get("Cache-Control") != first.Header().Get("Cache-Control") {
					t.Errorf("%s again is answered %d with %d bytes and %v", path, again.Code, again.Body.Len(), again.Header())
				}
			}
		}
	}
	if tags["/assets/index-1a2b.js gzip"] == tags["/assets/index-1a2b.js identity"] || tags["/favicon.svg gzip"] != tags["/favicon.svg identity"] {
		t.Errorf("tags: %v", tags)
	}
	if w := c.browse(http.MethodGet, "/", http.Header{"If-None-Match": {"*"}}); w.Code != http.StatusOK || w.Header().Get("Etag") != "" {
		t.Errorf("a page with a nonce of its own is answered %d, tag %q", w.Code, w.Header().Get("Etag"))
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
	err := fs.WalkDir(web.Files(), ".", func(name string, entry fs.DirEntry, err error) error {
		packed := strings.HasSuffix(name, ".gz")
		if err != nil || !packed {
			return err
		}
		path := "/" + strings.TrimSuffix(name, ".gz")
		in, err := gzip.NewReader(c.browse(http.MethodGet, path, http.Header{"Accept-Encoding": {"gzip"}}).Body)
		if err != nil {
			return err
		}
		got, err := io.ReadAll(in)
		if plain := c.browse(http.MethodGet, path, nil); err == nil && (plain.Code != http.StatusOK || !bytes.Equal(got, plain.Body.Bytes())) {
			t.Errorf("%s is answered %d, and packed something else", path, plain.Code)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
