package httpapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/internal/health"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
	"github.com/perigee-monitoring/perigee/protocol"
	"github.com/perigee-monitoring/perigee/verdict"
)

// placed is one check of one system on one satellite.
type placed struct {
	satellite fleet.Satellite
	system    catalog.System
	check     catalog.Check
}

// place defines a system and a check named so, and puts them on a new satellite.
func (c *core) place(system, check, satellite string) placed {
	c.t.Helper()
	p := placed{system: c.system(system), check: c.check(check)}
	p.satellite, _ = c.satellite(satellite, "eu")
	c.assign(system+"-"+check, check, system, satellite)
	return p
}

// found is what a satellite reports of a slot.
func (p placed) found(t *testing.T, slot time.Time, status check.Status, message string) health.Run {
	t.Helper()
	latency := 12.0
	r := check.Result{Status: status, Message: message, LatencyMs: latency}
	run, err := health.Prepare(health.Origin{SatelliteID: p.satellite.ID, Source: p.satellite.Name, Evaluated: true, Slots: true}, nil, &protocol.Result{
		ConfigID: p.check.ID, SystemID: p.system.ID, Status: status, LatencyMs: &latency, Result: &r,
		ExecutedAt: slot.UTC().Format(time.RFC3339Nano), Slot: slot.UnixMilli(),
	}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// ingested makes reports durable.
func (c *core) ingested(item health.Item) {
	c.t.Helper()
	done, err := c.ingest.Submit(c.t.Context(), item)
	if err != nil {
		c.t.Fatal(err)
	}
	select {
	case err := <-done:
		if err != nil {
			c.t.Fatal(err)
		}
	case <-time.After(deadline):
		c.t.Fatal("the report is not durable")
	}
}

func TestM91_ResultsAreFilteredAndPaged(t *testing.T) {
	t.Parallel()
	c := setup(t)
	a, b := c.place("shop", "page", "eu-1"), c.place("bank", "door", "us-1")
	began := time.Now().UTC().Truncate(time.Second).Add(-time.Hour)
	var runs []health.Run
	for i := range 5 {
		status := check.Healthy
		if i == 2 {
			status = check.Unhealthy
		}
		runs = append(runs, a.found(t, began.Add(time.Duration(i)*10*time.Second), status, fmt.Sprintf("a%d", i)))
	}
	runs = append(runs, b.found(t, began.Add(15*time.Second), check.Degraded, "b0"))
	c.ingested(health.Item{Runs: runs})

	at := func(seconds int) string {
		return url.QueryEscape(began.Add(time.Duration(seconds) * time.Second).Format(time.RFC3339))
	}
	for query, want := range map[string]string{
		"":                                 "a4 a3 a2 b0 a1 a0",
		"satellite=eu-1":                   "a4 a3 a2 a1 a0",
		"satellite=" + b.satellite.ID:      "b0",
		"check=door":                       "b0",
		"check=" + a.check.ID:              "a4 a3 a2 a1 a0",
		"system=bank":                      "b0",
		"system=shop&status=unhealthy":     "a2",
		"status=degraded":                  "b0",
		"from=" + at(20):                   "a4 a3 a2",
		"to=" + at(20):                     "b0 a1 a0",
		"from=" + at(10) + "&to=" + at(20): "b0 a1",
		"system=shop&check=door":           "",
		"satellite=" + strings.ToUpper(b.satellite.ID): "b0",
		"system=00000000-0000-0000-0000-000000000000":  "",
	} {
		for _, limit := range []string{"100", "2"} {
			if got := c.messages("/results?limit=" + limit + "&" + query); got != want {
				t.Errorf("results?%s in pages of %s = %q, want %q", query, limit, got, want)
			}
		}
	}
	var detailed list[health.Run]
	c.get("/results?detail=true&limit=1", &detailed)
	if len(detailed.Items) != 1 || !strings.Contains(string(detailed.Items[0].Result), `"a4"`) {
		t.Errorf("with detail: %+v", detailed.Items)
	}
	if r := c.call(http.MethodGet, "/results?limit=1", nil, http.StatusOK, nil); strings.Contains(r.body, `"result"`) {
		t.Errorf("without detail: %s", r.body)
	}
	for query, location := range map[string]string{
		"from=yesterday": "query.from", "from=" + at(20) + "&to=" + at(10): "query.to", "status=unknown": "query.status", "satellite=none": "query.satellite",
		"check=none": "query.check", "system=none": "query.system", "cursor=%21": "query.cursor", "limit=x": "query.limit", "detail=maybe": "query.detail",
	} {
		p := c.wrong(http.MethodGet, "/results?"+query, nil, http.StatusUnprocessableEntity)
		if len(p.Errors) != 1 || p.Errors[0].Location != location {
			t.Errorf("results?%s: %q, want one at %s", query, places(p), location)
		}
	}
}

// messages reads all pages and gives the runs' messages.
func (c *core) messages(path string) string {
	c.t.Helper()
	var all []string
	for cursor := ""; ; {
		var page list[health.Run]
		c.get(path+cursor, &page)
		for _, r := range page.Items {
			all = append(all, r.Message)
		}
		if page.NextCursor == nil {
			return strings.Join(all, " ")
		}
		cursor = "&cursor=" + url.QueryEscape(*page.NextCursor)
	}
}

func TestSkipsAreListed(t *testing.T) {
	t.Parallel()
	c := setup(t)
	a, b := c.place("shop", "page", "eu-1"), c.place("bank", "door", "us-1")
	began := time.Now().UTC().Truncate(time.Second).Add(-time.Hour)
	var skips []health.Skip
	for i, p := range []placed{a, b, a} {
		from := began.Add(time.Duration(i) * time.Minute)
		skip, err := health.PrepareSkip(health.Origin{SatelliteID: p.satellite.ID, Slots: true}, &protocol.Skip{
			ConfigID: p.check.ID, SystemID: p.system.ID, From: from.UnixMilli(), To: from.Add(20 * time.Second).UnixMilli(), Count: int64(i + 1), Reason: protocol.SkipDown,
		}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		skips = append(skips, skip)
	}
	c.ingested(health.Item{Skips: skips})
	for query, want := range map[string][]int64{"": {3, 2, 1}, "system=shop": {3, 1}, "check=door": {2}, "satellite=us-1": {2}, "limit=2": {3, 2}} {
		var page list[health.Skip]
		c.get("/skips?"+query, &page)
		var got []int64
		for _, s := range page.Items {
			got = append(got, s.Count)
		}
		if !slices.Equal(got, want) {
			t.Errorf("skips?%s = %v, want %v", query, got, want)
		}
	}
	c.wrong(http.MethodGet, "/skips?status=healthy", nil, http.StatusUnprocessableEntity)
}

func TestStatusNamesItsEvidence(t *testing.T) {
	t.Parallel()
	c := setup(t)
	p := c.place("shop", "page", "eu-1")
	c.system("idle")
	var before httpapi.SystemStatus
	c.get("/systems/shop/status", &before)
	want := httpapi.SystemStatus{
		SystemID: p.system.ID, System: "shop", Status: check.Unknown, Reason: before.Reason, TotalChecks: 1,
		Checks: []httpapi.CheckStatus{{CheckID: p.check.ID, Check: "page", Status: check.Unknown, Reason: before.Checks[0].Reason, Class: verdict.ClassNone, Policy: check.Policy{}.WithDefaults(), Locations: []httpapi.LocationStatus{
			{SatelliteID: p.satellite.ID, Satellite: "eu-1", Region: "eu", Status: check.Unknown},
		}}},
	}
	if diff := cmp.Diff(want, before); diff != "" || before.Reason == "" {
		t.Errorf("before a result (-want +got):\n%s", diff)
	}
	if _, err := c.fleet.Open(t.Context(), p.satellite.ID, 1); err != nil {
		t.Fatal(err)
	}
	run := p.found(t, time.Now().Truncate(time.Second), check.Unhealthy, "no answer")
	c.ingested(health.Item{Runs: []health.Run{run}})
	var after httpapi.SystemStatus
	c.get("/systems/"+p.system.ID+"/status", &after)
	if after.Status != check.Unhealthy || after.Since == nil || after.HealthyChecks != 0 {
		t.Errorf("after a result: %+v", after)
	}
	verdictOf(t, c, after)
	at := after.Checks[0].Locations[0]
	if at.RunID != run.RunID || at.Message != "no answer" || !at.Fresh || !at.Online || at.LatencyMs == nil || *at.LatencyMs != 12 || at.ExecutedAt == nil || !at.ExecutedAt.Equal(run.ExecutedAt) {
		t.Errorf("evidence: %+v", at)
	}
	var all list[httpapi.SystemStatus]
	c.get("/status", &all)
	if len(all.Items) != 2 || all.Items[0].System != "idle" || all.Items[0].Checks == nil || all.Items[1].Status != check.Unhealthy {
		t.Errorf("all systems: %+v", all.Items)
	}
	c.wrong(http.MethodGet, "/systems/none/status", nil, http.StatusNotFound)
}

// verdictOf follows a status to its verdict, and reaches that again from its evidence.
func verdictOf(t *testing.T, c *core, of httpapi.SystemStatus) {
	t.Helper()
	is := of.Checks[0]
	if is.VerdictID == nil || is.Since == nil {
		t.Fatalf("status without its verdict: %+v", is)
	}
	var history list[verdict.Verdict]
	c.get("/checks/"+is.Check+"/verdicts?system="+of.System, &history)
	if len(history.Items) != 1 || history.Items[0].ID != *is.VerdictID || history.Items[0].Status != is.Status || history.Items[0].Until != nil {
		t.Errorf("history: %+v", history.Items)
	}
	var judged verdict.Judged
	c.get("/checks/"+is.CheckID+"/evidence/"+*is.VerdictID, &judged)
	if err := verdict.Verify(judged); err != nil {
		t.Error(err)
	}
	if e := judged.Evidence; len(e.Seats) != 1 || len(e.Runs) != 1 || e.Seats[0].RunID != e.Runs[0].RunID || e.System.Name != of.System || e.Check.Name != is.Check {
		t.Errorf("evidence: %+v", e)
	}
	c.wrong(http.MethodGet, "/checks/"+is.Check+"/evidence/none", nil, http.StatusNotFound)
}
