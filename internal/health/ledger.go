package health

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/protocol"
)

// Era is a stretch of time in which slots of a location are due: those after Since
// and not after Until. What is due changes by ending an era and beginning another, so
// that the eras of a location are the ledger of what was due; they stay when what they
// name is deleted.
type Era struct {
	ID            int64     `json:"id"`
	SystemID      string    `json:"systemId"`
	CheckID       string    `json:"checkId"`
	SatelliteID   string    `json:"satelliteId"`
	EnvironmentID string    `json:"environmentId,omitempty"`
	IntervalMs    int64     `json:"intervalMs"`
	Seat          int       `json:"seat,omitempty" doc:"The number of the seat whose slots these are; without it they are the satellite's own."`
	State         EraState  `json:"state" enum:"active,paused,disabled,maintenance"`
	Revision      int64     `json:"revision" doc:"The revision of the satellite's assignments that began it."`
	Since         time.Time `json:"since" doc:"Slots after then are due."`
	// Until is nil for an era that goes on.
	Until *time.Time `json:"until" doc:"The last instant in which a slot may be due; null while the era goes on."`
	// ToldAt is when the satellite said that it works by the revision, or a later one;
	// nil when it did not, or cannot carry the assignment out.
	ToldAt *time.Time `json:"toldAt" doc:"When the satellite had confirmed the revision; null before."`
}

// EraState is what is to happen with the slots of an era.
type EraState string

const (
	EraActive   EraState = "active"   // they are to be run
	EraPaused   EraState = "paused"   // the check is paused
	EraDisabled EraState = "disabled" // the assignment is not enabled
	// EraMaintenance: a maintenance pauses the check, or all of the system.
	EraMaintenance EraState = "maintenance"
)

// Location is whose slots they are.
func (e *Era) Location() LocationKey {
	return LocationKey{SystemID: e.SystemID, CheckID: e.CheckID, SatelliteID: e.SatelliteID, EnvironmentID: e.EnvironmentID}
}

// Schedule says which slots they are.
func (e *Era) Schedule() check.Schedule {
	key := check.Key{CheckID: e.CheckID, SystemID: e.SystemID, EnvironmentID: e.EnvironmentID}
	return check.SeatSchedule(e.SatelliteID, e.Seat, key, time.Duration(e.IntervalMs)*time.Millisecond)
}

const (
	// GrantFor is how long after the end of an era its satellite may still report for it
	// (spec M68).
	GrantFor = 7 * 24 * time.Hour
	// inTimeWithin is how long after its slot a result is in time, unless its interval is
	// longer: a run may take as long as that.
	inTimeWithin = time.Minute
	// MaxLedgerSpan bounds the window of one question.
	MaxLedgerSpan = 31 * 24 * time.Hour
)

// inTime is how long after its slot a result of the interval counts as reported in time.
func inTime(interval time.Duration) time.Duration { return max(interval, inTimeWithin) }

// Fates is how many slots met which fate. Every due slot has exactly one: all counts
// from Reported to Awaited add up to Due.
type Fates struct {
	Due          int64            `json:"due" doc:"Slots of the schedule in the window, up to now."`
	Reported     int64            `json:"reported" doc:"Run, and received in time: within the interval, or a minute if that is longer."`
	Backfilled   int64            `json:"backfilled" doc:"Run, and received later than that."`
	Inconclusive int64            `json:"inconclusive" doc:"Run by a satellite that was ill itself; says nothing about the system."`
	Skipped      map[string]int64 `json:"skipped" doc:"Not run, by reason: overlap, limit, clock, secrets, and paused, disabled or maintenance when that was so."`
	Lost         int64            `json:"lost" doc:"Run, and dropped from the full spool of the satellite."`
	NotExecuted  int64            `json:"notExecuted" doc:"The satellite was not running."`
	NotTold      int64            `json:"notTold" doc:"The satellite did not work by the revision yet, or could not carry it out."`
	Unaccounted  int64            `json:"unaccounted" doc:"Nothing accounts for it and nothing will: the satellite knew of it and has reported what came later, or is gone."`
	Awaited      int64            `json:"awaited" doc:"Nothing accounts for it yet: the satellite may still report it."`

	Healthy   int64 `json:"healthy" doc:"Of the reported and backfilled."`
	Degraded  int64 `json:"degraded" doc:"Of the reported and backfilled."`
	Unhealthy int64 `json:"unhealthy" doc:"Of the reported and backfilled."`

	Beside int64 `json:"beside" doc:"Results of no due slot: runs that somebody asked for, or of a satellite that had not heard of a change yet. Not part of due."`

	Completeness *float64 `json:"completeness" doc:"Reported and backfilled, as a share of what should be there by now: due without paused, disabled, maintenance and awaited. Null when that is none."`
	Uptime       *float64 `json:"uptime" doc:"Healthy and degraded as a share of the reported and backfilled. Null when there are none."`
}

// willed are reasons for which slots were not run because somebody wanted it so.
var willed = []string{string(EraPaused), string(EraDisabled), string(EraMaintenance)}

// Sum adds up the fates.
func (f *Fates) Sum() int64 {
	sum := f.Reported + f.Backfilled + f.Inconclusive + f.Lost + f.NotExecuted + f.NotTold + f.Unaccounted + f.Awaited
	for _, n := range f.Skipped {
		sum += n
	}
	return sum
}

// Add adds the counts of another location, or window.
func (f *Fates) Add(o *Fates) {
	f.Due += o.Due
	f.Reported += o.Reported
	f.Backfilled += o.Backfilled
	f.Inconclusive += o.Inconclusive
	f.Lost += o.Lost
	f.NotExecuted += o.NotExecuted
	f.NotTold += o.NotTold
	f.Unaccounted += o.Unaccounted
	f.Awaited += o.Awaited
	f.Healthy += o.Healthy
	f.Degraded += o.Degraded
	f.Unhealthy += o.Unhealthy
	f.Beside += o.Beside
	for reason, n := range o.Skipped {
		f.skip(reason, n)
	}
	f.shares()
}

func (f *Fates) skip(reason string, n int64) {
	if n == 0 {
		return
	}
	if f.Skipped == nil {
		f.Skipped = map[string]int64{}
	}
	f.Skipped[reason] += n
}

// shares works out what follows from the counts.
func (f *Fates) shares() {
	if f.Skipped == nil {
		f.Skipped = map[string]int64{}
	}
	expected := f.Due - f.Awaited
	for _, reason := range willed {
		expected -= f.Skipped[reason]
	}
	conclusive := f.Reported + f.Backfilled
	f.Completeness, f.Uptime = share(conclusive, expected), share(f.Healthy+f.Degraded, conclusive)
}

func share(part, whole int64) *float64 {
	if whole <= 0 {
		return nil
	}
	return new(float64(part) / float64(whole))
}

// Completeness is what became of the due slots of one location.
type Completeness struct {
	SystemID      string `json:"systemId"`
	CheckID       string `json:"checkId"`
	SatelliteID   string `json:"satelliteId"`
	EnvironmentID string `json:"environmentId,omitempty"`
	// Exact is false where an original agent reports: it knows no slots, so its results
	// were counted by when they were executed.
	Exact bool `json:"exact" doc:"False where results of an original agent, which knows no slots, were counted by their executed time."`
	// SettledTo: what was due before then and is not accounted for will not be.
	SettledTo *time.Time `json:"settledTo" doc:"What was due until then is not awaited any more; null when nothing is known of the satellite."`
	Fates
}

// LedgerLocation is what the records say of one location, apart from runs and skips.
type LedgerLocation struct {
	LocationKey
	Eras []Era // those that reach into the window, oldest first
	// Heard is the newest instant, by the satellite's clock, of which it is known that
	// all records written down before have arrived; zero when there is none.
	Heard time.Time
	Gone  bool // the satellite was deleted: nothing will arrive
}

// Stretch is the part of an era, within the window, in which a slot that nothing
// accounts for has one and the same fate.
type Stretch struct {
	LocationKey
	Schedule check.Schedule
	// Slots after After and not after Until, in Unix milliseconds.
	After, Until int64
	// InTime is how long after its slot a result is in time.
	InTime time.Duration
	state  EraState
	rest   rest
}

// rest is the fate of slots that nothing accounts for.
type rest byte

const (
	restAwaited rest = iota
	restNotTold
	restUnaccounted
)

// Due is how many slots are due in the stretch.
func (s *Stretch) Due() int64 {
	return s.Schedule.Due(time.UnixMilli(s.After), time.UnixMilli(s.Until))
}

// within counts the slots of the stretch in [from, to].
func (s *Stretch) within(from, to int64) int64 {
	after, until := max(s.After, from-1), min(s.Until, to)
	if until <= after {
		return 0
	}
	return s.Schedule.Due(time.UnixMilli(after), time.UnixMilli(until))
}

// holds reports whether the instant is a slot of the stretch.
func (s *Stretch) holds(slot int64) bool {
	return slot > s.After && slot <= s.Until && s.Schedule.Last(time.UnixMilli(slot)).UnixMilli() == slot
}

// RunCount is how many runs are alike, as far as the ledger is concerned.
type RunCount struct {
	// Stretch is the index of the one whose slots they have; negative for runs beside
	// every schedule, of which Unslotted were reported without a slot.
	Stretch int
	LocationKey
	Late         bool
	Inconclusive bool
	Status       check.Status
	Count        int64
	Unslotted    int64
}

// Slot is one slot of one location.
type Slot struct {
	LocationKey
	At int64 // Unix milliseconds
}

// Window is a span of time as the ledger counts it: slots from From, before To.
type Window struct{ From, To time.Time }

// bounds are the instants, in Unix milliseconds, after and until which slots lie in
// the window.
func (w Window) bounds() (after, until int64) {
	return w.From.Add(-time.Microsecond).UnixMilli(), w.To.Add(-time.Microsecond).UnixMilli()
}

// SettledTo is until when slots that nothing accounts for will stay so; ok is false
// when nothing is known. A record of a slot is written down, in order with those of all
// other slots, when its run has ended; that takes as long as a run may wait and last.
func (l *LedgerLocation) SettledTo(now time.Time) (to time.Time, ok bool) {
	switch {
	case l.Gone:
		return now, true
	case l.Heard.IsZero():
		return time.Time{}, false
	}
	longest := time.Duration(0)
	for i := range l.Eras {
		longest = max(longest, time.Duration(l.Eras[i].IntervalMs)*time.Millisecond)
	}
	return l.Heard.Add(-2 * inTime(longest)), true
}

// Stretches divides what is due at the location in the window.
func (l *LedgerLocation) Stretches(w Window, now time.Time) []Stretch {
	var all []Stretch
	after, until := w.bounds()
	settledTo := int64(0)
	if to, ok := l.SettledTo(now); ok {
		settledTo = to.UnixMilli()
	}
	for i := range l.Eras {
		e := &l.Eras[i]
		interval := time.Duration(e.IntervalMs) * time.Millisecond
		s := Stretch{
			LocationKey: l.LocationKey, Schedule: e.Schedule(), InTime: inTime(interval), state: e.State,
			After: max(after, e.Since.UnixMilli()), Until: until,
		}
		settled := settledTo
		if e.Until != nil {
			s.Until = min(s.Until, e.Until.UnixMilli())
			if now.Sub(*e.Until) > GrantFor {
				settled = s.Until
			}
		}
		told := s.Until
		if e.ToldAt != nil {
			told = e.ToldAt.UnixMilli()
		}
		all = s.cut(all, min(told, settled), restNotTold)
		all = s.cut(all, settled, restUnaccounted)
		all = s.cut(all, s.Until, restAwaited)
	}
	return all
}

// cut appends the part of s up to the instant, and takes it off s.
func (s *Stretch) cut(all []Stretch, until int64, rest rest) []Stretch {
	until = min(until, s.Until)
	if until <= s.After {
		return all
	}
	part := *s
	part.Until, part.rest = until, rest
	s.After = until
	return append(all, part)
}

// Account gives what became of the slots of the stretches of one location. The counts
// are of runs in the window by the index of their stretch; skips are those that reach
// into the window, and contested are slots of runs that a skip names too: the run
// counts. Of several skips of a slot counts the one that begins first.
func Account(stretches []Stretch, counts []RunCount, skips []Skip, contested []int64) (f Fates, exact bool) {
	runs := make([]Fates, len(stretches))
	var besides, unslotted int64
	byStatus := map[check.Status]int64{}
	for _, c := range counts {
		if c.Stretch < 0 {
			besides += c.Count
			unslotted += c.Unslotted
			byStatus[c.Status] += c.Unslotted
			continue
		}
		runs[c.Stretch].run(&c)
	}
	skips = slices.SortedFunc(slices.Values(skips), func(a, b Skip) int { return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.ID, b.ID)) })
	contested = slices.Compact(slices.Sorted(slices.Values(contested)))
	pending := [3]int64{}
	for i := range stretches {
		s := &stretches[i]
		due := s.Due()
		left := due - runs[i].Sum()
		runs[i].Due = due
		if s.state != EraActive {
			runs[i].skip(string(s.state), left)
			left = 0
		} else {
			left -= s.skipped(&runs[i], skips, contested)
		}
		pending[s.rest] += left
		f.Add(&runs[i])
	}
	// Results without slots stand for slots that nothing else accounts for.
	exact = unslotted == 0
	f.Beside = besides
	for _, rest := range []rest{restUnaccounted, restNotTold, restAwaited} {
		n := min(unslotted, pending[rest])
		pending[rest] -= n
		unslotted -= n
		f.Reported += n
		f.Beside -= n
		for _, status := range []check.Status{check.Healthy, check.Degraded, check.Unhealthy} {
			of := min(n, byStatus[status])
			byStatus[status] -= of
			n -= of
			f.status(status, of)
		}
	}
	f.Awaited, f.NotTold, f.Unaccounted = pending[restAwaited], pending[restNotTold], pending[restUnaccounted]
	f.shares()
	return f, exact
}

// run counts runs of due slots.
func (f *Fates) run(c *RunCount) {
	switch {
	case c.Inconclusive:
		f.Inconclusive += c.Count
		return
	case c.Late:
		f.Backfilled += c.Count
	default:
		f.Reported += c.Count
	}
	f.status(c.Status, c.Count)
}

func (f *Fates) status(status check.Status, n int64) {
	switch status {
	case check.Healthy:
		f.Healthy += n
	case check.Degraded:
		f.Degraded += n
	default:
		f.Unhealthy += n
	}
}

// skipped counts the slots of the stretch that the skips, in order, account for.
func (s *Stretch) skipped(f *Fates, skips []Skip, contested []int64) (all int64) {
	done := s.After
	for i := range skips {
		k := &skips[i]
		from, to := max(k.From.UnixMilli(), done+1), min(k.To.UnixMilli(), s.Until)
		if to < from {
			continue
		}
		n := s.within(from, to)
		at, _ := slices.BinarySearch(contested, from)
		for ; at < len(contested) && contested[at] <= to; at++ {
			if s.holds(contested[at]) {
				n--
			}
		}
		done = to
		all += n
		switch k.Reason {
		case protocol.SkipOverflow:
			f.Lost += n
		case protocol.SkipDown:
			f.NotExecuted += n
		default:
			f.skip(string(k.Reason), n)
		}
	}
	return all
}

// LedgerReader reads from one state of the records.
type LedgerReader interface {
	// Now is the database's clock.
	Now(ctx context.Context) (time.Time, error)
	// LedgerLocations gives a page of the locations with eras that reach into the window.
	LedgerLocations(ctx context.Context, f RunFilter, p fleet.Page) (items []LedgerLocation, next string, err error)
	// CountRuns counts the runs in the window, of the locations of the stretches.
	CountRuns(ctx context.Context, w Window, stretches []Stretch) ([]RunCount, error)
	// LocationSkips gives the skips of the locations that reach into the window.
	LocationSkips(ctx context.Context, w Window, keys []LocationKey) ([]Skip, error)
	// RunsWithin gives the slots that the skips name and of which there are runs.
	RunsWithin(ctx context.Context, w Window, skips []Skip) ([]Slot, error)
}

// LedgerStore gives one state of the records to read from.
type LedgerStore interface {
	ReadLedger(ctx context.Context, fn func(LedgerReader) error) error
}

// Ledger answers what became of the slots that were due. It is computed from what was
// due (eras), what was run and what was skipped; nothing is stored for a slot.
type Ledger struct {
	store LedgerStore
	keep  time.Duration
}

// NewLedger makes one. Runs are kept for so long, 0 for ever: of what was due before,
// nothing can be said.
func NewLedger(store LedgerStore, keep time.Duration) *Ledger {
	return &Ledger{store: store, keep: keep}
}

// Completeness gives a page of the locations in which something was due in the filter's
// window, with the window: it ends now if not before, and begins where runs are kept.
func (l *Ledger) Completeness(ctx context.Context, f RunFilter, p fleet.Page) (items []Completeness, w Window, next string, err error) {
	err = l.store.ReadLedger(ctx, func(r LedgerReader) error {
		now, err := r.Now(ctx)
		if err != nil {
			return err
		}
		w = Window{From: f.From.Truncate(time.Microsecond), To: f.To.Truncate(time.Microsecond)}
		if w.To.IsZero() || w.To.After(now) {
			w.To = now
		}
		if oldest := now.Add(-l.keep); l.keep > 0 && w.From.Before(oldest) {
			w.From = oldest
		}
		f.From, f.To = w.From, w.To
		var locations []LedgerLocation
		if locations, next, err = r.LedgerLocations(ctx, f, p); err != nil {
			return fmt.Errorf("reading what was due: %w", err)
		}
		items, err = AccountFor(ctx, r, w, now, locations)
		return err
	})
	return items, w, next, err
}

// AccountFor gives what became of the slots of the locations.
func AccountFor(ctx context.Context, r LedgerReader, w Window, now time.Time, locations []LedgerLocation) ([]Completeness, error) {
	var stretches []Stretch
	keys := make([]LocationKey, len(locations))
	first := make([]int, len(locations)+1)
	for i := range locations {
		keys[i] = locations[i].LocationKey
		stretches = append(stretches, locations[i].Stretches(w, now)...)
		first[i+1] = len(stretches)
	}
	counts, err := r.CountRuns(ctx, w, stretches)
	if err != nil {
		return nil, fmt.Errorf("counting runs: %w", err)
	}
	skips, err := r.LocationSkips(ctx, w, keys)
	if err != nil {
		return nil, fmt.Errorf("reading skips: %w", err)
	}
	contested, err := r.RunsWithin(ctx, w, skips)
	if err != nil {
		return nil, fmt.Errorf("reading runs that were skipped as well: %w", err)
	}
	runsOf, skipsOf, contestedOf := map[LocationKey][]RunCount{}, map[LocationKey][]Skip{}, map[LocationKey][]int64{}
	for _, c := range counts {
		runsOf[c.LocationKey] = append(runsOf[c.LocationKey], c)
	}
	for _, s := range skips {
		key := LocationKey{SystemID: s.SystemID, CheckID: s.CheckID, SatelliteID: s.SatelliteID, EnvironmentID: s.EnvironmentID}
		skipsOf[key] = append(skipsOf[key], s)
	}
	for _, c := range contested {
		contestedOf[c.LocationKey] = append(contestedOf[c.LocationKey], c.At)
	}
	items := make([]Completeness, len(locations))
	for i := range locations {
		l := &locations[i]
		of := runsOf[l.LocationKey]
		for k := range of {
			if of[k].Stretch >= 0 {
				of[k].Stretch -= first[i]
			}
		}
		c := Completeness{SystemID: l.SystemID, CheckID: l.CheckID, SatelliteID: l.SatelliteID, EnvironmentID: l.EnvironmentID}
		c.Fates, c.Exact = Account(stretches[first[i]:first[i+1]], of, skipsOf[l.LocationKey], contestedOf[l.LocationKey])
		if to, ok := l.SettledTo(now); ok {
			c.SettledTo = &to
		}
		items[i] = c
	}
	return items, nil
}
