package health

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/verdict"
)

func TestCausesAreTheDeepestThatAreDown(t *testing.T) {
	t.Parallel()
	d := Dependencies{"shop": {"api", "cdn"}, "api": {"db", "net"}, "db": {"net"}, "cdn": {"net"}}
	for _, c := range []struct{ down, want []string }{
		{nil, nil},
		{[]string{"shop"}, nil},
		{[]string{"api"}, []string{"api"}},
		{[]string{"api", "db"}, []string{"db"}},
		{[]string{"api", "db", "net", "cdn"}, []string{"net"}},
		{[]string{"net"}, []string{"net"}}, // by way of systems that are well
		{[]string{"db", "cdn"}, []string{"cdn", "db"}},
	} {
		got := d.Causes("shop", func(id string) bool { return slices.Contains(c.down, id) })
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("with %v down (-want +got):\n%s", c.down, diff)
		}
	}
	if diff := cmp.Diff([]string{"api", "db", "shop"}, d.withDependants([]string{"db"})); diff != "" {
		t.Errorf("dependants (-want +got):\n%s", diff)
	}
}

// Whatever depends on what: causes are down and below, none of them explains another,
// and when something below is down there is a cause.
func TestCausesExplain(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		d := Dependencies{}
		name := func(i int) string { return fmt.Sprintf("s%d", i) }
		for i := 1; i < 9; i++ { // each on lower ones, so that there is no circle
			for j := range i {
				if rapid.Bool().Draw(rt, "edge") {
					d[name(i)] = append(d[name(i)], name(j))
				}
			}
		}
		isDown := map[string]bool{}
		for i := range 9 {
			isDown[name(i)] = rapid.Bool().Draw(rt, "down")
		}
		down := func(id string) bool { return isDown[id] }
		var below []string
		for _, id := range d.below([]string{"s8"}) {
			if isDown[id] {
				below = append(below, id)
			}
		}
		causes := d.Causes("s8", down)
		if (len(causes) > 0) != (len(below) > 0) {
			rt.Fatalf("%v below are down, and the causes are %v", below, causes)
		}
		for _, cause := range causes {
			if !slices.Contains(below, cause) || len(d.Causes(cause, down)) > 0 {
				rt.Fatalf("%s is no cause; down are %v in %v", cause, below, d)
			}
		}
	})
}

// step is one judgement in a story, and what is told after it.
type step struct {
	after       time.Duration
	status      check.Status
	maintenance bool
	causes      []string
	want        check.Status
}

func tell(t *testing.T, depends bool, story []step) {
	t.Helper()
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	h := SystemHealth{SystemID: "s"}
	for i, s := range story {
		at = at.Add(s.after)
		down := func(id string) bool { return slices.Contains(s.causes, id) }
		d := Dependencies{}
		if depends {
			d["s"] = []string{"on", "net"}
		}
		judged := map[string]SystemHealth{"s": {SystemID: "s", Status: s.status, Told: s.status, Maintenance: s.maintenance}}
		others := map[string]SystemHealth{}
		for _, id := range d["s"] {
			if down(id) {
				others[id] = SystemHealth{Status: check.Unhealthy}
			}
		}
		settleAll(judged, map[string]SystemHealth{"s": h}, others, d, at)
		if h = judged["s"]; h.Told != s.want {
			t.Fatalf("step %d: told is %q, want %q", i, h.Told, s.want)
		}
	}
}

func TestAlarmsOfDependantsWait(t *testing.T) {
	t.Parallel()
	tell(t, true, []step{
		{0, check.Healthy, false, nil, check.Healthy},
		// It fails first, and what it depends on a moment later.
		{time.Second, check.Unhealthy, false, nil, check.Healthy},
		{10 * time.Second, check.Unhealthy, false, []string{"on"}, check.Healthy},
		{time.Hour, check.Unhealthy, false, []string{"on"}, check.Healthy},
		// What is still wrong when that is well again is told.
		{time.Second, check.Unhealthy, false, nil, check.Unhealthy},
		{time.Second, check.Healthy, false, nil, check.Healthy},
		// Nothing explains this one.
		{time.Second, check.Degraded, false, nil, check.Healthy},
		{dependencyHold, check.Degraded, false, nil, check.Degraded},
		// It gets worse because of another: no second alarm, and well again is told.
		{time.Second, check.Unhealthy, false, []string{"net"}, check.Degraded},
		{time.Second, check.Healthy, false, []string{"net"}, check.Healthy},
	})
	tell(t, false, []step{
		{0, check.Healthy, false, nil, check.Healthy},
		{time.Second, check.Unhealthy, false, nil, check.Unhealthy}, // it depends on nothing
	})
}

func TestMaintenanceTellsAtItsEnd(t *testing.T) {
	t.Parallel()
	tell(t, false, []step{
		{0, check.Healthy, false, nil, check.Healthy},
		{time.Second, check.Unhealthy, true, nil, check.Healthy},
		{time.Second, check.Healthy, true, nil, check.Healthy},
		{time.Second, check.Degraded, true, nil, check.Healthy},
		{time.Second, check.Degraded, false, nil, check.Degraded},
		{time.Second, check.Healthy, true, nil, check.Degraded},
		{time.Second, check.Healthy, false, nil, check.Healthy},
	})
}

func TestOnlyChecksThatAreNotInMaintenanceAlarm(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	seat := func(name string, status check.Status, u Upkeep) Seat {
		return Seat{
			LocationKey: LocationKey{SystemID: "s", CheckID: name}, CheckName: name, SatelliteName: "eu-1", Online: true,
			Interval: check.Duration(time.Minute), Upkeep: u,
			Location: &Location{State: verdict.State{Status: status, ExecutedAt: now.Add(-time.Second), ReceivedAt: now.Add(-time.Second)}},
		}
	}
	type told struct {
		Status, Told check.Status
		Maintenance  bool
	}
	for _, c := range []struct {
		name  string
		seats []Seat
		want  told
	}{
		{"one of two", []Seat{seat("a", check.Unhealthy, Upkeep{Maintained: true}), seat("b", check.Healthy, Upkeep{})}, told{check.Unhealthy, check.Healthy, false}},
		{"both", []Seat{seat("a", check.Unhealthy, Upkeep{Maintained: true}), seat("b", check.Healthy, Upkeep{Maintained: true})}, told{check.Unhealthy, check.Unknown, true}},
		{"paused", []Seat{seat("a", check.Healthy, Upkeep{Maintained: true, Paused: true})}, told{check.Unknown, check.Unknown, true}},
	} {
		h, _ := JudgeSystem("s", c.seats, now)
		if diff := cmp.Diff(c.want, told{h.Status, h.Told, h.Maintenance}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	// What was not measured because it was paused is not stale right after.
	old := seat("a", check.Healthy, Upkeep{DueSince: now.Add(-time.Minute)})
	old.Location.ReceivedAt = now.Add(-24 * time.Hour)
	if !old.Fresh(now) {
		t.Error("a seat is stale right after its pause")
	}
	if old.Fresh(now.Add(time.Hour)) {
		t.Error("a seat is fresh an hour after its pause")
	}
}
