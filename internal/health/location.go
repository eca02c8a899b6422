package health

import (
	"time"

	"github.com/perigee-monitoring/perigee/verdict"
)

// step takes a run in by the rules of the location's policy and reports whether it
// is the newest. A late result changes history only.
func (l *Location) step(r Run) bool {
	state, moved := verdict.Step(l.Policy, l.State, r.judged())
	if moved {
		l.State, l.RunID, l.LatencyMs, l.Message = state, r.RunID, r.LatencyMs, r.Message
	}
	return moved
}

// lagChange is by how much a location's lag must change to bear on its voice: see
// verdict.Seat.CatchesUp.
const lagChange = 30 * time.Second

// speaksAnew: the newest result is no old one any more, or has become one, and the
// verdict may differ though the status does not.
func (l *Location) speaksAnew(before *Location) bool {
	lag, was := l.ReceivedAt.Sub(l.ExecutedAt), before.ReceivedAt.Sub(before.ExecutedAt)
	return (lag - was).Abs() > lagChange
}

// judged is the run as far as verdicts depend on it.
func (r *Run) judged() verdict.Run {
	return verdict.Run{
		RunID: r.RunID, SatelliteID: r.SatelliteID, EnvironmentID: r.EnvironmentID, Status: r.Status, LatencyMs: r.LatencyMs,
		Slot: r.Slot, ExecutedAt: r.ExecutedAt, ReceivedAt: r.ReceivedAt, Revision: r.Revision, Message: r.Message,
		Inconclusive: r.Inconclusive, ClockOffsetMs: r.ClockOffsetMs, ClockUncertaintyMs: r.ClockUncertaintyMs,
	}
}

// effective is the executed time, but not after the time of receipt: see verdict.Step.
func (r *Run) effective() time.Time {
	if r.ExecutedAt.After(r.ReceivedAt) {
		return r.ReceivedAt
	}
	return r.ExecutedAt
}
