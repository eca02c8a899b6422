//go:build unix

package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// script is an assignment of one shell script; more is the rest of its config.
func shellScript(text, more string) *protocol.Assignment {
	quoted, _ := json.Marshal(text)
	return assignment(check.Script, `{}`, check.ScriptExecute, fmt.Sprintf(`{"script":%s%s}`, quoted, more))
}

// ran is the entry's result without its time.
func ran(t *testing.T, r check.Result) map[string]any {
	t.Helper()
	o := object(t, r, "e")
	delete(o, "executionTimeMs")
	return o
}

func shell() *Prober { return New(Options{AllowScripts: true}) }

func TestScriptsSayWhatTheyDid(t *testing.T) {
	t.Parallel()
	r := shell().Execute(t.Context(), shellScript(`echo out; echo err >&2`, ``), nil, nil)
	wantHealthy(t, r)
	want := map[string]any{
		"_collectorId": check.ScriptExecute, "exitCode": 0.0, "stdout": "out\n", "stderr": "err\n", "success": true, "timedOut": false,
	}
	if diff := cmp.Diff(want, ran(t, r)); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	r = shell().Execute(t.Context(), shellScript(`echo; echo "disk full" >&2; echo more >&2; exit 3`, ``), nil, nil)
	wantFailure(t, r, "the script ended with code 3: disk full")
	if got := ran(t, r); got["exitCode"] != 3.0 || got["success"] != false || got["stderr"] != "disk full\nmore\n" {
		t.Errorf("a script that fails gives %v", got)
	}
	r = shell().Execute(t.Context(), shellScript(`kill -9 $$`, ``), nil, nil)
	wantFailure(t, r, "the script was ended by a signal (signal: killed)")
	r = shell().Execute(t.Context(), shellScript(`pwd`, `,"cwd":"/nowhere/at/all"`), nil, nil)
	wantFailure(t, r, "there is no directory /nowhere/at/all")
}

func TestScriptsAreOffUnlessTheOperatorAllowsThem(t *testing.T) {
	t.Parallel()
	p := New(Options{})
	const why = "its operator has not allowed shell scripts and programs; to allow them, start it with --allow-scripts (or PERIGEE_ALLOW_SCRIPTS=true)"
	in := p.Inventory()
	if slices.Contains(in.Collectors, check.ScriptExecute) || in.Missing[check.ScriptExecute] != why {
		t.Errorf("the inventory is %+v", in)
	}
	a := shellScript(`echo`, ``)
	if err := p.Check(a); err == nil || err.Error() != "this satellite runs no healthcheck-script.execute: "+why {
		t.Errorf("the assignment is judged: %v", err)
	}
	r := p.Execute(t.Context(), a, nil, nil)
	if r.Status != check.Degraded || !strings.Contains(r.Message, "Check not carried out: this satellite runs no "+check.ScriptExecute) {
		t.Errorf("it is %s: %s", r.Status, r.Message)
	}
	in = shell().Inventory()
	if !slices.Contains(in.Strategies, check.Script) || !slices.Contains(in.Collectors, check.ScriptExecute) || in.Missing[check.ScriptExecute] != "" {
		t.Errorf("allowed, the inventory is %+v", in)
	}
	if err := shell().Check(a); err != nil {
		t.Errorf("allowed, the assignment is judged: %v", err)
	}
}

// What held a script is told to who carried it out, and does not travel with its result.
func TestWhatHeldAScriptIsTold(t *testing.T) {
	t.Parallel()
	r := shell().Execute(t.Context(), shellScript(`exit 3`, ``), nil, nil)
	if diff := cmp.Diff(map[string]string{"e": "nothing: no sandbox policy is enabled"}, r.Fences); diff != "" || strings.Contains(string(r.Metadata.Collectors["e"]), "policy") {
		t.Errorf("(-want +got):\n%s\n%s", diff, r.Metadata.Collectors["e"])
	}
	r = New(Options{}).Execute(t.Context(), assignment(check.Script, `{}`, check.ScriptInline, `{"script":"return true"}`), nil, nil)
	wantHealthy(t, r)
	if diff := cmp.Diff(map[string]string{"e": builtinFence}, r.Fences); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r = New(Options{}).Execute(t.Context(), shellScript(`true`, ``), nil, nil)
	if len(r.Fences) > 0 {
		t.Errorf("of a script that did not run: %v", r.Fences)
	}
}

// A script that is out of time ends with everything that it started.
func TestScriptsThatTakeTooLongEndWithTheirChildren(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pids")
	r := shell().Execute(t.Context(), shellScript(`sleep 600 & echo $! >`+pids+`; echo begun; sleep 600`, `,"timeout":300`), nil, nil)
	wantFailure(t, r, "timed out after 300 ms while running the script")
	want := map[string]any{
		"_collectorId": check.ScriptExecute, "error": "timed out after 300 ms while running the script",
		"_collectorError": "timed out after 300 ms while running the script",
		"exitCode":        -1.0, "stdout": "begun\n", "stderr": "", "success": false, "timedOut": true,
	}
	if diff := cmp.Diff(want, ran(t, r)); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	wantGone(t, pids)
}

// What a script leaves in the background does not outlive the run.
func TestScriptsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pids")
	r := shell().Execute(t.Context(), shellScript(`sleep 600 >/dev/null 2>&1 & echo $! >`+pids, ``), nil, nil)
	wantHealthy(t, r)
	wantGone(t, pids)
}

// wantGone waits until the process, whose number is in the file, has ended.
func wantGone(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if dead(pid) {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Errorf("process %d still runs", pid)
}

// dead: there is no such process, or it is a zombie that nobody has collected yet.
func dead(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestScriptsEndWithTheSatellite(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	begun := filepath.Join(t.TempDir(), "begun")
	done := make(chan check.Result, 1)
	go func() { done <- shell().Execute(ctx, shellScript(`echo $$ >`+begun+`; sleep 600`, ``), nil, nil) }()
	for {
		if b, err := os.ReadFile(begun); err == nil && len(b) > 0 {
			break
		}
		<-time.After(5 * time.Millisecond)
	}
	stop()
	r := <-done
	wantFailure(t, r, "the run was stopped while running the script")
	wantGone(t, begun)
}

// The satellite's own variables, its token among them, are not a script's.
func TestScriptsGetAnEnvironmentOfTheirOwn(t *testing.T) {
	t.Setenv("PERIGEE_SATELLITE_TOKEN", "csat_canary")
	t.Setenv("LANG", "C.UTF-8")
	a := shellScript(`env | grep -v '^PWD=\|^SHLVL=\|^_=\|^OLDPWD=' | sort`, `,"env":{"GREETING":"good day","CHECKSTACK_CHECK_ID":"not mine"}`)
	a.ConfigName, a.IntervalSeconds = "disk", 10
	a.SystemMetadata = map[string]any{"data-centre": "fra1", "id": "not the id", "rack": 7.0, "tags": []any{"a", "b"}}
	env := &check.Environment{ID: "e1", Name: "production", Fields: map[string]any{"baseUrl": "http://x", "port": 1e6}}
	r := shell().Execute(t.Context(), a, env, nil)
	wantHealthy(t, r)
	got := strings.Split(strings.TrimSpace(ran(t, r)["stdout"].(string)), "\n")
	var want []string
	for _, name := range inherited {
		if value, ok := os.LookupEnv(name); ok {
			want = append(want, name+"="+value)
		}
	}
	for _, prefix := range []string{"CHECKSTACK_", "PERIGEE_"} {
		for _, variable := range []string{
			"CHECK_ID=c1", "CHECK_NAME=disk", "CHECK_INTERVAL_SECONDS=10", "SYSTEM_ID=s1", "SYSTEM_NAME=s1",
			"SYSTEM_DATA_CENTRE=fra1", "SYSTEM_RACK=7", `SYSTEM_TAGS=["a","b"]`,
			"ENV_ID=e1", "ENV_NAME=production", "ENV_BASEURL=http://x", "ENV_PORT=1000000",
		} {
			want = append(want, prefix+variable)
		}
	}
	want = append(want, "GREETING=good day")
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

// lent is a lease with the values, which also notes for whom it was asked.
func lent(values map[string]string, entries *[]string) Lease {
	return func(_ context.Context, entry string) (map[string]string, error) {
		*entries = append(*entries, entry)
		return values, nil
	}
}

func TestL254_ScriptsGetTheirSecretsAndTheirOutputIsMasked(t *testing.T) {
	t.Parallel()
	values := map[string]string{"TOKEN": "canary-7f3a", "PIN": "123", "UNASKED": "unasked-value"}
	var entries []string
	a := shellScript(`echo "token=$TOKEN"; echo "${#TOKEN} ${UNASKED-none}"; echo "no $TOKEN" >&2; exit 1`, `,"secretEnv":{"TOKEN":"${{ secrets.token }}","PIN":"pin"}`)
	r := shell().Execute(t.Context(), a, nil, lent(values, &entries))
	wantFailure(t, r, "the script ended with code 1: no ****")
	got := ran(t, r)
	if got["stdout"] != "token=****\n11 none\n" || got["stderr"] != "no ****\n" {
		t.Errorf("the script printed %v", got)
	}
	if diff := cmp.Diff([]string{"e"}, entries); diff != "" {
		t.Errorf("leases (-want +got):\n%s", diff)
	}
	// Without secretEnv nothing is asked for, put in or masked.
	entries = nil
	r = shell().Execute(t.Context(), shellScript(`echo "canary-7f3a ${TOKEN-none}"`, `,"secretEnv":{}`), nil, lent(values, &entries))
	wantHealthy(t, r)
	if got := ran(t, r); got["stdout"] != "canary-7f3a none\n" || entries != nil {
		t.Errorf("without secrets: %v, leases %v", got, entries)
	}
}

// A secret that lies across the place where output is cut leaves no half behind.
func TestL254_OutputIsMaskedBeforeItIsCut(t *testing.T) {
	t.Parallel()
	values := map[string]string{"TOKEN": "canary-" + strings.Repeat("0123456789abcdef", 4)}
	var entries []string
	for _, before := range []int{maxOutput - 80, maxOutput - 30, maxOutput - 1, maxOutput, maxOutput + 5, maxOutput + 300, maxOutput + 420} {
		text := fmt.Sprintf(`head -c %d /dev/zero | tr '\0' x; printf "$TOKEN"; printf "$TOKEN"; head -c 2000 /dev/zero | tr '\0' y`, before)
		r := shell().Execute(t.Context(), shellScript(text, `,"secretEnv":{"TOKEN":"t"}`), nil, lent(values, &entries))
		wantHealthy(t, r)
		stdout := ran(t, r)["stdout"].(string)
		if strings.Contains(stdout, "canar") || len(stdout) > maxOutput+len("…") {
			t.Errorf("with %d bytes before it: %d bytes, the end %q", before, len(stdout), stdout[len(stdout)-120:])
		}
	}
}

func TestScriptsWithoutTheirSecretsAreNotCarriedOut(t *testing.T) {
	t.Parallel()
	a := shellScript(`echo ran`, `,"secretEnv":{"TOKEN":"t"}`)
	a.Collectors = append(a.Collectors, protocol.Collector{ID: "other", CollectorID: check.ScriptExecute, Config: json.RawMessage(`{"script":"echo ran"}`)})
	for name, lease := range map[string]Lease{
		"none":  nil,
		"empty": func(context.Context, string) (map[string]string, error) { return map[string]string{}, nil },
	} {
		r := shell().Execute(t.Context(), a, nil, lease)
		if r.Status != check.Degraded || r.Message != "Check not carried out: e: the secret for TOKEN did not come" {
			t.Errorf("%s: %s, %q", name, r.Status, r.Message)
		}
	}
	// What is an error of ours is degraded; of an original core it is the check's.
	ours := func(context.Context, string) (map[string]string, error) { return nil, Unable("Secret not found: t") }
	r := shell().Execute(t.Context(), a, nil, ours)
	if r.Status != check.Degraded || r.Message != "Check not carried out: e: Secret not found: t" {
		t.Errorf("ours: %s, %q", r.Status, r.Message)
	}
	theirs := func(context.Context, string) (map[string]string, error) {
		return nil, errors.New("Secret not found: t")
	}
	r = shell().Execute(t.Context(), a, nil, theirs)
	if got := object(t, r, "e")["error"]; r.Status != check.Unhealthy || r.Message != "Check failed: e: Secret not found: t" || got != "Secret not found: t" {
		t.Errorf("theirs: %s, %q, %v", r.Status, r.Message, got)
	}
	var other map[string]any
	if err := json.Unmarshal(r.Metadata.Collectors["other"], &other); err != nil || other["stdout"] != "ran\n" {
		t.Errorf("the other collector found %v (%v)", other, err)
	}
}

func TestM37_OutputIsBoundedAndDoesNotHoldTheScriptUp(t *testing.T) {
	t.Parallel()
	r := shell().Execute(t.Context(), shellScript(`head -c 5000000 /dev/zero | tr '\0' x; echo done >&2`, ``), nil, nil)
	wantHealthy(t, r)
	got := ran(t, r)
	if n := len(got["stdout"].(string)); n > maxOutput+len("…") || n < maxOutput/2 || got["stderr"] != "done\n" {
		t.Errorf("kept %d bytes, stderr %q", n, got["stderr"])
	}
}

func TestScriptsRunInADirectoryOfTheirOwn(t *testing.T) {
	t.Parallel()
	wantHealthy(t, shell().Execute(t.Context(), shellScript(`test -z "$(ls -A)" && echo x >file`, ``), nil, nil))
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "node_modules", "left-pad"), 0o700); err != nil {
		t.Fatal(err)
	}
	given := 0
	p := New(Options{AllowScripts: true, ScriptDir: func(context.Context) (string, func(), error) {
		given++
		return dir, func() { given-- }, nil
	}})
	r := p.Execute(t.Context(), shellScript(`ls node_modules; pwd`, ``), nil, nil)
	wantHealthy(t, r)
	if got := ran(t, r); got["stdout"] != "left-pad\n"+dir+"\n" || given != 0 {
		t.Errorf("printed %q, %d directories not given back", got["stdout"], given)
	}
	wantHealthy(t, p.Execute(t.Context(), shellScript(`test -d left-pad`, `,"cwd":"node_modules"`), nil, nil))
	p = New(Options{AllowScripts: true, ScriptDir: func(context.Context) (string, func(), error) {
		return "", nil, errors.New("no space left on device")
	}})
	r = p.Execute(t.Context(), shellScript(`true`, ``), nil, nil)
	if r.Status != check.Degraded || r.Message != "Check not carried out: this satellite has no directory to run a script in: no space left on device" {
		t.Errorf("without a directory: %s, %q", r.Status, r.Message)
	}
}
