package verdict

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/perigee-monitoring/perigee/check"
)

// seats are of places, "eu:huo us:h": one letter for each satellite of a region,
// whose newest result was that; o is offline, n is online with no result yet.
func seats(places string) []Seat {
	var all []Seat
	for _, place := range strings.Fields(places) {
		region, letters, _ := strings.Cut(place, ":")
		for i := range letters {
			s := Seat{Satellite: fmt.Sprintf("%s-%d", region, i+1), Region: region, Online: letters[i] != 'o', Interval: check.Duration(10 * time.Second)}
			s.SatelliteID = s.Satellite
			if status, ok := statusOf[letters[i]]; ok {
				s.State = &State{Status: status, Since: epoch, ExecutedAt: epoch, ReceivedAt: epoch}
			}
			all = append(all, s)
		}
	}
	return all
}

func TestQuorums(t *testing.T) {
	t.Parallel()
	count := check.Quorum{Kind: check.QuorumCount, Count: 2}
	half := check.Quorum{Kind: check.QuorumShare, Share: 50}
	regions := check.Quorum{Kind: check.QuorumRegions, Count: 2}
	for _, tc := range []struct {
		quorum check.Quorum
		places string
		status check.Status
		reason string
	}{
		{check.Quorum{}, "eu:h", check.Healthy, "eu-1: healthy"},
		{check.Quorum{}, "eu:hhh", check.Healthy, "eu-1: healthy (3 of 3 places say healthy)"},
		{check.Quorum{}, "eu:hdu", check.Unhealthy, "eu-3: unhealthy (1 of 3 places says unhealthy, 1 degraded)"},
		{check.Quorum{}, "eu:hdo", check.Degraded, "eu-2: degraded (1 of 2 places says degraded; 1 not counted)"},
		{check.Quorum{Kind: check.QuorumAny}, "eu:hhu", check.Unhealthy, "eu-3: unhealthy (1 of 3 places says unhealthy)"},
		{check.Quorum{Kind: check.QuorumAll}, "eu:huu", check.Healthy, "eu-1: healthy (2 of 3 places say unhealthy; all must agree)"},
		{check.Quorum{Kind: check.QuorumAll}, "eu:uuo", check.Unhealthy, "eu-1: unhealthy (2 of 2 places say unhealthy; all must agree; 1 not counted)"},
		{check.Quorum{Kind: check.QuorumAll}, "eu:duu", check.Degraded, "eu-1: degraded (2 of 3 places say unhealthy, 1 degraded; all must agree)"},
		{count, "eu:huh", check.Healthy, "eu-1: healthy (1 of 3 places says unhealthy; 2 must agree)"},
		{count, "eu:huu", check.Unhealthy, "eu-2: unhealthy (2 of 3 places say unhealthy; 2 must agree)"},
		{count, "eu:hdu", check.Degraded, "eu-2: degraded (1 of 3 places says unhealthy, 1 degraded; 2 must agree)"},
		{count, "eu:uoo", check.Degraded, "eu-1: unhealthy (1 of 1 place says unhealthy; 2 must agree; 2 not counted)"},
		{count, "eu:hoo", check.Healthy, "eu-1: healthy (1 of 1 place says healthy; 2 must agree; 2 not counted)"},
		{half, "eu:uuhh", check.Unhealthy, "eu-1: unhealthy (2 of 4 places say unhealthy; 2 must agree)"},
		{half, "eu:uhhh", check.Healthy, "eu-2: healthy (1 of 4 places says unhealthy; 2 must agree)"},
		{half, "eu:uhh", check.Healthy, "eu-2: healthy (1 of 3 places says unhealthy; 2 must agree)"},
		{check.Quorum{Kind: check.QuorumShare}, "eu:uuhh", check.Healthy, "eu-3: healthy (2 of 4 places say unhealthy; 3 must agree)"},
		{regions, "eu:uuh us:hh", check.Healthy, "eu-3: healthy (2 of 5 places say unhealthy: 2 of 3 in eu, 0 of 2 in us; 2 regions must agree)"},
		{regions, "eu:uuh us:u", check.Unhealthy, "eu-1: unhealthy (3 of 4 places say unhealthy: 2 of 3 in eu, 1 of 1 in us; 2 regions must agree)"},
		{regions, "eu:uuh us:o", check.Degraded, "eu-1: unhealthy (2 of 3 places say unhealthy: 2 of 3 in eu; 2 regions must agree; 1 not counted)"},
		{check.Quorum{}, "", check.Unknown, "no satellite is assigned"},
		{check.Quorum{}, "eu:o", check.Unknown, "waiting: no assigned satellite is online yet"},
		{check.Quorum{}, "eu:no", check.Unknown, "waiting for the first result"},
	} {
		got := Judge(check.Policy{Quorum: tc.quorum}, seats(tc.places), epoch)
		if want := (Judgement{tc.status, tc.reason, ClassNone}); got != want {
			t.Errorf("%s of %s is\n%+v, want\n%+v", tc.quorum.Kind, tc.places, got, want)
		}
	}
}

// One of three measured what all were just given, and was lost before the others had their
// turn: that says nothing yet. When they let theirs pass, it does.
func TestWhoIsNewHasTimeForItsFirstResult(t *testing.T) {
	t.Parallel()
	for after, want := range map[time.Duration]Judgement{
		time.Second:      {check.Unknown, "waiting for the first result", ClassNone},
		60 * time.Second: {check.Unknown, "waiting for the first result", ClassNone},
		61 * time.Second: {check.Degraded, "not measured: the satellite is online and sends no results", ClassNone},
	} {
		all := seats("eu:hnn")
		all[0].Online = false
		for i := range all {
			all[i].DueSince = epoch
		}
		if got := Judge(check.Policy{}, all, epoch.Add(after)); got != want {
			t.Errorf("after %s: %+v, want %+v", after, got, want)
		}
		all[1].Online, all[2].Online = false, false
		if got := Judge(check.Policy{}, all, epoch.Add(after)); got.Status != check.Degraded {
			t.Errorf("all offline, after %s: %+v", after, got)
		}
	}
}

func TestOldResultsThatAreDeliveredLateHaveNoVoice(t *testing.T) {
	t.Parallel()
	seat := Seat{Satellite: "eu-1", Online: true, Interval: check.Duration(10 * time.Second)}
	var s State
	judge := func(executed, received time.Duration, status check.Status) check.Status {
		s, _ = Step(check.Policy{}, s, Run{Status: status, ExecutedAt: epoch.Add(executed), ReceivedAt: epoch.Add(received)})
		seat.State = &s
		return Judge(check.Policy{}, []Seat{seat}, epoch.Add(received)).Status
	}
	for _, step := range []struct {
		executed, received time.Duration
		status, want       check.Status
	}{
		{0, 0, check.Healthy, check.Healthy},
		// An hour without a link; then everything is delivered in a moment.
		{10 * time.Second, time.Hour, check.Unhealthy, check.Degraded},
		{20 * time.Second, time.Hour + time.Millisecond, check.Unhealthy, check.Degraded},
		{30 * time.Minute, time.Hour + 2*time.Millisecond, check.Unhealthy, check.Degraded},
		{time.Hour, time.Hour + 3*time.Millisecond, check.Healthy, check.Healthy},
		{time.Hour + 10*time.Second, time.Hour + 10*time.Second, check.Unhealthy, check.Unhealthy},
		// A clock that is set back ten minutes: one result is doubted, no more.
		{time.Hour + time.Minute, 70*time.Minute + 60*time.Second, check.Unhealthy, check.Degraded},
		{time.Hour + 70*time.Second, 70*time.Minute + 70*time.Second, check.Healthy, check.Healthy},
		{time.Hour + 80*time.Second, 70*time.Minute + 80*time.Second, check.Unhealthy, check.Unhealthy},
	} {
		if got := judge(step.executed, step.received, step.status); got != step.want {
			t.Errorf("%s executed at %s and received at %s: verdict %s, want %s", step.status, step.executed, step.received, got, step.want)
		}
	}
}

var quorums = rapid.Custom(func(t *rapid.T) check.Quorum {
	q := check.Quorum{Kind: rapid.SampledFrom([]check.QuorumKind{
		"", check.QuorumWorst, check.QuorumAny, check.QuorumAll, check.QuorumCount, check.QuorumShare, check.QuorumRegions,
	}).Draw(t, "kind")}
	if q.Kind == check.QuorumCount || q.Kind == check.QuorumRegions {
		q.Count = rapid.IntRange(1, 4).Draw(t, "count")
	}
	if q.Kind == check.QuorumShare || q.Kind == check.QuorumRegions {
		q.Share = rapid.IntRange(0, 100).Draw(t, "share")
	}
	return q
})

var places = rapid.Custom(func(t *rapid.T) string {
	some := rapid.StringOfN(rapid.SampledFrom([]rune("hduon")), 0, 4, -1)
	return "eu:" + some.Draw(t, "eu") + " us:" + some.Draw(t, "us") + " ap:" + some.Draw(t, "ap")
})

// One place that gets worse never makes a verdict better, whatever the quorum.
func TestWorseNewsIsNeverBetter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := check.Policy{Quorum: quorums.Draw(t, "quorum")}
		before := places.Draw(t, "places")
		at := rapid.IntRange(0, len(before)-1).Draw(t, "at")
		worse, ok := map[byte]string{'h': "d", 'd': "u"}[before[at]]
		if !ok { // no name of a region has such a letter
			return
		}
		after := before[:at] + worse + before[at+1:]
		a, b := Judge(p, seats(before), epoch), Judge(p, seats(after), epoch)
		if check.Worst(a.Status, b.Status) != b.Status {
			t.Fatalf("%s is %s, and %s is %s", before, a.Status, after, b.Status)
		}
	})
}

// Where all places that measure agree, the verdict says so; green needs a place
// that says healthy.
func TestUnanimousPlaces(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := check.Policy{Quorum: quorums.Draw(t, "quorum")}
		of := places.Draw(t, "places")
		status := Judge(p, seats(of), epoch).Status
		letters := strings.NewReplacer("eu:", "", "us:", "", "ap:", "").Replace(of)
		if status == check.Healthy && !strings.Contains(letters, "h") {
			t.Fatalf("%s is healthy on nobody's word", of)
		}
		if strings.Contains(letters, "h") && !strings.ContainsAny(letters, "du") && status != check.Healthy {
			t.Fatalf("%s is %s, and nobody says anything bad", of, status)
		}
	})
}

// A satellite that leaves the check out has no voice, and its reason is told when nobody
// else has one.
func TestM71_WhoLeavesTheCheckOutSaysWhy(t *testing.T) {
	t.Parallel()
	now := time.Now()
	seat := func(name string, status check.Status, refused string) Seat {
		s := Seat{SatelliteID: name, Satellite: name, Online: true, Interval: check.Duration(10 * time.Second), Refused: refused, DueSince: now}
		if status != "" {
			s.State = &State{Status: status, ExecutedAt: now, ReceivedAt: now}
		}
		return s
	}
	away := seat("away", check.Healthy, "it has no bun")
	away.Online = false
	for name, c := range map[string]struct {
		seats []Seat
		want  Judgement
	}{
		"it was measured":        {[]Seat{seat("a", "", "old"), seat("b", check.Unhealthy, "it has no bun")}, Judgement{check.Degraded, "not measured: b: it has no bun (and 1 more)", ClassNone}},
		"it never was":           {[]Seat{seat("a", "", "it has no bun")}, Judgement{check.Unknown, "not measured: a: it has no bun", ClassNone}},
		"somebody else measures": {[]Seat{seat("a", check.Unhealthy, "it has no bun"), seat("b", check.Healthy, "")}, Judgement{check.Healthy, "b: healthy (1 of 1 place says healthy; 1 not counted)", ClassNone}},
		"somebody else is new":   {[]Seat{seat("a", check.Healthy, "it has no bun"), seat("b", "", "")}, Judgement{check.Unknown, "waiting for the first result", ClassNone}},
		"it is offline":          {[]Seat{away}, Judgement{check.Degraded, "not measured: the only assigned satellite is offline", ClassNone}},
	} {
		if got := Judge(check.Policy{}, c.seats, now); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
