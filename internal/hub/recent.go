package hub

import (
	"container/list"
	"sync"
)

// recent is a map that holds the keys used last, so that strangers cannot make
// it grow.
type recent[K comparable, V any] struct {
	mu    *sync.Mutex
	most  int
	order *list.List          // of item, newest first
	items map[K]*list.Element // guarded by mu, as order
}

type recentItem[K comparable, V any] struct {
	key   K
	value V
}

func newRecent[K comparable, V any](most int) recent[K, V] {
	return recent[K, V]{mu: new(sync.Mutex), most: most, order: list.New(), items: map[K]*list.Element{}}
}

// update stores what change makes of the key's value, the zero value at first,
// and returns it.
func (r *recent[K, V]) update(key K, change func(V) V) V {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.items[key]
	if !ok {
		e = r.order.PushFront(&recentItem[K, V]{key: key})
		r.items[key] = e
		if len(r.items) > r.most {
			oldest := r.order.Back()
			delete(r.items, r.order.Remove(oldest).(*recentItem[K, V]).key)
		}
	}
	r.order.MoveToFront(e)
	it := e.Value.(*recentItem[K, V])
	it.value = change(it.value)
	return it.value
}

func (r *recent[K, V]) get(key K) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.items[key]; ok {
		return e.Value.(*recentItem[K, V]).value, true
	}
	var none V
	return none, false
}
