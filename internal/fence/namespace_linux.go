package fence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// namespaces are how a program gets a world of its own on this machine: its processes,
// mounts, names and, where it is to have no network, its own of that. They are a further
// layer, and nothing is refused for want of them: hardened machines and containers withhold
// them.
type namespaces struct {
	// user: they come with one of users, which is what those who are not root need.
	user bool
	// proc: a /proc of its own can be had, which shows only what is in it.
	proc bool
	// mounts: others of its own can be had.
	mounts bool
}

// hides reports whether the satellite's own files can be hidden in them. To root that stays
// root nothing is: it finds them by way of other processes, or on the disk.
func (n namespaces) hides() bool { return n.user && n.mounts }

// What this machine offers, found out by trying.
var (
	withUsers    = sync.OnceValues(func() (namespaces, error) { return try(namespaces{user: true}) })
	withoutUsers = sync.OnceValues(func() (namespaces, error) { return try(namespaces{}) })
)

// namespaces says which the program can have. Root that stays root has none of users: it
// would not be root in it. Root that becomes another has, because there the processes of
// each script are counted by themselves.
func (c Confinement) namespaces() (namespaces, error) {
	root := os.Geteuid() == 0
	if !root || c.UID != nil {
		if n, err := withUsers(); err == nil || !root {
			return n, err
		}
	}
	return withoutUsers()
}

// try starts a launcher that only settles.
func try(n namespaces) (namespaces, error) {
	var failed error
	for _, has := range []namespaces{{proc: true, mounts: true}, {mounts: true}, {}} {
		n.proc, n.mounts = has.proc, has.mounts
		l := launch{Init: true, Proc: n.proc}
		if n.mounts {
			l.Own = realPaths([]string{configDir, "/proc/self/exe"}) // a directory and a file
		}
		spec, err := json.Marshal(l)
		if err != nil {
			return n, err
		}
		command := exec.Command("/proc/self/exe")
		command.Args, command.Env = []string{launcherName, string(spec)}, []string{}
		command.SysProcAttr = &syscall.SysProcAttr{}
		var said bytes.Buffer
		command.Stderr = &said
		n.unshare(command.SysProcAttr, Confinement{NoNetwork: true})
		if err = command.Run(); err == nil {
			return n, nil
		}
		failed = errors.Join(failed, fmt.Errorf("%w %s", err, bytes.TrimSpace(said.Bytes())))
	}
	return n, failed
}

// unshare lets a command begin in namespaces of its own.
func (n namespaces) unshare(attr *syscall.SysProcAttr, c Confinement) {
	attr.Cloneflags |= unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	if c.NoNetwork {
		attr.Cloneflags |= unix.CLONE_NEWNET
	}
	if !n.user {
		return
	}
	attr.Cloneflags |= unix.CLONE_NEWUSER
	attr.UidMappings, attr.GidMappings = same(os.Geteuid(), c.UID), same(os.Getegid(), c.GID)
	attr.GidMappingsEnableSetgroups = os.Geteuid() == 0
	if os.Geteuid() != 0 { // who is not root would lose, as it begins, what it needs to settle
		attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
	}
}

// same are ids that mean in a namespace what they mean outside.
func same(id int, further *int64) []syscall.SysProcIDMap {
	ids := []syscall.SysProcIDMap{{ContainerID: id, HostID: id, Size: 1}}
	if further != nil && int(*further) != id {
		ids = append(ids, syscall.SysProcIDMap{ContainerID: int(*further), HostID: int(*further), Size: 1})
	}
	return ids
}

// settle makes namespaces that a launcher has begun in fit to live in.
func (l launch) settle() error {
	if l.Proc || l.Own != nil {
		if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("keeping mounts to itself: %w", err)
		}
	}
	if l.Own != nil {
		if err := cover(l.Own, l.Kept); err != nil {
			return err
		}
	}
	if l.Proc {
		if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return fmt.Errorf("mounting /proc: %w", err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up capabilities: %w", err)
	}
	return nil
}

// launcherThreads are set aside for the launcher's own threads, which count as processes.
const launcherThreads = 16

// launcherData is more than a launcher takes of what is counted as data, in bytes: a limit that
// is not lower can be its own, too. Else a shell between it and the program has it, which costs
// as much processor time as any.
const launcherData = 256 << 20

// lead runs the program as the first process of its namespace: it buries whom others leave
// behind, and when it ends the kernel ends all that is left. It does not return if the
// program has begun.
func lead(program string, args, environ []string, memory int64, handover *os.File) error {
	switch limit := uint64(memory); {
	case memory <= 0:
	case memory >= launcherData:
		if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("limiting memory: %w", err)
		}
	default: // this process, which stays, takes more
		args = append([]string{"sh", "-c", `ulimit -d "$0" && exec "$@"`, strconv.FormatInt((memory+1023)/1024, 10), program}, args[1:]...)
		program = "/bin/sh"
	}
	var files []uintptr // its own are before the handover
	for i := range handover.Fd() {
		files = append(files, i)
	}
	pid, err := syscall.ForkExec(program, args, &syscall.ProcAttr{
		Env: environ, Files: files, Sys: &syscall.SysProcAttr{Setsid: true}, // a script that signals its group does not mean this process
	})
	if err != nil {
		return err
	}
	for {
		var status syscall.WaitStatus
		var used syscall.Rusage
		switch ended, err := syscall.Wait4(-1, &status, 0, &used); {
		case err != nil && !errors.Is(err, syscall.EINTR):
			return fmt.Errorf("waiting for the program: %w", err)
		case ended != pid:
		case status.Signaled():
			_, _ = fmt.Fprintf(handover, "%08d%016d", int(status.Signal()), used.Maxrss<<10) // nobody may listen any more
			os.Exit(128 + int(status.Signal()))
		default:
			os.Exit(status.ExitStatus())
		}
	}
}
