package fence

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// cover hides what is the satellite's own from a program that finds all other files, but for
// what is kept of it. Paths are without links. Nothing uncovers it: unmounting is refused, and
// processes outside of its namespace of users cannot be looked into, nor their root. A file
// that is replaced by another of its name while the program runs is not hidden any more; what
// lies in a directory that is hidden is.
func cover(own, kept []string) error {
	at, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("finding its directory: %w", err)
	}
	for _, dir := range movable(own) { // a mount point cannot be moved
		if err := unix.Mount(dir, dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("keeping %s where it is: %w", dir, err)
		}
	}
	for _, path := range own {
		if err := coverOne(path, kept); err != nil {
			return fmt.Errorf("hiding %s: %w", path, err)
		}
	}
	return os.Chdir(at) // from below what is hidden, it could be left by ".."
}

// movable are the directories above some paths, the uppermost first, that this user could
// move away: what lies below would not be found there by whoever is to hide it next.
func movable(paths []string) (dirs []string) {
	for _, path := range paths {
		for at := filepath.Dir(path); at != "/"; at = filepath.Dir(at) {
			if unix.Access(filepath.Dir(at), unix.W_OK) == nil && !slices.Contains(dirs, at) {
				dirs = append(dirs, at)
			}
		}
	}
	slices.Sort(dirs)
	return dirs
}

func coverOne(path string, kept []string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return unix.Mount("/dev/null", path, "", unix.MS_BIND, "")
	}
	var inside []*os.File
	for _, k := range kept {
		if !strings.HasPrefix(k, path+"/") {
			continue
		}
		descriptor, err := unix.Open(k, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(descriptor), k)
		defer f.Close()
		inside = append(inside, f)
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("none", path, "tmpfs", flags, "mode=755,size=64k,nr_inodes=256"); err != nil {
		return err
	}
	for _, f := range inside {
		if err := os.MkdirAll(f.Name(), 0o755); err != nil { //nolint:gosec // others pass
			return err
		}
		if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), f.Name(), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("keeping %s: %w", filepath.Base(f.Name()), err)
		}
	}
	return unix.Mount("none", path, "", unix.MS_REMOUNT|unix.MS_RDONLY|flags, "")
}
