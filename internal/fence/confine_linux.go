package fence

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
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
		// With the files, signals and sockets without a name in the file system, to whoever is outside.
		closed := landlock.Config{HandledAccessFS: landlock.V5.HandledAccessFS, Scoped: landlock.V6.Scoped}
		if err := closed.BestEffort().Restrict(
			landlock.RODirs(readable...).IgnoreIfMissing(), landlock.ROFiles(files...).IgnoreIfMissing(),
			landlock.RWDirs(c.ReadWrite...).IgnoreIfMissing(), landlock.PathAccess(ll.AccessFSReadDir, c.Listed...).IgnoreIfMissing(),
			landlock.RWFiles("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom").IgnoreIfMissing(),
		); err != nil {
			return fmt.Errorf("closing files and processes (Landlock): %w", err)
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
