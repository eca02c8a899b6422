package satellite

import (
	"sync"

	"github.com/perigee-monitoring/perigee/protocol"
)

// leases are how far seats may be run. They are slots, names of moments, and not
// moments: a satellite that was stopped, or whose clock is wrong, may be late or early
// with a slot, but never runs one that the core may have given to another.
//
// They are not kept on disk: after a restart the first heartbeat brings a new one.
type leases struct {
	mu   sync.Mutex
	held []protocol.Lease // oldest first, at most heldLeases
}

// heldLeases is how many are kept: the newest may name a revision that is not taken in
// yet, and until then those before it count.
const heldLeases = 4

func (l *leases) add(lease protocol.Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.held) == heldLeases {
		l.held = append(l.held[:0], l.held[1:]...)
	}
	l.held = append(l.held, lease)
}

// cover reports whether the slot may be run by who works by the revision.
func (l *leases) cover(slot, revision int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lease := range l.held {
		if lease.Revision <= revision && slot <= lease.Until {
			return true
		}
	}
	return false
}
