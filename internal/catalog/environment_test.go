package catalog_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/store"
)

func environments(names ...string) []catalog.Environment {
	var all []catalog.Environment
	for _, name := range names {
		all = append(all, catalog.Environment{ID: "id-" + name, Name: name})
	}
	return all
}

func namesOf(all []catalog.Environment) []string {
	var names []string
	for _, env := range all {
		names = append(names, env.Name)
	}
	return names
}

// choices are cases of catalog.Environments over the environments prod, dev, test.
func choices(t *testing.T, cases []struct {
	name     string
	chosen   []string
	narrowed map[string][]string
	want     []string
},
) {
	for _, c := range cases {
		got := namesOf(catalog.Environments(environments("prod", "dev", "test"), c.chosen, c.narrowed, "eu-1"))
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestL230_L231_L232_L233_TheAssignmentChooses(t *testing.T) {
	t.Parallel()
	choices(t, []struct {
		name     string
		chosen   []string
		narrowed map[string][]string
		want     []string
	}{
		{"nothing is all", nil, nil, []string{"prod", "dev", "test"}},
		{"an empty list is none", []string{}, nil, nil},
		{"a list is what both have, in the order of the system", []string{"test", "prod"}, nil, []string{"prod", "test"}},
		{"what is gone is dropped", []string{"gone", "dev"}, nil, []string{"dev"}},
		{"only what is gone is none", []string{"gone"}, nil, nil},
	})
	if got := catalog.Environments(nil, nil, nil, "eu-1"); len(got) > 0 {
		t.Errorf("a system without environments has %v", got)
	}
}

func TestL235_L236_L237_TheSatelliteNarrowsAndNeverWidens(t *testing.T) {
	t.Parallel()
	choices(t, []struct {
		name     string
		chosen   []string
		narrowed map[string][]string
		want     []string
	}{
		{"no narrowing", []string{"prod", "dev"}, map[string][]string{"us-1": {"dev"}}, []string{"prod", "dev"}},
		{"null is no narrowing", []string{"prod", "dev"}, map[string][]string{"eu-1": nil}, []string{"prod", "dev"}},
		{"an empty list is none", []string{"prod"}, map[string][]string{"eu-1": {}}, nil},
		{"it narrows", nil, map[string][]string{"eu-1": {"test", "prod"}}, []string{"prod", "test"}},
		{"it does not widen", []string{"prod"}, map[string][]string{"eu-1": {"test", "prod"}}, []string{"prod"}},
		{"nothing in common is none", []string{"prod"}, map[string][]string{"eu-1": {"test"}}, nil},
	})
}

// Whatever is chosen: what runs is a part of what the system has and the assignment
// chose, in the system's order.
func TestL232_L237_WhatRunsIsAPartInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"})
		choice := func(label string) []string {
			if rapid.Bool().Draw(rt, label+" is null") {
				return nil
			}
			return append([]string{}, rapid.SliceOfN(name, 0, 4).Draw(rt, label)...)
		}
		of := environments(rapid.SliceOfNDistinct(name, 0, 6, rapid.ID[string]).Draw(rt, "of")...)
		chosen, narrowed := choice("chosen"), choice("narrowed")
		all := catalog.Environments(of, chosen, nil, "s")
		got := catalog.Environments(of, chosen, map[string][]string{"s": narrowed}, "s")
		at := -1
		for _, env := range got {
			i := slices.IndexFunc(all, func(e catalog.Environment) bool { return e.ID == env.ID })
			if i <= at {
				rt.Fatalf("%v is no part of %v in its order", namesOf(got), namesOf(all))
			}
			at = i
		}
	})
}

// wire is what a satellite is told of its only assignment.
func (w *world) wire(satelliteID string) (told struct {
	SystemMetadata map[string]any        `json:"systemMetadata"`
	Environments   []catalog.Environment `json:"environments"`
},
) {
	w.Helper()
	text := w.look().desired[satelliteID]
	text = text[1 : len(text)-1]
	if err := json.Unmarshal([]byte(text), &told); err != nil {
		w.Fatalf("%s: %v", text, err)
	}
	return told
}

func TestL234_M62_EnvironmentsReachExactlyTheirSatellites(t *testing.T) {
	t.Parallel()
	onBoth(t, validateSpec, func(t *testing.T, w *world, _ *store.DB) {
		eu, us := w.satellite("eu-1"), w.satellite("us-1")
		w.assigned("shop", catalog.Selector{Names: []string{"eu-1", "us-1"}})
		no := false
		system := catalog.SystemInput{Name: "shop-system", Environments: []catalog.EnvironmentInput{{Name: "prod", Fields: map[string]any{"url": "https://shop"}}, {Name: "dev"}}}
		assignment := catalog.AssignmentInput{Name: "shop", Check: "shop-check", System: "shop-system", IncludeLocal: &no, Satellites: catalog.Selector{Names: []string{"eu-1", "us-1"}}}
		step := func(what string, want []string, change func() error) {
			t.Helper()
			got := w.bumped(func() {
				if err := change(); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: satellites that were told (-want +got):\n%s", what, diff)
			}
		}
		putSystem := func() error { _, err := w.UpdateSystem(t.Context(), actor, "shop-system", system); return err }
		putAssignment := func() error { _, err := w.UpdateAssignment(t.Context(), actor, "shop", assignment); return err }
		both, none := []string{"eu-1", "us-1"}, []string{}

		step("environments", both, putSystem)
		stored := must(w.System(t.Context(), "shop-system"))
		if diff := cmp.Diff(stored.Environments, w.wire(eu.ID).Environments); diff != "" {
			t.Errorf("what is told differs (-stored +told):\n%s", diff)
		}
		step("the same again", none, putSystem)

		assignment.SatelliteEnvironments = map[string][]string{"us-1": {"dev"}}
		step("one satellite is narrowed", []string{"us-1"}, putAssignment)
		if diff := cmp.Diff([]string{"dev"}, namesOf(w.wire(us.ID).Environments)); diff != "" {
			t.Errorf("us-1 (-want +got):\n%s", diff)
		}
		system.Environments[0].Fields = map[string]any{"url": "https://www.shop"}
		step("fields of an environment that one runs", []string{"eu-1"}, putSystem)

		system.Environments[1] = catalog.EnvironmentInput{ID: stored.Environments[1].ID, Name: "staging"}
		step("an environment is renamed", both, putSystem)
		a := must(w.Assignment(t.Context(), "shop"))
		if diff := cmp.Diff(map[string][]string{"us-1": {"staging"}}, a.SatelliteEnvironments); diff != "" {
			t.Errorf("the assignment does not follow (-want +got):\n%s", diff)
		}
		assignment.SatelliteEnvironments = a.SatelliteEnvironments

		assignment.Environments = []string{}
		step("no environments", both, putAssignment)
		if got := w.wire(eu.ID).Environments; got != nil {
			t.Errorf("told are %v", got)
		}
		system.Environments = system.Environments[:1]
		step("an environment that nobody runs goes", none, putSystem)

		system.Fields = map[string]any{"tier": "1"}
		step("the system's fields", both, putSystem)
		if diff := cmp.Diff(map[string]any{"tier": "1"}, w.wire(us.ID).SystemMetadata); diff != "" {
			t.Errorf("metadata (-want +got):\n%s", diff)
		}
		system.Fields = nil
		step("no fields any more", both, putSystem)
		if got := w.wire(us.ID).SystemMetadata; got != nil {
			t.Errorf("metadata are %v", got)
		}
	})
}

func TestEnvironmentsOfDocumentsKeepTheirIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	apply := func(spec string) map[string]catalog.Action {
		return actions(must(w.Apply(t.Context(), actor, []catalog.Document{doc(catalog.DocSystem, "shop", spec)}, false)))
	}
	apply(`{"environments":[{"name":"prod"},{"name":"dev","fields":{"n":1}}]}`)
	before := must(w.System(t.Context(), "shop")).Environments
	if diff := cmp.Diff(map[string]catalog.Action{"System shop": catalog.Unchanged}, apply(`{"environments":[{"name":"prod"},{"name":"dev","fields":{"n":1}}]}`)); diff != "" {
		t.Errorf("again (-want +got):\n%s", diff)
	}
	apply(`{"environments":[{"name":"dev","fields":{"n":1}},{"name":"prod"},{"name":"new"}]}`)
	after := must(w.System(t.Context(), "shop")).Environments
	if diff := cmp.Diff([]catalog.Environment{before[1], before[0], {ID: after[2].ID, Name: "new"}}, after); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWrongEnvironments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.satellite("eu-1")
	w.assigned("shop", catalog.Selector{Names: []string{"eu-1"}})
	_, err := w.UpdateSystem(t.Context(), actor, "shop-system", catalog.SystemInput{
		Name: "shop-system", Fields: map[string]any{"": 1},
		Environments: []catalog.EnvironmentInput{{Name: "prod"}, {Name: "prod"}, {ID: "a\nb", Name: "x/y"}},
	})
	if !fault.Is(err, fault.Invalid) {
		t.Fatal(err)
	}
	var paths []string
	for path := range fields(err) {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	if diff := cmp.Diff([]string{"environments[1].name", "environments[2].id", "environments[2].name", "fields"}, paths); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	must(w.UpdateSystem(t.Context(), actor, "shop-system", catalog.SystemInput{Name: "shop-system", Environments: []catalog.EnvironmentInput{{Name: "prod"}}}))
	_, err = w.UpdateAssignment(t.Context(), actor, "shop", catalog.AssignmentInput{
		Name: "shop", Check: "shop-check", System: "shop-system", Environments: []string{"prd"},
		SatelliteEnvironments: map[string][]string{"eu-1": {"dev"}, "eu-2": nil},
	})
	want := map[string]string{
		"environments[0]":               `there is no environment of the system "prd"; did you mean prod?`,
		"satelliteEnvironments.eu-1[0]": `there is no environment of the system "dev"`,
		"satelliteEnvironments.eu-2":    `there is no satellite "eu-2"; did you mean eu-1?`,
	}
	if diff := cmp.Diff(want, fields(err)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
