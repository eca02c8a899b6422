package fence

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Confine takes from this process, and from all that it will start, what c names. It
// cannot be undone. An error says what this kernel does not offer; then it is confined in
// part, and should end.
func Confine(c Confinement) error {
	if err := limit(c); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up new privileges: %w", err)
	}
	if c.NoFiles { // before its rights to open them are gone
		readable, files := parted(c.ReadOnly)
		if err := landlock.V5.BestEffort().RestrictPaths(
			landlock.RODirs(readable...).IgnoreIfMissing(), landlock.ROFiles(files...).IgnoreIfMissing(),
			landlock.RWDirs(c.ReadWrite...).IgnoreIfMissing(),
			landlock.RWFiles("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty").IgnoreIfMissing(),
		); err != nil {
			return fmt.Errorf("closing the files (Landlock): %w", err)
		}
		// Signals, and sockets without a name in the file system, to whoever is outside.
		if err := landlock.V6.BestEffort().RestrictScoped(); err != nil {
			return fmt.Errorf("closing the processes (Landlock): %w", err)
		}
	}
	if err := forgo(c); err != nil {
		return err
	}
	if err := become(c.UID, c.GID); err != nil {
		return err
	}
	return filter(c)
}

// forgo takes from programs of root, when this thread starts them or becomes one, those of
// its rights that would open again what is closed.
func forgo(c Confinement) error {
	var rights []uintptr
	if c.NoFiles { // the disk, as a device made anew; the memory of all
		rights = append(rights, unix.CAP_MKNOD, unix.CAP_SYS_RAWIO)
	}
	if c.NoNetwork || c.Watched { // one address in the clothes of another
		rights = append(rights, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW)
	}
	for _, right := range rights {
		// Who may not even give up rights has none.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, right, 0, 0, 0); err != nil && !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("giving up rights of root: %w", err)
		}
	}
	return nil
}

// parted tells directories from files; Landlock wants to know.
func parted(paths []string) (dirs, files []string) {
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			files = append(files, path)
		} else {
			dirs = append(dirs, path)
		}
	}
	return dirs, files
}

func limit(c Confinement) error {
	for _, l := range []struct {
		what  string
		which int
		most  int64
	}{
		{"memory", unix.RLIMIT_DATA, dataLimit(c.Memory)},
		{"CPU time", unix.RLIMIT_CPU, c.CPUSeconds},
		{"open files", unix.RLIMIT_NOFILE, c.OpenFiles},
		{"processes", unix.RLIMIT_NPROC, c.Processes},
		{"file sizes", unix.RLIMIT_FSIZE, c.FileSize},
	} {
		if l.most <= 0 {
			continue
		}
		var now unix.Rlimit
		if err := unix.Getrlimit(l.which, &now); err != nil {
			return fmt.Errorf("limiting %s: %w", l.what, err)
		}
		most := min(uint64(l.most), now.Max) // nobody but root may raise it
		// Through package syscall, which else gives programs the old limit of files back.
		if err := syscall.Setrlimit(l.which, &syscall.Rlimit{Cur: most, Max: most}); err != nil {
			return fmt.Errorf("limiting %s: %w", l.what, err)
		}
	}
	// Nobody reads a core of what others run, and it may hold secrets.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("limiting core files: %w", err)
	}
	return nil
}

// become gives up being who this process is, for good. That it ends with its parent, where
// it does, would be forgotten with it.
func become(uid, gid *int64) error {
	var withParent int32
	if _, _, errno := unix.Syscall(unix.SYS_PRCTL, unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&withParent)), 0); errno != 0 { //nolint:gosec // how it is called
		return fmt.Errorf("asking how it ends: %w", errno)
	}
	if gid != nil {
		if err := syscall.Setgroups(nil); err != nil {
			return fmt.Errorf("leaving the groups: %w", err)
		}
		if err := syscall.Setresgid(int(*gid), int(*gid), int(*gid)); err != nil {
			return fmt.Errorf("becoming group %d: %w", *gid, err)
		}
	}
	if uid != nil {
		if err := syscall.Setresuid(int(*uid), int(*uid), int(*uid)); err != nil {
			return fmt.Errorf("becoming user %d: %w", *uid, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(withParent), 0, 0, 0); err != nil {
		return fmt.Errorf("ending with its parent: %w", err)
	}
	return nil
}

var (
	// networkCalls make or use sockets.
	networkCalls = []string{"socket", "connect", "bind", "listen", "accept", "accept4"}
	// programCalls start programs.
	programCalls = []string{"execve", "execveat", "fork", "vfork"}
	// neverCalls are for those who administer a machine, or look into other processes. The
	// rings of io_uring do what other calls do, past every filter.
	neverCalls = []string{
		"ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "mount", "umount2", "pivot_root", "chroot", "unshare", "setns",
		"bpf", "perf_event_open", "keyctl", "add_key", "request_key", "userfaultfd", "open_by_handle_at", "name_to_handle_at", "kexec_load", "kexec_file_load",
		"init_module", "finit_module", "delete_module", "reboot", "swapon", "swapoff", "acct", "quotactl", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex",
		"sethostname", "setdomainname", "iopl", "ioperm", "personality", "move_mount", "open_tree", "fsopen", "fsmount", "mount_setattr",
		"io_uring_setup", "io_uring_enter", "io_uring_register",
	}
	// namespaceFlags make, of a new process, the first of new namespaces, in which it may do
	// what it may not do here. What clone3 is asked cannot be looked at; programs are told
	// that the kernel does not have it, and ask clone.
	namespaceFlags = uint64(unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET)
	notThere       = seccomp.ActionErrno | seccomp.Action(unix.ENOSYS)
	// watchedCalls are those by which a process reaches others over the network.
	watchedCalls = []string{"socket", "connect", "sendto", "sendmsg", "sendmmsg"}
)

// filter takes system calls away.
func filter(c Confinement) error {
	names := neverCalls
	if c.NoNetwork {
		names = append(names[:len(names):len(names)], networkCalls...)
	}
	if c.NoPrograms {
		names = append(names[:len(names):len(names)], programCalls...)
	}
	names, err := known(names)
	if err != nil {
		return err
	}
	groups := []seccomp.SyscallGroup{
		{Names: names, Action: seccomp.ActionErrno},
		{Names: []string{"clone3"}, Action: notThere},
		{Action: seccomp.ActionErrno, NamesWithCondtions: []seccomp.NameWithConditions{{
			Name: "clone", Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.BitsSet, Value: namespaceFlags}},
		}}},
	}
	if c.NoPrograms { // a thread is no program
		groups = append(groups, seccomp.SyscallGroup{Action: seccomp.ActionErrno, NamesWithCondtions: []seccomp.NameWithConditions{{
			Name: "clone", Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.BitsNotSet, Value: unix.CLONE_THREAD}},
		}}})
	}
	_, err = install(groups, unix.SECCOMP_FILTER_FLAG_TSYNC)
	return err
}

// watch lets this process, and all that it will start, wait for the answer of whoever
// holds the descriptor before they reach somebody over the network.
func watch() (descriptor int, err error) {
	names, err := known(watchedCalls)
	if err != nil {
		return -1, err
	}
	return install([]seccomp.SyscallGroup{{Names: names, Action: seccomp.ActionUserNotify}},
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_TSYNC|unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH)
}

const (
	// numberOffset is where a filter finds the number of a call, and archOffset for which
	// architecture it is meant (seccomp(2)).
	numberOffset = 0
	archOffset   = 4
	// firstX32 is the first number of a call by x32, which says that it is of its host's
	// architecture. No other has numbers as high.
	firstX32 = 0x40000000
)

// install loads a filter. Calls by another ABI, of which the same numbers mean something
// else, end the process: the library would let some of them through.
func install(groups []seccomp.SyscallGroup, flags uintptr) (int, error) {
	info, err := arch.GetInfo("")
	if err != nil {
		return -1, fmt.Errorf("filtering system calls: %w", err)
	}
	policy := seccomp.Policy{DefaultAction: seccomp.ActionAllow, Syscalls: groups}
	instructions, err := policy.Assemble()
	if err != nil {
		return -1, fmt.Errorf("filtering system calls: %w", err)
	}
	raw, err := bpf.Assemble(append([]bpf.Instruction{
		bpf.LoadAbsolute{Off: archOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(info.ID), SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS},
		bpf.LoadAbsolute{Off: numberOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: firstX32, SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS},
	}, instructions...))
	if err != nil {
		return -1, fmt.Errorf("filtering system calls: %w", err)
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	program := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	descriptor, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program))) //nolint:gosec // how it is called
	if errno != 0 {
		return -1, fmt.Errorf("filtering system calls (seccomp): %w", errno)
	}
	return int(descriptor), nil
}

// known leaves out what this architecture does not have.
func known(names []string) ([]string, error) {
	info, err := arch.GetInfo("")
	if err != nil {
		return nil, fmt.Errorf("filtering system calls: %w", err)
	}
	var all []string
	for _, name := range names {
		if _, ok := info.SyscallNames[name]; ok {
			all = append(all, name)
		}
	}
	return all, nil
}
