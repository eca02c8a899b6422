package httpapi_test

import (
	std "cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/perigee-monitoring/perigee/internal/catalog"
	"github.com/perigee-monitoring/perigee/internal/httpapi"
)

// What is true of systems, checks and assignments alike.
func TestDefinitionsAreCreatedReadReplacedAndDeleted(t *testing.T) {
	t.Parallel()
	c := setup(t)
	c.system("shop")
	c.check("page")
	for _, kind := range []struct {
		path   string
		body   func(name string) object
		change string // the member that is changed
		to     any
	}{
		{"/systems", func(name string) object {
			return object{"name": name, "description": "What sells", "labels": object{"team": "web"}}
		}, "description", "What sold"},
		{"/checks", httpCheck, "labels", object{"team": "web"}},
		{"/assignments", func(name string) object {
			return object{"name": name, "check": "page", "system": "shop", "enabled": true}
		}, "enabled", false},
	} {
		var made, byName, replaced, again map[string]any
		r := c.post(kind.path, kind.body("first"), &made)
		id, _ := made["id"].(string)
		if want := httpapi.Base + kind.path + "/" + id; r.header.Get("Location") != want {
			t.Errorf("%s: Location = %q, want %q", kind.path, r.header.Get("Location"), want)
		}
		c.get(kind.path+"/first", &byName)
		if diff := cmp.Diff(made, byName); diff != "" {
			t.Errorf("%s: read is not what was made (-made +read):\n%s", kind.path, diff)
		}
		changed := kind.body("second")
		changed[kind.change] = kind.to
		c.call(http.MethodPut, kind.path+"/"+id, changed, http.StatusOK, &replaced)
		made["name"], made[kind.change], made["updatedAt"] = "second", kind.to, replaced["updatedAt"]
		if kind.change == "enabled" {
			made["placed"] = replaced["placed"]
		}
		if diff := cmp.Diff(made, replaced); diff != "" {
			t.Errorf("%s: replaced (-want +got):\n%s", kind.path, diff)
		}
		p := c.wrong(http.MethodPost, kind.path, kind.body("second"), http.StatusConflict)
		taken := map[string]string{"/assignments": "system"}[kind.path] // the pair is taken before the name is looked at
		if len(p.Errors) != 1 || p.Errors[0].Location != std.Or(taken, "name") {
			t.Errorf("%s: made twice: %+v", kind.path, p)
		}
		for _, name := range []string{"", "a/b", " x", strings.Repeat("x", 300), id} {
			p := c.wrong(http.MethodPost, kind.path, kind.body(name), http.StatusUnprocessableEntity)
			if len(p.Errors) != 1 || p.Errors[0].Location != "name" {
				t.Errorf("%s: name %q is %q", kind.path, name, places(p))
			}
		}
		c.call(http.MethodDelete, kind.path+"/second", nil, http.StatusNoContent, nil)
		c.wrong(http.MethodDelete, kind.path+"/"+id, nil, http.StatusNotFound)
		c.wrong(http.MethodGet, kind.path+"/"+id, nil, http.StatusNotFound)
		c.wrong(http.MethodPut, kind.path+"/"+id, kind.body("third"), http.StatusNotFound)
		c.post(kind.path, kind.body("second"), &again)
		if again["id"] == id {
			t.Errorf("%s: an id came back", kind.path)
		}
	}
}

func TestM91_DefinitionsComeInPages(t *testing.T) {
	t.Parallel()
	c := setup(t)
	c.system("s")
	for i := range 5 {
		c.system(fmt.Sprintf("s%d", i))
		c.check(fmt.Sprintf("c%d", i))
		c.assign(fmt.Sprintf("a%d", i), fmt.Sprintf("c%d", i), "s", c.named(fmt.Sprintf("sat%d", i)))
	}
	for path, want := range map[string]string{"/systems": "s s0|s1 s2|s3 s4", "/checks": "c0 c1|c2 c3|c4", "/assignments": "a0 a1|a2 a3|a4"} {
		var pages []string
		for query := "?limit=2"; query != ""; {
			var page list[struct{ Name string }]
			c.get(path+query, &page)
			var names []string
			for _, item := range page.Items {
				names = append(names, item.Name)
			}
			pages = append(pages, strings.Join(names, " "))
			query = ""
			if page.NextCursor != nil {
				query = "?limit=2&cursor=" + *page.NextCursor
			}
		}
		if got := strings.Join(pages, "|"); got != want {
			t.Errorf("%s in pages: %q, want %q", path, got, want)
		}
	}
}

// named makes a satellite and gives its name.
func (c *core) named(name string) string { c.satellite(name, "eu"); return name }

// What a check's configs and values are is for its strategy to judge, not for the
// shape of the request; so JSON of any shape comes through as it was sent.
func TestJSONInChecksPassesUnchanged(t *testing.T) {
	t.Parallel()
	c := setup(t)
	config := `{"url":"https://example.com/","method":"POST","headers":[{"name":"A","value":"ü\u2028<&>"}],"body":"{\"big\":12345678901234567890}"}`
	body := `{"name":"page","spec":{"strategy":"healthcheck-http.http","config":{"timeout":1500},"interval":90,"collectors":[
		{"id":"page","collector":"healthcheck-http.request","config":` + config + `,"assertions":[
			{"field":"statusCode","operator":"equals","value":200},
			{"field":"statusText","operator":"equals","value":"OK"},
			{"field":"success","operator":"isTrue"},
			{"field":"body","jsonPath":"$.items","operator":"exists"},
			{"field":"body","jsonPath":"$.price","operator":"equals","value":1.5},
			{"field":"body","jsonPath":"$.on","operator":"equals","value":"true"}]}]}}`
	var made struct {
		ID   string
		Spec struct {
			Config     json.RawMessage
			Interval   string
			Collectors []struct {
				Config     json.RawMessage
				Assertions []struct{ Value json.RawMessage }
			}
		}
	}
	c.post("/checks", body, &made)
	for range 2 { // as answered, and as stored
		if diff := cmp.Diff(decoded(t, config), decoded(t, string(made.Spec.Collectors[0].Config))); diff != "" {
			t.Errorf("config (-sent +got):\n%s", diff)
		}
		var values []string
		for _, a := range made.Spec.Collectors[0].Assertions {
			values = append(values, string(a.Value))
		}
		if diff := cmp.Diff([]string{"200", `"OK"`, "", "", "1.5", `"true"`}, values); diff != "" {
			t.Errorf("values (-sent +got):\n%s", diff)
		}
		if made.Spec.Interval != "1m30s" || string(made.Spec.Config) != `{"timeout":1500}` {
			t.Errorf("interval = %s, config = %s", made.Spec.Interval, made.Spec.Config)
		}
		c.get("/checks/page", &made)
	}
	// The shape of the request takes any JSON; whether it fits is said by the schema of the strategy.
	for _, value := range []any{nil, true, 1.5, "text", []any{"a", 1}, object{"a": object{"b": nil}}} {
		sent := httpCheck("other")
		spec, _ := sent["spec"].(object)
		collectors, _ := spec["collectors"].([]object)
		assertions, _ := collectors[0]["assertions"].([]object)
		assertions[0]["value"], spec["config"] = value, value
		r := c.send(http.MethodPost, httpapi.Base+"/checks", sent, "Authorization", "Bearer "+c.token)
		var p httpapi.Problem
		if err := json.Unmarshal([]byte(r.body), &p); err != nil {
			t.Fatal(err)
		}
		for _, e := range p.Errors {
			if strings.HasPrefix(e.Message, "expected ") {
				t.Errorf("value %v is refused by the shape of the request: %s: %s", value, e.Location, e.Message)
			}
		}
		if r.status == http.StatusCreated {
			c.call(http.MethodDelete, "/checks/other", nil, http.StatusNoContent, nil)
		}
	}
}

func decoded(t *testing.T, text string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestWrongChecksSayWhere(t *testing.T) {
	t.Parallel()
	c := setup(t)
	for _, test := range []struct{ old, new, location, message string }{
		{`"url":"https://example.com/"`, `"url":"ftp:nowhere"`, "spec.collectors[0].config.url", ""},
		{`"url":"https://example.com/"`, `"url":7`, "spec.collectors[0].config.url", ""},
		{`"url":"https://example.com/"`, `"url":"https://example.com/","metod":"GET"`, "spec.collectors[0].config.metod", ""},
		{`healthcheck-http.http`, `healthcheck-http.htp`, "spec.strategy", "healthcheck-http.http"},
		{`healthcheck-http.request`, `healthcheck-http.requst`, "spec.collectors[0].collector", "healthcheck-http.request"},
		{`"interval":"10s"`, `"interval":"fast"`, "spec.interval", "duration such as 10s"},
		{`"interval":"10s"`, `"interval":"10ms"`, "spec.interval", ""},
		{`"interval":"10s"`, `"interval":-1`, "spec.interval", ""},
		{`"interval":"10s"`, `"interval":"10s","intervall":1`, "spec.intervall", "unexpected property"},
		{`"operator":"equals"`, `"operator":"is"`, "spec.collectors[0].assertions[0]", "unknown operator"},
		{`"id":"page"`, `"id":""`, "spec.collectors[0].id", ""},
		{`"id":"page"`, `"id":"page","retries":3`, "spec.collectors[0].retries", "unexpected property"},
		{`"name":"page"`, `"name":"page","nmae":3`, "nmae", "unexpected property"},
		{`"name":"page"`, `"name":7`, "name", "expected string"},
		{`"name":"page"`, `"name":"page","labels":{"a b":"c"}`, "labels.a b", ""},
	} {
		raw, err := json.Marshal(httpCheck("page"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(raw), test.old) {
			t.Fatalf("the check has no %s", test.old)
		}
		body := strings.Replace(string(raw), test.old, test.new, 1)
		p := c.wrong(http.MethodPost, "/checks", body, http.StatusUnprocessableEntity)
		at := slices.IndexFunc(p.Errors, func(e *huma.ErrorDetail) bool { return e.Location == test.location })
		if at < 0 || !strings.Contains(p.Errors[at].Message, test.message) {
			t.Errorf("%s: %q, want %q at %s", test.new, places(p), test.message, test.location)
		}
	}
	if p := c.wrong(http.MethodPost, "/checks", `{"name":"x","spec":{"strategy":"nothing","interval":"1ms","collectors":[{"id":"a","collector":"b","config":{}}]}}`, http.StatusUnprocessableEntity); len(p.Errors) < 2 {
		t.Errorf("only the first of several errors is named: %q", places(p))
	}
}

func TestWrongAssignmentsSayWhere(t *testing.T) {
	t.Parallel()
	c := setup(t)
	c.system("shop")
	c.check("page")
	c.satellite("eu-1", "eu")
	for body, location := range map[string]string{
		`{"name":"a","check":"pag","system":"shop"}`:                                          "check",
		`{"name":"a","check":"page","system":"shp"}`:                                          "system",
		`{"name":"a","check":"page","system":"shop","satellites":{"names":["eu-1","eu-2"]}}`:  "satellites.names[1]",
		`{"name":"a","check":"page","system":"shop","satellites":{"selector":"region in ("}}`: "satellites.selector",
		`{"name":"a","check":"page","system":"shop","includeLocal":false}`:                    "satellites",
		`{"name":"a","check":"page","system":"shop","satellites":{"name":["eu-1"]}}`:          "satellites.name",
		`{"name":"a","check":"page","system":"shop","satellites":{"names":"eu-1"}}`:           "satellites.names",
		`{"name":"a","check":"page","system":"shop","includeLocal":"yes"}`:                    "includeLocal",
	} {
		p := c.wrong(http.MethodPost, "/assignments", body, http.StatusUnprocessableEntity)
		if len(p.Errors) != 1 || p.Errors[0].Location != location {
			t.Errorf("%s: %q, want one at %s", body, places(p), location)
		}
	}
}

func TestAnAssignmentSaysWhereItRuns(t *testing.T) {
	t.Parallel()
	c := setup(t)
	system, check := c.system("shop"), c.check("page")
	c.satellite("eu-1", "eu")
	c.satellite("us-1", "us")
	var made catalog.Assignment
	c.post("/assignments", object{"name": "a", "check": check.ID, "system": "shop", "includeLocal": false, "satellites": object{"selector": "region=eu"}}, &made)
	if made.CheckID != check.ID || made.SystemID != system.ID || made.CheckName != "page" || made.SystemName != "shop" || !made.Enabled || !slices.Equal(made.Placed, []string{"eu-1"}) {
		t.Errorf("made = %+v", made)
	}
	c.call(http.MethodPatch, "/satellites/us-1", object{"region": "eu"}, http.StatusOK, nil)
	c.get("/assignments/a", &made)
	if !slices.Equal(made.Placed, []string{"eu-1", "us-1"}) {
		t.Errorf("after a satellite moved it is placed on %v", made.Placed)
	}
	p := c.wrong(http.MethodPost, "/assignments", object{"name": "b", "check": "page", "system": "shop"}, http.StatusConflict)
	if len(p.Errors) != 1 || p.Errors[0].Location != "system" || !strings.Contains(p.Detail, "already") {
		t.Errorf("a pair that is taken: %+v", p)
	}
	c.call(http.MethodDelete, "/systems/shop", nil, http.StatusNoContent, nil)
	c.wrong(http.MethodGet, "/assignments/a", nil, http.StatusNotFound)
}

func TestStrategiesHaveSchemas(t *testing.T) {
	t.Parallel()
	c := setup(t)
	var all list[httpapi.Strategy]
	c.get("/strategies", &all)
	var ids []string
	for _, s := range all.Items {
		ids = append(ids, s.ID)
		for _, schema := range append([]json.RawMessage{s.Schema}, collectorSchemas(s)...) {
			if o, ok := decoded(t, string(schema)).(object); !ok || o["type"] != "object" {
				t.Errorf("%s has the schema %.80s", s.ID, schema)
			}
		}
		if len(s.Collectors) == 0 {
			t.Errorf("%s measures nothing", s.ID)
		}
	}
	if !slices.Contains(ids, "healthcheck-http.http") || all.NextCursor != nil {
		t.Errorf("strategies = %v, next %v", ids, all.NextCursor)
	}
}

func collectorSchemas(s httpapi.Strategy) (all []json.RawMessage) {
	for _, c := range s.Collectors {
		all = append(all, c.Schema)
	}
	return all
}
