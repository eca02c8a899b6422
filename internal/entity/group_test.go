package entity

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/fault"
)

func one(int) int { return 1 }

// run starts the group and returns what stops it and waits.
func run(ctx context.Context, g *Group[int]) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { _ = g.Run(ctx) })
	return func() { cancel(); wg.Wait() }
}

func TestGroupGathersWhileACommitIsRunning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var batches [][]int
		gate := make(chan struct{})
		g := NewGroup(100, 10, one, func(_ context.Context, items []int) error {
			batches = append(batches, slices.Clone(items))
			<-gate
			return nil
		})
		stop := run(t.Context(), g)
		var outcomes []<-chan error
		for i := range 13 {
			done, err := g.Submit(t.Context(), i)
			if err != nil {
				t.Fatal(err)
			}
			outcomes = append(outcomes, done)
			if i == 0 {
				synctest.Wait() // the first is being committed, alone
			}
		}
		close(gate)
		for _, done := range outcomes {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		stop()
		want := [][]int{{0}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {11, 12}}
		if diff := cmp.Diff(want, batches); diff != "" {
			t.Errorf("batches (-want +got):\n%s", diff)
		}
	})
}

func TestGroupTriesItemsAloneWhenABatchFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bad := errors.New("bad item")
		gate := make(chan struct{})
		g := NewGroup(10, 10, one, func(_ context.Context, items []int) error {
			<-gate
			if slices.Contains(items, 2) {
				return bad
			}
			return nil
		})
		var outcomes []<-chan error
		for i := range 4 {
			done, _ := g.Submit(t.Context(), i)
			outcomes = append(outcomes, done)
		}
		stop := run(t.Context(), g)
		close(gate)
		for i, done := range outcomes {
			if err := <-done; (i == 2) != errors.Is(err, bad) {
				t.Errorf("item %d: %v", i, err)
			}
		}
		stop()
	})
}

func TestGroupFailsWhatWaitsWhenItStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup(10, 10, one, func(context.Context, []int) error { return nil })
		done, err := g.Submit(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = g.Run(ctx)
		select {
		case err := <-done:
			if err != nil && !fault.Is(err, fault.Unavailable) {
				t.Errorf("error = %v, want unavailable", err)
			}
		default:
			t.Error("the item was neither committed nor failed")
		}
	})
}

func TestGroupWaitsForAPlaceAsLongAsTheCallerDoes(t *testing.T) {
	t.Parallel()
	g := NewGroup(1, 1, one, func(context.Context, []int) error { return nil })
	if _, err := g.Submit(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Submit(ctx, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want the caller's own end", err)
	}
}
