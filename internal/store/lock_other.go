//go:build !unix

package store

import (
	"errors"
	"os"
)

// lockFile refuses: SQLite's write-ahead log is not safe with this driver outside
// of Unix, and there is no flock.
func lockFile(string) (*os.File, error) {
	return nil, errors.New("SQLite is not supported on this system; use PostgreSQL")
}

func unlockFile(f *os.File) error { return f.Close() }
