//go:build amd64 || arm64

package fence

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// rule is what becomes of some system calls: of all, or of those of which one of the
// arguments is as it says. Arguments are looked at as the kernel does that takes them for
// an int: what stands above the lower half is nothing.
type rule struct {
	calls    []uint32
	argument int
	when     bpf.JumpTest // against value
	value    uint32
	some     bool // when counts
	action   uint32
}

const refused = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)

// absent is what programs are told that can do without a call.
const absent = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)

// namespaceFlags make, of a new process, the first of new namespaces, in which it may do
// what it may not do here.
const namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// always are taken away from every script.
var always = []rule{
	// What is for those who administer a machine, or looks into other processes. The rings of
	// io_uring do what other calls do, past every filter.
	{action: refused, calls: []uint32{
		unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PROCESS_MADVISE, unix.SYS_PROCESS_MRELEASE, unix.SYS_KCMP, unix.SYS_PIDFD_GETFD, unix.SYS_MOVE_PAGES, unix.SYS_MIGRATE_PAGES,
		unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_OPEN_TREE_ATTR, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSPICK, unix.SYS_FSMOUNT, unix.SYS_MOUNT_SETATTR,
		unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_USERFAULTFD, unix.SYS_FANOTIFY_INIT, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_NAME_TO_HANDLE_AT,
		unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD, unix.SYS_SYSLOG, unix.SYS_VHANGUP,
		unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME, unix.SYS_PERSONALITY,
		unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	}},
	{action: refused, calls: oldPorts},
	// Memory that is no process's: nobody would count it, and some of it outlives them.
	{action: refused, calls: []uint32{unix.SYS_SHMGET, unix.SYS_MSGGET, unix.SYS_MEMFD_SECRET}},
	{action: absent, calls: []uint32{unix.SYS_MEMFD_CREATE}},
	// What clone3 is asked cannot be looked at; clone can be.
	{action: absent, calls: []uint32{unix.SYS_CLONE3}},
	{action: refused, calls: []uint32{unix.SYS_CLONE}, some: true, argument: 0, when: bpf.JumpBitsSet, value: namespaceFlags},
	// Limits and priorities of others: those of the satellite, which is of the same user.
	{action: refused, calls: []uint32{unix.SYS_PRLIMIT64, unix.SYS_SCHED_SETSCHEDULER, unix.SYS_SCHED_SETPARAM, unix.SYS_SCHED_SETATTR, unix.SYS_SCHED_SETAFFINITY}, some: true, argument: 0, when: bpf.JumpNotEqual, value: 0},
	{action: refused, calls: []uint32{unix.SYS_SETPRIORITY, unix.SYS_IOPRIO_SET}, some: true, argument: 1, when: bpf.JumpNotEqual, value: 0},
	{action: refused, calls: []uint32{unix.SYS_SETPRIORITY, unix.SYS_IOPRIO_SET}, some: true, argument: 0, when: bpf.JumpBitsSet, value: 2}, // of a user, or a group
	// Who hides from others of its user is not counted either.
	{action: refused, calls: []uint32{unix.SYS_PRCTL}, some: true, argument: 0, when: bpf.JumpEqual, value: unix.PR_SET_DUMPABLE},
}

var (
	// noNetwork are the calls that make or use sockets.
	noNetwork = rule{action: refused, calls: []uint32{unix.SYS_SOCKET, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_ACCEPT, unix.SYS_ACCEPT4}}
	// noPrograms are those that start programs. A thread is none.
	noPrograms = []rule{
		{action: refused, calls: []uint32{unix.SYS_EXECVE, unix.SYS_EXECVEAT}},
		{action: refused, calls: oldForks},
		{action: refused, calls: []uint32{unix.SYS_CLONE}, some: true, argument: 0, when: bpf.JumpBitsNotSet, value: unix.CLONE_THREAD},
	}
	// watched are those by which a process reaches others over the network.
	watched = rule{action: unix.SECCOMP_RET_USER_NOTIF, calls: []uint32{unix.SYS_SOCKET, unix.SYS_CONNECT, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG}}
	// noServices: it waits for nobody to connect, and somebody answers for where it can be
	// found. A stream that waits without an address is given one, so an address is not all.
	noServices = []rule{
		{action: refused, calls: []uint32{unix.SYS_LISTEN}},
		{action: unix.SECCOMP_RET_USER_NOTIF, calls: []uint32{unix.SYS_BIND}},
	}
)

// filter takes system calls away.
func filter(c Confinement) error {
	rules := always[:len(always):len(always)]
	if c.NoNetwork {
		rules = append(rules, noNetwork)
	}
	if c.NoPrograms {
		rules = append(rules, noPrograms...)
	}
	_, err := install(rules, unix.SECCOMP_FILTER_FLAG_TSYNC)
	return err
}

// watch lets this process, and all that it will start, wait for the answer of whoever
// holds the descriptor before they reach somebody over the network. A signal does not
// interrupt that: the kernel would make the call anew, and what it sends would go out twice.
func watch(c Confinement) (descriptor int, err error) {
	rules := []rule{watched}
	if c.NoServices {
		rules = append(rules, noServices...)
	}
	return install(rules, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV|
		unix.SECCOMP_FILTER_FLAG_TSYNC|unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH)
}

// Where a filter finds what (struct seccomp_data of seccomp(2)).
const (
	numberOffset   = 0
	archOffset     = 4
	argumentOffset = 16
	// firstX32 is the first number of a call by x32, which says that it is of its host's
	// architecture. No other has numbers as high.
	firstX32 = 0x40000000
)

// lower is where the lower half of an argument is.
func lower(argument int) uint32 {
	at := uint32(argumentOffset + 8*argument)
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		at += 4
	}
	return at
}

// install loads a filter. Calls by another ABI, of which the same numbers mean something
// else, end the process.
func install(rules []rule, flags uintptr) (int, error) {
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: archOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: machine, SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS},
		bpf.LoadAbsolute{Off: numberOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: firstX32, SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS},
	}
	for _, r := range rules {
		for _, number := range r.calls {
			if !r.some {
				program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: number, SkipTrue: 1}, bpf.RetConstant{Val: r.action})
				continue
			}
			program = append(
				program,
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: number, SkipTrue: 4},
				bpf.LoadAbsolute{Off: lower(r.argument), Size: 4},
				bpf.JumpIf{Cond: r.when, Val: r.value, SkipFalse: 1},
				bpf.RetConstant{Val: r.action},
				bpf.LoadAbsolute{Off: numberOffset, Size: 4},
			)
		}
	}
	raw, err := bpf.Assemble(append(program, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}))
	if err != nil {
		return -1, fmt.Errorf("filtering system calls: %w", err)
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	list := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	descriptor, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&list))) //nolint:gosec // how it is called
	if errno != 0 {
		return -1, fmt.Errorf("filtering system calls (seccomp): %w", errno)
	}
	return int(descriptor), nil
}
