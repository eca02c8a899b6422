package bus

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// Local rings bells inside one process. The zero value is ready.
type Local struct {
	mu        sync.Mutex
	listeners map[string]map[*Listener]struct{} // by topic
}

// Listener hears several topics and can tell them apart. Close ends it.
type Listener struct {
	// Rings has a value when there is something to take.
	Rings  <-chan struct{}
	rings  chan struct{}
	local  *Local
	topics []string
	rung   map[string]struct{} // guarded by local.mu: what rang since the last Take
}

// Take gives the topics that rang since it was called last, in the order of names.
func (l *Listener) Take() []string {
	l.local.mu.Lock()
	defer l.local.mu.Unlock()
	topics := slices.Sorted(maps.Keys(l.rung))
	clear(l.rung)
	return topics
}

// Close ends the listening; Rings is not closed.
func (l *Listener) Close() {
	l.local.mu.Lock()
	defer l.local.mu.Unlock()
	for _, topic := range l.topics {
		delete(l.local.listeners[topic], l)
	}
}

func (l *Listener) ring(topic string) {
	l.rung[topic] = struct{}{}
	ring(l.rings)
}

func ring(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Ring wakes the listeners of topic. It never blocks: a listener that has not yet
// looked since the last ring is already awake.
func (l *Local) Ring(topic string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for listener := range l.listeners[topic] {
		listener.ring(topic)
	}
}

// ringAll wakes every listener.
func (l *Local) ringAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for topic, listeners := range l.listeners {
		for listener := range listeners {
			listener.ring(topic)
		}
	}
}

// Listen hears topics, of which each may ring at any time.
func (l *Local) Listen(topics ...string) *Listener {
	rings := make(chan struct{}, 1)
	listener := &Listener{Rings: rings, rings: rings, local: l, topics: topics, rung: map[string]struct{}{}}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listeners == nil {
		l.listeners = map[string]map[*Listener]struct{}{}
	}
	for _, topic := range topics {
		if l.listeners[topic] == nil {
			l.listeners[topic] = map[*Listener]struct{}{}
		}
		l.listeners[topic][listener] = struct{}{}
	}
	return listener
}

// Subscribe returns a channel on which any of the topics rings, and the function
// that ends it.
func (l *Local) Subscribe(topics ...string) (<-chan struct{}, func()) {
	listener := l.Listen(topics...)
	return listener.Rings, listener.Close
}

// Run has nothing to carry.
func (l *Local) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Status of a bus in one process: there is nobody else to hear.
func (l *Local) Status() Status { return Status{Kind: "local", Connected: true} }
