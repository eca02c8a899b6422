package satellite

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockFile opens the file and takes the lock on it, which the system gives back
// when the process ends, however it ends. held is true when another process has it.
func lockFile(path string) (f *os.File, held bool, err error) {
	f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, err
	}
	flags := uint32(windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY)
	if err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, new(windows.Overlapped)); err != nil {
		return nil, errors.Is(err, windows.ERROR_LOCK_VIOLATION), errors.Join(err, f.Close())
	}
	return f, false, nil
}

// unlockFile gives the lock back with the file.
func unlockFile(f *os.File) error { return f.Close() }
