package scriptpkg

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	treeFile     = ".tree.json"
	retiredFile  = ".retired-at"
	modulesDir   = "node_modules"
	manifestFile = "package.json"
)

// built describes a tree, in .tree.json.
type built struct {
	Entries []Entry `json:"entries"`
	// Digest is over the paths and digests of all files of the tree.
	Digest string `json:"digest"`
}

// ErrNoTree: there is no tree that a script could import from.
var ErrNoTree = errors.New("there are no script packages on this satellite")

// Current is the hash of the current tree, which was verified by this process; ""
// for none.
func (s *Store) Current() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active
}

// RootState is what scripts can expect of the packages (spec L252).
type RootState string

const (
	RootNone     RootState = "none"      // no packages are wanted
	RootReady    RootState = "ready"     // the wanted tree is there
	RootNotReady RootState = "not ready" // it is not: imports fail
)

// ResolutionRoot is where imports are resolved: the directory of the wanted tree, when
// it is the current one.
func (s *Store) ResolutionRoot(wanted *string) (string, RootState) {
	if wanted == nil {
		return "", RootNone
	}
	if s.Current() != *wanted {
		return "", RootNotReady
	}
	if info, err := s.root.Lstat(path.Join(treesDir, *wanted, modulesDir)); err != nil || !info.IsDir() {
		return "", RootNotReady
	}
	return filepath.Join(s.dir, treesDir, *wanted), RootReady
}

// believe takes the tree for current that the link names, if it is what was built.
// What is not is removed: it is built anew from the cache (spec M40).
func (s *Store) believe() {
	target, err := s.root.Readlink(current)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	hash, ok := strings.CutPrefix(filepath.ToSlash(target), treesDir+"/")
	if err == nil && ok && checkHash(hash) == nil {
		if _, err = s.check(hash); err == nil {
			s.active = hash
			return
		}
	}
	s.log.Warn("the current tree of script packages is not what was built; it is built anew", "lockfile_hash", hash, "error", err)
	if err := s.root.RemoveAll(current); err != nil {
		s.log.Warn("removing the link to a tree of script packages failed", "error", err)
	}
	if ok && checkHash(hash) == nil {
		if err := s.root.RemoveAll(path.Join(treesDir, hash)); err != nil {
			s.log.Warn("removing a tree of script packages failed", "lockfile_hash", hash, "error", err)
		}
	}
}

// check compares a tree with what was built.
func (s *Store) check(hash string) (*built, error) {
	dir := path.Join(treesDir, hash)
	b, err := s.root.ReadFile(path.Join(dir, treeFile))
	if err != nil {
		return nil, err
	}
	var was built
	if err := json.Unmarshal(b, &was); err != nil {
		return nil, fmt.Errorf("reading %s: %w", treeFile, err)
	}
	if info, err := s.root.Lstat(path.Join(dir, modulesDir)); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("the tree has no %s", modulesDir)
	}
	files, err := listFiles(s.root, dir)
	if err != nil {
		return nil, err
	}
	files = slices.DeleteFunc(files, func(f File) bool { return f.Path == treeFile || f.Path == retiredFile })
	if digestOf(files) != was.Digest {
		return nil, fmt.Errorf("%w: %s", ErrMismatch, dir)
	}
	return &was, nil
}

func digestOf(files []File) string {
	sortFiles(files)
	sum := sha256.New()
	for _, f := range files {
		fmt.Fprintf(sum, "%s\x00%d\x00%s\n", f.Path, f.Size, f.Sha256)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Activate makes the tree of the entries current. Their packages must be in the cache
// (Missing, Add). A tree of that hash that is still there is used again if it
// holds what it should. After an error the tree before stays current.
func (s *Store) Activate(hash string, entries []Entry) error {
	if err := checkHash(hash); err != nil {
		return err
	}
	entries = slices.Clone(entries)
	SortEntries(entries)
	was, err := s.check(hash)
	if err != nil || !slices.EqualFunc(was.Entries, entries, sameEntry) {
		if err := s.build(hash, entries); err != nil {
			return fmt.Errorf("building the tree of script packages: %w", err)
		}
	}
	if err := s.swap(hash); err != nil {
		return fmt.Errorf("changing over to the new script packages: %w", err)
	}
	if err := s.root.RemoveAll(partialDir); err != nil {
		s.log.Warn("removing what was left of downloads failed", "error", err)
	}
	return nil
}

func sameEntry(a, b Entry) bool {
	return a.Name == b.Name && a.Version == b.Version && a.Integrity == b.Integrity && a.BlobSha256 == b.BlobSha256 && slices.Equal(a.Paths, b.Paths)
}

func (s *Store) build(hash string, entries []Entry) error {
	places, err := layout(entries, s.needs, s.options.Versions)
	if err != nil {
		return err
	}
	b := builder{store: s, dir: path.Join(scratchDir, "tree"), files: map[string]File{}}
	if err := s.root.RemoveAll(b.dir); err != nil {
		return err
	}
	if err := b.all(entries, places); err != nil {
		return errors.Join(err, s.root.RemoveAll(b.dir))
	}
	to := path.Join(treesDir, hash)
	return errors.Join(s.root.RemoveAll(to), s.root.Rename(b.dir, to))
}

// needs reads what a package of the cache says of itself.
func (s *Store) needs(e Entry) (needs, error) {
	c, err := s.contents(e.Integrity)
	if err != nil {
		return needs{}, err
	}
	b, err := s.root.ReadFile(path.Join(cacheDir, keyOf(e.Integrity), packageDir, manifestFile))
	if err != nil {
		return needs{}, err
	}
	// Each member by itself: what npm tolerates in one must not hide the others.
	var said struct{ Dependencies, OptionalDependencies, PeerDependencies json.RawMessage }
	if err := json.Unmarshal(b, &said); err != nil {
		return needs{}, fmt.Errorf("reading its %s: %w", manifestFile, err)
	}
	n := needs{ranges: map[string]string{}, bundled: map[string]bool{}}
	for _, member := range []json.RawMessage{said.PeerDependencies, said.Dependencies, said.OptionalDependencies} {
		var ranges map[string]string
		if json.Unmarshal(member, &ranges) != nil {
			continue
		}
		for name, constraint := range ranges {
			if CheckName(name) == nil {
				n.ranges[name] = constraint
			}
		}
	}
	for _, f := range c.Files {
		if inner, ok := strings.CutPrefix(f.Path, modulesDir+"/"); ok {
			parts := strings.SplitN(inner, "/", 3)
			n.bundled[parts[0]] = true
			if len(parts) > 1 && strings.HasPrefix(parts[0], "@") {
				n.bundled[parts[0]+"/"+parts[1]] = true
			}
		}
	}
	return n, nil
}

// builder makes a tree in a scratch directory.
type builder struct {
	store *Store
	dir   string
	files map[string]File // by their paths in the tree
}

func (b *builder) all(entries []Entry, places []Place) error {
	root := b.store.root
	if err := root.MkdirAll(path.Join(b.dir, modulesDir), 0o755); err != nil {
		return err
	}
	top := map[string]string{}
	for _, place := range places {
		e := entries[place.Entry]
		if err := b.place(place.Path, e); err != nil {
			return fmt.Errorf("placing %s@%s at %s: %w", e.Name, e.Version, place.Path, err)
		}
		if name := strings.TrimPrefix(place.Path, modulesDir+"/"); !strings.Contains(name, "/"+modulesDir+"/") {
			top[name] = e.Version
		}
	}
	if err := b.manifest(top); err != nil {
		return err
	}
	files := make([]File, 0, len(b.files))
	for _, f := range b.files {
		files = append(files, f)
	}
	text, err := json.Marshal(&built{Entries: entries, Digest: digestOf(files)})
	if err != nil {
		return err
	}
	return root.WriteFile(path.Join(b.dir, treeFile), text, 0o444)
}

// manifest writes the tree's package.json.
func (b *builder) manifest(dependencies map[string]string) error {
	text, err := json.MarshalIndent(struct {
		Private      bool              `json:"private"`
		Dependencies map[string]string `json:"dependencies"`
	}{true, dependencies}, "", "  ")
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	b.files[manifestFile] = File{Path: manifestFile, Size: int64(len(text)), Sha256: hex.EncodeToString(sum[:])}
	return b.store.root.WriteFile(path.Join(b.dir, manifestFile), text, 0o444)
}

func (b *builder) place(where string, e Entry) error {
	s := b.store
	c, err := s.contents(e.Integrity)
	if err != nil {
		return err
	}
	if !c.is(e) {
		return ErrMismatch
	}
	to, from := path.Join(b.dir, where), path.Join(cacheDir, keyOf(e.Integrity), packageDir)
	// A package that brought this one along in its own node_modules does not decide.
	for name := range b.files {
		if strings.HasPrefix(name, where+"/") {
			delete(b.files, name)
		}
	}
	if err := s.root.RemoveAll(to); err != nil {
		return err
	}
	made := map[string]bool{}
	for _, f := range c.Files {
		target := path.Join(to, f.Path)
		if dir := path.Dir(target); !made[dir] {
			if err := s.root.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			made[dir] = true
		}
		if err := s.linkOrCopy(path.Join(from, f.Path), target); err != nil {
			return err
		}
		f.Path = path.Join(where, f.Path)
		b.files[f.Path] = f
	}
	return nil
}

// linkOrCopy makes a hard link, or where the file system has none, or no more of
// them, a copy.
func (s *Store) linkOrCopy(from, to string) error {
	if s.root.Link(from, to) == nil {
		return nil
	}
	src, err := s.root.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	dst, err := s.root.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}

// swap points the link at a tree in one step.
func (s *Store) swap(hash string) error {
	before := s.linked()
	if err := s.root.RemoveAll(path.Join(treesDir, hash, retiredFile)); err != nil {
		return err
	}
	scratch := path.Join(scratchDir, current)
	if err := s.root.RemoveAll(scratch); err != nil {
		return err
	}
	if err := s.root.Symlink(path.Join(treesDir, hash), scratch); err != nil {
		return err
	}
	if err := s.root.Rename(scratch, current); err != nil {
		return err
	}
	s.setActive(hash)
	s.retire(before)
	return nil
}

// Clear makes no tree current: no packages are wanted (spec M88).
func (s *Store) Clear() error {
	before := s.linked()
	s.setActive("")
	if err := s.root.RemoveAll(current); err != nil {
		return fmt.Errorf("leaving the script packages: %w", err)
	}
	s.retire(before)
	return nil
}

func (s *Store) setActive(hash string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active = hash
}

// linked is the hash of the tree that the link names, "" for none.
func (s *Store) linked() string {
	target, err := s.root.Readlink(current)
	if err != nil {
		return ""
	}
	return path.Base(filepath.ToSlash(target))
}

// retire stamps a tree that is not current any more. A stamp that cannot be written
// is made up for by the sweep.
func (s *Store) retire(hash string) {
	if hash == "" || hash == s.linked() {
		return
	}
	if err := s.stamp(hash); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("a tree of script packages could not be marked as retired", "lockfile_hash", hash, "error", err)
	}
}

func (s *Store) stamp(hash string) error {
	at := strconv.FormatInt(s.options.Now().UnixMilli(), 10)
	return s.root.WriteFile(path.Join(treesDir, hash, retiredFile), []byte(at), 0o644)
}

// Sweep removes trees that were retired longer than Grace ago and packages beyond
// the cache's bound that no tree uses. Never the current tree, and none in which a
// script runs. A tree without a stamp, or with one that makes no sense, is stamped
// now (spec L249).
func (s *Store) Sweep() error {
	entries, err := fs.ReadDir(s.root.FS(), treesDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("sweeping script packages: %w", err)
	}
	var errs []error
	used := map[string]bool{}
	for _, entry := range entries {
		gone, err := s.sweepOne(entry.Name())
		if err != nil {
			errs = append(errs, fmt.Errorf("sweeping the tree %s: %w", entry.Name(), err))
		}
		if !gone {
			s.use(entry.Name(), used)
		}
	}
	return errors.Join(append(errs, s.collect(used))...)
}

// use notes which packages a tree is made of.
func (s *Store) use(hash string, used map[string]bool) {
	b, err := s.root.ReadFile(path.Join(treesDir, hash, treeFile))
	var tree built
	if err != nil || json.Unmarshal(b, &tree) != nil {
		return
	}
	for _, e := range tree.Entries {
		used[keyOf(e.Integrity)] = true
	}
}

func (s *Store) sweepOne(hash string) (gone bool, err error) {
	if hash == s.linked() {
		return false, nil
	}
	// The lock is held so that no run begins in a tree while it is removed; none can,
	// as runs begin in the current tree, but the current one may change back.
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inUse[hash] > 0 || hash == s.active {
		return false, nil
	}
	now := s.options.Now()
	b, err := s.root.ReadFile(path.Join(treesDir, hash, retiredFile))
	at, parsed := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	retired := time.UnixMilli(at)
	if err != nil || parsed != nil || retired.After(now) {
		return false, s.stamp(hash)
	}
	if now.Sub(retired) <= Grace {
		return false, nil
	}
	return true, s.root.RemoveAll(path.Join(treesDir, hash))
}

// RunDir is a scratch directory for one run of a script, with a node_modules that leads to
// the tree which was current when the run began. The tree stays until Close.
type RunDir struct {
	// Path of the directory.
	Path string

	store *Store
	name  string
	tree  string
}

// RunDir makes a scratch directory; ErrNoTree when there is no tree to import from.
func (s *Store) RunDir() (*RunDir, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active == "" {
		return nil, ErrNoTree
	}
	name := path.Join(runsDir, rand.Text())
	if err := s.root.Mkdir(name, 0o700); err != nil {
		return nil, fmt.Errorf("making a directory for a script: %w", err)
	}
	link := path.Join(name, modulesDir)
	if err := s.root.Symlink(path.Join("..", "..", treesDir, s.active, modulesDir), link); err != nil {
		return nil, errors.Join(fmt.Errorf("making a directory for a script: %w", err), s.root.RemoveAll(name))
	}
	s.inUse[s.active]++
	return &RunDir{Path: filepath.Join(s.dir, filepath.FromSlash(name)), store: s, name: name, tree: s.active}, nil
}

// Close removes the directory and what the script left in it, and lets go of the
// tree. What cannot be removed is tried again at the next start.
func (r *RunDir) Close() error {
	s := r.store
	s.mu.Lock()
	if s.inUse[r.tree]--; s.inUse[r.tree] == 0 {
		delete(s.inUse, r.tree)
	}
	s.mu.Unlock()
	if err := s.root.RemoveAll(r.name); err != nil {
		return fmt.Errorf("removing a script's directory: %w", err)
	}
	return nil
}
