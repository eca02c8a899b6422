package catalog_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perigee-monitoring/perigee/internal/diff"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perigee-monitoring/perigee/check"
	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/fault"
	"github.com/perigee-monitoring/perigee/internal/fleet"
)

// documents are read from JSON as the API reads them.
func documents(t testing.TB, text string) []catalog.Document {
	t.Helper()
	var docs []catalog.Document
	if err := json.Unmarshal([]byte(text), &docs); err != nil {
		t.Fatalf("reading documents: %v", err)
	}
	return docs
}

// shop is a set with a document of each kind, the referring ones first.
const shop = `[
	{"apiVersion": "perigee/v1", "kind": "Assignment", "metadata": {"name": "front-shop"},
	 "spec": {"check": "front", "system": "shop", "includeLocal": false, "satellites": {"names": ["eu-2", "eu-1"], "selector": "tier!=test,region=eu"}}},
	{"apiVersion": "perigee/v1", "kind": "Check", "metadata": {"name": "front"},
	 "spec": {"strategy": "healthcheck-http.http", "config": {"timeout": 5000}, "interval": "10s",
	  "collectors": [{"id": "root", "collector": "healthcheck-http.request", "config": {"url": "http://127.0.0.1:8081/"},
	   "assertions": [{"field": "statusCode", "operator": "equals", "value": 200}]}]}},
	{"apiVersion": "perigee/v1", "kind": "System", "metadata": {"name": "shop", "labels": {"env": "prod"}}, "spec": {"description": "The shop"}},
	{"apiVersion": "perigee/v1", "kind": "Satellite", "metadata": {"name": "eu-1", "labels": {"tier": "edge"}}, "spec": {"region": "eu", "offlineThreshold": "1m"}},
	{"apiVersion": "perigee/v1", "kind": "Satellite", "metadata": {"name": "eu-2"}, "spec": {"region": "eu"}}
]`

func actions(p catalog.Plan) map[string]catalog.Action {
	all := map[string]catalog.Action{}
	for _, c := range p.Changes {
		all[c.Kind+" "+c.Name] = c.Action
	}
	return all
}

func allOf(action catalog.Action) map[string]catalog.Action {
	return map[string]catalog.Action{
		"Assignment front-shop": action, "Check front": action, "System shop": action, "Satellite eu-1": action, "Satellite eu-2": action,
	}
}

func TestApplyIsIdempotentAndExportRoundTrips(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var plan catalog.Plan
	if diff := cmp.Diff([]string{"eu-1", "eu-2"}, w.bumped(func() { plan = must(w.Apply(t.Context(), actor, documents(t, shop), false)) })); diff != "" {
		t.Errorf("bumped at first (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(allOf(catalog.Created), actions(plan)); diff != "" {
		t.Errorf("first (-want +got):\n%s", diff)
	}

	before := w.look()
	plan = must(w.Apply(t.Context(), actor, documents(t, shop), false))
	if diff := cmp.Diff(allOf(catalog.Unchanged), actions(plan)); diff != "" {
		t.Errorf("second (-want +got):\n%s", diff)
	}
	exported := must(w.Export(t.Context()))
	var kinds []string
	for _, d := range exported {
		kinds = append(kinds, d.Kind+" "+d.Metadata.Name)
	}
	if diff := cmp.Diff([]string{"Assignment front-shop", "Check front", "Satellite eu-1", "Satellite eu-2", "System shop"}, kinds); diff != "" {
		t.Errorf("exported (-want +got):\n%s", diff)
	}
	text := must(json.Marshal(exported))
	plan = must(w.Apply(t.Context(), actor, documents(t, string(text)), false))
	if diff := cmp.Diff(allOf(catalog.Unchanged), actions(plan)); diff != "" {
		t.Errorf("the export (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, w.look(), cmp.AllowUnexported(data{})); diff != "" {
		t.Errorf("rows, revisions or events changed (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(`{"check":"front","system":"shop","includeLocal":false,"enabled":true,"satellites":{"names":["eu-1","eu-2"],"selector":"region=eu, tier!=test"}}`, string(exported[0].Spec)); diff != "" {
		t.Errorf("assignment (-want +got):\n%s", diff)
	}
}

func TestApplyDoesNotCareForOrder(t *testing.T) {
	t.Parallel()
	docs := documents(t, shop)
	var want []catalog.Document
	for seed := range uint64(10) {
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(docs), func(i, j int) { docs[i], docs[j] = docs[j], docs[i] })
		w := newWorld(t)
		plan := must(w.Apply(t.Context(), actor, docs, false))
		for i, c := range plan.Changes {
			if c.Kind != docs[i].Kind || c.Name != docs[i].Metadata.Name {
				t.Errorf("change %d is of %s %s, document of %s %s", i, c.Kind, c.Name, docs[i].Kind, docs[i].Metadata.Name)
			}
		}
		got := must(w.Export(t.Context()))
		if want == nil {
			want = got
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(catalog.Document{})); diff != "" {
			t.Fatalf("order %d (-want +got):\n%s", seed, diff)
		}
	}
}

func TestApplyShowsWhatDiffers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	must(w.Apply(t.Context(), actor, documents(t, shop), false))
	edited := strings.NewReplacer(`"timeout": 5000`, `"timeout": 9000`, `"10s"`, `20`, `"value": 200`, `"value": "2xx"`,
		`"env": "prod"`, `"tier": "1"`, `"1m"`, `"2m"`).Replace(shop)
	edited = strings.Replace(edited, `"names": ["eu-2", "eu-1"], `, "", 1)
	plan := must(w.Apply(t.Context(), actor, documents(t, edited), false))
	got := map[string]diff.Field{}
	for _, c := range plan.Changes {
		for _, d := range c.Diff {
			got[c.Name+" "+d.Path] = d
		}
	}
	want := map[string]diff.Field{
		"front spec.config.timeout":                    {Path: "spec.config.timeout", From: json.Number("5000"), To: json.Number("9000")},
		"front spec.interval":                          {Path: "spec.interval", From: "10s", To: "20s"},
		"front spec.collectors[0].assertions[0].value": {Path: "spec.collectors[0].assertions[0].value", From: json.Number("200"), To: "2xx"},
		"shop metadata.labels.env":                     {Path: "metadata.labels.env", From: "prod"},
		"shop metadata.labels.tier":                    {Path: "metadata.labels.tier", To: "1"},
		"eu-1 spec.offlineThreshold":                   {Path: "spec.offlineThreshold", From: "1m", To: "2m"},
		"front-shop spec.satellites.names":             {Path: "spec.satellites.names", From: []any{"eu-1", "eu-2"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestApplyDryRunLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.look()
	plan := must(w.Apply(t.Context(), actor, documents(t, shop), true))
	if diff := cmp.Diff(allOf(catalog.Created), actions(plan)); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, w.look(), cmp.AllowUnexported(data{})); diff != "" {
		t.Errorf("a dry run left something (-before +after):\n%s", diff)
	}
	if n := w.bell.count(fleet.TopicConfig) + w.bell.count("events"); n > 0 {
		t.Errorf("a dry run rang %d times", n)
	}
}

func TestApplyReportsEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.satellite("eu-1")
	w.assigned("old", named("eu-1"))
	before := w.look()
	docs := documents(t, `[
		{"apiVersion": "v1", "kind": "System", "metadata": {"name": "shop", "lables": {}, "labels": {"port": 80}}, "spec": {"descripton": "x"}, "extra": 1},
		{"apiVersion": "perigee/v1", "kind": "Sistem", "metadata": {"name": "x"}, "spec": {}},
		{"apiVersion": "perigee/v1", "kind": "Check", "metadata": {"name": "front"}, "spec": {"strategy": "http", "interval": "soon", "collectors": [{"id": 1, "config": {"url": "nonsense"}}]}},
		{"apiVersion": "perigee/v1", "kind": "System", "metadata": {"name": "shop"}, "spec": {}},
		{"apiVersion": "perigee/v1", "kind": "Assignment", "metadata": {"name": "a"}, "spec": {"check": "front", "system": "shp", "satellites": {"names": ["eu-1", "eu-9"], "selector": "a b"}}},
		{"apiVersion": "perigee/v1", "kind": "Assignment", "metadata": {"name": "b"}, "spec": {"check": "old-check", "system": "old-system", "includeLocal": "yes"}},
		{"apiVersion": "perigee/v1", "kind": "Satellite", "metadata": {"name": "local"}, "spec": {"offlineThreshold": "1s"}},
		{"apiVersion": "perigee/v1", "kind": "System", "metadata": {"name": " "}},
		"nothing"
	]`)
	_, err := w.Apply(t.Context(), actor, docs, false)
	if !fault.Is(err, fault.Invalid) {
		t.Fatalf("%v, want an invalid fault", err)
	}
	want := map[string]string{
		"documents[0].apiVersion":                    "must be perigee/v1",
		"documents[0].extra":                         `there is no field "extra"`,
		"documents[0].metadata.lables":               `there is no field "lables"; did you mean labels?`,
		"documents[0].metadata.labels.port":          "must be text",
		"documents[0].spec.descripton":               `there is no field "descripton"; did you mean description?`,
		"documents[1].kind":                          "must be one of Assignment, Check, Maintenance, Satellite, System",
		"documents[2].spec.strategy":                 "is not known",
		"documents[2].spec.interval":                 `"soon" is not a duration; write it as 10s, 5m or 1h`,
		"documents[2].spec.collectors[0].id":         "must be text",
		"documents[2].spec.collectors[0].config.url": "must be a URL",
		"documents[3].metadata.name":                 `documents[0] is System "shop" already`,
		"documents[4].spec.system":                   `there is no system "shp"; did you mean shop?`,
		"documents[4].spec.satellites.names[1]":      `there is no satellite "eu-9"; did you mean eu-1?`,
		"documents[4].spec.satellites.selector":      "column 3: expected a comma, found 'b'",
		"documents[5].spec.includeLocal":             "must be true or false",
		"documents[5].spec":                          `check "old-check" and system "old-system" are joined by assignment "old" already`,
		"documents[6].metadata.name":                 "is the core's built-in satellite, which is not defined by documents",
		"documents[6].spec.region":                   "must not be empty",
		"documents[6].spec.offlineThreshold":         "must be from 15s to 24h",
		"documents[7].metadata.name":                 "must not begin or end with a space",
		"documents[8]":                               "must be an object",
	}
	if diff := cmp.Diff(want, fields(err)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, w.look(), cmp.AllowUnexported(data{})); diff != "" {
		t.Errorf("something was applied (-before +after):\n%s", diff)
	}
}

func TestValidateNeedsNoStore(t *testing.T) {
	t.Parallel()
	judge := func(spec check.Spec) []fault.Field {
		if spec.Strategy == "" {
			return []fault.Field{{Path: "strategy", Message: "is missing"}}
		}
		return nil
	}
	if err := catalog.Validate(documents(t, shop), judge); err != nil {
		t.Errorf("good documents: %v", err)
	}
	err := catalog.Validate(documents(t, `[
		{"apiVersion": "perigee/v1", "kind": "Assignment", "metadata": {"name": "a"}, "spec": {"check": "nowhere", "system": "nowhere"}},
		{"apiVersion": "perigee/v1", "kind": "Check", "metadata": {"name": "c"}, "spec": {"intervall": "10s"}},
		{"apiVersion": "perigee/v1", "kind": "Check", "metadata": {"name": "c"}, "spec": {"strategy": "x"}}
	]`), judge)
	f, _ := errors.AsType[*fault.Error](err)
	var paths []string
	for _, field := range f.Fields {
		paths = append(paths, field.Path)
	}
	want := []string{"documents[1].spec.intervall", "documents[1].spec.strategy", "documents[2].metadata.name"}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("wrong places (-want +got):\n%s", diff)
	}
}

func TestApplySwapsPairs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.satellite("eu-1")
	w.satellite("eu-2")
	set := func(systemOfA, systemOfB string) []catalog.Document {
		assignment := func(name, system, satellite string) catalog.Document {
			return doc("Assignment", name, `{"check":"c","system":"`+system+`","includeLocal":false,"satellites":{"names":["`+satellite+`"]}}`)
		}
		return []catalog.Document{
			doc("Check", "c", `{"strategy":"healthcheck-tcp.tcp","interval":"5s"}`), doc("System", "s", ""), doc("System", "t", ""),
			assignment("a", systemOfA, "eu-1"), assignment("b", systemOfB, "eu-2"),
		}
	}
	must(w.Apply(t.Context(), actor, set("s", "t"), false))
	if diff := cmp.Diff([]string{"eu-1", "eu-2"}, w.bumped(func() { must(w.Apply(t.Context(), actor, set("t", "s"), false)) })); diff != "" {
		t.Errorf("bumped (-want +got):\n%s", diff)
	}
	a := must(w.Assignment(t.Context(), "a"))
	if a.SystemName != "t" || !slices.Equal(a.Placed, []string{"eu-1"}) {
		t.Errorf("a is %+v", a)
	}
	if n := len(w.look().grants); n != 2 {
		t.Errorf("%d grants for the old pairs, want 2", n)
	}
}

func TestApplyRelabelsAndPlacesInOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.assigned("edge", catalog.Selector{Selector: "tier=edge"})
	w.assigned("core", catalog.Selector{Selector: "tier=core"})
	s := w.satellite("s", "tier=core")
	got := w.bumped(func() {
		must(w.Apply(t.Context(), actor, []catalog.Document{
			{APIVersion: catalog.APIVersion, Kind: "Satellite", Metadata: catalog.Metadata{Name: "s", Labels: map[string]string{"tier": "edge"}}, Spec: []byte(`{"region":"eu"}`)},
			doc("System", "edge-system", `{"description":"changed"}`),
		}, false))
	})
	if diff := cmp.Diff([]string{s.Name}, got); diff != "" {
		t.Errorf("bumped (-want +got):\n%s", diff)
	}
	for name, want := range map[string][]string{"edge": {"s"}, "core": {}} {
		if diff := cmp.Diff(want, must(w.Assignment(t.Context(), name)).Placed); diff != "" {
			t.Errorf("%s placed (-want +got):\n%s", name, diff)
		}
	}
}

func TestL65_SatelliteIsAKindOfTheAPIVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.satellite("eu-1")
	exported := must(w.Export(t.Context()))
	if len(exported) != 1 || exported[0].Kind != "Satellite" || exported[0].APIVersion != "perigee/v1" {
		t.Errorf("exported %+v", exported)
	}
}

func TestL66_ApplyCreatesASatelliteAndDiscardsTheToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	events := w.eventTypes(func() {
		must(w.Apply(t.Context(), actor, []catalog.Document{doc("Satellite", "eu-1", `{"region":"eu"}`)}, false))
	})
	if diff := cmp.Diff([]string{"satellite.created"}, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	d := w.look()
	for id, s := range d.satellites {
		if hash := d.tokens[id]; s.Name != "eu-1" || !strings.HasPrefix(hash, "sha256:") || len(hash) != len("sha256:")+64 {
			t.Errorf("%s has the token hash %q", s.Name, hash)
		}
	}
	if len(d.satellites) != 1 {
		t.Errorf("%d satellites", len(d.satellites))
	}
}

func TestL67_ApplyAdoptsTheSatelliteOfTheName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.satellite("eu-1")
	token := w.look().tokens[s.ID]
	plan := must(w.Apply(t.Context(), actor, []catalog.Document{doc("Satellite", "eu-1", `{"region":"us","offlineThreshold":60}`)}, false))
	if plan.Changes[0].Action != catalog.Updated {
		t.Errorf("%+v", plan.Changes)
	}
	d := w.look()
	minute := time.Minute.Milliseconds()
	want := s
	want.Region, want.OfflineThresholdMs = "us", &minute
	if diff := cmp.Diff(map[string]fleet.Satellite{s.ID: want}, d.satellites); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if d.tokens[s.ID] != token {
		t.Error("the token was replaced")
	}
}

func TestL70_MissingLabelsBecomeEmptyTags(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.satellite("eu-1", "tier=edge")
	must(w.Apply(t.Context(), actor, []catalog.Document{doc("Satellite", "eu-1", `{"region":"eu"}`)}, false))
	if diff := cmp.Diff(map[string]string{}, w.look().satellites[s.ID].Tags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
}

func TestExportLeavesTheBuiltInSatelliteOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.satellite("local")
	if docs := must(w.Export(t.Context())); len(docs) > 0 {
		t.Errorf("exported %+v", docs)
	}
}

func FuzzApply(f *testing.F) {
	f.Add(shop)
	f.Add(`[{"apiVersion":"perigee/v1","kind":"Check","metadata":{"name":"x"},"spec":{"interval":1e999,"collectors":[null,{"assertions":[{"value":{"a":[1]}}]}]}}]`)
	f.Add(`[{"kind":"Satellite","metadata":null,"spec":[]}]`)
	f.Fuzz(func(t *testing.T, text string) {
		var docs []catalog.Document
		if json.Unmarshal([]byte(text), &docs) != nil {
			return
		}
		w := newWorld(t)
		_, err := w.Apply(t.Context(), actor, docs, false)
		if err != nil {
			if f, ok := errors.AsType[*fault.Error](err); !ok || f.Kind != fault.Invalid || len(f.Fields) == 0 {
				t.Fatalf("%v is not a fault that names a place", err)
			}
			return
		}
		plan, err := w.Apply(t.Context(), actor, must(w.Export(t.Context())), false)
		if err != nil {
			t.Fatalf("applying the export: %v", err)
		}
		for _, c := range plan.Changes {
			if c.Action != catalog.Unchanged {
				t.Fatalf("applying the export: %+v", c)
			}
		}
	})
}

// Nobody reads thousands of problems, and for each it would be looked what was meant.
func TestThereIsAnEndToProblems(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	docs := []catalog.Document{doc(catalog.DocSystem, "shop", `{}`)}
	for i := range 300 {
		docs = append(docs, doc(catalog.DocAssignment, fmt.Sprint("a", i), `{"check":"gone","system":"shop"}`))
	}
	_, err := w.Apply(t.Context(), actor, docs, false)
	if len(fields(err)) != 100 || !strings.Contains(err.Error(), "nothing was applied, more than 100 problems were found, of which these are the first") {
		t.Errorf("%d problems are told: %v", len(fields(err)), err)
	}
}
