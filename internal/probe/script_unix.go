//go:build unix

package probe

import (
	"os/exec"
	"syscall"
)

// scriptsRun: this system has a shell, and groups of processes to end.
const scriptsRun = true

// isolate gives the command a session of its own, whose first group is ended as a whole
// when its time is over. It has no terminal: neither does a Ctrl-C at the satellite's reach
// it, nor can it type there.
func isolate(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
}

// killGroup ends what is left of the command's group. The group's number cannot have
// been given away while a process is in it; when none is, there is nobody to end.
func killGroup(command *exec.Cmd) { _ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
