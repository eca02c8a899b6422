package probe

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fence"
	"github.com/perigee-monitoring/perigee/protocol"
)

// bun is where .ci/need bun puts it, or on the path.
func bun(t *testing.T) string {
	t.Helper()
	found, _ := filepath.Glob("../../.ci/bun/node_modules/@oven/bun-linux-*/bin/bun")
	if len(found) == 0 {
		return program(t, "bun")
	}
	path, err := filepath.Abs(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// hosting is a prober whose scripts may run in Node and in Bun, within the rules.
func hosting(t *testing.T, rules fence.Rules) *Prober {
	t.Helper()
	p := New(Options{AllowScripts: true, Fence: func() fence.Rules { return rules }})
	for name, path := range map[string]string{check.RuntimeNode: program(t, "node"), check.RuntimeBun: bun(t)} {
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			t.Fatal(err)
		}
		p.runtimes[name] = real
	}
	return p
}

// Scripts that ask for Node or Bun run in it, as they do in the engine (spec G.7).
func TestInlineScriptsInOtherRuntimes(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	t.Cleanup(server.Close)
	outside := write(t, t.TempDir(), "token", "the token")
	open := fence.Default()
	open.Network, open.Privilege = fence.Network{Mode: fence.NetworkUnrestricted, DenyLinkLocalAndMetadata: true}, fence.Privilege{Mode: fence.PrivilegeInherit}
	closed := open
	closed.Network.Mode = fence.NetworkDeny
	listed := open
	listed.Network = fence.Network{Mode: fence.NetworkAllowlist, Allow: []string{"127.0.0.1"}}
	service := `import { createServer } from "node:net"; const port = await new Promise((ok, no) => { const s = createServer().on("error", no).listen(0, "127.0.0.1", () => ok(s.address().port)) }); return port > 0`
	for _, runtime := range []string{check.RuntimeNode, check.RuntimeBun} {
		for name, c := range map[string]struct {
			source, more string
			rules        fence.Rules
			status       check.Status
			message      string
			found        map[string]any
		}{
			"measures":           {source: `const n: number = 4.5; return { message: "fine", value: n }`, status: check.Healthy, found: map[string]any{"success": true, "message": "fine", "value": 4.5}},
			"exports a function": {source: `import os from "node:os"; export default async (c: any) => ({ message: c.check.name + os.EOL.length })`, status: check.Healthy, found: map[string]any{"message": "c11"}},
			"is in it":           {source: `return typeof Bun === "undefined" ? "node" : "bun"`, status: check.Healthy, found: map[string]any{"message": runtime}},
			"knows its run":      {source: `return context.system.name + "/" + context.config.runtime + "/" + process.env.PERIGEE_SYSTEM_ID`, status: check.Healthy, found: map[string]any{"message": "s1/" + runtime + "/s1"}},
			"prints":             {source: `console.log("out"); console.error("err"); return true`, status: check.Healthy, found: map[string]any{"output": "out\nerr\n"}},
			"asks":               {source: "const r = await fetch('" + server.URL + "')\nreturn r.status === 418", status: check.Healthy},
			"asks, fenced in":    {source: "const r = await fetch('" + server.URL + "')\nreturn r.status === 418", rules: fence.Rules{open}, status: check.Healthy},
			"has no network":     {source: "await fetch('" + server.URL + "')", rules: fence.Rules{closed}, status: check.Unhealthy, message: "Check failed: TypeError: "},
			"asks who is listed": {source: "const r = await fetch('" + server.URL + "')\nreturn r.status === 418", rules: fence.Rules{listed}, status: check.Healthy},
			"is a service":       {source: service, rules: fence.Rules{open}, status: check.Healthy},
			"is no service":      {source: service, rules: fence.Rules{listed}, status: check.Unhealthy, message: "listen"},
			"has no files":       {source: `import { readFileSync } from "node:fs"; return readFileSync("` + outside + `", "utf8")`, rules: fence.Rules{open}, status: check.Unhealthy, message: "EACCES"},
			"fails":              {source: `return { success: false, message: "too few" }`, status: check.Unhealthy, message: "Check failed: the script says: too few"},
			"throws": {
				source: "const a: number = 1\n\nfunction worse() {\n  throw new TypeError('no ' + a)\n}\nworse()", status: check.Unhealthy,
				message: "Check failed: TypeError: no 1 (check.ts:4:", found: map[string]any{"success": false},
			},
			"throws what is no error": {source: `throw { code: 7 }`, status: check.Unhealthy, message: "the script threw { code: 7 }"},
			"cannot be compiled":      {source: "const = 3", status: check.Unhealthy, message: `Check failed: Expected identifier but found "=" (check.ts:1:7)`},
			"takes too long":          {source: "for (;;) {}", more: `,"timeout":1500`, status: check.Unhealthy, message: "Check failed: timed out after 1500 ms while running the script", found: map[string]any{"timedOut": true, "success": false}},
			"ends by itself":          {source: `console.log("enough"); process.exit(3)`, status: check.Unhealthy, message: "the script ended before it returned (" + runtime + " ended with code 3: enough)"},
			"waits for nothing": {
				source: `await new Promise(() => {})`, more: `,"timeout":3000`, status: check.Unhealthy, // Bun goes on waiting
				message: map[string]string{check.RuntimeNode: "the script waits for something that never comes", check.RuntimeBun: "timed out after 3000 ms"}[runtime],
			},
			"returns too much": {source: `return "x".repeat(3_000_000)`, status: check.Unhealthy, message: "what the script returned is longer than 1048576 bytes"},
			"throws later":     {source: `setTimeout(() => { throw new RangeError("later") }, 1); await new Promise((r) => setTimeout(r, 30_000))`, status: check.Unhealthy, message: "RangeError: later (check.ts:1:"},
		} {
			t.Run(runtime+" "+name, func(t *testing.T) {
				t.Parallel()
				p := hosting(t, c.rules)
				a := inlined(c.source, `,"runtime":"`+runtime+`"`+c.more)
				if err := p.Check(a); err != nil {
					t.Error(err)
				}
				r := p.Execute(t.Context(), a, nil, nil)
				if r.Status != c.status || !strings.Contains(r.Message, c.message) {
					t.Errorf("%s: %s\nwant %s: %s", r.Status, r.Message, c.status, c.message)
				}
				found := object(t, r, "e")
				for field, want := range c.found {
					if !cmp.Equal(want, found[field]) {
						t.Errorf("%s = %v, want %v", field, found[field], want)
					}
				}
			})
		}
	}
}

// What the editor calls a mistake there is one, and what it lets pass is none.
func TestAcceptedInOtherRuntimes(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../script/testdata/hosted.json") // the editor's test takes them too
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Runtime, Source string
		Accepted        bool
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	p := hosting(t, nil)
	for _, c := range cases {
		t.Run(c.Runtime+" "+c.Source, func(t *testing.T) {
			t.Parallel()
			r := p.Execute(t.Context(), inlined(c.Source, `,"timeout":60000,"runtime":"`+c.Runtime+`"`), nil, nil)
			if (r.Status == check.Healthy) != c.Accepted || r.Status == check.Degraded {
				t.Errorf("accepted %t: %s: %s", c.Accepted, r.Status, r.Message)
			}
		})
	}
}

// A secret is in its process.env, and in nothing that comes back.
func TestOtherRuntimesKeepSecrets(t *testing.T) {
	t.Parallel()
	const secret = "correct horse battery"
	s := &scriptSession{prober: hosting(t, nil), run: newRun(inlined("", ""), nil)}
	for _, source := range []string{
		"console.log(process.env.KEY); return { message: 'is ' + process.env.KEY }",
		"throw new Error('it is ' + process.env.KEY)",
	} {
		quoted, _ := json.Marshal(source)
		found, err := s.collectWith(t.Context(), check.ScriptInline, json.RawMessage(`{"script":`+string(quoted)+`,"secretEnv":{"KEY":"key"},"timeout":60000,"runtime":"node"}`), map[string]string{"KEY": secret})
		text, _ := json.Marshal(found.(fenced).result)
		if err != nil {
			text = append(text, err.Error()...)
		}
		if strings.Contains(string(text), "correct") || strings.Contains(string(text), "battery") || !strings.Contains(string(text), "***") {
			t.Errorf("%s gives %s", source, cut(string(text), 500))
		}
	}
}

// The policy that ships with the original holds for them: another user, limits.
func TestOtherRuntimesWithinTheDefaultPolicy(t *testing.T) {
	t.Parallel()
	dir := scratchForAll(t)
	for _, runtime := range []string{check.RuntimeNode, check.RuntimeBun} {
		t.Run(runtime, func(t *testing.T) {
			t.Parallel()
			p := hosting(t, fence.Rules{fence.Default()})
			path := filepath.Join(dir, runtime) // where every user can get at it
			if text, err := exec.Command("cp", p.runtimes[runtime], path).CombinedOutput(); err != nil {
				t.Fatal(err, string(text))
			}
			p.runtimes[runtime] = path
			r := p.Execute(t.Context(), inlined(`return { value: process.getuid() }`, `,"runtime":"`+runtime+`"`), nil, nil)
			want := float64(os.Geteuid())
			if os.Geteuid() == 0 {
				want = 65534
			}
			if got := object(t, r, "e")["value"]; r.Status != check.Healthy || got != want {
				t.Errorf("as user %v, want %v: %s", got, want, r.Message)
			}
		})
	}
}

func scratchForAll(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "perigee-runtime-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A satellite that has no runtime says so in its inventory, and why when it is asked for it.
func TestRuntimesThatAreNotThere(t *testing.T) {
	t.Parallel()
	bare := New(Options{AllowScripts: true})
	bare.runtimes = nil
	forbidden := hosting(t, nil)
	forbidden.options.AllowScripts, forbidden.options.HowToAllow = false, "start it with --there"
	for name, c := range map[string]struct {
		p         *Prober
		inventory []string
		reason    string
	}{
		"none installed": {bare, []string{"builtin"}, "no bun is in its PATH; install it there, or set runtime to builtin"},
		"not allowed":    {forbidden, []string{"builtin"}, "its operator has not allowed shell scripts and programs; to allow them, start it with --there"},
		"there":          {hosting(t, nil), []string{"builtin", "node", "bun"}, ""},
	} {
		if got := c.p.Inventory(); !cmp.Equal(c.inventory, got.Runtimes) || got.Missing["bun"] != c.reason {
			t.Errorf("%s: inventory %+v, want %v", name, got, c.inventory)
		}
		refused := "this satellite runs no scripts in bun: " + c.reason
		a := inlined("return 1", `,"runtime":"bun"`)
		if err := c.p.Check(a); (err == nil) != (c.reason == "") || err != nil && err.Error() != "e: "+refused {
			t.Errorf("%s: %v", name, err)
		}
		if r := c.p.Execute(t.Context(), a, nil, nil); c.reason != "" && (r.Status != check.Degraded || r.Message != "Check not carried out: "+refused) {
			t.Errorf("%s: %s, %s", name, r.Status, r.Message)
		}
	}
}

// That memory was used up is said, and how much there is, whatever a program makes of it.
func TestMemoryThatIsUsedUp(t *testing.T) {
	t.Parallel()
	// Whoever starts a script has much itself, as a core may.
	much := slices.Repeat([]byte{1}, 160<<20)
	defer runtime.KeepAlive(much)
	small := func(mib int64) fence.Rules {
		p := fence.Default()
		p.Resources.MemoryBytes, p.Privilege = new(mib<<20), fence.Privilege{Mode: fence.PrivilegeInherit}
		return fence.Rules{p}
	}
	shell := func(text string) *protocol.Assignment {
		quoted, _ := json.Marshal(text)
		return assignment(check.Script, `{}`, check.ScriptExecute, `{"script":`+string(quoted)+`,"timeout":60000}`)
	}
	const objects, bytes = `const a: any[] = []; for (;;) a.push({ x: "y" + a.length })`, `const a: any[] = []; for (;;) a.push(Buffer.alloc(1 << 20, 1))`
	for name, c := range map[string]struct {
		a       *protocol.Assignment
		rules   fence.Rules
		message []string
	}{
		"in the engine":          {inlined(`const a: any[] = []; for (;;) a.push(new Array(1000).fill(1))`, ""), small(64), []string{"out of memory", "may take 64 MiB"}},
		"in a shell":             {shell(`perl -e '$x = "x" x 400_000_000'`), small(64), []string{"Out of memory", "each of its processes may have 64 MiB of memory"}},
		"in several processes":   {shell(`for i in 1 2 3 4 5 6 7 8; do perl -e '$x = "x" x 20_000_000; sleep 60' & done; wait`), small(64), []string{"it took more than 64 MiB of memory"}},
		"in Node, of objects":    {inlined(objects, `,"runtime":"node"`), small(512), []string{"memory", "512 MiB"}},
		"in Node, of bytes":      {inlined(bytes, `,"runtime":"node"`), small(512), []string{"memory", "512 MiB"}},
		"in Bun, of objects":     {inlined(objects, `,"runtime":"bun"`), small(512), []string{"memory", "512 MiB"}},
		"in Bun, of bytes":       {inlined(bytes, `,"runtime":"bun"`), small(512), []string{"memory", "512 MiB"}},
		"a script that ends":     {shell(`echo "no memory of it"; exit 3`), small(64), []string{"the script ended with code 3"}},
		"a script that is ended": {shell(`kill -9 $$`), small(64), []string{"the script was ended by a signal (signal: killed)"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := hosting(t, c.rules).Execute(t.Context(), c.a, nil, nil)
			for _, part := range c.message {
				if r.Status != check.Unhealthy || !strings.Contains(r.Message, part) {
					t.Errorf("%s: %s\nwant %q", r.Status, r.Message, part)
				}
			}
			if strings.HasPrefix(name, "a script") && strings.Contains(r.Message, "MiB") {
				t.Errorf("it is put on memory: %s", r.Message)
			}
			t.Log(r.Message)
		})
	}
}
