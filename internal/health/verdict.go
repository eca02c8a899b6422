package health

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/entity"
)

// Kind is the entity kind of a system's health (spec D.1).
const Kind = "health"

// staleAfter is how many intervals may pass without a result, besides
// staleGrace, before a location no longer counts as measured.
const (
	staleAfter = 3
	staleGrace = 30 * time.Second
)

// CheckVerdict is how one check of a system is doing, and on whose word.
type CheckVerdict struct {
	CheckID string       `json:"checkId"`
	Check   string       `json:"check"`
	Status  check.Status `json:"status"`
	Reason  string       `json:"reason"`
	// Environments are the verdicts of each, when the check runs in environments.
	Environments []EnvironmentVerdict `json:"environments,omitempty"`
	// Seats are the locations the verdict was made of.
	Seats []Seat `json:"-"`
}

// Fresh reports whether the seat says something about now: its satellite is
// online and a result came within a few intervals.
func (s *Seat) Fresh(now time.Time) bool {
	return s.Location != nil && s.Online &&
		now.Sub(s.Location.ReceivedAt) <= staleAfter*time.Duration(s.Interval)+staleGrace
}

// JudgeCheck gives the verdict on one check of one system from its seats: the
// worst of what is freshly measured. When nothing is, a check that was measured
// before is degraded (its last light must not stay on, spec M11), and one that
// never was is unknown.
func JudgeCheck(seats []Seat, now time.Time) CheckVerdict {
	v := CheckVerdict{Status: check.Unknown, Seats: seats}
	if len(seats) == 0 {
		v.Reason = "no satellite is assigned"
		return v
	}
	v.CheckID, v.Check = seats[0].CheckID, seats[0].CheckName
	measured, online, fresh := 0, 0, 0
	blind := ""
	for _, s := range seats {
		if s.Location != nil {
			measured++
		}
		if s.Online {
			online++
		}
		if s.IsBlind(now) {
			blind = s.observerIll()
		}
		if !s.Fresh(now) {
			continue
		}
		if fresh == 0 || check.Worst(v.Status, s.Location.Status) != v.Status {
			v.Status = s.Location.Status
			v.Reason = s.SatelliteName + ": " + cmp.Or(s.Location.Message, string(s.Location.Status))
		}
		fresh++
	}
	switch {
	case fresh > 0:
	case blind != "":
		v.Reason = blind
	case measured == 0 && online == 0:
		v.Reason = "waiting: no assigned satellite is online yet"
	case measured == 0:
		v.Reason = "waiting for the first result"
	case online == 0:
		v.Status, v.Reason = check.Degraded, fmt.Sprintf("not measured: %s offline", satellites(len(seats)))
	default:
		v.Status, v.Reason = check.Degraded, "not measured: the satellite is online and sends no results"
	}
	return v
}

func satellites(n int) string {
	if n == 1 {
		return "the only assigned satellite is"
	}
	return fmt.Sprintf("all %d assigned satellites are", n)
}

// JudgeSystem gives the verdict on a system, worst check wins, and the verdicts
// on its checks, ordered by name. Since is left to the caller.
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
		verdicts = append(verdicts, judgeEnvironments(of, func(of []Seat) CheckVerdict { return JudgeCheck(of, now) }))
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
	return h, verdicts
}

// state is the entity state of a verdict; nil before the first.
func (h SystemHealth) state() entity.State {
	if h.Since.IsZero() {
		return nil
	}
	return entity.State{"status": string(h.Status), "healthyChecks": h.HealthyChecks, "totalChecks": h.TotalChecks}
}

// Derivers are what changes of a system's health mean (spec D.4).
func Derivers() []entity.Deriver {
	return []entity.Deriver{{Kind: Kind, Types: events, Payload: payload}}
}

func events(c entity.Change) []string {
	prev, _ := c.Prev["status"].(string)
	next, _ := c.Next["status"].(string)
	if c.Next == nil || prev == next || prev == "" && next == string(check.Unknown) {
		return nil // also a system that begins unmeasured
	}
	types := []string{"healthcheck.system_health_changed"}
	switch check.Status(next) {
	case check.Healthy:
		types = append(types, "healthcheck.system_healthy")
	case check.Degraded, check.Unhealthy:
		types = append(types, "healthcheck.system_degraded")
	}
	return types
}

func payload(c entity.Change) any {
	return map[string]any{
		"systemId": c.ID, "previousStatus": c.Prev["status"], "newStatus": c.Next["status"],
		"healthyChecks": c.Next["healthyChecks"], "totalChecks": c.Next["totalChecks"],
	}
}
