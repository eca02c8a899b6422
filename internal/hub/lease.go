package hub

import (
	"slices"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/protocol"
)

// Leased tells satellites how far they may run their seats. What they have been told
// before, or are about to be told, of their assignments arrives first: a lease counts
// for who works by its revision.
func (h *Hub) Leased(leases []fleet.Lease) {
	for _, l := range leases {
		h.mu.Lock()
		s := h.sessions[l.SatelliteID]
		h.mu.Unlock()
		if s != nil && s.epoch == l.Epoch && s.features.has(protocol.FeatureLease) {
			s.send(&protocol.Lease{Until: l.Until.UnixMilli(), Revision: l.Revision})
		}
	}
}

// fit takes out of what is desired what the other end cannot do: seats, without leases.
// It may still report for them.
func (f features) fit(d *fleet.Desired) {
	if !f.has(protocol.FeatureLease) && slices.ContainsFunc(d.Assignments, seated) { // others may hold the list
		d.Assignments = slices.DeleteFunc(slices.Clone(d.Assignments), seated)
	}
}

func seated(a protocol.Assignment) bool { return a.Seat != nil }
