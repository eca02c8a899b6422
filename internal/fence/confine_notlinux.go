//go:build !linux

package fence

import (
	"errors"
	"runtime"
)

// Confine gives nothing away here: only Linux offers it.
func Confine(Confinement) error {
	return errors.New(runtime.GOOS + " offers no fence; Linux does")
}
