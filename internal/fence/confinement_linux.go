package fence

import (
	"os"
	"slices"
)

// Where programs and what they need lie, and where else a system keeps what all may read.
// Devices are neither: a disk has every file on it, and shared memory is of others. In
// configDir not everything is for all, and the satellite may be one of the some.
var (
	systemDirs = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf.d", "/nix/store", "/gnu/store"}
	publicDirs = []string{"/opt", "/proc", "/sys", "/run/systemd/resolve", "/run/resolvconf", "/snap"}
)

const configDir = "/etc"

// mostDisk is what a script may write, all in all, where no policy says less, in bytes.
const mostDisk = 1 << 30

// nobody is as whom programs go on that are to give up who they are, when no user is named.
const nobody = 65534

// confinement is what the rules make of a program. It gives up who it is, where they say so,
// if drop.
func (r Rules) confinement(p Place, drop bool) Confinement {
	var c Confinement
	least := func(into *int64, limit *int64) {
		if limit != nil && *limit > 0 && (*into == 0 || *limit < *into) {
			*into = *limit
		}
	}
	files := FilesOff
	var scratchBytes *int64
	for _, policy := range r.enabled() {
		least(&c.CPUSeconds, policy.Resources.CPUSeconds)
		least(&c.Memory, policy.Resources.MemoryBytes)
		least(&c.OpenFiles, policy.Resources.MaxOpenFiles)
		least(&c.Processes, policy.Resources.MaxProcesses)
		least(&c.FileSize, policy.Resources.MaxFileSizeBytes)
		if bytes := policy.Filesystem.ScratchBytes; bytes != nil && (scratchBytes == nil || *bytes < *scratchBytes) {
			scratchBytes = bytes
		}
		least(&c.FileSize, policy.Filesystem.ScratchBytes)
		if policy.Filesystem.Mode == FilesScratch || policy.Filesystem.Mode == FilesScratchRO && files == FilesOff {
			files = policy.Filesystem.Mode
		}
		// Who is nobody in particular has nothing to give up.
		if drop && policy.Privilege.Mode == PrivilegeDrop && os.Geteuid() == 0 {
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
		open, closed := realPaths(slices.Concat(systemDirs, p.ReadOnly)), realPaths(p.Closed)
		var o opened
		if files == FilesScratchRO {
			config := forAll(c.reader())
			open, o.listed = slices.Concat(open, realPaths(publicDirs), config.whole), slices.Clone(config.listed)
		}
		for _, path := range open {
			o.besides(path, closed)
		}
		c.ReadOnly, c.Listed = o.whole, o.listed
		c.ReadWrite = []string{p.Scratch}
		c.Disk = mostDisk
		least(&c.Disk, scratchBytes)
	}
	c.NoNetwork = r.Closed()
	// To whom files are closed, sockets that others have put among them are.
	c.Watched = !c.NoNetwork && (!r.Unrestricted() || c.NoFiles)
	c.NoServices = c.Watched && slices.ContainsFunc(r.enabled(), func(p Policy) bool { return p.Network.Mode == NetworkAllowlist })
	return c
}
