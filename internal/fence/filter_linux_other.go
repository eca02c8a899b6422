//go:build !amd64 && !arm64

package fence

import "errors"

var errNoFilter = errors.New("filtering system calls: this is not written for this architecture")

func filter(Confinement) error { return errNoFilter }

func watch(Confinement) (descriptor int, err error) { return -1, errNoFilter }
