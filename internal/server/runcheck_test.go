package server_test

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/dbtest"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/internal/server"
	"github.com/perigee-monitoring/perigee/internal/targets"
)

// watch runs something to be watched until the test ends.
func watch(t *testing.T) *targets.Targets {
	t.Helper()
	watched, err := targets.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- watched.Run(t.Context()) }()
	t.Cleanup(func() { <-served })
	return watched
}

// online waits until the satellites are.
func online(t *testing.T, api *client.Client, names ...string) {
	t.Helper()
	for _, name := range names {
		eventually(t, name+" to be online", func() error {
			var s fleet.Satellite
			if err := api.Get(t.Context(), "/satellites/"+name, nil, &s); err != nil {
				return err
			}
			if s.Status != fleet.Online || s.Inventory == nil {
				return fmt.Errorf("it is %s", s.Status)
			}
			return nil
		})
	}
}

// settled waits for a request as the command line does.
func settled(t *testing.T, api *client.Client, view httpapi.RunRequestView) httpapi.RunRequestView {
	t.Helper()
	eventually(t, "all answers", func() error {
		query := url.Values{"wait": {"5s"}, "over": {fmt.Sprint(view.Over())}}
		if err := api.Get(t.Context(), "/run-requests/"+view.ID, query, &view); err != nil {
			return err
		}
		if view.Over() < len(view.Runs) {
			return fmt.Errorf("only %d of %d", view.Over(), len(view.Runs))
		}
		return nil
	})
	return view
}

// A check is run where it is not assigned, through another core than the one that is
// asked; who cannot run it is named with the reason. It leaves a run that is marked,
// and no location.
func TestACheckIsRunFromAnywhere(t *testing.T) {
	t.Parallel()
	watched := watch(t)
	database := dbtest.PostgreSQL(t)
	holder, _ := start(t, server.Config{Database: database, Local: true})
	_, api := start(t, server.Config{Database: database})
	there, away := create(t, api, "eu-1"), create(t, api, "eu-2")
	run(t, holder, there)
	online(t, api, "local", "eu-1")
	if err := api.Post(t.Context(), "/apply", map[string]any{"documents": documents(watched)}, nil); err != nil {
		t.Fatal(err)
	}
	var asked httpapi.RunRequestView
	if err := api.Post(t.Context(), "/checks/bad/run", map[string]any{"satellites": []string{"eu-1", "local", "eu-2"}}, &asked); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range settled(t, api, asked).Runs {
		got[r.Satellite] = fmt.Sprintf("%s %s %t %s", r.State, r.Status, r.Guest, r.Reason)
		if r.State == fleet.RunDone && (len(r.Answers) != 1 || r.Answers[0].RunID != r.Expected[0].RunID || r.Answers[0].LatencyMs == nil) {
			t.Errorf("answers of %s: %+v", r.Satellite, r.Answers)
		}
	}
	want := map[string]string{
		"eu-1": "done unhealthy true ", "local": "done unhealthy false ", away.Satellite.Name: "refused  true it is offline",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	runs, err := client.All[health.Run](t.Context(), api, "/results", url.Values{"satellite": {"eu-1"}}, 0, nil)
	// The verdict of the local one may have had the guest asked for its opinion meanwhile.
	byAsked := map[fleet.Asked]int{}
	for _, r := range runs {
		byAsked[r.Asked]++
	}
	if err != nil || byAsked[fleet.AskedManually] != 1 || byAsked[fleet.AskedManually]+byAsked[fleet.AskedForOpinion] != len(runs) {
		t.Errorf("runs of the guest: %+v, %v", runs, err)
	}
	var view httpapi.SystemStatus
	if err := api.Get(t.Context(), "/systems/bad/status", nil, &view); err != nil {
		t.Fatal(err)
	}
	for _, l := range view.Checks[0].Locations {
		if l.Satellite != "local" {
			t.Errorf("the guest made a location: %+v", l)
		}
	}
	for body, problem := range map[string]map[string]any{
		"a satellite that does not exist": {"satellites": []string{"nobody"}},
		"another system":                  {"system": "good"},
		"an environment":                  {"environment": "prod"},
	} {
		if err := api.Post(t.Context(), "/checks/bad/run", problem, nil); err == nil {
			t.Errorf("%s was taken", body)
		}
	}
}
