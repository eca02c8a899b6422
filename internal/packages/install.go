package packages

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
)

// installTimeout bounds an installation, downloads included.
const installTimeout = 30 * time.Minute

// downloads at once; each holds a package in memory, packed and unpacked.
const downloads = 3

// job is an installation that was claimed.
type job struct {
	holder string
	actor  entity.Actor
}

// Install starts an installation of the list as it is now, which Run carries out.
// Conflict says that one is under way, here or on another core.
func (s *Service) Install(ctx context.Context, actor entity.Actor) error {
	holder, err := s.claim(ctx, actor, func(i *Installation) {
		i.Status, i.ErrorMessage, i.Warnings, i.Done, i.Total = Installing, "", []string{}, 0, 0
	})
	if err != nil {
		return err
	}
	select {
	case s.starts <- job{holder, actor}:
		return nil
	case <-ctx.Done(): // nothing is carried out here; the lease will lapse
		return context.Cause(ctx)
	}
}

// installed is what an installation came to.
type installed struct {
	list     []string
	entries  []scriptpkg.Entry
	size     int64
	warnings []string
}

func (s *Service) carryOut(ctx context.Context, j job) {
	timed, cancelTimed := context.WithTimeoutCause(ctx, installTimeout, fault.New(fault.Unavailable, "the installation took longer than %s", installTimeout))
	defer cancelTimed()
	work, cancel := context.WithCancelCause(timed)
	defer cancel(nil)
	var done, total atomic.Int64
	finished := make(chan struct{})
	var keeper errgroup.Group
	keeper.Go(func() error {
		s.hold(work, j.holder, finished, cancel, func() (int, int) { return int(done.Load()), int(total.Load()) })
		return nil
	})
	result, err := s.install(work, &done, &total)
	close(finished)
	_ = keeper.Wait() // it has no error
	if err != nil && work.Err() != nil {
		err = context.Cause(work)
	}
	switch {
	case err == nil:
		err = s.publish(ctx, j, result)
	case ctx.Err() != nil:
		err = fault.New(fault.Unavailable, "the core stopped while it installed; install again")
	}
	if err != nil {
		s.fail(ctx, j, err)
	}
	s.bell.Ring(Topic)
}

// install makes everything ready for satellites, and changes nothing that they see.
func (s *Service) install(ctx context.Context, done, total *atomic.Int64) (installed, error) {
	list, err := s.store.Packages(ctx)
	if err != nil {
		return installed{}, err
	}
	result := installed{list: specs(list)}
	list = slices.DeleteFunc(list, func(p Package) bool { return !p.Enabled })
	if len(list) == 0 {
		return result, nil
	}
	found, err := resolve(ctx, s.registry, list)
	if err != nil {
		return installed{}, err
	}
	result.entries, result.warnings = found.entries, found.warnings
	total.Store(int64(len(found.entries)))
	result.size, err = s.fetch(ctx, found, done)
	if err != nil {
		return installed{}, err
	}
	if result.size > s.warn {
		result.warnings = append(result.warnings, fmt.Sprintf("the packages come to %d MiB, more than %d", result.size>>20, s.warn>>20))
	}
	return result, nil
}

// fetch sees to it that every package has its blob, and tells what they come to.
func (s *Service) fetch(ctx context.Context, found resolution, done *atomic.Int64) (int64, error) {
	unique := map[string]scriptpkg.Entry{}
	for _, e := range found.entries {
		unique[e.Integrity] = e
	}
	var size atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(downloads)
	for _, e := range found.entries {
		if unique[e.Integrity].Name != e.Name || unique[e.Integrity].Version != e.Version {
			done.Add(1)
			continue
		}
		group.Go(func() error {
			n, err := s.ensure(ctx, e, found.tarballs[e.Integrity])
			if err != nil {
				return err
			}
			done.Add(1)
			if size.Add(n) > s.block {
				return fault.New(fault.Invalid, "the packages come to more than %d MiB, which is the most; take some off the list", s.block>>20)
			}
			return nil
		})
	}
	err := group.Wait()
	return size.Load(), err
}

// ensure downloads and packs a package whose blob is not there or has rotted, and
// tells the size of the blob.
func (s *Service) ensure(ctx context.Context, e scriptpkg.Entry, tarball string) (int64, error) {
	known, err := s.blobs.intact(ctx, e.Integrity)
	if err != nil || known != nil {
		return sizeOf(known), err
	}
	data, err := s.registry.tarball(ctx, e.Name, e.Version, tarball, e.Integrity)
	if err != nil {
		return 0, err
	}
	packed, err := scriptpkg.Pack(e.Name, e.Version, bytes.NewReader(data), scriptpkg.Limits{})
	if err != nil {
		return 0, fault.Wrap(fault.Invalid, err, "the tarball of %s@%s cannot be taken: %s", e.Name, e.Version, err)
	}
	return int64(len(packed)), s.blobs.put(ctx, e, packed)
}

func sizeOf(b *Blob) int64 {
	if b == nil {
		return 0
	}
	return b.Size
}

// publish makes the tree what satellites should have.
func (s *Service) publish(ctx context.Context, j job, result installed) error {
	var hash *string
	var lockfiles []Lockfile
	if len(result.entries) > 0 {
		hash = new(scriptpkg.LockfileHash(result.entries))
		lockfiles = []Lockfile{{Hash: *hash, Entries: result.entries}}
	}
	err := s.release(ctx, j.holder, j.actor, func(now time.Time, i *Installation) {
		i.Status, i.LockfileHash, i.List, i.TotalSizeBytes, i.LastInstalledAt = Ready, hash, result.list, result.size, &now
		i.Warnings = append([]string{}, result.warnings...)
		i.Done, i.Total = len(result.entries), len(result.entries)
	}, lockfiles...)
	if err != nil {
		return fmt.Errorf("recording an installation of packages: %w", err)
	}
	s.log.Info("packages installed", "lockfile_hash", scriptpkg.LockfileHash(result.entries), "packages", len(result.entries), "bytes", result.size)
	return nil
}

// fail records why there is no new tree; the one before stays.
func (s *Service) fail(ctx context.Context, j job, cause error) {
	s.log.Warn("installing packages failed", "error", cause)
	if errors.Is(cause, errLost) {
		return // whoever took over writes what comes of it
	}
	err := s.release(ctx, j.holder, j.actor, func(_ time.Time, i *Installation) {
		i.Status, i.ErrorMessage = Failed, words(cause)
	})
	if err != nil {
		s.log.Error("recording that installing packages failed", "error", err)
	}
}
