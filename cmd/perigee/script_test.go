package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/npmtest"
	"github.com/perigee-monitoring/perigee/internal/server"
)

// TestScripts are sessions at a terminal: this program in processes of its own,
// asking a real core that each script has for itself.
func TestScripts(t *testing.T) {
	t.Parallel()
	registry := npmtest.New(t).URL
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"), Setup: func(env *testscript.Env) error { return withCore(env, registry, "") }, RequireExplicitExec: true, RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// TestScriptsOnPostgreSQL are those of what reacts, which the database decides.
func TestScriptsOnPostgreSQL(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"automation", "incident"} {
		database := dbtest.PostgreSQL(t)
		testscript.Run(t, testscript.Params{
			Files: []string{filepath.Join("testdata", "script", name+".txtar")}, Setup: func(env *testscript.Env) error { return withCore(env, "", database) },
			RequireExplicitExec: true, RequireUniqueNames: true, Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		})
	}
}

const scriptToken = "perigee_test-administrator"

// withCore runs a core until the script ends, on SQLite when no database is given.
// Packages come from the registry.
func withCore(env *testscript.Env, registry, database string) error {
	dir := filepath.Join(env.WorkDir, ".core")
	if database == "" {
		if err := dbtest.File(filepath.Join(dir, "perigee.db")); err != nil {
			return err
		}
	}
	started, err := served("--no-local")
	if err != nil {
		return err
	}
	s, err := server.New(context.Background(), server.Config{
		Settings: started,
		Listen:   "127.0.0.1:0", DataDir: dir, AdminToken: scriptToken, Version: "test", Registry: registry, Database: database,
		Log: slog.New(slog.NewTextHandler(scriptLog{env.T()}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	env.Defer(func() {
		cancel()
		if err := <-ended; err != nil {
			env.T().Log("the core ended with", err)
			env.T().FailNow()
		}
	})
	env.Setenv("PERIGEE_URL", s.URL())
	env.Setenv("PERIGEE_TOKEN", scriptToken)
	env.Setenv("REGISTRY", registry)
	env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
	return nil
}

type scriptLog struct{ t testscript.T }

func (l scriptLog) Write(line []byte) (int, error) {
	l.t.Log(string(line))
	return len(line), nil
}

// exits is "exits CODE perigee ARGUMENT…": exec for a program that ends with the
// code, other than zero.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGUMENT…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	ended, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		ts.Fatalf("it ended with %v, not with exit code %d", err, want)
	}
	if got := ended.ExitCode(); got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
