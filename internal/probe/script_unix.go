//go:build unix

package probe

import (
	"os/exec"
	"syscall"
)

// scriptsRun: this system has a shell, and groups of processes to end.
const scriptsRun = true

// isolate gives the command a process group of its own, which is ended as a whole
// when its time is over. A Ctrl-C at the satellite's terminal does not reach it.
func isolate(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
}

// killGroup ends what is left of the command's group. The group's number cannot have
// been given away while a process is in it; when none is, there is nobody to end.
func killGroup(command *exec.Cmd) { _ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
