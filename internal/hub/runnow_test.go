package hub_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/hub"
	"github.com/perigee-monitoring/perigee/internal/redact"
	"github.com/perigee-monitoring/perigee/internal/secret"
	"github.com/perigee-monitoring/perigee/protocol"
)

// askedRuns are given out once, each when its satellite is connected.
type askedRuns struct {
	waiting chan []fleet.RunRequest
	refused chan string // may be nil
}

func (r askedRuns) Refuse(_ context.Context, _ fleet.RunRequest, reason string) error {
	r.refused <- reason
	return nil
}

func (r askedRuns) Claim(_ context.Context, satelliteIDs []string) (claimed []fleet.RunRequest, _ error) {
	select {
	case runs := <-r.waiting:
		var left []fleet.RunRequest
		for _, run := range runs {
			if slices.Contains(satelliteIDs, run.SatelliteID) {
				claimed = append(claimed, run)
			} else {
				left = append(left, run)
			}
		}
		if len(left) > 0 {
			r.waiting <- left
		}
	default:
	}
	return claimed, nil
}

func TestAskedRunsReachSatellitesOfEitherKind(t *testing.T) {
	asked, rings := askedRuns{waiting: make(chan []fleet.RunRequest, 1)}, make(chan struct{}, 1)
	inBubble(t, func(w *world) {
		w.fleet.add("ours", pair("c"), pair("d"))
		w.fleet.add("original", pair("c"), pair("d"))
		ours, original := w.ours("ours", protocol.FeatureRun), w.original("original")
		c := pair("c")
		asked.waiting <- []fleet.RunRequest{
			{SatelliteID: "ours", Pair: c.Pair(), Slot: 1234}, {SatelliteID: "original", Pair: c.Pair(), Slot: 1235},
		}
		rings <- struct{}{}
		if diff := cmp.Diff(&protocol.RunNow{Pair: c.Pair(), Slot: 1234}, next[*protocol.RunNow](ours)); diff != "" {
			t.Errorf("ours was told (-want +got):\n%s", diff)
		}
		// An original agent runs at once what is new to it.
		var got [][]string
		for range 2 {
			var names []string
			for _, a := range next[*protocol.ConfigUpdated](original).Assignments {
				names = append(names, a.ConfigID)
			}
			got = append(got, names)
		}
		if diff := cmp.Diff([][]string{{"d"}, {"c", "d"}}, got); diff != "" {
			t.Errorf("the original was given (-want +got):\n%s", diff)
		}
	}, func(c *hub.Config) { c.RunRequests, c.Runs = asked, rings })
}

// A guest may answer for exactly the slot that it was asked for, for a while, in this
// session or the next; its secrets are given for even less long, and its result steps
// no location.
func TestAGuestMayAnswerForWhatItWasAskedAndNothingElse(t *testing.T) {
	var asked askedRuns
	var rings chan struct{}
	var leases leaseLog
	inBubble(t, func(w *world) {
		w.fleet.add("s1", pair("own"))
		w.fleet.add("old", pair("own"))
		a := w.ours("s1")
		w.ours("old", protocol.FeatureRun)
		front := pair("front")
		request := fleet.RunRequest{
			SatelliteID: "s1", Pair: front.Pair(), Slot: 1_700_000_000_000, Asked: fleet.AskedManually, Guest: true,
			Assignment: &front, Deadline: 30 * time.Second, RequestedAt: time.Now(), State: fleet.RunSent,
		}
		unable := request
		unable.SatelliteID = "old"
		asked.waiting <- []fleet.RunRequest{request, unable}
		rings <- struct{}{}
		want := &protocol.RunNow{Pair: front.Pair(), Slot: request.Slot, Assignment: &front, DeadlineMs: 30_000}
		if diff := cmp.Diff(want, next[*protocol.RunNow](a)); diff != "" {
			t.Errorf("the satellite was told (-want +got):\n%s", diff)
		}
		if why := <-asked.refused; !strings.Contains(why, "update it") {
			t.Errorf("refused with %q", why)
		}

		secrets := func() []string {
			a.send(&protocol.RequestConfigSecrets{RequestID: "r", ConfigID: "front", RunID: "x"})
			next[*protocol.ConfigSecrets](a)
			return leases.last()
		}
		if diff := cmp.Diff([]string{"front"}, secrets()); diff != "" {
			t.Errorf("secrets are bound to (-want +got):\n%s", diff)
		}
		at := func(configID string, slot int64) *protocol.Result {
			r := result(configID)
			r.Slot = slot
			return r
		}
		refused := []protocol.Refused{{Seq: 2, Reason: "this check of this system is not assigned to the satellite"}, {Seq: 3, Reason: "this check of this system is not assigned to the satellite"}}
		a.send(batch(protocol.Record{Seq: 1, Result: at("front", request.Slot)}, protocol.Record{Seq: 2, Result: at("front", request.Slot+1)},
			protocol.Record{Seq: 3, Result: at("back", request.Slot)}))
		if diff := cmp.Diff(&protocol.Ack{UpTo: 3, Refused: refused}, next[*protocol.Ack](a)); diff != "" {
			t.Errorf("ack (-want +got):\n%s", diff)
		}
		w.ingest.wantRuns(t, "front")
		if run := w.ingest.items[0].Runs[0]; run.Asked != fleet.AskedManually || !run.Guest {
			t.Errorf("the run is not marked: %+v", run)
		}

		<-time.After(time.Minute)
		if diff := cmp.Diff([]string(nil), secrets()); diff != "" {
			t.Errorf("secrets are still bound to (-want +got):\n%s", diff)
		}
		w.fleet.change("s1", func(r *record) { r.want.Asked = []fleet.RunRequest{request} })
		b := w.ours("s1")
		b.send(batch(protocol.Record{Seq: 4, Result: at("front", request.Slot)}))
		if diff := cmp.Diff(&protocol.Ack{UpTo: 4}, next[*protocol.Ack](b)); diff != "" {
			t.Errorf("ack of the next session (-want +got):\n%s", diff)
		}
		<-time.After(fleet.RunGrant)
		b.send(batch(protocol.Record{Seq: 5, Result: at("front", request.Slot)}))
		if got := next[*protocol.Ack](b); len(got.Refused) != 1 {
			t.Errorf("a very late answer is taken: %+v", got)
		}
	}, func(c *hub.Config) {
		asked, rings = askedRuns{make(chan []fleet.RunRequest, 1), make(chan string, 1)}, make(chan struct{}, 1)
		c.RunRequests, c.Runs, c.Secrets = asked, rings, &leases
	})
}

// leaseLog keeps for which guests secrets were asked.
type leaseLog struct {
	vault
	mu     sync.Mutex
	guests []string
}

func (l *leaseLog) ConfigSecrets(_ context.Context, ask secret.Ask) (map[string]string, map[string]map[string]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.guests = nil
	for _, a := range ask.Guests {
		l.guests = append(l.guests, a.ConfigID)
	}
	return nil, nil, nil
}

func (l *leaseLog) last() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.guests
}

func (l *leaseLog) TrialRedactor(context.Context, *secret.Trial) (*redact.Redactor, error) {
	return nil, nil
}
