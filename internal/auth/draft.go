package auth

import (
	"context"
	"sync"
	"time"
)

// Touched is something that a transaction has changed.
type Touched struct {
	// Kind and ID are as the API has them in its paths: systems, and the system's id.
	Kind, ID string
	// Was is how the transaction found it when it had locked it, and Is how it leaves it, as
	// its package has it (a catalog.System). Nil is absence.
	Was, Is any
}

// Draft is the entry of a request that changes something, for as long as it is carried
// out. The store puts it into the transaction of the change (see WithDraft): before and
// after are those of this change, and neither of the two is there without the other. It
// may be used by several goroutines.
type Draft struct {
	tell func([]Touched) AuditEntry

	mu      sync.Mutex
	kept    AuditEntry // as it was written last; without an id, never
	touched []Touched  // by the transactions that it was written with
	closed  bool
}

// NewDraft makes a draft; tell gives the entry of what was touched. It is told twice when
// a transaction is run again.
func NewDraft(tell func([]Touched) AuditEntry) *Draft { return &Draft{tell: tell} }

type draftKey struct{}

// WithDraft has the transactions of the context write the draft.
func WithDraft(ctx context.Context, d *Draft) context.Context {
	return context.WithValue(ctx, draftKey{}, d)
}

// DraftFrom is the draft that the context's transactions write; nil for none.
func DraftFrom(ctx context.Context) *Draft {
	d, _ := ctx.Value(draftKey{}).(*Draft)
	return d
}

// Entry is the entry after a transaction that touches this too. It has an id when a
// transaction before it has written it, which is then to be written over. What goes on
// behind a request that is answered has no entry any more.
func (d *Draft) Entry(touched []Touched) (e AuditEntry, open bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e = d.tell(append(d.touched[:len(d.touched):len(d.touched)], touched...))
	e.ID, e.At = d.kept.ID, d.kept.At
	if e.At.IsZero() {
		e.At = time.Now().UTC()
	}
	return e, !d.closed
}

// Committed keeps what a transaction has written.
func (d *Draft) Committed(e AuditEntry, touched []Touched) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kept, d.touched = e, append(d.touched, touched...)
}

// Close ends the draft, and gives it as it was written last.
func (d *Draft) Close() (kept AuditEntry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return d.kept
}
