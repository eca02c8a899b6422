package packages

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
)

// Store is what the service needs of the records beside transactions.
type Store interface {
	Packages(ctx context.Context) ([]Package, error)
	Installation(ctx context.Context) (Installation, error)
	Lockfile(ctx context.Context, hash string) (Lockfile, error)
	// Lockfiles are the n that were installed last, newest first.
	Lockfiles(ctx context.Context, n int) ([]Lockfile, error)
	// ForgetLockfiles keeps the n that were installed last.
	ForgetLockfiles(ctx context.Context, n int) error
	PackageBlobs(ctx context.Context, integrities []string) (map[string]Blob, error)
	// PutPackageBlob records a blob as stored now.
	PutPackageBlob(ctx context.Context, b Blob) error
	DeletePackageBlob(ctx context.Context, integrity string) error
	// OldPackageBlobs are those that have been stored for at least the age.
	OldPackageBlobs(ctx context.Context, age time.Duration) ([]Blob, error)
	PackageSyncStates(ctx context.Context) ([]SatelliteState, error)
}

// Tx is what the service needs of a transaction.
type Tx interface {
	entity.Tx
	LockPackages(ctx context.Context) error
	Packages(ctx context.Context) ([]Package, error)
	PackageForUpdate(ctx context.Context, name string) (Package, error)
	InsertPackage(ctx context.Context, p Package) error
	EnablePackage(ctx context.Context, name string, enabled bool) error
	DeletePackage(ctx context.Context, name string) error
	InstallationForUpdate(ctx context.Context) (Installation, error)
	PutInstallation(ctx context.Context, i Installation) error
	PutLockfile(ctx context.Context, l Lockfile) error
}

// BlobStore keeps bytes under an integrity. A NotFound fault is what it does not
// have; deleting that is no error.
type BlobStore interface {
	// Name is how the records call the store; it stays the same across restarts.
	Name() string
	Put(ctx context.Context, integrity string, data []byte) error
	Get(ctx context.Context, integrity string) ([]byte, error)
	Delete(ctx context.Context, integrity string) error
}

// Config is what a service is made of.
type Config struct {
	Store    Store
	Recorder *entity.Recorder
	Bell     entity.Bell
	// Blobs are the stores of blobs: the first gets what is new, all are read.
	Blobs []BlobStore
	// Registry is the address of an npm registry, "" for DefaultRegistry; Token is
	// shown to it, "" for none. Neither is stored.
	Registry, Token string
	// WarnBytes and BlockBytes are what the blobs of a tree may come to: above the one
	// an installation warns, above the other it fails. Zero means 150 and 300 MiB.
	WarnBytes, BlockBytes int64
	// CacheBytes bounds the blobs that are kept in memory (spec M86). Zero means 64 MiB.
	CacheBytes int64
	// Grace is how long a blob is kept at least that nobody needs. Zero means a day.
	Grace time.Duration
	Log   *slog.Logger
}

// Service keeps the packages of one core.
type Service struct {
	store    Store
	recorder *entity.Recorder
	bell     entity.Bell
	blobs    *blobs
	registry *registry
	warn     int64
	block    int64
	grace    time.Duration
	log      *slog.Logger

	starts chan job      // one installation that was started here and is not taken up yet
	typing chan struct{} // who reads types now
}

// New makes a service. Run must be running for installations to be carried out.
func New(c Config) (*Service, error) {
	if len(c.Blobs) == 0 {
		return nil, errors.New("no store for packages was given")
	}
	registry, err := newRegistry(c.Registry, c.Token)
	if err != nil {
		return nil, err
	}
	return &Service{
		store: c.Store, recorder: c.Recorder, bell: c.Bell, registry: registry, log: c.Log,
		blobs: newBlobs(c.Store, c.Blobs, positive[int64](c.CacheBytes, 64<<20), c.Log),
		warn:  positive[int64](c.WarnBytes, 150<<20), block: positive[int64](c.BlockBytes, 300<<20),
		grace:  positive(c.Grace, 24*time.Hour),
		starts: make(chan job, 1),
		typing: make(chan struct{}, maxTypeReaders),
	}, nil
}

func positive[T int64 | time.Duration](n, otherwise T) T {
	if n > 0 {
		return n
	}
	return otherwise
}

// Run carries out the installations that are started here, one after the other, until
// ctx ends. One that is under way then is given up and recorded as failed; and so is one
// whose core is gone.
func (s *Service) Run(ctx context.Context) error {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := s.Abandon(ctx); err != nil && ctx.Err() == nil && !fault.Is(err, fault.Unavailable) {
				s.log.Error("looking for an installation that was left behind failed", "error", err)
			}
		case j := <-s.starts:
			s.carryOut(ctx, j)
		}
	}
}

// History is the trees that were installed last, newest first; those before the last
// fifty are forgotten.
func (s *Service) History(ctx context.Context) ([]Tree, error) {
	lockfiles, err := s.store.Lockfiles(ctx, keepLockfiles)
	if err != nil {
		return nil, err
	}
	wanted, err := s.LockfileHash(ctx)
	if err != nil {
		return nil, err
	}
	trees := make([]Tree, 0, len(lockfiles))
	for _, l := range lockfiles {
		t := Tree{LockfileHash: l.Hash, InstalledAt: l.RecordedAt, Wanted: wanted != nil && *wanted == l.Hash, Packages: []TreePackage{}}
		for _, e := range l.Entries {
			t.Packages = append(t.Packages, TreePackage{Name: e.Name, Version: e.Version, Integrity: e.Integrity})
		}
		trees = append(trees, t)
	}
	return trees, nil
}

// LockfileHash is the tree that satellites should have; nil for no packages.
func (s *Service) LockfileHash(ctx context.Context) (*string, error) {
	i, err := s.store.Installation(ctx)
	return i.LockfileHash, err
}

// describe fills in what the blobs of entries hash to.
func (s *Service) describe(ctx context.Context, entries []scriptpkg.Entry) error {
	integrities := make([]string, len(entries))
	for i, e := range entries {
		integrities[i] = e.Integrity
	}
	known, err := s.store.PackageBlobs(ctx, integrities)
	if err != nil {
		return fmt.Errorf("looking up blobs: %w", err)
	}
	for i := range entries {
		entries[i].BlobSha256 = known[entries[i].Integrity].Sha256
	}
	return nil
}
