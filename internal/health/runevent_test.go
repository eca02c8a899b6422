package health_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/health"
)

// Runs are told only where somebody watches, and leave no history.
func TestRunsAreToldToWhoWatches(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		w := newWorld(t, url, 2)
		w.ingest.Watch(func() []health.RunWatch {
			return []health.RunWatch{
				{Type: health.TypeNumericState, Field: "latencyMs", System: "shop"},
				{Type: health.TypeNumericState, Field: "http.statusCode", Check: checkID(0)},
				{Type: health.TypeNumericState, Field: "latencyMs", System: "another"},
				{Type: health.TypeCheckFailed, System: systemID, Check: "check-0"},
			}
		})
		run := w.run(0, 0, time.Second, check.Unhealthy)
		latency := int64(40)
		run.LatencyMs, run.Result = &latency, json.RawMessage(`{"metadata":{"collectors":{"http":{"statusCode":503}}}}`)
		asked := w.run(0, 0, time.Minute, check.Unhealthy)
		asked.Asked = "manual"
		w.submit(run, asked)
		w.submit(run)                                       // the same again tells nothing
		w.submit(w.run(1, 0, time.Second, check.Unhealthy)) // nobody watches for that
		w.define(func(tx catalog.Tx) error {
			return tx.Maintain(t.Context(), []catalog.Maintained{{MaintenanceID: "m", SystemID: systemID, CheckID: checkID(0), Mode: catalog.Mute}}, nil)
		})
		w.submit(w.run(0, 1, 2*time.Second, check.Unhealthy)) // in maintenance

		type told struct {
			Type, EntityID, Field, SystemName, Status string
			Value                                     float64
		}
		var got []told
		events, err := w.db.Events(t.Context(), 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Kind != health.KindRun {
				continue
			}
			one := told{Type: e.Type, EntityID: e.EntityID}
			if err := json.Unmarshal(e.Payload, &one); err != nil {
				t.Fatal(err)
			}
			got = append(got, one)
		}
		want := []told{
			{health.TypeNumericState, systemID, "latencyMs", "shop", "unhealthy", 40},
			{health.TypeNumericState, systemID, "http.statusCode", "shop", "unhealthy", 503},
			{health.TypeCheckFailed, systemID, "", "shop", "unhealthy", 0},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}
