package hub

import (
	"sync"
	"time"
)

// reading is something of which every satellite is told the same, as it was read last:
// a fleet that comes back at once reads it once.
type reading[T any] struct {
	mu    sync.Mutex // held while it is read, so that one reads for all who wait
	value T
	at    time.Time // of the reading; zero for never
}

// readingFor is how old it may be. When it changes, whoever relays the change reads it
// anew before it looks who was told another one.
const readingFor = time.Second

// recent gives what was read a short while ago, or reads it.
func (r *reading[T]) recent(read func() (T, error)) (T, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.at.IsZero() && time.Since(r.at) < readingFor {
		return r.value, nil
	}
	return r.fill(read)
}

// anew reads it.
func (r *reading[T]) anew(read func() (T, error)) (T, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fill(read)
}

func (r *reading[T]) fill(read func() (T, error)) (T, error) {
	value, err := read()
	if err == nil {
		r.value, r.at = value, time.Now()
	}
	return value, err
}
