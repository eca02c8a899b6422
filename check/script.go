package check

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Qualified ids of the script strategy and its collector (spec K.7).
const (
	Script        = "healthcheck-script.script"
	ScriptExecute = "healthcheck-script.execute"
)

func init() {
	register(strategy[ScriptConfig](Script, "Script", true),
		collector[ScriptExecuteConfig, ScriptExecuteResult](ScriptExecute, "Shell script", true))
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
	for field, variables := range map[string]map[string]string{"env": c.Env, "secretEnv": c.SecretEnv} {
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
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// usableVariable refuses variables that would change what is run rather than tell
// it something (spec G.7).
func usableVariable(name string) error {
	if !variable.MatchString(name) {
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
