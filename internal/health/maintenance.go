package health

import (
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

// Upkeep is what maintenance means to one seat.
type Upkeep struct {
	// Maintained: it is in maintenance now, and nobody is alarmed by it. Paused: it is
	// not even due.
	Maintained, Paused bool
	// DueSince is when it was last paused until; zero for never. Before that it could
	// not be measured, so that its last result is no older than this.
	DueSince time.Time
}

// rest sets whether nobody is alarmed by the check.
func (v *CheckVerdict) rest() {
	v.Maintenance = len(v.Seats) > 0
	for i := range v.Seats {
		v.Maintenance = v.Maintenance && v.Seats[i].Maintained
	}
}

// maintain sets whether the whole system is in maintenance, and what would be told
// of those of its checks that are not.
func (h *SystemHealth) maintain(verdicts []CheckVerdict) {
	h.Told, h.Maintenance = check.Unknown, len(verdicts) > 0
	first := true
	for _, v := range verdicts {
		if v.Maintenance {
			continue
		}
		h.Maintenance = false
		if first || check.Worst(h.Told, v.Status) != h.Told {
			h.Told, first = v.Status, false
		}
	}
}
