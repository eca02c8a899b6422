package health

import (
	"context"
	"time"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/verdict"
)

// Inconclusive in RunFilter.Status is runs that say nothing. It is no status of a run,
// which keeps what it measured.
const Inconclusive check.Status = "inconclusive"

// Blind is the newest run of a location that says nothing about its system, because the
// satellite was ill.
type Blind struct {
	LocationKey
	verdict.Blind
}

// IsBlind reports whether the newest that was heard of the seat is a run that says
// nothing.
func (s *Seat) IsBlind(now time.Time) bool {
	place := s.Place()
	return place.IsBlind(now)
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
		if at := r.effective(); newest[key].ExecutedAt.Before(at) {
			newest[key] = Blind{key, verdict.Blind{ExecutedAt: at, ReceivedAt: r.ReceivedAt, Reason: r.Inconclusive}}
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
