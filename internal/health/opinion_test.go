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
			SatelliteID: name, Satellite: name, Region: region, Online: true, Tags: map[string]string{"rack": name},
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
