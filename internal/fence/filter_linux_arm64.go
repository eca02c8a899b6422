package fence

import "golang.org/x/sys/unix"

// machine is the architecture whose calls a filter is for.
const machine = unix.AUDIT_ARCH_AARCH64

// Calls that older architectures have besides.
var oldPorts, oldForks []uint32
