package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/client"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/server"
	"github.com/perigee-monitoring/perigee/internal/trial"
)

// An assertion may be an expression: it is checked when the check is saved, judged by the
// satellite, and what it stands on is shown. A collector may be too slow by itself.
func TestExpressionsAndSlowCollectors(t *testing.T) {
	onBothEngines(t, func(t *testing.T, c server.Config) {
		watched := watch(t)
		core, api := start(t, c)
		run(t, core, create(t, api, "eu-1"))
		online(t, api, "eu-1")
		slow := func(expression string) map[string]any {
			return map[string]any{
				"strategy": check.HTTP, "interval": "5s",
				"collectors": []any{
					map[string]any{
						"id": "good", "collector": check.HTTPRequest, "config": map[string]any{"url": watched.Good},
						"assertions": []any{map[string]any{"expression": expression}},
					},
					map[string]any{
						"id": "slow", "collector": check.HTTPRequest, "config": map[string]any{"url": watched.Slow},
						"latency": map[string]any{"degradedMs": 1000},
					},
				},
			}
		}
		const holds = `result.statusCode in [200, 204] && result.body.contains("open")`
		var got trial.Trial
		if err := api.Post(t.Context(), "/checks/try", map[string]any{"spec": slow(holds), "from": "eu-1"}, &got); err != nil {
			t.Fatal(err)
		}
		if got.Status != check.Degraded || !strings.HasPrefix(got.Message, "Check degraded: collector slow took ") {
			t.Errorf("the trial is %s: %s", got.Status, got.Message)
		}
		want := trial.Assertion{Expression: holds, Passed: true, Got: `result.body = "<h1>The shop is open</h1>\n", result.statusCode = 200`}
		if diff := cmp.Diff(want, got.Collectors[0].Assertions[0]); diff != "" {
			t.Errorf("the expression (-want +got):\n%s", diff)
		}
		wantProblem(t, "an expression that names nothing", api.Post(t.Context(), "/checks", map[string]any{"name": "slow", "spec": slow("true &&\n result.boddy == 1")}, nil),
			http.StatusUnprocessableEntity, "spec.collectors[0].assertions[0].expression")

		for _, in := range []struct {
			path string
			body map[string]any
		}{
			{"/checks", map[string]any{"name": "slow", "spec": slow(`result.statusCode == 500`)}},
			{"/systems", map[string]any{"name": "web"}},
			{"/assignments", map[string]any{"name": "slow", "check": "slow", "system": "web", "includeLocal": false, "satellites": map[string]any{"selector": "name=eu-1"}}},
		} {
			if err := api.Post(t.Context(), in.path, in.body, nil); err != nil {
				t.Fatal(err)
			}
		}
		result := func(status check.Status, message string) {
			t.Helper()
			eventually(t, "a result that is "+string(status), func() error {
				runs, err := client.All[health.Run](t.Context(), api, "/results", url.Values{"check": {"slow"}}, 0, nil)
				if err != nil || len(runs) == 0 {
					return fmt.Errorf("%d runs, %w", len(runs), err)
				}
				if runs[0].Status != status || !strings.Contains(runs[0].Message, message) {
					return fmt.Errorf("the newest is %s: %s", runs[0].Status, runs[0].Message)
				}
				return nil
			})
		}
		result(check.Unhealthy, "Assertion failed: good: result.statusCode == 500: does not hold, got result.statusCode = 200")
		if err := api.Put(t.Context(), "/checks/slow", map[string]any{"name": "slow", "spec": slow(holds)}, nil); err != nil {
			t.Fatal(err)
		}
		result(check.Degraded, "collector slow took ")
	})
}
