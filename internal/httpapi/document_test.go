package httpapi_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/entity"
)

// documents are a small set of definitions, one of each kind, in an order in which
// none could be made one by one.
func documents() []object {
	document := func(kind, name string, spec object) object {
		return object{"apiVersion": "perigee/v1", "kind": kind, "metadata": object{"name": name, "labels": object{"from": "git"}}, "spec": spec}
	}
	spec, _ := httpCheck("page")["spec"].(object)
	return []object{
		document("Assignment", "shop-page", object{"check": "page", "system": "shop", "includeLocal": false, "satellites": object{"selector": "region = eu"}}),
		document("Check", "page", spec),
		document("System", "shop", object{"description": "What sells"}),
		document("Satellite", "eu-1", object{"region": "eu", "offlineThreshold": "1m"}),
	}
}

type plan struct {
	Changes []struct {
		Kind, Name, Action string
		Diff               []struct {
			Path     string
			From, To any
		}
	}
}

func (p plan) String() string {
	var all []string
	for _, c := range p.Changes {
		text := c.Action + " " + c.Kind + " " + c.Name
		for _, d := range c.Diff {
			if c.Action == "updated" {
				text += " " + d.Path
			}
		}
		all = append(all, text)
	}
	return strings.Join(all, "\n")
}

func TestApplyAndExport(t *testing.T) {
	t.Parallel()
	c := setup(t)
	var tried, done, again, changed plan
	apply := func(documents any, dryRun bool, into *plan) {
		t.Helper()
		c.call(http.MethodPost, "/apply", object{"documents": documents, "dryRun": dryRun}, http.StatusOK, into)
	}
	apply(documents(), true, &tried)
	c.wrong(http.MethodGet, "/systems/shop", nil, http.StatusNotFound) // nothing happened
	apply(documents(), false, &done)
	want := "created Assignment shop-page\ncreated Check page\ncreated System shop\ncreated Satellite eu-1"
	if diff := cmp.Diff(want, done.String()); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(tried, done); diff != "" {
		t.Errorf("what was done is not what was said (-said +done):\n%s", diff)
	}
	var exported struct{ Documents []object }
	c.get("/export", &exported)
	apply(exported.Documents, false, &again)
	if strings.Count(again.String(), "unchanged") != 4 || len(again.Changes) != 4 {
		t.Errorf("applying what was exported changes something: %s", again)
	}
	var twice struct{ Documents []object }
	c.get("/export", &twice)
	if diff := cmp.Diff(exported, twice); diff != "" {
		t.Errorf("exported twice (-first +second):\n%s", diff)
	}
	edited := documents()[1]
	spec, _ := edited["spec"].(object)
	spec["interval"] = "20s"
	apply([]object{edited}, false, &changed)
	if got := changed.String(); got != "updated Check page spec.interval" {
		t.Errorf("changed: %s", got)
	}
	var a catalog.Assignment
	c.get("/assignments/shop-page", &a)
	if !slices.Equal(a.Placed, []string{"eu-1"}) {
		t.Errorf("placed on %v", a.Placed)
	}
	var events struct{ Items []entity.Event }
	c.get("/events", &events)
	if at := slices.IndexFunc(events.Items, func(e entity.Event) bool { return e.Type == "system.created" }); at < 0 || events.Items[at].Actor.Name != "admin" {
		t.Errorf("history does not say who applied: %+v", events.Items)
	}
	var none plan
	apply([]object{}, false, &none)
	if len(none.Changes) != 0 {
		t.Errorf("no documents: %s", none)
	}
}

func TestApplySaysWhereAndChangesNothing(t *testing.T) {
	t.Parallel()
	c := setup(t)
	wrong := documents()
	spec, _ := wrong[1]["spec"].(object)
	collectors, _ := spec["collectors"].([]object)
	collectors[0]["config"] = object{"url": 7}
	wrong[0]["spec"] = object{"check": "pag", "system": "shop", "sytem": "shop"}
	wrong[3]["kind"] = "Satelite"
	wrong = append(wrong, object{"apiVersion": "perigee/v2", "kind": "System", "metadata": object{"nmae": "x"}, "spec": 7})
	p := c.wrong(http.MethodPost, "/apply", object{"documents": wrong}, http.StatusUnprocessableEntity)
	var got []string
	for _, e := range p.Errors {
		got = append(got, e.Location)
	}
	for _, want := range []string{
		"documents[0].spec.sytem", "documents[1].spec.collectors[0].config.url", "documents[3].kind",
		"documents[4].apiVersion", "documents[4].metadata.nmae",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no error at %s: %q", want, places(p))
		}
	}
	c.wrong(http.MethodGet, "/systems/shop", nil, http.StatusNotFound)
	for body, location := range map[string]string{
		`{"documents":7}`: "documents", `{"documents":["x"]}`: "documents[0]", `{"documents":[null]}`: "documents[0]",
		`{"documents":[],"document":[]}`: "document", `{"documents":[],"dryRun":"yes"}`: "dryRun", `{}`: "body", `[]`: "body",
	} {
		p := c.wrong(http.MethodPost, "/apply", body, http.StatusUnprocessableEntity)
		if len(p.Errors) == 0 || !strings.HasPrefix(p.Errors[0].Location, location) {
			t.Errorf("%s: %q, want at %s", body, places(p), location)
		}
	}
}
