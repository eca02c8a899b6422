package fence

import (
	"fmt"
	"sync"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"
)

// leastLandlock is the version of Landlock that Confine needs: since Linux 6.2, files
// cannot be cut short behind its back.
const leastLandlock = 3

// Available says why Confine would not work here; nil that it does.
func Available() error {
	_, err := Level()
	return err
}

// Level says what Confine works with here, or why it would not.
var Level = sync.OnceValues(func() (string, error) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch {
	case errno != 0:
		return "", fmt.Errorf("this kernel cannot fence scripts in: it has no Landlock (%w)", errno)
	case version < leastLandlock:
		return "", fmt.Errorf("this kernel cannot fence scripts in: its Landlock is version %d, and %d is needed (Linux 6.2)", version, leastLandlock)
	case !seccomp.Supported():
		return "", fmt.Errorf("this kernel cannot fence scripts in: it does not filter system calls (seccomp)")
	}
	return fmt.Sprintf("Landlock %d and seccomp", version), nil
})
