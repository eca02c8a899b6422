package server_test

import (
	"fmt"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/automation"
	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/internal/server"
	"github.com/perigee-monitoring/perigee/internal/targets"
)

// What is asked of one core reaches a satellite that another one holds (M62).
func TestM62_RunAskedOfOneCoreIsCarriedOutThroughAnother(t *testing.T) {
	t.Parallel()
	watched, err := targets.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- watched.Run(t.Context()) }()
	t.Cleanup(func() { <-served })

	database := dbtest.PostgreSQL(t)
	_, holder := start(t, server.Config{Database: database, Local: true})
	_, other := start(t, server.Config{Database: database})
	ctx := t.Context()
	eventually(t, "the satellite of the first core, seen through the second", func() error {
		var local fleet.Satellite
		if err := other.Get(ctx, "/satellites/local", nil, &local); err != nil {
			return err
		}
		if local.Status != fleet.Online {
			return fmt.Errorf("it is %s", local.Status)
		}
		return nil
	})
	if err := other.Post(ctx, "/apply", map[string]any{"documents": documents(watched)}, nil); err != nil {
		t.Fatal(err)
	}
	var asked httpapi.RunRequestView
	if err := other.Post(ctx, "/assignments/good/run", map[string]any{}, &asked); err != nil {
		t.Fatal(err)
	}
	if len(asked.Runs) != 1 || asked.Runs[0].Satellite != "local" || asked.Runs[0].Expected[0].RunID == "" {
		t.Fatalf("asked for %+v", asked)
	}
	eventually(t, "the result of the run", func() error {
		var view httpapi.RunRequestView
		if err := holder.Get(ctx, "/run-requests/"+asked.ID, nil, &view); err != nil {
			return err
		}
		if view.Runs[0].State != fleet.RunDone || view.Runs[0].Status != "healthy" {
			return fmt.Errorf("it is %+v", view.Runs[0])
		}
		return nil
	})
	if err := other.Post(ctx, "/assignments/good/run", map[string]any{"satellites": []string{"nobody"}}, nil); err == nil {
		t.Error("a run at a satellite that the assignment does not run on was taken")
	}
}

// That a run of an automation moved on one core is told at once by the stream of another
// (M69). The run waits before either begins, so that neither has moved anything by itself.
func TestM69_RunsThatMoveOnOneCoreAreToldByTheStreamOfAnother(t *testing.T) {
	t.Parallel()
	database := dbtest.PostgreSQL(t)
	var run automation.Run
	trace := func(t *testing.T, api *client.Client, want automation.RunStatus) {
		t.Helper()
		eventually(t, "a run that is "+string(want), func() error {
			var now httpapi.AutomationTrace
			if err := api.Get(t.Context(), "/automation-runs/"+run.ID, nil, &now); err != nil {
				return err
			}
			if now.Status != want {
				return fmt.Errorf("it is %s", now.Status)
			}
			return nil
		})
	}
	t.Run("before", func(t *testing.T) {
		_, api := start(t, server.Config{Database: database})
		if err := api.Post(t.Context(), "/automations", map[string]any{"name": "wait", "definition": map[string]any{
			"triggers": []any{map[string]any{"event": "automation.manual"}}, "actions": []any{map[string]any{"delay": map[string]any{"hours": 1}}},
		}}, nil); err != nil {
			t.Fatal(err)
		}
		if err := api.Post(t.Context(), "/automations/wait/run", httpapi.RunStart{}, &run); err != nil {
			t.Fatal(err)
		}
		trace(t, api, automation.RunWaiting)
	})
	_, asked := start(t, server.Config{Database: database})
	telling, other := start(t, server.Config{Database: database})
	for _, api := range []*client.Client{asked, other} {
		eventually(t, "a core that hears the other", func() error {
			var about httpapi.About
			if err := api.Get(t.Context(), "/about", nil, &about); err != nil {
				return err
			}
			if about.Bus.Kind != "postgres" || !about.Bus.Connected {
				return fmt.Errorf("its bus is %+v", about.Bus)
			}
			return nil
		})
	}
	said := listen(t, telling)
	said.heard(t, "welcome")
	if err := asked.Post(t.Context(), "/automation-runs/"+run.ID+"/cancel", nil, nil); err != nil {
		t.Fatal(err)
	}
	said.heard(t, automation.TopicRuns)
	trace(t, other, automation.RunCancelled)
}
