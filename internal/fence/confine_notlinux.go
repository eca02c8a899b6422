//go:build !linux

package fence

import (
	"errors"
	"runtime"
)

// Available says why Confine would not work here.
func Available() error {
	return errors.New("scripts are fenced in on Linux only, and this is " + runtime.GOOS)
}

// Level says why Confine would not work here.
func Level() (string, error) { return "", Available() }

// Confine gives nothing away here.
func Confine(Confinement) error { return Available() }
