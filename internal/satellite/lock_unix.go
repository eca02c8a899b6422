//go:build unix

package satellite

import (
	"errors"
	"os"
	"syscall"
)

// lockFile opens the file and takes the lock on it, which the kernel gives back
// when the process ends, however it ends. held is true when another process has it.
func lockFile(path string) (f *os.File, held bool, err error) {
	f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Is(err, syscall.EWOULDBLOCK), errors.Join(err, f.Close())
	}
	return f, false, nil
}

// unlockFile lets go of the lock before it closes the file: a program that is just
// being started elsewhere in this process holds a copy of the file until it runs,
// and with it a lock that was only closed.
func unlockFile(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}
