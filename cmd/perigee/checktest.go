package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fence"
	"github.com/perigee-monitoring/perigee/internal/probe"
	"github.com/perigee-monitoring/perigee/protocol"
)

// CheckTestCmd runs a script here, as a satellite would.
type CheckTestCmd struct {
	File    string            `arg:"" type:"existingfile" help:"The script: .ts, .js or .mjs for a module, anything else for the shell."`
	Env     map[string]string `mapsep:"none" placeholder:"NAME=VALUE" help:"A variable that the script finds as a secret of the satellite; may be repeated."`
	System  string            `default:"system" placeholder:"NAME" help:"What the system is called (default ${default})."`
	Root    string            `type:"existingdir" placeholder:"DIR" help:"Directory in whose node_modules imports are found; that of the script when left out."`
	Runtime string            `default:"builtin" enum:"builtin,node,bun" help:"Of a module: builtin, node or bun (default ${default})."`
	Within  time.Duration     `default:"10s" placeholder:"D" help:"The most that it may take (default ${default})."`
	Policy  string            `type:"existingfile" placeholder:"FILE" help:"Policy for scripts, as perigee sandbox get -o json shows it; when left out everything is allowed but link-local and metadata addresses."`
	Watch   bool              `short:"w" help:"Run it again whenever the file changes, until Ctrl-C."`
}

// Help says what the exit code means.
func (c *CheckTestCmd) Help() string {
	return `No core is asked. The code, the limits and the fence are those of a satellite. The exit
code is 0 when the script says healthy, else 1.`
}

// watchEvery is how often a watched file is looked at.
const watchEvery = 200 * time.Millisecond

// Run runs it, once or whenever it changes.
func (c *CheckTestCmd) Run(ctx context.Context, a *app) error {
	rules, err := c.rules()
	if err != nil {
		return err
	}
	prober := probe.New(probe.Options{Version: version, AllowScripts: true, ScriptDir: c.dir, Fence: func() fence.Rules { return rules }})
	for {
		before, failed := os.Stat(c.File)
		var status check.Status
		if err = failed; err == nil {
			status, err = c.once(ctx, a, prober)
		}
		switch {
		case !c.Watch && err == nil && status != check.Healthy:
			return fmt.Errorf("the script is %s: %w", status, errDifferent)
		case !c.Watch:
			return err
		case ctx.Err() != nil:
			return nil
		case err != nil: // what is wrong now may be right the next time
			fmt.Fprintf(a.errw, "perigee: %v\n", err)
		}
		fmt.Fprintf(a.errw, "Waiting for a change of %s …\n", c.File)
		if !c.change(ctx, before) {
			return nil
		}
	}
}

// change waits until the file is another than it was, nil for none, and reports that it is;
// false when it is waited for no more. One that is gone for a moment is being written.
func (c *CheckTestCmd) change(ctx context.Context, before os.FileInfo) bool {
	look := time.NewTicker(watchEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-look.C:
		}
		now, err := os.Stat(c.File)
		if err == nil && (before == nil || !os.SameFile(before, now) || !now.ModTime().Equal(before.ModTime()) || now.Size() != before.Size()) {
			return true
		}
	}
}

func (c *CheckTestCmd) rules() (fence.Rules, error) {
	p := fence.Default()
	p.Network = fence.Network{Mode: fence.NetworkUnrestricted, DenyLinkLocalAndMetadata: true}
	p.OnUnavailable = fence.UnavailableDegrade
	if c.Policy == "" {
		return fence.Rules{p}, nil
	}
	text, err := os.ReadFile(c.Policy)
	if err != nil {
		return nil, err
	}
	var setting struct {
		Policy json.RawMessage `json:"policy"` // as the command shows it
	}
	if json.Unmarshal(text, &setting) == nil && len(setting.Policy) > 0 {
		text = setting.Policy
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, fmt.Errorf("reading %s: %w", c.Policy, err)
	}
	return fence.Rules{p}, p.Validate()
}

// dir is what a run finds of the packages.
func (c *CheckTestCmd) dir(context.Context) (string, func(), error) {
	dir, err := os.MkdirTemp("", "perigee-script-")
	if err != nil {
		return "", nil, err
	}
	done := func() { _ = os.RemoveAll(dir) } // what cannot be removed is the system's to tidy
	root := c.Root
	if root == "" {
		root = filepath.Dir(c.File)
	}
	modules, err := filepath.Abs(filepath.Join(root, "node_modules"))
	if err != nil {
		done()
		return "", nil, err
	}
	if _, err := os.Stat(modules); err == nil {
		if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
			done()
			return "", nil, err
		}
	}
	return dir, done, nil
}

// once runs the file as it is now, and shows what became of it.
func (c *CheckTestCmd) once(ctx context.Context, a *app, prober *probe.Prober) (check.Status, error) {
	source, err := os.ReadFile(c.File)
	if err != nil {
		return "", err
	}
	secrets := map[string]string{}
	for name := range c.Env {
		secrets[name] = name
	}
	collector, config := check.ScriptExecute, any(map[string]any{"script": string(source), "timeout": c.Within.Milliseconds(), "secretEnv": secrets})
	switch filepath.Ext(c.File) {
	case ".ts", ".tsx", ".js", ".mjs", ".mts":
		collector = check.ScriptInline
		config = map[string]any{"script": string(source), "timeout": c.Within.Milliseconds(), "secretEnv": secrets, "runtime": c.Runtime}
	}
	raw, err := json.Marshal(config)
	if err != nil {
		return "", err
	}
	assignment := &protocol.Assignment{
		ConfigID: "test", ConfigName: filepath.Base(c.File), SystemID: c.System, SystemName: c.System, StrategyID: check.Script, IntervalSeconds: 60,
		Config: json.RawMessage(`{}`), Collectors: []protocol.Collector{{ID: "script", CollectorID: collector, Config: raw}},
	}
	if err := prober.Check(assignment); err != nil {
		return "", err
	}
	result := prober.Execute(ctx, assignment, nil, func(context.Context, string) (map[string]string, error) { return c.Env, nil })
	if err := ctx.Err(); err != nil { // then it says nothing of the script
		return "", err
	}
	shown := scriptTest{Result: result, Fence: result.Fences["script"]}
	return result.Status, a.print(shown, func(w *tabwriter.Writer) { scriptResult(w, shown) })
}

// scriptTest is what a script found, and what held it.
type scriptTest struct {
	check.Result
	Fence string `json:"fence,omitempty"`
}

func scriptResult(w *tabwriter.Writer, r scriptTest) {
	row(w, "Status", string(r.Status))
	row(w, "Took", fmt.Sprintf("%.0f ms", r.LatencyMs))
	if r.Status != check.Healthy {
		row(w, "Why", r.Message)
	}
	if r.Fence != "" {
		row(w, "Fence", r.Fence)
	}
	var found struct {
		Message, Output, Stdout, Stderr string
		Value                           *float64
		Stack                           []string
	}
	if json.Unmarshal(r.Metadata.Collectors["script"], &found) != nil {
		return
	}
	if found.Message != "" {
		row(w, "Message", found.Message)
	}
	if found.Value != nil {
		row(w, "Value", fmt.Sprint(*found.Value))
	}
	for i, at := range found.Stack {
		row(w, map[bool]string{true: "At"}[i == 0], at)
	}
	printed(w, "Printed", found.Output+found.Stdout)
	printed(w, "Errors", found.Stderr)
}

func printed(w *tabwriter.Writer, what, text string) {
	for line := range strings.Lines(text) {
		row(w, what, strings.TrimRight(line, "\n"))
		what = ""
	}
}
