package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/store"
)

// automations lets a core find events that nobody has decided, and measures how long it
// takes until the last of them is dealt with: when no filter lets one through, and when
// each is a run with one action.
func automations(ctx context.Context, s settings, binary, engine string) (figures []figure, err error) {
	for _, kind := range []struct{ what, filter string }{
		{"events decided, none of which starts a run", "trigger.payload.last"},
		{"events through engine and runner, each a run with its journal", "true"},
	} {
		n := s.events
		if kind.filter == "true" {
			n /= 10
		}
		progress("%s: automations: %d %s", engine, n, kind.what)
		c, err := startCoreOn(ctx, binary, engine, func(database string) error { return edges(ctx, database, n, kind.filter) })
		if err != nil {
			return figures, err
		}
		cpu, database, begun := c.cpu(), c.databaseCPU(), time.Now()
		err = c.automated(ctx)
		took, used, usedThere := time.Since(begun), c.cpu()-cpu, c.databaseCPU()-database
		if err = errors.Join(err, c.stop()); err != nil {
			return figures, err
		}
		each := func(d time.Duration) float64 { return d.Seconds() * 1e6 / float64(n) }
		note := fmt.Sprintf("%d events, %.0f µs of core CPU each", n, each(used))
		if usedThere > 0 {
			note += fmt.Sprintf(" and %.0f µs of the database's", each(usedThere))
		}
		figures = append(figures, figure{what: kind.what, reached: float64(n) / took.Seconds(), unit: "/s", bar: 100, note: note})
	}
	return figures, nil
}

// automated waits until the run of the last event has ended, and no other goes on.
func (c *core) automated(ctx context.Context) error {
	for deadline := time.Now().Add(10 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var last struct{ Items []struct{ Status string } }
		if err := c.call(ctx, http.MethodGet, "/api/v1/automation-runs?limit=1&automation=last", nil, &last); err != nil {
			return err
		}
		if len(last.Items) == 0 || last.Items[0].Status != "success" {
			continue
		}
		var going struct{ Items []struct{} }
		if err := c.call(ctx, http.MethodGet, "/api/v1/automation-runs?limit=1&status=running", nil, &going); err != nil {
			return err
		}
		if len(going.Items) == 0 {
			return nil
		}
	}
	return errors.New("automations did not come to an end in ten minutes")
}

// quiet is the bell of a database that nobody else has open.
type quiet struct{}

func (quiet) Ring(string) {}

// edges writes n events about as many satellites, and two automations: one for all of
// them, and one for the last.
func edges(ctx context.Context, database string, n int, filter string) (err error) {
	db, err := store.Open(ctx, database, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	type line struct {
		Message string `json:"message"`
		Level   string `json:"level,omitempty"`
	}
	log := automation.NewAction("log", "", func(context.Context, automation.Request, line) (any, error) { return nil, nil })
	service := automation.NewService(db, entity.NewRecorder(db, quiet{}), automation.NewRegistry(log))
	for name, filter := range map[string]string{"all": filter, "last": "trigger.payload.last"} {
		_, err := service.Create(ctx, entity.System, automation.Input{Name: name, Definition: json.RawMessage(fmt.Sprintf(`{
			"mode": "single", "concurrency_scope": "context",
			"triggers": [{"event": "satellite.disconnected", "filter": %q}],
			"actions": [{"action": "log", "config": {"message": "${{ trigger.payload.name }} is gone", "level": "debug"}}]}`, filter))})
		if err != nil {
			return err
		}
	}
	for from := 0; from < n; from += 1000 {
		err := entity.InTx(ctx, entity.NewRecorder(db, quiet{}), func(tx automation.Tx) error {
			now, err := tx.Now(ctx)
			if err != nil {
				return err
			}
			var events []entity.Event
			for i := from; i < min(from+1000, n); i++ {
				events = append(events, entity.Event{
					Type: "satellite.disconnected", Kind: "satellite-connection", EntityID: uuid.NewString(), ChangeID: uuid.NewString(), Changed: []string{"status"},
					Prev: json.RawMessage(`{"status":"online"}`), Next: json.RawMessage(`{"status":"offline"}`),
					Payload: json.RawMessage(fmt.Sprintf(`{"name":"satellite-%d","region":"eu","last":%t}`, i, i == n-1)), Actor: entity.System, At: now,
				})
			}
			return tx.AppendEvents(ctx, events)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
