package probe

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fence"
	"github.com/perigee-monitoring/perigee/internal/redact"
)

// Shell scripts run as the user of the satellite: they can read what it can read. That is
// why they are off unless the satellite's own operator allows them (Options.AllowScripts);
// a core alone cannot. Inline scripts run in a child that has nothing (package script).

const (
	// maxOutput is the most that is kept of what a script prints to stdout, and to stderr.
	maxOutput = 64 << 10
	// pipesLinger is how long after the end of a script its output is waited for, when
	// a process that left the group still holds it.
	pipesLinger = 500 * time.Millisecond
)

// scriptSession runs the scripts of one run. There is nothing to connect to.
type scriptSession struct {
	prober *Prober
	run    run
}

// offerScripts says which kinds of script can be run here.
func (p *Prober) offerScripts() {
	p.strategies[check.Script] = func(ctx context.Context, r run, config json.RawMessage) (session, error) {
		return p.connectScript(ctx, r, config)
	}
	switch {
	case !scriptsRun:
		p.missing[check.ScriptExecute] = "there is no shell on this system"
	case !p.options.AllowScripts:
		p.missing[check.ScriptExecute] = p.notAllowed()
	}
	if err := fence.Available(); err != nil {
		p.missing[check.ScriptInline] = err.Error()
	}
	p.findRuntimes()
	if p.missing[check.ScriptExecute] != "" && p.missing[check.ScriptInline] != "" {
		delete(p.strategies, check.Script)
		p.missing[check.Script] = p.missing[check.ScriptExecute]
	}
}

// notAllowed says why scripts that have files and programs are not run here.
func (p *Prober) notAllowed() string {
	return "its operator has not allowed shell scripts and programs; to allow them, " + cmp.Or(p.options.HowToAllow, "start it with --allow-scripts (or PERIGEE_ALLOW_SCRIPTS=true)")
}

// rules are what holds for scripts right now.
func (p *Prober) rules() fence.Rules {
	if p.options.Fence == nil {
		return nil
	}
	return p.options.Fence()
}

func (p *Prober) connectScript(_ context.Context, r run, raw json.RawMessage) (session, error) {
	if _, err := configure(r, raw, check.Decode[check.ScriptConfig]); err != nil {
		return nil, err
	}
	return &scriptSession{prober: p, run: r}, nil
}

func (s *scriptSession) collect(ctx context.Context, collectorID string, raw json.RawMessage) (any, error) {
	return s.collectWith(ctx, collectorID, raw, nil)
}

// collectWith runs one script with the secrets in its environment. What it prints is
// masked before it is cut: of a value that is cut in two, no half would be found.
func (s *scriptSession) collectWith(ctx context.Context, collectorID string, raw json.RawMessage, secrets map[string]string) (any, error) {
	if collectorID == check.ScriptInline {
		return s.inline(ctx, raw, secrets)
	}
	config, err := configure(s.run, raw, check.Decode[check.ScriptExecuteConfig])
	if err != nil {
		return nil, err
	}
	if err := leased(config.SecretEnv, secrets); err != nil {
		return nil, err
	}
	dir, done, err := s.prober.options.ScriptDir(ctx)
	if err != nil {
		return nil, unsupported{"this satellite has no directory to run a script in: " + err.Error()}
	}
	defer done()
	cwd := dir
	if config.Cwd != "" {
		cwd = config.Cwd
		if !filepath.IsAbs(cwd) {
			cwd = filepath.Join(dir, cwd)
		}
		if info, err := os.Stat(cwd); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("there is no directory %s", cut(config.Cwd, 200))
		}
	}
	rules := s.prober.rules()
	mask := newMasker(config.SecretEnv, secrets, rules.MaxOutput(min(maxOutput, s.run.bodyCap/2)))
	command := inShell(config.Script, cwd, s.run.environment(config.Env, config.SecretEnv, secrets))
	place := fence.Place{Scratch: dir, Closed: s.prober.options.Closed}
	if modules, err := filepath.EvalSymlinks(filepath.Join(dir, "node_modules")); err == nil {
		place.ReadOnly = append(place.ReadOnly, filepath.Dir(modules))
	}
	if rules.CloseFiles() { // whatever it would else write to is closed
		command.env = append(command.env, "TMPDIR="+dir, "HOME="+dir)
	}
	ran, err := s.execute(ctx, command, timeout(config.Timeout), mask, rules, place)
	if ran == nil {
		return nil, err
	}
	return fenced{&ran.ScriptExecuteResult, ran.held}, err
}

// leased reports a secret that was asked for and did not come.
func leased(wanted, got map[string]string) error {
	for name := range wanted {
		if _, ok := got[name]; !ok {
			return unsupported{"the secret for " + name + " did not come"}
		}
	}
	return nil
}

// launched is what is run for a script.
type launched struct {
	words []string
	cwd   string
	env   []string
	// answer is its descriptor 3, and then its errors are not kept apart from what else it
	// prints; nil for none.
	answer *os.File
}

func inShell(script, cwd string, env []string) launched {
	return launched{words: []string{"sh", "-c", script}, cwd: cwd, env: env}
}

// endedProgram is how a program ended.
type endedProgram struct {
	check.ScriptExecuteResult
	// memory says that it had no more, if it looks like that; "" if it does not.
	memory string
	held   string // by what, in words
}

// fenced is a result of a script, and what held it.
type fenced struct {
	result any
	fence  string
}

// execute runs a program to its end, or to the end of its time, within the rules.
func (s *scriptSession) execute(ctx context.Context, p launched, limit time.Duration, mask masker, rules fence.Rules, place fence.Place) (*endedProgram, error) {
	limited, cancel := within(ctx, limit)
	defer cancel()
	stdout, stderr := mask.capture(), mask.capture()
	command := exec.CommandContext(limited, p.words[0], p.words[1:]...)
	command.Dir, command.Env = p.cwd, p.env
	command.Stdout, command.Stderr = stdout, stderr
	if p.answer != nil {
		command.Stderr, command.ExtraFiles = stdout, []*os.File{p.answer}
	}
	command.WaitDelay = pipesLinger
	isolate(command)
	defer dieWithUs(command)()
	var start time.Time
	var held string
	code, err := rules.Run(limited, command, place, func(by string) { start, held = time.Now(), by })
	if _, closed := errors.AsType[*fence.Unenforced](err); closed || start.IsZero() {
		return nil, unsupported{"this satellite cannot start " + p.words[0] + ": " + err.Error()}
	}
	killGroup(command) // what it left behind in the background
	result := &endedProgram{held: held, ScriptExecuteResult: check.ScriptExecuteResult{
		ExitCode:        code,
		Stdout:          stdout.text(),
		Stderr:          stderr.text(),
		ExecutionTimeMs: precise(time.Since(start)),
		TimedOut:        limited.Err() != nil,
	}}
	peak := peakMemory(command.ProcessState)
	if killed, ok := errors.AsType[*fence.Killed](err); ok {
		peak = killed.Peak
	}
	result.memory = usedUp(result.Stdout+result.Stderr, code, peak, rules.Memory())
	result.Success = result.ExitCode == 0 && !result.TimedOut
	switch {
	case result.TimedOut:
		result.ExitCode = -1
		return result, opaque{explain(limited, limited.Err(), "running the script")}
	case result.Success:
		return result, nil
	case exceeded(err):
		return result, opaque{fmt.Errorf("the script was ended: %w", err)}
	case result.ExitCode < 0:
		return result, fmt.Errorf("the script was ended by a signal (%w)%s", err, result.memory)
	}
	return result, opaque{fmt.Errorf("the script ended with code %d%s%s", result.ExitCode, firstLine(result.Stderr), result.memory)}
}

// noMemory is what programs print that get no memory.
var noMemory = regexp.MustCompile(`(?i)out of memory|cannot allocate memory|memory exhaust|memoryexhaust|memoryerror|bad_alloc`)

// launcherMemory is more than what starts a program takes by itself, in bytes.
const launcherMemory = 128 << 20

// usedUp says what a program that failed might have taken of memory, where that seems to be
// why: it has printed so, or a signal ended it when it had taken more than half. Nobody is
// told by the system; a program that gets none ends as it likes.
func usedUp(printed string, code int, peak, limit int64) string {
	switch {
	case limit == 0 || code == 0:
		return ""
	case noMemory.MatchString(printed):
		return fmt.Sprintf("; each of its processes may have %d MiB of memory (perigee sandbox shows it)", limit>>20)
	case code < 0 && peak > max(limit/2, launcherMemory):
		return fmt.Sprintf("; it had taken %d MiB of memory, and each of its processes may have %d MiB (perigee sandbox shows it)", peak>>20, limit>>20)
	}
	return ""
}

func exceeded(err error) bool {
	_, is := errors.AsType[*fence.Exceeded](err)
	return is
}

// firstLine is what a message quotes of the errors that a script printed.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if line == "" {
		return ""
	}
	return ": " + cut(strings.TrimSpace(line), 200)
}

func (s *scriptSession) verdict() (check.Status, string) { return check.Healthy, "" }
func (s *scriptSession) timings() *check.Timings         { return nil }
func (s *scriptSession) close()                          {}

// inherited are the variables of the satellite that scripts get (spec G.7); its
// token is none of them.
var inherited = []string{"PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "HOSTNAME", "SHELL"}

// environment of a script: what it inherits, what its config sets, what the run
// knows of itself, its secrets. Later ones win.
func (r run) environment(env, secretEnv, secrets map[string]string) []string {
	variables := make(map[string]string)
	for _, name := range inherited {
		if value, ok := os.LookupEnv(name); ok {
			variables[name] = value
		}
	}
	maps.Copy(variables, env)
	maps.Copy(variables, r.told(secretEnv, secrets))
	list := make([]string, 0, len(variables))
	for name, value := range variables {
		list = append(list, name+"="+strings.ReplaceAll(value, "\x00", "�"))
	}
	return list
}

// told is what scripts of every kind find in their environment: what the run knows of
// itself, and the secrets.
func (r run) told(secretEnv, secrets map[string]string) map[string]string {
	variables := make(map[string]string)
	for name, value := range r.variables() {
		variables["CHECKSTACK_"+name], variables["PERIGEE_"+name] = value, value
	}
	for name := range secretEnv {
		variables[name] = secrets[name]
	}
	return variables
}

// variables are what a run knows of itself, without the prefix (spec G.7). An id or
// a name is not replaced by metadata that happens to be called so.
func (r run) variables() map[string]string {
	values := r.values()
	checked, system := values["check"].(map[string]any), values["system"].(map[string]any)
	all := make(map[string]string)
	addFields(all, "SYSTEM_", system["metadata"].(map[string]any))
	if environment, ok := values["environment"].(map[string]any); ok {
		fields, _ := environment["fields"].(map[string]any)
		addFields(all, "ENV_", fields)
		all["ENV_ID"], all["ENV_NAME"] = text(environment["id"]), text(environment["name"])
	}
	all["CHECK_ID"], all["CHECK_NAME"] = text(checked["id"]), text(checked["name"])
	all["CHECK_INTERVAL_SECONDS"] = text(checked["intervalSeconds"])
	all["SYSTEM_ID"], all["SYSTEM_NAME"] = text(system["id"]), text(system["name"])
	return all
}

var noVariable = regexp.MustCompile(`[^A-Z0-9_]+`)

func addFields(all map[string]string, prefix string, fields map[string]any) {
	for key, value := range fields {
		if name := noVariable.ReplaceAllString(strings.ToUpper(key), "_"); name != "" && len(name) <= 128 {
			all[prefix+name] = text(value)
		}
	}
}

// text is a value as a variable has it.
func text(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(encoded)
}

// masker takes the secrets of one script out of what it prints.
type masker struct {
	redactor *redact.Redactor
	// longest is the most bytes that one value can take up in any of its forms.
	longest int
	// most is how many bytes of a stream are kept.
	most int
}

func newMasker(secretEnv, secrets map[string]string, most int) masker {
	const widest = len(`\u0000`) // of one byte
	var values []string
	m := masker{most: most}
	for name := range secretEnv {
		values = append(values, secrets[name])
		m.longest = max(m.longest, widest*len(secrets[name]))
	}
	m.redactor = redact.New(values...)
	return m
}

func (m masker) capture() *capture { return &capture{mask: m} }

// capture keeps the beginning of a stream and reads on, so that the script is not
// held up by what nobody keeps.
type capture struct {
	mask masker

	mu   sync.Mutex // a process that left the group may write while text is called
	kept []byte
	more bool
}

func (c *capture) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	room := c.mask.most + c.mask.longest - len(c.kept)
	c.kept = append(c.kept, b[:min(len(b), room)]...)
	c.more = c.more || len(b) > room
	return len(b), nil
}

// text is what was kept, masked, then cut.
func (c *capture) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mask.cut(string(c.kept), c.more)
}

// cut masks what was kept of a stream, and bounds it. Where something is missing, the end
// may be the beginning of a secret, so it goes.
func (m masker) cut(kept string, more bool) string {
	all := m.redactor.String(kept)
	if more {
		all = all[:max(0, len(all)-m.longest)] + "…"
	}
	return cut(all, m.most)
}

// scratch makes a directory for one run.
func scratch(context.Context) (string, func(), error) {
	dir, err := os.MkdirTemp("", "perigee-script-")
	if err != nil {
		return "", nil, err
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil // what cannot be removed is the system's to tidy
}
