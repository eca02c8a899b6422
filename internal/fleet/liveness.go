package fleet

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
)

const (
	// watchInterval is how often heartbeats are flushed and deadlines looked at.
	watchInterval = time.Second
	// blindAfter is how long no core may have looked before deadlines are amended.
	blindAfter = 3 * time.Second
	// CoreGone is after how long without a look a core counts as gone, and what it held
	// as not connected. leaveWithin is how long a core that stops may take to say so.
	CoreGone    = 10 * time.Second
	leaveWithin = 2 * time.Second
	// expiryInterval is how often tokens that expire soon are looked for.
	expiryInterval = time.Minute
)

// noted is a heartbeat in memory.
type noted struct {
	beat  Beat
	heard time.Time
}

// Beat notes a heartbeat. It is written with the next flush; of several the last
// one counts, so memory is bounded by the number of satellites.
func (f *Fleet) Beat(b Beat) {
	f.beatMu.Lock()
	defer f.beatMu.Unlock()
	old, ok := f.beats[b.SatelliteID]
	if ok && old.beat.Epoch > b.Epoch {
		return
	}
	if ok && old.beat.Epoch == b.Epoch {
		b.Version = cmp.Or(b.Version, old.beat.Version)
		if b.Capabilities == nil {
			b.Capabilities = old.beat.Capabilities
		}
		b.Pulse = cmp.Or(b.Pulse, old.beat.Pulse)
		b.Leases = b.Leases || old.beat.Leases
	}
	f.beats[b.SatelliteID] = noted{beat: b, heard: time.Now()}
}

func (f *Fleet) forgetBeat(satelliteID string, epoch int64) {
	f.beatMu.Lock()
	defer f.beatMu.Unlock()
	if n, ok := f.beats[satelliteID]; ok && n.beat.Epoch <= epoch {
		delete(f.beats, satelliteID)
	}
}

// watch flushes heartbeats and then looks for silent satellites, in this order,
// so that a core whose database was away writes what it heard before it judges.
func (f *Fleet) watch(ctx context.Context) error {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	var expiry time.Time
	for {
		select {
		case <-ctx.Done():
			f.leave(ctx)
			return nil
		case <-ticker.C:
		}
		failed := false
		for _, step := range []struct {
			name string
			run  func(context.Context) error
		}{{"flushing heartbeats", f.flush}, {"observing", f.observe}, {"looking for silent satellites", f.markLost}, {"telling of ill satellites", f.tellIll}} {
			if err := step.run(ctx); err != nil {
				if ctx.Err() == nil {
					f.log.Error("liveness step failed", "step", step.name, "error", err)
				}
				failed = true
				break // without the earlier step the later one would judge on old facts
			}
		}
		if !failed {
			f.looked.Store(int64(time.Since(f.born)))
		}
		if time.Since(expiry) >= expiryInterval {
			expiry = time.Now()
			if err := f.tellExpiring(ctx); err != nil && ctx.Err() == nil {
				f.log.Error("looking for tokens that expire failed", "error", err)
			}
		}
	}
}

// leave says that this core stops. If that cannot be said, the others notice.
func (f *Fleet) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveWithin)
	defer cancel()
	if err := f.note(ctx, TopicCores, func(tx Tx) error { return tx.LeaveCore(ctx, f.core) }); err != nil {
		f.log.Warn("the other cores could not be told that this one stops", "error", err)
	}
}

// Unreachable is for how long the database could not be told that satellites live.
func (f *Fleet) Unreachable() time.Duration {
	return time.Since(f.born) - time.Duration(f.looked.Load())
}

// flush writes the noted heartbeats in one transaction and records the recovery
// of satellites that had been given up.
func (f *Fleet) flush(ctx context.Context) error {
	f.beatMu.Lock()
	taken := f.beats
	f.beats = make(map[string]noted, len(taken))
	f.beatMu.Unlock()
	if len(taken) == 0 {
		return nil
	}
	now := time.Now()
	beats := make([]Beat, 0, len(taken))
	for _, n := range taken {
		n.beat.Age = now.Sub(n.heard)
		beats = append(beats, n.beat)
	}
	slices.SortFunc(beats, func(a, b Beat) int { return cmp.Compare(a.SatelliteID, b.SatelliteID) })

	var recovered []string
	var leases []Lease
	err := f.note(ctx, TopicHeard, func(tx Tx) (err error) {
		recovered, leases, err = tx.FlushBeats(ctx, beats)
		return err
	})
	if err != nil {
		f.putBack(taken)
		return err
	}
	if len(leases) > 0 {
		f.leased(leases)
	}
	var back []*edge
	for _, id := range recovered {
		back = append(back, &edge{satelliteID: id, want: Connected, epoch: taken[id].beat.Epoch})
	}
	if len(back) == 0 {
		return nil
	}
	return f.commitEdges(ctx, back)
}

// putBack keeps heartbeats that could not be written, unless newer ones came.
func (f *Fleet) putBack(taken map[string]noted) {
	f.beatMu.Lock()
	defer f.beatMu.Unlock()
	for id, n := range taken {
		if _, newer := f.beats[id]; !newer {
			f.beats[id] = n
		}
	}
}

// observe notes that this core is looking, and records it when none was for a
// while: deadlines do not run in that time, and one event says so (design 2.7).
func (f *Fleet) observe(ctx context.Context) error {
	var others bool
	err := entity.Record(ctx, f.recorder, func(tx Tx) (_ []entity.Change, err error) {
		var before Observation
		before, others, err = tx.Observe(ctx, f.core, blindAfter)
		if err != nil || before.At.IsZero() {
			return nil, err
		}
		now, err := tx.Now(ctx)
		if err != nil || now.Sub(before.At) <= blindAfter {
			return nil, err
		}
		f.log.Info("no core was observing", "from", before.At, "to", now)
		span := entity.State{
			"from": before.At.UTC().Format(time.RFC3339Nano), "to": now.UTC().Format(time.RFC3339Nano),
			"seconds": now.Sub(before.At).Seconds(),
		}
		return []entity.Change{{Kind: KindCore, ID: "observer", Prev: entity.State{}, Next: span}}, nil
	})
	if err == nil && others {
		f.bell.Ring(TopicCores)
	}
	return err
}

// markLost flips what is overdue. The look beforehand spares the writer.
func (f *Fleet) markLost(ctx context.Context) error {
	overdue, err := f.store.Overdue(ctx)
	if err != nil || !overdue {
		return err
	}
	return entity.Record(ctx, f.recorder, func(tx Tx) ([]entity.Change, error) {
		rows, err := tx.MarkLost(ctx)
		if err != nil {
			return nil, err
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return nil, err
		}
		var changes []entity.Change
		for _, row := range rows {
			// What was known until now is online; the computed status of the old row is
			// offline already, and history would lack the change of status (M48).
			before := row
			before.LastEvent = Connected
			prev := before.State(now)
			prev["status"] = string(Online)
			changes = append(changes, entity.Change{Kind: KindConnection, ID: row.SatelliteID, Prev: prev, Next: row.State(now)})
			f.log.Info("heartbeat lost", "satellite_id", row.SatelliteID, "satellite", row.Name, "last_heartbeat_at", row.LastHeartbeatAt)
		}
		return changes, nil
	})
}

func sortedConnections(rows map[string]Connection) []Connection {
	sorted := make([]Connection, 0, len(rows))
	for _, row := range rows {
		sorted = append(sorted, row)
	}
	slices.SortFunc(sorted, func(a, b Connection) int { return cmp.Compare(a.SatelliteID, b.SatelliteID) })
	return sorted
}
