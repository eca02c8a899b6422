package check

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Qualified ids of the script strategy and its collectors (spec K.7).
const (
	Script        = "healthcheck-script.script"
	ScriptExecute = "healthcheck-script.execute"
	ScriptInline  = "healthcheck-script.inline-script"
)

func init() {
	register(strategy[ScriptConfig](Script, "Script", true),
		collector[ScriptExecuteConfig, ScriptExecuteResult](ScriptExecute, "Shell script", true),
		collector[ScriptInlineConfig, ScriptInlineResult](ScriptInline, "TypeScript", true))
}

// ScriptConfig is the config of healthcheck-script.script: scripts that run where the
// satellite stands.
type ScriptConfig struct {
	// There for the original's sake: each script has a limit of its own.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
}

func (c *ScriptConfig) defaults() { c.Timeout = 30_000 }

// ScriptExecuteConfig is the config of healthcheck-script.execute: one shell script.
type ScriptExecuteConfig struct {
	// What sh -c gets. Templates are not filled in; what a run knows of itself is in its environment.
	Script string `json:"script" jsonschema:"title=Script,required,minLength=1"`
	// Directory in which it runs, from that of the packages if it does not begin with a slash. Default: that of the packages.
	Cwd string `json:"cwd,omitempty" jsonschema:"title=Working directory" check:"templatable"`
	// Variables of its environment.
	Env map[string]string `json:"env,omitempty" jsonschema:"title=Environment"`
	// Variables whose values are secrets: ${{ secrets.NAME }} in a text, or the bare name of one.
	SecretEnv map[string]string `json:"secretEnv,omitempty" jsonschema:"title=Secrets in the environment"`
	// The most that it may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100,maximum=300000"`
}

func (c *ScriptExecuteConfig) defaults() { c.Timeout = 30_000 }

// valid holds the names of variables against what no tag can say.
func (c ScriptExecuteConfig) valid() error {
	return usableVariables(map[string]map[string]string{"env": c.Env, "secretEnv": c.SecretEnv})
}

func usableVariables(fields map[string]map[string]string) error {
	for field, variables := range fields {
		for name, value := range variables {
			if err := usableVariable(name); err != nil {
				return fmt.Errorf("%s %w", field, err)
			}
			if strings.ContainsRune(value, 0) {
				return fmt.Errorf("%s.%s holds a NUL", field, name)
			}
		}
	}
	return nil
}

// variable is a name that a shell can refer to (spec H.1).
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

const maxVariable = 128 // not in the expression, which would be that many times as large

// usableVariable refuses variables that would change what is run rather than tell
// it something (spec G.7).
func usableVariable(name string) error {
	if len(name) > maxVariable || !variable.MatchString(name) {
		return fmt.Errorf("%q is no name of a variable: letters, digits and underscores, at most 128, the first no digit", Truncate(name, 140))
	}
	upper := strings.ToUpper(name)
	loader := strings.HasPrefix(upper, "LD_") || strings.HasPrefix(upper, "DYLD_") || strings.HasPrefix(upper, "BUN_CONFIG_")
	if loader || slices.Contains([]string{"PATH", "NODE_OPTIONS", "BUN_INSTALL"}, upper) {
		return fmt.Errorf("must not set %s", name)
	}
	return nil
}

// ScriptExecuteResult is what one script did.
type ScriptExecuteResult struct {
	// -1 when it was ended before it ended by itself.
	ExitCode int `json:"exitCode"`
	// The beginning of what it printed; secrets are masked.
	Stdout          string  `json:"stdout"`
	Stderr          string  `json:"stderr"`
	ExecutionTimeMs float64 `json:"executionTimeMs"`
	// The exit code is 0.
	Success  bool `json:"success"`
	TimedOut bool `json:"timedOut"`
}

// Runtimes of inline scripts.
const (
	RuntimeBuiltin = "builtin"
	RuntimeNode    = "node"
	RuntimeBun     = "bun"
)

// ScriptInlineConfig is the config of healthcheck-script.inline-script: one module in
// TypeScript or JavaScript (spec G.7).
type ScriptInlineConfig struct {
	// The module: it exports a function as its default, or just returns. What a run knows of itself is globalThis.context.
	Script string `json:"script" jsonschema:"title=Script,required,minLength=1"`
	// Variables of process.env whose values are secrets: ${{ secrets.NAME }} in a text, or the bare name of one.
	SecretEnv map[string]string `json:"secretEnv,omitempty" jsonschema:"title=Secrets in the environment"`
	// The most that it may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=1000,maximum=60000"`
	// builtin is in every satellite. node and bun run where they are installed and scripts are allowed.
	Runtime string `json:"runtime" jsonschema:"title=Runtime,enum=builtin,enum=node,enum=bun"`
}

func (c *ScriptInlineConfig) defaults() { c.Timeout, c.Runtime = 10_000, RuntimeBuiltin }

func (c ScriptInlineConfig) valid() error {
	return usableVariables(map[string]map[string]string{"secretEnv": c.SecretEnv})
}

// ScriptInlineResult is what one module came to.
type ScriptInlineResult struct {
	// What it returned, or was made of that: false when it failed.
	Success bool `json:"success"`
	// What it said.
	Message string `json:"message,omitempty"`
	// What it measured.
	Value           *float64 `json:"value,omitempty"`
	ExecutionTimeMs float64  `json:"executionTimeMs"`
	TimedOut        bool     `json:"timedOut"`
	// The beginning of what it printed; secrets are masked.
	Output string `json:"output,omitempty"`
	// Where it failed, the innermost place first.
	Stack []string `json:"stack,omitempty"`
}
