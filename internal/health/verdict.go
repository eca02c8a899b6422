package health

import (
	"cmp"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/verdict"
)

// Kind is the entity kind of a system's health (spec D.1).
const Kind = "health"

// CheckVerdict is how one check of a system is doing: as the worst of the
// environments in which it runs, each of which is judged apart.
type CheckVerdict struct {
	CheckID string
	Check   string
	Status  check.Status
	Reason  string
	// Maintenance: all of its seats are in maintenance, and nobody is alarmed by it.
	Maintenance bool
	// Environments are at least one: a check that runs in none has one without id.
	Environments []EnvironmentVerdict
	// Seats are the locations of all of them.
	Seats []Seat
}

// Place is the seat as package verdict knows it.
func (s *Seat) Place() verdict.Seat {
	place := verdict.Seat{SatelliteID: s.SatelliteID, Satellite: s.SatelliteName, Region: s.Region, Online: s.Online, Interval: s.Interval, Paused: s.Paused, DueSince: s.DueSince, Refused: s.Refused}
	if l := s.Location; l != nil {
		place.State, place.RunID, place.LatencyMs, place.Message = &l.State, l.RunID, l.LatencyMs, l.Message
	} else if changed := s.Assignment.Changed; changed != nil && changed.After(place.DueSince) {
		place.DueSince = *changed
	}
	if s.Blind != nil {
		place.Blind = &s.Blind.Blind
	}
	return place
}

// Fresh reports whether the seat says something about now.
func (s *Seat) Fresh(now time.Time) bool {
	place := s.Place()
	return place.Fresh(now)
}

// JudgeSystem gives the verdict on a system, worst check wins, and the verdicts on
// its checks, ordered by name. Since is left to the caller.
func JudgeSystem(systemID string, seats []Seat, now time.Time) (SystemHealth, []CheckVerdict) {
	byCheck := map[string][]Seat{}
	for _, s := range seats {
		byCheck[s.CheckID] = append(byCheck[s.CheckID], s)
	}
	h := SystemHealth{SystemID: systemID, Status: check.Unknown, Reason: "nothing is assigned"}
	var verdicts []CheckVerdict
	for _, of := range byCheck {
		slices.SortFunc(of, func(a, b Seat) int {
			return cmp.Or(cmp.Compare(a.SatelliteName, b.SatelliteName), cmp.Compare(a.EnvironmentID, b.EnvironmentID))
		})
		verdicts = append(verdicts, JudgeCheck(of, now))
	}
	for i := range verdicts {
		verdicts[i].rest()
	}
	slices.SortFunc(verdicts, func(a, b CheckVerdict) int {
		return cmp.Or(cmp.Compare(a.Check, b.Check), cmp.Compare(a.CheckID, b.CheckID))
	})
	for i, v := range verdicts {
		h.TotalChecks++
		if v.Status == check.Healthy {
			h.HealthyChecks++
		}
		if i == 0 || check.Worst(h.Status, v.Status) != h.Status {
			h.Status, h.Reason = v.Status, v.Check+": "+v.Reason
		}
	}
	if h.Status == check.Healthy {
		h.Reason = ""
	}
	h.maintain(verdicts)
	return h, verdicts
}

// Unobserved reports whether all checks that are unwell are so because no satellite that
// carries them out is online: it is the satellites that are to be told of.
func Unobserved(verdicts []CheckVerdict) bool {
	unwell := false
	for _, v := range verdicts {
		if !bad(v.Status) {
			continue
		}
		unwell = true
		if slices.ContainsFunc(v.Seats, func(s Seat) bool { return s.Online }) {
			return false
		}
	}
	return unwell
}

// state is the entity state of a verdict; nil before the first.
func (h SystemHealth) state() entity.State {
	if h.Since.IsZero() {
		return nil
	}
	return entity.State{
		"status": string(h.Status), "healthyChecks": h.HealthyChecks, "totalChecks": h.TotalChecks,
		"told": string(h.Told), "maintenance": h.Maintenance, "suppressedBy": append([]string{}, h.Causes()...),
	}
}

// Derivers are what changes of the health of systems and checks mean (spec D.4).
func Derivers() []entity.Deriver {
	return []entity.Deriver{
		{Kind: Kind, Types: events, Payload: payload},
		{Kind: KindCheck, Types: checkEvents, Payload: checkPayload},
		runDeriver,
	}
}

// events: that the status changed is told as it is, unless the system is in
// maintenance; that it is well or unwell only when that is news (settle).
func events(c entity.Change) []string {
	if c.Next == nil {
		return nil
	}
	was, is := field(c.Prev, "status"), field(c.Next, "status")
	told, tell := told(c.Prev), told(c.Next)
	var types []string
	// A system that begins unmeasured is no news.
	if c.Next["maintenance"] != true && was != is && !(was == "" && is == check.Unknown) || told != tell && !(told == "" && tell == check.Unknown) {
		types = append(types, "healthcheck.system_health_changed")
	}
	if told == tell {
		return types
	}
	switch tell {
	case check.Healthy:
		types = append(types, "healthcheck.system_healthy")
	case check.Degraded, check.Unhealthy:
		types = append(types, "healthcheck.system_degraded")
	}
	return types
}

func field(s entity.State, name string) check.Status {
	text, _ := s[name].(string)
	return check.Status(text)
}

// told is what was told in a state; all of it, in one from before there was a difference.
func told(s entity.State) check.Status {
	if _, differs := s["told"]; differs {
		return field(s, "told")
	}
	return field(s, "status")
}

// payload: the previous status is that of the last change, or what was told of it
// when only now more is.
func payload(c entity.Change) any {
	previous := c.Prev["status"]
	if c.Next != nil && previous == c.Next["status"] && c.Prev["told"] != c.Next["told"] {
		previous = c.Prev["told"]
	}
	return map[string]any{
		"systemId": c.ID, "systemName": c.About["systemName"], "previousStatus": previous, "newStatus": c.Next["status"],
		"healthyChecks": c.Next["healthyChecks"], "totalChecks": c.Next["totalChecks"], "timestamp": c.At,
		"maintenance": c.Next["maintenance"], "suppressedBy": c.Next["suppressedBy"], "unobserved": c.About["unobserved"] == true,
	}
}
