package httpapi

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func servePage(t *testing.T, path string) *httptest.ResponseRecorder {
	t.Helper()
	mux := http.NewServeMux()
	addPage(mux)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w
}

func TestPageFiles(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	for _, path := range []string{"/", "/app.css", "/app.js", "/history.js", "/favicon.svg", "/index.html", "/page/app.js"} {
		w := servePage(t, path)
		if w.Code == http.StatusOK && w.Body.Len() == 0 {
			t.Errorf("%s is empty", path)
		}
		if w.Code == http.StatusOK {
			got[path] = w.Header().Get("Content-Type")
		}
	}
	want := map[string]string{
		"/":            "text/html; charset=utf-8",
		"/app.css":     "text/css; charset=utf-8",
		"/app.js":      "text/javascript; charset=utf-8",
		"/history.js":  "text/javascript; charset=utf-8",
		"/favicon.svg": "image/svg+xml",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("content types of what is served (-want +got):\n%s", diff)
	}
}

// Everything that the page loads is served by it.
func TestPageIsWhole(t *testing.T) {
	t.Parallel()
	refs := regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(servePage(t, "/").Body.String(), -1)
	if len(refs) != 3 {
		t.Errorf("the page refers to %d files, want its icon, style and script", len(refs))
	}
	for _, ref := range append(refs, regexp.MustCompile(`from '\.(/[^']*)'`).FindAllStringSubmatch(servePage(t, "/app.js").Body.String(), -1)...) {
		if w := servePage(t, ref[1]); w.Code != http.StatusOK {
			t.Errorf("%s, which the page refers to, answers %d", ref[1], w.Code)
		}
	}
}

// The content security policy stops inline scripts and styles, and names of other
// hosts' making must never become markup.
func TestPageKeepsItsPolicy(t *testing.T) {
	t.Parallel()
	script := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|https?://|localStorage|document\.cookie`)
	for path, forbidden := range map[string]*regexp.Regexp{
		"/":            regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|javascript:|<script[^>]*>[^<]|https?://`),
		"/app.js":      script,
		"/history.js":  script,
		"/app.css":     regexp.MustCompile(`(?i)@import|url\(`),
		"/favicon.svg": regexp.MustCompile(`(?i)<script|<style|\son[a-z]+=`),
	} {
		if found := forbidden.FindString(servePage(t, path).Body.String()); found != "" {
			t.Errorf("%s has %q", path, found)
		}
	}
}

// The script finds elements by id; each must be in the page.
func TestPageHasWhatItsScriptLooksFor(t *testing.T) {
	t.Parallel()
	page := servePage(t, "/").Body.String()
	for _, id := range regexp.MustCompile(`\$\('([^']+)'\)`).FindAllStringSubmatch(servePage(t, "/app.js").Body.String(), -1) {
		if !strings.Contains(page, `id="`+id[1]+`"`) {
			t.Errorf("the page has no element %s", id[1])
		}
	}
}
