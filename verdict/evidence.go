package verdict

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

// Verdict is one stored judgement: on one check of one system in one environment,
// from At until another took its place.
type Verdict struct {
	ID            string       `json:"id"`
	SystemID      string       `json:"systemId"`
	CheckID       string       `json:"checkId"`
	EnvironmentID string       `json:"environmentId,omitempty"`
	Status        check.Status `json:"status"`
	Reason        string       `json:"reason"`
	// Class says where the fault lies, as far as it is known, and Word on whose word.
	Class Class     `json:"class"`
	Word  string    `json:"word,omitempty"`
	At    time.Time `json:"at"`
	// Until is null in the verdict that holds now.
	Until *time.Time `json:"until"`
	// Told is the status that automations were told last, "" for none: they are told
	// nothing in maintenance, nor of what follows from another system's failure.
	Told check.Status `json:"-"`
}

// Class is where a fault lies.
type Class string

const (
	ClassNone     Class = "none"     // nothing is wrong, or nobody knows where
	ClassTarget   Class = "target"   // what is watched
	ClassPath     Class = "path"     // the way there from some places
	ClassObserver Class = "observer" // who watches
)

// Evidence is everything that a verdict rests on, as it was when it was made.
type Evidence struct {
	// At is the time of the judgement, by the core's clock.
	At         time.Time `json:"at"`
	System     Named     `json:"system"`
	Check      Named     `json:"check"`
	Assignment Named     `json:"assignment"`
	// Environment is empty where the check runs in none.
	Environment Named `json:"environment"`
	// Policy is as people wrote it; Applied is with its defaults.
	Policy  check.Policy `json:"policy"`
	Applied check.Policy `json:"applied"`
	Seats   []Seat       `json:"seats"`
	// Opinion is what other places were asked; null when nobody was.
	Opinion *Opinion `json:"opinion,omitempty"`
	// Runs are the newest of each seat that had been received by then, oldest first,
	// as far as they are still kept.
	Runs []Run `json:"runs"`
}

// Judged is a verdict with what it rests on.
type Judged struct {
	Verdict  Verdict  `json:"verdict"`
	Evidence Evidence `json:"evidence"`
}

// Named is a definition; Changed is when it was last changed, for assignments.
type Named struct {
	ID      string     `json:"id"`
	Name    string     `json:"name"`
	Changed *time.Time `json:"changed,omitempty"`
}

// Judge reaches the verdict again.
func (e *Evidence) Judge() Decision { return Decide(e.Policy, e.Seats, e.Opinion, e.At) }

// Verify says in what a verdict does not follow from its evidence: the judgement of
// the seats, the state of each seat after its newest run, and that run itself must
// all be what the rules make of them. nil is that everything follows.
func Verify(j Judged) error {
	v, e := &j.Verdict, &j.Evidence
	var wrong []error
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if got := e.Judge(); got.Status != v.Status || got.Reason != v.Reason {
		bad("the seats make it %s because %q, and the verdict says %s because %q", got.Status, got.Reason, v.Status, v.Reason)
	}
	if got := e.Judge(); got.Class != v.Class || got.Word != v.Word {
		bad("the fault follows to be of class %s on the word of %q, and the verdict says %s, %q", got.Class, got.Word, v.Class, v.Word)
	}
	if !v.At.Equal(e.At) {
		bad("the verdict is of %s and the evidence of %s", v.At, e.At)
	}
	byPlace := map[string][]Run{}
	for _, r := range e.Runs {
		if r.ReceivedAt.After(e.At) {
			bad("run %s was received after the verdict", r.RunID)
		}
		if r.Inconclusive == "" {
			byPlace[r.SatelliteID] = append(byPlace[r.SatelliteID], r)
		}
	}
	for i := range e.Seats {
		if s := &e.Seats[i]; s.State != nil {
			wrong = append(wrong, verifySeat(e.Policy, s, byPlace[s.SatelliteID])...)
		}
	}
	return errors.Join(wrong...)
}

func verifySeat(p check.Policy, s *Seat, runs []Run) []error {
	var wrong []error
	bad := func(format string, args ...any) {
		wrong = append(wrong, fmt.Errorf(s.Satellite+": "+format, args...))
	}
	// A location that was judged by rules which were changed since cannot be judged
	// again: it stands as it is until its next run.
	byThese := s.State.Policy == digest(p)
	if again := *s.State; byThese {
		if status := again.judge(p.WithDefaults()); status != s.State.Status || again.Memory != s.State.Memory {
			bad("its newest results %q make it %s, and it is said to be %s", s.State.Recent, status, s.State.Status)
		}
	}
	slices.SortStableFunc(runs, func(a, b Run) int { return cmp.Compare(a.at().UnixMicro(), b.at().UnixMicro()) })
	for i := range runs {
		r := &runs[i]
		if r.RunID != s.RunID {
			continue
		}
		if !r.at().Equal(s.State.ExecutedAt) || !r.ReceivedAt.Equal(s.State.ReceivedAt) {
			bad("run %s was executed and received at other times than its newest", r.RunID)
		}
		if letter := string(outcome(p.Latency, r)); byThese && !strings.HasSuffix(s.State.Recent, letter) {
			bad("run %s was %s, which is not the last of %q", r.RunID, r.Status, s.State.Recent)
		}
	}
	return wrong
}
