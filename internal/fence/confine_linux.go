package fence

import (
	"errors"
	"fmt"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// Confine takes from this process, and from all that it will start, what c names. It
// cannot be undone. An error says what this kernel does not offer; then it is confined in
// part, and should end.
func Confine(c Confinement) error {
	if err := limit(c); err != nil {
		return err
	}
	if c.NoFiles {
		rules := []landlock.Rule{}
		if len(c.ReadOnly) > 0 {
			rules = append(rules, landlock.RODirs(c.ReadOnly...))
		}
		if err := landlock.V3.RestrictPaths(rules...); err != nil { // since Linux 6.2
			return fmt.Errorf("closing the files (Landlock): %w", err)
		}
	}
	return filter(c)
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
	} {
		if l.most <= 0 {
			continue
		}
		if err := unix.Setrlimit(l.which, &unix.Rlimit{Cur: uint64(l.most), Max: uint64(l.most)}); err != nil {
			return fmt.Errorf("limiting %s: %w", l.what, err)
		}
	}
	// Nobody reads a core of what others run, and it may hold secrets.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("limiting core files: %w", err)
	}
	return nil
}

var (
	// networkCalls make or use sockets.
	networkCalls = []string{"socket", "socketpair", "connect", "bind", "listen", "accept", "accept4", "io_uring_setup"}
	// programCalls start programs.
	programCalls = []string{"execve", "execveat", "fork", "vfork"}
	// neverCalls are for those who administer a machine, or look into other processes.
	neverCalls = []string{
		"ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "mount", "umount2", "pivot_root", "chroot", "unshare", "setns",
		"bpf", "perf_event_open", "keyctl", "add_key", "request_key", "userfaultfd", "open_by_handle_at", "name_to_handle_at", "kexec_load", "kexec_file_load",
		"init_module", "finit_module", "delete_module", "reboot", "swapon", "swapoff", "acct", "quotactl", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex",
		"sethostname", "setdomainname", "iopl", "ioperm", "personality", "move_mount", "open_tree", "fsopen", "fsmount", "mount_setattr", "io_uring_setup",
	}
)

// filter takes system calls away.
func filter(c Confinement) error {
	if !seccomp.Supported() {
		return errors.New("this kernel does not filter system calls (seccomp)")
	}
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
	groups := []seccomp.SyscallGroup{{Names: names, Action: seccomp.ActionErrno}}
	if c.NoPrograms { // a thread is no program
		groups = append(groups, seccomp.SyscallGroup{Action: seccomp.ActionErrno, NamesWithCondtions: []seccomp.NameWithConditions{{
			Name: "clone", Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.BitsNotSet, Value: unix.CLONE_THREAD}},
		}}})
	}
	err = seccomp.LoadFilter(seccomp.Filter{
		NoNewPrivs: true, Flag: seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{DefaultAction: seccomp.ActionAllow, Syscalls: groups},
	})
	if err != nil {
		return fmt.Errorf("filtering system calls (seccomp): %w", err)
	}
	return nil
}

// known leaves out what this architecture does not have.
func known(names []string) ([]string, error) {
	info, err := arch.GetInfo("")
	if err != nil {
		return nil, fmt.Errorf("filtering system calls: %w", err)
	}
	var all []string
	seen := map[string]bool{}
	for _, name := range names {
		if _, ok := info.SyscallNames[name]; ok && !seen[name] {
			all, seen[name] = append(all, name), true
		}
	}
	return all, nil
}
