package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// Dir keeps blobs as files. Cores that share one mount it.
type Dir struct{ root *os.Root }

// OpenDir makes the directory if it is not there.
func OpenDir(path string) (*Dir, error) {
	if path == "" {
		return nil, errors.New("opening a directory of packages: no path given")
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("making a directory of packages: %w", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("opening a directory of packages: %w", err)
	}
	return &Dir{root}, nil
}

// Close lets go of the directory.
func (d *Dir) Close() error { return d.root.Close() }

// Name is how records call a directory; where it is may change.
func (*Dir) Name() string { return "dir" }

// place spreads files over directories, as some file systems want it.
func place(integrity string) (dir, file string) {
	k := key(integrity)
	return k[:2], filepath.Join(k[:2], k+".tgz")
}

// Put writes the file beside its place, and moves it there when it is on the disk.
func (d *Dir) Put(_ context.Context, integrity string, data []byte) error {
	dir, file := place(integrity)
	if err := d.root.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return failed("writing", err)
	}
	// Two writers of one integrity write the same bytes; each has its own file.
	draft, err := d.draft(file)
	if err != nil {
		return failed("writing", err)
	}
	_, err = draft.Write(data)
	if err == nil {
		err = draft.Sync()
	}
	if err = errors.Join(err, draft.Close()); err == nil {
		err = d.root.Rename(filepath.Join(dir, filepath.Base(draft.Name())), file)
	}
	if err != nil {
		return failed("writing", errors.Join(err, d.root.Remove(filepath.Join(dir, filepath.Base(draft.Name())))))
	}
	return nil
}

const (
	// drafts bounds how many half-written files of one integrity may lie about.
	drafts = 100
	// draftAge is when whoever began a draft is dead: an installation is over long before.
	draftAge = 24 * time.Hour
)

// draft opens a file of the writer's own, and takes those of the dead away.
func (d *Dir) draft(file string) (*os.File, error) {
	var mine *os.File
	for n := range drafts {
		name := fmt.Sprintf("%s.%d", file, n)
		if info, err := d.root.Lstat(name); err == nil && time.Since(info.ModTime()) > draftAge {
			_ = d.root.Remove(name) // what cannot be removed is passed over
		}
		if mine != nil {
			continue
		}
		f, err := d.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			mine = f
		} else if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	if mine == nil {
		return nil, fmt.Errorf("%d writers of %s are at work or have died", drafts, file)
	}
	return mine, nil
}

// Get reads the file.
func (d *Dir) Get(_ context.Context, integrity string) ([]byte, error) {
	_, file := place(integrity)
	f, err := d.root.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "the directory does not have this package")
	}
	if err != nil {
		return nil, failed("reading", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBlob))
	if err != nil {
		return nil, failed("reading", err)
	}
	return data, nil
}

// Delete takes the file away.
func (d *Dir) Delete(_ context.Context, integrity string) error {
	_, file := place(integrity)
	if err := d.root.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed("deleting", err)
	}
	return nil
}

func failed(doing string, err error) error {
	return fault.Wrap(fault.Unavailable, fmt.Errorf("%s a package in a directory: %w", doing, err), "the directory of packages cannot be used")
}
