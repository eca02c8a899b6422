package health

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/verdict"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// seat of a check at a satellite: status "" is no result yet, age is how long ago
// the newest result was received.
func seat(checkName, satellite string, online bool, status check.Status, age time.Duration) Seat {
	s := Seat{
		LocationKey: LocationKey{SystemID: "shop", CheckID: checkName, SatelliteID: satellite},
		CheckName:   checkName, SatelliteName: satellite, Online: online, Interval: check.Duration(10 * time.Second),
	}
	if status != "" {
		s.Location = &Location{
			LocationKey: s.LocationKey, Message: "it said so",
			State: verdict.State{Status: status, ReceivedAt: now.Add(-age), ExecutedAt: now.Add(-age)},
		}
	}
	return s
}

// assigned is the seat of an assignment of that age.
func assigned(s Seat, age time.Duration) Seat {
	changed := now.Add(-age)
	s.Assignment.Changed = &changed
	return s
}

func TestVerdictOfACheck(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		seats  []Seat
		status check.Status
		reason string
	}{
		{"L242 nowhere", nil, check.Unknown, "no satellite is assigned"},
		{"no result yet", []Seat{seat("c", "a", true, "", 0)}, check.Unknown, "waiting for the first result"},
		{"never connected", []Seat{seat("c", "a", false, "", 0)}, check.Unknown, "no assigned satellite is online yet"},
		{"healthy", []Seat{seat("c", "a", true, check.Healthy, time.Second)}, check.Healthy, "a: it said so"},
		{
			"M10 the worst location counts",
			[]Seat{seat("c", "a", true, check.Healthy, 0), seat("c", "b", true, check.Unhealthy, 0), seat("c", "d", true, check.Degraded, 0)},
			check.Unhealthy, "b: it said so",
		},
		{"L238 a location that went silent does not count", []Seat{seat("c", "a", true, check.Healthy, 0), seat("c", "b", false, check.Unhealthy, 0)}, check.Healthy, "a:"},
		{"a location without a result does not spoil the others", []Seat{seat("c", "a", true, check.Healthy, 0), seat("c", "b", true, "", 0)}, check.Healthy, "a:"},
		{"L239 M11 the last light goes out with the only satellite", []Seat{seat("c", "a", false, check.Healthy, time.Second)}, check.Degraded, "the only assigned satellite is offline"},
		{"L239 M11 or with all of them", []Seat{seat("c", "a", false, check.Healthy, 0), seat("c", "b", false, check.Unhealthy, 0)}, check.Degraded, "all 2 assigned satellites are offline"},
		{"online and sending nothing is not green", []Seat{seat("c", "a", true, check.Healthy, 61*time.Second)}, check.Degraded, "sends no results"},
		{
			"who was just assigned has time for the first result",
			[]Seat{seat("c", "a", false, check.Healthy, time.Second), assigned(seat("c", "b", true, "", 0), 2*time.Second)},
			check.Unknown, "waiting for the first result",
		},
		{
			"but not for ever",
			[]Seat{seat("c", "a", false, check.Healthy, time.Second), assigned(seat("c", "b", true, "", 0), 61*time.Second)},
			check.Degraded, "sends no results",
		},
		{"three intervals and a grace are still fresh", []Seat{seat("c", "a", true, check.Healthy, 60*time.Second)}, check.Healthy, "a:"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			v := JudgeCheck(tc.seats, now)
			if v.Status != tc.status || !strings.Contains(v.Reason, tc.reason) {
				t.Errorf("verdict = %s because %q, want %s because …%s…", v.Status, v.Reason, tc.status, tc.reason)
			}
		})
	}
}

func TestL227_VerdictOfASystem(t *testing.T) {
	t.Parallel()
	seats := []Seat{
		seat("front", "a", true, check.Healthy, 0), seat("front", "b", true, check.Healthy, 0),
		seat("api", "a", true, check.Degraded, 0), seat("mail", "a", true, check.Healthy, 0),
	}
	h, verdicts := JudgeSystem("shop", seats, now)
	want := SystemHealth{SystemID: "shop", Status: check.Degraded, Told: check.Degraded, HealthyChecks: 2, TotalChecks: 3, Reason: "api: a: it said so"}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Errorf("system (-want +got):\n%s", diff)
	}
	var names []string
	for _, v := range verdicts {
		names = append(names, v.Check)
	}
	if diff := cmp.Diff([]string{"api", "front", "mail"}, names); diff != "" {
		t.Errorf("checks (-want +got):\n%s", diff)
	}
	if h, _ := JudgeSystem("shop", nil, now); h.Status != check.Unknown || h.TotalChecks != 0 {
		t.Errorf("a system without checks is %+v, want unknown", h)
	}
}

func TestLocationStepsForwardOnly(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration, id string, status check.Status) Run {
		return Run{RunID: id, Status: status, ExecutedAt: now.Add(d), ReceivedAt: now.Add(time.Hour)}
	}
	var l Location
	for _, step := range []struct {
		name   string
		run    Run
		moves  bool
		status check.Status
		since  time.Time
	}{
		{"the first result", at(0, "1", check.Healthy), true, check.Healthy, now},
		{"the same again", at(time.Minute, "2", check.Healthy), true, check.Healthy, now},
		{"a late one changes history only", at(30*time.Second, "3", check.Unhealthy), false, check.Healthy, now},
		{"a change", at(2*time.Minute, "4", check.Unhealthy), true, check.Unhealthy, now.Add(2 * time.Minute)},
		{"the same instant again", at(2*time.Minute, "5", check.Healthy), false, check.Unhealthy, now.Add(2 * time.Minute)},
	} {
		if moved := l.step(step.run); moved != step.moves || l.Status != step.status || !l.Since.Equal(step.since) {
			t.Errorf("%s: moved %v to %s since %s", step.name, moved, l.Status, l.Since)
		}
	}
}

// A satellite's clock that ran hours ahead must not shut out what it reports
// after it was set right.
func TestAClockThatRanAheadDoesNotFreezeTheState(t *testing.T) {
	t.Parallel()
	var l Location
	l.step(Run{RunID: "1", Status: check.Healthy, ExecutedAt: now.Add(5 * time.Hour), ReceivedAt: now})
	if !l.step(Run{RunID: "2", Status: check.Unhealthy, ExecutedAt: now.Add(time.Minute), ReceivedAt: now.Add(time.Minute)}) || l.Status != check.Unhealthy {
		t.Errorf("location = %+v, want it to follow the corrected clock", l)
	}
}

func TestHealthEvents(t *testing.T) {
	t.Parallel()
	state := func(s check.Status) entity.State {
		if s == "" {
			return nil
		}
		return entity.State{"status": string(s), "healthyChecks": 1, "totalChecks": 2}
	}
	for _, tc := range []struct {
		prev, next check.Status
		want       []string
	}{
		{"", check.Unknown, nil},
		{"", check.Healthy, []string{"healthcheck.system_health_changed", "healthcheck.system_healthy"}},
		{check.Healthy, check.Unhealthy, []string{"healthcheck.system_health_changed", "healthcheck.system_degraded"}},
		{check.Healthy, check.Healthy, nil}, // a count changed
		{check.Healthy, check.Unknown, []string{"healthcheck.system_health_changed"}},
		{check.Healthy, "", nil}, // the system was deleted
	} {
		got := events(entity.Change{Kind: Kind, ID: "shop", Prev: state(tc.prev), Next: state(tc.next)})
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%q → %q (-want +got):\n%s", tc.prev, tc.next, diff)
		}
	}
}

// A verdict is another when more is known of where the fault lies, and none when less is;
// nobody is told of it again.
func TestAVerdictIsAnotherWhenItsClassIsKnownBetter(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		held, now verdict.Class
		begins    bool
	}{
		{verdict.ClassNone, verdict.ClassTarget, true},
		{verdict.ClassPath, verdict.ClassTarget, true},
		{verdict.ClassTarget, verdict.ClassTarget, false},
		{verdict.ClassTarget, verdict.ClassNone, false},
	} {
		judged := JudgeCheck([]Seat{seat("c", "a", true, check.Unhealthy, 0)}, now)
		judged.Environments[0].Class = tc.now
		of := judged.Environments[0]
		held := verdict.Verdict{ID: "held", SystemID: of.SystemID, CheckID: of.CheckID, Status: check.Unhealthy, Class: tc.held, Told: check.Unhealthy}
		f := compareVerdicts([]CheckVerdict{judged}, []verdict.Verdict{held}, nil)
		if begins := len(f.judged) == 1 && len(f.end) == 1; begins != tc.begins || f.none() == tc.begins {
			t.Errorf("%s, then %s: another begins: %t, want %t", tc.held, tc.now, begins, tc.begins)
		}
		_, changes, err := f.begin(now)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			if events := checkEvents(c); len(events) > 0 {
				t.Errorf("%s, then %s: told of %v", tc.held, tc.now, events)
			}
		}
	}
}
