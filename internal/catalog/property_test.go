package catalog_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// picks are the selectors, in canonical form, that the property test uses, each with what it means
// in plain code, so that the expectation owes nothing to package selector.
var picks = map[string]func(s fleet.Satellite) bool{
	"":                       func(fleet.Satellite) bool { return false },
	"region=eu":              func(s fleet.Satellite) bool { return s.Region == "eu" },
	"region in (eu, us)":     func(s fleet.Satellite) bool { return s.Region == "eu" || s.Region == "us" },
	"tier!=test":             func(s fleet.Satellite) bool { return s.Tags["tier"] != "test" },
	"region=us, tier":        func(s fleet.Satellite) bool { _, ok := s.Tags["tier"]; return ok && s.Region == "us" },
	"name!=sat-2, !tier":     func(s fleet.Satellite) bool { _, ok := s.Tags["tier"]; return !ok && s.Name != "sat-2" },
	"name in (sat-0, sat-1)": func(s fleet.Satellite) bool { return s.Name == "sat-0" || s.Name == "sat-1" },
}

// expected recomputes all placements from scratch.
func expected(d data) map[catalog.Placement]bool {
	all := map[catalog.Placement]bool{}
	for _, a := range d.assignments {
		for _, s := range d.satellites {
			local := s.Name == catalog.LocalSatellite
			if local && a.IncludeLocal || slices.Contains(a.Satellites.Names, s.Name) || !local && picks[a.Satellites.Selector](s) {
				all[catalog.Placement{AssignmentID: a.ID, SatelliteID: s.ID, CheckID: a.CheckID, SystemID: a.SystemID}] = true
			}
		}
	}
	return all
}

// told is what each satellite is told: its desired set as one text, by name.
func told(d data) map[string]string {
	if d.desired != nil {
		return d.desired
	}
	lines := map[string][]string{}
	for p := range d.placements {
		a, c, s := d.assignments[p.AssignmentID], d.checks[p.CheckID], d.systems[p.SystemID]
		if a.Enabled && !c.Spec.Paused {
			lines[p.SatelliteID] = append(lines[p.SatelliteID], fmt.Sprint(c.ID, s.ID, c.Name, s.Name, c.Spec.Interval, c.Spec.Strategy, string(c.Spec.Config)))
		}
	}
	all := map[string]string{}
	for id, set := range lines {
		slices.Sort(set)
		all[id] = fmt.Sprint(set)
	}
	return all
}

// TestPlacementsAreWhatDefinitionsSay changes definitions and satellites at
// random; after every step placements equal those computed from scratch, and
// exactly the satellites that are told something else have a new revision (of
// those that were there; a new one has no session that could care).
func TestPlacementsAreWhatDefinitionsSay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rapid.Check(t, func(rt *rapid.T) {
		w.store.data = newMemory().data
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			checkedStep(rt, w)
		}
	})
}

func checkedStep(rt *rapid.T, w *world) {
	before := w.look()
	step(rt, w, []string{"sat-0", "sat-1", "sat-2", "sat-3", catalog.LocalSatellite})
	after := w.look()
	if diff := gocmp.Diff(expected(after), after.placements); diff != "" {
		rt.Fatalf("placements (-want +got):\n%s", diff)
	}
	was, is := told(before), told(after)
	for id := range before.satellites {
		if _, stays := after.satellites[id]; !stays {
			continue
		}
		want := 0
		if was[id] != is[id] {
			want = 1
		}
		if got := int(after.revisions[id] - before.revisions[id]); got != want {
			rt.Fatalf("%s was bumped %d times, want %d\nbefore %s\nafter  %s", after.satellites[id].Name, got, want, was[id], is[id])
		}
	}
}

// step is one change, which may be refused.
func step(rt *rapid.T, w *world, names []string) {
	ctx := w.Context()
	ids := map[string]string{} // of satellites by name, since ids are drawn by others
	for id, s := range w.look().satellites {
		ids[s.Name] = id
	}
	drawTags := func() map[string]string {
		tags := map[string]string{}
		if tier := rapid.SampledFrom([]string{"", "test", "prod"}).Draw(rt, "tier"); tier != "" {
			tags["tier"] = tier
		}
		return tags
	}
	drawSpec := func() check.Spec {
		return check.Spec{
			Strategy: "s.s", Interval: check.Duration(rapid.SampledFrom([]time.Duration{1e9, 2e9}).Draw(rt, "interval")),
			Paused: rapid.IntRange(0, 3).Draw(rt, "paused") == 0, Description: rapid.SampledFrom([]string{"", "d"}).Draw(rt, "description"),
		}
	}
	region := func() string { return rapid.SampledFrom([]string{"eu", "us", "ap"}).Draw(rt, "region") }
	name := func(of ...string) string { return rapid.SampledFrom(of).Draw(rt, "name") }
	flip := func(what string) *bool { b := rapid.IntRange(0, 3).Draw(rt, what) > 0; return &b }
	drawAssignment := func() catalog.AssignmentInput {
		in := catalog.AssignmentInput{
			Name: name("a-0", "a-1", "a-2", "a-3"), Check: name("c-0", "c-1"), System: name("s-0", "s-1"),
			IncludeLocal: flip("local"), Enabled: flip("enabled"),
		}
		in.Satellites.Selector = rapid.SampledFrom(slices.Sorted(maps.Keys(picks))).Draw(rt, "selector")
		for _, name := range slices.Sorted(maps.Keys(ids)) {
			if rapid.IntRange(0, 2).Draw(rt, "named") == 0 {
				in.Satellites.Names = append(in.Satellites.Names, name)
			}
		}
		return in
	}
	satellite := func() string {
		return ids[rapid.SampledFrom(append(slices.Sorted(maps.Keys(ids)), "none")).Draw(rt, "satellite")]
	}
	// Refusals (a taken name, a missing definition) are changes too: of nothing.
	switch rapid.IntRange(0, 12).Draw(rt, "change") {
	case 0, 1:
		w.fleet().Create(ctx, actor, fleet.NewSatellite{Name: name(names...), Region: region(), Tags: drawTags()})
	case 2:
		region := region()
		w.fleet().Update(ctx, actor, satellite(), fleet.Patch{Region: &region, Tags: drawTags()})
	case 3:
		name := name(names...)
		w.fleet().Update(ctx, actor, satellite(), fleet.Patch{Name: &name})
	case 4:
		w.fleet().Delete(ctx, actor, satellite())
	case 5:
		w.CreateSystem(ctx, actor, catalog.SystemInput{Name: name("s-0", "s-1")})
	case 6:
		w.CreateCheck(ctx, actor, catalog.CheckInput{Name: name("c-0", "c-1"), Spec: drawSpec()})
	case 7:
		w.UpdateCheck(ctx, actor, name("c-0", "c-1"), catalog.CheckInput{Name: name("c-0", "c-1"), Spec: drawSpec()})
	case 8:
		w.UpdateSystem(ctx, actor, name("s-0", "s-1"), catalog.SystemInput{Name: name("s-0", "s-1"), Description: name("", "d")})
	case 9:
		w.CreateAssignment(ctx, actor, drawAssignment())
	case 10:
		w.UpdateAssignment(ctx, actor, name("a-0", "a-1", "a-2"), drawAssignment())
	case 11:
		deletions := []func(){
			func() { w.DeleteSystem(ctx, actor, name("s-0", "s-1")) },
			func() { w.DeleteCheck(ctx, actor, name("c-0", "c-1")) },
			func() { w.DeleteAssignment(ctx, actor, name("a-0", "a-1", "a-2")) },
		}
		rapid.SampledFrom(deletions).Draw(rt, "delete")()
	case 12:
		applySeveral(rt, w, drawAssignment, drawTags, region)
	}
}

// applySeveral applies a set in which satellites, what assignments refer to, and
// assignments change together.
func applySeveral(rt *rapid.T, w *world, drawAssignment func() catalog.AssignmentInput, drawTags func() map[string]string, region func() string) {
	docs := []catalog.Document{
		doc("System", "s-0", `{}`), doc("System", "s-1", `{"description":"x"}`),
		doc("Check", "c-0", `{"strategy":"s.s","interval":"1s"}`), doc("Check", "c-1", `{"strategy":"s.s","interval":"2s","paused":true}`),
	}
	for _, name := range []string{"sat-0", "sat-4"} {
		d := doc("Satellite", name, `{"region":"`+region()+`"}`)
		d.Metadata.Labels = drawTags()
		docs = append(docs, d)
	}
	seen := map[string]bool{}
	for range 2 {
		in := drawAssignment()
		if seen[in.Name] || seen[in.Check+in.System] {
			continue
		}
		seen[in.Name], seen[in.Check+in.System] = true, true
		docs = append(docs, doc("Assignment", in.Name, string(must(jsonOf(catalog.AssignmentSpec{
			Check: in.Check, System: in.System, IncludeLocal: in.IncludeLocal, Enabled: in.Enabled, Satellites: in.Satellites,
		})))))
	}
	docs = rapid.Permutation(docs).Draw(rt, "order")
	docs = docs[:rapid.IntRange(cmp.Or(len(docs)/2, 1), len(docs)).Draw(rt, "documents")]
	if _, err := w.Apply(w.Context(), actor, docs, rapid.IntRange(0, 3).Draw(rt, "dry") == 0); err != nil {
		return
	}
}
