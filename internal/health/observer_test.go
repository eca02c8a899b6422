package health_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/protocol"
	"github.com/perigee-monitoring/perigee/verdict"
)

// A run that says nothing is stored and moves nothing; when there is nothing else, that
// is what is said, and no alarm. A healthy satellite finds the failure all the same.
func TestInconclusiveRunsMoveNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url, 1)
		ill := func(satellite int, ago time.Duration) health.Run {
			r := w.run(0, satellite, ago, check.Unhealthy)
			r.Inconclusive = "resolver: no answer"
			return r
		}
		reason := func(now time.Time) (check.Status, string) {
			t.Helper()
			seats, err := w.db.Seats(t.Context(), []string{systemID})
			if err != nil {
				t.Fatal(err)
			}
			judged, _ := health.JudgeSystem(systemID, seats, now)
			return judged.Status, judged.Reason
		}
		w.submit(ill(0, 70*time.Second))
		if status, why := reason(w.now); status != check.Unknown || why != "check-0: observer ill: eu-0: resolver: no answer" {
			t.Errorf("at first %s, %s", status, why)
		}
		w.submit(w.run(0, 0, 60*time.Second, check.Healthy), w.run(0, 1, 60*time.Second, check.Healthy))
		before := w.events()
		w.submit(ill(0, 50*time.Second), ill(0, 40*time.Second), ill(1, 45*time.Second), ill(0, 65*time.Second))
		if diff := cmp.Diff(before, w.events()); diff != "" || w.status() != check.Healthy {
			t.Errorf("%s; events (-want +got):\n%s", w.status(), diff)
		}
		if n := w.ingest.Counts.Inconclusive.Load(); n != 5 {
			t.Errorf("%d inconclusive runs", n)
		}
		w.submit(w.run(0, 1, 30*time.Second, check.Unhealthy))
		if w.status() != check.Unhealthy {
			t.Errorf("the other satellite's failure makes %s", w.status())
		}
	})
}

// What was measured before counts while it is fresh. After that the seat is blind, not
// unmeasured, for as long as it says so.
func TestBlindSeats(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1893553445000)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	seat := func(measured, blind time.Duration) health.Seat {
		s := health.Seat{CheckName: "c", SatelliteName: "eu-1", Online: true, Interval: check.Duration(10 * time.Second)}
		if measured > 0 {
			s.Location = &health.Location{State: verdict.State{Status: check.Healthy, ExecutedAt: ago(measured), ReceivedAt: ago(measured)}}
		}
		if blind > 0 {
			s.Blind = &health.Blind{Blind: verdict.Blind{ExecutedAt: ago(blind), ReceivedAt: ago(blind), Reason: "gateway: gone"}}
		}
		return s
	}
	away := seat(2*time.Minute, time.Second)
	away.Online = false
	for name, c := range map[string]struct {
		seat   health.Seat
		status check.Status
		reason string
	}{
		"fresh, then blind":        {seat(20*time.Second, time.Second), check.Healthy, "eu-1: healthy"},
		"old, then blind":          {seat(2*time.Minute, time.Second), check.Unknown, "observer ill: eu-1: gateway: gone"},
		"blind alone":              {seat(0, time.Second), check.Unknown, "observer ill: eu-1: gateway: gone"},
		"blind, then measured":     {seat(2*time.Minute, 3*time.Minute), check.Degraded, "not measured: the satellite is online and sends no results"},
		"both too old":             {seat(3*time.Minute, 2*time.Minute), check.Degraded, "not measured: the satellite is online and sends no results"},
		"blind and then not heard": {away, check.Degraded, "not measured: the only assigned satellite is offline"},
	} {
		v := health.JudgeCheck([]health.Seat{c.seat}, now)
		if v.Status != c.status || v.Reason != c.reason {
			t.Errorf("%s: %s, %s", name, v.Status, v.Reason)
		}
	}
}

// Executed times are corrected by an offset that is more than its uncertainty; slots stay
// the satellite's, and so does the run id.
func TestF16_ExecutedTimesAreCorrected(t *testing.T) {
	t.Parallel()
	received := time.Date(2030, 1, 2, 3, 5, 0, 0, time.UTC)
	slot := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		offset, uncertainty *float64
		executed            string
		want                time.Time
	}{
		"5 minutes ahead":        {new(-300000.0), new(10.0), "2030-01-02T03:09:06.000Z", slot.Add(time.Second)},
		"5 minutes behind":       {new(300000.5), new(10.0), "2030-01-02T02:59:06.000Z", slot.Add(time.Second + 500*time.Microsecond)},
		"within the uncertainty": {new(8.0), new(10.0), "2030-01-02T03:04:06.000Z", slot.Add(time.Second)},
		"not known":              {nil, nil, "2030-01-02T03:09:06.000Z", slot.Add(5*time.Minute + time.Second)},
		"no time of its own":     {new(-300000.0), new(10.0), "yesterday", received},
	} {
		o := health.Origin{SatelliteID: "s", Slots: true, ClockOffsetMs: c.offset, ClockUncertaintyMs: c.uncertainty}
		run, err := health.Prepare(o, nil, &protocol.Result{ConfigID: "c", SystemID: "y", Status: check.Healthy, ExecutedAt: c.executed, Slot: slot.UnixMilli()}, received)
		if err != nil {
			t.Fatal(err)
		}
		want := health.Run{
			RunID: check.RunID(slot, "s", check.Key{CheckID: "c", SystemID: "y"}), SatelliteID: "s", CheckID: "c", SystemID: "y", Status: check.Healthy,
			ExecutedAt: c.want, ReceivedAt: received, Slot: slot, ClockOffsetMs: c.offset, ClockUncertaintyMs: c.uncertainty,
		}
		if diff := cmp.Diff(want, run); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Only who agreed to say so is believed that a run says nothing, and only of a failure.
func TestInconclusiveIsBelievedWhereItWasAgreed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		observes bool
		status   check.Status
		want     string
	}{{true, check.Unhealthy, "gateway: gone"}, {true, check.Degraded, "gateway: gone"}, {true, check.Healthy, ""}, {false, check.Unhealthy, ""}} {
		r := &protocol.Result{ConfigID: "c", SystemID: "y", Status: c.status, ExecutedAt: "2030-01-02T03:04:06Z", Inconclusive: "gateway: gone"}
		run, err := health.Prepare(health.Origin{SatelliteID: "s", Observes: c.observes}, nil, r, time.Now())
		if err != nil || run.Inconclusive != c.want {
			t.Errorf("%+v: %q, %v", c, run.Inconclusive, err)
		}
	}
}
