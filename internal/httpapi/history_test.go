package httpapi_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/health"
)

func TestHistory(t *testing.T) {
	t.Parallel()
	c := setup(t)
	a := c.place("shop", "page", "eu-1")
	b := placed{system: a.system, check: a.check}
	b.satellite, _ = c.satellite("us-1", "us")
	hour := time.Now().UTC().Truncate(time.Hour).Add(-48 * time.Hour)
	var runs []health.Run
	for i := range 10 {
		status := check.Healthy
		if i == 3 {
			status = check.Unhealthy
		}
		runs = append(runs, a.found(t, hour.Add(time.Duration(i)*6*time.Minute), status, ""), b.found(t, hour.Add(time.Hour+time.Duration(i)*time.Minute), check.Degraded, ""))
	}
	c.ingested(health.Item{Runs: append(runs, runs[0])})

	whole := func(good, bad float64) *float64 { share := good / (good + bad); return &share }
	latency := func(n int64) *health.LatencySummary {
		return &health.LatencySummary{Count: n, Avg: 12, Min: 12, Max: 12, P50: 12, P90: 12, P95: 12, P99: 12}
	}
	first := health.Summary{Runs: 10, Healthy: 9, Unhealthy: 1, Late: 10, Availability: whole(9, 1), Latency: latency(9)}
	second := health.Summary{Runs: 10, Degraded: 10, Late: 10, Availability: whole(10, 0), Latency: latency(10)}
	both := health.Summary{Runs: 20, Healthy: 9, Degraded: 10, Unhealthy: 1, Late: 20, Availability: whole(19, 1), Latency: latency(19)}
	span := "?from=" + url.QueryEscape(hour.Format(time.RFC3339)) + "&to=" + url.QueryEscape(hour.Add(2*time.Hour).Format(time.RFC3339))
	one := health.History{From: hour, To: hour.Add(2 * time.Hour), Step: health.Hour, Series: []health.Series{
		{Total: both, Buckets: []health.Point{{At: hour, Summary: first}, {At: hour.Add(time.Hour), Summary: second}}},
	}}
	byRegion := one
	byRegion.Series = []health.Series{
		{Region: "eu", Total: first, Buckets: []health.Point{{At: hour, Summary: first}}},
		{Region: "us", Total: second, Buckets: []health.Point{{At: hour.Add(time.Hour), Summary: second}}},
	}
	nothing := one
	nothing.Series = []health.Series{}
	// The same before and after it is rolled up.
	for range 2 {
		for path, want := range map[string]health.History{
			"/systems/shop/history" + span + "&step=hour":                     one,
			"/checks/page/history" + span + "&step=hour":                      one,
			"/systems/shop/history" + span + "&step=hour&by=region":           byRegion,
			"/systems/shop/history" + span + "&step=hour&environment=staging": nothing,
		} {
			var got health.History
			c.get(path, &got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got)\n%s", path, diff)
			}
		}
		if err := health.NewRoller(c.db, slog.New(slog.DiscardHandler)).Roll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var auto health.History
	c.get("/systems/shop/history"+span, &auto)
	if auto.Step != health.Minute || len(auto.Series) != 1 || len(auto.Series[0].Buckets) != 20 {
		t.Errorf("%+v", auto)
	}
	for query, want := range map[string]string{
		"?from=2026-01-01T00:00:00Z&to=2025-01-01T00:00:00Z":             "query.from: must be before to, and not in the future",
		"?from=2020-01-01T00:00:00Z&to=2021-01-01T00:00:00Z&step=minute": "query.step: these are 527040 buckets and 3000 may be asked for: take a longer step or a shorter span",
	} {
		p := c.wrong(http.MethodGet, "/systems/shop/history"+query, nil, http.StatusUnprocessableEntity)
		if diff := cmp.Diff([]string{want}, places(p)); diff != "" {
			t.Error(diff, fmt.Sprint(p))
		}
	}
}
