package automation

import (
	"slices"
	"sync"
)

// commitAtOnce bounds how many runs share one transaction.
const commitAtOnce = 64

// commits is a group commit: runs that are to be written while another transaction is
// being written share the next one, since a transaction costs more than what is in it.
// Whoever is first writes for all.
type commits struct {
	mu      sync.Mutex
	waiting []*commit // guarded by mu
	busy    bool      // guarded by mu; somebody writes
}

// commit is one who waits.
type commit struct {
	ride *ride
	lead chan struct{}
	done chan error
}

// do has the ride written, perhaps by another, and tells how that went. A group that
// fails is written one by one, so that none suffers for another.
func (g *commits) do(c *ride, write func([]*ride) error) error {
	own := &commit{ride: c, lead: make(chan struct{}, 1), done: make(chan error, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, own)
	if !g.busy {
		g.busy = true
		own.lead <- struct{}{}
	}
	g.mu.Unlock()
	select {
	case err := <-own.done:
		return err
	case <-own.lead:
	}
	g.mu.Lock()
	group := slices.Clone(g.waiting[:min(len(g.waiting), commitAtOnce)])
	g.waiting = slices.Delete(g.waiting, 0, len(group))
	g.mu.Unlock()
	rides := make([]*ride, len(group))
	for i, m := range group {
		rides[i] = m.ride
	}
	err := write(rides)
	for i, m := range group {
		mine := err
		if err != nil && len(group) > 1 {
			mine = write(rides[i : i+1])
		}
		m.done <- mine
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.busy = len(g.waiting) > 0; g.busy {
		g.waiting[0].lead <- struct{}{}
	}
	return <-own.done
}
