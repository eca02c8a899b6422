package automation_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/bus"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/entity"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// Who reads a run when its bell rings, and at no other time, sees it begin and end, and
// hears when it is cancelled.
func TestRunsTellThatTheyGoOn(t *testing.T) {
	t.Parallel()
	dbtest.OnBoth(t, func(t *testing.T, url string) {
		db := open(t, url)
		bell := &bus.Local{}
		recorder := entity.NewRecorder(db, bell)
		o := &outside{done: map[string]int{}}
		service := automation.NewService(db, recorder, o.actions())
		events, endEvents := bell.Subscribe(entity.TopicEvents)
		defer endEvents()
		c := &core{service: service}
		runner := automation.NewRunner(db, recorder, o.actions(), slog.New(slog.DiscardHandler), events)
		ended := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { ended <- runner.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}()
		rings, end := bell.Subscribe(automation.TopicRuns)
		defer end()
		await := func(a automation.Automation, want automation.RunStatus) automation.Run {
			t.Helper()
			for {
				select {
				case <-rings:
				case <-t.Context().Done():
					t.Fatal(t.Context().Err())
				}
				runs, _, err := service.Runs(t.Context(), a.ID, "", fleet.Page{Limit: 10})
				if err != nil {
					t.Fatal(err)
				}
				if len(runs) == 1 && runs[0].Status == want {
					return runs[0]
				}
			}
		}
		a := create(t, c, "does", `{"triggers": [{"event": "satellite.disconnected"}], "actions": [{"action": "repeatable", "config": {"text": "x"}}]}`)
		happen(t, db, "satellite.disconnected", "s", "offline")
		bell.Ring(entity.TopicEvents)
		await(a, automation.RunSuccess)

		b := create(t, c, "waits", `{"triggers": [{"event": "satellite.connected"}], "actions": [{"delay": {"hours": 1}}]}`)
		happen(t, db, "satellite.connected", "s", "online")
		bell.Ring(entity.TopicEvents)
		run := await(b, automation.RunWaiting)
		if _, err := service.Cancel(t.Context(), entity.System, run.ID); err != nil {
			t.Fatal(err)
		}
		await(b, automation.RunCancelled)
	})
}
