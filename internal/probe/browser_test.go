//go:build !lean

package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/perigee-monitoring/perigee/check"
)

func TestBrowser(t *testing.T) {
	t.Parallel()
	path := chromium()
	if path == "" {
		t.Fatal("chromium is not installed; on Debian, .ci/need chromium installs it")
	}
	against(check.Browser, "program", versionOf(t, path, "--version"))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if r.URL.Path == "/account" {
			fmt.Fprintf(w, "<title>Account</title><p id=who>%s</p>", r.URL.Query().Get("word"))
			return
		}
		fmt.Fprint(w, `<title>Shop</title><form action=/account><input name=word id=word><button id=go>Go</button></form>
			<p id=late></p><script>document.getElementById("late").textContent = "made by a script"</script>`)
	}))
	t.Cleanup(s.Close)
	p := New(Options{})
	p.strategies[check.Browser] = func(ctx context.Context, r run, raw json.RawMessage) (session, error) {
		made, err := p.connectBrowser(ctx, r, raw)
		if err != nil {
			return nil, err
		}
		made.(*browserSession).unsandbox = true // tests may run as root
		return made, nil
	}
	closed, silent, mad := closedPort(t), serve(t, waitClosed), serve(t, flood([]byte("x")))
	for _, c := range []trial{
		{"a script's text", `"timeout":60000`, check.BrowserPage, `{"url":"` + s.URL + `","steps":[{"action":"text","selector":"#late","value":"made by a script"}]}`, "", map[string]any{
			"success": true, "title": "Shop", "url": s.URL + "/", "loadTimeMs": some, "stepCount": 1.0, "stepsPassed": 1.0,
		}},
		{"typing", `"timeout":60000`, check.BrowserPage, `{"url":"` + s.URL + `","steps":[{"action":"type","selector":"#word","secret":"sesame"},{"action":"click","selector":"#go"},
			{"action":"text","selector":"#who","value":"sesame"}]}`, "", map[string]any{
			"success": true, "title": "Account", "url": s.URL + "/account?word=sesame", "loadTimeMs": some, "stepCount": 3.0, "stepsPassed": 3.0,
		}},
		{"never there", `"timeout":3000`, check.BrowserPage, `{"url":"` + s.URL + `","steps":[{"action":"wait","selector":"#nothing"}]}`, "Check failed: timed out after 3000 ms while …", nil},
		{"silence", `"timeout":3000`, check.BrowserPage, `{"url":"http://` + silent.address() + `/"}`, "Check failed: timed out after 3000 ms while …", nil},
		{"nonsense", `"timeout":60000`, check.BrowserPage, `{"url":"http://` + mad.address() + `/"}`, "Check failed: …", map[string]any{
			"success": false, "loadTimeMs": some, "stepCount": 0.0, "stepsPassed": 0.0,
		}},
		{"refused", `"timeout":60000`, check.BrowserPage, `{"url":"http://` + closed.address() + `/"}`, "Check failed: connection refused…", map[string]any{
			"success": false, "loadTimeMs": some, "stepCount": 0.0, "stepsPassed": 0.0,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := p.Execute(t.Context(), assignment(check.Browser, "{"+c.more+"}", c.collector, c.config), nil, nil)
			if c.name == "never there" || c.name == "silence" {
				if want := "Check failed: timed out after 3000 ms while "; r.Status != check.Unhealthy || len(r.Message) < len(want) || r.Message[:len(want)] != want {
					t.Errorf("%s, %q", r.Status, r.Message)
				}
				return
			}
			wantFound(t, r, c)
		})
	}
}
