package health

import (
	"context"
	"time"

	"github.com/perigee-monitoring/perigee/check"
)

// Inconclusive in RunFilter.Status is runs that say nothing. It is no status of a run,
// which keeps what it measured.
const Inconclusive check.Status = "inconclusive"

// Blind is the newest run of a location that says nothing about its system, because the
// satellite was ill.
type Blind struct {
	LocationKey
	ExecutedAt time.Time // not after ReceivedAt
	ReceivedAt time.Time
	Reason     string
}

// IsBlind reports whether the newest that was heard of the seat is a run that says
// nothing, within the time in which a result would be fresh. What was measured before it
// still counts while it is fresh itself.
func (s *Seat) IsBlind(now time.Time) bool {
	b := s.Blind
	return b != nil && s.Online && (s.Location == nil || b.ExecutedAt.After(s.Location.ExecutedAt)) &&
		now.Sub(b.ReceivedAt) <= staleAfter*time.Duration(s.Interval)+staleGrace
}

// observerIll is the reason of a verdict on what nobody could see.
func (s *Seat) observerIll() string {
	return "observer ill: " + s.SatelliteName + ": " + s.Blind.Reason
}

// noteBlind keeps of each location the newest run that says nothing. Such a run steps
// no location.
func noteBlind(ctx context.Context, tx Tx, runs []Run, fresh map[string]bool) error {
	newest := map[LocationKey]Blind{}
	for _, r := range runs {
		if !fresh[r.RunID] || r.Guest || r.Inconclusive == "" {
			continue
		}
		key := LocationKey{SystemID: r.SystemID, CheckID: r.CheckID, SatelliteID: r.SatelliteID, EnvironmentID: r.EnvironmentID}
		if at := effective(r); newest[key].ExecutedAt.Before(at) {
			newest[key] = Blind{LocationKey: key, ExecutedAt: at, ReceivedAt: r.ReceivedAt, Reason: r.Inconclusive}
		}
	}
	if len(newest) == 0 {
		return nil
	}
	rows := make([]Blind, 0, len(newest))
	for _, b := range newest {
		rows = append(rows, b)
	}
	return tx.PutBlind(ctx, rows)
}
