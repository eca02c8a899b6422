package probe

import (
	"os/exec"
	"runtime"
	"syscall"
)

// dieWithUs lets the kernel end the shell when the satellite is killed, and nobody is
// left to do it. The kernel goes by the thread that started it, so that thread is kept
// until the script has ended.
func dieWithUs(command *exec.Cmd) (done func()) {
	runtime.LockOSThread()
	command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return runtime.UnlockOSThread
}
