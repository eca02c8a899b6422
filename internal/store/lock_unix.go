//go:build unix

package store

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// lockFile keeps other processes away from the database: two cores on one SQLite
// file would each keep what it believes in memory. The kernel lets go of the lock
// when the process ends, however it ends.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the database: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := os.ReadFile(path) // only for the message
		f.Close()
		return nil, fmt.Errorf("the database %s is in use by another process (pid %s); stop it first, or use PostgreSQL to run several cores",
			strings.TrimSuffix(path, ".lock"), strings.TrimSpace(string(holder)))
	}
	if err == nil {
		err = notePid(f)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("locking the database: %w", err)
	}
	return f, nil
}

func notePid(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return err
}

// unlockFile lets go of the lock before it closes the file: a program that is just
// being started elsewhere in this process holds a copy of the file until it runs,
// and with it a lock that was only closed.
func unlockFile(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}
