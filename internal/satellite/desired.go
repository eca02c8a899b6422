package satellite

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// desired is what the core wants of the satellite, as it is kept on disk
// (desired.json) so that a restart without the core goes on with it (spec M4),
// together with the ledger of what has been due.
type desired struct {
	// SatelliteID is whose data this is; another satellite must not use it.
	SatelliteID string `json:"satelliteId"`
	CoreURL     string `json:"coreUrl"`
	// Revision of the assignments; 0 from a core that has none.
	Revision int64 `json:"revision"`
	// Assert: the core leaves assertions to the satellite.
	Assert      bool                  `json:"assert"`
	Assignments []protocol.Assignment `json:"assignments"`
	Ledger      []era                 `json:"ledger"`
}

// change is a message of the core about assignments: the whole set, or what is
// different from the revision base.
type change struct {
	delta    bool
	base     int64
	revision int64
	upserts  []protocol.Assignment // of a whole set: all of it
	removals []protocol.Pair
	assert   bool
	now      *protocol.RunNow // in place of a change: a run that the core asks for
}

// with gives the assignments after the change.
func (d *desired) with(c change) (desired, error) {
	next := *d
	if c.delta && c.base != d.Revision {
		return next, fmt.Errorf("the change is based on revision %d; this satellite holds %d", c.base, d.Revision)
	}
	next.Revision, next.Assert = c.revision, c.assert
	if !c.delta {
		next.Assignments = c.upserts
		return next, nil
	}
	replaced := make(map[protocol.Pair]bool, len(c.removals)+len(c.upserts))
	for _, p := range c.removals {
		replaced[p] = true
	}
	for i := range c.upserts {
		replaced[c.upserts[i].Pair()] = true
	}
	next.Assignments = nil
	for _, a := range d.Assignments {
		if !replaced[a.Pair()] {
			next.Assignments = append(next.Assignments, a)
		}
	}
	next.Assignments = append(next.Assignments, c.upserts...)
	return next, nil
}

// work is one key to be carried out.
type work struct {
	assignment  *protocol.Assignment
	environment *check.Environment // nil for the environment-less run
	interval    time.Duration
	revision    int64
	assert      bool
	asked       bool          // by the core, beside the schedule
	within      time.Duration // bounds the run of a guest; 0 for what is our own
}

// seat is the number of the seat and the slots between which it is run here; zeros for
// what is no seat, and until 0 for no end.
func (w *work) seat() (s protocol.Seat) {
	if w.assignment.Seat != nil {
		s = *w.assignment.Seat
	}
	return s
}

// Bounds of an interval. The core's own minimum is a second; shorter ones serve
// tests and do no harm.
const (
	minInterval = 10 * time.Millisecond
	maxInterval = 366 * 24 * time.Hour
)

// works expands the assignments into keys, one for each environment or one
// without (spec K.3). Those that cannot be carried out here are left out and
// named, each with the reason (spec M71).
func (d *desired) works(runnable func(*protocol.Assignment) error) (map[check.Key]*work, []protocol.AppliedError) {
	all := make(map[check.Key]*work, len(d.Assignments))
	var refused []protocol.AppliedError
	for i := range d.Assignments {
		a := &d.Assignments[i]
		interval, err := intervalOf(a)
		if err == nil {
			err = runnable(a)
		}
		if err != nil {
			refused = append(refused, protocol.AppliedError{Pair: a.Pair(), Message: check.Truncate(err.Error(), protocol.MaxText)})
			continue
		}
		w := work{assignment: a, interval: interval, revision: d.Revision, assert: d.Assert}
		if len(a.Environments) == 0 {
			all[check.Key{CheckID: a.ConfigID, SystemID: a.SystemID}] = &w
		}
		for j := range a.Environments {
			inEnvironment := w
			inEnvironment.environment = &a.Environments[j]
			all[check.Key{CheckID: a.ConfigID, SystemID: a.SystemID, EnvironmentID: a.Environments[j].ID}] = &inEnvironment
		}
	}
	return all, refused
}

func intervalOf(a *protocol.Assignment) (time.Duration, error) {
	if !(a.IntervalSeconds >= minInterval.Seconds() && a.IntervalSeconds <= maxInterval.Seconds()) {
		return 0, fmt.Errorf("the interval of %v seconds cannot be kept: it must be between %v and %v",
			a.IntervalSeconds, minInterval, maxInterval)
	}
	// 1.001 seconds is 1000.9999… milliseconds to a computer; the core counts 1001.
	return time.Duration(a.IntervalSeconds * float64(time.Second)).Round(time.Microsecond).Truncate(time.Millisecond), nil
}

// loadDesired reads the file; a missing one is a satellite that has not met its
// core yet.
func loadDesired(path string) (desired, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return desired{}, nil
	}
	if err != nil {
		return desired{}, fmt.Errorf("reading the last known assignments: %w", err)
	}
	var d desired
	if err := json.Unmarshal(b, &d); err != nil {
		return desired{}, fmt.Errorf("reading the last known assignments (%s): %w", path, err)
	}
	return d, nil
}
