package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/internal/entity"
	fleetpkg "github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/store"
)

// silence connects some satellites to a core whose records hold a large fleet, lets
// them fall silent, and measures by the database's clock how long after its deadline
// each is recorded as lost.
func silence(ctx context.Context, s settings, binary, engine string) (figures []figure, err error) {
	const silent = 500
	progress("%s: silence: writing %d records", engine, s.records)
	c, err := startCoreOn(ctx, binary, engine, func(database string) error { return populate(ctx, database, s.records) })
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	f, err := enroll(ctx, c, silent)
	if err != nil {
		return nil, err
	}
	defer f.disconnect()
	for _, sat := range f.satellites {
		if err := c.call(ctx, http.MethodPatch, "/api/v1/satellites/"+sat.id, map[string]any{"offlineThresholdMs": threshold.Milliseconds()}, nil); err != nil {
			return nil, err
		}
	}
	if err := f.connect(ctx, s); err != nil {
		return nil, err
	}
	heard, err := lastHeard(ctx, c)
	if err != nil {
		return nil, err
	}
	progress("%s: silence: waiting for %d of %d to be missed", engine, silent, s.records)
	cpu, began := c.cpu(), time.Now()
	late, err := losses(ctx, c, heard)
	if err != nil {
		return nil, err
	}
	slices.Sort(late)
	return []figure{{
		what: "silent satellite → heartbeat_lost, after its threshold, p99", reached: ms(late[len(late)*99/100]), unit: "ms", bar: 2000, goal: 1000, less: true,
		note: fmt.Sprintf("%d records, %d silent, p50 %.0f ms; %.1f %% of a core while it watched", s.records+silent, silent, ms(late[len(late)/2]),
			100*(c.cpu()-cpu).Seconds()/time.Since(began).Seconds()),
	}}, nil
}

// threshold of the satellites that fall silent: the least there is.
const threshold = fleetpkg.MinThreshold

// populate writes n satellites that are connected and have a day to be silent.
func populate(ctx context.Context, database string, n int) (err error) {
	db, err := store.Open(ctx, database, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	day := fleetpkg.MaxThreshold.Milliseconds()
	for from := 0; from < n; from += 5000 {
		err := db.InTx(ctx, func(tx entity.Tx) error {
			writer := tx.(*store.Tx)
			now, err := tx.Now(ctx)
			if err != nil {
				return err
			}
			var rows []fleetpkg.Connection
			for i := from; i < min(from+5000, n); i++ {
				s := fleetpkg.Satellite{ID: uuid.Must(uuid.NewV7()).String(), Name: fmt.Sprintf("record-%06d", i), Region: "elsewhere", OfflineThresholdMs: &day}
				_, hash := fleetpkg.NewToken()
				if err := writer.InsertSatellite(ctx, s, hash); err != nil {
					return err
				}
				rows = append(rows, fleetpkg.Connection{SatelliteID: s.ID, Epoch: 1, LastHeartbeatAt: &now, LastEvent: fleetpkg.Connected})
			}
			return writer.WriteConnections(ctx, rows)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// lastHeard is when each of the bench's satellites was heard last.
func lastHeard(ctx context.Context, c *core) (map[string]time.Time, error) {
	heard := map[string]time.Time{}
	for cursor := ""; ; {
		var page struct {
			Items []struct {
				ID              string     `json:"id"`
				Name            string     `json:"name"`
				LastHeartbeatAt *time.Time `json:"lastHeartbeatAt"`
			} `json:"items"`
			NextCursor *string `json:"nextCursor"`
		}
		// Names are in order, and the bench's come before the records'.
		if err := c.call(ctx, http.MethodGet, "/api/v1/satellites?limit=1000&cursor="+url.QueryEscape(cursor), nil, &page); err != nil {
			return nil, err
		}
		for _, s := range page.Items {
			if s.Name >= "record" {
				return heard, nil
			}
			if s.LastHeartbeatAt != nil {
				heard[s.ID] = *s.LastHeartbeatAt
			}
		}
		if page.NextCursor == nil || *page.NextCursor == "" {
			return heard, nil
		}
		cursor = *page.NextCursor
	}
}

// losses waits until each of the satellites is recorded as lost, and gives how long
// after its deadline that was.
func losses(ctx context.Context, c *core, heard map[string]time.Time) ([]time.Duration, error) {
	var late []time.Duration
	after := int64(0)
	for deadline := time.Now().Add(threshold + time.Minute); len(late) < len(heard); {
		var page struct {
			Items []struct {
				Seq      int64     `json:"seq"`
				Type     string    `json:"type"`
				EntityID string    `json:"entityId"`
				At       time.Time `json:"at"`
			} `json:"items"`
		}
		if err := c.call(ctx, http.MethodGet, fmt.Sprintf("/api/v1/events?limit=1000&after=%d", after), nil, &page); err != nil {
			return nil, err
		}
		for _, e := range page.Items {
			after = e.Seq
			if at, ours := heard[e.EntityID]; ours && e.Type == "satellite.heartbeat_lost" {
				late = append(late, e.At.Sub(at.Add(threshold)))
			}
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("only %d of %d silent satellites were missed", len(late), len(heard))
		}
		if len(page.Items) == 0 {
			time.Sleep(100 * time.Millisecond)
		}
	}
	return late, nil
}
