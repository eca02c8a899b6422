package scriptpkg

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
)

// Partial is a blob that is being fetched. It outlives the connection and the
// process: a transfer that was cut goes on where it was.
type Partial struct {
	store *Store
	name  string
	file  *os.File
	size  int64
}

// Partial opens what there is of an entry's blob so far.
func (s *Store) Partial(e Entry) (*Partial, error) {
	if err := s.root.Mkdir(partialDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("making room for %s@%s: %w", e.Name, e.Version, err)
	}
	// Another blob of the same package begins anew.
	name := path.Join(partialDir, keyOf(e.Integrity+"\x00"+e.BlobSha256))
	file, err := s.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making room for %s@%s: %w", e.Name, e.Version, err)
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("looking at what there is of %s@%s: %w", e.Name, e.Version, err), file.Close())
	}
	return &Partial{store: s, name: name, file: file, size: size}, nil
}

// Size is how many bytes there are.
func (p *Partial) Size() int64 { return p.size }

// Write appends.
func (p *Partial) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	p.size += int64(n)
	return n, err
}

// Blob is the whole, from its beginning.
func (p *Partial) Blob() (io.ReadSeeker, error) {
	_, err := p.file.Seek(0, io.SeekStart)
	return p.file, err
}

// Close keeps what there is for later.
func (p *Partial) Close() error { return p.file.Close() }

// Discard closes it and begins anew the next time.
func (p *Partial) Discard() error {
	return errors.Join(p.file.Close(), p.store.root.Remove(p.name))
}
