package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/client"
)

// bin is a directory with this program, for TestScripts: as make build does it, so that
// what that compiled is used again, and without the race detector, under which each of
// some hundred commands would begin with a second of its own.
var bin string

// TestMain builds it, and keeps the environment of whoever runs the tests out of them.
func TestMain(m *testing.M) {
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "PERIGEE_") {
			os.Unsetenv(name) //nolint:errcheck // a name that the environment has
		}
	}
	os.Exit(withProgram(m.Run))
}

func withProgram(run func() int) int {
	var err error
	if bin, err = os.MkdirTemp("", "perigee-cli-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(bin)
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building perigee: %v\n%s", err, out)
		return 1
	}
	return run()
}

const testToken = "pgt_good"

// fakeCore answers requests, written "GET /satellites?tag=a%3Db", with the JSON that
// answers has for them, and remembers what it was sent. It wants testToken.
type fakeCore struct {
	t       *testing.T
	answers map[string]string

	mu   sync.Mutex
	sent map[string]string // body of what was asked
}

// received is the body of a request, and whether there was one.
func (f *fakeCore) received(asked string) (body string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, ok = f.sent[asked]
	return body, ok
}

func (f *fakeCore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	problem := func(status int, text string) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("X-Request-Id", "req-1")
		w.WriteHeader(status)
		fmt.Fprint(w, text)
	}
	if r.Header.Get("Authorization") != "Bearer "+testToken {
		problem(http.StatusUnauthorized, `{"status":401,"title":"Unauthorized","detail":"the token is not valid"}`)
		return
	}
	asked := r.Method + " " + strings.TrimPrefix(r.URL.RequestURI(), client.Base)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	f.mu.Lock()
	f.sent[asked] = string(body)
	f.mu.Unlock()
	answer, ok := f.answers[asked]
	if !ok {
		problem(http.StatusNotFound, fmt.Sprintf(`{"status":404,"title":"Not Found","detail":%q}`, "nothing at "+asked))
		return
	}
	var status struct{ Status json.RawMessage }
	_ = json.Unmarshal([]byte(answer), &status)
	code := 0
	if json.Unmarshal(status.Status, &code) == nil && code >= 300 { // a problem
		problem(code, answer)
		return
	}
	fmt.Fprint(w, answer)
}

func startCore(t *testing.T, answers map[string]string) (core *fakeCore, url string) {
	t.Helper()
	core = &fakeCore{t: t, answers: answers, sent: map[string]string{}}
	server := httptest.NewServer(core)
	t.Cleanup(server.Close)
	return core, server.URL
}

// now is when the tests of commands take place.
var now = time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC)

// setup makes an app that asks a fake core and writes into a buffer.
func setup(t *testing.T, format string, answers map[string]string) (*app, *fakeCore, *bytes.Buffer) {
	t.Helper()
	core, url := startCore(t, answers)
	c, err := client.New(client.Options{URL: url, Token: testToken})
	if err != nil {
		t.Fatal(err)
	}
	out := &bytes.Buffer{}
	return &app{
		client: c, out: out, errw: io.Discard, in: strings.NewReader(""), format: format,
		now: func() time.Time { return now },
	}, core, out
}

// command is any of the commands that ask a core.
type command interface {
	Run(ctx context.Context, a *app) error
}

// runs carries out the command and compares what it prints; URL stands for the core's.
func runs(t *testing.T, c command, format string, answers map[string]string, want string) *fakeCore {
	t.Helper()
	a, core, out := setup(t, format, answers)
	if err := c.Run(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	got := strings.ReplaceAll(out.String(), a.client.URL(), "URL")
	if diff := gocmp.Diff(strings.TrimPrefix(want, "\n"), got); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	return core
}

func TestExitCodesAndHints(t *testing.T) {
	t.Parallel()
	_, url := startCore(t, map[string]string{
		"GET /satellites?limit=1000": `{"items":[],"nextCursor":null}`,
		"GET /satellites/secret":     `{"status":403,"title":"Forbidden","detail":"reading is all this token may do"}`,
		"GET /satellites/broken":     `{"status":500,"title":"Internal Server Error"}`,
		"POST /satellites": `{"status":422,"detail":"the satellite is not valid","errors":[
			{"location":"name","message":"must not be empty"},{"location":"region","message":"is too long"}]}`,
	})
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte(testToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		args string
		url  string
		code int
		errs string
	}{
		"a list":                 {args: "--token pgt_good satellite list"},
		"token from a file":      {args: "--token-file " + tokenFile + " --token pgt_bad satellite list"},
		"a token file is absent": {args: "--token-file nowhere satellite list", code: 1, errs: "perigee: reading the token: open nowhere: no such file or directory\n"},
		"no token": {args: "satellite list", code: 4, errs: `
perigee: the token is not valid
hint: set PERIGEE_TOKEN, or give --token-file
`},
		"not allowed": {args: "--token pgt_good satellite get secret", code: 4, errs: `
perigee: reading is all this token may do
hint: another token may do this: set PERIGEE_TOKEN, or give --token-file
`},
		"no core": {args: "--token pgt_good satellite list", url: gone.URL, code: 3, errs: `
perigee: no core answers at URL: dial tcp ADDR: connect: connection refused
hint: start a core with: perigee serve (or, to try things: perigee dev); or name another with --url or PERIGEE_URL
`},
		"no URL": {args: "status", url: "core.example.org", code: 2, errs: `
perigee: "URL" is not the URL of a core, such as http://127.0.0.1:8420
`},
		"not found": {args: "--token pgt_good satellite get eu-1", code: 1, errs: "perigee: nothing at GET /satellites/eu-1\n"},
		"the core's mistake": {args: "--token pgt_good satellite get broken", code: 1, errs: `
perigee: internal server error
  the core's log has it under request id req-1
`},
		"wrong fields, line by line": {args: "--token pgt_good satellite create e --region eu", code: 1, errs: `
perigee: the satellite is not valid
  name: must not be empty
  region: is too long
`},
		"unknown command": {args: "satelite list", code: 2, errs: `
perigee: unknown command satelite
hint: perigee --url URL satellite list
`},
		"unknown subcommand, and no token in the hint": {args: "--token pgt_good satellite lsit", code: 2, errs: `
perigee: unknown command lsit
hint: perigee --url URL --token … satellite list
`},
		"unknown command, nothing near": {args: "frobnicate", code: 2, errs: `
perigee: unknown command frobnicate
hint: perigee --help
`},
		"unknown flag": {args: "satellite create eu-1 --regoin=eu --tag a=b;c", code: 2, errs: `
perigee: unknown flag --regoin
hint: perigee --url URL satellite create eu-1 --region=eu --tag 'a=b;c'
`},
		"an argument too many": {args: "satellite list eu-1", code: 2, errs: `
perigee: unknown argument eu-1
hint: perigee satellite list --help
`},
		"an argument is missing": {args: "satellite get", code: 2, errs: `
perigee: expected "<name>"
hint: perigee satellite get --help
`},
		"a format that is none": {args: "satellite list -o xml", code: 2, errs: `
perigee: --output must be one of "table","json","yaml" but got "xml"
hint: perigee satellite list --help
`},
		"a time that is none": {args: "result list --from yesterday", code: 2, errs: `
perigee: --from yesterday is neither a time such as 2026-01-31T08:00:00Z nor a time ago such as 15m
`},
		"nothing to change": {args: "satellite update eu-1", code: 2, errs: `
perigee: nothing to change was given
hint: perigee satellite update --help
`},
		"a deletion that nobody confirms": {args: "satellite delete eu-1", code: 2, errs: `
perigee: this cannot be undone, and there is nobody to ask
hint: perigee satellite delete eu-1 --yes
`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			core := cmp.Or(tt.url, url)
			var out, errs bytes.Buffer
			code := run(t.Context(), append([]string{"--url", core}, strings.Fields(tt.args)...), strings.NewReader(""), &out, &errs)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			got := strings.ReplaceAll(errs.String(), core, "URL")
			got = strings.ReplaceAll(got, strings.TrimPrefix(core, "http://"), "ADDR")
			if diff := gocmp.Diff(strings.TrimPrefix(tt.errs, "\n"), got); diff != "" {
				t.Errorf("standard error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnInterruptedCommandSaysSo(t *testing.T) {
	t.Parallel()
	_, url := startCore(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	if code := run(ctx, []string{"--url", url, "status"}, strings.NewReader(""), &out, &errs); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	if got, want := errs.String(), "perigee: interrupted\n"; got != want {
		t.Errorf("standard error %q, want %q", got, want)
	}
}

func TestATimeoutIsNotABrokenCore(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	in := filepath.Join(t.TempDir(), "shop.yaml")
	if err := os.WriteFile(in, []byte("apiVersion: perigee/v1\nkind: System\nmetadata: {name: shop}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	nothing := "perigee: no core answers at " + server.URL + " in time\nhint: give it longer with --timeout, or name another with --url or PERIGEE_URL\n"
	perhaps := "perigee: the core at " + server.URL + " has not answered in time; what it was to do it may have done\n" +
		"hint: look whether it did before you try again, and give it longer with --timeout\n"
	for command, want := range map[string]string{"status": nothing, "diff -f " + in: nothing, "apply --dry-run -f " + in: nothing, "apply -f " + in: perhaps, "system delete shop --yes": perhaps} {
		var out, errs bytes.Buffer
		args := append([]string{"--url", server.URL, "--timeout", "20ms"}, strings.Fields(command)...)
		if code := run(t.Context(), args, strings.NewReader(""), &out, &errs); code != exitUnreachable {
			t.Errorf("%s: exit code %d, want %d", command, code, exitUnreachable)
		}
		if diff := gocmp.Diff(want, errs.String()); diff != "" {
			t.Errorf("%s: standard error (-want +got):\n%s", command, diff)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	if versionText() == "" {
		t.Error("there is no version")
	}
	for _, args := range [][]string{{"version"}, {"version", "-o", "json"}, {"--version"}} {
		var out, errs bytes.Buffer
		// A wrong URL and an absent token file are no concern of it.
		code := run(t.Context(), append(args, "--url", "nowhere", "--token-file", "nowhere"), strings.NewReader(""), &out, &errs)
		if code != exitOK || !strings.Contains(out.String(), versionText()) {
			t.Errorf("perigee %s: exit code %d, %q, %q", strings.Join(args, " "), code, &out, &errs)
		}
	}
}

func TestWithoutArgumentsItHelps(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	if code := run(t.Context(), nil, strings.NewReader(""), &out, &errs); code != exitOK || !strings.Contains(out.String(), "satellite create") {
		t.Errorf("exit code %d, %q, %q", code, &out, &errs)
	}
}
