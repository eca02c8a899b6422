package probe

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// peakMemory is the most that one process of a command had at once, in bytes; 0 where that
// is not known: a process begins in the memory of who starts it, and the kernel counts that
// as its own, so that less than we had ourselves says nothing.
func peakMemory(ended *os.ProcessState) int64 {
	usage, ok := ended.SysUsage().(*syscall.Rusage)
	var ours syscall.Rusage
	if !ok || syscall.Getrusage(syscall.RUSAGE_SELF, &ours) != nil || usage.Maxrss <= ours.Maxrss {
		return 0
	}
	return usage.Maxrss << 10
}

// dieWithUs lets the kernel end the shell when the satellite is killed, and nobody is
// left to do it. The kernel goes by the thread that started it, so that thread is kept
// until the script has ended.
func dieWithUs(command *exec.Cmd) (done func()) {
	runtime.LockOSThread()
	command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return runtime.UnlockOSThread
}
