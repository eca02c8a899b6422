package health

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// history is what happened at one location, in every detail.
type history struct {
	at    LedgerLocation
	runs  []Run
	skips []Skip
	w     Window
	now   time.Time
}

var ledgerKey = LocationKey{SystemID: "s", CheckID: "c", SatelliteID: "sat"}

// randomHistory has eras that follow each other, with or without a gap, runs and skips
// of some of their slots, overlapping ones too, and runs of no slot.
func randomHistory(random *rand.Rand) history {
	start := time.UnixMilli(1_790_000_000_000 + random.Int64N(10_000)).UTC()
	at := func(span int64) time.Time {
		return start.Add(time.Duration(random.Int64N(span*1_000_000)) * time.Microsecond)
	}
	h := history{at: LedgerLocation{LocationKey: ledgerKey, Gone: random.IntN(8) == 0}, now: start.Add(10 * time.Minute)}
	if random.IntN(4) > 0 {
		h.at.Heard = at(900)
	}
	since := start
	for range 1 + random.IntN(4) {
		since = since.Add(time.Duration(random.Int64N(20_000_000)) * time.Microsecond)
		until := since.Add(time.Duration(random.Int64N(200_000_000)) * time.Microsecond)
		e := Era{
			SystemID: "s", CheckID: "c", SatelliteID: "sat", IntervalMs: []int64{1000, 1500, 7000, 90_000}[random.IntN(4)], Seat: random.IntN(3),
			State: []EraState{EraActive, EraActive, EraActive, EraPaused, EraDisabled, EraMaintenance}[random.IntN(6)], Since: since, Until: &until,
		}
		if random.IntN(4) > 0 {
			told := since.Add(time.Duration(random.Int64N(30_000_000)) * time.Microsecond)
			e.ToldAt = &told
		}
		h.at.Eras = append(h.at.Eras, e)
		since = until
	}
	if last := &h.at.Eras[len(h.at.Eras)-1]; random.IntN(2) == 0 {
		last.Until = nil
	}
	h.w.From, h.w.To = at(100), at(600)
	if h.w.To.Before(h.w.From) {
		h.w.From, h.w.To = h.w.To, h.w.From
	}
	have := map[int64]bool{}
	add := func(slot time.Time, executed time.Time) {
		if have[slot.UnixMilli()] || slot.Before(h.w.From) || !slot.Before(h.w.To) {
			return
		}
		have[slot.UnixMilli()] = true
		r := Run{Slot: slot, ExecutedAt: executed, ReceivedAt: slot.Add(time.Duration(random.Int64N(120_000)) * time.Millisecond), Status: []check.Status{check.Healthy, check.Degraded, check.Unhealthy}[random.IntN(3)]}
		if random.IntN(5) == 0 {
			r.Inconclusive = "resolver"
		}
		h.runs = append(h.runs, r)
	}
	for i := range h.at.Eras {
		e := &h.at.Eras[i]
		end := start.Add(10 * time.Minute)
		if e.Until != nil {
			end = *e.Until
		}
		schedule := e.Schedule()
		for slot := schedule.Next(e.Since); !slot.After(end); slot = schedule.Next(slot) {
			switch random.IntN(4) {
			case 0:
			case 1:
				to := slot
				for range random.IntN(4) {
					to = schedule.Next(to)
				}
				h.skips = append(h.skips, Skip{
					ID: fmt.Sprint(len(h.skips)), From: slot, To: to,
					Reason: []protocol.SkipReason{protocol.SkipDown, protocol.SkipOverflow, protocol.SkipOverlap, protocol.SkipClock}[random.IntN(4)],
				})
			default:
				add(slot, slot.Add(time.Millisecond))
			}
		}
	}
	for range random.IntN(5) {
		slot := at(600).Truncate(time.Millisecond)
		add(slot, slot.Add(time.Millisecond))
	}
	return h
}

// counted does what the store does: it counts runs by the stretch that holds their slot,
// and finds those that a skip names too.
func (h *history) counted(stretches []Stretch) (counts []RunCount, contested []int64) {
	for _, r := range h.runs {
		c := RunCount{Stretch: -1, LocationKey: ledgerKey, Status: r.Status, Inconclusive: r.Inconclusive != "", Count: 1}
		for i := range stretches {
			if stretches[i].holds(r.Slot.UnixMilli()) {
				c.Stretch, c.Late = i, r.ReceivedAt.Sub(r.Slot) > stretches[i].InTime
			}
		}
		if r.Slot.Equal(r.ExecutedAt) {
			c.Unslotted = 1
		}
		counts = append(counts, c)
		for _, s := range h.skips {
			if !r.Slot.Before(s.From) && !r.Slot.After(s.To) {
				contested = append(contested, r.Slot.UnixMilli())
			}
		}
	}
	return counts, contested
}

// bySlot gives every slot its fate, one after the other.
func (h *history) bySlot() Fates {
	var f Fates
	runs := map[int64]Run{}
	for _, r := range h.runs {
		runs[r.Slot.UnixMilli()] = r
	}
	skips := slices.SortedFunc(slices.Values(h.skips), func(a, b Skip) int { return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.ID, b.ID)) })
	settled, known := h.at.SettledTo(h.now)
	for i := range h.at.Eras {
		e := &h.at.Eras[i]
		schedule := e.Schedule()
		for slot := schedule.Next(e.Since); slot.Before(h.w.To) && (e.Until == nil || !slot.After(*e.Until)); slot = schedule.Next(slot) {
			if slot.Before(h.w.From) {
				continue
			}
			f.Due++
			if r, ran := runs[slot.UnixMilli()]; ran {
				f.run(&RunCount{Late: r.ReceivedAt.Sub(slot) > max(time.Minute, schedule.Interval), Inconclusive: r.Inconclusive != "", Status: r.Status, Count: 1})
				delete(runs, slot.UnixMilli())
				continue
			}
			if e.State != EraActive {
				f.skip(string(e.State), 1)
				continue
			}
			if at := slices.IndexFunc(skips, func(s Skip) bool { return !slot.Before(s.From) && !slot.After(s.To) }); at >= 0 {
				switch reason := skips[at].Reason; reason {
				case protocol.SkipDown:
					f.NotExecuted++
				case protocol.SkipOverflow:
					f.Lost++
				default:
					f.skip(string(reason), 1)
				}
				continue
			}
			switch {
			case !known || slot.UnixMilli() > settled.UnixMilli():
				f.Awaited++
			case e.ToldAt == nil || slot.UnixMilli() <= e.ToldAt.UnixMilli():
				f.NotTold++
			default:
				f.Unaccounted++
			}
		}
	}
	f.Beside = int64(len(runs))
	f.shares()
	return f
}

func TestEverySlotHasOneFate(t *testing.T) {
	t.Parallel()
	due := int64(0)
	for seed := range uint64(3000) {
		h := randomHistory(rand.New(rand.NewPCG(seed, 1)))
		stretches := h.at.Stretches(h.w, h.now)
		counts, contested := h.counted(stretches)
		got, exact := Account(stretches, counts, h.skips, contested)
		if got.Sum() != got.Due || !exact {
			t.Fatalf("seed %d: %d fates of %d slots, exact %v", seed, got.Sum(), got.Due, exact)
		}
		if diff := gocmp.Diff(h.bySlot(), got); diff != "" {
			t.Fatalf("seed %d: counted one by one (-) and by the ledger (+):\n%s", seed, diff)
		}
		due += got.Due
	}
	if due < 100_000 {
		t.Errorf("only %d slots in all", due)
	}
}

// Results of agents that know no slots stand for slots that nothing else accounts for;
// the sum holds, and the answer says that it is not exact.
func TestResultsWithoutSlotsAreCountedByTheirTime(t *testing.T) {
	t.Parallel()
	for seed := range uint64(500) {
		h := randomHistory(rand.New(rand.NewPCG(seed, 2)))
		stretches := h.at.Stretches(h.w, h.now)
		h.runs, h.skips = nil, nil
		counts := []RunCount{{Stretch: -1, LocationKey: ledgerKey, Status: check.Healthy, Count: 7, Unslotted: 5}, {Stretch: -1, LocationKey: ledgerKey, Status: check.Unhealthy, Count: 2, Unslotted: 2}}
		got, exact := Account(stretches, counts, nil, nil)
		if exact || got.Sum() != got.Due || got.Reported+got.Beside != 9 || got.Healthy+got.Unhealthy != got.Reported {
			t.Fatalf("seed %d: exact %v: %+v", seed, exact, got)
		}
	}
}

// What people want skipped is not missing, and what is awaited is not yet.
func TestCompletenessIsOfWhatShouldBeThere(t *testing.T) {
	t.Parallel()
	f := Fates{Due: 100, Reported: 40, Backfilled: 5, Inconclusive: 5, Lost: 10, Awaited: 20, Healthy: 30, Degraded: 6, Unhealthy: 9}
	f.skip("paused", 15)
	f.skip("overlap", 5)
	f.shares()
	if *f.Completeness != 45.0/65 || *f.Uptime != 36.0/45 || f.Sum() != f.Due {
		t.Errorf("completeness %v, uptime %v, sum %d", *f.Completeness, *f.Uptime, f.Sum())
	}
	var none Fates
	none.shares()
	if none.Completeness != nil || none.Uptime != nil {
		t.Errorf("shares of nothing: %+v", none)
	}
}
