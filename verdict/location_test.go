package verdict

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/perigee-monitoring/perigee/check"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

var statusOf = map[byte]check.Status{'h': check.Healthy, 'd': check.Degraded, 'u': check.Unhealthy}

// runs are results in a row, a minute apart, received when executed.
func runs(letters string) []Run {
	all := make([]Run, len(letters))
	for i := range letters {
		at := epoch.Add(time.Duration(i) * time.Minute)
		all[i] = Run{Status: statusOf[letters[i]], Slot: at, ExecutedAt: at, ReceivedAt: at}
	}
	return all
}

// walk gives the status after each result: h, d, u, or ? for unknown, in capitals
// while flapping.
func walk(p check.Policy, letters string) string {
	var s State
	var seen strings.Builder
	for _, r := range runs(letters) {
		s, _ = Step(p, s, r)
		letter := map[check.Status]string{check.Healthy: "h", check.Degraded: "d", check.Unhealthy: "u", check.Unknown: "?"}[s.Status]
		if s.Flapping {
			letter = strings.ToUpper(letter)
		}
		seen.WriteString(letter)
	}
	return seen.String()
}

func TestThresholdsAreExact(t *testing.T) {
	t.Parallel()
	thresholds := func(unhealthy, degraded, recovery int) check.Policy {
		return check.Policy{Thresholds: check.Thresholds{Unhealthy: unhealthy, Degraded: degraded, Recovery: recovery}}
	}
	window := check.Policy{Window: check.Window{Failures: 2, Of: 4}}
	for _, tc := range []struct {
		name    string
		policy  check.Policy
		results string
		want    string
	}{
		{"each result counts", check.Policy{}, "huhdudh", "huhdudh"},
		{"three in a row", thresholds(3, 0, 0), "huuhuuuh", "hhhhhhuh"},
		{"the original's 5, 2, 1", thresholds(5, 2, 1), "huuuuuuh", "hhddduuh"},
		{"degraded counts towards degraded only", thresholds(3, 2, 0), "hdudduuu", "hhddddd" + "u"},
		{"slow for long, or down for a moment", thresholds(1, 3, 1), "hddduddh", "hhhdudd" + "h"},
		{"recovery takes two", thresholds(0, 0, 2), "uhuhh", "uuuuh"},
		{"recovery by way of degraded", thresholds(0, 0, 2), "uddhh", "uudd" + "h"},
		{"too few to say anything", thresholds(3, 2, 0), "udh", "?dh"},
		{"too few to say anything yet", thresholds(3, 0, 0), "uuu", "??u"},
		{"the first healthy one is news enough", thresholds(0, 0, 3), "hu", "hu"},
		{"two of four", window, "huhuhhhu", "hhhuuhhh"},
		{"two of four are degraded", window, "hdhdhhhh", "hhhddhhh"},
		{"window and row: either is enough", check.Policy{Window: check.Window{Failures: 3, Of: 5}, Thresholds: check.Thresholds{Unhealthy: 2}}, "huuhhhuhuhu", "hhuhhhhhhhu"},
	} {
		if got := walk(tc.policy, tc.results); got != tc.want {
			t.Errorf("%s: %s makes %s, want %s", tc.name, tc.results, got, tc.want)
		}
	}
}

func TestSlowResultsAreWorse(t *testing.T) {
	t.Parallel()
	p := check.Policy{Latency: check.Latency{DegradedMs: 100, UnhealthyMs: 1000}}
	for ms, want := range map[int64]check.Status{99: check.Healthy, 100: check.Degraded, 999: check.Degraded, 1000: check.Unhealthy} {
		s, _ := Step(p, State{}, Run{Status: check.Healthy, LatencyMs: &ms, ExecutedAt: epoch, ReceivedAt: epoch})
		if s.Status != want {
			t.Errorf("%d ms is %s, want %s", ms, s.Status, want)
		}
	}
	if s, _ := Step(p, State{}, Run{Status: check.Unhealthy, ExecutedAt: epoch, ReceivedAt: epoch}); s.Status != check.Unhealthy {
		t.Errorf("without latency it is %s, want what the run says", s.Status)
	}
}

func TestFlapping(t *testing.T) {
	t.Parallel()
	p := check.Policy{Flap: check.Flap{Window: 5, On: 50, Off: 30}} // of 4 changes: above 2, below 1.2
	for results, want := range map[string]string{
		"huhuhuuuuu": "huhDDDDDuu",
		"huhuhhhhh":  "huhDDDDhh",
		"huuhh":      "huuhh",
	} {
		if got := walk(p, results); got != want {
			t.Errorf("%s makes %s, want %s", results, got, want)
		}
	}
	if got := walk(check.Policy{}, "huhuhuhuhuhuhuhuhuhuhu"); strings.ContainsAny(got, "HDU") {
		t.Errorf("without being asked for, flapping is noticed: %s", got)
	}
}

// policies draws policies of locations.
var policies = rapid.Custom(func(t *rapid.T) check.Policy {
	var p check.Policy
	p.Thresholds = check.Thresholds{
		Unhealthy: rapid.IntRange(0, 5).Draw(t, "unhealthy"), Degraded: rapid.IntRange(0, 5).Draw(t, "degraded"), Recovery: rapid.IntRange(0, 4).Draw(t, "recovery"),
	}
	if rapid.Bool().Draw(t, "window") {
		p.Window.Of = rapid.IntRange(1, 30).Draw(t, "of")
		p.Window.Failures = rapid.IntRange(1, p.Window.Of).Draw(t, "failures")
	}
	if rapid.Bool().Draw(t, "flap") {
		p.Flap.Window = rapid.IntRange(3, 25).Draw(t, "flap window")
		p.Flap.On = rapid.IntRange(1, 100).Draw(t, "on")
		p.Flap.Off = rapid.IntRange(1, p.Flap.On).Draw(t, "off")
	}
	if rapid.Bool().Draw(t, "latency") {
		p.Latency = check.Latency{DegradedMs: rapid.Int64Range(0, 50).Draw(t, "degraded ms"), UnhealthyMs: rapid.Int64Range(50, 100).Draw(t, "unhealthy ms")}
	}
	return p
})

var letters = rapid.StringOfN(rapid.SampledFrom([]rune("hdu")), 0, 60, -1)

func stepAll(p check.Policy, all []Run) State {
	var s State
	for _, r := range all {
		s, _ = Step(p, s, r)
	}
	return s
}

// What was late, in whatever order it comes, changes nothing of now.
func TestLateResultsChangeNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := policies.Draw(t, "policy")
		all := runs(letters.Draw(t, "results"))
		var onTime, late []Run
		for i, r := range all {
			if i+1 < len(all) && rapid.Bool().Draw(t, "late") {
				late = append(late, r)
			} else {
				onTime = append(onTime, r)
			}
		}
		want := stepAll(p, onTime)
		rand.Shuffle(len(late), func(i, j int) { late[i], late[j] = late[j], late[i] })
		got := stepAll(p, slices.Concat(onTime, late, onTime))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("late and repeated results changed it (-want +got):\n%s", diff)
		}
	})
}

// The state by its rules, written down once more without any cleverness.
func TestStepIsWhatThePolicySays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := policies.Draw(t, "policy").WithDefaults()
		p.Flap, p.Latency = check.Flap{}, check.Latency{}
		results := letters.Draw(t, "results")
		var s State
		for i, r := range runs(results) {
			was := s.Status
			s, _ = Step(p, s, r)
			row := func(n int, letters string) bool {
				return n > 0 && i+1 >= n && strings.Trim(results[i+1-n:i+1], letters) == ""
			}
			in := func(letters string) bool {
				n := 0
				for k := max(0, i+1-p.Window.Of); k <= i; k++ {
					if strings.IndexByte(letters, results[k]) >= 0 {
						n++
					}
				}
				return p.Window.Failures > 0 && n >= p.Window.Failures
			}
			worst := row(p.Thresholds.Unhealthy, "u") || in("u")
			bad := row(p.Thresholds.Degraded, "du") || in("du")
			switch {
			case worst && s.Status != check.Unhealthy:
				t.Fatalf("%s is %s, and enough failed", results[:i+1], s.Status)
			case !worst && s.Status == check.Unhealthy && was != check.Unhealthy:
				t.Fatalf("%s is unhealthy, and not enough failed", results[:i+1])
			case bad && (s.Status == check.Healthy || s.Status == check.Unknown):
				t.Fatalf("%s is %s, and enough was bad", results[:i+1], s.Status)
			case s.Status == check.Healthy && was != check.Healthy && was != "" && was != check.Unknown && !row(p.Thresholds.Recovery, "h"):
				t.Fatalf("%s is healthy again, and too little was", results[:i+1])
			case s.Status == check.Degraded && was == check.Unhealthy && !row(p.Thresholds.Recovery, "hd"):
				t.Fatalf("%s is better, and too little was", results[:i+1])
			}
		}
	})
}

// Inside the band between its bounds, flapping neither begins nor ends.
func TestHysteresisHoldsInsideTheBand(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := policies.Filter(func(p check.Policy) bool { return p.Flap.Window > 0 }).Draw(t, "policy")
		var s State
		for _, r := range runs(letters.Draw(t, "results")) {
			was := s.Flapping
			s, _ = Step(p, s, r)
			possible := p.Flap.Window - 1
			percent := 100 * float64(changes(last(s.Recent, p.Flap.Window))) / float64(possible)
			if percent >= float64(p.Flap.Off) && percent <= float64(p.Flap.On) && s.Flapping != was {
				t.Fatalf("%.1f %% lies from %d to %d, and flapping went from %v to %v", percent, p.Flap.Off, p.Flap.On, was, s.Flapping)
			}
			if s.Flapping && s.Status != check.Degraded {
				t.Fatalf("flapping and %s", s.Status)
			}
		}
	})
}

func TestInconclusiveRunsSayNothing(t *testing.T) {
	t.Parallel()
	before := stepAll(check.Policy{}, runs("hh"))
	at := epoch.Add(time.Hour)
	after, moved := Step(check.Policy{}, before, Run{Status: check.Unhealthy, ExecutedAt: at, ReceivedAt: at, Inconclusive: "resolver"})
	if moved || after != before {
		t.Errorf("moved %v to %+v", moved, after)
	}
}

// A satellite's clock that ran hours ahead must not shut out what it reports
// after it was set right.
func TestAClockThatRanAheadDoesNotFreezeTheState(t *testing.T) {
	t.Parallel()
	s, _ := Step(check.Policy{}, State{}, Run{Status: check.Healthy, ExecutedAt: epoch.Add(5 * time.Hour), ReceivedAt: epoch})
	s, moved := Step(check.Policy{}, s, Run{Status: check.Unhealthy, ExecutedAt: epoch.Add(time.Minute), ReceivedAt: epoch.Add(time.Minute)})
	if !moved || s.Status != check.Unhealthy {
		t.Errorf("state = %+v, want it to follow the corrected clock", s)
	}
}

func TestSinceIsWhenItChanged(t *testing.T) {
	t.Parallel()
	s := stepAll(check.Policy{Thresholds: check.Thresholds{Unhealthy: 2}}, runs("hhuuu"))
	if want := epoch.Add(3 * time.Minute); s.Status != check.Unhealthy || !s.Since.Equal(want) {
		t.Errorf("%s since %s, want unhealthy since %s", s.Status, s.Since, want)
	}
}
