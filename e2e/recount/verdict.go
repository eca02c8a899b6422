package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/verdict"
)

// judgedOn is what verdicts are on.
type judgedOn struct{ SystemID, CheckID, EnvironmentID string }

func (l *location) judgedOn() judgedOn { return judgedOn{l.SystemID, l.CheckID, l.EnvironmentID} }

// judged is what the recount knows of the verdicts on one check.
type judged struct {
	verdicts []verdict.Judged // oldest first
	eras     []era
	runs     []run // in the order in which they were received
}

// verdicts reaches every stored verdict of the window again, and compares.
type verdicts struct {
	core  *api
	w     window
	grace time.Duration
	out   io.Writer

	by          map[judgedOn]*judged
	counts      map[string]int64
	differences int
}

func (v *verdicts) differ(format string, args ...any) {
	v.differences++
	fmt.Fprintf(v.out, format+"\n", args...)
}

// audit goes up in four steps. Each verdict must follow from its evidence. The
// evidence must be what the results say that were received by then. In between, no
// verdict may be missing: what the results say all along must be what was stored. And
// a system must have been said to be what the worst of its checks is.
func (v *verdicts) audit(ctx context.Context, eras []era) error {
	if err := v.read(ctx, eras); err != nil {
		return err
	}
	for on, j := range v.by {
		v.chain(on, j)
		for i := range j.verdicts {
			v.again(on, j, &j.verdicts[i])
		}
		v.between(on, j)
	}
	if err := v.systems(ctx); err != nil {
		return err
	}
	return v.now(ctx)
}

// read gathers the verdicts that held within the window, with their evidence, and the
// results from some time before: slots before the window end within it.
func (v *verdicts) read(ctx context.Context, eras []era) error {
	runs, err := all[run](ctx, v.core, "/results", url.Values{
		"from": {v.w.from.Add(-5 * time.Minute).Format(time.RFC3339Nano)}, "to": {v.w.to.Format(time.RFC3339Nano)},
	})
	if err != nil {
		return err
	}
	v.by, v.counts = map[judgedOn]*judged{}, map[string]int64{}
	of := func(on judgedOn) *judged {
		if v.by[on] == nil {
			v.by[on] = &judged{}
		}
		return v.by[on]
	}
	for i := range eras {
		j := of(eras[i].judgedOn())
		j.eras = append(j.eras, eras[i])
	}
	for i := range runs {
		if runs[i].Asked == "" {
			j := of(runs[i].judgedOn())
			j.runs = append(j.runs, runs[i])
		}
	}
	checks, err := all[struct {
		ID string `json:"id"`
	}](ctx, v.core, "/checks", nil)
	if err != nil {
		return err
	}
	for _, c := range checks {
		stored, err := all[verdict.Verdict](ctx, v.core, "/checks/"+c.ID+"/verdicts", nil)
		if err != nil {
			return err
		}
		for _, s := range stored {
			if s.Until != nil && s.Until.Before(v.w.from) || s.At.After(v.w.to) {
				continue
			}
			var got verdict.Judged
			if err := v.core.get(ctx, "/checks/"+c.ID+"/evidence/"+s.ID, nil, &got); err != nil {
				return fmt.Errorf("reading evidence: %w", err)
			}
			j := of(judgedOn{s.SystemID, s.CheckID, s.EnvironmentID})
			j.verdicts = append(j.verdicts, got)
		}
	}
	for _, j := range v.by {
		slices.SortStableFunc(j.verdicts, func(a, b verdict.Judged) int { return a.Verdict.At.Compare(b.Verdict.At) })
		slices.SortStableFunc(j.runs, func(a, b run) int {
			return cmp.Or(a.ReceivedAt.Compare(b.ReceivedAt), a.ExecutedAt.Compare(b.ExecutedAt))
		})
	}
	return nil
}

// chain: one verdict ends where the next begins, or there was none in between, and
// each says something new.
func (v *verdicts) chain(on judgedOn, j *judged) {
	for i := 1; i < len(j.verdicts); i++ {
		before, next := &j.verdicts[i-1].Verdict, &j.verdicts[i].Verdict
		switch {
		case before.Until == nil || before.Until.After(next.At):
			v.differ("%+v: verdicts %s and %s hold at the same time", on, before.ID, next.ID)
		case before.Until.Equal(next.At) && before.Status == next.Status && before.Class == next.Class:
			v.differ("%+v: verdict %s says what %s said before it: %s", on, next.ID, before.ID, next.Status)
		}
	}
}

// again reaches one verdict again, from its evidence and from the results.
func (v *verdicts) again(on judgedOn, j *judged, got *verdict.Judged) {
	v.counts["verdicts"]++
	v.counts["verdicts: "+string(got.Verdict.Status)]++
	if err := verdict.Verify(*got); err != nil {
		v.differ("%+v: verdict %s does not follow from its evidence: %v", on, got.Verdict.ID, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	for i := range got.Evidence.Seats {
		seat := &got.Evidence.Seats[i]
		if seat.State == nil || seat.State.ExecutedAt.Before(v.w.from) {
			continue
		}
		// What was received later than the seat's newest came after it was judged.
		places := newPlaces()
		for k := range j.runs {
			if r := &j.runs[k]; r.SatelliteID == seat.SatelliteID && !r.ReceivedAt.After(seat.State.ReceivedAt) {
				places.step(got.Evidence.Policy, r)
			}
		}
		at := places.of[seat.SatelliteID]
		if at == nil {
			if seat.State.ExecutedAt.Before(v.w.to) {
				v.differ("%+v: verdict %s: nothing was received from %s, and it has a voice", on, got.Verdict.ID, seat.Satellite)
			}
			continue
		}
		v.counts["places of verdicts"]++
		if at.runID != seat.RunID {
			v.differ("%+v: verdict %s: the newest run of %s was %s, and the evidence says %s", on, got.Verdict.ID, seat.Satellite, at.runID, seat.RunID)
		}
		n := min(len(at.state.Recent), len(seat.State.Recent))
		if mine, theirs := at.state.Recent[len(at.state.Recent)-n:], seat.State.Recent[len(seat.State.Recent)-n:]; mine != theirs {
			v.differ("%+v: verdict %s: the newest results of %s were %q, and the evidence says %q", on, got.Verdict.ID, seat.Satellite, mine, theirs)
		}
	}
}

// between judges anew at each result, from results and eras alone, and finds where a
// verdict is missing: where what was stored says something else for longer than it
// may take until a result is judged. Left out are seats that move, what is due again
// only just, and what hangs on the answers of others.
func (v *verdicts) between(on judgedOn, j *judged) {
	places := newPlaces()
	var wrong check.Status
	var since time.Time
	for i := range j.runs {
		r := &j.runs[i]
		held := j.at(r.ReceivedAt)
		policy := check.Policy{}
		if held != nil {
			policy = held.Evidence.Policy
		} else if len(j.verdicts) > 0 {
			policy = j.verdicts[0].Evidence.Policy
		}
		places.step(policy, r)
		// What these results say holds until the next one comes.
		until := v.w.to
		if i+1 < len(j.runs) {
			until = j.runs[i+1].ReceivedAt
		}
		seats, known := places.seats(policy, j.eras, r.ReceivedAt, v.grace)
		if !known {
			wrong = ""
			continue
		}
		var opinion *verdict.Opinion
		if stored := j.at(until); stored != nil {
			opinion = stored.Evidence.Opinion
		}
		should := verdict.Decide(policy, seats, opinion, r.ReceivedAt).Status
		v.counts["judged again"]++
		if said := j.statusAt(until); said == should || j.waits(until) {
			wrong = ""
			continue
		} else if should != wrong {
			wrong, since = should, r.ReceivedAt
		}
		patience := v.grace
		if !policy.SecondOpinion.Off && !j.followed(until) {
			patience += waitsAtMost + waitsBeyond
		}
		if until.Sub(since) > patience && !since.IsZero() {
			v.differ("%+v: from %s to %s the results say %s, and the verdict was %s%s", on, since.Format(time.RFC3339Nano), until.Format(time.RFC3339Nano), should, j.statusAt(until), j.reasonAt(until))
			since = time.Time{} // once is enough
		}
	}
}

// at is the verdict that held then; nil for none.
func (j *judged) at(t time.Time) *verdict.Judged {
	for i := len(j.verdicts) - 1; i >= 0; i-- {
		if one := &j.verdicts[i]; !one.Verdict.At.After(t) {
			if one.Verdict.Until != nil && !one.Verdict.Until.After(t) {
				return nil
			}
			return one
		}
	}
	return nil
}

// waits reports whether the verdict that came next had been waiting for others then. Who
// they are may not have been known, and the core that would have asked may have ended.
func (j *judged) waits(t time.Time) bool {
	for i := range j.verdicts {
		if one := &j.verdicts[i]; one.Verdict.At.After(t) {
			o := one.Evidence.Opinion
			return o != nil && !o.HeldAt.After(t) && t.Before(o.Deadline.Add(waitsBeyond))
		}
	}
	return false
}

// followed reports whether another verdict was seen to come after that time. Where none
// was, one may still have been waiting for others when the window ended.
func (j *judged) followed(t time.Time) bool {
	return slices.ContainsFunc(j.verdicts, func(one verdict.Judged) bool { return one.Verdict.At.After(t) })
}

// waitsAtMost is how long a verdict may be held for the answers of others.
const waitsAtMost = 30 * time.Second

// waitsBeyond is how much later than at its deadline a verdict that waited may come: a
// core has to be there.
const waitsBeyond = 15 * time.Second

func (j *judged) statusAt(t time.Time) check.Status {
	if held := j.at(t); held != nil {
		return held.Verdict.Status
	}
	return check.Unknown
}

// reasonAt is why the verdict that held then was what it was.
func (j *judged) reasonAt(t time.Time) string {
	if held := j.at(t); held != nil {
		return " (" + held.Verdict.Reason + ")"
	}
	return ""
}

// places are the satellites from which a check was measured, as its results make them.
type places struct{ of map[string]*place }

type place struct {
	state verdict.State
	runID string
	steps int
	blind *verdict.Blind
}

func newPlaces() *places { return &places{of: map[string]*place{}} }

func (p *places) step(policy check.Policy, r *run) {
	at := p.of[r.SatelliteID]
	if at == nil {
		at = &place{}
		p.of[r.SatelliteID] = at
	}
	if r.Inconclusive != "" {
		at.blind = &verdict.Blind{ExecutedAt: r.ExecutedAt, ReceivedAt: r.ReceivedAt, Reason: r.Inconclusive}
		return
	}
	next, moved := verdict.Step(policy, at.state, verdict.Run{
		RunID: r.RunID, SatelliteID: r.SatelliteID, Status: check.Status(r.Status), LatencyMs: r.LatencyMs,
		Slot: r.Slot, ExecutedAt: r.ExecutedAt, ReceivedAt: r.ReceivedAt,
	})
	if moved {
		at.state, at.runID = next, r.RunID
		at.steps++
	}
}

// seats are those that are due at the time. They are not known when one of them moves
// by itself, is in maintenance, or has not had enough results yet to be judged from them;
// nor when one is due only since a moment ago: that its results count again comes with no
// change of theirs, and is seen when the core looks around.
func (p *places) seats(policy check.Policy, eras []era, t time.Time, soon time.Duration) (seats []verdict.Seat, known bool) {
	for i := range eras {
		e := &eras[i]
		if e.Since.After(t) || e.Until != nil && !e.Until.After(t) {
			continue
		}
		at := p.of[e.SatelliteID]
		if e.Seat > 0 || e.State != "active" || t.Sub(e.Since) < soon || at == nil || at.steps <= policy.Outcomes() {
			return nil, false
		}
		// Whoever delivers results is online; without results it has no voice anyway.
		seats = append(seats, verdict.Seat{
			SatelliteID: e.SatelliteID, Satellite: e.SatelliteID, Online: true, Interval: check.Duration(time.Duration(e.IntervalMs) * time.Millisecond),
			State: &at.state, RunID: at.runID, Blind: at.blind,
		})
	}
	return seats, len(seats) > 0
}

// systems compares what was told of systems with the worst of their checks.
func (v *verdicts) systems(ctx context.Context) error {
	type told struct {
		at     time.Time
		status check.Status
	}
	bySystem := map[string][]told{}
	for after := int64(0); ; {
		var page struct {
			Items []struct {
				Kind     string          `json:"kind"`
				EntityID string          `json:"entityId"`
				Next     json.RawMessage `json:"next"`
				At       time.Time       `json:"at"`
			} `json:"items"`
			Next int64 `json:"next"`
		}
		query := url.Values{"limit": {"1000"}, "after": {strconv.FormatInt(after, 10)}}
		if err := v.core.get(ctx, "/events", query, &page); err != nil {
			return fmt.Errorf("reading /events: %w", err)
		}
		for _, e := range page.Items {
			var next struct {
				Status check.Status `json:"status"`
			}
			if e.Kind != "health" || len(e.Next) == 0 {
				continue
			}
			if err := json.Unmarshal(e.Next, &next); err != nil {
				return fmt.Errorf("reading the state of a system: %w", err)
			}
			// One change may be several events.
			if all := bySystem[e.EntityID]; len(all) == 0 || all[len(all)-1].status != next.Status {
				bySystem[e.EntityID] = append(all, told{e.At, next.Status})
			}
		}
		if len(page.Items) == 0 || page.Next <= after {
			break
		}
		after = page.Next
	}
	for system, all := range bySystem {
		for i, is := range all {
			until := v.w.to
			if i+1 < len(all) {
				until = all[i+1].at
			}
			if is.at.Before(v.w.from) || is.at.After(v.w.to) || i > 0 && all[i-1].status == is.status {
				continue
			}
			v.counts["changes of systems"]++
			// The verdicts of that moment were written with it; those that hold for a
			// while after are what it is said to be.
			if worst, known := v.worst(system, is.at.Add(until.Sub(is.at)/2)); known && worst != is.status && until.Sub(is.at) > v.grace {
				v.differ("system %s: from %s to %s it was said to be %s, and the worst of its checks was %s", system, is.at.Format(time.RFC3339Nano), until.Format(time.RFC3339Nano), is.status, worst)
			}
		}
	}
	return nil
}

// worst of the verdicts on a system's checks; it is not known while one that is due
// has none.
func (v *verdicts) worst(system string, t time.Time) (worst check.Status, known bool) {
	worst = check.Healthy
	for on, j := range v.by {
		if on.SystemID != system || !slices.ContainsFunc(j.eras, func(e era) bool {
			return e.State == "active" && !e.Since.After(t) && (e.Until == nil || e.Until.After(t))
		}) {
			continue
		}
		held := j.at(t)
		if held == nil {
			return "", false
		}
		worst, known = check.Worst(worst, held.Verdict.Status), true
	}
	return worst, known
}

// now compares what the core says at this moment. It judges as of now, and what is
// stored follows within seconds.
func (v *verdicts) now(ctx context.Context) error {
	type status struct {
		Status    check.Status `json:"status"`
		VerdictID *string      `json:"verdictId"`
		Suspect   bool         `json:"suspect"`
	}
	var differences []string
	for deadline := time.Now().Add(v.grace); ; {
		type system struct {
			System        string       `json:"system"`
			Status        check.Status `json:"status"`
			HealthyChecks int          `json:"healthyChecks"`
			TotalChecks   int          `json:"totalChecks"`
			Checks        []struct {
				status
				Check        string   `json:"check"`
				Environments []status `json:"environments"`
			} `json:"checks"`
		}
		var page struct {
			Items []system `json:"items"`
		}
		if err := v.core.get(ctx, "/status", nil, &page); err != nil {
			return fmt.Errorf("reading /status: %w", err)
		}
		systems := page.Items
		differences = nil
		v.counts["systems"], v.counts["checks"] = int64(len(systems)), 0
		for i := range systems {
			s := &systems[i]
			worst, healthy := check.Unknown, 0
			for k := range s.Checks {
				c := &s.Checks[k]
				v.counts["checks"]++
				if c.Status == check.Healthy {
					healthy++
				}
				if k == 0 {
					worst = c.Status
				}
				worst = check.Worst(worst, c.Status)
				each := c.Environments
				if len(each) == 0 {
					each = []status{c.status}
				}
				for _, one := range each {
					if one.VerdictID == nil && one.Status != check.Unknown && !one.Suspect {
						differences = append(differences, fmt.Sprintf("check %s of system %s is %s now, and no verdict says so", c.Check, s.System, one.Status))
					}
				}
			}
			if worst != s.Status || healthy != s.HealthyChecks || len(s.Checks) != s.TotalChecks {
				differences = append(differences, fmt.Sprintf("system %s is %s with %d of %d checks healthy now; its checks make it %s with %d of %d",
					s.System, s.Status, s.HealthyChecks, s.TotalChecks, worst, healthy, len(s.Checks)))
			}
		}
		if len(differences) == 0 || time.Now().After(deadline) {
			break
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
	for _, d := range differences {
		v.differ("%s", d)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
