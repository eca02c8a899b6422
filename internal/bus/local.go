package bus

import (
	"context"
	"sync"
)

// Local rings bells inside one process. The zero value is ready.
type Local struct {
	mu   sync.Mutex
	subs map[string]map[chan struct{}]struct{}
}

// Ring wakes the subscribers of topic. It never blocks: a subscriber that has not
// yet looked since the last ring is already awake.
func (l *Local) Ring(topic string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ch := range l.subs[topic] {
		ring(ch)
	}
}

// ringAll wakes every subscriber.
func (l *Local) ringAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, subs := range l.subs {
		for ch := range subs {
			ring(ch)
		}
	}
}

func ring(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Subscribe returns a channel on which any of the topics rings, and the function
// that ends it.
func (l *Local) Subscribe(topics ...string) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.subs == nil {
		l.subs = map[string]map[chan struct{}]struct{}{}
	}
	for _, topic := range topics {
		if l.subs[topic] == nil {
			l.subs[topic] = map[chan struct{}]struct{}{}
		}
		l.subs[topic][ch] = struct{}{}
	}
	return ch, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, topic := range topics {
			delete(l.subs[topic], ch)
		}
	}
}

// Run has nothing to carry.
func (l *Local) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Status of a bus in one process: there is nobody else to hear.
func (l *Local) Status() Status { return Status{Kind: "local", Connected: true} }
