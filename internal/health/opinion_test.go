package health

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/protocol"
	"github.com/perigee-monitoring/perigee/verdict"
)

// opinionRows takes opinions as the store would.
type opinionRows struct {
	OpinionTx
	put  []CheckOpinion
	drop []string
}

func (r *opinionRows) PutOpinions(_ context.Context, rows []CheckOpinion) error {
	r.put = append(r.put, rows...)
	return nil
}

func (r *opinionRows) DropOpinions(_ context.Context, ids []string) error {
	r.drop = append(r.drop, ids...)
	return nil
}

// asking is the service among satellites "eu-1 us-1 …"; the region stands before the dash.
func asking(names ...string) *Opinions {
	o := NewOpinions(nil, nil, nil, slog.New(slog.DiscardHandler), nil)
	var places []fleet.RunPlace
	for _, name := range names {
		region, _, _ := strings.Cut(name, "-")
		places = append(places, fleet.RunPlace{
			SatelliteID: name, Satellite: name, Region: region, Online: true, Connected: true, Tags: map[string]string{"rack": name},
			Inventory: &protocol.Inventory{Features: protocol.Features()},
		})
	}
	o.places.Store(&places)
	return o
}

// failingSeats are checks of one system that all fail at one satellite.
func failingSeats(n int, at string, now time.Time) []Seat {
	region, _, _ := strings.Cut(at, "-")
	seats := make([]Seat, n)
	for i := range seats {
		key := LocationKey{SystemID: "shop", CheckID: fmt.Sprint("check-", i), SatelliteID: at}
		seats[i] = Seat{
			LocationKey: key, SatelliteName: at, Region: region, Online: true, Interval: check.Duration(time.Minute),
			Location: &Location{LocationKey: key, State: verdict.State{Status: check.Unhealthy, Since: now, ExecutedAt: now, ReceivedAt: now}},
		}
	}
	return seats
}

func wasHealthy(*Seat) verdict.Judgement { return verdict.Judgement{Status: check.Healthy} }

// When the way out of a region breaks, everything there fails at once. So many verdicts
// wait and no more; the others change at once and say why nobody was asked.
func TestABurstOfSuspectsIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Now()
	o, rows := asking("eu-1", "us-1"), &opinionRows{}
	seats := failingSeats(1000, "eu-1", now)
	if err := o.hold(t.Context(), rows, seats, wasHealthy, now); err != nil {
		t.Fatal(err)
	}
	got := map[verdict.OpinionState]int{}
	for _, r := range rows.put {
		got[r.State]++
	}
	if diff := cmp.Diff(map[verdict.OpinionState]int{verdict.OpinionHeld: opinionsAtOnce, verdict.OpinionDecided: 1000 - opinionsAtOnce}, got); diff != "" {
		t.Errorf("opinions (-want +got):\n%s", diff)
	}
	_, judged := JudgeSystem("shop", seats, now)
	counts := map[string]int{}
	for _, v := range judged {
		reason := "waits"
		if strings.Contains(v.Reason, "no second opinion: more than 256 verdicts wait for one") {
			reason = "says why not"
		}
		counts[string(v.Status)+" "+reason]++
	}
	if diff := cmp.Diff(map[string]int{"healthy waits": opinionsAtOnce, "unhealthy says why not": 1000 - opinionsAtOnce}, counts); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
}

// Who may be asked: others of another domain that know how, are well, and whose
// operator does not forbid it.
func TestWhoMayBeAsked(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, tc := range map[string]struct {
		names  []string
		policy check.Policy
		change func(p []fleet.RunPlace)
		was    check.Status
		want   bool
	}{
		"another region":         {names: []string{"eu-1", "us-1"}, want: true},
		"the same region":        {names: []string{"eu-1", "eu-2"}},
		"another rack":           {names: []string{"eu-1", "eu-2"}, policy: check.Policy{SecondOpinion: check.SecondOpinion{Domain: "rack"}}, want: true},
		"a label nobody has":     {names: []string{"eu-1", "us-1"}, policy: check.Policy{SecondOpinion: check.SecondOpinion{Domain: "row"}}},
		"the policy is off":      {names: []string{"eu-1", "us-1"}, policy: check.Policy{SecondOpinion: check.SecondOpinion{Off: true}}},
		"offline":                {names: []string{"eu-1", "us-1"}, change: func(p []fleet.RunPlace) { p[1].Online = false }},
		"ill":                    {names: []string{"eu-1", "us-1"}, change: func(p []fleet.RunPlace) { p[1].Ill = true }},
		"cordoned":               {names: []string{"eu-1", "us-1"}, change: func(p []fleet.RunPlace) { p[1].Cordoned = true }},
		"forbidden":              {names: []string{"eu-1", "us-1"}, change: func(p []fleet.RunPlace) { p[1].Tags["opinion"] = "never" }},
		"an old program":         {names: []string{"eu-1", "us-1"}, change: func(p []fleet.RunPlace) { p[1].Inventory.Features = nil }},
		"the built-in one":       {names: []string{"eu-1", "us-1"}, change: func(p []fleet.RunPlace) { p[1].Satellite = "local" }},
		"it is unhealthy anyway": {names: []string{"eu-1", "us-1"}, was: check.Unhealthy},
		"it was degraded":        {names: []string{"eu-1", "us-1"}, was: check.Degraded, want: true},
		"it was never measured":  {names: []string{"eu-1", "us-1"}, was: check.Unknown, want: true},
	} {
		o, rows := asking(tc.names...), &opinionRows{}
		if tc.change != nil {
			tc.change(*o.places.Load())
		}
		seats := failingSeats(1, "eu-1", now)
		seats[0].Policy = tc.policy
		was := verdict.Judgement{Status: check.Healthy}
		if tc.was != "" {
			was.Status = tc.was
		}
		if err := o.hold(t.Context(), rows, seats, func(*Seat) verdict.Judgement { return was }, now); err != nil {
			t.Fatal(err)
		}
		if got := len(rows.put) == 1; got != tc.want {
			t.Errorf("%s: the verdict waits: %t, want %t", name, got, tc.want)
		}
	}
}

// A core has just started, and others are online by their last heartbeat and not
// connected yet: the verdict waits for them, and nobody is asked in vain.
func TestWhoIsOnTheWayBackIsWaitedFor(t *testing.T) {
	t.Parallel()
	now := time.Now()
	held := func(o *Opinions) *CheckOpinion {
		rows := &opinionRows{}
		if err := o.hold(t.Context(), rows, failingSeats(1, "eu-1", now), wasHealthy, now); err != nil {
			t.Fatal(err)
		}
		if len(rows.put) != 1 {
			t.Fatalf("%d verdicts wait", len(rows.put))
		}
		return &rows.put[0]
	}
	o := asking("eu-1", "us-1", "ap-1")
	o.store = noSeats{}
	usual := held(o).Deadline
	unknown := asking()
	unknown.places.Store(nil) // it has not been looked yet
	if at := held(unknown).Deadline; at.Sub(usual) != returnWait {
		t.Errorf("before the first look it waits until %v, otherwise %v", at, usual)
	}
	places := *o.places.Load()
	places[1].Connected, places[2].Connected = false, false
	waiting := held(o)
	if waiting.Deadline.Sub(usual) != returnWait {
		t.Errorf("with nobody connected it waits until %v, otherwise %v", waiting.Deadline, usual)
	}
	if err := o.ask(t.Context(), waiting, false); err != nil { // else there is nobody to order from
		t.Error(err)
	}
	places[2].Connected = true
	chosen, _ := o.choose(t.Context(), waiting)
	if len(chosen) != 1 || chosen[0].SatelliteID != "ap-1" {
		t.Errorf("asked are %+v, want the one that is connected", chosen)
	}
}

// noSeats runs nothing anywhere.
type noSeats struct{ OpinionStore }

func (noSeats) Seats(context.Context, []string) ([]Seat, error) { return nil, nil }

// An opinion is kept while those whose word it is about are only not heard of: what
// others said counts when they are back.
func TestAnOpinionOutlivesSilence(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for ago, want := range map[time.Duration]bool{5 * time.Minute: true, 20 * time.Minute: false} {
		for _, online := range []bool{true, false} {
			o, rows := asking("eu-1", "us-1"), &opinionRows{}
			seats := failingSeats(1, "eu-1", now.Add(-ago))
			seats[0].Online = online
			seats[0].Opinion = &verdict.Opinion{ID: "said", State: verdict.OpinionDecided, Domain: "region", Suspects: []verdict.Suspect{{SatelliteID: "eu-1", Domain: "eu"}}}
			if err := o.hold(t.Context(), rows, seats, wasHealthy, now); err != nil {
				t.Fatal(err)
			}
			if kept := len(rows.drop) == 0; kept != want || len(rows.put) > 0 {
				t.Errorf("silent for %v, online %t: kept %t, want %t; new are %+v", ago, online, kept, want, rows.put)
			}
		}
	}
}

// locking is a database in which a shop depends on a network; it notes what is locked.
type locking struct {
	Tx
	locked [][]string
}

func (l *locking) InTx(_ context.Context, fn func(entity.Tx) error) error { return fn(l) }
func (l *locking) Now(context.Context) (time.Time, error)                 { return time.Now(), nil }
func (l *locking) Dependencies(context.Context) (Dependencies, error) {
	return Dependencies{"a shop": {"network"}}, nil
}

func (l *locking) LockSystems(_ context.Context, ids []string) (map[string]SystemHealth, error) {
	l.locked = append(l.locked, ids)
	return nil, nil
}
func (l *locking) Seats(context.Context, []string) ([]Seat, error) { return nil, nil }
func (l *locking) DropOpinions(context.Context, []string) error    { return nil }
func (l *locking) Ring(string)                                     {}

// Systems are locked in one order everywhere: who decides locks those that depend on the
// system together with it, and not after it.
func TestADecisionLocksInOrder(t *testing.T) {
	t.Parallel()
	db := &locking{}
	o := NewOpinions(nil, entity.NewRecorder(db, db), nil, slog.New(slog.DiscardHandler), nil)
	o.places.Store(&[]fleet.RunPlace{})
	op := CheckOpinion{SystemID: "network"}
	if err := o.decide(t.Context(), &op); err != nil {
		t.Fatal(err)
	}
	if err := o.reopen(t.Context(), &op, time.Now()); err != nil {
		t.Fatal(err)
	}
	both := []string{"a shop", "network"}
	if diff := cmp.Diff([][]string{both, both}, db.locked); diff != "" {
		t.Errorf("locked (-want +got):\n%s", diff)
	}
}
