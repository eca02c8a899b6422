package scriptpkg

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"time"
)

// cached describes a package of the cache, in contents.json beside it.
type cached struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	Integrity  string `json:"integrity"`
	BlobSha256 string `json:"blobSha256,omitempty"` // of the blob that it was made of, "" if nothing was announced
	Files      []File `json:"files"`
	Bytes      int64  `json:"bytes"`
}

const (
	contentsFile = "contents.json"
	packageDir   = "package"
)

// is reports whether the package is the one that the entry names. One whose blob
// was not verified does not stand for an entry that says what the blob must be (M39).
func (c *cached) is(e Entry) bool {
	return c.Name == e.Name && c.Version == e.Version && c.Integrity == e.Integrity && (e.BlobSha256 == "" || e.BlobSha256 == c.BlobSha256)
}

// ErrTooLarge: a tree needs more than the store may keep.
var ErrTooLarge = errors.New("the packages need more than may be kept")

// Missing begins the making of a tree: it lists the entries that the cache does not
// hold intact, each integrity once (spec L244). It reads every file of those that it holds (spec M89); what is not
// as it was unpacked is dropped.
func (s *Store) Missing(entries []Entry) ([]Entry, error) {
	s.mu.Lock()
	s.building = 0
	s.mu.Unlock()
	var missing []Entry
	seen := map[string]bool{}
	for _, e := range entries {
		if seen[e.Integrity] {
			continue
		}
		seen[e.Integrity] = true
		intact, err := s.intact(e)
		if err != nil {
			return nil, fmt.Errorf("looking for %s@%s in the cache: %w", e.Name, e.Version, err)
		}
		if !intact {
			missing = append(missing, e)
		}
	}
	return missing, nil
}

func (s *Store) intact(e Entry) (bool, error) {
	dir := path.Join(cacheDir, keyOf(e.Integrity))
	if _, err := s.root.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	c, err := s.contents(e.Integrity)
	if err == nil && c.is(e) {
		if err = s.verify(path.Join(dir, packageDir), c.Files); err == nil {
			if err := s.count(c.Bytes); err != nil {
				return true, err
			}
			now := s.options.Now()
			return true, s.root.Chtimes(path.Join(dir, contentsFile), now, now) // used now
		}
	}
	if err != nil {
		s.log.Warn("a package of the cache is not as it was unpacked; it is fetched again", "package", e.Name, "version", e.Version, "error", err)
	}
	return false, s.root.RemoveAll(dir)
}

// count adds to what the tree that is being made needs.
func (s *Store) count(bytes int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.building += bytes; s.building > s.options.CacheBytes {
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, s.options.CacheBytes)
	}
	return nil
}

// contents reads the description of a package.
func (s *Store) contents(integrity string) (*cached, error) {
	return s.describe(keyOf(integrity))
}

func (s *Store) describe(key string) (*cached, error) {
	b, err := s.root.ReadFile(path.Join(cacheDir, key, contentsFile))
	if err != nil {
		return nil, err
	}
	var c cached
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("reading %s: %w", contentsFile, err)
	}
	return &c, nil
}

// verify compares a directory with what it should hold: those files, and no others.
func (s *Store) verify(dir string, want []File) error {
	got, err := listFiles(s.root, dir)
	if err != nil {
		return err
	}
	sortFiles(got)
	want = slices.Clone(want)
	sortFiles(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("%w: %s", ErrMismatch, dir)
	}
	return nil
}

func sortFiles(files []File) {
	slices.SortFunc(files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
}

// Add unpacks a blob into the cache, for the tree that is being made. Several packages
// may be added at once. An announced digest is compared over the whole
// blob before anything is unpacked (spec L246): ErrMismatch, and nothing was.
func (s *Store) Add(e Entry, blob io.ReadSeeker) error {
	if err := e.Validate(); err != nil {
		return err
	}
	if e.BlobSha256 != "" {
		if _, err := io.Copy(io.Discard, Sha256Reader(e.BlobSha256, blob)); err != nil {
			return fmt.Errorf("verifying the blob of %s@%s: %w", e.Name, e.Version, err)
		}
		if _, err := blob.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("verifying the blob of %s@%s: %w", e.Name, e.Version, err)
		}
	}
	key := keyOf(e.Integrity)
	scratch := path.Join(scratchDir, key)
	if err := s.root.RemoveAll(scratch); err != nil {
		return fmt.Errorf("making room for %s@%s: %w", e.Name, e.Version, err)
	}
	if err := s.fill(scratch, e, blob); err != nil {
		return errors.Join(err, s.root.RemoveAll(scratch))
	}
	to := path.Join(cacheDir, key)
	if err := errors.Join(s.root.RemoveAll(to), s.root.Rename(scratch, to)); err != nil {
		return fmt.Errorf("keeping %s@%s: %w", e.Name, e.Version, err)
	}
	return nil
}

func (s *Store) fill(scratch string, e Entry, blob io.Reader) error {
	if err := s.root.Mkdir(scratch, 0o755); err != nil {
		return err
	}
	files, err := Unpack(s.root, path.Join(scratch, packageDir), e.Name, e.Version, blob, s.options.Limits)
	if err != nil {
		return err
	}
	c := cached{Name: e.Name, Version: e.Version, Integrity: e.Integrity, BlobSha256: e.BlobSha256, Files: files}
	for _, f := range files {
		c.Bytes += f.Size
	}
	if err := s.count(c.Bytes); err != nil {
		return err
	}
	b, err := json.Marshal(&c)
	if err != nil {
		return err
	}
	return s.root.WriteFile(path.Join(scratch, contentsFile), b, 0o644)
}

// CacheBytes is the size of all packages in the cache.
func (s *Store) CacheBytes() (int64, error) {
	all, err := s.packages()
	var total int64
	for _, p := range all {
		total += p.bytes
	}
	return total, err
}

type kept struct {
	key   string
	bytes int64
	used  time.Time
	lost  bool // what is in it is not described, so that nobody knows its size
}

func (s *Store) packages() ([]kept, error) {
	entries, err := fs.ReadDir(s.root.FS(), cacheDir)
	if err != nil {
		return nil, err
	}
	var all []kept
	for _, entry := range entries {
		k := kept{key: entry.Name()}
		if info, err := s.root.Lstat(path.Join(cacheDir, k.key, contentsFile)); err == nil {
			k.used = info.ModTime()
		}
		if c, err := s.describe(k.key); err == nil {
			k.bytes = c.Bytes
		} else {
			k.lost = true
		}
		all = append(all, k)
	}
	return all, nil
}

// collect drops packages beyond the bound: what no tree uses, the longest unused
// first. Those that are not described go in any case: they would be kept uncounted.
func (s *Store) collect(used map[string]bool) error {
	all, err := s.packages()
	if err != nil {
		return fmt.Errorf("looking through the cache: %w", err)
	}
	slices.SortFunc(all, func(a, b kept) int { return a.used.Compare(b.used) })
	var total int64
	for _, p := range all {
		total += p.bytes
	}
	var errs []error
	for _, p := range all {
		if used[p.key] || total <= s.options.CacheBytes && !p.lost {
			continue
		}
		if err := s.root.RemoveAll(path.Join(cacheDir, p.key)); err != nil {
			errs = append(errs, fmt.Errorf("dropping a package of the cache: %w", err))
			continue
		}
		total -= p.bytes
	}
	return errors.Join(errs...)
}
