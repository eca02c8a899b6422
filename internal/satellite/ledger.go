package satellite

import (
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

// era is a stretch of time in which slots of a key were, or are, due: those in
// (Since, Until] of the schedule with the interval. Until 0 is an era that goes
// on. Times are Unix milliseconds of the satellite's clock.
//
// A key that gets another interval, or is taken away and given again, has a new
// era; the old one stays in the ledger until its last slot is accounted for.
type era struct {
	CheckID       string `json:"checkId"`
	SystemID      string `json:"systemId"`
	EnvironmentID string `json:"environmentId,omitempty"`
	IntervalMs    int64  `json:"intervalMs"`
	Since         int64  `json:"since"`
	Until         int64  `json:"until,omitempty"`
}

func (e *era) key() check.Key {
	return check.Key{CheckID: e.CheckID, SystemID: e.SystemID, EnvironmentID: e.EnvironmentID}
}

// ledger is the eras of one satellite, those of one key in order of time.
type ledger struct {
	satelliteID string
	eras        []era
	// accounted is the last slot of the key that a record accounts for (the spool's).
	accounted func(check.Key) (slot int64, ok bool)
}

func (l *ledger) schedule(e *era) check.Schedule {
	return check.NewSchedule(l.satelliteID, e.key(), time.Duration(e.IntervalMs)*time.Millisecond)
}

// gap is slots of one key that were due and that nothing accounts for.
type gap struct {
	key             check.Key
	from, to, count int64
}

// missing is what the era has not accounted for up to now.
func (l *ledger) missing(e *era, now int64) (gap, bool) {
	after, until := e.Since, now
	if slot, ok := l.accounted(e.key()); ok {
		after = max(after, slot)
	}
	if e.Until != 0 {
		until = min(until, e.Until)
	}
	schedule := l.schedule(e)
	count := schedule.Due(time.UnixMilli(after), time.UnixMilli(until))
	if count == 0 {
		return gap{}, false
	}
	return gap{
		key:   e.key(),
		from:  schedule.Next(time.UnixMilli(after)).UnixMilli(),
		to:    schedule.Last(time.UnixMilli(until)).UnixMilli(),
		count: count,
	}, true
}

// turn gives the ledger as it is when, from now on, the wanted keys are due at
// the wanted intervals.
func (l *ledger) turn(now int64, wanted map[check.Key]time.Duration) []era {
	var eras []era
	goesOn := make(map[check.Key]bool)
	for _, e := range l.eras {
		interval, ok := wanted[e.key()]
		if e.Until == 0 && ok && interval.Milliseconds() == e.IntervalMs {
			goesOn[e.key()] = true
			eras = append(eras, e)
			continue
		}
		if e.Until == 0 {
			e.Until = now
		}
		if _, open := l.missing(&e, now); open {
			eras = append(eras, e)
		}
	}
	for key, interval := range wanted {
		if !goesOn[key] {
			eras = append(eras, era{
				CheckID: key.CheckID, SystemID: key.SystemID, EnvironmentID: key.EnvironmentID,
				IntervalMs: interval.Milliseconds(), Since: now,
			})
		}
	}
	return eras
}
