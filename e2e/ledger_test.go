package e2e

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/pgtest"
)

var slots = flag.Int64("slots", 10_000, "how many slots TestLedger lets fall due, at least, while it kills")

// TestLedger lets slots fall due while core and satellites are killed and what is due
// changes: intervals, pauses, assignments that are taken away, a satellite that is
// deleted. Then a program of its own, which knows the API only, recounts slot by slot
// what became of each, and must agree with what the core says. Meanwhile some of what
// is watched fails and recovers, and each verdict on it is reached again from outside.
func TestLedger(t *testing.T) {
	t.Parallel() // with those that mostly wait
	for name, database := range map[string]func(t *testing.T) string{
		"SQLite":     func(*testing.T) string { return "" },
		"PostgreSQL": func(t *testing.T) string { return pgtest.URL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ledger(t, database(t))
		})
	}
}

const (
	ledgerSatellites = 4 // and one that is deleted on the way
	ledgerChecks     = 60
)

// fates is what the test looks at of an answer of the core.
type fates struct {
	Due         int64            `json:"due"`
	Reported    int64            `json:"reported"`
	NotExecuted int64            `json:"notExecuted"`
	Skipped     map[string]int64 `json:"skipped"`
	Unaccounted int64            `json:"unaccounted"`
	Awaited     int64            `json:"awaited"`
}

type completeness struct {
	SatelliteID string `json:"satelliteId"`
	fates
}

func ledger(t *testing.T, database string) {
	chosen := cmp.Or(*seed, uint64(time.Now().UnixNano()))
	t.Logf("seed %d", chosen)
	random := rand.New(rand.NewPCG(chosen, chosen))
	target := newTarget(t)
	target.sick = sickByTurns(chosen)
	c := newCore(t, database)
	c.start()
	c.ready()
	satellites := make([]*satellite, ledgerSatellites+1)
	for i := range satellites {
		satellites[i] = newSatellite(c, fmt.Sprintf("sat-%d", i), "eu")
		satellites[i].start()
	}
	c.call(http.MethodPost, "/api/v1/apply", map[string]any{"documents": ledgerDocuments(target.server.URL, time.Second, false)}, nil)
	for _, s := range satellites {
		s.applied(c)
	}
	from := time.Now()
	window := func(to time.Time) string {
		return "?from=" + url.QueryEscape(from.UTC().Format(time.RFC3339Nano)) + "&to=" + url.QueryEscape(to.UTC().Format(time.RFC3339Nano))
	}

	// What is due changes on the way; the core may be down when it is asked to.
	changes := []func(){
		func() {
			c.call(http.MethodPost, "/api/v1/apply", map[string]any{"documents": ledgerDocuments(target.server.URL, 2*time.Second, false)}, nil)
		},
		func() {
			c.call(http.MethodPost, "/api/v1/apply", map[string]any{"documents": ledgerDocuments(target.server.URL, time.Second, true)}, nil)
		},
		func() {
			c.call(http.MethodPost, "/api/v1/apply", map[string]any{"documents": ledgerDocuments(target.server.URL, time.Second, false)}, nil)
		},
		func() { c.call(http.MethodDelete, "/api/v1/assignments/check-3-shop", nil, nil) },
		func() { c.call(http.MethodDelete, "/api/v1/satellites/"+satellites[ledgerSatellites].id, nil, nil) },
	}
	expected := time.Duration(*slots) * time.Second / (ledgerSatellites * ledgerChecks)
	began, kills := time.Now(), 0
	for n := 0; time.Since(began) < expected; n++ {
		if len(changes) > 0 && time.Since(began) > expected*time.Duration(6-len(changes))/7 {
			c.ready()
			changes[0]()
			changes = changes[1:]
		}
		pause(500 + random.IntN(1500))
		victim := c.process
		if i := random.IntN(2 * ledgerSatellites); i < ledgerSatellites {
			victim = satellites[i].process
		}
		victim.kill()
		kills++
		pause(random.IntN(700))
		victim.start()
	}
	c.ready()
	until := time.Now()
	for _, s := range satellites[:ledgerSatellites] {
		s.online(c)
	}
	// Of checks that were not changed, everything arrives.
	var unchanged struct {
		Items []completeness `json:"items"`
	}
	wait(t, "what was due to be accounted for", func() error {
		if err := c.try(http.MethodGet, "/api/v1/completeness"+window(until)+"&check=check-9", nil, &unchanged); err != nil {
			return err
		}
		for _, of := range unchanged.Items {
			if of.Awaited > 0 && of.SatelliteID != satellites[ledgerSatellites].id {
				return fmt.Errorf("%d slots are awaited", of.Awaited)
			}
		}
		return nil
	}, c.process)
	for _, s := range satellites[:ledgerSatellites] {
		s.stop()
	}
	satellites[ledgerSatellites].kill() // it has ended by itself: it is not wanted any more
	var total fates
	for _, of := range all[completeness](c, "/api/v1/completeness"+window(until)) {
		total.Due += of.Due
		total.Reported += of.Reported
		total.NotExecuted += of.NotExecuted
		total.Awaited += of.Awaited
		total.Unaccounted += of.Unaccounted
		if of.Unaccounted > 0 && of.SatelliteID != satellites[ledgerSatellites].id {
			t.Errorf("of a satellite that is still there %d slots are accounted for nowhere: %+v", of.Unaccounted, of)
		}
	}
	t.Logf("%d kills: %+v", kills, total)
	if total.Due < *slots || total.NotExecuted == 0 || total.Reported == 0 {
		t.Errorf("this was no chaos: %+v", total)
	}
	recounted := exec.Command(build(t).recount, "--url", c.url, "--from", from.UTC().Format(time.RFC3339Nano), "--to", until.UTC().Format(time.RFC3339Nano))
	recounted.Env = append(recounted.Environ(), "PERIGEE_TOKEN="+c.token)
	out, err := recounted.CombinedOutput()
	t.Logf("recounted from outside:\n%s", out)
	if err != nil {
		t.Errorf("the recount does not agree: %v", err)
	}
	for _, status := range []string{"healthy", "degraded", "unhealthy"} {
		if !strings.Contains(string(out), "verdicts: "+status+" ") {
			t.Errorf("no verdict was %s", status)
		}
	}
	c.stop()
}

// sickPhase is for how long pages are well, and then sick; longer than the recount
// allows a verdict to take.
const sickPhase = 20 * time.Second

// sickByTurns has every second page fail by turns, each with a phase of its own, and
// every tenth now and then, whoever asks.
func sickByTurns(seed uint64) func(path string) bool {
	began := time.Now()
	return func(path string) bool {
		var n int
		if _, err := fmt.Sscanf(path, "/check-%d", &n); err != nil {
			return false
		}
		at := time.Since(began) + time.Duration(n)*sickPhase/ledgerChecks
		switch {
		case n%10 == 9:
			return rand.New(rand.NewPCG(seed, uint64(time.Now().UnixNano()))).IntN(3) == 0
		case n%2 == 1:
			return at/sickPhase%2 == 1
		default:
			return false
		}
	}
}

// ledgerPolicies are taken by turns.
var ledgerPolicies = []map[string]any{
	{},
	{"thresholds": map[string]any{"unhealthy": 3, "degraded": 2, "recovery": 2}},
	{"quorum": map[string]any{"kind": "count", "count": 2}},
	{"window": map[string]any{"failures": 3, "of": 10}, "quorum": map[string]any{"kind": "share", "share": 50}},
	{"flap": map[string]any{"window": 10, "on": 30, "off": 20}, "quorum": map[string]any{"kind": "all"}},
}

// ledgerDocuments are the checks; the first three have the interval, the next three
// are paused or not.
func ledgerDocuments(target string, interval time.Duration, paused bool) []any {
	documents := []any{map[string]any{"apiVersion": "perigee/v1", "kind": "System", "metadata": map[string]any{"name": "shop"}, "spec": map[string]any{}}}
	for i := range ledgerChecks {
		name := fmt.Sprintf("check-%d", i)
		spec := map[string]any{
			"strategy": "healthcheck-http.http", "config": map[string]any{"timeout": 5000}, "interval": "1s",
			"collectors": []any{map[string]any{
				"id": "page", "collector": "healthcheck-http.request", "config": map[string]any{"url": target + "/" + name},
				"assertions": []any{map[string]any{"field": "statusCode", "operator": "equals", "value": 200}},
			}},
		}
		switch {
		case i < 3:
			spec["interval"] = interval.String()
		case i > 3 && i < 7:
			spec["paused"] = paused
		}
		documents = append(documents,
			map[string]any{"apiVersion": "perigee/v1", "kind": "Check", "metadata": map[string]any{"name": name}, "spec": spec},
			map[string]any{"apiVersion": "perigee/v1", "kind": "Assignment", "metadata": map[string]any{"name": name + "-shop"}, "spec": map[string]any{
				"policy": ledgerPolicies[i%len(ledgerPolicies)],
				"check":  name, "system": "shop", "includeLocal": false, "satellites": map[string]any{"selector": "region in (eu, us)"},
			}})
	}
	return documents
}
