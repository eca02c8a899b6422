package health

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/verdict"
)

// KindCheck is the entity kind of the verdict on a check of a system. Its id is
// SYSTEM/CHECK or SYSTEM/CHECK/ENVIRONMENT. (The original has none: its
// healthcheck.check_failed comes of every run that fails, see TypeCheckFailed.)
const KindCheck = "check-health"

// judgedKey is what a verdict is on.
type judgedKey struct{ systemID, checkID, environmentID string }

func (k judgedKey) String() string {
	return strings.TrimSuffix(k.systemID+"/"+k.checkID+"/"+k.environmentID, "/")
}

func keyOf(v *verdict.Verdict) judgedKey { return judgedKey{v.SystemID, v.CheckID, v.EnvironmentID} }

func (v *EnvironmentVerdict) key() judgedKey {
	return judgedKey{v.SystemID, v.CheckID, v.EnvironmentID}
}

// flips are the differences of what is judged and the stored verdicts that hold.
type flips struct {
	judged  []EnvironmentVerdict // with a status, or a class, that is new
	holding map[judgedKey]verdict.Verdict
	told    map[judgedKey]check.Status // what automations are told of those
	end     []string                   // ids of what holds no more
	gone    []judgedKey
	late    []verdict.Verdict // of what holds on, and is told only now
}

func (f *flips) none() bool { return len(f.judged)+len(f.end)+len(f.late) == 0 }

// compareVerdicts finds the flips of systems all of whose verdicts are given. A
// check that has never been measured has no verdict yet; one that has no seats any
// more has none from then on. Of checks in maintenance nothing is told, and of those
// of the systems to hold no failure.
func compareVerdicts(judged []CheckVerdict, holding []verdict.Verdict, hold map[string]bool) flips {
	f := flips{holding: make(map[judgedKey]verdict.Verdict, len(holding)), told: map[judgedKey]check.Status{}}
	for i := range holding {
		f.holding[keyOf(&holding[i])] = holding[i]
	}
	seated := make(map[judgedKey]bool, len(judged))
	for v, maintenance := range apart(judged) {
		seated[v.key()] = true
		held, ok := f.holding[v.key()]
		tell := v.Status
		if maintenance || hold[v.SystemID] && bad(v.Status) {
			tell = held.Told
		}
		switch {
		case !ok && v.Status == check.Unknown:
			continue
		case ok && held.Status == v.Status && !sharper(held.Class, v.Class):
			if held.Told != tell {
				f.told[v.key()] = tell
				f.late = append(f.late, held)
			}
			continue
		}
		f.told[v.key()] = tell
		f.judged = append(f.judged, *v)
		if ok {
			f.end = append(f.end, held.ID)
		}
	}
	for i := range holding {
		if key := keyOf(&holding[i]); !seated[key] {
			f.end, f.gone = append(f.end, holding[i].ID), append(f.gone, key)
		}
	}
	return f
}

// sharper reports whether more is known now of where the fault lies: then the verdict is
// another, though its status is not. That less is known, since an answer has grown old
// or a place has fallen silent, is none.
func sharper(held, now verdict.Class) bool {
	return now != held && now != verdict.ClassNone
}

// apart goes through the verdicts of all environments, with whether they are in
// maintenance.
func apart(judged []CheckVerdict) iter.Seq2[*EnvironmentVerdict, bool] {
	return func(yield func(*EnvironmentVerdict, bool) bool) {
		for i := range judged {
			for k := range judged[i].Environments {
				if !yield(&judged[i].Environments[k], judged[i].Maintenance) {
					return
				}
			}
		}
	}
}

// begin gives the new verdicts with what they rest on, and what has changed.
func (f *flips) begin(now time.Time) ([]verdict.Judged, []entity.Change, error) {
	var begin []verdict.Judged
	var changes []entity.Change
	for i := range f.judged {
		v := &f.judged[i]
		id, err := uuid.NewV7()
		if err != nil {
			return nil, nil, fmt.Errorf("naming a verdict: %w", err)
		}
		next := verdict.Judged{
			Verdict: verdict.Verdict{
				ID: id.String(), SystemID: v.SystemID, CheckID: v.CheckID, EnvironmentID: v.EnvironmentID,
				Status: v.Status, Reason: v.Reason, Class: v.Class, Word: v.Word, At: now, Told: f.told[v.key()],
			},
			Evidence: v.evidence(),
		}
		begin = append(begin, next)
		change := entity.Change{Kind: KindCheck, ID: v.key().String(), Next: verdictState(&next.Verdict)}
		if held, ok := f.holding[v.key()]; ok {
			change.Prev = verdictState(&held)
		}
		changes = append(changes, change)
	}
	for i := range f.late {
		held := &f.late[i]
		now := *held
		now.Told = f.told[keyOf(held)]
		changes = append(changes, entity.Change{Kind: KindCheck, ID: keyOf(held).String(), Prev: verdictState(held), Next: verdictState(&now)})
	}
	for _, key := range f.gone {
		held := f.holding[key]
		changes = append(changes, entity.Change{Kind: KindCheck, ID: key.String(), Prev: verdictState(&held)})
	}
	return begin, changes, nil
}

// tell are the ids of verdicts that hold on, by what is told of them now.
func (f *flips) tell() map[check.Status][]string {
	told := map[check.Status][]string{}
	for i := range f.late {
		status := f.told[keyOf(&f.late[i])]
		told[status] = append(told[status], f.late[i].ID)
	}
	return told
}

// evidence is what the verdict rests on, its runs not filled in: they are rows that
// do not change, and are read when somebody asks (WithRuns).
func (v *EnvironmentVerdict) evidence() verdict.Evidence {
	first := &v.Seats[0]
	return verdict.Evidence{
		At: v.At, System: verdict.Named{ID: v.SystemID}, Check: verdict.Named{ID: v.CheckID, Name: v.Check},
		Assignment: first.Assignment, Environment: verdict.Named{ID: v.EnvironmentID, Name: v.Environment},
		Policy: first.Policy, Applied: first.Policy.WithDefaults(), Seats: places(v.Seats), Opinion: first.Opinion, Runs: []verdict.Run{},
	}
}

// WithRuns fills in the runs that evidence rests on: the newest of its places that
// had been received when it was judged, as many as the policy looks at, and not more
// than maxEvidenceRuns. Those that are no longer kept are missing.
func WithRuns(ctx context.Context, store interface {
	Runs(ctx context.Context, f RunFilter, p fleet.Page) ([]Run, string, error)
}, j *verdict.Judged,
) error {
	v, e := &j.Verdict, &j.Evidence
	e.Runs = []verdict.Run{}
	places := map[string]int{} // how many are still wanted
	var from, to time.Time
	each := max(e.Policy.Outcomes(), minEvidenceRuns)
	for i := range e.Seats {
		s := &e.Seats[i]
		if s.State == nil {
			continue
		}
		places[s.SatelliteID] = each
		span := time.Duration(each+2) * max(time.Duration(s.Interval), time.Second)
		if first := s.State.ExecutedAt.Add(-span); from.IsZero() || first.Before(from) {
			from = first
		}
		if s.State.ReceivedAt.After(to) {
			to = s.State.ReceivedAt
		}
	}
	page := fleet.Page{Limit: 1000}
	filter := RunFilter{SystemID: v.SystemID, CheckID: v.CheckID, From: from, To: to.Add(time.Millisecond), Plain: true}
	for read := 0; len(places) > 0 && read < maxEvidenceRuns; {
		runs, next, err := store.Runs(ctx, filter, page)
		if err != nil {
			return fmt.Errorf("reading the runs of a verdict: %w", err)
		}
		for i := range runs {
			r := &runs[i]
			if r.EnvironmentID != v.EnvironmentID || r.ReceivedAt.After(e.At) || places[r.SatelliteID] == 0 {
				continue
			}
			places[r.SatelliteID]--
			e.Runs = append(e.Runs, r.judged())
		}
		if read += len(runs); next == "" {
			break
		}
		page.Cursor = next
	}
	slices.Reverse(e.Runs)
	return nil
}

const (
	minEvidenceRuns = 10
	// maxEvidenceRuns bounds how many rows are looked at for one verdict.
	maxEvidenceRuns = 10_000
)

// verdictState is the entity state of a check's verdict.
func verdictState(v *verdict.Verdict) entity.State {
	return entity.State{
		"status": string(v.Status), "systemId": v.SystemID, "checkId": v.CheckID, "environmentId": v.EnvironmentID,
		"verdictId": v.ID, "class": string(v.Class), "told": string(v.Told),
	}
}

// TypeCheckDegraded is told when the verdict on a check becomes worse.
const TypeCheckDegraded = "healthcheck.check_degraded"

// checkEvents: it is told when it is news, as that of a system (settle).
func checkEvents(c entity.Change) []string {
	if tell := told(c.Next); bad(tell) && tell != told(c.Prev) {
		return []string{TypeCheckDegraded}
	}
	return nil
}

func checkPayload(c entity.Change) any {
	about := c.Next
	if about == nil {
		about = c.Prev
	}
	previous := c.Prev["status"]
	if c.Next != nil && previous == c.Next["status"] { // what was held back is told now
		previous = c.Prev["told"]
	}
	return map[string]any{
		"systemId": about["systemId"], "systemName": c.About["systemName"], "configurationId": about["checkId"], "checkName": c.About["checkName"],
		"environmentId": about["environmentId"], "previousStatus": previous, "status": c.Next["status"], "timestamp": c.At,
		"verdictId": about["verdictId"], "class": about["class"],
	}
}
