package packages

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/scriptpkg"
)

// blobs are the stores of blobs, and what was read last in memory: satellites come
// for the same ones at the same time (spec M86).
type blobs struct {
	records Store
	stores  []BlobStore
	log     *slog.Logger
	loading singleflight.Group
	limit   int64

	mu    sync.Mutex
	size  int64             // guarded by mu
	kept  map[string]loaded // guarded by mu: by integrity
	order []string          // guarded by mu: used last at the end
}

// loaded is a blob with its bytes, which nobody changes.
type loaded struct {
	Blob
	data []byte
}

func newBlobs(records Store, stores []BlobStore, limit int64, log *slog.Logger) *blobs {
	return &blobs{records: records, stores: stores, limit: limit, log: log, kept: map[string]loaded{}}
}

// put writes a blob to the first store. The record comes first: bytes of which
// nothing is recorded would never be collected.
func (b *blobs) put(ctx context.Context, e scriptpkg.Entry, data []byte) error {
	active := b.stores[0]
	record := Blob{Integrity: e.Integrity, Name: e.Name, Version: e.Version, Sha256: scriptpkg.Sha256(data), Size: int64(len(data)), Backend: active.Name()}
	if err := b.records.PutPackageBlob(ctx, record); err != nil {
		return fmt.Errorf("recording the blob of %s@%s: %w", e.Name, e.Version, err)
	}
	if err := active.Put(ctx, e.Integrity, data); err != nil {
		return fmt.Errorf("storing the blob of %s@%s: %w", e.Name, e.Version, err)
	}
	b.forget(e.Integrity)
	return nil
}

// intact is the record of a blob that one of the stores has as it was written; nil
// when none does. It reads the blob: what has rotted would otherwise be taken for
// there, and no installation would make it anew.
func (b *blobs) intact(ctx context.Context, integrity string) (*Blob, error) {
	record, err := b.record(ctx, integrity)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, store := range b.reading(record.Backend) {
		data, err := store.Get(ctx, integrity)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading from %s: %w", store.Name(), err)
		}
		if err = scriptpkg.VerifySha256(record.Sha256, data); err == nil {
			return &record, nil
		}
		b.log.Warn("a blob is not as it was written", "package", record.Name+"@"+record.Version, "store", store.Name(), "error", err)
		if err := store.Delete(ctx, integrity); err != nil {
			return nil, fmt.Errorf("deleting from %s what has rotted: %w", store.Name(), err)
		}
	}
	return nil, nil
}

func (b *blobs) record(ctx context.Context, integrity string) (Blob, error) {
	found, err := b.records.PackageBlobs(ctx, []string{integrity})
	if err != nil {
		return Blob{}, fmt.Errorf("looking up a blob: %w", err)
	}
	record, ok := found[integrity]
	if !ok {
		return Blob{}, fault.New(fault.NotFound, "there is no package of this integrity")
	}
	return record, nil
}

// reading is the stores, that of the record first.
func (b *blobs) reading(backend string) []BlobStore {
	ordered := slices.Clone(b.stores)
	slices.SortStableFunc(ordered, func(x, y BlobStore) int {
		switch {
		case x.Name() == backend && y.Name() != backend:
			return -1
		case x.Name() != backend && y.Name() == backend:
			return 1
		}
		return 0
	})
	return ordered
}

// get reads a blob: from memory, or once for all who ask at the time.
func (b *blobs) get(ctx context.Context, integrity string) (loaded, error) {
	if l, ok := b.remembered(integrity); ok {
		return l, nil
	}
	// Who asked first may go before the others: its end is not theirs.
	result := b.loading.DoChan(integrity, func() (any, error) { return b.load(context.WithoutCancel(ctx), integrity) })
	select {
	case <-ctx.Done():
		return loaded{}, context.Cause(ctx)
	case r := <-result:
		if r.Err != nil {
			return loaded{}, r.Err
		}
		return r.Val.(loaded), nil
	}
}

func (b *blobs) load(ctx context.Context, integrity string) (loaded, error) {
	// Whoever looked just before an earlier load was done comes here after it.
	if l, ok := b.remembered(integrity); ok {
		return l, nil
	}
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	record, err := b.record(ctx, integrity)
	if err != nil {
		return loaded{}, err
	}
	var errs []error
	for _, store := range b.reading(record.Backend) {
		data, err := store.Get(ctx, integrity)
		if err == nil {
			err = scriptpkg.VerifySha256(record.Sha256, data)
		}
		if err == nil {
			l := loaded{record, data}
			b.remember(l)
			return l, nil
		}
		errs = append(errs, fmt.Errorf("reading from %s: %w", store.Name(), err))
	}
	return loaded{}, fault.Wrap(fault.NotFound, errors.Join(errs...), "the package %s@%s is in no store; install again", record.Name, record.Version)
}

func (b *blobs) remembered(integrity string) (loaded, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, ok := b.kept[integrity]
	if ok {
		at := slices.Index(b.order, integrity)
		b.order = append(slices.Delete(b.order, at, at+1), integrity)
	}
	return l, ok
}

// remember keeps a blob and lets go of those that were not used for longest. One
// that is larger than all room is not kept.
func (b *blobs) remember(l loaded) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.kept[l.Integrity]; ok || l.Size > b.limit {
		return
	}
	b.kept[l.Integrity] = l
	b.order = append(b.order, l.Integrity)
	for b.size += l.Size; b.size > b.limit; {
		b.dropLocked(b.order[0])
	}
}

func (b *blobs) forget(integrity string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.kept[integrity]; ok {
		b.dropLocked(integrity)
	}
}

func (b *blobs) dropLocked(integrity string) {
	at := slices.Index(b.order, integrity)
	b.order = slices.Delete(b.order, at, at+1)
	b.size -= b.kept[integrity].Size
	delete(b.kept, integrity)
}

// delete takes the bytes away where the record says they are, and then the record.
func (b *blobs) delete(ctx context.Context, record Blob) error {
	at := slices.IndexFunc(b.stores, func(s BlobStore) bool { return s.Name() == record.Backend })
	if at < 0 {
		return fmt.Errorf("the store %q is not configured", record.Backend)
	}
	if err := b.stores[at].Delete(ctx, record.Integrity); err != nil {
		return fmt.Errorf("deleting from %s: %w", record.Backend, err)
	}
	b.forget(record.Integrity)
	return b.records.DeletePackageBlob(ctx, record.Integrity)
}
