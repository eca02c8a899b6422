package entity

import (
	"context"
	"errors"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

// Group coalesces concurrent callers into few commits: while one batch is being
// committed the next one gathers, so the batch grows with the load and a lone
// caller waits for nobody (group commit).
//
// The queue is bounded; a caller that finds it full waits until its context ends,
// which is the back-pressure that reaches the socket it read from.
type Group[T any] struct {
	queue  chan pending[T]
	limit  int
	weight func(T) int
	commit func(ctx context.Context, items []T) error
}

type pending[T any] struct {
	item T
	done chan error
}

// NewGroup makes a group whose batches end once their weight reaches limit; queue
// bounds the items that wait. Run must be running for Do to return.
func NewGroup[T any](queue, limit int, weight func(T) int, commit func(ctx context.Context, items []T) error) *Group[T] {
	return &Group[T]{queue: make(chan pending[T], queue), limit: limit, weight: weight, commit: commit}
}

// Do waits until item is committed and returns the error of its commit.
func (g *Group[T]) Do(ctx context.Context, item T) error {
	done, err := g.Submit(ctx, item)
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Submit queues item and returns at once a channel that yields the outcome of
// its commit, so that one caller can have several in flight.
func (g *Group[T]) Submit(ctx context.Context, item T) (<-chan error, error) {
	p := pending[T]{item: item, done: make(chan error, 1)}
	select {
	case g.queue <- p:
		return p.done, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Run commits until ctx ends. What is queued then fails as unavailable.
func (g *Group[T]) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			g.fail(fault.New(fault.Unavailable, "the core is stopping"))
			return nil
		case first := <-g.queue:
			g.commitBatch(ctx, g.gather(first))
		}
	}
}

func (g *Group[T]) gather(first pending[T]) []pending[T] {
	batch := []pending[T]{first}
	weight := g.weight(first.item)
	for weight < g.limit {
		select {
		case p := <-g.queue:
			batch = append(batch, p)
			weight += g.weight(p.item)
		default:
			return batch
		}
	}
	return batch
}

// commitBatch commits the batch; when that fails for a reason that is not the
// database's absence, each item is tried alone, so that one bad item does not
// take its neighbours with it.
func (g *Group[T]) commitBatch(ctx context.Context, batch []pending[T]) {
	items := make([]T, len(batch))
	for i, p := range batch {
		items[i] = p.item
	}
	err := g.commit(ctx, items)
	if err == nil || len(batch) == 1 || fault.Is(err, fault.Unavailable) || errors.Is(err, context.Canceled) {
		for _, p := range batch {
			p.done <- err
		}
		return
	}
	for _, p := range batch {
		p.done <- g.commit(ctx, []T{p.item})
	}
}

func (g *Group[T]) fail(err error) {
	for {
		select {
		case p := <-g.queue:
			p.done <- err
		default:
			return
		}
	}
}
