package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"
)

const (
	placementChecks   = 8
	placementInterval = time.Second
)

// seatedAt is an assignment as far as its seats go.
type seatedAt struct {
	Name  string `json:"name"`
	Seats []struct {
		Number    int        `json:"number"`
		Satellite string     `json:"satellite"`
		Until     *time.Time `json:"until"`
	} `json:"seats"`
}

// on counts the seats that a satellite has for good.
func (a *seatedAt) on(satellite string) (n int) {
	for _, seat := range a.Seats {
		if seat.Satellite == satellite && seat.Until == nil {
			n++
		}
	}
	return n
}

// ran waits for a run of the satellite that was due after then.
func (s *satellite) ran(c *core, then time.Time) {
	c.t.Helper()
	wait(c.t, s.name+" to run something", func() error {
		for _, r := range all[run](c, "/api/v1/results?from="+url.QueryEscape(then.UTC().Format(time.RFC3339Nano))) {
			if r.SatelliteID == s.id && r.Slot.After(then) {
				return nil
			}
		}
		return fmt.Errorf("it has run nothing")
	}, c.process, s.process)
}

// TestPlacement kills a satellite that has seats. They move after its lease and the
// hold-off; it comes back; and whoever recounts finds no slot of a seat run twice, and
// each accounted for in one way.
func TestPlacement(t *testing.T) {
	t.Parallel()
	target := newTarget(t)
	c := newCore(t, "")
	c.args = append(c.args, "--placement-hold-off", "5s")
	c.start()
	c.ready()
	satellites := map[string]*satellite{}
	for _, region := range []string{"a", "b", "c"} {
		s := newSatellite(c, "sat-"+region, region)
		s.start()
		satellites[s.name] = s
	}
	for _, s := range satellites {
		s.online(c)
	}
	c.call(http.MethodPost, "/api/v1/apply", map[string]any{"documents": placementDocuments(target.server.URL)}, nil)
	assignments := func() []seatedAt { return all[seatedAt](c, "/api/v1/assignments") }
	placed := func(not string) func() error {
		return func() error {
			for _, a := range assignments() {
				full := 0
				for name := range satellites {
					full += a.on(name)
				}
				if full != 2 || not != "" && a.on(not) > 0 {
					return fmt.Errorf("%s has %+v", a.Name, a.Seats)
				}
			}
			return nil
		}
	}
	wait(t, "seats", placed(""), c.process)
	victim := satellites[assignments()[0].Seats[0].Satellite]
	for _, s := range satellites {
		s.applied(c)
		s.ran(c, time.Now())
	}
	from := time.Now()
	pause(3000)
	victim.kill()
	wait(t, "the seats to move", placed(victim.name), c.process)
	victim.start()
	victim.online(c)
	for _, s := range satellites {
		if s != victim {
			s.applied(c)
			s.ran(c, time.Now())
		}
	}
	pause(2000)
	until := time.Now()
	window := "?from=" + url.QueryEscape(from.UTC().Format(time.RFC3339Nano)) + "&to=" + url.QueryEscape(until.UTC().Format(time.RFC3339Nano))
	type account struct {
		CheckID     string `json:"checkId"`
		SatelliteID string `json:"satelliteId"`
		fates
		Backfilled   int64 `json:"backfilled"`
		Inconclusive int64 `json:"inconclusive"`
		Lost         int64 `json:"lost"`
		NotTold      int64 `json:"notTold"`
	}
	var accounts []account
	wait(t, "all slots to be accounted for", func() error {
		accounts = all[account](c, "/api/v1/completeness"+window)
		for _, a := range accounts {
			if a.Awaited > 0 {
				return fmt.Errorf("%d slots of %s at %s are awaited", a.Awaited, a.CheckID, a.SatelliteID)
			}
		}
		return nil
	}, c.process, victim.process)
	due := map[string]int64{}
	for _, a := range accounts {
		fate := a.Reported + a.Backfilled + a.Inconclusive + a.Lost + a.NotExecuted + a.NotTold + a.Unaccounted
		for _, n := range a.Skipped {
			fate += n
		}
		if fate != a.Due || a.Unaccounted > 0 {
			t.Errorf("not every slot has one fate: %+v", a)
		}
		due[a.CheckID] += a.Due
	}
	// Two seats have a slot each in every interval, whoever had them.
	for check, n := range due {
		if want := 2 * int64(until.Sub(from)/placementInterval); n < want || n > want+2 {
			t.Errorf("%d slots of %s were due; two seats have %d to %d", n, check, want, want+2)
		}
	}
	if len(due) != placementChecks {
		t.Errorf("%d checks are accounted for, want %d", len(due), placementChecks)
	}

	// A seat is where in the interval its slots are. Of a seat no slot is twice.
	type slot struct {
		check string
		ms    int64
	}
	by, phases, movers := map[slot]string{}, map[string][]int64{}, 0
	for _, r := range all[run](c, "/api/v1/results"+window) {
		at := slot{r.CheckID, r.Slot.UnixMilli()}
		if other, twice := by[at]; twice {
			t.Errorf("slot %s of %s was run by %s and by %s", r.Slot, r.CheckID, other, r.SatelliteID)
		}
		by[at] = r.SatelliteID
		if phase := at.ms % placementInterval.Milliseconds(); !slices.Contains(phases[r.CheckID], phase) {
			phases[r.CheckID] = append(phases[r.CheckID], phase)
		}
	}
	moved := map[slot]map[string]bool{} // by seat: check and phase
	for at, satellite := range by {
		seat := slot{at.check, at.ms % placementInterval.Milliseconds()}
		if moved[seat] == nil {
			moved[seat] = map[string]bool{}
		}
		moved[seat][satellite] = true
	}
	for _, who := range moved {
		if len(who) > 1 {
			movers++
		}
	}
	for check, of := range phases {
		if len(of) > 2 {
			t.Errorf("slots of %s are in %d series; it has two seats", check, len(of))
		}
	}
	if movers == 0 {
		t.Error("no seat was run by two satellites, one after the other")
	}
	t.Logf("%d slots run in %s, %d seats moved", len(by), until.Sub(from).Round(time.Second), movers)
	for _, s := range satellites {
		s.stop()
	}
}

func placementDocuments(target string) []any {
	documents := []any{map[string]any{"apiVersion": "perigee/v1", "kind": "System", "metadata": map[string]any{"name": "shop"}, "spec": map[string]any{}}}
	for i := range placementChecks {
		name := fmt.Sprintf("check-%d", i)
		documents = append(documents,
			map[string]any{"apiVersion": "perigee/v1", "kind": "Check", "metadata": map[string]any{"name": name}, "spec": map[string]any{
				"strategy": "healthcheck-http.http", "config": map[string]any{"timeout": 5000}, "interval": placementInterval.String(),
				"collectors": []any{map[string]any{"id": "page", "collector": "healthcheck-http.request", "config": map[string]any{"url": target + "/" + name}}},
			}},
			map[string]any{"apiVersion": "perigee/v1", "kind": "Assignment", "metadata": map[string]any{"name": name}, "spec": map[string]any{
				"check": name, "system": "shop", "includeLocal": false,
				"satellites": map[string]any{"selector": "region in (a, b, c)", "count": 2, "spreadBy": "region"},
			}})
	}
	return documents
}
