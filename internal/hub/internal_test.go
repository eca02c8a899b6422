package hub

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/protocol"
)

func TestAddressesAreCountedByHostOrNetwork(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"192.0.2.1:4711":             "192.0.2.1",
		"192.0.2.1":                  "192.0.2.1",
		"[::ffff:192.0.2.1]:4711":    "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:80":  "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::1%2]:1": "2001:db8:1:2::/64",
		"pipe":                       "pipe",
	} {
		if got := addressOf(remote); got != want {
			t.Errorf("%s is counted as %s, not %s", remote, got, want)
		}
	}
}

func TestRecentForgetsTheKeyUsedLongestAgo(t *testing.T) {
	t.Parallel()
	r := newRecent[string, int](2)
	one := func(n int) int { return n + 1 }
	r.update("a", one)
	r.update("b", one)
	r.update("a", one)
	r.update("c", one)
	got := map[string]int{}
	for _, key := range []string{"a", "b", "c"} {
		if n, ok := r.get(key); ok {
			got[key] = n
		}
	}
	if diff := cmp.Diff(map[string]int{"a": 2, "c": 1}, got); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
}

func assignment(check string) protocol.Assignment {
	return protocol.Assignment{ConfigID: check, SystemID: "web", StrategyID: "healthcheck-http.http", Config: []byte(`{}`), IntervalSeconds: 10}
}

// A guest that is asked about two environments of a check in the same millisecond may
// answer for both, and for no other.
func TestAskedRunsOfTwoEnvironmentsAreTwo(t *testing.T) {
	t.Parallel()
	a := assignment("front")
	a.Environments = []check.Environment{{ID: "production"}, {ID: "staging"}, {ID: "canary"}}
	pair := protocol.Pair{ConfigID: "front", SystemID: "web"}
	s := &session{hub: &Hub{}}
	for _, in := range []string{"production", "staging"} {
		if !s.expect(fleet.RunRequest{Pair: pair, EnvironmentID: in, Slot: 1000, Guest: true, Assignment: &a}, 0) {
			t.Fatal("it may answer for too many")
		}
	}
	got := map[string]bool{}
	for _, in := range []string{"production", "staging", "canary", ""} {
		got[in] = s.askedFor(pair, in, 1000, time.Now()).covers(in)
	}
	if diff := cmp.Diff(map[string]bool{"production": true, "staging": true, "canary": false, "": false}, got); diff != "" {
		t.Errorf("it may answer for (-want +got):\n%s", diff)
	}
}

func TestEqualAssignmentsOfAllSessionsAreOneObject(t *testing.T) {
	t.Parallel()
	var p pool
	a, b, c := assignment("front"), assignment("front"), assignment("back")
	first, second, third := p.intern(&a), p.intern(&b), p.intern(&c)
	if first != second || first == third {
		t.Error("equality of assignments is not that of their pointers")
	}
	runtime.KeepAlive(first)
}

// Nothing is held for the sake of the pool.
func TestPoolForgetsWhatNobodyHolds(t *testing.T) {
	t.Parallel()
	var p pool
	for i := range 100 {
		a := assignment(fmt.Sprint(i))
		p.intern(&a)
	}
	deadline := time.After(2 * time.Minute)
	for {
		runtime.GC()
		p.mu.Lock()
		left := len(p.items)
		p.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%d assignments are left", left)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestGrantsOfOnePairCountTheWidest(t *testing.T) {
	t.Parallel()
	early, late := time.Unix(1000, 0), time.Unix(2000, 0)
	pair := protocol.Pair{ConfigID: "front", SystemID: "web"}
	grants := func(at ...*time.Time) *set {
		d := fleet.Desired{}
		for _, t := range at {
			d.Grants = append(d.Grants, fleet.Grant{Pair: pair, RemovedAt: t})
		}
		return new(Hub).setOf(&d, nil)
	}
	due := late.Add(grace)
	for name, c := range map[string]struct {
		set  *set
		want bool
	}{
		"none":                   {grants(), false},
		"early":                  {grants(&early), false},
		"early then late":        {grants(&early, &late), true},
		"late then early":        {grants(&late, &early), true},
		"without end and early":  {grants(nil, &early), true},
		"early and without end":  {grants(&early, nil), true},
		"late, a moment too far": {grants(&late), true},
	} {
		if got := c.set.grantedFor(pair, due); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if grants(&late).grantedFor(pair, due.Add(time.Millisecond)) {
		t.Error("a run due after the grace is granted")
	}
}

// What a pair was before it changed, or went, still judges what comes late.
func TestFormerAssignmentsAreRemembered(t *testing.T) {
	t.Parallel()
	var h Hub
	now := time.Now()
	in := func(id string) protocol.Assignment {
		a := assignment("front")
		a.IntervalSeconds = 60
		a.Environments = []check.Environment{{ID: id}}
		return a
	}
	front := assignment("front")
	pair := front.Pair()
	first := h.setOf(&fleet.Desired{Revision: 1, Assignments: []protocol.Assignment{front}}, nil)
	second := h.setOf(&fleet.Desired{Revision: 2, Assignments: []protocol.Assignment{in("prod")}}, first)
	third := h.setOf(&fleet.Desired{Revision: 3, Grants: []fleet.Grant{{Pair: pair, RemovedAt: &now}}}, second)
	for name, c := range map[string]struct {
		got, want bool
	}{
		"first, without":   {first.environment(pair, ""), true},
		"first, prod":      {first.environment(pair, "prod"), false},
		"second, prod":     {second.environment(pair, "prod"), true},
		"second, without":  {second.environment(pair, ""), true}, // a run that was on its way
		"second, stage":    {second.environment(pair, "stage"), false},
		"third, prod":      {third.environment(pair, "prod"), true},
		"third, assertive": {third.assignment(pair) == second.pairs[pair], true},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v", name, c.got)
		}
	}
}

func TestBackoffBeginsAtOnceAndIsBounded(t *testing.T) {
	t.Parallel()
	got := []time.Duration{backoff(0), backoff(1), backoff(2), backoff(6), backoff(7), backoff(1000)}
	want := []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond, 3200 * time.Millisecond, 5 * time.Second, 5 * time.Second}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("backoff (-want +got):\n%s", diff)
	}
}
