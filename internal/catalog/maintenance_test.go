package catalog_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/store"
)

func instant(text string) time.Time { return must(time.Parse(time.RFC3339, text)) }

func TestWindowsComeAgain(t *testing.T) {
	t.Parallel()
	m := catalog.Maintenance{Schedule: &catalog.Schedule{Cron: "30 2 * * 0", Duration: check.Duration(2 * time.Hour), TimeZone: "Europe/Berlin"}}
	for _, c := range []struct{ at, from, to string }{
		{"2026-11-21T12:00:00Z", "2026-11-22T01:30:00Z", "2026-11-22T03:30:00Z"},
		{"2026-11-22T01:30:00Z", "2026-11-22T01:30:00Z", "2026-11-22T03:30:00Z"},
		{"2026-11-22T03:29:59Z", "2026-11-22T01:30:00Z", "2026-11-22T03:30:00Z"},
		{"2026-11-22T03:30:00Z", "2026-11-29T01:30:00Z", "2026-11-29T03:30:00Z"},
		// On the last Sunday of March there is no 02:30.
		{"2026-03-28T12:00:00Z", "2026-04-05T00:30:00Z", "2026-04-05T02:30:00Z"},
	} {
		from, to, ok := m.Window(instant(c.at))
		if !ok || !from.Equal(instant(c.from)) || !to.Equal(instant(c.to)) {
			t.Errorf("at %s: from %v to %v (%v), want %s to %s", c.at, from, to, ok, c.from, c.to)
		}
	}
	ended := instant("2026-11-22T02:00:00Z")
	m.EndedBefore = &ended
	if from, _, _ := m.Window(ended); !from.Equal(instant("2026-11-29T01:30:00Z")) {
		t.Errorf("after one was ended the next is at %v", from)
	}
}

// It lasts exactly within its windows, and a window that is not over is found.
func TestWindowsAreWhereTheyLast(t *testing.T) {
	t.Parallel()
	start := instant("2026-01-01T00:00:00Z")
	rapid.Check(t, func(rt *rapid.T) {
		minutes := func(label string, most int) time.Duration {
			return time.Duration(rapid.IntRange(1, most).Draw(rt, label)) * time.Minute
		}
		m := catalog.Maintenance{Schedule: &catalog.Schedule{
			Cron:     rapid.SampledFrom([]string{"0 * * * *", "*/7 3 * * *", "15 4 1 * *", "0 0 * * 1-5"}).Draw(rt, "cron"),
			Duration: check.Duration(minutes("duration", 3000)), TimeZone: rapid.SampledFrom([]string{"", "America/New_York"}).Draw(rt, "zone"),
		}}
		at := start.Add(minutes("at", 500_000))
		from, to, ok := m.Window(at)
		if !ok || !to.After(at) || to.Sub(from) != time.Duration(m.Schedule.Duration) {
			rt.Fatalf("at %v: from %v to %v (%v)", at, from, to, ok)
		}
		if m.Lasts(at) == from.After(at) || !m.Lasts(from) {
			rt.Fatalf("at %v it lasts: %v, from %v", at, m.Lasts(at), from)
		}
	})
}

func TestMaintenanceBeginsAndEnds(t *testing.T) {
	t.Parallel()
	onBoth(t, validateSpec, func(t *testing.T, w *world, db *store.DB) {
		w.satellite("eu-1")
		w.assigned("shop", catalog.Selector{Names: []string{"eu-1"}})
		w.assigned("blog", catalog.Selector{Names: []string{"eu-1"}})
		must(w.UpdateSystem(t.Context(), actor, "blog-system", catalog.SystemInput{Name: "blog-system", Labels: map[string]string{"team": "web"}}))
		now := must(db.Now(t.Context()))
		later, end := now.Add(time.Hour), now.Add(2*time.Hour)
		in := catalog.MaintenanceInput{Name: "upgrade", Mode: catalog.Pause, Systems: catalog.Selector{Names: []string{"shop-system"}}, Start: &later, End: &end}
		var events, bumped []string
		did := func(what string, wantEvents, wantBumped []string, do func() error) {
			t.Helper()
			events = w.eventTypes(func() {
				bumped = w.bumped(func() {
					if err := do(); err != nil {
						t.Fatalf("%s: %v", what, err)
					}
				})
			})
			if diff := cmp.Diff([][]string{wantEvents, wantBumped}, [][]string{events, bumped}); diff != "" {
				t.Errorf("%s: events and satellites that were told (-want +got):\n%s", what, diff)
			}
		}
		maintain := func() error { _, err := w.Maintain(t.Context()); return err }
		update := func() error { _, err := w.UpdateMaintenance(t.Context(), actor, "upgrade", in); return err }
		none := []string{}
		did("it is planned", []string{"maintenance.created"}, none, func() error { _, err := w.CreateMaintenance(t.Context(), actor, in); return err })
		did("it is not time", nil, none, maintain)
		if wait := must(w.Maintain(t.Context())); wait > time.Hour || wait < time.Minute {
			t.Errorf("the next look is in %v", wait)
		}
		before := now.Add(-time.Hour)
		in.Start = &before
		did("it begins at once", []string{"maintenance.started"}, []string{"eu-1"}, update)
		did("it goes on", nil, none, maintain)
		in.Systems = catalog.Selector{Selector: "team=web"}
		did("it covers another system", []string{"maintenance.updated"}, []string{"eu-1"}, update)
		did("a system comes under it", []string{"system.updated"}, []string{"eu-1"}, func() error {
			_, err := w.UpdateSystem(t.Context(), actor, "shop-system", catalog.SystemInput{Name: "shop", Labels: map[string]string{"team": "web"}})
			return err
		})
		in.Mode = catalog.Mute
		did("it only mutes", []string{"maintenance.updated"}, []string{"eu-1"}, update)
		did("somebody ends it", []string{"maintenance.ended"}, none, func() error { _, err := w.EndMaintenance(t.Context(), actor, "upgrade"); return err })
		did("it stays ended", nil, none, maintain)
		if _, err := w.EndMaintenance(t.Context(), actor, "upgrade"); !fault.Is(err, fault.Conflict) {
			t.Errorf("ending it again: %v", err)
		}
		did("it is deleted", []string{"maintenance.deleted"}, none, func() error { return w.DeleteMaintenance(t.Context(), actor, "upgrade") })
	})
}

func TestMaintenanceFollowsNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.assigned("shop", catalog.Selector{Selector: "region=eu"})
	end := epoch.Add(24 * time.Hour)
	must(w.Apply(t.Context(), actor, []catalog.Document{doc(catalog.DocMaintenance, "m", `{"systems":{"names":["shop-system"]},"checks":["shop-check"],"end":"`+end.Format(time.RFC3339)+`"}`)}, false))
	must(w.UpdateSystem(t.Context(), actor, "shop-system", catalog.SystemInput{Name: "shop"}))
	of := func() (catalog.Selector, []string) {
		for _, m := range w.look().upkeep {
			return m.Systems, m.Checks
		}
		return catalog.Selector{}, nil
	}
	if systems, checks := of(); !cmp.Equal(systems.Names, []string{"shop"}) || !cmp.Equal(checks, []string{"shop-check"}) {
		t.Errorf("after a renaming it covers %v %v", systems, checks)
	}
	if n := len(w.look().maintained); n != 1 {
		t.Errorf("%d are in maintenance", n)
	}
	must(w.DeleteCheck(t.Context(), actor, "shop-check"))
	if systems, checks := of(); systems.Names != nil || len(checks) > 0 {
		t.Errorf("after its check is gone it covers %v %v", systems, checks)
	}
	if n := len(w.look().maintained); n != 0 {
		t.Errorf("%d are in maintenance still", n)
	}
}

func TestWrongMaintenance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := epoch
	for path, in := range map[string]catalog.MaintenanceInput{
		"systems":           {Name: "m", End: new(at.Add(time.Hour))},
		"systems.names[0]":  {Name: "m", Systems: catalog.Selector{Names: []string{"no"}}, Start: &epoch, End: new(epoch.Add(time.Hour))},
		"end":               {Name: "m", Systems: catalog.Selector{Selector: "a=b"}, Start: &at, End: &at},
		"mode":              {Name: "m", Mode: "off", Systems: catalog.Selector{Selector: "a=b"}, Start: &at, End: new(at.Add(time.Hour))},
		"schedule":          {Name: "m", Systems: catalog.Selector{Selector: "a=b"}, End: &at, Schedule: &catalog.Schedule{}},
		"schedule.cron":     {Name: "m", Systems: catalog.Selector{Selector: "a=b"}, Schedule: &catalog.Schedule{Cron: "0 0 30 2 *", Duration: check.Duration(time.Hour)}},
		"schedule.duration": {Name: "m", Systems: catalog.Selector{Selector: "a=b"}, Schedule: &catalog.Schedule{Cron: "0 0 * * *"}},
		"schedule.timeZone": {Name: "m", Systems: catalog.Selector{Selector: "a=b"}, Schedule: &catalog.Schedule{Cron: "0 0 * * *", Duration: check.Duration(time.Hour), TimeZone: "Mars/North"}},
	} {
		_, err := w.CreateMaintenance(t.Context(), actor, in)
		if wrong := fields(err); len(wrong) != 1 || wrong[path] == "" {
			t.Errorf("wrong in %s: %v", path, err)
		}
	}
	for _, text := range []string{"TZ=UTC", "CRON_TZ=", "@every 1h", "* * * *", "60 * * * *"} {
		_, err := w.CreateMaintenance(t.Context(), actor, catalog.MaintenanceInput{
			Name: "m", Systems: catalog.Selector{Selector: "a=b"}, Schedule: &catalog.Schedule{Cron: text, Duration: check.Duration(time.Hour)},
		})
		if fields(err)["schedule.cron"] == "" {
			t.Errorf("%q: %v", text, err)
		}
	}
}
