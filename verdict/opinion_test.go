package verdict

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/perigee-monitoring/perigee/check"
)

// opinionOf is about the word of the seats that say that something is wrong, with the
// answers "us:h ap:u us:-late": the domain, and the status or why it is void.
func opinionOf(all []Seat, answers string) *Opinion {
	o := &Opinion{State: OpinionDecided, Domain: "region", Deadline: epoch.Add(2 * time.Second), Before: Judgement{check.Healthy, "all well", ClassNone}}
	for _, a := range Accusers(all, epoch) {
		o.Suspects = append(o.Suspects, Suspect{SatelliteID: a.SatelliteID, Satellite: a.Satellite, Domain: a.Region})
	}
	for _, text := range strings.Fields(answers) {
		region, said, _ := strings.Cut(text, ":")
		a := Answer{SatelliteID: region + "-9", Satellite: region + "-9", Domain: region}
		if void, ok := strings.CutPrefix(said, "-"); ok {
			a.Void = void
		} else {
			a.Status = statusOf[said[0]]
		}
		o.Answers = append(o.Answers, a)
	}
	return o
}

// Who is asked is judged by the bounds of latency that the suspects are judged by: what
// is slow from everywhere is no fault of the way.
func TestOthersThatAreSlowAsWellConfirm(t *testing.T) {
	t.Parallel()
	p := check.Policy{Latency: check.Latency{DegradedMs: 500, UnhealthyMs: 2000}}
	for latency, want := range map[int64]Class{100: ClassPath, 900: ClassTarget, 3000: ClassTarget} {
		all := seats("eu:u")
		o := opinionOf(all, "us:h")
		o.Answers[0].LatencyMs = &latency
		if got := Decide(p, all, o, epoch); got.Class != want {
			t.Errorf("healthy in %d ms: class %s, want %s (%s)", latency, got.Class, want, got.Reason)
		}
		if got := o.Confirmed(p); got != (want == ClassTarget) {
			t.Errorf("healthy in %d ms: confirmed is %t", latency, got)
		}
	}
}

func TestWhatOthersSayDecides(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		places, answers string
		change          func(*Opinion)
		want            Decision
	}{
		"nobody doubts what is well":        {"eu:h", "us:u", nil, Decision{Judgement{check.Healthy, "eu-1: healthy", ClassNone}, "", false}},
		"confirmed":                         {"eu:u", "us:u ap:h", nil, Decision{Judgement{check.Unhealthy, "eu-1: unhealthy; confirmed by us-9", ClassTarget}, "eu-1, us-9", false}},
		"contradicted":                      {"eu:u", "us:h ap:-late", nil, Decision{Judgement{check.Degraded, "only from eu-1: eu-1: unhealthy; healthy from us-9", ClassPath}, "eu-1", false}},
		"nobody answers":                    {"eu:u", "us:-late", nil, Decision{Judgement{check.Unhealthy, "eu-1: unhealthy; no second opinion: us-9: late", ClassNone}, "eu-1", false}},
		"nobody is asked":                   {"eu:u", "", func(o *Opinion) { o.None = "too many wait" }, Decision{Judgement{check.Unhealthy, "eu-1: unhealthy; no second opinion: too many wait", ClassNone}, "eu-1", false}},
		"the observer is ill":               {"eu:u", "us:h", func(o *Opinion) { o.Suspects[0].Ill = "gateway" }, Decision{Judgement{check.Degraded, "only from eu-1, which is ill (gateway): eu-1: unhealthy; healthy from us-9", ClassObserver}, "eu-1", false}},
		"an ill observer that is confirmed": {"eu:u", "us:d", func(o *Opinion) { o.Suspects[0].Ill = "gateway" }, Decision{Judgement{check.Unhealthy, "eu-1: unhealthy; confirmed by us-9", ClassTarget}, "eu-1, us-9", false}},
		"it waits": {"eu:u", "", func(o *Opinion) { o.State = OpinionAsked }, Decision{
			Judgement{check.Healthy, "suspect: eu-1: unhealthy; others are asked until " + epoch.Add(2*time.Second).UTC().Format("15:04:05"), ClassNone}, "", true,
		}},
	} {
		all := seats(tc.places)
		o := opinionOf(all, tc.answers)
		if tc.change != nil {
			tc.change(o)
		}
		if diff := cmp.Diff(tc.want, Decide(check.Policy{}, all, o, epoch)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// An opinion is about those who said so then: when a place of another domain says so
// too, it is nothing any more, and the target is down on their own word.
func TestAnOpinionIsAboutItsSuspects(t *testing.T) {
	t.Parallel()
	before, now := seats("eu:u us:h"), seats("eu:uu us:u")
	o := opinionOf(before, "ap:h")
	if got := Decide(check.Policy{}, seats("eu:uu us:h"), o, epoch); got.Class != ClassPath {
		t.Errorf("another of the same region: %+v", got)
	}
	if got := Decide(check.Policy{}, now, o, epoch); got.Class != ClassTarget || got.Status != check.Unhealthy {
		t.Errorf("one of another region: %+v", got)
	}
}

// Whatever others say, what is well stays well, and nothing is worse than its places say.
func TestOpinionsNeverMakeAVerdictWorse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := seats(places.Draw(t, "places"))
		o := opinionOf(all, strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{"us:h", "us:u", "ap:d", "ap:-late"})).Draw(t, "answers"), " "))
		o.State = rapid.SampledFrom([]OpinionState{OpinionHeld, OpinionAsked, OpinionDecided}).Draw(t, "state")
		p := check.Policy{Quorum: quorums.Draw(t, "quorum")}
		plain, decided := Judge(p, all, epoch), Decide(p, all, o, epoch)
		if plain.Status == check.Healthy && decided.Status != check.Healthy || check.Worst(plain.Status, decided.Status) != plain.Status {
			t.Errorf("%+v became %+v", plain, decided)
		}
		if bad(decided.Status) && decided.Class == ClassTarget && decided.Word == "" {
			t.Errorf("on nobody's word: %+v", decided)
		}
	})
}

// That others were asked once more and nobody answered, say because the core had just
// started, makes nothing of what they said before untrue; it wears out with time.
func TestAskedAgainInVainTheLastWordHolds(t *testing.T) {
	t.Parallel()
	said := func(ago time.Duration) *Opinion {
		o := opinionOf(seats("eu:u"), "us:h")
		at, decided := epoch.Add(-ago), epoch
		o.Answers[0].ReceivedAt = &at
		o.Earlier, o.Answers, o.DecidedAt = o.Answers, []Answer{{SatelliteID: "us-9", Satellite: "us-9", Domain: "us", Void: "no answer in time"}}, &decided
		return o
	}
	for name, tc := range map[string]struct {
		opinion func() *Opinion
		want    Decision
	}{
		"a minute ago": {
			func() *Opinion { return said(time.Minute) },
			Decision{Judgement{check.Degraded, "only from eu-1: eu-1: unhealthy; healthy from us-9 (at 03:03:05; since then: us-9: no answer in time)", ClassPath}, "eu-1", false},
		},
		"long ago": {
			func() *Opinion { return said(time.Hour) },
			Decision{Judgement{check.Unhealthy, "eu-1: unhealthy; no second opinion: us-9: no answer in time", ClassNone}, "eu-1", false},
		},
		"and somebody answers": {
			func() *Opinion {
				o := said(time.Minute)
				o.Answers = append(o.Answers, Answer{SatelliteID: "ap-9", Satellite: "ap-9", Domain: "ap", Status: check.Unhealthy})
				return o
			},
			Decision{Judgement{check.Unhealthy, "eu-1: unhealthy; confirmed by ap-9", ClassTarget}, "eu-1, ap-9", false},
		},
	} {
		if diff := cmp.Diff(tc.want, Decide(check.Policy{}, seats("eu:u"), tc.opinion(), epoch)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
