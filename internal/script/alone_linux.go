package script

import (
	"os/exec"
	"runtime"
	"syscall"
)

// alone gives the child a session of its own, and lets the kernel end it with this
// process. The kernel goes by the thread that started it, so that thread is kept until
// release is called, by the same goroutine.
func alone(command *exec.Cmd) (release func()) {
	runtime.LockOSThread()
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	return runtime.UnlockOSThread
}
