package fence

import (
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// leastFile is what is counted for a file that takes less: names take room, too.
const leastFile = 4 << 10

// deepest is how deep directories are looked at; each that is open costs us a descriptor.
const deepest = 100

// diskBelow is what lies below a directory, in bytes; where that is more than most it stops.
// A script may move what is looked at meanwhile, so every step is made from the directory
// that is open, and no link is followed. What cannot be looked at is more than any bound: it
// is the script that has closed it.
func diskBelow(at int, name string, most int64, depth int) (sum int64) {
	if depth > deepest {
		return most + 1
	}
	dir, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch err {
	case nil:
	case unix.EACCES:
		return most + 1
	default:
		return 0 // it is no directory any more
	}
	file := os.NewFile(uintptr(dir), name)
	defer file.Close()
	for sum <= most {
		names, err := file.Readdirnames(256)
		for _, name := range names {
			var info unix.Stat_t
			if unix.Fstatat(dir, name, &info, unix.AT_SYMLINK_NOFOLLOW) != nil {
				continue // it is gone
			}
			sum += max(leastFile, info.Blocks*512)
			if info.Mode&unix.S_IFMT == unix.S_IFDIR && sum <= most {
				sum += diskBelow(dir, name, most-sum, depth+1)
			}
		}
		if err != nil {
			return sum // the end of it
		}
	}
	return sum
}

// removed adds to seen the files that a process has open although they have no name any
// more, and gives what they take.
func removed(pid int, seen map[[2]uint64]bool) (sum int64) {
	open, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/fd/*") // the pattern is right
	for _, link := range open {
		var info unix.Stat_t
		if unix.Stat(link, &info) != nil || info.Mode&unix.S_IFMT != unix.S_IFREG || info.Nlink != 0 {
			continue
		}
		if file := [2]uint64{info.Dev, info.Ino}; !seen[file] {
			seen[file] = true
			sum += info.Blocks * 512
		}
	}
	return sum
}
