package fence

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// opened is what of the file system can be read: files, whole directories, and the names in
// those that are open in part.
type opened struct{ whole, listed []string }

// besides opens a path but for what is closed in it: where there is any, entry by entry. Links
// are left out then; what they lead to is open by itself or not. Both are without links.
func (o *opened) besides(path string, closed []string) {
	var inside []string
	for _, c := range closed {
		switch {
		case c == path:
			return
		case strings.HasPrefix(c, path+"/"):
			inside = append(inside, c)
		}
	}
	if inside == nil {
		o.whole = append(o.whole, path)
		return
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return // then nobody reads it
	}
	o.listed = append(o.listed, path)
	for _, e := range entries {
		if e.Type()&fs.ModeSymlink == 0 {
			o.besides(filepath.Join(path, e.Name()), inside)
		}
	}
}

// realPaths are where paths lead; what is not there is left out.
func realPaths(paths []string) (all []string) {
	for _, path := range paths {
		path, err := filepath.Abs(path)
		if err == nil {
			path, err = filepath.EvalSymlinks(path)
		}
		if err == nil {
			all = append(all, path)
		}
	}
	return all
}

// reader is as whom a program reads: a user with one group, or who this process is.
type reader struct {
	own      bool
	uid, gid int64
}

// reader is as whom what is confined goes on.
func (c Confinement) reader() reader {
	if c.UID == nil {
		return reader{own: true}
	}
	return reader{uid: *c.UID, gid: *c.GID}
}

// may reports whether the reader could read or enter what is not for all, so that it has to
// be closed. What the system keeps from it stays closed by itself.
func (r reader) may(path string, info fs.FileInfo) bool {
	if r.own {
		return mayOpen(path)
	}
	uid, gid, ok := ownersOf(info)
	const open = 0o5 // to read, or to enter
	switch mode := info.Mode().Perm(); {
	case !ok, r.uid == 0, namesOthers(path):
		return true
	case uid == r.uid:
		return mode>>6&open != 0
	case gid == r.gid:
		return mode>>3&open != 0
	default:
		return mode&open != 0
	}
}

// configFresh is for how long it is known what is open: to look takes a while.
const configFresh = 5 * time.Second

var config struct {
	sync.Mutex
	looked map[reader]time.Time
	opened map[reader]opened
}

// forAll is what everybody may read of the system's configuration. Keys, passwords, the token
// of a satellite are no part of it, where the reader could have them.
func forAll(r reader) opened {
	config.Lock()
	defer config.Unlock()
	if time.Since(config.looked[r]) > configFresh {
		var private []string
		_ = filepath.WalkDir(configDir, func(path string, e fs.DirEntry, err error) error { // where there is an error it is closed
			if e == nil || err == nil && e.Type()&fs.ModeSymlink != 0 {
				return nil
			}
			need := fs.FileMode(0o004)
			if e.IsDir() {
				need = 0o005
			}
			info, failed := e.Info()
			plain := failed == nil && (info.Mode().IsRegular() || info.IsDir())
			if err == nil && plain && info.Mode().Perm()&need == need {
				return nil
			}
			if !plain || r.may(path, info) {
				private = append(private, path)
			}
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		})
		var o opened
		o.besides(configDir, private)
		if len(config.looked) >= mostReaders || config.looked == nil {
			config.looked, config.opened = map[reader]time.Time{}, map[reader]opened{}
		}
		config.looked[r], config.opened[r] = time.Now(), o
	}
	return config.opened[r]
}

// mostReaders bounds for how many it is kept: a policy names one.
const mostReaders = 8

// mayOpen reports whether this process could read or enter something.
func mayOpen(path string) bool {
	return unix.Faccessat(unix.AT_FDCWD, path, unix.R_OK, unix.AT_EACCESS) == nil || unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS) == nil
}

func ownersOf(info fs.FileInfo) (uid, gid int64, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int64(stat.Uid), int64(stat.Gid), true
}

// namesOthers reports whether users and groups beside the owners are named (an access list).
func namesOthers(path string) bool {
	size, err := unix.Lgetxattr(path, "system.posix_acl_access", nil)
	return err == nil && size > 0
}
