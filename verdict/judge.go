package verdict

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

// staleAfter is how many intervals may pass without a result, besides
// staleGrace, before a location no longer counts as measured.
const (
	staleAfter = 3
	staleGrace = 30 * time.Second
)

// Seat is a place from which a check is made, and what is known from there.
type Seat struct {
	SatelliteID string         `json:"satelliteId"`
	Satellite   string         `json:"satellite"`
	Region      string         `json:"region"`
	Online      bool           `json:"online"`
	Interval    check.Duration `json:"interval"`
	// State is null before the first run. The fields below it are of the newest run.
	State     *State `json:"state"`
	RunID     string `json:"runId,omitempty"`
	LatencyMs *int64 `json:"latencyMs,omitempty"`
	Message   string `json:"message,omitempty"`
	// Paused: a maintenance keeps it from being measured.
	Paused bool `json:"paused,omitempty"`
	// DueSince is until when a maintenance kept it from being measured; its last result
	// is taken to be no older. Before its first result, it is also since when it is to be
	// measured by its assignment as it is. Zero for always.
	DueSince time.Time `json:"dueSince,omitzero"`
	// Blind is the newest run that says nothing; null when there was none.
	Blind *Blind `json:"blind"`
	// Refused is why the satellite leaves the check out, as it has told; empty when it
	// has not.
	Refused string `json:"refused,omitempty"`
}

// Blind is a run that says nothing about its system, because the satellite was ill.
type Blind struct {
	ExecutedAt time.Time `json:"executedAt"` // not after ReceivedAt
	ReceivedAt time.Time `json:"receivedAt"`
	Reason     string    `json:"reason"`
}

// IsBlind reports whether the newest that was heard of the seat is a run that says
// nothing, within the time in which a result would be fresh. What was measured before it
// still counts while it is fresh itself.
func (s *Seat) IsBlind(now time.Time) bool {
	b := s.Blind
	return b != nil && s.Online && (s.State == nil || b.ExecutedAt.After(s.State.ExecutedAt)) && now.Sub(b.ReceivedAt) <= s.patience()
}

// expected reports whether the seat's first result may still be under way.
func (s *Seat) expected(now time.Time) bool {
	return s.State == nil && s.Online && s.Refused == "" && now.Sub(s.DueSince) <= s.patience()
}

// Fresh reports whether the seat says something about now: its satellite is
// online and has not told that it leaves the check out, a result came within a few
// intervals, and it is not an old one that is delivered late.
func (s *Seat) Fresh(now time.Time) bool {
	return s.State != nil && s.Online && s.Refused == "" && now.Sub(s.lastHeard()) <= s.patience() && !s.CatchesUp()
}

func (s *Seat) lastHeard() time.Time {
	if s.DueSince.After(s.State.ReceivedAt) {
		return s.DueSince
	}
	return s.State.ReceivedAt
}

func (s *Seat) patience() time.Duration {
	return staleAfter*time.Duration(s.Interval) + staleGrace
}

// CatchesUp reports whether the newest result is an old one: it came far later
// than it was executed, and the lag is not the one that the run before had. (Where
// it is the same each time, the satellite's clock is behind, and the result is not.)
func (s *Seat) CatchesUp() bool {
	if s.State == nil {
		return false
	}
	lag := s.State.lag()
	before := time.Duration(s.State.Before.LagMs) * time.Millisecond
	return lag > s.patience() && (lag-before).Abs() > time.Duration(s.Interval)/2
}

// Judgement is what a check's seats say together.
type Judgement struct {
	Status check.Status `json:"status"`
	// Reason is for people: who says what, and how many of how many.
	Reason string `json:"reason"`
	// Class says where the fault lies, as far as this can be told from here.
	Class Class `json:"class"`
}

// Judge gives the verdict on one check of one system in one environment, from its
// seats, by the policy. Only seats that are fresh have a voice. When none has, a
// check that was measured before is degraded (its last light must not stay on, spec
// M11), and one that never was is unknown, with the reason of a satellite that leaves it out; as is one that is paused everywhere. Who was
// just assigned has the time in which a result is fresh for the first one.
func Judge(p check.Policy, seats []Seat, now time.Time) Judgement {
	if len(seats) == 0 {
		return Judgement{check.Unknown, "no satellite is assigned", ClassNone}
	}
	if !slices.ContainsFunc(seats, func(s Seat) bool { return !s.Paused }) {
		return Judgement{check.Unknown, "in maintenance: it is not measured", ClassNone}
	}
	p = p.WithDefaults()
	var votes, blind, waiting, expected, catching, measured, online, refused []*Seat
	for i := range seats {
		s := &seats[i]
		switch {
		case s.Fresh(now) && s.State.Status != check.Unknown:
			votes = append(votes, s)
		case s.IsBlind(now):
			blind = append(blind, s)
		case s.Fresh(now):
			waiting = append(waiting, s)
		case s.expected(now):
			expected = append(expected, s)
		case s.Online && s.CatchesUp():
			catching = append(catching, s)
		}
		if s.State != nil {
			measured = append(measured, s)
		}
		if s.Online {
			online = append(online, s)
		}
		if s.Online && s.Refused != "" {
			refused = append(refused, s)
		}
	}
	switch {
	case len(votes) > 0:
		return quorum(p, votes, len(seats))
	case len(blind) > 0:
		return Judgement{check.Unknown, "observer ill: " + blind[0].Satellite + ": " + blind[0].Blind.Reason, ClassObserver}
	case len(waiting) > 0:
		return Judgement{check.Unknown, waiting[0].Satellite + ": failing, and not often enough yet to count", ClassNone}
	case len(measured) == 0 && len(online) == 0:
		return Judgement{check.Unknown, "waiting: no assigned satellite is online yet", ClassNone}
	case len(expected) == 0 && len(refused) > 0:
		status := check.Unknown
		if len(measured) > 0 {
			status = check.Degraded
		}
		return Judgement{status, "not measured: " + refusals(refused), ClassNone}
	case len(measured) == 0 || len(expected) > 0:
		return Judgement{check.Unknown, "waiting for the first result", ClassNone}
	case len(online) == 0:
		return Judgement{check.Degraded, "not measured: " + allOf(len(seats)) + " offline", ClassNone}
	case len(catching) > 0:
		return Judgement{check.Degraded, "not measured: " + catching[0].Satellite + " is still delivering old results", ClassNone}
	default:
		return Judgement{check.Degraded, "not measured: the satellite is online and sends no results", ClassNone}
	}
}

// refusals are the words of who leaves the check out: of the first that once measured it,
// and how many more there are.
func refusals(seats []*Seat) string {
	voice := seats[max(0, slices.IndexFunc(seats, func(s *Seat) bool { return s.State != nil }))]
	reason := voice.Satellite + ": " + voice.Refused
	if more := len(seats) - 1; more > 0 {
		reason += fmt.Sprintf(" (and %d more)", more)
	}
	return reason
}

func allOf(n int) string {
	if n == 1 {
		return "the only assigned satellite is"
	}
	return fmt.Sprintf("all %d assigned satellites are", n)
}

// quorum puts votes together; there is at least one.
func quorum(p check.Policy, votes []*Seat, seats int) Judgement {
	t := tallyOf(p.Quorum, votes)
	status := check.Healthy
	switch {
	case t.agree(check.Unhealthy):
		status = check.Unhealthy
	case t.agree(check.Degraded):
		status = check.Degraded
	case t.tooFew():
		status = check.Degraded
	}
	voice := speaker(votes, status)
	reason := voice.Satellite + ": " + cmp.Or(voice.Message, string(voice.State.Status))
	if voice.State.Flapping {
		recent := last(voice.State.Recent, p.Flap.Window)
		reason = fmt.Sprintf("%s: flapping: %s in its last %d results", voice.Satellite, quantity(changes(recent), "change"), len(recent))
	}
	if seats > 1 || t.rule() != "" {
		reason += " (" + t.words(seats) + ")"
	}
	return Judgement{status, reason, ClassNone}
}

// speaker is whose word a verdict is told by: the first whose status it is, else
// the first of the worst.
func speaker(votes []*Seat, status check.Status) *Seat {
	worst := votes[0]
	for _, v := range votes {
		if v.State.Status == status {
			return v
		}
		if check.Worst(worst.State.Status, v.State.Status) != worst.State.Status {
			worst = v
		}
	}
	return worst
}

// tally is votes counted by a quorum: of one group, or of one for each region.
type tally struct {
	q      check.Quorum
	groups []group
}

type group struct {
	name                  string
	votes, bad, unhealthy int // bad are degraded and unhealthy
}

func tallyOf(q check.Quorum, votes []*Seat) tally {
	byName := map[string]*group{}
	for _, v := range votes {
		name := ""
		if q.Kind == check.QuorumRegions {
			name = v.Region
		}
		g := byName[name]
		if g == nil {
			g = &group{name: name}
			byName[name] = g
		}
		g.votes++
		if v.State.Status != check.Healthy {
			g.bad++
		}
		if v.State.Status == check.Unhealthy {
			g.unhealthy++
		}
	}
	t := tally{q: q}
	for _, g := range byName {
		t.groups = append(t.groups, *g)
	}
	slices.SortFunc(t.groups, func(a, b group) int { return cmp.Compare(a.name, b.name) })
	return t
}

// needed is how many votes of a group must agree.
func (t tally) needed(g group) int {
	switch t.q.Kind {
	case check.QuorumAll:
		return g.votes
	case check.QuorumCount:
		return t.q.Count
	case check.QuorumShare, check.QuorumRegions:
		if t.q.Share == 0 {
			return g.votes/2 + 1
		}
		return max(1, (g.votes*t.q.Share+99)/100)
	default: // worst, any
		return 1
	}
}

// count is how many votes of a group are so bad, or worse.
func (g group) count(status check.Status) int {
	if status == check.Unhealthy {
		return g.unhealthy
	}
	return g.bad
}

// agreeing is how many groups are so bad, or worse.
func (t tally) agreeing(status check.Status) int {
	n := 0
	for _, g := range t.groups {
		if g.count(status) >= t.needed(g) {
			n++
		}
	}
	return n
}

// groupsNeeded is how many groups must agree.
func (t tally) groupsNeeded() int {
	if t.q.Kind == check.QuorumRegions {
		return t.q.Count
	}
	return 1
}

func (t tally) agree(status check.Status) bool { return t.agreeing(status) >= t.groupsNeeded() }

// tooFew: something is wrong, all who have a voice say so, and they are fewer than
// must agree. Neither red nor green would be true then.
func (t tally) tooFew() bool {
	if t.q.Kind == check.QuorumRegions {
		return len(t.groups) < t.groupsNeeded() && t.agreeing(check.Degraded) == len(t.groups)
	}
	g := t.groups[0]
	return g.votes < t.needed(g) && g.bad == g.votes
}

// rule is what must agree, in words; "" when one voice is enough.
func (t tally) rule() string {
	switch t.q.Kind {
	case check.QuorumAll:
		return "all must agree"
	case check.QuorumCount, check.QuorumShare:
		return fmt.Sprintf("%d must agree", t.needed(t.groups[0]))
	case check.QuorumRegions:
		return fmt.Sprintf("%s must agree", quantity(t.groupsNeeded(), "region"))
	default:
		return ""
	}
}

// words are the arithmetic: "2 of 3 places say unhealthy, 1 degraded; 2 must agree".
func (t tally) words(seats int) string {
	var votes, bad, unhealthy int
	for _, g := range t.groups {
		votes, bad, unhealthy = votes+g.votes, bad+g.bad, unhealthy+g.unhealthy
	}
	places := quantity(votes, "place")
	var text string
	switch degraded := bad - unhealthy; {
	case bad == 0:
		text = fmt.Sprintf("%d of %s %s healthy", votes, places, says(votes))
	case unhealthy == 0:
		text = fmt.Sprintf("%d of %s %s degraded", degraded, places, says(degraded))
	case degraded == 0:
		text = fmt.Sprintf("%d of %s %s unhealthy", unhealthy, places, says(unhealthy))
	default:
		text = fmt.Sprintf("%d of %s %s unhealthy, %d degraded", unhealthy, places, says(unhealthy), degraded)
	}
	if t.q.Kind == check.QuorumRegions && bad > 0 {
		lead := ": "
		for _, g := range t.groups {
			text += fmt.Sprintf("%s%d of %d in %s", lead, g.bad, g.votes, cmp.Or(g.name, "no region"))
			lead = ", "
		}
	}
	if rule := t.rule(); rule != "" {
		text += "; " + rule
	}
	if silent := seats - votes; silent > 0 {
		text += fmt.Sprintf("; %d not counted", silent)
	}
	return text
}

func quantity(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func says(n int) string {
	if n == 1 {
		return "says"
	}
	return "say"
}
