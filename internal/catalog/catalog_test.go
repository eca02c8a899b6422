package catalog_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
	"github.com/perigee-monitoring/perigee/protocol"
)

func named(names ...string) catalog.Selector { return catalog.Selector{Names: names} }

// inputOf is the assignment as it would be put again.
func inputOf(a catalog.Assignment) catalog.AssignmentInput {
	return catalog.AssignmentInput{
		Name: a.Name, Labels: a.Labels, Check: a.CheckID, System: a.SystemID,
		IncludeLocal: &a.IncludeLocal, Satellites: a.Satellites, Enabled: &a.Enabled, Policy: a.Policy,
	}
}

func TestM62_EveryRelevantChangeReachesThePlacedSatellites(t *testing.T) {
	t.Parallel()
	changed := func(change func(*check.Spec)) func(*world) {
		return func(w *world) {
			s := spec
			s.Collectors = slices.Clone(spec.Collectors)
			change(&s)
			must(w.UpdateCheck(w.Context(), actor, "front-check", catalog.CheckInput{Name: "front-check", Spec: s}))
		}
	}
	edited := func(change func(*catalog.AssignmentInput)) func(*world) {
		return func(w *world) {
			in := inputOf(must(w.Assignment(w.Context(), "front")))
			change(&in)
			must(w.UpdateAssignment(w.Context(), actor, "front", in))
		}
	}
	no := false
	both := []string{"eu-1", "eu-2"}
	for name, c := range map[string]struct {
		change func(*world)
		want   []string
	}{
		"config edited":    {changed(func(s *check.Spec) { s.Config = []byte(`{"timeout":1}`) }), both},
		"interval edited":  {changed(func(s *check.Spec) { s.Interval = check.Duration(time.Minute) }), both},
		"collector edited": {changed(func(s *check.Spec) { s.Collectors[0].ID = "other" }), both},
		"assertion added": {changed(func(s *check.Spec) {
			s.Collectors[0].Assertions = []check.Assertion{{Field: "statusCode", Operator: "exists"}}
		}), both},
		"paused": {changed(func(s *check.Spec) { s.Paused = true }), both},
		"check renamed": {func(w *world) {
			must(w.UpdateCheck(w.Context(), actor, "front-check", catalog.CheckInput{Name: "x", Spec: spec}))
		}, both},
		"system renamed": {func(w *world) {
			must(w.UpdateSystem(w.Context(), actor, "front-system", catalog.SystemInput{Name: "x"}))
		}, both},
		"check deleted":           {func(w *world) { must(w.DeleteCheck(w.Context(), actor, "front-check")) }, both},
		"system deleted":          {func(w *world) { must(w.DeleteSystem(w.Context(), actor, "front-system")) }, both},
		"assignment deleted":      {func(w *world) { must(0, w.DeleteAssignment(w.Context(), actor, "front")) }, both},
		"disabled":                {edited(func(in *catalog.AssignmentInput) { in.Enabled = &no }), both},
		"moved to another system": {edited(func(in *catalog.AssignmentInput) { in.System = "other-system" }), both},
		"satellite added":         {edited(func(in *catalog.AssignmentInput) { in.Satellites.Names = []string{"eu-1", "eu-2", "us-1"} }), []string{"us-1"}},
		"satellite removed":       {edited(func(in *catalog.AssignmentInput) { in.Satellites.Names = []string{"eu-1"} }), []string{"eu-2"}},
		"local included":          {edited(func(in *catalog.AssignmentInput) { in.IncludeLocal = nil }), []string{"local"}},
		"by selector":             {edited(func(in *catalog.AssignmentInput) { in.Satellites.Selector = "region=us" }), []string{"us-1"}},
		"documents": {func(w *world) {
			must(w.Apply(w.Context(), actor, []catalog.Document{doc("Check", "front-check", `{"strategy":"healthcheck-tcp.tcp","interval":"5s"}`)}, false))
		}, both},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.satellite("eu-1")
			w.satellite("eu-2")
			w.satellite("us-1", "region=us")
			w.satellite("local")
			w.assigned("front", named("eu-1", "eu-2"))
			w.assigned("other", named("us-1"))
			got := w.bumped(func() { c.change(w) })
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("bumped (-want +got):\n%s", diff)
			}
		})
	}

	t.Run("resumed and enabled again", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.satellite("eu-1")
		w.assigned("front", named("eu-1"))
		for _, step := range []func(*world){
			changed(func(s *check.Spec) { s.Paused = true }), changed(func(*check.Spec) {}),
			edited(func(in *catalog.AssignmentInput) { in.Enabled = &no }), edited(func(in *catalog.AssignmentInput) { in.Enabled = nil }),
		} {
			if diff := cmp.Diff([]string{"eu-1"}, w.bumped(func() { step(w) })); diff != "" {
				t.Errorf("bumped (-want +got):\n%s", diff)
			}
		}
	})
}

func TestM64_WhatSatellitesDoNotSeeBumpsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	eu := w.satellite("eu-1")
	a := w.assigned("front", named("eu-1"))
	described := spec
	described.Description, described.Config = "the front page", []byte(` { "timeout" : 5000 } `)
	rearranged := inputOf(a)
	rearranged.Satellites.Names = []string{"eu-1", "eu-1"}
	renamed := inputOf(a)
	renamed.Name, renamed.Labels = "front page", map[string]string{"env": "prod"}
	threshold := int64(20_000)

	for name, change := range map[string]func(){
		"system labels and description": func() {
			must(w.UpdateSystem(t.Context(), actor, "front-system", catalog.SystemInput{Name: "front-system", Description: "d", Labels: map[string]string{"env": "prod"}}))
		},
		"check labels, description and white space": func() {
			must(w.UpdateCheck(t.Context(), actor, "front-check", catalog.CheckInput{Name: "front-check", Labels: map[string]string{"a": "b"}, Spec: described}))
		},
		"the same again":             func() { must(w.UpdateAssignment(t.Context(), actor, a.ID, rearranged)) },
		"assignment name and labels": func() { must(w.UpdateAssignment(t.Context(), actor, a.ID, renamed)) },
		"a selector that adds nobody": func() {
			in := renamed
			in.Satellites.Selector = "region=eu"
			must(w.UpdateAssignment(t.Context(), actor, a.ID, in))
		},
		"another system":            func() { must(w.CreateSystem(t.Context(), actor, catalog.SystemInput{Name: "lonely"})) },
		"the satellite's threshold": func() { must(w.fleet().Update(t.Context(), actor, eu.ID, fleet.Patch{OfflineThresholdMs: &threshold})) },
		"a satellite with no place": func() { w.satellite("us-1", "region=us") },
	} {
		if got := w.bumped(change); len(got) > 0 {
			t.Errorf("%s bumped %v", name, got)
		}
	}
}

func TestM64_AssignmentsNotAtWorkBumpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.satellite("eu-1")
	w.satellite("eu-2")
	a := w.assigned("front", named("eu-1"))
	no := false
	in := inputOf(a)
	in.Enabled = &no
	must(w.UpdateAssignment(t.Context(), actor, "front", in))

	got := w.bumped(func() {
		in.Satellites = named("eu-2")
		must(w.UpdateAssignment(t.Context(), actor, "front", in))
		s := spec
		s.Interval = check.Duration(time.Hour)
		must(w.UpdateCheck(t.Context(), actor, "front-check", catalog.CheckInput{Name: "front-check", Spec: s}))
	})
	if len(got) > 0 {
		t.Errorf("bumped %v", got)
	}
	if diff := cmp.Diff([]string{"eu-2"}, must(w.Assignment(t.Context(), "front")).Placed); diff != "" {
		t.Errorf("placed all the same (-want +got):\n%s", diff)
	}
}

func TestM65_OneAssignmentIsReadAndPlacedAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"eu-1", "eu-2", "us-1"} {
		w.satellite(name)
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		w.assigned(name, catalog.Selector{Selector: "region=eu"})
	}
	counted := func(fn func()) map[string]int {
		clear(w.store.calls)
		fn()
		return w.store.calls
	}

	in := inputOf(must(w.Assignment(t.Context(), "b")))
	in.Satellites = named("us-1")
	calls := counted(func() { must(w.UpdateAssignment(t.Context(), actor, "b", in)) })
	want := map[string]int{
		"LockDefinitions": 1, "AllSystems": 1, "AllChecks": 1, "AllAssignments": 1, "AllSatellites": 1,
		"PlacementsOf": 1, "Place": 1, "PutAssignments": 1, "BumpRevisions": 1,
	}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Errorf("statements of one assignment's change (-want +got):\n%s", diff)
	}

	calls = counted(func() {
		must(w.UpdateSystem(t.Context(), actor, "c-system", catalog.SystemInput{Name: "c-system", Description: "d"}))
	})
	want = map[string]int{"LockDefinitions": 1, "AllSystems": 1, "AllChecks": 1, "AllAssignments": 1, "PutSystems": 1}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Errorf("statements of a change that places nothing (-want +got):\n%s", diff)
	}

	var docs []catalog.Document
	for i := range 100 {
		name := fmt.Sprint("many-", i)
		docs = append(docs, doc(catalog.DocSystem, name, `{}`), doc(catalog.DocCheck, name, `{"strategy":"healthcheck-tcp.tcp","interval":"10s"}`),
			doc(catalog.DocAssignment, name, `{"check":"`+name+`","system":"`+name+`","satellites":{"selector":"region=eu"}}`))
	}
	calls = counted(func() { must(w.Apply(t.Context(), actor, docs, false)) })
	want = map[string]int{
		"LockDefinitions": 1, "AllSystems": 1, "AllChecks": 1, "AllAssignments": 1, "AllSatellites": 1,
		"PutSystems": 1, "PutChecks": 1, "PutAssignments": 1, "Place": 1, "BumpRevisions": 1,
	}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Errorf("statements of a large apply (-want +got):\n%s", diff)
	}

	calls = counted(func() { w.satellite("ap-1", "region=ap") })
	want = map[string]int{"LockDefinitions": 1, "AllAssignments": 1, "PlacementsOn": 1}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Errorf("statements of a new satellite (-want +got):\n%s", diff)
	}
}

func TestM68_RemovedPairsBecomeGrants(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	eu := w.satellite("eu-1")
	a := w.assigned("front", named("eu-1"))
	if err := w.DeleteAssignment(t.Context(), actor, "front"); err != nil {
		t.Fatal(err)
	}
	want := []catalog.Placement{{AssignmentID: a.ID, SatelliteID: eu.ID, CheckID: a.CheckID, SystemID: a.SystemID}}
	if diff := cmp.Diff(want, w.look().grants); diff != "" {
		t.Errorf("grants (-want +got):\n%s", diff)
	}
}

func TestM70_DeletedSatelliteLeavesNoPlacement(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	eu := w.satellite("eu-1")
	w.assigned("front", named("eu-1"))
	if err := w.fleet().Delete(t.Context(), actor, eu.ID); err != nil {
		t.Fatal(err)
	}
	if n := len(w.look().placements); n > 0 {
		t.Errorf("%d placements are left", n)
	}
	// The last name is gone from the definition too; what would run nowhere is
	// disabled. It can be edited, exported and applied, and does not fall to the next
	// satellite of that name.
	left := must(w.Assignment(t.Context(), "front"))
	if left.Enabled || len(left.Satellites.Names) > 0 {
		t.Errorf("the assignment is %+v, want it disabled and without the name", left)
	}
	in := inputOf(left)
	in.Labels = map[string]string{"edited": "yes"}
	must(w.UpdateAssignment(t.Context(), actor, "front", in))
	plan := must(w.Apply(t.Context(), actor, must(w.Export(t.Context())), false))
	for _, c := range plan.Changes {
		if c.Action != catalog.Unchanged {
			t.Errorf("export applied again: %+v", c)
		}
	}
	w.satellite("eu-1")
	if placed := must(w.Assignment(t.Context(), "front")).Placed; len(placed) > 0 {
		t.Errorf("placed on the new one: %v", placed)
	}
}

func TestM70_DeletedSatelliteIsForgottenByAssignments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	eu := w.satellite("eu-1")
	w.satellite("us-1")
	w.assigned("both", named("eu-1", "us-1"))
	w.assigned("selected", catalog.Selector{Names: []string{"eu-1"}, Selector: "region=us"})
	other := w.assigned("other", named("us-1"))
	if err := w.fleet().Delete(t.Context(), actor, eu.ID); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"both", "selected", "other"} {
		a := must(w.Assignment(t.Context(), name))
		if !a.Enabled || slices.Contains(a.Satellites.Names, "eu-1") {
			t.Errorf("%s is %+v, want it enabled and without the name", name, a)
		}
	}
	if got := must(w.Assignment(t.Context(), "other")); !got.UpdatedAt.Equal(other.UpdatedAt) {
		t.Errorf("an assignment that did not name it was updated: %+v", got)
	}
}

func TestM92_NamesAreUnique(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.satellite("eu-1")
	a := w.assigned("front", named("eu-1"))
	w.assigned("back", named("eu-1"))
	samePair := inputOf(a)
	samePair.Name = "twin"
	sameName := inputOf(a)
	sameName.Name = "back"

	_, system := w.CreateSystem(t.Context(), actor, catalog.SystemInput{Name: "front-system"})
	_, renamed := w.UpdateSystem(t.Context(), actor, "back-system", catalog.SystemInput{Name: "front-system"})
	_, checked := w.CreateCheck(t.Context(), actor, catalog.CheckInput{Name: "front-check", Spec: spec})
	_, pair := w.CreateAssignment(t.Context(), actor, samePair)
	_, assigned := w.UpdateAssignment(t.Context(), actor, "front", sameName)
	_, _, satellite := w.fleet().Create(t.Context(), actor, fleet.NewSatellite{Name: "eu-1", Region: "eu"})
	for what, err := range map[string]error{"system": system, "renaming": renamed, "check": checked, "pair": pair, "assignment": assigned, "satellite": satellite} {
		if !fault.Is(err, fault.Conflict) {
			t.Errorf("%s: %v, want a conflict", what, err)
		}
	}
}

func TestSatellitesComeAndChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.assigned("edge", catalog.Selector{Selector: "tier=edge, region!=ap"})
	placed := func() []string { return must(w.Assignment(t.Context(), "edge")).Placed }
	step := func(what string, want, wantBumped []string, change func()) {
		t.Helper()
		got := w.bumped(change)
		if diff := cmp.Diff(wantBumped, got); diff != "" {
			t.Errorf("%s: bumped (-want +got):\n%s", what, diff)
		}
		if diff := cmp.Diff(want, placed()); diff != "" {
			t.Errorf("%s: placed (-want +got):\n%s", what, diff)
		}
	}
	var s fleet.Satellite
	step("created with the label", []string{"s"}, []string{"s"}, func() { s = w.satellite("s", "tier=edge") })
	step("moved away", []string{}, []string{"s"}, func() {
		region := "ap"
		must(w.fleet().Update(t.Context(), actor, s.ID, fleet.Patch{Region: &region}))
	})
	step("moved back", []string{"s"}, []string{"s"}, func() {
		region := "eu"
		must(w.fleet().Update(t.Context(), actor, s.ID, fleet.Patch{Region: &region}))
	})
	step("retagged", []string{}, []string{"s"}, func() {
		must(w.fleet().Update(t.Context(), actor, s.ID, fleet.Patch{Tags: map[string]string{"tier": "core"}}))
	})
}

func TestAssignmentsFollowARenamedSatellite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.satellite("eu-1")
	w.satellite("eu-2")
	w.assigned("front", named("eu-1", "eu-2"))
	name := "paris"
	var bumped []string
	events := w.eventTypes(func() {
		bumped = w.bumped(func() { must(w.fleet().Update(t.Context(), actor, s.ID, fleet.Patch{Name: &name})) })
	})
	if len(bumped) > 0 {
		t.Errorf("bumped %v by a name", bumped)
	}
	slices.Sort(events)
	if diff := cmp.Diff([]string{"assignment.updated", "satellite.updated"}, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	a := must(w.Assignment(t.Context(), "front"))
	if diff := cmp.Diff(named("eu-2", "paris"), a.Satellites); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"eu-2", "paris"}, a.Placed); diff != "" {
		t.Errorf("placed (-want +got):\n%s", diff)
	}
}

func TestTheBuiltInSatelliteIsChosenByIncludeLocal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.assigned("front", catalog.Selector{Selector: "region"})
	if got := w.bumped(func() { w.satellite("local") }); len(got) > 0 {
		t.Errorf("a selector picked %v", got)
	}
	in := inputOf(must(w.Assignment(t.Context(), "front")))
	in.IncludeLocal = nil
	a := must(w.UpdateAssignment(t.Context(), actor, "front", in))
	if diff := cmp.Diff([]string{"local"}, a.Placed); diff != "" {
		t.Errorf("placed (-want +got):\n%s", diff)
	}
}

func TestDefinitionsAreRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.satellite("eu-1")
	events := w.eventTypes(func() {
		w.assigned("front", named("eu-1"))
		must(w.UpdateSystem(t.Context(), actor, "front-system", catalog.SystemInput{Name: "shop"}))
		must(w.UpdateSystem(t.Context(), actor, "shop", catalog.SystemInput{Name: "shop"}))
		removed := must(w.DeleteSystem(t.Context(), actor, "shop"))
		if diff := cmp.Diff(catalog.Removed{Assignments: []string{"front"}}, removed); diff != "" {
			t.Errorf("removed (-want +got):\n%s", diff)
		}
		must(w.DeleteCheck(t.Context(), actor, "front-check"))
	})
	want := []string{"check.created", "system.created", "assignment.created", "system.updated", "system.deleted", "assignment.deleted", "check.deleted"}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	all := w.look().events
	renaming := all[slices.IndexFunc(all, func(e entityEvent) bool { return e.Type == "system.updated" })]
	if want := `{"id":"` + renaming.EntityID + `","name":"shop","previousName":"front-system"}`; string(renaming.Payload) != want {
		t.Errorf("payload %s, want %s", renaming.Payload, want)
	}
	if diff := cmp.Diff(actor, renaming.Actor); diff != "" {
		t.Errorf("actor (-want +got):\n%s", diff)
	}
}

func TestM71_ASatelliteIsNotNamedForWhatItCannotRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	http := []string{"healthcheck-http.http"}
	w.inventories(map[string]*protocol.Inventory{
		"able": {Version: "2.0", Strategies: http, Collectors: []string{"healthcheck-http.request"}},
		"old": {
			Version: "1.0", Strategies: []string{"healthcheck-tcp.tcp"}, Collectors: []string{"healthcheck-tcp.banner"},
			Missing: map[string]string{"healthcheck-http.http": "it was built without it"},
		},
		"half":     {Version: "1.5", Strategies: http, Collectors: []string{"healthcheck-http.other"}},
		"original": nil, // does not tell
	})
	w.assigned("front", named("able", "original"))
	_, err := w.CreateAssignment(t.Context(), actor, catalog.AssignmentInput{
		Name: "x", Check: "front-check", System: "front-system", Satellites: named("able", "half", "old", "original"),
	})
	want := map[string]string{
		"satellites.names[1]": "has no healthcheck-http.request: it is version 1.5; upgrade it; or name another",
		"satellites.names[2]": "has no healthcheck-http.http: it was built without it; or name another",
	}
	if diff := cmp.Diff(want, fields(err)); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

// A check that is named for a satellite does not become one that it cannot run, whichever
// of them is changed; one that it could not run before may be changed further.
func TestM71_ANamedSatelliteIsNotOutgrown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	http, request, judges := []string{"healthcheck-http.http"}, []string{"healthcheck-http.request"}, []string{protocol.FeatureAssert}
	w.inventories(map[string]*protocol.Inventory{
		"new": {Version: "2.0", Strategies: http, Collectors: request, Features: append(judges, protocol.FeatureExpression)},
		"old": {Version: "1.0", Strategies: http, Collectors: request, Features: judges},
	})
	front := w.assigned("front", named("new", "old"))
	more := spec
	more.Collectors = slices.Clone(spec.Collectors)
	more.Collectors[0].Assertions = []check.Assertion{{Expression: "result.statusCode == 200"}}
	lacks := func(name string) string {
		return "satellite old, which assignment " + name + " names, has no support for expressions in assertions and latency of collectors: it is version 1.0; upgrade it; or take it out of the assignment"
	}
	wantFields := func(what string, err error, want map[string]string) {
		t.Helper()
		if diff := cmp.Diff(want, fields(err)); diff != "" {
			t.Errorf("%s: fields (-want +got):\n%s", what, diff)
		}
	}
	_, err := w.UpdateCheck(t.Context(), actor, "front-check", catalog.CheckInput{Name: "front-check", Spec: more})
	wantFields("the check", err, map[string]string{"spec": lacks("front")})

	text, err := json.Marshal(more)
	if err != nil {
		t.Fatal(err)
	}
	grown := doc(catalog.DocCheck, "front-check", string(text))
	_, err = w.Apply(t.Context(), actor, []catalog.Document{grown}, false)
	wantFields("its document", err, map[string]string{"documents[0].spec": lacks("front")})

	if _, err := w.CreateCheck(t.Context(), actor, catalog.CheckInput{Name: "grown", Spec: more}); err != nil {
		t.Fatal(err)
	}
	other := inputOf(front)
	other.Check = "grown"
	_, err = w.UpdateAssignment(t.Context(), actor, "front", other)
	wantFields("another check", err, map[string]string{
		"satellites.names[1]": "has no support for expressions in assertions and latency of collectors: it is version 1.0; upgrade it; or name another",
	})

	// Both at once is fine, in either order.
	if _, err := w.Apply(t.Context(), actor, []catalog.Document{
		grown, doc(catalog.DocAssignment, "front", `{"check":"front-check","system":"front-system","includeLocal":false,"satellites":{"names":["new"]}}`),
	}, false); err != nil {
		t.Error(err)
	}

	// Of a satellite that was made older nobody is kept from changing the check.
	w.inventories(map[string]*protocol.Inventory{"new": {Version: "0.9", Strategies: http, Collectors: request, Features: judges}})
	more.Description = "of what is for sale"
	if _, err := w.UpdateCheck(t.Context(), actor, "front-check", catalog.CheckInput{Name: "front-check", Spec: more}); err != nil {
		t.Error(err)
	}
}

func TestWrongInputNamesEveryField(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.satellite("eu-1")
	w.satellite("eu-2")
	w.assigned("front", named("eu-1"))
	no := false
	long := strings.Repeat("x", catalog.MaxName+1)

	_, system := w.CreateSystem(t.Context(), actor, catalog.SystemInput{Name: " shop", Labels: map[string]string{"ok": "fine", "-bad": "x", "a": "\x01"}})
	_, slash := w.CreateSystem(t.Context(), actor, catalog.SystemInput{Name: "a/b"})
	_, id := w.CreateSystem(t.Context(), actor, catalog.SystemInput{Name: "0198c0de-0000-7000-8000-000000000000"})
	_, tooLong := w.CreateSystem(t.Context(), actor, catalog.SystemInput{Name: long})
	_, badCheck := w.CreateCheck(t.Context(), actor, catalog.CheckInput{Spec: check.Spec{Strategy: "http"}})
	_, badSelector := w.CreateAssignment(t.Context(), actor, catalog.AssignmentInput{Name: "x", Check: "front-chek", System: "front-system", Satellites: catalog.Selector{Selector: "region in eu"}})
	_, badName := w.CreateAssignment(t.Context(), actor, catalog.AssignmentInput{Name: "x", Check: "front-check", System: "front-system", Satellites: named("eu-2", "eu1")})
	_, nowhere := w.CreateAssignment(t.Context(), actor, catalog.AssignmentInput{Name: "x", IncludeLocal: &no})
	for name, c := range map[string]struct {
		err  error
		want map[string]string
	}{
		"system":   {system, map[string]string{"name": "must not begin or end with a space", "labels.-bad": "a label's name is 1 to 100 letters, digits and ._/- and begins and ends with a letter or digit", "labels.a": "a label's value is printable text of at most 200 characters"}},
		"slash":    {slash, map[string]string{"name": "must not contain a slash"}},
		"id":       {id, map[string]string{"name": "must not look like an id"}},
		"long":     {tooLong, map[string]string{"name": "must be at most 200 characters"}},
		"check":    {badCheck, map[string]string{"name": "must not be empty", "spec.strategy": "is not known", "spec.interval": "must be at least 1s"}},
		"selector": {badSelector, map[string]string{"check": `there is no check "front-chek"; did you mean front-check?`, "satellites.selector": "column 11: expected ( after in, found 'e'"}},
		"name":     {badName, map[string]string{"satellites.names[1]": `there is no satellite "eu1"; did you mean eu-1, eu-2?`}},
		"nowhere":  {nowhere, map[string]string{"check": "must name a check", "system": "must name a system", "satellites": "names no place to run: give names or a selector, or set includeLocal"}},
	} {
		if !fault.Is(c.err, fault.Invalid) {
			t.Errorf("%s: %v, want an invalid fault", name, c.err)
			continue
		}
		if diff := cmp.Diff(c.want, fields(c.err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestUnknownDefinitionsAreNotFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const id = "0198c0de-0000-7000-8000-000000000000"
	must(w.CreateSystem(t.Context(), actor, catalog.SystemInput{Name: "shop"}))
	_, updated := w.UpdateSystem(t.Context(), actor, id, catalog.SystemInput{Name: "x"})
	_, deleted := w.DeleteCheck(t.Context(), actor, "x")
	_, near := w.DeleteSystem(t.Context(), actor, "shpo")
	_, read := w.System(t.Context(), "x")
	for what, err := range map[string]error{"update": updated, "delete": deleted, "near": near, "assignment": w.DeleteAssignment(t.Context(), actor, id), "read": read} {
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %v, want not found", what, err)
		}
	}
	if want := `there is no system "shpo"; did you mean shop?`; near.Error() != want {
		t.Errorf("%q, want %q", near, want)
	}
}

func TestTimesOfCreationStay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	created := must(w.CreateSystem(t.Context(), actor, catalog.SystemInput{Name: "shop"}))
	updated := must(w.UpdateSystem(t.Context(), actor, created.ID, catalog.SystemInput{Name: "shop", Description: "d"}))
	again := must(w.UpdateSystem(t.Context(), actor, "shop", catalog.SystemInput{Name: "shop", Description: "d"}))
	if diff := cmp.Diff(created, updated, cmpopts.IgnoreFields(catalog.System{}, "Description", "UpdatedAt")); diff != "" {
		t.Errorf("the rest stays (-created +updated):\n%s", diff)
	}
	if !updated.UpdatedAt.After(created.UpdatedAt) {
		t.Errorf("updated at %v, created at %v", updated.UpdatedAt, created.UpdatedAt)
	}
	if diff := cmp.Diff(updated, again); diff != "" {
		t.Errorf("the same again changes nothing (-want +got):\n%s", diff)
	}
}
