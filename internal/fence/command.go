package fence

import (
	"os"
	"slices"
)

// Place is what a program finds of the file system, besides the system's own.
type Place struct {
	// Scratch is a directory of its own, which it may write to.
	Scratch string
	// ReadOnly are further directories, such as that of the packages.
	ReadOnly []string
}

// Where programs and what they need lie, and where else a system keeps what all may read.
// Devices are neither: a disk has every file on it, and shared memory is of others.
var (
	systemDirs = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf.d", "/nix/store", "/gnu/store"}
	publicDirs = []string{"/etc", "/opt", "/proc", "/sys", "/run/systemd/resolve", "/run/resolvconf", "/snap"}
)

// nobody is as whom programs go on that are to give up who they are, when no user is named.
const nobody = 65534

// confinement is what the rules make of a program.
func (r Rules) confinement(p Place) Confinement {
	var c Confinement
	least := func(into *int64, limit *int64) {
		if limit != nil && *limit > 0 && (*into == 0 || *limit < *into) {
			*into = *limit
		}
	}
	files := FilesOff
	for _, policy := range r.enabled() {
		least(&c.CPUSeconds, policy.Resources.CPUSeconds)
		least(&c.Memory, policy.Resources.MemoryBytes)
		least(&c.OpenFiles, policy.Resources.MaxOpenFiles)
		least(&c.Processes, policy.Resources.MaxProcesses)
		least(&c.FileSize, policy.Resources.MaxFileSizeBytes)
		least(&c.FileSize, policy.Filesystem.ScratchBytes)
		if policy.Filesystem.Mode == FilesScratch || policy.Filesystem.Mode == FilesScratchRO && files == FilesOff {
			files = policy.Filesystem.Mode
		}
		// Who is nobody in particular has nothing to give up.
		if policy.Privilege.Mode == PrivilegeDrop && os.Geteuid() == 0 {
			c.UID, c.GID = policy.Privilege.UID, policy.Privilege.GID
			if c.UID == nil {
				c.UID = new(int64(nobody))
			}
			if c.GID == nil {
				c.GID = c.UID
			}
		}
	}
	if files != FilesOff {
		c.NoFiles = true
		c.ReadOnly = slices.Concat(systemDirs, p.ReadOnly)
		c.ReadWrite = []string{p.Scratch}
	}
	if files == FilesScratchRO {
		c.ReadOnly = append(c.ReadOnly, publicDirs...)
	}
	c.NoNetwork = r.Closed()
	c.Watched = !c.NoNetwork && !r.Unrestricted()
	return c
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

// refuses reports whether a program is not to run where it cannot be fenced in.
func (r Rules) refuses() bool {
	return slices.ContainsFunc(r.enabled(), func(p Policy) bool { return p.OnUnavailable == UnavailableFail })
}

// Unenforced is that a policy cannot be enforced here, and says that nothing is to run then.
type Unenforced struct{ Reason string }

func (e *Unenforced) Error() string {
	return e.Reason + "; the sandbox policy says not to run scripts then (onUnavailable: fail)"
}

// Exceeded is that all processes of a script together took more than the policy allows, and
// were ended.
type Exceeded struct{ Most string }

func (e *Exceeded) Error() string {
	return "it took more than " + e.Most + ", with all that it started; the sandbox policy allows no more (perigee sandbox shows it)"
}
