package fleet

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/protocol"
)

func pulse(offset, uncertainty float64, kinds ...protocol.IllnessKind) *protocol.Pulse {
	p := &protocol.Pulse{OffsetMs: &offset, UncertaintyMs: &uncertainty, Observer: &protocol.Observer{}}
	for _, k := range kinds {
		p.Observer.Ill = append(p.Observer.Ill, protocol.Illness{Kind: k, Detail: "x"})
	}
	return p
}

// A clock at the bound is told of once: it has to go well within it before it is right
// again, and what may be an error of measurement tells nothing.
func TestClockSkewHasHysteresis(t *testing.T) {
	t.Parallel()
	var o ObserverHealth
	var got []bool
	for _, p := range []*protocol.Pulse{
		pulse(4999, 0), pulse(5400, 500), pulse(-5600, 500), pulse(4900, 0), pulse(5100, 0), pulse(2600, 0),
		{Observer: &protocol.Observer{}},
		pulse(2400, 200), pulse(2400, 0), pulse(4900, 0), pulse(300000, 1),
	} {
		o = o.step(p, 5*time.Second)
		got = append(got, o.Skewed)
	}
	if diff := cmp.Diff([]bool{false, false, true, true, true, true, true, true, false, false, true}, got); diff != "" {
		t.Errorf("skewed (-want +got):\n%s", diff)
	}
	if o.OffsetMs != 300000 {
		t.Errorf("offset %v", o.OffsetMs)
	}
}

// The satellite's own word about its clock is left out: the core judges it.
func TestObserverKeepsWhatIsNotTheClock(t *testing.T) {
	t.Parallel()
	got := ObserverHealth{}.step(pulse(0, 0, protocol.IllClock, protocol.IllGateway), time.Second)
	if got.Illness() != "gateway" || got.Same(ObserverHealth{}) || !got.Same(got) {
		t.Errorf("observer %+v", got)
	}
	if (*ObserverHealth)(nil).Illness() != "" {
		t.Error("nothing is ill of something")
	}
}

// tells runs tell over the satellites of regions until nothing changes, and gives the
// types of the events in their order.
func TestWhoIsToldOf(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1893553445000)
	ago := func(d time.Duration) *time.Time { at := now.Add(-d); return &at }
	sat := func(name string, since *time.Time, told Told) SelfObservation {
		s := SelfObservation{SatelliteID: name, Name: name, Region: "eu", Online: true, IllSince: since, Told: told}
		if since != nil {
			s.Observer.Ill = []protocol.Illness{{Kind: protocol.IllResolver}}
		}
		return s
	}
	offline := sat("c", ago(time.Hour), "")
	offline.Online = false
	for name, c := range map[string]struct {
		rows      []SelfObservation
		observers int
		ill       bool // the region was told of
		want      []string
		told      map[string]Told
		region    []ObservedRegion
	}{
		"not for long enough": {rows: []SelfObservation{sat("a", ago(9*time.Second), "")}, observers: 1},
		"one of one": {
			rows: []SelfObservation{sat("a", ago(10*time.Second), "")}, observers: 1,
			want: []string{"satellite.ill"}, told: map[string]Told{"a": ToldBySatellite},
		},
		"two of four": {
			rows: []SelfObservation{sat("a", ago(10*time.Second), ""), sat("b", ago(10*time.Second), "")}, observers: 4,
			want: []string{"satellite.ill", "satellite.ill"}, told: map[string]Told{"a": ToldBySatellite, "b": ToldBySatellite},
		},
		"three of four, one of them just now": {
			rows: []SelfObservation{sat("a", ago(10*time.Second), ""), sat("b", ago(time.Second), ""), sat("d", ago(time.Hour), ToldBySatellite)}, observers: 4,
			want: []string{"region.ill"}, told: map[string]Told{"a": ToldByRegion, "b": ToldByRegion}, region: []ObservedRegion{{Region: "eu", Ill: true}},
		},
		"one more in an ill region": {
			rows: []SelfObservation{sat("a", ago(time.Hour), ToldByRegion), sat("b", ago(0), "")}, observers: 9, ill: true,
			told: map[string]Told{"b": ToldByRegion},
		},
		"one less in an ill region": {
			rows: []SelfObservation{sat("a", ago(time.Hour), ToldByRegion), sat("b", nil, ToldByRegion)}, observers: 2, ill: true,
			told: map[string]Told{"b": ""},
		},
		"the last of an ill region": {
			rows: []SelfObservation{sat("b", nil, ToldByRegion)}, observers: 2, ill: true,
			want: []string{"region.well"}, told: map[string]Told{"b": ""}, region: []ObservedRegion{{Region: "eu"}},
		},
		"the region is well, and one is ill again": {
			rows: []SelfObservation{sat("a", nil, ToldByRegion), sat("b", ago(time.Minute), "")}, observers: 2, ill: true,
			want: []string{"region.well", "satellite.ill"}, told: map[string]Told{"a": "", "b": ToldBySatellite}, region: []ObservedRegion{{Region: "eu"}},
		},
		"well again": {
			rows: []SelfObservation{sat("a", nil, ToldBySatellite)}, observers: 1,
			want: []string{"satellite.well"}, told: map[string]Told{"a": ""},
		},
		"one that nobody hears": {rows: []SelfObservation{offline}, observers: 2},
	} {
		put, turned, changes := tell(c.rows, []ObservedRegion{{Region: "eu", Observers: c.observers, Ill: c.ill}}, now)
		var events []string
		for _, change := range changes {
			for _, d := range observerDerivers() {
				if d.Kind == change.Kind {
					events = append(events, d.Types(change)...)
				}
			}
		}
		told := map[string]Told{}
		for _, s := range put {
			told[s.SatelliteID] = s.Told
		}
		if c.told == nil {
			c.told = map[string]Told{}
		}
		if diff := cmp.Diff([]any{c.want, c.told, c.region}, []any{events, told, turned}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
