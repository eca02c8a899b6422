package server_test

import (
	"fmt"
	"testing"

	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/internal/pgtest"
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

	database := pgtest.URL(t)
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
