package probe

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fence"
	"github.com/perigee-monitoring/perigee/protocol"
)

func inlined(source, more string) *protocol.Assignment {
	quoted, _ := json.Marshal(source)
	return assignment(check.Script, `{}`, check.ScriptInline, `{"script":`+string(quoted)+`,"timeout":60000`+more+`}`)
}

// Modules run with nothing on the machine, and no permission of its operator (spec G.7).
func TestInlineScripts(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	t.Cleanup(server.Close)
	for name, c := range map[string]struct {
		source, more  string
		rules         fence.Rules
		status        check.Status
		message       string
		found, secret map[string]any
	}{
		"measures":           {source: `return { message: "fine", value: 4.5 }`, status: check.Healthy, found: map[string]any{"success": true, "message": "fine", "value": 4.5}},
		"asks":               {source: "const r = await fetch('" + server.URL + "')\nreturn r.status === 418", status: check.Healthy, found: map[string]any{"success": true}},
		"fails":              {source: `return { success: false, message: "too few" }`, status: check.Unhealthy, message: "Check failed: the script says: too few", found: map[string]any{"success": false, "message": "too few"}},
		"throws":             {source: "const a = 1\nthrow new Error('no ' + a)", status: check.Unhealthy, message: "Check failed: Error: no 1 (check.ts:2:11)"},
		"is refused":         {source: "await fetch('" + server.URL + "')", rules: fence.Rules{fence.Default()}, status: check.Degraded, message: "does not allow connections"},
		"knows its run":      {source: `return context.check.name + "/" + context.system.name + "/" + process.env.PERIGEE_SYSTEM_ID`, status: check.Healthy},
		"cannot be compiled": {source: "const = 3", status: check.Unhealthy, message: `Check failed: Expected identifier but found "=" (check.ts:1:7)`},
		"takes too long":     {source: "for (;;) {}", more: `,"timeout":1000`, status: check.Unhealthy, message: "Check failed: timed out after 1000 ms while running the script", found: map[string]any{"timedOut": true, "success": false}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := New(Options{Fence: func() fence.Rules { return c.rules }})
			a := inlined(c.source, c.more)
			if err := p.Check(a); err != nil {
				t.Error(err)
			}
			r := p.Execute(t.Context(), a, nil, nil)
			if r.Status != c.status || !strings.Contains(r.Message, c.message) {
				t.Errorf("%s: %s, want %s: %s", r.Status, r.Message, c.status, c.message)
			}
			var found map[string]any
			for _, raw := range r.Metadata.Collectors {
				if err := json.Unmarshal(raw, &found); err != nil {
					t.Fatal(err)
				}
			}
			for field, want := range c.found {
				if !cmp.Equal(want, found[field]) {
					t.Errorf("%s = %v, want %v", field, found[field], want)
				}
			}
		})
	}
}

// A secret is in process.env, and in nothing that comes back.
func TestInlineScriptsKeepSecrets(t *testing.T) {
	t.Parallel()
	const secret = "correct horse battery"
	s := &scriptSession{prober: New(Options{}), run: newRun(inlined("", ""), nil)}
	for _, source := range []string{
		"console.log(process.env.KEY, [process.env.KEY]); return { message: 'is ' + process.env.KEY }",
		"throw new Error('it is ' + process.env.KEY)",
		"return { success: false, message: process.env.KEY }",
		"for (let i = 0; i < 9000; i++) console.log(process.env.KEY)",
	} {
		quoted, _ := json.Marshal(source)
		found, err := s.collectWith(t.Context(), check.ScriptInline, json.RawMessage(`{"script":`+string(quoted)+`,"secretEnv":{"KEY":"key"},"timeout":60000}`), map[string]string{"KEY": secret})
		text, _ := json.Marshal(found.(fenced).result)
		if err != nil {
			text = append(text, err.Error()...)
		}
		if strings.Contains(string(text), "correct") || strings.Contains(string(text), "battery") || !strings.Contains(string(text), "***") {
			t.Errorf("%s gives %s", source, check.Truncate(string(text), 500))
		}
	}
}
