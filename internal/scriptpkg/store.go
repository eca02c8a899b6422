package scriptpkg

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Where things lie below a store's root (spec G.3).
const (
	cacheDir   = "cache"
	treesDir   = "trees"
	runsDir    = ".runs"
	partialDir = ".partial"
	scratchDir = ".scratch"
	current    = "current"
)

// Grace is how long a tree stays after it was replaced: runs that began with it may
// go on (spec G.4).
const Grace = time.Hour

// DefaultCacheBytes is what a store keeps unless it is told otherwise.
const DefaultCacheBytes = 1 << 30

// StoreOptions of a store; zero fields take the default.
type StoreOptions struct {
	// CacheBytes is the most bytes of unpacked packages that are kept; beyond, those
	// that no tree uses go, the longest unused first. A tree that needs more by itself
	// is refused. Default DefaultCacheBytes.
	CacheBytes int64
	// Limits of one package.
	Limits Limits
	// Versions judges versions where a manifest does not say where packages lie.
	Versions Versions
	Log      *slog.Logger
	// Now is the clock of graces. Default time.Now.
	Now func() time.Time
}

// Versions is what a layout must know of versions.
type Versions interface {
	// Satisfies reports whether the version is in the range, as npm has it.
	Satisfies(version, constraint string) bool
	Compare(a, b string) int
}

// Store is a satellite's packages on disk (spec G.3): a cache of unpacked packages,
// trees that are made of them, and the link to the tree that is current. One process
// at a time may use a directory. Methods that build (Missing, Activate, Clear, Sweep)
// are for one goroutine; the others may be called from any.
//
// Nothing in it is believed because it is there. Each file's digest is compared when a
// tree is made of a package and, for the current tree, when the store is opened (spec
// M40, M89); what does not hold is fetched or built anew. That finds what a power
// cut, a full disk or a careless hand did. It is no defence against who may write
// to the directory on purpose: that is the satellite's own user.
type Store struct {
	dir     string
	root    *os.Root
	options StoreOptions
	log     *slog.Logger

	mu       sync.Mutex
	active   string         // guarded by mu: the current tree, "" for none
	inUse    map[string]int // guarded by mu: runs in each tree
	building int64          // guarded by mu: bytes of the tree that is being made
}

// OpenStore opens the directory, makes it if need be, and verifies the current tree.
func OpenStore(dir string, o StoreOptions) (*Store, error) {
	o.CacheBytes = cmp.Or(o.CacheBytes, DefaultCacheBytes)
	o.Limits = o.Limits.withDefaults()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the script packages: %w", err)
	}
	if err := os.MkdirAll(dir, passable); err != nil {
		return nil, fmt.Errorf("opening the script packages: %w", err)
	}
	if err := os.Chmod(dir, passable); err != nil { // one of an earlier version
		return nil, fmt.Errorf("opening the script packages: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the script packages: %w", err)
	}
	s := &Store{dir: dir, root: root, options: o, log: o.Log, inUse: map[string]int{}}
	if err := s.tidy(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the script packages: %w", err), root.Close())
	}
	s.believe()
	return s, nil
}

// Close gives the directory back.
func (s *Store) Close() error { return s.root.Close() }

// tidy removes what an earlier process left half done.
func (s *Store) tidy() error {
	for _, dir := range []string{runsDir, scratchDir} {
		if err := s.root.RemoveAll(dir); err != nil {
			return err
		}
	}
	for _, dir := range []string{cacheDir, treesDir, runsDir, partialDir, scratchDir} {
		if err := s.root.Mkdir(dir, passable); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := s.root.Chmod(dir, passable); err != nil {
			return err
		}
	}
	return nil
}

// passable is a directory whose parts others may reach, and not list: scripts that run as
// somebody else find the packages.
const passable = 0o711

// safeHash is a lockfile hash that can name a directory. An original core's is
// opaque (spec G.2), so it need not be one of ours.
var safeHash = lazily(`^[0-9A-Za-z_-][0-9A-Za-z._-]{0,127}$`)

func checkHash(hash string) error {
	if !safeHash().MatchString(hash) {
		return fmt.Errorf("%.80q cannot name a tree of packages", hash)
	}
	return nil
}

// keyOf is the name under which a package lies in the cache.
func keyOf(integrity string) string {
	sum := sha256.Sum256([]byte(integrity))
	return hex.EncodeToString(sum[:])
}
