package packages

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
)

// What is kept though the newest tree does not need it (spec G.2).
const (
	keepTrees = 1 // trees before the newest, whose blobs are kept
	// keepLockfiles are the trees whose manifests are remembered.
	keepLockfiles = 50
)

// Collected is what a collection came to.
type Collected struct {
	Deleted int   `json:"deleted" doc:"Blobs that were deleted."`
	Bytes   int64 `json:"bytes" doc:"What they came to."`
	Failed  int   `json:"failed" doc:"Blobs that could not be deleted; the next collection tries again."`
}

// Collect deletes the blobs that neither the tree that satellites should have nor the
// one before needs, and that have been there for a day. Conflict says that packages
// are being installed. It may be run again at any time.
func (s *Service) Collect(ctx context.Context) (Collected, error) {
	holder, err := s.claim(ctx, entity.System, func(*Installation) {})
	if err != nil {
		return Collected{}, err
	}
	work, cancel := context.WithTimeoutCause(ctx, lease-settle, errors.New("the collection took too long"))
	defer cancel()
	done, err := s.collect(work)
	if done.Deleted+done.Failed > 0 {
		s.log.Info("packages collected", "deleted", done.Deleted, "bytes", done.Bytes, "failed", done.Failed)
	}
	released := s.release(ctx, holder, entity.System, func(time.Time, *Installation) {})
	return done, errors.Join(err, released)
}

func (s *Service) collect(ctx context.Context) (Collected, error) {
	unneeded, err := s.unneeded(ctx)
	if err != nil {
		return Collected{}, err
	}
	var done Collected
	for _, b := range unneeded {
		if ctx.Err() != nil { // the lease; the next collection goes on
			done.Failed++
			continue
		}
		if err := s.blobs.delete(ctx, b); err != nil {
			s.log.Warn("a blob could not be deleted; the next collection tries again", "package", b.Name+"@"+b.Version, "error", err)
			done.Failed++
			continue
		}
		done.Deleted++
		done.Bytes += b.Size
	}
	return done, s.store.ForgetLockfiles(ctx, keepLockfiles)
}

// Unneeded is what a collection would delete now.
type Unneeded struct {
	Blobs    int      `json:"blobs"`
	Bytes    int64    `json:"bytes" doc:"What they come to."`
	Packages []string `json:"packages" doc:"What they are, as name@version; the first hundred by name."`
}

// maxUnneeded is how many packages are named of those that would be deleted.
const maxUnneeded = 100

// Unneeded tells what Collect would delete now, and deletes nothing.
func (s *Service) Unneeded(ctx context.Context) (Unneeded, error) {
	blobs, err := s.unneeded(ctx)
	if err != nil {
		return Unneeded{}, err
	}
	u := Unneeded{Blobs: len(blobs), Packages: make([]string, len(blobs))}
	for i, b := range blobs {
		u.Bytes += b.Size
		u.Packages[i] = b.Name + "@" + b.Version
	}
	slices.Sort(u.Packages)
	u.Packages = u.Packages[:min(len(u.Packages), maxUnneeded)]
	return u, nil
}

// unneeded are the blobs that no tree needs, and that have been there for long enough.
func (s *Service) unneeded(ctx context.Context) ([]Blob, error) {
	needed, err := s.needed(ctx)
	if err != nil {
		return nil, err
	}
	old, err := s.store.OldPackageBlobs(ctx, s.grace)
	if err != nil {
		return nil, fmt.Errorf("listing blobs: %w", err)
	}
	return slices.DeleteFunc(old, func(b Blob) bool { return needed[b.Integrity] }), nil
}

// needed is the integrities of the tree that satellites should have, and of those
// before it that they may still have.
func (s *Service) needed(ctx context.Context) (map[string]bool, error) {
	i, err := s.store.Installation(ctx)
	if err != nil {
		return nil, err
	}
	last, err := s.store.Lockfiles(ctx, keepTrees+1)
	if err != nil {
		return nil, fmt.Errorf("listing trees: %w", err)
	}
	if i.LockfileHash == nil && len(last) > keepTrees {
		last = last[:keepTrees] // the newest tree is that of no packages
	}
	needed := map[string]bool{}
	for _, l := range last {
		for _, e := range l.Entries {
			needed[e.Integrity] = true
		}
	}
	return needed, nil
}
