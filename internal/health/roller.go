package health

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
)

// RollupState says since when the finer tiers are whole; it moves on before they are
// purged. A run of before is counted into the coarser tier itself.
type RollupState struct {
	MinutesFrom, HoursFrom time.Time
}

// Mark is a bucket of a system that lags behind the finer tier.
type Mark struct {
	Tier     Tier
	Bucket   time.Time
	SystemID string
}

// RollupFilter narrows rollups: buckets that began in [From, To) of the systems; other
// zero fields do not narrow.
type RollupFilter struct {
	SystemIDs            []string
	CheckID, SatelliteID string
	EnvironmentID        *string
	From, To             time.Time
	// Limit is how many rows are read at most; 0 is all of them.
	Limit int
}

// RollupTx is what the roller does inside a transaction.
type RollupTx interface {
	HistoryReader
	// Now is the database's clock.
	Now(ctx context.Context) (time.Time, error)
	// LockRollups keeps others out until the transaction ends; ok is false when one is in.
	LockRollups(ctx context.Context) (s RollupState, ok bool, err error)
	PutRollupState(ctx context.Context, s RollupState) error
	// TakeRunBatches removes the oldest batches, of about so many runs.
	TakeRunBatches(ctx context.Context, runs int) ([]RunBatch, error)
	// AddRollups counts into what is there; PutRollups replaces it.
	AddRollups(ctx context.Context, t Tier, rows []Rollup) error
	PutRollups(ctx context.Context, t Tier, rows []Rollup) error
	PutMarks(ctx context.Context, marks []Mark) error
	// TakeMarks removes the oldest marks of one bucket that began before then.
	TakeMarks(ctx context.Context, t Tier, before time.Time, n int) ([]Mark, error)
	// FirstMark is the oldest bucket with a mark.
	FirstMark(ctx context.Context, t Tier) (at time.Time, ok bool, err error)
}

const (
	// rollEvery is how often what came in is folded: rarely enough that a location's
	// minute is written a few times and not with each of its runs.
	rollEvery = 10 * time.Second
	// rollPiece is about how many runs one transaction folds, which bounds for how long
	// ingest waits for it on SQLite.
	rollPiece = 20_000
	// markPiece is how many systems' buckets one transaction makes anew.
	markPiece = 50
	// rollSettle is how long after its end a bucket is made of the finer tier.
	rollSettle = 2 * time.Minute
)

// Roller makes rollups of runs: minutes out of the batches that ingest leaves, hours
// out of minutes, days out of hours. Any number of cores may run one; they take turns.
type Roller struct {
	store entity.Store
	log   *slog.Logger
}

// NewRoller makes a roller.
func NewRoller(store entity.Store, log *slog.Logger) *Roller { return &Roller{store: store, log: log} }

// Run rolls up until ctx ends.
func (r *Roller) Run(ctx context.Context) error {
	ticker := time.NewTicker(rollEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := r.Roll(ctx); err != nil && ctx.Err() == nil && !fault.Is(err, fault.Unavailable) {
			r.log.Error("rolling up results failed", "error", err)
		}
	}
}

// Roll does what there is to do now, in small transactions. Killed between any two of
// them, it goes on where it was.
func (r *Roller) Roll(ctx context.Context) error {
	for _, step := range []func(context.Context, RollupTx, RollupState) (more bool, err error){foldBatches, makeHours, makeDays} {
		for {
			more := false
			err := r.tx(ctx, func(tx RollupTx, s RollupState) (err error) {
				more, err = step(ctx, tx, s)
				return err
			})
			if errors.Is(err, errAnother) {
				return nil
			}
			if err != nil {
				return err
			}
			if !more {
				break
			}
		}
	}
	return nil
}

// errAnother says that another core rolls up now.
var errAnother = errors.New("another core rolls up")

// tx runs fn in a transaction that has the rollups to itself.
func (r *Roller) tx(ctx context.Context, fn func(RollupTx, RollupState) error) error {
	return r.store.InTx(ctx, func(t entity.Tx) error {
		tx := t.(RollupTx)
		s, ok, err := tx.LockRollups(ctx)
		if err != nil {
			return err
		}
		if !ok {
			return errAnother
		}
		return fn(tx, s)
	})
}

// foldBatches counts a piece of what ingest left. A piece that is not full was the last:
// what came in meanwhile can wait.
func foldBatches(ctx context.Context, tx RollupTx, s RollupState) (more bool, err error) {
	batches, err := tx.TakeRunBatches(ctx, rollPiece)
	if err != nil || len(batches) == 0 {
		return false, err
	}
	minutes, hours, days := newFold(Minute), newFold(Hour), newFold(Day)
	marks := map[Mark]bool{}
	minutesFrom, hoursFrom := s.MinutesFrom.Unix()/60, s.HoursFrom.Unix()/60
	runs := 0
	for i := range batches {
		runs += batches[i].Len()
		for key, t := range batches[i].runs {
			at := time.Unix(t.minute*60, 0)
			switch {
			case t.minute >= minutesFrom:
				minutes.at(key, t.minute).count(t)
				marks[Mark{Hour, Hour.Bucket(at), key.SystemID}] = true
			case t.minute >= hoursFrom:
				hours.at(key, t.minute).count(t)
				marks[Mark{Day, Day.Bucket(at), key.SystemID}] = true
			default:
				days.at(key, t.minute).count(t)
			}
		}
	}
	for _, f := range []*fold{minutes, hours, days} {
		if err := tx.AddRollups(ctx, f.tier, f.rollups()); err != nil {
			return false, err
		}
	}
	all := make([]Mark, 0, len(marks))
	for m := range marks {
		all = append(all, m)
	}
	return runs >= rollPiece, tx.PutMarks(ctx, all)
}

// makeHours makes hours that are over out of their minutes.
func makeHours(ctx context.Context, tx RollupTx, _ RollupState) (more bool, err error) {
	marks, err := takeOver(ctx, tx, Hour)
	if err != nil || len(marks) == 0 {
		return false, err
	}
	if err := remake(ctx, tx, Minute, marks); err != nil {
		return false, err
	}
	days := make([]Mark, len(marks))
	for i, m := range marks {
		days[i] = Mark{Day, Day.Bucket(m.Bucket), m.SystemID}
	}
	return true, tx.PutMarks(ctx, days)
}

// makeDays makes days that are over out of their hours.
func makeDays(ctx context.Context, tx RollupTx, _ RollupState) (more bool, err error) {
	marks, err := takeOver(ctx, tx, Day)
	if err != nil || len(marks) == 0 {
		return false, err
	}
	return true, remake(ctx, tx, Hour, marks)
}

// takeOver takes marks of buckets that are over.
func takeOver(ctx context.Context, tx RollupTx, t Tier) ([]Mark, error) {
	now, err := tx.Now(ctx)
	if err != nil {
		return nil, err
	}
	return tx.TakeMarks(ctx, t, t.Bucket(now.Add(-rollSettle)), markPiece)
}

// remake makes the marked buckets, which are of one time, out of the finer tier. Hours
// that lag themselves mark their day again when they are made.
func remake(ctx context.Context, tx RollupTx, finer Tier, marks []Mark) error {
	t, from := marks[0].Tier, marks[0].Bucket
	ids := make([]string, len(marks))
	for i, m := range marks {
		ids[i] = m.SystemID
	}
	rows, err := tx.Rollups(ctx, finer, RollupFilter{SystemIDs: ids, From: from, To: from.Add(t.Span())})
	if err != nil {
		return err
	}
	return tx.PutRollups(ctx, t, merge(t, rows))
}

// Retention is for how long things are kept: runs with the skips beside them, the
// evidence of routine runs, and each tier of rollups. A coarser tier is kept for longer
// than the finer one it is made of.
type Retention struct {
	Runs, Details, Minutes, Hours, Days time.Duration
}

// DefaultRetention is how long things are kept when nobody says otherwise.
var DefaultRetention = Retention{Runs: 7 * 24 * time.Hour, Details: 24 * time.Hour, Minutes: 2 * 24 * time.Hour, Hours: 90 * 24 * time.Hour, Days: 400 * 24 * time.Hour}

// Validate says what is wrong with it.
func (k Retention) Validate() error {
	const least, most = 24 * time.Hour, 10 * 366 * 24 * time.Hour
	switch {
	case k.Runs < least || k.Minutes < least:
		return fault.New(fault.Invalid, "runs and minutes must be kept for at least a day")
	case k.Details < 0:
		return fault.New(fault.Invalid, "details cannot be kept for less than no time")
	case k.Hours <= k.Minutes || k.Days <= k.Hours:
		return fault.New(fault.Invalid, "hours must be kept for longer than minutes, and days for longer than hours")
	case k.Days <= k.Runs:
		return fault.New(fault.Invalid, "days must be kept for longer than runs")
	case k.Days > most:
		return fault.New(fault.Invalid, "nothing can be kept for longer than ten years")
	}
	return nil
}

// Forget moves the state on to what is still kept at now, and returns since when the
// tiers are whole: what is older may be purged. It never passes a bucket that the
// coarser tier still needs. While another core rolls up it does nothing, and the state is zero.
func (r *Roller) Forget(ctx context.Context, keep Retention) (RollupState, error) {
	var state RollupState
	err := r.tx(ctx, func(tx RollupTx, s RollupState) error {
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		minutes, hours := Day.Bucket(now.Add(-keep.Minutes)), Day.Bucket(now.Add(-keep.Hours))
		for _, need := range []struct {
			tier Tier
			from *time.Time
		}{{Hour, &minutes}, {Day, &hours}, {Hour, &hours}} {
			first, ok, err := tx.FirstMark(ctx, need.tier)
			if err != nil {
				return err
			}
			if ok && Day.Bucket(first).Before(*need.from) {
				*need.from = Day.Bucket(first)
			}
		}
		state = s
		if minutes.After(s.MinutesFrom) {
			state.MinutesFrom = minutes
		}
		if hours.After(s.HoursFrom) {
			state.HoursFrom = hours
		}
		return tx.PutRollupState(ctx, state)
	})
	if errors.Is(err, errAnother) {
		return RollupState{}, nil
	}
	return state, err
}
