package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fence"
	"github.com/perigee-monitoring/perigee/internal/script"
)

// runtimes are the programs that inline scripts can ask for, and how each is started: it is
// to fetch no packages by itself.
var runtimes = map[string]func(main string) []string{
	check.RuntimeNode: func(main string) []string { return []string{main} },
	check.RuntimeBun:  func(main string) []string { return []string{"--no-install", main} },
}

// findRuntimes looks which of them this machine has.
func (p *Prober) findRuntimes() {
	p.runtimes = map[string]string{}
	for name := range runtimes {
		if path, err := exec.LookPath(name); err == nil {
			if path, err = filepath.EvalSymlinks(path); err == nil {
				p.runtimes[name] = path
			}
		}
	}
}

// lacksRuntime says why inline scripts cannot have a runtime here; "" when they can.
func (p *Prober) lacksRuntime(name string) string {
	switch {
	case name == check.RuntimeBuiltin:
		return ""
	case p.runtimes[name] == "":
		return fmt.Sprintf("no %s is in its PATH; install it there, or set runtime to %s", name, check.RuntimeBuiltin)
	case !p.options.AllowScripts:
		return p.notAllowed()
	}
	return ""
}

// noRuntime is what comes of inline scripts that are to run in what is not here.
func (p *Prober) noRuntime(name string) error {
	return unsupported{fmt.Sprintf("this satellite runs no scripts in %s: %s", name, p.lacksRuntime(name))}
}

// hosted runs a module in a program of this machine, within the rules for scripts as shell
// scripts are. What it comes to it says by a pipe of its own, so that nothing that it
// prints can be taken for it. held is what held it, "" if it did not begin.
func (s *scriptSession) hosted(ctx context.Context, config check.ScriptInlineConfig, in script.Input, dir string, secrets map[string]string, mask masker) (outcome script.Outcome, held string, err error) {
	program, err := s.prober.scripts.Program(ctx, in)
	if err != nil {
		return outcome, "", err
	}
	for name, text := range program.Files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil { //nolint:gosec // whoever it runs as reads it
			return outcome, "", unsupported{"this satellite cannot write a script down: " + err.Error()}
		}
	}
	path := s.prober.runtimes[config.Runtime]
	answer, theirs, err := os.Pipe()
	if err != nil {
		return outcome, "", unsupported{"this satellite cannot start " + config.Runtime + ": " + err.Error()}
	}
	defer answer.Close()
	rules := s.prober.rules()
	command := launched{
		words: append([]string{path}, runtimes[config.Runtime](filepath.Join(dir, program.Main))...), cwd: dir,
		env: s.run.environment(nil, config.SecretEnv, secrets), answer: theirs,
	}
	if rules.CloseFiles() {
		command.env = append(command.env, "TMPDIR="+dir, "HOME="+dir)
	}
	said := make(chan []byte, 1)
	go func() {
		text, _ := io.ReadAll(io.LimitReader(answer, script.MaxAnswer+1)) // what is missing makes no answer
		said <- text
		_, _ = io.Copy(io.Discard, answer) // so that it is not held up
	}()
	ran, err := s.execute(ctx, command, timeout(config.Timeout), mask, rules, fence.Place{Scratch: dir, ReadOnly: []string{path}, Closed: s.prober.options.Closed})
	theirs.Close()
	_ = answer.SetReadDeadline(time.Now().Add(pipesLinger)) // a process that left the group may hold it
	text := <-said
	if ran == nil { // it did not start
		return outcome, "", err
	}
	if ran.TimedOut {
		return script.Outcome{Output: ran.Stdout}, ran.held, script.ErrTimeout
	}
	if exceeded(err) {
		return script.Outcome{Output: ran.Stdout}, ran.held, &script.Error{Message: err.Error()}
	}
	outcome, err = program.Outcome(text)
	outcome.Output = ran.Stdout
	if failed, ok := errors.AsType[*script.Error](err); ok {
		switch {
		case len(text) > 0 && !noMemory.MatchString(failed.Message):
		case len(text) > 0:
			failed.Message += usedUp(failed.Message, -1, 0, rules.Memory())
		case ran.memory != "":
			failed.Message = config.Runtime + " ran out of memory" + ran.memory
		default:
			failed.Message += fmt.Sprintf(" (%s ended with code %d%s)", config.Runtime, ran.ExitCode, firstLine(ran.Stdout))
		}
	}
	return outcome, ran.held, err
}
