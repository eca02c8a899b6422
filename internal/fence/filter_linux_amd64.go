package fence

import "golang.org/x/sys/unix"

// machine is the architecture whose calls a filter is for.
const machine = unix.AUDIT_ARCH_X86_64

// Calls that newer architectures do without.
var (
	oldPorts = []uint32{unix.SYS_IOPL, unix.SYS_IOPERM}
	oldForks = []uint32{unix.SYS_FORK, unix.SYS_VFORK}
)
