package fence

import (
	"slices"
	"syscall"
)

// Place is what a program finds of the file system, besides the system's own.
type Place struct {
	// Scratch is a directory of its own, which it may write to.
	Scratch string
	// ReadOnly are further directories, such as that of the packages.
	ReadOnly []string
	// Closed is what it does not find, wherever that lies: what only the satellite is to know.
	Closed []string
}

// CloseFiles reports whether a program may write to its scratch directory only.
func (r Rules) CloseFiles() bool {
	return Available() == nil && slices.ContainsFunc(r.enabled(), func(p Policy) bool { return p.Filesystem.Mode != FilesOff && p.Filesystem.Mode != "" })
}

// MaxOutput is how much of what a program prints may be kept, in bytes; most where no
// policy says less.
func (r Rules) MaxOutput(most int) int {
	for _, p := range r.enabled() {
		if limit := p.Resources.MaxOutputBytes; limit != nil && *limit < int64(most) {
			most = int(*limit)
		}
	}
	return most
}

// Memory is what each process of a program may have, in bytes; 0 where it may have any.
func (r Rules) Memory() (most int64) {
	for _, p := range r.enabled() {
		if limit := p.Resources.MemoryBytes; limit != nil && (most == 0 || *limit < most) {
			most = *limit
		}
	}
	return most
}

// refuses reports whether a program is not to run where it cannot be fenced in.
func (r Rules) refuses() bool {
	return slices.ContainsFunc(r.enabled(), func(p Policy) bool { return p.OnUnavailable == UnavailableFail })
}

// unheld is what holds a program where no policy is enabled.
const unheld = "nothing: no sandbox policy is enabled"

// Unenforced is that a policy cannot be enforced here, and says that nothing is to run then.
type Unenforced struct{ Reason string }

func (e *Unenforced) Error() string {
	return e.Reason + "; the sandbox policy says not to run scripts then (onUnavailable: fail)"
}

// Killed is that a signal ended a program. Peak is the most that it had of memory, or one of
// those that it waited for, in bytes; what started it had some before it began, and that
// counts too.
type Killed struct {
	Signal syscall.Signal
	Peak   int64
}

func (k *Killed) Error() string { return "signal: " + k.Signal.String() }

// Exceeded is that all processes of a script together took more than the policy allows, and
// were ended.
type Exceeded struct{ Most string }

func (e *Exceeded) Error() string {
	return "it took more than " + e.Most + ", with all that it started; the sandbox policy allows no more (perigee sandbox shows it)"
}
