package satellite

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/protocol"
)

// guest is an order to run what the satellite does not hold.
func guest(a protocol.Assignment, environmentID string, slot int64) *protocol.RunNow {
	return &protocol.RunNow{Pair: a.Pair(), EnvironmentID: environmentID, Slot: slot, Assignment: &a, DeadlineMs: 5000}
}

// A guest is run once, in the environments that were asked for, beside a schedule that
// is full; what cannot be run is answered for, and nothing of it stays.
func TestAGuestIsRunOnceBesideTheSchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{revision: 1, assignments: []protocol.Assignment{assignment("front", "shop", time.Hour)}}
		r := newRig(t, c)
		r.config.Concurrency = 1
		r.prober.takes = 2 * time.Second
		r.prober.refuse = map[string]error{"strange": errors.New("there is no such strategy")}
		r.start()
		sleep(time.Second)
		c.push(runNow("front", "", 1000)) // takes the only place
		staged, strange := assignment("staged", "shop", time.Hour), assignment("strange", "shop", time.Hour)
		staged.Environments = []check.Environment{{ID: "eu"}, {ID: "us"}}
		strange.StrategyID = "strange"
		c.push(guest(assignment("back", "shop", time.Hour), "", 1001))
		c.push(guest(assignment("back", "shop", time.Hour), "", 1001)) // the same again
		c.push(guest(staged, "", 1002))
		c.push(guest(staged, "us", 1003))
		c.push(guest(staged, "gone", 1004))
		c.push(guest(strange, "", 1005))
		sleep(3 * time.Hour) // nothing of them is due
		r.end()
		got := map[int64][]string{}
		for slot := int64(1001); slot <= 1005; slot++ {
			for _, record := range answers(c, slot) {
				if record.Skip != nil {
					got[slot] = append(got[slot], string(record.Skip.Reason))
					continue
				}
				got[slot] = append(got[slot], record.Result.EnvironmentID.OrZero()+string(record.Result.Status))
			}
		}
		want := map[int64][]string{1001: {"healthy"}, 1002: {"euhealthy", "ushealthy"}, 1003: {"ushealthy"}, 1004: {"not-assigned"}, 1005: {"unsupported"}}
		if diff := cmp.Diff(want, got, cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
		for _, record := range c.records {
			key, from, _ := span(&record)
			if key.CheckID != "front" && from > 1005 {
				t.Errorf("a guest stayed: %+v", record)
			}
		}
	})
}

// Guests have a deadline of their own, and only so many run at once.
func TestGuestsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{revision: 1}
		r := newRig(t, c)
		r.prober.takes = time.Hour
		r.start()
		sleep(time.Second)
		begun := time.Now()
		for slot := range int64(maxGuests + 3) {
			c.push(guest(assignment("back", "shop", time.Hour), "", 1000+slot))
		}
		sleep(10 * time.Second)
		r.end()
		ran, refused := 0, 0
		for slot := range int64(maxGuests + 3) {
			for _, record := range answers(c, 1000+slot) {
				switch {
				case record.Skip == nil:
					ran++
				case record.Skip.Reason == protocol.SkipLimit:
					refused++
				}
			}
		}
		if ran != maxGuests || refused != 3 {
			t.Errorf("%d ran and %d were refused, want %d and 3", ran, refused, maxGuests)
		}
		if took := time.Since(begun); took > 12*time.Second {
			t.Errorf("the deadline was not kept: it took %s", took)
		}
	})
}

// Without the feature the assignment that comes along is nothing to be run.
func TestAGuestNeedsTheFeature(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &core{revision: 1, features: slices.DeleteFunc(protocol.Features(), func(f string) bool { return f == protocol.FeatureOpinion })}
		r := newRig(t, c)
		r.start()
		sleep(time.Second)
		c.push(guest(assignment("back", "shop", time.Hour), "", 1000))
		sleep(time.Minute)
		r.end()
		if got := answers(c, 1000); len(got) != 0 || len(r.prober.runs) != 0 {
			t.Errorf("it was run: %+v", got)
		}
	})
}
