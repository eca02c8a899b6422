package fleet

import (
	"context"
	"time"

	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/protocol"
)

// KindConnection is the entity kind of a satellite's connection (spec C.3), and
// KindSatellite that of its record.
const (
	KindConnection = "satellite-connection"
	KindSatellite  = "satellite"
	// KindCore is the cores themselves; TypeBlind says that none was observing.
	KindCore  = "core"
	TypeBlind = "core.blind"
)

// Derivers are what changes of fleet's kinds mean to automations (spec C.4).
func Derivers() []entity.Deriver {
	return append(observerDerivers(), []entity.Deriver{
		{Kind: KindConnection, Types: connectionEvents, Payload: connectionPayload},
		{Kind: KindSatellite, Types: satelliteEvents, Payload: satellitePayload},
		{Kind: KindCore, Types: func(entity.Change) []string { return []string{TypeBlind} }, Payload: func(c entity.Change) any { return c.Next }},
	}...)
}

// connectionEvents looks at the next edge alone; a tombstone or an unknown edge
// means nothing (spec C.4, L 4-8).
func connectionEvents(c entity.Change) []string {
	switch edge, _ := c.Next["lastEvent"].(string); Edge(edge) {
	case Connected:
		return []string{"satellite.connected"}
	case Disconnected:
		return []string{"satellite.disconnected"}
	case HeartbeatLost:
		return []string{"satellite.heartbeat_lost"}
	}
	return nil
}

// connectionPayload is the payload of the three edge triggers (spec C.4).
func connectionPayload(c entity.Change) any {
	payload := map[string]any{"satelliteId": c.ID, "lastSeenAt": c.Next["lastSeenAt"]}
	for _, field := range []string{"name", "region", "status"} {
		if s, ok := c.Next[field].(string); ok {
			payload[field] = s
		}
	}
	return payload
}

// satellitePayload says which satellite, and what of its token when that is the
// change.
func satellitePayload(c entity.Change) any {
	state := c.Next
	if state == nil {
		state = c.Prev
	}
	payload := map[string]any{"satelliteId": c.ID, "name": state["name"], "region": state["region"]}
	for _, field := range []string{"tokenExpiresAt", "previousTokenValidUntil", "tokenExpiring", "duplicateUntil", "remotes"} {
		if v, said := state[field]; said {
			payload[field] = v
		}
	}
	return payload
}

func satelliteEvents(c entity.Change) []string {
	switch {
	case c.Prev == nil:
		return []string{"satellite.created"}
	case c.Next == nil:
		return []string{"satellite.removed"}
	case c.Next["tokenRotatedAt"] != nil:
		return []string{"satellite.token_rotated"}
	case c.Next["previousTokenRevokedAt"] != nil:
		return []string{"satellite.previous_token_revoked"}
	case c.Next["tokenExpiring"] != nil:
		return []string{"satellite.token_expiring"}
	case c.Next["duplicateUntil"] != nil:
		return []string{"satellite.duplicate_identity"}
	case c.Prev["cordoned"] != c.Next["cordoned"] || c.Prev["draining"] != c.Next["draining"]:
		switch {
		case c.Next["draining"] == true:
			return []string{"satellite.draining"}
		case c.Next["cordoned"] == true:
			return []string{"satellite.cordoned"}
		}
		return []string{"satellite.uncordoned"}
	default:
		return []string{"satellite.updated"}
	}
}

// StatusAt computes whether a satellite heard last at lastHeartbeat is online at
// now (spec C.1): inclusive at the threshold, a time in the future is online.
func StatusAt(lastHeartbeat *time.Time, thresholdMs *int64, now time.Time) Status {
	if lastHeartbeat == nil || now.Sub(*lastHeartbeat) > Threshold(thresholdMs) {
		return Offline
	}
	return Online
}

// Threshold is the satellite's own, or the default when unset or not positive.
func Threshold(ms *int64) time.Duration {
	if ms == nil || *ms <= 0 {
		return protocol.OfflineThreshold
	}
	return time.Duration(*ms) * time.Millisecond
}

// State is the connection's entity state at now (spec C.3); nil when never connected.
func (c *Connection) State(now time.Time) entity.State {
	if c.LastEvent == "" {
		return nil
	}
	state := entity.State{
		"status":     string(StatusAt(c.LastHeartbeatAt, c.ThresholdMs, now)),
		"name":       c.Name,
		"region":     c.Region,
		"lastSeenAt": nil,
		"lastEvent":  string(c.LastEvent),
	}
	if c.LastHeartbeatAt != nil {
		state["lastSeenAt"] = c.LastHeartbeatAt.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	return state
}

// edge is one wish to alter a connection, gathered with others into one commit.
type edge struct {
	satelliteID string
	want        Edge
	// epoch of the session that ends or recovers; of the new session after opening.
	epoch int64
	open  bool
	core  string // that opens it
	// credential is the number of the token that opens a session.
	credential int64
	err        error // of this edge alone
}

// step applies the edge to the row and reports whether that changed anything. It
// is the whole edge machine:
//
//	open                    any state → connected, epoch + 1
//	close of this epoch     connected → disconnected; after heartbeat_lost nothing,
//	                        because the loss has been told already (M47)
//	beat of this epoch      heartbeat_lost → connected (M43)
//	anything of an older epoch changes nothing (M14, M16)
//	open beside a live one  nothing while the satellite has a duplicate identity
func (e *edge) step(row *Connection, now time.Time) bool {
	if e.open && row.heldOff(now) {
		e.err = errHeldOff()
		return false
	}
	if e.open {
		row.Epoch++
		e.epoch = row.Epoch
		row.LastEvent, row.LastHeartbeatAt = Connected, &now
		row.Credential, row.Opened, row.Core = e.credential, true, e.core
		return true
	}
	if e.epoch != row.Epoch {
		return false
	}
	switch {
	case e.want == Disconnected && row.LastEvent == Connected:
		row.LastEvent, row.LastHeartbeatAt = Disconnected, nil
		return true
	case e.want == Connected && row.LastEvent == HeartbeatLost:
		row.LastEvent, row.LastHeartbeatAt = Connected, &now
		return true
	}
	return false
}

// commitEdges records a batch of edges in one transaction.
func (f *Fleet) commitEdges(ctx context.Context, edges []*edge) error {
	ids := make([]string, 0, len(edges))
	for _, e := range edges {
		ids = append(ids, e.satelliteID)
	}
	return entity.Record(ctx, f.recorder, func(tx Tx) ([]entity.Change, error) {
		rows, err := tx.LockConnections(ctx, ids)
		if err != nil {
			return nil, err
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return nil, err
		}
		var changes []entity.Change
		dirty := map[string]Connection{}
		for _, e := range edges {
			e.err = nil // the transaction may be run again
			row, ok := rows[e.satelliteID]
			if !ok {
				e.err = fault.New(fault.NotFound, "satellite %s does not exist", e.satelliteID)
				continue
			}
			blip := f.quiet && e.open && row.LastEvent == Connected
			prev := row.State(now)
			if row.LastEvent == HeartbeatLost {
				// The heartbeat that brings it back is in the row already; what was known until
				// now is offline, and history would lack the change of status (M48).
				prev["status"] = string(Offline)
			}
			if !e.step(&row, now) {
				continue
			}
			rows[e.satelliteID], dirty[e.satelliteID] = row, row
			if !blip {
				changes = append(changes, entity.Change{Kind: KindConnection, ID: row.SatelliteID, Prev: prev, Next: row.State(now)})
			}
		}
		return changes, tx.WriteConnections(ctx, sortedConnections(dirty))
	})
}

// Open records that the satellite is connected, by which of its tokens, and
// returns the epoch of its new session. It returns once the edge is durable. Faults:
// NotFound; Conflict while another process is connected with the same credentials.
func (f *Fleet) Open(ctx context.Context, satelliteID string, credential int64) (int64, error) {
	e := &edge{satelliteID: satelliteID, open: true, core: f.core, credential: credential}
	if err := f.edges.Do(ctx, e); err != nil {
		return 0, err
	}
	return e.epoch, e.err
}

// Close records that the session of the epoch has ended, unless a newer one exists.
func (f *Fleet) Close(ctx context.Context, satelliteID string, epoch int64) error {
	f.forgetBeat(satelliteID, epoch)
	e := &edge{satelliteID: satelliteID, want: Disconnected, epoch: epoch}
	if err := f.edges.Do(ctx, e); err != nil {
		return err
	}
	if fault.Is(e.err, fault.NotFound) {
		return nil // deleted meanwhile: its removal has been told
	}
	return e.err
}
