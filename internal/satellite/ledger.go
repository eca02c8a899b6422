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
	// Seat is the number of the seat, 0 for none; Bound the last slot of it that is run
	// here, 0 for no end.
	Seat  int   `json:"seat,omitempty"`
	Bound int64 `json:"bound,omitempty"`
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
	return check.SeatSchedule(l.satelliteID, e.Seat, e.key(), time.Duration(e.IntervalMs)*time.Millisecond)
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
	if e.Bound != 0 {
		until = min(until, e.Bound)
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

// turn gives the ledger as it is when, from now on, the wanted work is due.
func (l *ledger) turn(now int64, wanted map[check.Key]*work) []era {
	var eras []era
	goesOn := make(map[check.Key]bool)
	for _, e := range l.eras {
		w, ok := wanted[e.key()]
		if e.Until == 0 && ok && e.goesOn(w) {
			goesOn[e.key()] = true
			e.Bound = w.seat().Until
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
	for key, w := range wanted {
		if goesOn[key] {
			continue
		}
		eras = append(eras, era{
			CheckID: key.CheckID, SystemID: key.SystemID, EnvironmentID: key.EnvironmentID,
			IntervalMs: w.interval.Milliseconds(), Since: w.begins(now), Seat: w.seat().Number, Bound: w.seat().Until,
		})
	}
	return eras
}

// goesOn reports whether the wanted work is due at the slots of the era. A seat that was
// to be given away, and came back later, has another one.
func (e *era) goesOn(w *work) bool {
	seat := w.seat()
	return w.interval.Milliseconds() == e.IntervalMs && seat.Number == e.Seat && (e.Bound == 0 || seat.After < e.Bound)
}

// begins is after which slot the work is due. A seat is not due before the satellite
// that had it is bound to have stopped; and slots that passed while the core was telling
// of it are due here, and are missing.
func (w *work) begins(now int64) int64 {
	after := w.seat().After
	if after > now || now-after <= rewindLimit.Milliseconds() {
		return after
	}
	return now
}
