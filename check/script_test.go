package check_test

import (
	"encoding/json"
	"testing"

	"github.com/perigee-monitoring/perigee/check"
)

func TestScriptsCannotSetWhatChangesTheirInterpreter(t *testing.T) {
	t.Parallel()
	kind, _ := check.CollectorKind(check.ScriptExecute)
	for config, want := range map[string]string{
		`{"script":"true"}`: "",
		`{"script":"true","env":{"GREETING":"hello"},"secretEnv":{"_t0k":"api-token"}}`: "",
		`{"env":{}}`:                                         "script is missing",
		`{"script":"x","timeout":99}`:                        "timeout must be at least 100",
		`{"script":"x","timeout":3e5}`:                       "",
		`{"script":"x","timeout":300001}`:                    "timeout must be at most 300000",
		`{"script":"x","env":[]}`:                            "env must be an object, not array",
		`{"script":"x","env":{"LD_PRELOAD":"/tmp/x.so"}}`:    "env must not set LD_PRELOAD",
		`{"script":"x","env":{"DYLD_INSERT_LIBRARIES":"x"}}`: "env must not set DYLD_INSERT_LIBRARIES",
		`{"script":"x","env":{"NODE_OPTIONS":"-r x"}}`:       "env must not set NODE_OPTIONS",
		`{"script":"x","env":{"BUN_CONFIG_REGISTRY":"x"}}`:   "env must not set BUN_CONFIG_REGISTRY",
		`{"script":"x","env":{"BUN_INSTALL":"x"}}`:           "env must not set BUN_INSTALL",
		`{"script":"x","secretEnv":{"PATH":"x"}}`:            "secretEnv must not set PATH",
		`{"script":"x","secretEnv":{"1ST":"x"}}`:             `secretEnv "1ST" is no name of a variable: letters, digits and underscores, at most 128, the first no digit`,
		`{"script":"x","env":{"A=B":"x"}}`:                   `env "A=B" is no name of a variable: letters, digits and underscores, at most 128, the first no digit`,
		`{"script":"x","env":{"A":"nul\u0000"}}`:             "env.A holds a NUL",
	} {
		_, err := kind.Decode(json.RawMessage(config))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", config, got, want)
		}
	}
}
