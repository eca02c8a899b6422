package verdict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

// OpinionState is how far a second opinion is.
type OpinionState string

const (
	OpinionHeld    OpinionState = "held"    // the verdict waits, nobody has been asked yet
	OpinionAsked   OpinionState = "asked"   // the verdict waits for answers
	OpinionDecided OpinionState = "decided" // the answers are in, or were waited for in vain
)

// Opinion is what other places said when a verdict was about to become worse on the
// word of places that may fail together.
type Opinion struct {
	ID    string       `json:"id"`
	State OpinionState `json:"state"`
	// Before is what the verdict said, and says for as long as it waits.
	Before Judgement `json:"before"`
	// Domain is what places that may fail together have in common: "region", or a label.
	Domain string `json:"domain"`
	// Ask is how many others are asked at most.
	Ask int `json:"ask"`
	// Suspects are the places that said so first.
	Suspects []Suspect `json:"suspects"`
	HeldAt   time.Time `json:"heldAt"`
	Deadline time.Time `json:"deadline"`
	Answers  []Answer  `json:"answers"`
	// Earlier are the answers of the last time that somebody answered, when others were
	// asked anew. They count for EarlierFor where no later answer does.
	Earlier []Answer `json:"earlier,omitempty"`
	// None is why nobody was asked.
	None      string     `json:"none,omitempty"`
	DecidedAt *time.Time `json:"decidedAt,omitempty"`
	// Again is when others are asked anew while only the suspects say so; null for never.
	Again *time.Time `json:"again,omitempty"`
}

// EarlierFor is how long what others said counts after nobody answered any more: that
// nobody can be reached is news of us, not of the target.
const EarlierFor = 15 * time.Minute

// Suspect is a place whose word is doubted.
type Suspect struct {
	SatelliteID string `json:"satelliteId"`
	Satellite   string `json:"satellite"`
	Domain      string `json:"domain"` // its region, or its value of the label
	// Ill is what was wrong with it when that was decided; "" for nothing.
	Ill string `json:"ill,omitempty"`
}

// Answer is what a place said that was asked.
type Answer struct {
	SatelliteID string       `json:"satelliteId"`
	Satellite   string       `json:"satellite"`
	Domain      string       `json:"domain"`
	RunID       string       `json:"runId,omitempty"`
	Status      check.Status `json:"status,omitempty"`
	LatencyMs   *int64       `json:"latencyMs,omitempty"`
	Message     string       `json:"message,omitempty"`
	ReceivedAt  *time.Time   `json:"receivedAt,omitempty"`
	// Void is why it does not count; "" for one that does.
	Void string `json:"void,omitempty"`
}

// Decision is a judgement with on whose word it is.
type Decision struct {
	Judgement
	Word string `json:"word,omitempty"`
	// Suspect: the verdict is about to become worse and waits for others.
	Suspect bool `json:"suspect,omitempty"`
}

// Decide is Judge, and then what other places say of it; o is nil where nobody was
// asked. It is a pure function of what it is given, so that whoever has the evidence
// comes to the same.
func Decide(p check.Policy, seats []Seat, o *Opinion, now time.Time) Decision {
	d := Decision{Judgement: Judge(p, seats, now)}
	accusers := Accusers(seats, now)
	if !bad(d.Status) || len(accusers) == 0 {
		return d
	}
	d.Word = names(accusers)
	switch {
	case o != nil && o.Covers(accusers):
		return o.decide(p, d)
	case regions(accusers) > 1:
		d.Class = ClassTarget
	}
	return d
}

// Accusers are the seats that have a voice and say that something is wrong.
func Accusers(seats []Seat, now time.Time) []*Seat {
	var all []*Seat
	for i := range seats {
		if s := &seats[i]; s.Fresh(now) && bad(s.State.Status) {
			all = append(all, s)
		}
	}
	return all
}

func bad(s check.Status) bool { return s == check.Degraded || s == check.Unhealthy }

func names(seats []*Seat) string {
	all := make([]string, len(seats))
	for i, s := range seats {
		all[i] = s.Satellite
	}
	return enumerate(all)
}

// enumerate names a few, and counts the rest.
func enumerate(all []string) string {
	slices.Sort(all)
	const most = 5
	if len(all) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
	}
	return strings.Join(all, ", ")
}

func regions(seats []*Seat) int {
	seen := map[string]bool{}
	for _, s := range seats {
		seen[s.Region] = true
	}
	return len(seen)
}

// Covers reports whether the opinion is about the word of these: nobody else says so.
func (o *Opinion) Covers(accusers []*Seat) bool {
	for _, a := range accusers {
		if !slices.ContainsFunc(o.Suspects, func(s Suspect) bool {
			return s.SatelliteID == a.SatelliteID || o.Domain == "region" && s.Domain == a.Region
		}) {
			return false
		}
	}
	return true
}

// Silent reports whether a place whose word the opinion is about has only not been heard
// of for a while: it said that something is wrong when it was.
func (o *Opinion) Silent(seats []Seat, now time.Time) bool {
	for i := range seats {
		s := &seats[i]
		if s.State != nil && bad(s.State.Status) && !s.Fresh(now) && now.Sub(s.lastHeard()) <= EarlierFor && o.Covers([]*Seat{s}) {
			return true
		}
	}
	return false
}

// confirms reports whether the place finds something wrong as well, by the bounds of
// latency that the suspects are judged by.
func (a *Answer) confirms(p check.Policy) bool {
	return a.Void == "" && outcome(p.Latency, &Run{Status: a.Status, LatencyMs: a.LatencyMs}) != healthy
}

// decide is what becomes of a judgement on the word of the suspects.
func (o *Opinion) decide(p check.Policy, d Decision) Decision {
	if o.State != OpinionDecided {
		d.Reason = fmt.Sprintf("suspect: %s; others are asked until %s", d.Reason, o.Deadline.UTC().Format("15:04:05"))
		d.Status, d.Class, d.Word, d.Suspect = o.Before.Status, o.Before.Class, "", true
		return d
	}
	confirming, contradicting, void := sort(p, o.Answers)
	vain := cmp.Or(o.None, enumerate(void), "nobody answered in time")
	since := ""
	if len(confirming)+len(contradicting) == 0 {
		if earlier, at := o.earlier(); len(earlier) > 0 {
			confirming, contradicting, _ = sort(p, earlier)
			since = fmt.Sprintf(" (at %s; since then: %s)", at.UTC().Format("15:04:05"), vain)
		}
	}
	ill := o.ill()
	switch {
	case len(confirming) > 0:
		d.Class, d.Word = ClassTarget, d.Word+", "+enumerate(confirming)
		d.Reason += "; confirmed by " + enumerate(confirming) + since
	case len(contradicting) > 0 && ill != "":
		d.Class, d.Status = ClassObserver, check.Degraded
		d.Reason = fmt.Sprintf("only from %s, which is ill (%s): %s; healthy from %s", d.Word, ill, d.Reason, enumerate(contradicting)+since)
	case len(contradicting) > 0:
		d.Class, d.Status = ClassPath, check.Degraded
		d.Reason = fmt.Sprintf("only from %s: %s; healthy from %s", d.Word, d.Reason, enumerate(contradicting)+since)
	default:
		d.Reason += "; no second opinion: " + vain
	}
	return d
}

// sort parts the names of who answered by what they said.
func sort(p check.Policy, answers []Answer) (confirming, contradicting, void []string) {
	for _, a := range answers {
		switch {
		case a.Void != "":
			void = append(void, a.Satellite+": "+a.Void)
		case a.confirms(p):
			confirming = append(confirming, a.Satellite)
		default:
			contradicting = append(contradicting, a.Satellite)
		}
	}
	return confirming, contradicting, void
}

// earlier are the answers of before that still count, and when the oldest of them came.
func (o *Opinion) earlier() (all []Answer, at time.Time) {
	for _, a := range o.Earlier {
		if a.Void != "" || a.ReceivedAt == nil || o.DecidedAt == nil || o.DecidedAt.Sub(*a.ReceivedAt) > EarlierFor {
			continue
		}
		if all = append(all, a); at.IsZero() || a.ReceivedAt.Before(at) {
			at = *a.ReceivedAt
		}
	}
	return all, at
}

// Answered reports whether an answer counts.
func (o *Opinion) Answered() bool {
	return slices.ContainsFunc(o.Answers, func(a Answer) bool { return a.Void == "" })
}

// ill is what is wrong with the suspects, if something is with all of them.
func (o *Opinion) ill() string {
	all := ""
	for _, s := range o.Suspects {
		if s.Ill == "" {
			return ""
		}
		all = s.Ill
	}
	return all
}

// Confirmed reports whether, by the policy, somebody else says that something is wrong.
func (o *Opinion) Confirmed(p check.Policy) bool {
	return slices.ContainsFunc(o.Answers, func(a Answer) bool { return a.confirms(p) })
}
