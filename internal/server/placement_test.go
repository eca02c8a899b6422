package server_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/internal/probe"
	"github.com/perigee-monitoring/perigee/internal/satellite"
	"github.com/perigee-monitoring/perigee/internal/server"
	"github.com/perigee-monitoring/perigee/protocol"
)

// plainProber is a satellite that knows some strategies only.
type plainProber struct {
	*probe.Prober
	knows []string
}

func (p plainProber) Inventory() protocol.Inventory {
	in := protocol.Inventory{Strategies: p.knows}
	for _, id := range p.knows {
		in.Collectors = append(in.Collectors, check.Collectors(id)...)
	}
	return in
}

// Where an assignment would run is told before it is saved, and why not elsewhere; a
// satellite that a selector picks and that cannot run the check does not get it, until it
// can (spec M71).
func TestM71_PlacementIsPreviewedAndHeedsInventories(t *testing.T) {
	onBothEngines(t, func(t *testing.T, c server.Config) {
		c.Local = true
		core, api := start(t, c)
		run(t, core, create(t, api, "able"))
		made := create(t, api, "plain")
		_, stop := runWith(t, core, made, plainProber{probe.New(probe.Options{}), []string{check.TCP}})
		create(t, api, "away")
		run(t, core, create(t, api, "shut"))
		online(t, api, "local", "able", "plain", "shut")
		if err := api.Post(t.Context(), "/satellites/shut/cordon", map[string]any{}, nil); err != nil {
			t.Fatal(err)
		}
		spec := map[string]any{"strategy": check.HTTP, "interval": "1m", "collectors": []any{map[string]any{
			"id": "page", "collector": check.HTTPRequest, "config": map[string]any{"url": "http://127.0.0.1:1/"},
		}}}
		for path, in := range map[string]any{"/checks": map[string]any{"name": "page", "spec": spec}, "/systems": map[string]any{"name": "web"}} {
			if err := api.Post(t.Context(), path, in, nil); err != nil {
				t.Fatal(err)
			}
		}
		previewed := func(in map[string]any) (catalog.PlacementPreview, map[string]string) {
			t.Helper()
			var got catalog.PlacementPreview
			if err := api.Post(t.Context(), "/placement/preview", in, &got); err != nil {
				t.Fatal(err)
			}
			places := map[string]string{}
			for _, p := range got.Satellites {
				places[p.Name] = fmt.Sprintf("%s %t %d %s", p.By, p.Runs, p.Seat, p.Reason)
			}
			return got, places
		}
		everywhere := map[string]any{"selector": "name in (able, plain, away, shut)"}
		all, places := previewed(map[string]any{"check": "page", "satellites": everywhere, "includeLocal": true})
		want := map[string]string{
			"local": "includeLocal true 0 ",
			"able":  "selector true 0 ",
			"away":  "selector true 0 it is offline; it runs it when it is back",
			"plain": "selector false 0 it has no healthcheck-http.http: it is version test; upgrade it",
			"shut":  "selector true 0 ",
		}
		if diff := cmp.Diff(want, places); diff != "" || all.Runs != 4 || all.Unmatched != 0 {
			t.Errorf("%d run it, %d unmatched (-want +got):\n%s", all.Runs, all.Unmatched, diff)
		}
		eventually(t, "a lease", func() error {
			counted, places := previewed(map[string]any{
				"strategy": check.HTTP, "collectors": []string{check.HTTPRequest},
				"satellites": map[string]any{"selector": "name in (able, plain, away, shut)", "count": 2},
			})
			want := map[string]string{
				"able":  "selector true 1 ",
				"away":  "selector false 0 it is offline",
				"plain": "selector false 0 it has no healthcheck-http.http: it is version test; upgrade it",
				"shut":  "selector false 0 it is cordoned: it gets nothing new to run",
			}
			if diff := cmp.Diff(want, places); diff != "" || counted.Lacking != 1 || counted.Unmatched != 1 {
				return fmt.Errorf("%d seats are lacking, %d unmatched (-want +got):\n%s", counted.Lacking, counted.Unmatched, diff)
			}
			return nil
		})
		wantProblem(t, "a satellite that does not exist", api.Post(t.Context(), "/placement/preview", map[string]any{
			"satellites": map[string]any{"names": []string{"nobody"}},
		}, nil), http.StatusUnprocessableEntity, "satellites.names[0]")

		var as catalog.Assignment
		if err := api.Post(t.Context(), "/assignments", map[string]any{"name": "page", "check": "page", "system": "web", "includeLocal": false, "satellites": everywhere}, &as); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"able", "away", "shut"}, as.Placed); diff != "" {
			t.Errorf("placed (-want +got):\n%s", diff)
		}
		// The check becomes one that it can run, and another again.
		port := map[string]any{"strategy": check.TCP, "interval": "1m", "config": map[string]any{"host": "127.0.0.1", "port": 1}}
		if err := api.Put(t.Context(), "/checks/page", map[string]any{"name": "page", "spec": port}, nil); err != nil {
			t.Fatal(err)
		}
		placed(t, api, "able", "away", "plain", "shut")
		if err := api.Put(t.Context(), "/checks/page", map[string]any{"name": "page", "spec": spec}, nil); err != nil {
			t.Fatal(err)
		}
		placed(t, api, "able", "away", "shut")
		stop() // and comes back with more
		runWith(t, core, made, probe.New(probe.Options{}))
		placed(t, api, "able", "away", "plain", "shut")
	})
}

func placed(t *testing.T, api *client.Client, want ...string) {
	t.Helper()
	eventually(t, "placements", func() error {
		var as catalog.Assignment
		if err := api.Get(t.Context(), "/assignments/page", nil, &as); err != nil {
			return err
		}
		if diff := cmp.Diff(want, as.Placed); diff != "" {
			return fmt.Errorf("(-want +got):\n%s", diff)
		}
		return nil
	})
}

var _ satellite.Prober = plainProber{}

// A satellite that is named for a check, and comes back as one that cannot run it, was not
// measured from: with its reason, and never as a failure of the system (spec M71, M76).
func TestM71_ASatelliteThatLosesWhatItIsNamedForSaysSo(t *testing.T) {
	onBothEngines(t, func(t *testing.T, c server.Config) {
		core, api := start(t, c)
		made := create(t, api, "shrunk")
		_, stop := runWith(t, core, made, probe.New(probe.Options{AllowScripts: true}))
		online(t, api, "shrunk")
		spec := func(script string) map[string]any {
			return map[string]any{"strategy": check.Script, "interval": "1s", "collectors": []any{map[string]any{
				"id": "script", "collector": check.ScriptExecute, "config": map[string]any{"script": script},
			}}}
		}
		for _, name := range []string{"kept", "never"} {
			for path, in := range map[string]any{"/checks": map[string]any{"name": name, "spec": spec("true")}, "/systems": map[string]any{"name": name}} {
				if err := api.Post(t.Context(), path, in, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		assign := func(name string) {
			t.Helper()
			if err := api.Post(t.Context(), "/assignments", map[string]any{
				"name": name, "check": name, "system": name, "includeLocal": false, "satellites": map[string]any{"names": []string{"shrunk"}},
			}, nil); err != nil {
				t.Fatal(err)
			}
		}
		told := func(name string, status check.Status, reason string) func() error {
			return func() error {
				var got httpapi.SystemStatus
				if err := api.Get(t.Context(), "/systems/"+name+"/status", nil, &got); err != nil {
					t.Fatal(err)
				}
				if got.Status == check.Unhealthy {
					t.Fatalf("%s is called unhealthy: %s", name, got.Reason)
				}
				if got.Status != status || got.Reason != reason {
					return fmt.Errorf("%s: %s", got.Status, got.Reason)
				}
				if reason != "" && got.Checks[0].Locations[0].Refused == "" {
					return fmt.Errorf("nothing at its location: %+v", got.Checks[0].Locations[0])
				}
				return nil
			}
		}
		assign("kept")
		eventually(t, "a result", told("kept", check.Healthy, ""))
		stop()
		_, stop = runWith(t, core, made, probe.New(probe.Options{})) // an operator who takes the leave back
		const why = "not measured: shrunk: this satellite runs no healthcheck-script.execute: its operator has not allowed shell scripts and programs; to allow them, start it with --allow-scripts (or PERIGEE_ALLOW_SCRIPTS=true)"
		assign("never")
		eventually(t, "the reason, of a check that was never measured", told("never", check.Unknown, "never: "+why))
		eventually(t, "the reason, of one that was", told("kept", check.Degraded, "kept: "+why))
		stop()
		runWith(t, core, made, probe.New(probe.Options{AllowScripts: true}))
		for _, name := range []string{"kept", "never"} {
			eventually(t, "results again", told(name, check.Healthy, ""))
		}
	})
}
