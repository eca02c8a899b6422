package fence

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// leastLandlock is the version of Landlock that Confine needs: since Linux 6.2, files
// cannot be cut short behind its back.
const leastLandlock = 3

// Available says why Confine would not work here; nil that it does.
func Available() error {
	_, err := landlocked()
	return err
}

// unhidden says what scripts find that are to find all files.
const unhidden = "open files show the satellite's own"

// Level says what scripts are fenced in with here, or why they cannot be.
func Level() (string, error) {
	version, err := landlocked()
	if err != nil {
		return "", err
	}
	uid := int64(nobody)
	switch spaces, err := (Confinement{UID: &uid}).namespaces(); {
	case err != nil:
		return fmt.Sprintf("Landlock %d and seccomp; no namespaces, because the system refuses them; "+unhidden, version), nil
	case !spaces.mounts:
		return fmt.Sprintf("Landlock %d, seccomp, namespaces (without mounts of their own; "+unhidden+")", version), nil
	case !spaces.proc:
		return fmt.Sprintf("Landlock %d, seccomp, namespaces (without a /proc of their own)", version), nil
	default:
		return fmt.Sprintf("Landlock %d, seccomp, namespaces", version), nil
	}
}

// landlocked is the version of Landlock, or why there is nothing to confine with.
var landlocked = sync.OnceValues(func() (int, error) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch {
	case errno != 0:
		return 0, fmt.Errorf("this kernel cannot fence scripts in: it has no Landlock (%w)", errno)
	case version < leastLandlock:
		return 0, fmt.Errorf("this kernel cannot fence scripts in: its Landlock is version %d, and %d is needed (Linux 6.2)", version, leastLandlock)
	case !filters():
		return 0, fmt.Errorf("this kernel cannot fence scripts in: it does not filter system calls (seccomp)")
	}
	return int(version), nil
})

// filters reports whether the kernel filters system calls: it would, if it was given one.
func filters() bool {
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, 0)
	return errno == unix.EFAULT
}
