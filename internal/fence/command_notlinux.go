//go:build !linux

package fence

import (
	"context"
	"os/exec"
)

// Run runs a command, which must not have been started, to its end, where the rules do not
// ask for a fence or can do without. It gives its exit code, -1 when it did not begin;
// started is called once it runs, with what holds it.
func (r Rules) Run(_ context.Context, command *exec.Cmd, _ Place, started func(held string)) (int, error) {
	if r.refuses() {
		return -1, &Unenforced{Available().Error()}
	}
	if err := command.Start(); err != nil {
		return -1, err
	}
	held := unheld
	if len(r.enabled()) > 0 {
		held = "nothing: " + Available().Error()
	}
	started(held)
	err := command.Wait()
	return command.ProcessState.ExitCode(), err
}
